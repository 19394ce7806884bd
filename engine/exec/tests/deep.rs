//! Statements that nest deep: what DataFusion answers in one process, stages answer too.

mod support;

use support::Comparison;
use tandem_exec::nesting::STACK_BYTES;
use tokio::runtime::Builder;

const PARSER_LIMIT: &str = "datafusion.sql_parser.recursion_limit";

/// Asks both, on stacks as coordinator and workers have them, with a parser that goes as deep as is asked for.
fn check(sql: String) {
    let threads = Builder::new_multi_thread().worker_threads(2).thread_stack_size(STACK_BYTES).enable_all().build();
    let threads = threads.expect("threads");
    let checking = threads.spawn(async move {
        for partitions in [1, 3] {
            let comparison = Comparison::start_with(2, partitions, &[(PARSER_LIMIT, "500")]).await;
            comparison.expected(&format!("SET {PARSER_LIMIT} = 500")).await.expect("a setting");
            comparison.expected(&sql).await.expect("DataFusion answers");
            comparison.check(&sql).await;
        }
    });
    threads.block_on(checking).expect("both answer alike");
}

fn chain(terms: impl Iterator<Item = String>, operator: &str) -> String {
    terms.collect::<Vec<_>>().join(operator)
}

#[test]
fn sums_of_many_terms() {
    check(format!("SELECT id, id{} AS s FROM numbers WHERE grp = 3", " + x - 1".repeat(150)));
}

#[test]
fn conditions_of_many_terms() {
    let terms = (0..500).map(|term| format!("id % {} = x / 1.5", term + 2));
    check(format!("SELECT id FROM numbers WHERE {}", chain(terms, " OR ")));
}

#[test]
fn groups_by_many_terms() {
    let key = chain((0..200).map(|term| format!("(id + {term}) % 3")), " * 2 + ");
    check(format!("SELECT {key} AS k, count(*) FROM numbers GROUP BY {key}"));
}

#[test]
fn parentheses_in_parentheses() {
    let nested = (0..80).fold("id".to_owned(), |inner, level| format!("({inner} + {level}) % 100"));
    check(format!("SELECT id FROM numbers WHERE {nested} > 50"));
}

#[test]
fn cases_in_cases() {
    let nested = (0..60).fold("x".to_owned(), |inner, level| {
        format!("CASE WHEN id % {} = 0 THEN {level} ELSE abs({inner}) END", level + 2)
    });
    check(format!("SELECT id, {nested} AS c FROM numbers"));
}

#[test]
fn queries_in_queries() {
    let nested = (0..60).fold("SELECT id, grp FROM numbers".to_owned(), |inner, level| {
        format!("SELECT id, grp FROM ({inner} ORDER BY id LIMIT {}) AS q WHERE id <> {level}", 600 - level)
    });
    check(nested);
}

#[test]
fn unions_of_many() {
    let terms = (0..200).map(|term| format!("SELECT id + {term} AS n FROM one"));
    check(chain(terms, " UNION "));
}

#[test]
fn joins_of_many() {
    let joins = (0..60).map(|join| format!("JOIN one AS o{join} ON o{join}.id = n.id"));
    check(format!("SELECT count(*) FROM numbers AS n {}", chain(joins, " ")));
}
