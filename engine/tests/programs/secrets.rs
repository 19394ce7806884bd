//! The value of a secret is found nowhere but in the processes of its job.

use std::fs;

use serde_json::Value;

use crate::submit_with;
use crate::support::{Sandbox, files_below, http};

const VALUE: &str = "correct horse battery staple";

/// Everything that was shown, whether it matters or not.
struct Seen<'a> {
    sandbox: &'a Sandbox,
    texts: Vec<String>,
}

impl Seen<'_> {
    fn run(&mut self, args: &[&str]) {
        let shown = self.sandbox.run(args);
        self.texts.extend([shown.stdout, shown.stderr]);
    }

    fn list(&mut self, args: &[&str]) -> Vec<Value> {
        let args = [args, &["-o", "json"]].concat();
        self.run(&args);
        self.sandbox.run(&args).json().as_array().expect("a list").clone()
    }
}

#[test]
fn the_value_of_a_secret_is_found_nowhere() {
    let sandbox = Sandbox::with_cluster(2).with_environment([("KEY".to_owned(), VALUE.to_owned())]);
    let none = submit_with(&sandbox, &[], "reveal", &["print"]).ended_with(1);
    assert!(none.stderr.contains("the variables `KEY`, `PLACE` are not set: give each with `--env"), "{}", none.stderr);
    let mut seen = Seen { sandbox: &sandbox, texts: Vec::new() };
    for (how, code) in [("print", 0), ("return", 0), ("panic", 0), ("driver", 1)] {
        let ended =
            submit_with(&sandbox, &["--secret", "KEY", "--env", "PLACE=here"], "reveal", &[how]).ended_with(code);
        // What tasks print is in the logs only.
        let masked = how == "print" || ended.stdout.contains("***") || ended.stderr.contains("***");
        assert!(masked, "{how}: {ended:?}");
        seen.texts.extend([ended.stdout, ended.stderr]);
    }
    for job in seen.list(&["job", "list"]) {
        let id = job["id"].as_str().expect("an id");
        for args in [["job", "get", id], ["job", "logs", id], ["job", "tasks", id]] {
            seen.run(&args);
        }
        seen.run(&["timeline", id]);
    }
    for list in ["task", "actor", "object"] {
        seen.list(&[list, "list"]);
    }
    seen.run(&["summary"]);
    let token = fs::read_to_string(sandbox.state().join("token")).expect("the token");
    let mut listeners = seen.list(&["node", "list"]);
    listeners.push(sandbox.run(&["cluster", "status", "-o", "json"]).succeeded().json());
    for listener in listeners {
        let address = listener["http_address"].as_str().expect("an address");
        let metrics = http::get(address, "/metrics", Some(&format!("Bearer {}", token.trim()))).expect("an answer");
        assert_eq!(metrics.status, 200);
        seen.texts.push(metrics.body);
    }
    assert!(seen.texts.iter().any(|text| text.contains("the key is ***")), "{:?}", seen.texts);
    for text in &seen.texts {
        assert!(!text.contains(VALUE), "{text}");
    }
    for file in files_below(&sandbox.state()) {
        // Some come and go.
        let bytes = fs::read(sandbox.state().join(&file)).unwrap_or_default();
        assert!(!bytes.windows(VALUE.len()).any(|part| part == VALUE.as_bytes()), "{file} has it");
    }
}
