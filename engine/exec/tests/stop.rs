//! A task that computes ends when it is told to, and gives its thread up meanwhile.

mod support;

use std::sync::Arc;

use futures::poll;
use support::Comparison;
use tandem_exec::task::TaskProgress;

/// Ten thousand million pairs, of which none is put out.
const ENDLESS: [&str; 2] = [
    "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b WHERE a.value + b.value < 0",
    "SELECT count(*) FROM generate_series(1, 100000) a JOIN generate_series(1, 100000) b
     ON a.value % 1 = b.value % 1 AND a.value + b.value < 0",
];

#[tokio::test]
async fn a_join_that_finds_nothing_ends() {
    let comparison = Comparison::start(1, 1).await;
    for sql in ENDLESS {
        let progress = Arc::new(TaskProgress::default());
        progress.stop();
        let error = comparison.run_with(sql, &progress).await.unwrap_err();
        assert!(error.contains("told to stop"), "{error}");
    }
}

#[tokio::test]
async fn a_join_that_puts_out_much_gives_its_thread_up() {
    let comparison = Comparison::start(1, 1).await;
    for sql in [
        "SELECT sum(a.value + b.value) FROM generate_series(1, 4000) a CROSS JOIN generate_series(1, 4000) b",
        "SELECT sum(a.value + b.value) FROM generate_series(1, 4000) a JOIN generate_series(1, 4000) b ON a.value % 1 = b.value % 1",
        "SELECT sum(a.value + b.value) FROM generate_series(1, 4000) a JOIN generate_series(1, 4000) b ON a.value + b.value > 0",
    ] {
        let pauses = pauses(&comparison, sql).await;
        assert!(pauses > 5, "{pauses} pauses in {sql}");
    }
}

#[tokio::test]
async fn a_function_that_takes_long_gives_its_thread_up() {
    let comparison = Comparison::start(1, 1).await;
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../../gpu-kernels/text/tests/vectors/tiny_model");
    // Rows of files would be waited for, more often the more other programs there are.
    let count =
        |value: &str| format!("SELECT count({value}) FROM (SELECT concat('name-', value) AS name FROM range(5000))");
    let slow = pauses(&comparison, &count(&format!("embed(name, '{model}')"))).await;
    let fast = pauses(&comparison, &count("name")).await;
    assert!(slow > fast + 5000 / 128, "{slow} pauses, {fast} without it");
}

/// How often a query gives its thread up.
async fn pauses(comparison: &Comparison, sql: &str) -> usize {
    let progress = Arc::default();
    let mut run = std::pin::pin!(comparison.run_with(sql, &progress));
    let mut pauses = 0;
    while poll!(&mut run).is_pending() {
        pauses += 1;
        tokio::task::yield_now().await;
    }
    pauses
}
