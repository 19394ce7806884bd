//! Every query of the corpus gives the same answer over stages, for several numbers of partitions and workers, as
//! single-process DataFusion gives; errors included.

mod support;

use support::{Comparison, EXCHANGED};

/// The queries of a corpus file: separated by `;` at the end of a line, `--` starts a comment.
fn queries(corpus: &str) -> Vec<String> {
    let code: Vec<&str> = corpus.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    code.join("\n").split(";\n").map(str::trim).filter(|sql| !sql.is_empty()).map(str::to_owned).collect()
}

async fn check(corpus: &str, workers: usize, partitions: usize, options: &[(&str, &str)]) {
    let comparison = Comparison::start_with(workers, partitions, options).await;
    for sql in queries(corpus) {
        comparison.check(&sql).await;
    }
}

macro_rules! oracle_tests {
    ($($name:ident: $workers:literal workers, $partitions:literal partitions, $options:expr;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            check(include_str!("corpus/queries.sql"), $workers, $partitions, &$options).await;
        }
    )*};
}

oracle_tests! {
    one_worker_one_partition: 1 workers, 1 partitions, [];
    two_workers_two_partitions: 2 workers, 2 partitions, [];
    three_workers_seven_partitions: 3 workers, 7 partitions, [];
    three_workers_sixteen_partitions: 3 workers, 16 partitions, [];
    three_workers_that_exchange_all: 3 workers, 4 partitions, EXCHANGED;
}

#[tokio::test]
async fn stages_say_whether_they_give_the_same_rows_again() {
    let comparison = Comparison::start(1, 2).await;
    let counted = |rows: &str| format!("SELECT x, count(*) FROM ({rows}) GROUP BY x");
    for (sql, deterministic) in [
        (counted("SELECT grp AS x FROM numbers"), true),
        ("SELECT id FROM numbers ORDER BY id LIMIT 10".to_owned(), true),
        // What nothing else is made from may be anything of what it could be.
        ("SELECT id FROM numbers WHERE random() < 0.5".to_owned(), true),
        (counted("SELECT grp AS x FROM numbers WHERE random() < 0.5"), false),
        (counted("SELECT grp AS x, count(*) FROM numbers GROUP BY grp LIMIT 3"), false),
        (counted("SELECT id AS x FROM numbers ORDER BY grp LIMIT 30"), false),
        (counted("SELECT row_number() OVER (PARTITION BY grp ORDER BY id % 2) AS x FROM numbers"), false),
        (counted("SELECT first_value(name) AS x FROM numbers GROUP BY id % 7"), false),
    ] {
        let graph = comparison.plan(&sql).await;
        let all = graph.stages.iter().all(|stage| stage.deterministic);
        assert_eq!(all, deterministic, "{sql}: {graph:#?}");
    }
}
