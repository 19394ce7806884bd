//! Filters that a join derives from its build side while it runs, within the task that runs it.

mod support;

use support::Comparison;

/// Rows that the scans of `facts` put out: row groups that the filter rules out are not read.
async fn scanned(options: &[(&str, &str)]) -> u64 {
    let comparison = Comparison::start_with(2, 2, options).await;
    let operators = comparison.operators("SELECT fact_id FROM facts JOIN one ON facts.fact_id = one.id").await;
    let scans = operators.iter().filter(|operator| operator.name == "DataSourceExec");
    scans.map(|scan| scan.output_rows).sum()
}

#[tokio::test]
async fn they_spare_a_scan_what_cannot_match_unless_the_user_turns_them_off() {
    let join = "datafusion.optimizer.enable_join_dynamic_filter_pushdown";
    let all = "datafusion.optimizer.enable_dynamic_filter_pushdown";
    let everything = scanned(&[(join, "false")]).await;
    assert!(everything > 20_000, "{everything}");
    assert_eq!(scanned(&[(all, "false")]).await, everything);
    assert_eq!(scanned(&[(all, "true"), (join, "false")]).await, everything);
    let spared = scanned(&[]).await;
    assert!(spared < 5_000, "{spared} of {everything}");
}
