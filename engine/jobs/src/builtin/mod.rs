//! Jobs that come with the binary, as the texts of ordinary job files. A client expands a name to its text and submits
//! that, so that a cluster runs what the client meant, whatever its own version.

mod sales;

use std::collections::BTreeMap;

use tandem_proto::v1;

const EVENTS: &str = include_str!("events.toml");
const EMBED: &str = include_str!("embed.toml");

/// Names of the jobs there are, and what each does.
pub const BUILT_INS: [(&str, &str); 5] = [
    ("sales", "revenue per product and what to do about it, of nine rows or of your own file"),
    ("sales-etl", "the first half of sales: revenue and quantities per product"),
    ("sales-analysis", "the second half: classes, advice and totals of products"),
    ("events", "cleans, deduplicates, enriches and aggregates shop events"),
    ("embed", "the vector of each text of a table, by a model of your own"),
];

/// A param without which a built-in job can do nothing, and that nobody but its user knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needed {
    /// Its name.
    pub param: &'static str,
    /// What it is.
    pub about: &'static str,
}

const NEEDED_BY_EMBED: [Needed; 2] = [
    Needed { param: "input", about: "a file, a folder or a pattern with the texts" },
    Needed { param: "model", about: "the folder of a sentence encoder" },
];

/// The first param that the built-in `name` needs and that `params` does not have.
pub fn missing_param(name: &str, params: &BTreeMap<String, String>) -> Option<Needed> {
    let needed: &[Needed] = if name == "embed" { &NEEDED_BY_EMBED } else { &[] };
    let is_given = |needed: &Needed| params.get(needed.param).is_some_and(|value| !value.trim().is_empty());
    needed.iter().find(|needed| !is_given(needed)).copied()
}

/// The job file of the built-in `name` for these params; none when there is no such job.
pub fn job_file(name: &str, params: &BTreeMap<String, String>, base_dir: &str) -> Option<v1::JobFile> {
    let own_input = params.get("input").is_some_and(|input| !input.is_empty());
    let toml = match name {
        "sales" => sales::both(own_input),
        "sales-etl" => sales::etl(own_input),
        "sales-analysis" => sales::analysis(),
        "events" => EVENTS.to_owned(),
        "embed" => EMBED.to_owned(),
        _ => return None,
    };
    Some(v1::JobFile {
        toml,
        params: params.clone().into_iter().collect(),
        base_dir: base_dir.to_owned(),
        origin: name.to_owned(),
        program: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job_file::JobFile;

    #[test]
    fn every_built_in_is_a_good_job_file() {
        for (name, _) in BUILT_INS {
            for input in ["", "in.csv"] {
                let params =
                    BTreeMap::from([("input".to_owned(), input.to_owned()), ("output".to_owned(), "o".to_owned())]);
                if input.is_empty() && ["events", "sales-analysis", "embed"].contains(&name) {
                    continue;
                }
                let file = job_file(name, &params, "/").unwrap();
                let job = JobFile::parse(&file.toml, &file.origin, &params).unwrap();
                assert_eq!(job.name, name);
                assert!(job.sinks.iter().all(|sink| sink.spec.path.starts_with("o/")), "{name}");
            }
        }
        assert_eq!(job_file("nothing", &BTreeMap::new(), "/"), None);
    }

    #[test]
    fn what_only_the_user_knows_is_asked_for() {
        let missing = |name: &str, params: &[(&str, &str)]| {
            let params = params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            missing_param(name, &params).map(|needed| needed.param)
        };
        assert_eq!(missing("embed", &[]), Some("input"));
        assert_eq!(missing("embed", &[("input", "a.csv"), ("model", " ")]), Some("model"));
        assert_eq!(missing("embed", &[("input", "a.csv"), ("model", "m")]), None);
        assert_eq!(missing("sales", &[]), None);
    }
}
