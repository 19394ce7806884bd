//! Jobs that come with the binary, as the texts of ordinary job files. A client expands a name to its text and submits
//! that, so that a cluster runs what the client meant, whatever its own version.

mod sales;

use std::collections::BTreeMap;

use tandem_proto::v1;

const EVENTS: &str = include_str!("events.toml");

/// Names of the jobs there are, and what each does.
pub const BUILT_INS: [(&str, &str); 4] = [
    ("sales", "revenue per product and what to do about it, of nine rows or of your own file"),
    ("sales-etl", "the first half of sales: revenue and quantities per product"),
    ("sales-analysis", "the second half: classes, advice and totals of products"),
    ("events", "cleans, deduplicates, enriches and aggregates shop events"),
];

/// The job file of the built-in `name` for these params; none when there is no such job.
pub fn job_file(name: &str, params: &BTreeMap<String, String>, base_dir: &str) -> Option<v1::JobFile> {
    let own_input = params.get("input").is_some_and(|input| !input.is_empty());
    let toml = match name {
        "sales" => sales::both(own_input),
        "sales-etl" => sales::etl(own_input),
        "sales-analysis" => sales::analysis(),
        "events" => EVENTS.to_owned(),
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
                if input.is_empty() && ["events", "sales-analysis"].contains(&name) {
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
}
