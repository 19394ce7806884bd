//! Parquet and Arrow files of one source whose columns are not the same.

use super::*;

impl Fixture {
    /// Writes a file for each of `queries`, in the order of their names.
    async fn made(&self, folder: &str, format: &str, queries: &[&str]) {
        let context = self.context(1);
        for (number, sql) in queries.iter().enumerate() {
            let target = self.path().join(format!("{folder}/{number}.{format}"));
            let copy = format!("COPY ({sql}) TO '{}' STORED AS {format}", target.display());
            context.sql(&copy).await.unwrap().collect().await.unwrap();
        }
    }
}

#[tokio::test]
async fn parquet_files_with_other_columns_are_one_table_of_all() {
    let fixture = Fixture::new();
    fixture.made("t", "parquet", &["SELECT 1 AS id", "SELECT 'x' AS late, 2 AS id", "SELECT 3 AS id, 4 AS n"]).await;
    let rows = fixture.rows(&fixture.spec("t"), "SELECT * FROM t ORDER BY id").await;
    assert_eq!(rows, "|1|||\n|2|x||\n|3||4|");
    assert_eq!(fixture.rows(&fixture.spec("t"), "SELECT count(late), min(n) FROM t").await, "|1|4|");
    assert_eq!(fixture.rows(&fixture.spec("t"), "SELECT id FROM t WHERE n IS NULL ORDER BY id").await, "|1|\n|2|");
}

#[tokio::test]
async fn numbers_of_parquet_files_are_as_wide_as_the_widest() {
    let fixture = Fixture::new();
    let queries = [
        "SELECT arrow_cast(1, 'Int32') AS a, arrow_cast(7, 'Int64') AS b, TIMESTAMP '2024-01-01 00:00:00' AS c",
        "SELECT 9007199254740991 AS a, 0.5 AS b, arrow_cast(TIMESTAMP '2024-01-01 00:00:00.000001', 'Timestamp(µs)') AS c",
    ];
    fixture.made("t", "parquet", &queries).await;
    let spec = fixture.spec("t");
    assert_eq!(fixture.rows(&spec, "SELECT a, b FROM t ORDER BY a").await, "|1|7.0|\n|9007199254740991|0.5|");
    assert_eq!(fixture.rows(&spec, "SELECT max(a), min(b), max(b) FROM t").await, "|9007199254740991|0.5|7.0|");
    assert_eq!(fixture.rows(&spec, "SELECT count(*) FROM t WHERE a > 3000000000").await, "|1|");
    assert_eq!(fixture.rows(&spec, "SELECT count(*) FROM t WHERE c > TIMESTAMP '2024-01-01 00:00:00'").await, "|1|");
}

#[tokio::test]
async fn what_a_narrower_declared_type_cannot_hold_is_no_other_value() {
    let fixture = Fixture::new();
    fixture.made("t", "parquet", &["SELECT 4294967297 AS a"]).await;
    let spec = SourceSpec { schema: Some("a int".into()), ..fixture.spec("t") };
    for sql in ["SELECT a FROM t", "SELECT min(a) FROM t", "SELECT a FROM t WHERE a = 1"] {
        let (rows, _) = fixture.run(fixture.plan(&spec, sql, 1).await.unwrap()).await;
        assert!(!rows.is_ok_and(|rows| shown(&rows) == "|1|"), "{sql}");
    }
}

#[tokio::test]
async fn files_with_nothing_in_common_are_refused_with_their_names() {
    let fixture = Fixture::new();
    fixture.made("p", "parquet", &["SELECT 1 AS n", "SELECT 1 AS id", "SELECT 'x' AS id"]).await;
    let error = fixture.refused(&fixture.spec("p")).await;
    assert!(error.contains("column `id` is Int64 in ") && error.contains("/1.parquet and Utf8View in "), "{error}");
    assert!(error.contains("/2.parquet |") && error.contains("CAST"), "{error}");

    fixture.made("a", "arrow", &["SELECT 1 AS a, 2 AS b", "SELECT 1 AS b, 2 AS a"]).await;
    let error = fixture.refused(&fixture.spec("a")).await;
    assert!(error.contains("/1.arrow has the columns b Int64, a Int64, not a Int64, b Int64"), "{error}");
    let declared = SourceSpec { schema: Some("b bigint".into()), ..fixture.spec("a/0.arrow") };
    assert!(fixture.refused(&declared).await.contains("declare no schema"));
}
