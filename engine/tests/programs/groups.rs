//! Placement groups: their bundles are where the strategy says, and what they take is given back.

use crate::submit;
use crate::support::Sandbox;

/// What a group that fills the cluster says, with its actors on so many workers.
fn filled(workers: u32) -> String {
    format!("{workers} workers\nanother waits\nits placement group was removed\ngiven back\n")
}

#[test]
fn bundles_are_where_the_strategy_says_and_are_given_back() {
    let sandbox = Sandbox::new();
    sandbox.run(&["cluster", "up", "--workers", "3", "--cpus", "1", "--memory", "256MiB"]).succeeded();
    let groups = |args: &[&str]| submit(&sandbox, "groups", &[&["20000"], args].concat()).succeeded().stdout;
    assert_eq!(groups(&["strict-spread", "0.75", "0.75", "0.75"]), filled(3));
    assert_eq!(groups(&["spread", "0.75", "0.75"]).lines().next(), Some("2 workers"));
    assert_eq!(groups(&["strict-pack", "0.5", "0.5"]).lines().next(), Some("1 workers"));
    assert_eq!(groups(&["pack", "0.5", "0.5", "1", "1"]), filled(3));
    let hopeless = [
        (["strict-spread", "0.5", "0.5", "0.5", "0.5"], "its 4 bundles are to be on as many workers"),
        (["strict-pack", "0.5", "0.5", "0.5", "0.5"], "it needs 2 of `cpus`, and no worker has more than 1"),
    ];
    for (args, why) in hopeless {
        let said = submit(&sandbox, "groups", &[&["1500"], &args[..]].concat()).succeeded().stdout;
        assert!(
            said.starts_with("Unschedulable: it is not reserved in time: waits for") && said.contains(why),
            "{said}"
        );
    }
}
