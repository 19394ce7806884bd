//! Who may set a variable of a program's processes, and over whom.

use crate::support::Sandbox;
use crate::{submit, submit_with};

#[test]
fn the_nearest_says_what_a_variable_is_and_nothing_else_gets_through() {
    // What the cluster's own processes have besides.
    let sandbox = Sandbox::new().with_environment([("OTHER".to_owned(), "leaked".to_owned())]);
    let up =
        ["cluster", "up", "--workers", "3", "--memory", "256MiB", "--env", "FIRST=worker", "--env", "SECOND=worker"];
    sandbox.run(&up).succeeded();
    let names = ["FIRST", "SECOND", "OTHER"];
    let seen = |options: &[&str]| submit_with(&sandbox, options, "variables", &names).succeeded().stdout;
    let on_each = |seen: &str| (1..=3).map(|worker| format!("worker-{worker} {seen}\n")).collect::<String>();
    let with_job = format!("{}task FIRST=task SECOND=worker\n", on_each("FIRST=job SECOND=worker"));
    assert_eq!(seen(&["--env", "FIRST=job"]), with_job);
    let next = format!("{}task FIRST=task SECOND=worker\n", on_each("FIRST=worker SECOND=worker"));
    assert_eq!(submit(&sandbox, "variables", &names).succeeded().stdout, next);
}
