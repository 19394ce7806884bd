//! Whole programs: a driver, and processes for what it submits.

use tandem::FailureKind;

use super::node::Node;

/// Runs a scenario of the program, and makes sure that nothing is left of it.
async fn run(args: &[&str]) -> Result<(), tandem::Failure> {
    let mut node = Node::start(args).await;
    let ended = node.run().await;
    node.end().await;
    ended
}

#[tokio::test]
async fn submits_tasks_and_tasks_submit_tasks() {
    run(&["areas", "200"]).await.expect("it ends well");
}

#[tokio::test]
async fn sees_failures_as_what_they_are() {
    run(&["failures"]).await.expect("it ends well");
}

#[tokio::test]
async fn objects_are_passed_on_put_and_waited_for() {
    run(&["objects"]).await.expect("it ends well");
}

#[tokio::test]
async fn tables_are_read_where_they_were_written() {
    run(&["tables"]).await.expect("it ends well");
}

#[tokio::test]
async fn items_of_tasks_are_taken_while_they_are_yielded() {
    run(&["streams"]).await.expect("it ends well");
}

#[tokio::test]
async fn actors_are_started_called_found_and_passed_on() {
    run(&["actors"]).await.expect("it ends well");
}

#[tokio::test]
async fn items_of_actors_are_taken_while_other_calls_wait() {
    run(&["actor-streams"]).await.expect("it ends well");
}

#[tokio::test]
async fn calls_of_one_group_do_not_wait_behind_those_of_another() {
    run(&["groups"]).await.expect("it ends well");
}

#[tokio::test]
async fn pools_share_calls_and_hold_back_what_is_too_much() {
    run(&["pools"]).await.expect("it ends well");
}

#[tokio::test]
async fn tables_are_made_of_tables_part_by_part() {
    run(&["mapped"]).await.expect("it ends well");
}

#[tokio::test]
async fn calls_are_cancelled() {
    run(&["cancel"]).await.expect("it ends well");
}

#[tokio::test]
async fn the_end_of_the_main_function_is_that_of_the_job() {
    let failure = run(&["error"]).await.expect_err("it fails");
    assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Returned, "the driver fails"));
    let failure = run(&["panic"]).await.expect_err("it panics");
    assert_eq!(failure.kind, FailureKind::Panicked);
    let failure = run(&[]).await.expect_err("an argument is missing");
    assert_eq!(failure.message, "argument 1 is missing");
}
