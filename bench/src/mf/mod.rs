//! Matrix factorisation on one and on two cores: FunkSVD beside LIBMF and scikit-surprise, iALS beside implicit.

mod funk;
mod ials;
mod ratings;
pub(crate) mod tandem;

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;

use crate::cores::Cores;
use crate::data;
use crate::peers::{Peer, Peers};
use crate::report::{Floor, Line, Report, TANDEM, Unit};
use crate::rounds::{self, Rounds, Took};
use ratings::{Files, LARGE, SMALL, Shape};
use tandem::Model;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Sets of ratings: `small` fits a cache, `large` does not
    #[arg(long, value_delimiter = ',', value_parser = SIZES, default_values = SIZES)]
    sizes: Vec<String>,
    /// Rounds that count, each with a seed of its own; iALS has twelve or more
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// What to compare with
    #[arg(long, value_delimiter = ',', default_value = "libmf,surprise,implicit")]
    peers: Vec<Peer>,
    /// Where data and results are kept
    #[arg(long, default_value = "target/bench")]
    folder: PathBuf,
}

const SIZES: [&str; 2] = [SMALL.name, LARGE.name];

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut report = Report::new("mf");
    let all = Cores::all()?;
    let bench = Bench {
        folder: data::folder(&arguments.folder)?,
        peers: Peers::prepare("mf", &arguments.peers, &mut report)?,
        one: all.first(1).context("there is no core")?,
        two: all.first(2),
        all,
        rounds: arguments.rounds,
    };
    if bench.two.is_none() {
        report.note("skipped: two cores");
    }
    funk::same_bits(&bench, &mut report)?;
    for shape in [SMALL, LARGE].into_iter().filter(|shape| arguments.sizes.iter().any(|size| size == shape.name)) {
        funk::measure(&bench, &shape, &mut report)?;
    }
    ials::measure(&bench, &mut report)?;
    report.publish(&bench.folder)
}

/// What every measurement needs.
struct Bench {
    folder: PathBuf,
    peers: Peers,
    one: Cores,
    /// None if there is but one.
    two: Option<Cores>,
    all: Cores,
    rounds: usize,
}

impl Bench {
    fn files(&self, shape: &Shape) -> anyhow::Result<Files> {
        Files::of(shape, &self.folder)
    }

    /// Starts Tandem and those of `peers` that can be had, on one core and, as far as they can use it, on two.
    fn start<A>(
        &self,
        model: Model,
        shape: &Shape,
        peers: impl IntoIterator<Item = Peer>,
    ) -> anyhow::Result<Rounds<usize, A>> {
        let peers: Vec<Peer> = peers.into_iter().filter(|peer| self.peers.found().contains(peer)).collect();
        let mut rounds = Rounds::new();
        for (cores, on) in [(1, Some(&self.one)), (2, self.two.as_ref())] {
            let Some(on) = on else { continue };
            rounds.enter(TANDEM, cores, &self.tandem(model, shape, cores)?, on)?;
            // scikit-surprise has one thread.
            for peer in peers.iter().filter(|peer| cores == 1 || **peer != Peer::Surprise) {
                let command = self.peers.command(*peer, "mf", cores as u32);
                rounds.enter(peer.name(), cores, &self.told(command, shape)?, on)?;
            }
        }
        Ok(rounds)
    }

    fn tandem(&self, model: Model, shape: &Shape, threads: usize) -> anyhow::Result<Command> {
        let mut command = rounds::tandem("mf-rounds")?;
        command.args(["--model", model.name(), "--threads", &threads.to_string()]);
        self.told(command, shape)
    }

    /// The same command with what every program is told.
    fn told(&self, mut command: Command, shape: &Shape) -> anyhow::Result<Command> {
        command.arg("--ratings").arg(self.files(shape)?.folder());
        command.args(["--users", &shape.users.to_string(), "--items", &shape.items.to_string()]);
        Ok(command)
    }
}

/// How often something is done per second, what of it must hold, and what a second core brings.
struct Speed<'a> {
    /// What is done, and where.
    name: &'a str,
    /// How often it is done in the time that was taken.
    amount: f64,
    /// How many times the speed of these Tandem's must be on one core.
    times: &'a [(Peer, f64)],
    /// How many times the speed of one core that of two must be.
    two_cores: Option<f64>,
}

impl Speed<'_> {
    /// On one core by time on the processor, so that a busy machine counts less; with two by the clock.
    fn lines<A>(&self, rounds: &Rounds<usize, A>, took: impl Fn(&A) -> Took) -> anyhow::Result<Vec<Line>> {
        let by_processor = |answer: &A| self.amount / took(answer).busy_s;
        let by_clock = |answer: &A| self.amount / took(answer).wall_s;
        let speed = rounds.line(&format!("{}, one core", self.name), Unit::PerSecond, 1, by_processor)?;
        let times = self.times.iter().filter_map(|(peer, times)| speed.times(peer.name(), *times));
        let mut lines: Vec<Line> = [speed.clone()].into_iter().chain(times).collect();
        if rounds.with(2).next().is_some() {
            let one = rounds.line("… one core", Unit::PerSecond, 1, by_clock)?;
            let two = rounds.line("… two cores", Unit::PerSecond, 2, by_clock)?;
            let times = Line::of("… two cores, times one", Unit::Times, two.tandem / one.tandem);
            lines.extend([two, Line { floor: self.two_cores.map(Floor::AtLeast), ..times }]);
        }
        Ok(lines)
    }
}
