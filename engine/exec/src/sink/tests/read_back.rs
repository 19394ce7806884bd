//! What sinks write is the same when sources read it.

use arrow::util::pretty::pretty_format_batches;
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;

use super::*;
use crate::source::{SourceSpec, open_source};

const FOLDERS: [SinkFormat; 4] = [SinkFormat::Parquet, SinkFormat::Arrow, SinkFormat::Csv, SinkFormat::Jsonl];

/// The rows of each query over `table`, named `t`.
async fn answers(table: Arc<dyn TableProvider>, storage: &Arc<Storage>, queries: &[&str]) -> Vec<String> {
    let runtime = storage.runtime(&RuntimeEnv::default());
    let context = SessionContext::new_with_config_rt(SessionConfig::new().with_target_partitions(3), runtime);
    context.register_table("t", table).unwrap();
    let mut answers = Vec::new();
    for query in queries {
        let batches = context.sql(query).await.unwrap().collect().await.unwrap();
        answers.push(pretty_format_batches(&batches).unwrap().to_string());
    }
    answers
}

async fn open(spec: &SourceSpec, storage: &Arc<Storage>) -> Arc<dyn TableProvider> {
    let context = SessionContext::new_with_config_rt(SessionConfig::new(), storage.runtime(&RuntimeEnv::default()));
    open_source(spec, storage, &context).await.unwrap().table
}

/// A table of `batch`, written by a sink of `format` with folders by `by`.
async fn written(
    batch: &RecordBatch,
    format: SinkFormat,
    by: &[&str],
) -> (tempfile::TempDir, SourceSpec, Arc<Storage>) {
    let folder = scratch();
    let target = folder.path().join("out");
    let mut spec = folder_sink(&target, format, SinkMode::Error);
    spec.partition_by = by.iter().map(|name| (*name).to_owned()).collect();
    let mut job = Job::new(spec, 1);
    job.write(0, 0, vec![batch.clone()]).await.unwrap();
    job.publish().await;
    (folder, SourceSpec::new("t", target.to_str().unwrap()), job.storage)
}

fn table(batch: &RecordBatch) -> Arc<dyn TableProvider> {
    Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch.clone()]]).unwrap())
}

#[tokio::test]
async fn a_schema_may_say_what_folders_give() {
    let batch = rows(0, 70);
    let queries = [
        "SELECT day, amount FROM t WHERE id = 3",
        "SELECT count(*) AS n FROM t WHERE day = '2024-10-04'",
        "SELECT * FROM t WHERE id = 4",
    ];
    // Of an Arrow file all columns are read, with the types that it says.
    for format in [SinkFormat::Parquet, SinkFormat::Csv, SinkFormat::Jsonl] {
        let (_folder, spec, storage) = written(&batch, format, &["day"]).await;
        let expected = "id bigint, day string, amount double";
        let with_schema = |schema: &str| SourceSpec { schema: Some(schema.to_owned()), ..spec.clone() };
        let found = answers(open(&with_schema(expected), &storage).await, &storage, &queries).await;
        assert!(found[0].contains("| 2024-10-04 | 0.75   |"), "{format:?}: {}", found[0]);
        assert!(found[1].contains("| 20 |"), "{format:?}: {}", found[1]);
        let silent = open(&with_schema("id bigint, amount double"), &storage).await;
        let names: Vec<_> = silent.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, ["id", "amount", "day"], "{format:?}");
        assert_eq!(silent.schema().field(2).data_type(), &arrow::datatypes::DataType::Date32);
    }
}

#[tokio::test]
async fn a_folders_text_comes_back_whatever_it_is() {
    let texts = ["../../x", "a=b", "100%", "%2e", "x y", "a\nb", "é", "", "__HIVE_DEFAULT_PARTITION__"];
    let batch = keyed(texts.map(str::to_owned));
    let queries = ["SELECT key, number FROM t ORDER BY number"];
    for format in FOLDERS {
        let (_folder, spec, storage) = written(&batch, format, &["key"]).await;
        let expected = answers(table(&batch), &storage, &queries).await;
        assert_eq!(answers(open(&spec, &storage).await, &storage, &queries).await, expected, "{format:?}");
    }
}

#[tokio::test]
async fn null_and_empty_text_are_two_values() {
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), Some(""), None, Some(""), None]));
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3), Some(4), None]));
    let alone = RecordBatch::try_from_iter([("name", texts.clone())]).unwrap();
    let batch = RecordBatch::try_from_iter([("name", texts), ("n", numbers.clone())]).unwrap();
    let lone_numbers = RecordBatch::try_from_iter([("n", numbers)]).unwrap();
    for format in FOLDERS {
        for batch in [&alone, &batch, &lone_numbers] {
            let (_folder, spec, storage) = written(batch, format, &[]).await;
            let name = batch.schema().field(0).name().clone();
            let queries =
                [format!("SELECT {name}, {name} IS NULL AS gone, count(*) AS times FROM t GROUP BY 1 ORDER BY 1, 2")];
            let queries = queries.each_ref().map(String::as_str);
            let expected = answers(table(batch), &storage, &queries).await;
            assert_eq!(answers(open(&spec, &storage).await, &storage, &queries).await, expected, "{format:?}");
        }
    }
}

#[tokio::test]
async fn long_whole_numbers_keep_their_digits() {
    let values = [12_345_678_901_234_567_891_i128, 12_345_678_901_234_567_892, -1];
    let ids = arrow::array::Decimal128Array::from_iter_values(values).with_precision_and_scale(38, 0).unwrap();
    let batch = RecordBatch::try_from_iter([("id", Arc::new(ids) as ArrayRef)]).unwrap();
    let queries = ["SELECT DISTINCT id, arrow_typeof(id) AS type FROM t ORDER BY id"];
    for format in FOLDERS {
        let (_folder, spec, storage) = written(&batch, format, &[]).await;
        let expected = answers(table(&batch), &storage, &queries).await;
        assert_eq!(answers(open(&spec, &storage).await, &storage, &queries).await, expected, "{format:?}");
    }
}
