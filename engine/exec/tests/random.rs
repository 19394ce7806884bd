//! Random queries over the corpus's tables, compared with single-process DataFusion. The seed of each query is printed when
//! it fails; `TANDEM_ORACLE_QUERIES=2000` asks more of them.

mod support;

use support::{Comparison, EXCHANGED};

/// A small generator of pseudo-random numbers (SplitMix64), so that a seed names a query for good.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len() as u64) as usize]
    }
}

const JOINS: [&str; 6] = ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "LEFT SEMI JOIN", "LEFT ANTI JOIN"];

/// Of rows that are alike, it does not matter which comes first.
const WINDOWS: [&str; 12] = [
    "lag(v) OVER (PARTITION BY k ORDER BY v)",
    "lag(v, 2, 7) OVER (PARTITION BY k ORDER BY v DESC)",
    "lag(v) IGNORE NULLS OVER (ORDER BY k, v)",
    "lead(v) OVER (ORDER BY k DESC, v DESC)",
    "nth_value(v, 2) OVER (PARTITION BY k ORDER BY v DESC)",
    "first_value(v) IGNORE NULLS OVER (PARTITION BY k ORDER BY v)",
    "last_value(v) OVER (ORDER BY k, v ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING)",
    "count(*) FILTER (WHERE v % 2 = 0) OVER (PARTITION BY k ORDER BY v)",
    "sum(v) FILTER (WHERE v > 3) OVER (ORDER BY k, v ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)",
    "max(v) FILTER (WHERE k < 5) OVER ()",
    "dense_rank() OVER (ORDER BY k, v)",
    "count(v) OVER (PARTITION BY v ORDER BY k DESC)",
];

/// Something to select from that has the columns `k` (an integer key with nulls) and `v` (an integer).
fn relation(random: &mut Random, depth: u32) -> String {
    let table = random.pick(&[
        "SELECT grp AS k, id AS v FROM (SELECT * FROM numbers WHERE id < 200)",
        "SELECT id AS k, grp AS v FROM numbers",
        "SELECT number_id AS k, quantity AS v FROM (SELECT * FROM facts WHERE fact_id % 20 = 0)",
        "SELECT kind AS k, number_id AS v FROM (SELECT * FROM facts WHERE fact_id < 100)",
        "SELECT kind AS k, kind AS v FROM kinds",
        "SELECT number_id AS k, number_id AS v FROM holes",
        "SELECT id AS k, id AS v FROM empty",
        "SELECT id AS k, id AS v FROM one",
    ]);
    if depth == 0 {
        return format!("({table} WHERE {})", predicate(random, table));
    }
    match random.below(13) {
        0 => format!("({table})"),
        1 => {
            let (left, right) = (relation(random, depth - 1), relation(random, depth - 1));
            format!("(SELECT k, v FROM {left} UNION ALL SELECT v, k FROM {right})")
        }
        2 => {
            let input = relation(random, depth - 1);
            let total = random.pick(&["sum(v)", "count(*)", "count(DISTINCT v)", "max(v)", "min(v)"]);
            format!("(SELECT k, {total} AS v FROM {input} GROUP BY k)")
        }
        3 => {
            let input = relation(random, depth - 1);
            let limit = random.below(40);
            format!("(SELECT k, v FROM {input} ORDER BY k, v LIMIT {limit} OFFSET {})", random.below(5))
        }
        4 => {
            let (input, other) = (relation(random, depth - 1), relation(random, depth - 1));
            let test = random.pick(&["IN", "NOT IN"]);
            format!("(SELECT k, v FROM {input} WHERE k {test} (SELECT v FROM {other}))")
        }
        5 => {
            let input = relation(random, depth - 1);
            let numbered = format!("SELECT k, v, row_number() OVER (PARTITION BY k ORDER BY v) AS n FROM {input}");
            if random.chance(50) {
                return format!("(SELECT k, v FROM ({numbered}) WHERE n <= {})", 1 + random.below(3));
            }
            format!("(SELECT k, n AS v FROM ({numbered}))")
        }
        6 => {
            let input = relation(random, depth - 1);
            let (one, other) = (random.pick(&WINDOWS), random.pick(&WINDOWS));
            format!(
                "(SELECT k, coalesce(a, 0) - coalesce(b, 1) AS v FROM (SELECT k, {one} AS a, {other} AS b FROM {input}))"
            )
        }
        7 => {
            let (left, right) = (relation(random, depth - 1), relation(random, depth - 1));
            let operator = random.pick(&["UNION", "INTERSECT", "EXCEPT", "INTERSECT ALL", "EXCEPT ALL"]);
            format!("(SELECT k, v FROM {left} {operator} SELECT k, v FROM {right})")
        }
        8 => {
            let (input, other) = (relation(random, depth - 1), relation(random, depth - 1));
            let test = random.pick(&["EXISTS", "NOT EXISTS"]);
            format!(
                "(SELECT k, v FROM {input} l WHERE {test} (SELECT 1 FROM {other} r WHERE r.k = l.k AND r.v <> l.v))"
            )
        }
        9 => {
            let (input, other) = (relation(random, depth - 1), relation(random, depth - 1));
            let value = random.pick(&["max(v)", "count(*)", "sum(v)"]);
            format!("(SELECT k, (SELECT {value} FROM {other} r WHERE r.k = l.k) AS v FROM {input} l)")
        }
        10 => {
            let input = relation(random, depth - 1);
            let groups = random.pick(&["ROLLUP (k, v % 3)", "CUBE (k, v % 3)", "GROUPING SETS ((k), (v % 3), ())"]);
            format!("(SELECT k, count(*) + grouping(k) AS v FROM {input} GROUP BY {groups})")
        }
        11 => {
            let (input, other) = (relation(random, depth - 1), relation(random, depth - 1));
            let (test, value) = (random.pick(&["=", "<", ">=", "<>"]), random.pick(&["min(v)", "max(k)", "count(*)"]));
            format!("(SELECT k, v FROM {input} WHERE v {test} (SELECT {value} FROM {other}))")
        }
        _ => {
            let (left, right) = (relation(random, depth - 1), relation(random, depth - 1));
            let join = random.pick(&JOINS);
            let columns =
                if join.ends_with("SEMI JOIN") || join.ends_with("ANTI JOIN") { "l.k, l.v" } else { "l.k, r.v" };
            let also = if random.chance(30) { " AND l.v < r.v" } else { "" };
            format!("(SELECT {columns} FROM {left} l {join} {right} r ON l.k = r.k{also})")
        }
    }
}

/// A condition on a column that the table of `select` has.
fn predicate(random: &mut Random, select: &str) -> String {
    let column = select.trim_start_matches("SELECT ").split(" AS ").next().unwrap_or("id");
    match random.below(4) {
        0 => format!("{column} < {}", random.below(3000)),
        1 => format!("{column} % {} = 0", 1 + random.below(9)),
        2 => format!("{column} IS NOT NULL"),
        _ => format!("{column} BETWEEN {} AND {}", random.below(10), 10 + random.below(400)),
    }
}

fn query(seed: u64) -> String {
    let mut random = Random(seed);
    let depth = 1 + random.below(3) as u32;
    let relation = relation(&mut random, depth);
    // Counts and sums keep the answer of an exploding join small and say as much.
    match random.below(3) {
        0 => format!("SELECT count(*), sum(k), sum(v), count(v) FROM {relation} t"),
        1 => format!("SELECT k % 20 AS m, count(*) AS c, sum(v) FROM {relation} t GROUP BY m ORDER BY m, c"),
        _ => format!("SELECT k, v FROM {relation} t ORDER BY k, v LIMIT 50"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_queries_agree_with_datafusion() {
    let count = std::env::var("TANDEM_ORACLE_QUERIES").ok().and_then(|text| text.parse().ok()).unwrap_or(120);
    let comparisons = [
        Comparison::start(1, 1).await,
        Comparison::start(2, 2).await,
        Comparison::start(3, 7).await,
        Comparison::start_with(3, 4, &EXCHANGED).await,
    ];
    for seed in 0..count {
        let sql = query(seed);
        println!("seed {seed}: {sql}");
        comparisons[seed as usize % comparisons.len()].check(&sql).await;
    }
}
