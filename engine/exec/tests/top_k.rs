//! Search in tables of vectors gives what brute force gives, over any number of partitions and workers.

mod support;

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type};
use support::{Comparison, cells};

const QUERY: [f32; 3] = [0.5, -0.25, 1.0];

/// Vectors of a few directions, so that many scores are equal; some are null, some have no direction.
const DOCS: &str = "(SELECT id, grp, CASE WHEN id % 17 = 0 THEN NULL WHEN id % 19 = 0 THEN [0.0, 0.0, 0.0]
        ELSE [CAST(id % 11 AS double) - 5.0, CAST(id % 7 AS double) - 3.0, CAST(id % 5 AS double)] END AS v FROM numbers) AS docs";

/// The best documents by group: id and score.
type Best = BTreeMap<Option<i64>, Vec<(i64, f64)>>;

fn cosine(v: &[f64]) -> Option<f64> {
    // What is compared are single floats.
    let v = v.iter().map(|v| f64::from(*v as f32));
    let (mut dot, mut norm_v, mut norm_query) = (0.0, 0.0, 0.0);
    for (v, query) in v.zip(QUERY.map(f64::from)) {
        dot += v * query;
        norm_v += v * v;
        norm_query += query * query;
    }
    let norms = norm_v.sqrt() * norm_query.sqrt();
    (norms > 0.0).then(|| dot / norms)
}

/// Every document compared with the query and sorted.
async fn brute_force(comparison: &Comparison, grouped: bool, limit: usize) -> Best {
    let (_, batches) = comparison.expected(&format!("SELECT id, grp, v FROM {DOCS}")).await.expect("documents");
    let mut best = Best::new();
    for batch in &batches {
        let ids = batch.column(0).as_primitive::<Int64Type>();
        let groups = batch.column(1).as_primitive::<Int64Type>();
        let vectors = batch.column(2).as_list::<i32>();
        for row in 0..batch.num_rows() {
            let group = Some(groups).filter(|groups| grouped && groups.is_valid(row)).map(|groups| groups.value(row));
            let of_group = best.entry(group).or_default();
            let vector = vectors.is_valid(row).then(|| vectors.value(row));
            let score = vector.and_then(|v| cosine(v.as_primitive::<Float64Type>().values()));
            of_group.extend(score.map(|score| (ids.value(row), score)));
        }
    }
    for rows in best.values_mut() {
        rows.sort_by(|(a, score_a), (b, score_b)| score_b.total_cmp(score_a).then(a.cmp(b)));
        rows.truncate(limit);
    }
    best
}

/// The rows of lists of value and score, by the group in the first column.
fn lists(batches: &[RecordBatch]) -> Best {
    let mut best = Best::new();
    for batch in batches {
        let groups = batch.column(0).as_primitive::<Int64Type>();
        let lists = batch.column(1).as_list::<i32>();
        for row in 0..batch.num_rows() {
            let rows = lists.value(row);
            let (ids, scores) = (rows.as_struct().column(0), rows.as_struct().column(1));
            let (ids, scores) = (ids.as_primitive::<Int64Type>(), scores.as_primitive::<Float64Type>());
            let rows = ids.values().iter().copied().zip(scores.values().iter().copied()).collect();
            let group = groups.is_valid(row).then(|| groups.value(row));
            assert!(best.insert(group, rows).is_none(), "group {group:?} comes twice");
        }
    }
    best
}

async fn comparisons() -> Vec<Comparison> {
    let mut all = Vec::new();
    for (workers, partitions) in [(1, 1), (2, 2), (3, 7), (3, 16)] {
        all.push(Comparison::start(workers, partitions).await);
    }
    all
}

async fn rows(comparison: &Comparison, sql: &str) -> Vec<RecordBatch> {
    comparison.staged(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}")).1
}

async fn texts(comparison: &Comparison, sql: &str) -> Vec<String> {
    cells(&rows(comparison, sql).await).into_iter().map(|row| row.join("|")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_best_are_those_of_brute_force() {
    for comparison in comparisons().await {
        for limit in [1, 3, 10, 100_000] {
            let best = format!("top_k(id, cosine_similarity(v, [0.5, -0.25, 1.0]), {limit})");
            let found = rows(&comparison, &format!("SELECT grp, {best} FROM {DOCS} GROUP BY grp")).await;
            assert_eq!(lists(&found), brute_force(&comparison, true, limit).await, "{limit} of each group");
            let found = rows(&comparison, &format!("SELECT CAST(NULL AS bigint), {best} FROM {DOCS}")).await;
            assert_eq!(lists(&found), brute_force(&comparison, false, limit).await, "{limit} of all");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_with_a_limit_finds_the_same() {
    for comparison in comparisons().await {
        let sql = format!(
            "SELECT id, cosine_similarity(v, [0.5, -0.25, 1.0]) AS score FROM {DOCS}
             ORDER BY score DESC NULLS LAST, id LIMIT 25"
        );
        let mut found = Vec::new();
        for batch in rows(&comparison, &sql).await {
            let (ids, scores) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1));
            found.extend(
                ids.values().iter().copied().zip(scores.as_primitive::<Float64Type>().values().iter().copied()),
            );
        }
        let best = brute_force(&comparison, false, 25).await;
        assert_eq!(found, best[&None]);
        let unnested = format!(
            "SELECT best['value'] AS id FROM (SELECT unnest(top_k(id, cosine_similarity(v, [0.5, -0.25, 1.0]), 25)) AS best
             FROM {DOCS}) AS t"
        );
        let ids: Vec<String> = best[&None].iter().map(|(id, _)| id.to_string()).collect();
        assert_eq!(texts(&comparison, &unnested).await, ids);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_count_and_what_is_equal_have_one_answer() {
    for comparison in comparisons().await {
        for (sql, expected) in [
            // By value where scores are equal, null last; scores that are null or no number do not count.
            (
                "SELECT top_k(v, s, 9) FROM (VALUES (3, 1.0), (NULL, 1.0), (2, 1.0), (9, NULL), (8, 'nan'::double), (1, 'inf'::double)) AS t(v, s)",
                "[{value: 1, score: inf}, {value: 2, score: 1.0}, {value: 3, score: 1.0}, {value: null, score: 1.0}]",
            ),
            ("SELECT top_k(id, x, 3) FROM numbers WHERE id < 0", "[]"),
            ("SELECT top_k(id, NULL, 3) FROM numbers", "[]"),
            (
                "SELECT top_k(id, x, 2) FILTER (WHERE id < 10) FROM numbers",
                "[{value: 9, score: 13.5}, {value: 8, score: 12.0}]",
            ),
            // Anything that has an order can be a score, and anything that can be compared a value.
            ("SELECT top_k(id, day, 1) FROM numbers", "[{value: 364, score: 2024-12-30}]"),
            ("SELECT top_k(id, amount, 1) FROM numbers WHERE id <= 7", "[{value: 7, score: 100.000000}]"),
            (
                "SELECT top_k(s, quantity, 2) FROM facts WHERE fact_id <= 26",
                "[{value: {a: 0, b: 0}, score: 12}, {value: {a: 1, b: 1}, score: 12}]",
            ),
            ("SELECT top_k(name, id, 1) FROM one GROUP BY id", "[{value: only, score: 1}]"),
        ] {
            assert_eq!(texts(&comparison, sql).await, [expected], "{sql}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dictionaries_are_values_and_scores_like_any_other() {
    let comparison = Comparison::start(2, 2).await;
    let dictionary = "arrow_cast(name, 'Dictionary(Int32, Utf8)')";
    let sql = format!("SELECT top_k({dictionary}, {dictionary}, 1) FROM one");
    assert_eq!(texts(&comparison, &sql).await, ["[{value: only, score: only}]"]);
}

#[tokio::test]
async fn wrong_arguments_are_named_before_anything_runs() {
    let comparison = Comparison::start(1, 1).await;
    for (arguments, words) in [
        ("id, x, 0", "at least one row, not 0"),
        ("id, x, -3", "at least one row, not -3"),
        ("id, x, NULL", "at least one row, not NULL"),
        ("id, x, id", "must be a number"),
        ("id, x, 1.5", "a whole number of rows, not Float64"),
        ("id, x", "2 arguments"),
        ("id, [x], 3", "not by List"),
        ("DISTINCT id, x, 3", "DISTINCT"),
    ] {
        let error = comparison.staged(&format!("SELECT top_k({arguments}) FROM numbers")).await.unwrap_err();
        assert!(error.contains(words), "{arguments}: {error}");
    }
}
