//! What is known of each line before it is measured: how Ray's microbenchmark calls the same, what Ray's own release found, and
//! what must hold.

use std::collections::BTreeMap;

use crate::report::{Floor, Line, Unit};

/// What Ray's figures of its own release are called beside those that were measured here.
pub(super) const RELEASE: &str = "Ray's release";

/// See the module's header.
struct Known {
    name: &'static str,
    /// As Ray's microbenchmark calls it.
    ray: &'static str,
    /// On the machines of Ray's release, in the unit of the line.
    release: Option<f64>,
    demand: Demand,
}

#[derive(Debug, Clone, Copy)]
enum Demand {
    None,
    AtLeast(f64),
    AtMost(f64),
    /// So many times as fast as Ray in the same run.
    TimesRay(f64),
}

use Demand::{AtLeast, AtMost, TimesRay};

const fn known(name: &'static str, ray: &'static str, release: Option<f64>, demand: Demand) -> Known {
    Known { name, ray, release, demand }
}

/// Beside which line of Ray there is nothing.
const NOTHING: &str = "";

const KNOWN: [Known; 31] = [
    known("from nothing to a cluster's first result", NOTHING, None, AtMost(0.5)),
    known("idle coordinator (PSS)", NOTHING, Some(720.0), AtMost(60.0)),
    known("idle worker (PSS)", NOTHING, Some(230.0), AtMost(30.0)),
    known("task, submit and get, p50", "single client tasks sync", Some(1240.0), AtMost(150.0)),
    known("tasks, one client", "single client tasks async", Some(7.2e3), AtLeast(100e3)),
    known("tasks, four clients", "multi client tasks async", None, TimesRay(10.0)),
    known("actor call, p50", "1:1 actor calls sync", Some(567.0), AtMost(75.0)),
    known("actor calls, one caller", "1:1 actor calls async", Some(8e3), AtLeast(150e3)),
    known("actor calls, 16 at once", "1:1 actor calls concurrent", None, TimesRay(10.0)),
    known("actor calls, four callers", "n:n actor calls async", None, TimesRay(10.0)),
    known("actor calls with an object as argument", "n:n actor calls with arg async", None, TimesRay(10.0)),
    known("async actor call, p50", "1:1 async-actor calls sync", None, TimesRay(10.0)),
    known("async actor calls, one caller", "1:1 async-actor calls async", None, TimesRay(10.0)),
    known("process actor, ready, p50", NOTHING, Some(300e3), AtMost(15e3)),
    known("light actor, ready, p50", NOTHING, None, AtMost(50.0)),
    known("light actor, memory", NOTHING, None, AtMost(8.0)),
    known("placement group create and remove", "placement group create/removal", Some(765.0), AtLeast(5e3)),
    known("get of a small object, p50", "single client get calls (Plasma Store)", Some(119.0), AtMost(15.0)),
    known("get of a local object of 1 MiB, p50", NOTHING, Some(119.0), AtMost(15.0)),
    known("put of 8 bytes", "single client put calls (Plasma Store)", Some(3.8e3), AtLeast(100e3)),
    known("put of 1 GiB", "single client put gigabytes", None, Demand::None),
    known("put of 1 GiB, of the speed of memcpy", NOTHING, None, AtLeast(80.0)),
    known("get of an object with 10,000 refs", "single client get object containing 10k refs", None, TimesRay(10.0)),
    known("wait for 1,000 tasks, one by one", "single client wait 1k refs", None, TimesRay(10.0)),
    known("get of 10,000 refs", NOTHING, Some(23.5), AtMost(0.5)),
    known("task with 10,000 refs", NOTHING, Some(17.2), AtMost(0.5)),
    known("1 M queued tasks", NOTHING, Some(184.0), AtMost(15.0)),
    known("outside: get of a small object, p50", "client: get calls", None, TimesRay(5.0)),
    known("outside: put of 8 bytes", "client: put calls", None, Demand::None),
    known("… bytes that were copied", NOTHING, None, AtMost(0.0)),
    known("… of the speed of a plain connection", NOTHING, None, AtLeast(70.0)),
];

/// The line with what is known of it; `ray` is what Ray did here per second, by its names.
pub(super) fn beside_ray(line: Line, ray: &BTreeMap<String, f64>) -> Line {
    let Some(known) = KNOWN.iter().find(|known| known.name == line.name) else { return line };
    let here = ray.get(known.ray).map(|rate| in_unit(line.unit, *rate));
    let is_time = line.unit == Unit::Us;
    let floor = match (known.demand, here) {
        (AtLeast(floor), _) => Some(Floor::AtLeast(floor)),
        (AtMost(floor), _) => Some(Floor::AtMost(floor)),
        (TimesRay(times), Some(here)) if is_time => Some(Floor::AtMost(here / times)),
        (TimesRay(times), Some(here)) => Some(Floor::AtLeast(here * times)),
        (TimesRay(_), None) | (Demand::None, _) => None,
    };
    let here = here.map(|here| ("Ray".to_owned(), here));
    let release = known.release.map(|release| (RELEASE.to_owned(), release));
    Line { peers: here.into_iter().chain(release).collect(), floor, ..line }
}

/// What Ray says per second, as the line says it.
fn in_unit(unit: Unit, rate: f64) -> f64 {
    match unit {
        Unit::Us => 1e6 / rate,
        // Gigabytes.
        Unit::MbPerSecond => rate * 1e3,
        _ => rate,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rays_rates_are_shown_in_the_unit_of_the_line() {
        let ray = BTreeMap::from([
            ("single client tasks sync".to_owned(), 500.0),
            ("n:n actor calls async".to_owned(), 5_000.0),
            ("1:1 async-actor calls sync".to_owned(), 1_000.0),
        ]);
        let beside = |name, unit| beside_ray(Line::of(name, unit, 1.0), &ray);
        let task = beside("task, submit and get, p50", Unit::Us);
        assert_eq!((task.peers["Ray"], task.peers[RELEASE]), (2_000.0, 1_240.0));
        assert_eq!(task.floor, Some(Floor::AtMost(150.0)));
        let calls = beside("actor calls, four callers", Unit::PerSecond);
        assert_eq!((calls.peers["Ray"], calls.floor), (5_000.0, Some(Floor::AtLeast(50_000.0))));
        assert_eq!(beside("async actor call, p50", Unit::Us).floor, Some(Floor::AtMost(100.0)));
        assert_eq!(beside("tasks, four clients", Unit::PerSecond).floor, None);
    }
}
