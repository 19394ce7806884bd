use std::collections::BTreeMap;

use datafusion::prelude::{CsvReadOptions, ParquetReadOptions, SessionContext};
use tempfile::TempDir;

use super::table::ROWS_PER_PIECE;
use super::*;

fn spec(dataset: Dataset, size: Size, out: &str) -> GenerateSpec {
    GenerateSpec { dataset, size, seed: 42, out: out.to_owned(), format: None, dirty: 0.0 }
}

async fn run(spec: &GenerateSpec, folder: &TempDir, threads: usize) -> Result<Vec<GeneratedFile>, GenerateError> {
    generate(spec, &Storage::new(BTreeMap::new()), folder.path(), threads, |_| {}, std::future::pending()).await
}

fn read(folder: &TempDir, file: &str) -> Vec<u8> {
    std::fs::read(folder.path().join(file)).unwrap()
}

async fn number(context: &SessionContext, sql: &str) -> i64 {
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    let column = arrow::compute::cast(batches[0].column(0), &arrow::datatypes::DataType::Int64).unwrap();
    arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(column.as_ref()).value(0)
}

#[tokio::test]
async fn the_demo_is_the_nine_rows() {
    let folder = TempDir::new().unwrap();
    let files = run(&spec(Dataset::SalesDemo, Size::Rows(9), "demo.csv"), &folder, 1).await.unwrap();
    assert_eq!((files.len(), files[0].rows), (1, 9));
    let text = String::from_utf8(read(&folder, "demo.csv")).unwrap();
    assert_eq!(text.lines().count(), 10);
    assert!(text.starts_with("product,region,quantity,price\nproduct_A,region_1,100,10.50\n"), "{text}");
    assert!(text.ends_with("product_C,region_1,280,5.00\n"), "{text}");
}

#[tokio::test]
async fn the_same_spec_gives_the_same_bytes_on_any_number_of_threads() {
    for format in [Format::Csv, Format::Jsonl, Format::Parquet] {
        for (dataset, per_piece) in [
            (Dataset::Sales, ROWS_PER_PIECE),
            (Dataset::Events, ROWS_PER_PIECE),
            (Dataset::Articles, articles::ROWS_PER_PIECE),
        ] {
            let dirty = if dataset == Dataset::Events { 0.05 } else { 0.0 };
            let rows = per_piece + 1000;
            let make =
                |seed| GenerateSpec { seed, format: Some(format), dirty, ..spec(dataset, Size::Rows(rows), "out/") };
            let folders: Vec<TempDir> = (0..3).map(|_| TempDir::new().unwrap()).collect();
            let files = run(&make(1), &folders[0], 1).await.unwrap();
            run(&make(1), &folders[1], 3).await.unwrap();
            run(&make(2), &folders[2], 3).await.unwrap();
            let name = files[0].path.rsplit('/').next().unwrap();
            let name = format!("out/{name}");
            let data = read(&folders[0], &name);
            assert_eq!(data.len() as u64, files[0].bytes);
            assert_eq!(files[0].rows, rows);
            assert!(data == read(&folders[1], &name), "{name} differs by threads");
            assert!(data != read(&folders[2], &name), "{name} does not depend on the seed");
        }
    }
}

/// Rows do not depend on how many there are, so a range can be made without what follows it.
#[tokio::test]
async fn fewer_rows_are_a_prefix_of_more() {
    let folder = TempDir::new().unwrap();
    for (dataset, dirty) in [(Dataset::Events, 0.1), (Dataset::Articles, 0.0)] {
        for (rows, name) in [(1000, "few.csv"), (5000, "more.csv")] {
            let spec = GenerateSpec { dirty, ..spec(dataset, Size::Rows(rows), name) };
            run(&spec, &folder, 2).await.unwrap();
        }
        assert!(read(&folder, "more.csv").starts_with(&read(&folder, "few.csv")));
    }
}

#[tokio::test]
async fn a_size_in_bytes_is_about_met() {
    let folder = TempDir::new().unwrap();
    let files = run(&spec(Dataset::Events, Size::Bytes(3_000_000), "events.csv"), &folder, 2).await.unwrap();
    assert!((2_900_000..3_100_000).contains(&files[0].bytes), "{files:?}");
    assert!(files[1].path.ends_with("/products.csv"));
    let files = run(&spec(Dataset::Articles, Size::Bytes(12_000_000), "articles.csv"), &folder, 2).await.unwrap();
    assert!((11_000_000..13_000_000).contains(&files[0].bytes), "{files:?}");
}

#[tokio::test]
async fn articles_have_topics_tones_and_a_few_odd_contents() {
    let folder = TempDir::new().unwrap();
    run(&spec(Dataset::Articles, Size::Rows(5000), "articles.parquet"), &folder, 2).await.unwrap();
    let context = SessionContext::new();
    let path = folder.path().join("articles.parquet");
    context.register_parquet("articles", path.to_str().unwrap(), ParquetReadOptions::default()).await.unwrap();
    for (question, at_least, at_most) in [
        ("count(*)", 5000, 5000),
        ("count(DISTINCT id)", 5000, 5000),
        ("count(DISTINCT true_topic)", 8, 8),
        ("count(DISTINCT true_tone)", 3, 3),
        ("count(*) FILTER (WHERE content IS NULL)", 10, 50),
        ("count(*) FILTER (WHERE length(content) > 10000)", 2, 30),
        ("approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY length(content))", 300, 900),
        ("count(*) FILTER (WHERE content <> trim(content))", 0, 0),
    ] {
        let found = number(&context, &format!("SELECT {question} FROM articles")).await;
        assert!((at_least..=at_most).contains(&found), "{question}: {found}");
    }
}

#[tokio::test]
async fn clean_events_can_be_read_and_joined() {
    let folder = TempDir::new().unwrap();
    run(&spec(Dataset::Events, Size::Rows(20_000), "."), &folder, 2).await.unwrap();
    let context = SessionContext::new();
    for table in ["events", "products"] {
        let path = folder.path().join(format!("{table}.csv"));
        context.register_csv(table, path.to_str().unwrap(), CsvReadOptions::new()).await.unwrap();
    }
    assert_eq!(number(&context, "SELECT count(*) FROM events").await, 20_000);
    assert_eq!(number(&context, "SELECT count(DISTINCT event_id) FROM events").await, 20_000);
    assert_eq!(number(&context, "SELECT count(*) FROM products").await, 1000);
    let unknown = "SELECT count(*) FROM events e LEFT ANTI JOIN products p ON e.product_id = p.product_id";
    let unknown = number(&context, unknown).await;
    assert!((40..160).contains(&unknown), "{unknown}");
    assert_eq!(number(&context, "SELECT count(*) FROM events WHERE quantity < 1 OR unit_price < 0").await, 0);
}

#[tokio::test]
async fn parquet_holds_the_same_rows_as_csv() {
    let folder = TempDir::new().unwrap();
    for name in ["sales.csv", "sales.parquet"] {
        run(&spec(Dataset::Sales, Size::Rows(5000), name), &folder, 2).await.unwrap();
    }
    let context = SessionContext::new();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    context.register_csv("text", &path("sales.csv"), CsvReadOptions::new()).await.unwrap();
    context.register_parquet("typed", &path("sales.parquet"), ParquetReadOptions::default()).await.unwrap();
    let difference = "SELECT count(*) FROM (
        SELECT product, region, CAST(quantity AS BIGINT), price FROM text
        EXCEPT ALL SELECT product, region, CAST(quantity AS BIGINT), price FROM typed)";
    assert_eq!(number(&context, difference).await, 0);
    assert_eq!(number(&context, "SELECT count(*) FROM typed").await, 5000);
}

#[tokio::test]
async fn tpch_tables_have_their_rows() {
    let folder = TempDir::new().unwrap();
    let files = run(&spec(Dataset::Tpch, Size::Scale(0.01), "tpch"), &folder, 2).await.unwrap();
    let rows: Vec<u64> = files.iter().map(|file| file.rows).collect();
    assert_eq!(rows, [5, 25, 100, 1500, 2000, 8000, 15_000, 60_175]);
    let context = SessionContext::new();
    let path = folder.path().join("tpch/lineitem.parquet");
    context.register_parquet("lineitem", path.to_str().unwrap(), ParquetReadOptions::default()).await.unwrap();
    assert_eq!(number(&context, "SELECT count(*) FROM lineitem WHERE l_comment <> ''").await, 60_175);
}

#[tokio::test]
async fn contradictions_are_named() {
    let folder = TempDir::new().unwrap();
    let dirty = GenerateSpec { dirty: 0.1, ..spec(Dataset::Sales, Size::Rows(1), "out") };
    let format = GenerateSpec { format: Some(Format::Csv), ..spec(Dataset::Sales, Size::Rows(1), "out.parquet") };
    for (spec, message) in [
        (dirty, "only events can be dirty"),
        (format, "out.parquet does not end in .csv"),
        (spec(Dataset::Sales, Size::Rows(1), "out*.csv"), "out*.csv is a pattern, not one place to write to"),
        (spec(Dataset::Tpch, Size::Rows(1), "out"), "tpch needs a scale factor"),
        (spec(Dataset::Tpch, Size::Scale(0.0), "out"), "there is no TPC-H data at scale 0"),
        (spec(Dataset::Sales, Size::Scale(1.0), "out"), "only tpch has a scale factor"),
    ] {
        assert_eq!(run(&spec, &folder, 1).await.unwrap_err().to_string(), message);
    }
}
