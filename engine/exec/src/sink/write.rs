//! Writes one partition of a sink to staged files.
//! Runs inside a task; what it stages becomes visible only by the job's commit.
//!
//! ```text
//!  batches ─► split by partition values ─► open files, one per folder ─► staged files
//!                     │ more folders than files may be open
//!                     └─► the rest is sorted by partition values, then one file is open at a time
//! ```

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{EmptyRecordBatchStream, ExecutionPlan};
use futures::{StreamExt, stream};
use tandem_proto::JobId;
use tandem_proto::v1::{RowCountKind, StagedFile};

use super::file_writer::FileWriter;
use super::hive::{HiveSplitter, Piece};
use super::spec::SinkSpec;
use super::staging::{FilePlace, remove_staged, remove_staged_locally};
use super::target::Target;
use crate::error::{PlanError, TaskError};
use crate::scope::TaskScope;

/// Files that one partition of a sink keeps open.
const OPEN_FILES: usize = 64;
/// Files that are made durable at once.
const FILES_ENDING: usize = 8;
/// Memory that the open files of one partition take at most.
const MEMORY_LIMIT_BYTES: usize = 64 << 20;

/// Writes `batches`, which are partition `partition` of the plan, and leaves the files and counts in `scope`.
///
/// # Errors
/// See [`TaskError`]; nothing of the partition is staged then.
pub async fn write_partition(
    spec: &SinkSpec,
    partition: u32,
    batches: SendableRecordBatchStream,
    scope: &Arc<TaskScope>,
    context: &Arc<TaskContext>,
) -> Result<(), TaskError> {
    let mut writer = PartitionWriter::new(spec, partition, batches.schema(), scope, context, OPEN_FILES)?;
    let files = match writer.write_all(batches).await {
        Ok(files) => files,
        Err(error) => {
            writer.discard().await;
            return Err(error);
        }
    };
    for file in files {
        scope.count(RowCountKind::Written, &spec.name, file.rows, file.bytes);
        scope.add_file(file);
    }
    Ok(())
}

/// The open and finished files of one partition.
struct PartitionWriter<'a> {
    spec: &'a SinkSpec,
    partition: u32,
    schema: SchemaRef,
    scope: &'a Arc<TaskScope>,
    context: &'a Arc<TaskContext>,
    target: Target,
    splitter: HiveSplitter,
    open: HashMap<Arc<[u8]>, OpenFile>,
    open_limit: usize,
    reservation: MemoryReservation,
    finished: Vec<StagedFile>,
    begun: u32,
}

struct OpenFile {
    writer: FileWriter,
    memory_bytes: usize,
}

impl<'a> PartitionWriter<'a> {
    fn new(
        spec: &'a SinkSpec,
        partition: u32,
        schema: SchemaRef,
        scope: &'a Arc<TaskScope>,
        context: &'a Arc<TaskContext>,
        open_limit: usize,
    ) -> Result<Self, TaskError> {
        if spec.is_single_file() && partition != 0 {
            return Err(TaskError::Fatal(format!(
                "sink `{}` is one file and cannot take partition {partition}",
                spec.name
            )));
        }
        let target =
            Target::open(spec, &scope.storage).map_err(|error: PlanError| TaskError::Fatal(error.to_string()))?;
        let consumer = MemoryConsumer::new(format!("sink {} partition {partition}", spec.name));
        Ok(Self {
            splitter: HiveSplitter::new(spec, &schema)?,
            reservation: consumer.register(context.memory_pool()),
            open: HashMap::new(),
            finished: Vec::new(),
            begun: 0,
            spec,
            partition,
            schema,
            scope,
            context,
            target,
            open_limit,
        })
    }

    async fn write_all(&mut self, mut batches: SendableRecordBatchStream) -> Result<Vec<StagedFile>, TaskError> {
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            if batch.num_rows() == 0 {
                continue;
            }
            let pieces = self.splitter.split(&batch)?;
            if self.fits(&pieces) {
                self.write_pieces(&batch, pieces).await?;
                continue;
            }
            self.finish_open().await?;
            drop(pieces);
            self.write_sorted(batch, batches).await?;
            batches = Box::pin(EmptyRecordBatchStream::new(self.schema.clone()));
        }
        self.finish_open().await?;
        if self.finished.is_empty() && self.needs_empty_file() {
            let writer = self.begin(String::new()).await?;
            self.finished.push(writer.finish().await?);
        }
        Ok(std::mem::take(&mut self.finished))
    }

    /// Whether all folders of `pieces` can be open beside those that are.
    fn fits(&self, pieces: &[Piece]) -> bool {
        let new = pieces.iter().filter(|piece| !self.open.contains_key(&piece.key)).count();
        self.open.len() + new <= self.open_limit
    }

    /// A table without rows still has its columns: one file says which.
    fn needs_empty_file(&self) -> bool {
        self.partition == 0 && self.spec.partition_by.is_empty()
    }

    async fn write_pieces(&mut self, batch: &RecordBatch, pieces: Vec<Piece>) -> Result<(), TaskError> {
        for piece in pieces {
            let mut file = match self.open.remove(&piece.key) {
                Some(file) => file,
                None => {
                    let folder = self.splitter.folder(batch, piece.sample)?;
                    OpenFile { writer: self.begin(folder).await?, memory_bytes: 0 }
                }
            };
            let written = file.writer.write(&piece.batch).await;
            file.memory_bytes = file.writer.memory_bytes();
            let full = !self.spec.is_single_file() && file.writer.size_bytes() >= self.spec.target_file_size_bytes;
            self.open.insert(piece.key.clone(), file);
            written?;
            if full {
                self.finish_file(&piece.key).await?;
            }
            self.bound_memory().await?;
        }
        Ok(())
    }

    /// Writes `first` and all that follows in the order of the partition values, one file after the other.
    async fn write_sorted(&mut self, first: RecordBatch, rest: SendableRecordBatchStream) -> Result<(), TaskError> {
        let mut sorted = self.sort(first, rest)?;
        while let Some(batch) = sorted.next().await {
            let batch = batch?;
            for piece in self.splitter.split(&batch)? {
                if !self.open.contains_key(&piece.key) {
                    self.finish_open().await?;
                }
                self.write_pieces(&batch, vec![piece]).await?;
            }
        }
        Ok(())
    }

    fn sort(
        &self,
        first: RecordBatch,
        rest: SendableRecordBatchStream,
    ) -> Result<SendableRecordBatchStream, TaskError> {
        let stream = stream::once(futures::future::ready(Ok(first))).chain(rest);
        let stream: SendableRecordBatchStream = Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), stream));
        let input = OneStream { schema: self.schema.clone(), stream: Mutex::new(Some(stream)) };
        let input = StreamingTableExec::try_new(self.schema.clone(), vec![Arc::new(input)], None, None, false, None)?;
        let keys = self.spec.partition_by.iter().map(|name| {
            let column = Column::new_with_schema(name, &self.schema)?;
            Ok(PhysicalSortExpr::new_default(Arc::new(column)))
        });
        let keys = keys.collect::<Result<Vec<_>, DataFusionError>>()?;
        let order = LexOrdering::new(keys)
            .ok_or_else(|| TaskError::Fatal(format!("sink `{}` has nothing to sort by", self.spec.name)))?;
        Ok(SortExec::new(order, Arc::new(input)).execute(0, self.context.clone())?)
    }

    async fn begin(&mut self, folder: String) -> Result<FileWriter, TaskError> {
        let place = self.place(&folder);
        self.begun += 1;
        FileWriter::create(self.spec, self.splitter.file_schema(), &self.target, place).await
    }

    fn place(&self, folder: &str) -> FilePlace {
        let (partition, number, unique) = (self.partition, self.begun, self.scope.unique_name());
        let unique_name = format!("part-{partition:05}-{number:05}-{unique}.{}", self.spec.part_extension());
        let final_path = if self.spec.is_single_file() {
            self.spec.path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned()
        } else {
            format!("{folder}{unique_name}")
        };
        FilePlace { sink: self.spec.name.clone(), job: self.job(), final_path, unique_name }
    }

    fn job(&self) -> JobId {
        JobId(self.scope.attempt.job)
    }

    /// Writes out the largest files until what they hold fits both the limit and the worker's memory pool.
    async fn bound_memory(&mut self) -> Result<(), TaskError> {
        loop {
            let total: usize = self.open.values().map(|file| file.memory_bytes).sum();
            let refused = match self.reservation.try_resize(total) {
                Ok(()) if total <= MEMORY_LIMIT_BYTES => return Ok(()),
                Ok(()) => None,
                Err(error) => Some(error),
            };
            let Some(largest) = self.open.values_mut().max_by_key(|file| file.memory_bytes) else { return Ok(()) };
            let before = largest.memory_bytes;
            largest.writer.relieve().await?;
            largest.memory_bytes = largest.writer.memory_bytes();
            // What is left is buffers that only the end of a file frees.
            if largest.memory_bytes >= before {
                return match refused {
                    Some(error) if self.open.len() <= 1 => Err(error.into()),
                    Some(_) => self.finish_open().await,
                    None => Ok(()),
                };
            }
        }
    }

    async fn finish_file(&mut self, key: &[u8]) -> Result<(), TaskError> {
        if let Some(file) = self.open.remove(key) {
            self.finished.push(file.writer.finish().await?);
        }
        Ok(())
    }

    /// Ends all open files, some at once: each waits for the disk to be in sync.
    async fn finish_open(&mut self) -> Result<(), TaskError> {
        let open: Vec<_> = self.open.drain().map(|(_, file)| file.writer.finish()).collect();
        let mut ended = stream::iter(open).buffer_unordered(FILES_ENDING);
        let mut failure = None;
        while let Some(file) = ended.next().await {
            match file {
                Ok(file) => self.finished.push(file),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        self.reservation.free();
        failure.map_or(Ok(()), Err)
    }

    /// Removes all that was staged, after a failure that is reported already.
    async fn discard(&mut self) {
        for (_, file) in self.open.drain() {
            file.writer.discard().await;
        }
        let job = self.job();
        for file in self.finished.drain(..) {
            if let Err(error) = remove_staged(&self.target, job, &file).await {
                tracing::warn!(sink = self.spec.name, %error, "a staged file stays until its job ends");
            }
        }
    }
}

impl Drop for PartitionWriter<'_> {
    /// An attempt that is cancelled leaves nothing on a filesystem; its uploads end with the job.
    fn drop(&mut self) {
        remove_staged_locally(self.job(), &self.finished);
    }
}

/// A stream as the only partition of a table, to be read once.
struct OneStream {
    schema: SchemaRef,
    stream: Mutex<Option<SendableRecordBatchStream>>,
}

impl fmt::Debug for OneStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneStream")
    }
}

impl PartitionStream for OneStream {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner).take();
        stream.unwrap_or_else(|| Box::pin(EmptyRecordBatchStream::new(self.schema.clone())))
    }
}
