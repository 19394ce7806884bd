//! What the store's tests share: stores in a folder of their own, columns of many types, rows as text to compare.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::*;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int8Type, Int32Type, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::Bytes;
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};
use futures::TryStreamExt;
use tandem_ipc::BodyCompression;
use tandem_proto::{Attempt, JobId, PartitionId, StageId};
use tandem_store::{OutputKey, OutputSummary, ShuffleStore, StoreConfig, StoreError};
use tempfile::TempDir;

/// A store, its pool and its folder.
pub struct Fixture {
    pub store: Arc<ShuffleStore>,
    pub pool: Arc<dyn MemoryPool>,
    pub dir: TempDir,
}

impl Fixture {
    pub fn new(memory_limit_bytes: u64) -> Self {
        Self::with_pool(memory_limit_bytes, usize::MAX)
    }

    pub fn with_pool(memory_limit_bytes: u64, pool_bytes: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(pool_bytes));
        let store = ShuffleStore::new(StoreConfig::new(dir.path(), memory_limit_bytes), Arc::clone(&pool)).unwrap();
        Self { store, pool, dir }
    }

    /// The store's own folder.
    pub fn spill_dir(&self) -> PathBuf {
        fs::read_dir(self.dir.path()).unwrap().next().unwrap().unwrap().path()
    }

    /// The spill files there are now.
    pub fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.spill_dir()).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|ext| ext == "spill")).collect();
        files.sort();
        files
    }

    /// Checks that nothing is held any more, once blocking threads are done with the files.
    pub async fn assert_empty(&self) {
        let stats = self.store.stats();
        assert_eq!((stats.memory_bytes, stats.outputs, self.pool.reserved()), (0, 0, 0));
        let gone = async {
            while self.store.stats().spilled_bytes > 0 || !self.files().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), gone).await.expect("spill files are removed");
    }

    pub async fn write(&self, key: OutputKey, outputs: usize, pushes: &[(usize, RecordBatch)]) -> OutputSummary {
        self.try_write(key, outputs, pushes).await.unwrap()
    }

    pub async fn try_write(
        &self,
        key: OutputKey,
        outputs: usize,
        pushes: &[(usize, RecordBatch)],
    ) -> Result<OutputSummary, StoreError> {
        let mut writer = self.store.writer(key, pushes[0].1.schema(), outputs);
        for (output, batch) in pushes {
            writer.push(*output, batch.clone()).await?;
        }
        writer.finish().await
    }

    pub async fn read(&self, key: OutputKey, outputs: Range<usize>) -> Result<Vec<RecordBatch>, StoreError> {
        self.store.read(key, outputs)?.try_collect().await
    }

    pub async fn read_ipc(&self, keys: &[OutputKey], outputs: Range<usize>) -> Result<Vec<Bytes>, StoreError> {
        self.store.read_ipc(keys.to_vec(), outputs, BodyCompression::Lz4)?.try_collect().await
    }
}

pub fn key(stage: u32, partition: u32) -> OutputKey {
    OutputKey { job: JobId(7), stage: StageId(stage), partition: PartitionId(partition), attempt: Attempt(0) }
}

/// A batch of 64-bit integers.
pub fn numbers(range: Range<i64>) -> RecordBatch {
    RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from_iter_values(range)) as ArrayRef)]).unwrap()
}

/// A batch of integers that do not compress.
pub fn noise(rows: u64) -> RecordBatch {
    let mixed = (0..rows).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(n as u32 % 64) as i64);
    RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from_iter_values(mixed)) as ArrayRef)]).unwrap()
}

pub fn integers(batches: &[RecordBatch]) -> Vec<i64> {
    let column = |batch: &RecordBatch| batch.column(0).as_primitive::<arrow::datatypes::Int64Type>().values().to_vec();
    batches.iter().flat_map(column).collect()
}

/// Every row as text, columns of equal values alike whatever their layout.
pub fn rows(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<_> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        rows.extend(
            (0..batch.num_rows())
                .map(|row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|")),
        );
    }
    rows
}

/// Kinds of columns that [`column`] makes.
pub const COLUMN_KINDS: usize = 17;

/// `len` values of one kind of column; every fifth or so is null.
pub fn column(kind: usize, seed: usize, len: usize) -> ArrayRef {
    let value = |i: usize| (!(i + seed).is_multiple_of(5)).then_some((i * 31 + seed * 17) % 1000);
    let text = |i: usize| value(i).map(|n| format!("{n} {}", "long enough not to be inlined".repeat(n % 3)));
    let ints = || Int64Array::from_iter((0..len).map(|i| value(i).map(|n| n as i64)));
    let texts = || StringArray::from_iter((0..len).map(text));
    let to = |array: ArrayRef, data_type: DataType| cast(&array, &data_type).unwrap();
    match kind {
        0 => Arc::new(ints()),
        1 => to(Arc::new(ints()), DataType::Int16),
        2 => to(Arc::new(ints()), DataType::Float64),
        3 => Arc::new(BooleanArray::from_iter((0..len).map(|i| value(i).map(|n| n % 2 == 0)))),
        4 => Arc::new(texts()),
        5 => to(Arc::new(texts()), DataType::LargeUtf8),
        6 => to(Arc::new(texts()), DataType::Utf8View),
        7 => to(Arc::new(texts()), DataType::BinaryView),
        8 => to(Arc::new(texts()), DataType::Binary),
        9 => to(Arc::new(ints()), DataType::Decimal128(20, 3)),
        10 => to(Arc::new(ints()), DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
        11 => Arc::new(
            (0..len).map(text).collect::<Vec<_>>().iter().map(|s| s.as_deref()).collect::<DictionaryArray<Int32Type>>(),
        ),
        12 => {
            let few = |i| value(i).map(|n| format!("{seed} {}", n % 90));
            Arc::new(
                (0..len)
                    .map(few)
                    .collect::<Vec<_>>()
                    .iter()
                    .map(|s| s.as_deref())
                    .collect::<DictionaryArray<Int8Type>>(),
            )
        }
        13 => {
            let mut lists = ListBuilder::new(StringViewBuilder::new());
            (0..len).for_each(|i| lists.append_option(value(i).map(|n| (0..n % 4).map(text).collect::<Vec<_>>())));
            Arc::new(lists.finish())
        }
        14 => {
            let field = |name, array: &ArrayRef| Arc::new(Field::new(name, array.data_type().clone(), true));
            let (a, b) = (column(6, seed, len), column(11, seed + 1, len));
            Arc::new(StructArray::from(vec![(field("a", &a), a), (field("b", &b), b)]))
        }
        15 => {
            let mut maps = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
            for i in 0..len {
                if let Some(text) = text(i) {
                    maps.keys().append_value(text);
                    maps.values().append_option(value(i + 1).map(|n| n as i64));
                }
                maps.append(value(i).is_some()).unwrap();
            }
            Arc::new(maps.finish())
        }
        _ => Arc::new(NullArray::new(len)),
    }
}

/// A batch with one column of each of `kinds`; rows without columns when there are none.
pub fn batch(kinds: &[usize], seed: usize, len: usize) -> RecordBatch {
    let columns: Vec<_> = kinds.iter().map(|kind| column(*kind, seed, len)).collect();
    let field = |(i, column): (usize, &ArrayRef)| Field::new(format!("c{i}"), column.data_type().clone(), true);
    let schema: SchemaRef = Arc::new(Schema::new(columns.iter().enumerate().map(field).collect::<Vec<_>>()));
    let options = RecordBatchOptions::new().with_row_count(Some(len));
    RecordBatch::try_new_with_options(schema, columns, &options).unwrap()
}
