//! Rows without a partner in a join are dropped before they are exchanged.

mod support;

use support::{Comparison, EXCHANGED};

/// The few numbers that the join below keeps, of which each fact may have one.
const FEW: &str = "(SELECT id, grp FROM numbers WHERE x < 30)";

/// Rows that went into prefilters, and those that came out.
async fn filtered(partitions: usize, sql: &str) -> (u64, u64) {
    let options: Vec<_> = EXCHANGED.into_iter().chain([("tandem.fuse_joins", "false")]).collect();
    let comparison = Comparison::start_with(2, partitions, &options).await;
    comparison.check(sql).await;
    let plans: String = comparison.plan(sql).await.stages.iter().map(|stage| stage.display.clone()).collect();
    assert!(plans.contains("PrefilterExec"), "{plans}");
    let operators = comparison.operators(sql).await;
    let rows = |name: &str| operators.iter().filter(|o| o.name == name).map(|o| o.output_rows).sum::<u64>();
    (rows("DataSourceExec"), rows("PrefilterExec"))
}

#[tokio::test]
async fn the_probe_side_is_exchanged_without_them() {
    for join in ["JOIN", "LEFT JOIN", "LEFT SEMI JOIN", "LEFT ANTI JOIN"] {
        let sql = format!("SELECT count(*), sum(n.id) FROM {FEW} n {join} facts f ON n.id = f.number_id");
        let (read, passed) = filtered(2, &sql).await;
        assert!(read > 20_000 && passed < 7_500, "{join}: {passed} of {read}");
    }
}

#[tokio::test]
async fn groups_without_a_partner_are_not_even_made() {
    let sql = format!(
        "SELECT count(*), sum(total) FROM {FEW} n
         JOIN (SELECT number_id, sum(quantity) AS total FROM facts GROUP BY number_id) f ON n.id = f.number_id"
    );
    let (read, passed) = filtered(4, &sql).await;
    assert!(read > 20_000 && passed < 7_500, "{passed} of {read}");
}

#[tokio::test]
async fn rows_that_count_without_a_partner_stay() {
    let comparison = Comparison::start_with(2, 2, &EXCHANGED).await;
    for join in ["RIGHT JOIN", "FULL JOIN", "RIGHT ANTI JOIN"] {
        let sql = format!("SELECT count(*), sum(f.fact_id) FROM {FEW} n {join} facts f ON n.id = f.number_id");
        comparison.check(&sql).await;
    }
    for sql in [
        "SELECT id FROM numbers WHERE grp NOT IN (SELECT kind FROM facts)",
        "SELECT id FROM numbers WHERE grp IS NOT DISTINCT FROM (SELECT max(number_id) FROM holes)",
        "SELECT count(*) FROM holes a JOIN holes b ON a.number_id IS NOT DISTINCT FROM b.number_id",
    ] {
        comparison.check(sql).await;
    }
}
