//! Every format, written and read back by DataFusion.

use std::fs;
use std::path::Path;

use arrow::datatypes::DataType;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::file_format::options::ArrowReadOptions;
use datafusion::prelude::{CsvReadOptions, JsonReadOptions, ParquetReadOptions, SessionContext};

use super::*;
use crate::sink::Compression;

/// `id, name, amount` of a table, as text, in order.
async fn read(context: &SessionContext) -> Vec<String> {
    let sql = "SELECT CAST(id AS BIGINT) AS id, name, CAST(amount AS DOUBLE) AS amount FROM out ORDER BY id";
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    let text = arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string();
    text.lines().filter(|line| line.starts_with("| ")).skip(1).map(str::to_owned).collect()
}

async fn expected(batches: &[RecordBatch]) -> Vec<String> {
    let context = SessionContext::new();
    let table = datafusion::datasource::MemTable::try_new(batches[0].schema(), vec![batches.to_vec()]).unwrap();
    context.register_table("out", Arc::new(table)).unwrap();
    read(&context).await
}

async fn register(context: &SessionContext, spec: &SinkSpec, path: &Path) {
    let path = path.to_str().unwrap();
    let packed = match spec.effective_compression() {
        Compression::Gzip => FileCompressionType::GZIP,
        Compression::Zstd => FileCompressionType::ZSTD,
        _ => FileCompressionType::UNCOMPRESSED,
    };
    let extension = spec.part_extension();
    let registered = match spec.format {
        SinkFormat::Parquet => context.register_parquet("out", path, ParquetReadOptions::default()).await,
        SinkFormat::Csv => {
            let options = CsvReadOptions::new().file_compression_type(packed).file_extension(&extension);
            context.register_csv("out", path, options).await
        }
        SinkFormat::Jsonl => {
            let options = JsonReadOptions::default().file_compression_type(packed).file_extension(&extension);
            context.register_json("out", path, options).await
        }
        SinkFormat::Arrow => context.register_arrow("out", path, ArrowReadOptions::default()).await,
        SinkFormat::Json => panic!("read by serde_json"),
    };
    registered.unwrap();
}

#[tokio::test]
async fn folders_of_every_format_read_back() {
    let cases = [
        (SinkFormat::Parquet, None),
        (SinkFormat::Parquet, Some(Compression::Zstd)),
        (SinkFormat::Parquet, Some(Compression::Gzip)),
        (SinkFormat::Parquet, Some(Compression::Lz4)),
        (SinkFormat::Parquet, Some(Compression::None)),
        (SinkFormat::Csv, None),
        (SinkFormat::Csv, Some(Compression::Gzip)),
        (SinkFormat::Jsonl, None),
        (SinkFormat::Jsonl, Some(Compression::Zstd)),
        (SinkFormat::Arrow, None),
        (SinkFormat::Arrow, Some(Compression::Lz4)),
    ];
    let batches = [rows(0, 500), rows(500, 300)];
    for (format, compression) in cases {
        let folder = scratch();
        let target = folder.path().join("out");
        let mut spec = folder_sink(&target, format, SinkMode::Error);
        spec.compression = compression;
        let mut job = Job::new(spec.clone(), 7);
        job.write(0, 0, vec![batches[0].clone()]).await.unwrap();
        job.write(1, 0, vec![batches[1].clone()]).await.unwrap();
        assert!(!target.exists(), "nothing is visible before the commit");
        job.publish().await;
        let context = SessionContext::new();
        register(&context, &spec, &target).await;
        let found: Vec<_> = read(&context).await;
        assert_eq!(found, expected(&batches).await, "{format:?} {compression:?}");
        assert_eq!(job.counts.iter().map(|count| count.rows).sum::<u64>(), 800);
        let bytes: u64 = visible(&tree(&target)).iter().map(|path| tree(&target)[path].len() as u64).sum();
        assert_eq!(job.counts.iter().map(|count| count.bytes).sum::<u64>(), bytes);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no staging folder is left");
    }
}

#[tokio::test]
async fn files_declare_types_that_every_reader_knows() {
    let folder = scratch();
    let target = folder.path().join("out.parquet");
    let mut job = Job::new(folder_sink(&target, SinkFormat::Parquet, SinkMode::Error), 1);
    job.write(0, 0, vec![rows(0, 10)]).await.unwrap();
    job.publish().await;
    let file = fs::File::open(&target).unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    assert_eq!(reader.schema().field_with_name("name").unwrap().data_type(), &DataType::Utf8);
}

#[tokio::test]
async fn a_single_json_file_is_pythons_indented_array() {
    let folder = scratch();
    let target = folder.path().join("deep/er/out.json");
    let mut job = Job::new(folder_sink(&target, SinkFormat::Json, SinkMode::Overwrite), 1);
    job.write(0, 0, vec![rows(28_999, 2).project(&[0, 3]).unwrap()]).await.unwrap();
    job.publish().await;
    let text = "[\n  {\n    \"id\": 28999,\n    \"amount\": 7249.75\n  },\n  {\n    \"id\": 29000,\n    \"amount\": 7250.0\n  }\n]";
    assert_eq!(fs::read_to_string(&target).unwrap(), text);
    job.publish().await;
    assert_eq!(fs::read_to_string(&target).unwrap(), text, "publishing again changes nothing");
    assert_eq!(tree(folder.path()).len(), 1);
}

#[tokio::test]
async fn sinks_without_rows_still_say_their_columns() {
    for (name, expected) in [("out.csv", "id,day,name,amount\n"), ("out.json", "[]"), ("out.jsonl", "")] {
        let folder = scratch();
        let target = folder.path().join(name);
        let format = SinkFormat::from_path(name).unwrap();
        let mut job = Job::new(folder_sink(&target, format, SinkMode::Error), 1);
        job.write(0, 0, vec![rows(0, 0)]).await.unwrap();
        job.publish().await;
        assert_eq!(fs::read_to_string(&target).unwrap(), expected);
    }
    let folder = scratch();
    let target = folder.path().join("out");
    let spec = folder_sink(&target, SinkFormat::Parquet, SinkMode::Error);
    let mut job = Job::new(spec.clone(), 1);
    job.write(0, 0, vec![rows(0, 0)]).await.unwrap();
    job.write(1, 0, vec![rows(0, 0)]).await.unwrap();
    job.publish().await;
    assert_eq!(visible(&tree(&target)).len(), 1, "one partition says it for all");
    let context = SessionContext::new();
    register(&context, &spec, &target).await;
    assert_eq!(read(&context).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_file_ends_at_the_target_size() {
    let folder = scratch();
    let target = folder.path().join("out");
    let mut spec = folder_sink(&target, SinkFormat::Csv, SinkMode::Error);
    spec.target_file_size_bytes = 20_000;
    let mut job = Job::new(spec, 1);
    job.write(0, 0, (0..40).map(|at| rows(at * 100, 100)).collect()).await.unwrap();
    job.publish().await;
    let sizes: Vec<_> =
        tree(&target).into_iter().filter(|(path, _)| path.ends_with("csv")).map(|(_, data)| data.len()).collect();
    assert!(sizes.len() > 3 && sizes.iter().all(|&size| size < 30_000), "{sizes:?}");
}

#[tokio::test]
async fn the_manifest_lists_what_is_visible() {
    let folder = scratch();
    let target = folder.path().join("out");
    let mut spec = folder_sink(&target, SinkFormat::Jsonl, SinkMode::Error);
    spec.partition_by = vec!["day".to_owned()];
    let mut job = Job::new(spec, 0xab);
    job.write(0, 3, vec![rows(0, 70)]).await.unwrap();
    job.publish().await;
    let files = tree(&target);
    let manifest: crate::sink::Manifest =
        serde_json::from_slice(&files["_tandem/manifest-00000000000000ab.json"]).unwrap();
    let listed: BTreeSet<_> = manifest.files.iter().map(|file| file.path.clone()).collect();
    assert_eq!(listed, visible(&files));
    assert_eq!((manifest.rows, manifest.commit.as_str()), (70, "j00000000000000ab"));
    for file in &manifest.files {
        assert_eq!(files[&file.path].len() as u64, file.bytes);
    }
}
