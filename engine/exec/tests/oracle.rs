//! Every query of the corpus gives the same answer over stages, for several numbers of partitions and workers, as
//! single-process DataFusion gives; errors included.

mod support;

use std::path::Path;

use datafusion::prelude::{SessionConfig, SessionContext};
use support::{Workers, normalize, oracle, plan, planner};
use tempfile::TempDir;

/// Small tables with what breaks engines: nulls in keys, duplicates, skew, an empty table, one row, strings of all
/// lengths, decimals, dates, nested values.
const TABLES: [(&str, &str); 6] = [
    (
        "numbers",
        "SELECT value AS id, CASE WHEN value % 7 = 0 THEN NULL ELSE value % 10 END AS grp, value * 1.5 AS x,
                CAST(value * 100 AS decimal(12, 2)) / 7 AS amount,
                concat('name-', repeat('x', value % 40), CAST(value % 50 AS varchar)) AS name,
                date '2024-01-01' + CAST(value % 365 AS int) AS day
         FROM generate_series(1, 5000)",
    ),
    (
        "facts",
        "SELECT value AS fact_id, CASE WHEN value % 3 = 0 THEN 1 ELSE value % 997 END AS number_id,
                CASE WHEN value % 11 = 0 THEN NULL ELSE value % 5 END AS kind, value % 13 AS quantity,
                named_struct('a', value % 3, 'b', CAST(value % 4 AS varchar)) AS s, [value % 2, value % 3] AS list
         FROM generate_series(1, 20000)",
    ),
    ("kinds", "SELECT value AS kind, concat('kind ', value) AS label FROM generate_series(0, 4)"),
    ("holes", "SELECT CASE WHEN value % 4 = 0 THEN NULL ELSE value END AS number_id FROM generate_series(1, 40)"),
    ("empty", "SELECT CAST(value AS bigint) AS id, 'x' AS name FROM generate_series(1, 1) WHERE value > 1"),
    ("one", "SELECT 1 AS id, 'only' AS name"),
];

async fn write_tables(folder: &Path) {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    context.sql("SET datafusion.execution.parquet.max_row_group_size = 1000").await.expect("a setting");
    for (name, sql) in TABLES {
        let path = folder.join(format!("{name}.parquet"));
        let copy = format!("COPY ({sql}) TO '{}' STORED AS PARQUET", path.display());
        context.sql(&copy).await.expect("a valid query").collect().await.expect("a written table");
    }
}

/// The queries of a corpus file: separated by `;` at the end of a line, `--` starts a comment.
fn queries(corpus: &str) -> Vec<String> {
    let code: Vec<&str> = corpus.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    code.join("\n").split(";\n").map(str::trim).filter(|sql| !sql.is_empty()).map(str::to_owned).collect()
}

/// Whether the statement itself, not a part of it in parentheses, says in which order rows come.
fn orders_rows(sql: &str) -> bool {
    sql.rsplit(')').next().is_some_and(|end| end.to_lowercase().contains("order by"))
}

async fn check(corpus: &str, workers: usize, partitions: usize) {
    let folder = TempDir::new().expect("a temporary folder");
    write_tables(folder.path()).await;
    let expected = oracle(folder.path()).await;
    let (context, settings) = planner(folder.path(), partitions).await;
    let workers = Workers::start(workers);
    for sql in queries(corpus) {
        let ordered = orders_rows(&sql);
        let want = async { expected.sql(&sql).await?.collect().await }.await;
        let got = match plan(&context, &sql).await {
            Ok(graph) => workers.run(&graph, &settings).await,
            Err(error) => Err(error),
        };
        match (want, got) {
            (Ok(want), Ok(got)) => {
                assert_eq!(
                    normalize(&got, ordered),
                    normalize(&want, ordered),
                    "wrong answer with {partitions} partitions:\n{sql}\n{}",
                    explain(&context, &sql).await
                );
            }
            (Err(_), Err(_)) => {}
            (Ok(_), Err(error)) => panic!(
                "with {partitions} partitions only DataFusion answers: {error}\n{sql}\n{}",
                explain(&context, &sql).await
            ),
            (Err(error), Ok(_)) => panic!("only DataFusion refuses with {error}\n{sql}"),
        }
    }
}

async fn explain(context: &SessionContext, sql: &str) -> String {
    match plan(context, sql).await {
        Ok(graph) => graph.stages.iter().map(|s| format!("stage {} {:?}\n{}", s.id, s.role, s.display)).collect(),
        Err(error) => error,
    }
}

macro_rules! oracle_tests {
    ($($name:ident: $workers:literal workers, $partitions:literal partitions;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            check(include_str!("corpus/queries.sql"), $workers, $partitions).await;
        }
    )*};
}

oracle_tests! {
    one_worker_one_partition: 1 workers, 1 partitions;
    two_workers_two_partitions: 2 workers, 2 partitions;
    three_workers_seven_partitions: 3 workers, 7 partitions;
    three_workers_sixteen_partitions: 3 workers, 16 partitions;
}
