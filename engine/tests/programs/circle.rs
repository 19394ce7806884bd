//! Calls that wait for each other over several workers.

use crate::submit;
use crate::support::Sandbox;

#[test]
fn actors_of_all_workers_that_wait_for_each_other_are_told_and_go_on() {
    for workers in [2, 3] {
        let sandbox = Sandbox::with_cluster(workers);
        let finished = submit(&sandbox, "circle", &[]).succeeded();
        // One call of each actor, one more of the first, and the name of the first of them again.
        let calls = vec!["circle::Asker::ask"; workers as usize + 2].join(" waits for ");
        let deadlock = format!("Deadlock: calls wait for each other in a circle: {calls}");
        let answer = format!("{workers} answer");
        let expected = [&*format!("{workers} workers"), &*answer, &*deadlock, &*deadlock, &*answer];
        assert_eq!(finished.stdout.lines().collect::<Vec<_>>(), expected, "{}", finished.stderr);
    }
}
