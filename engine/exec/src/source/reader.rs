//! Reads one partition of a scan: its segments one after the other, counted, with bad rows dealt with.
//! Owned by the stream that the operator hands out; dropping that stops all fetching.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_plan::metrics::{BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder};
use futures::stream::{self, Stream};
use object_store::ObjectStore;
use tandem_proto::v1::RowCountKind;

use super::csv::{CsvDecoder, CsvStart};
use super::cut::count_line_feeds;
use super::folders::folder_value;
use super::input::Input;
use super::json::{JsonDecoder, JsonStart};
use super::plan::{Origin, ScanFile, ScanPlan, Segment, TextFormat};
use super::rows::{BadRow, Decoded, Decoder, Shape};
use super::spec::OnBadRow;
use crate::error::{PlanError, TaskError};
use crate::scope::TaskScope;
use crate::sink::{Reject, RejectWriter};
use crate::storage::FileEntry;

/// The rows of one partition.
pub(crate) struct PartitionReader {
    plan: Arc<ScanPlan>,
    segments: std::vec::IntoIter<Segment>,
    open: Option<OpenSegment>,
    shape: Shape,
    /// The columns that are asked for.
    projection: Vec<usize>,
    rows_left: Option<usize>,
    context: Arc<TaskContext>,
    scope: Option<Arc<TaskScope>>,
    rejects: Option<RejectWriter>,
    metrics: BaselineMetrics,
    rejected: Count,
}

/// The segment that is being read.
struct OpenSegment {
    segment: Segment,
    input: Input,
    decoder: Box<dyn Decoder>,
    output: Output,
}

/// The columns of a batch, some of which may be what a file's folders say.
struct Output {
    schema: SchemaRef,
    columns: Vec<Values>,
}

/// What a column is made of.
enum Values {
    /// The place in a decoded batch.
    Decoded(usize),
    /// Every row has this value.
    Constant(ScalarValue),
}

impl Output {
    /// The columns at `projection` of `plan`'s schema, for `file`.
    fn new(plan: &ScanPlan, projection: &[usize], file: &ScanFile) -> Result<Self> {
        let fields: Vec<_> = projection.iter().map(|&column| plan.schema.fields()[column].clone()).collect();
        let mut columns = Vec::with_capacity(projection.len());
        let mut decoded = 0;
        for (field, &column) in fields.iter().zip(projection) {
            columns.push(match plan.origin(column) {
                Origin::Folder(place) => {
                    let value = folder_value(field, file.folder_values[place].as_deref());
                    let value = value.map_err(|reason| TaskError::Fatal(format!("{}: {reason}", file.entry)))?;
                    Values::Constant(ScalarValue::try_from_array(&value, 0)?)
                }
                Origin::File(_) => {
                    decoded += 1;
                    Values::Decoded(decoded - 1)
                }
            });
        }
        Ok(Self { schema: Arc::new(Schema::new(fields)), columns })
    }

    /// A batch of these columns for the rows of `decoded`.
    fn batch(&self, decoded: &RecordBatch) -> Result<RecordBatch> {
        let rows = decoded.num_rows();
        let column = |values: &Values| match values {
            Values::Decoded(place) => Ok(decoded.column(*place).clone()),
            Values::Constant(value) => value.to_array_of_size(rows),
        };
        let columns = self.columns.iter().map(column).collect::<Result<Vec<ArrayRef>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }
}

impl PartitionReader {
    pub(crate) fn new(
        plan: Arc<ScanPlan>,
        segments: Vec<Segment>,
        projection: Vec<usize>,
        limit: Option<usize>,
        partition: usize,
        context: Arc<TaskContext>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Self {
        let scope = TaskScope::of(&context);
        let decoded = projection.iter().filter_map(|&column| match plan.origin(column) {
            Origin::File(place) => Some(place),
            Origin::Folder(_) => None,
        });
        let shape = Shape {
            table: plan.file_schema(),
            projection: decoded.collect(),
            on_bad_row: plan.on_bad_row,
            batch_rows: context.session_config().batch_size(),
        };
        // Outside of a task there is no commit that could publish a file.
        let rejects = match (&scope, &plan.rejects) {
            (Some(_), Some(path)) if plan.on_bad_row == OnBadRow::Reject => {
                Some(RejectWriter::new(&plan.source, path, partition as u32))
            }
            _ => None,
        };
        Self {
            segments: segments.into_iter(),
            open: None,
            shape,
            projection,
            rows_left: limit,
            scope,
            rejects,
            metrics: BaselineMetrics::new(metrics, partition),
            rejected: MetricBuilder::new(metrics).counter("rejected_rows", partition),
            context,
            plan,
        }
    }

    pub(crate) fn into_stream(self) -> impl Stream<Item = Result<RecordBatch>> {
        stream::try_unfold(self, |mut reader| async move {
            let batch = reader.next().await?;
            Ok(batch.map(|batch| (batch, reader)))
        })
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if self.rows_left == Some(0) {
                self.open = None;
                self.segments = Vec::new().into_iter();
            }
            let Some(open) = &mut self.open else {
                match self.segments.next() {
                    Some(segment) => self.open = Some(self.open_segment(segment)?),
                    None => return self.finish().await,
                }
                continue;
            };
            let timer = self.metrics.elapsed_compute().timer();
            let decoded = open.decoder.decode()?;
            timer.done();
            match decoded {
                Decoded::Batch(batch, bad) => {
                    let batch = self.settle(batch, bad).await?;
                    if batch.num_rows() > 0 {
                        return Ok(Some(batch));
                    }
                }
                Decoded::NeedInput => self.feed().await?,
                Decoded::End => self.open = None,
            }
        }
    }

    fn open_segment(&self, segment: Segment) -> Result<OpenSegment> {
        let file = &self.plan.files[segment.file as usize];
        let output = Output::new(&self.plan, &self.projection, file)?;
        let ScanFile { entry, compression, layout, is_array, .. } = file;
        let store = store_of(entry, &self.context)?;
        let input = Input::open(store, entry, segment.start..segment.end, *compression)?;
        let line = segment.line.unwrap_or(1);
        let decoder: Box<dyn Decoder> = match &self.plan.format {
            TextFormat::Csv { dialect, header, layouts } => {
                let at_file_start = segment.start == 0;
                let start = CsvStart { line, at_file_start, skip_header: *header && at_file_start };
                let layout = layouts.get(*layout as usize);
                let layout = layout.ok_or_else(|| DataFusionError::Internal(format!("no layout of {entry}")))?;
                Box::new(CsvDecoder::new(*dialect, layout, &self.shape, start).map_err(unreadable)?)
            }
            TextFormat::Json => {
                let start = JsonStart { line, at_file_start: segment.start == 0, is_array: *is_array };
                Box::new(JsonDecoder::new(&self.shape, start).map_err(unreadable)?)
            }
        };
        Ok(OpenSegment { segment, input, decoder, output })
    }

    /// Gives the decoder the next piece of its input.
    async fn feed(&mut self) -> Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        open.input.feed(open.decoder.as_mut()).await?;
        let fetched = open.input.take_fetched();
        if let Some(scope) = self.scope.as_ref().filter(|_| fetched > 0) {
            scope.count(RowCountKind::Read, &self.plan.source, 0, fetched);
        }
        Ok(())
    }

    /// Counts a batch, deals with its bad rows and cuts it to the limit.
    async fn settle(&mut self, batch: RecordBatch, bad: Vec<BadRow>) -> Result<RecordBatch> {
        let Some(open) = &self.open else { return Ok(batch) };
        let batch = open.output.batch(&batch)?;
        let file = self.plan.files[open.segment.file as usize].entry.to_string();
        if let Some(row) = bad.first().filter(|_| self.plan.on_bad_row == OnBadRow::Fail) {
            let lines_before = self.lines_before().await?;
            return Err(self.bad_row_failure(&file, lines_before, row).into());
        }
        if let Some(scope) = &self.scope {
            let rows = (batch.num_rows() + bad.len()) as u64;
            scope.count(RowCountKind::Read, &self.plan.source, rows, 0);
            if !bad.is_empty() {
                let bytes = bad.iter().map(|row| row.raw.len() as u64).sum();
                scope.count(RowCountKind::Rejected, &self.plan.source, bad.len() as u64, bytes);
            }
            if let Some(rejects) = &mut self.rejects {
                for row in &bad {
                    rejects.push(&reject(&file, row))?;
                }
                rejects.drain(scope).await?;
            }
        }
        self.rejected.add(bad.len());
        let wanted = self.rows_left.map_or(batch.num_rows(), |left| left.min(batch.num_rows()));
        self.rows_left = self.rows_left.map(|left| left - wanted);
        self.metrics.record_output(wanted);
        Ok(if wanted < batch.num_rows() { batch.slice(0, wanted) } else { batch })
    }

    /// Lines of the file before those that the decoder counts. Where it was not told on which line it begins, they are
    /// counted now: this ends the task.
    async fn lines_before(&mut self) -> Result<u64> {
        let unknown = self.open.as_ref().map(|open| open.segment).filter(|segment| segment.line.is_none());
        let Some(Segment { file, start, .. }) = unknown else { return Ok(0) };
        let entry = &self.plan.files[file as usize].entry;
        Ok(count_line_feeds(store_of(entry, &self.context)?, entry, 0..start).await?)
    }

    fn bad_row_failure(&self, file: &str, lines_before: u64, row: &BadRow) -> TaskError {
        const SHOWN: usize = 200;
        let place = row.column.as_ref().map_or(String::new(), |column| format!("column `{column}`: "));
        let shown: String = row.raw.chars().take(SHOWN).collect();
        let cut = if shown.len() < row.raw.len() { "…" } else { "" };
        TaskError::Fatal(format!(
            "bad row in source `{}`: {place}{}: {file}:{}: {shown}{cut}",
            self.plan.source,
            row.reason,
            lines_before + row.line
        ))
    }

    async fn finish(&mut self) -> Result<Option<RecordBatch>> {
        if let (Some(rejects), Some(scope)) = (self.rejects.take(), &self.scope) {
            rejects.finish(scope).await?;
        }
        self.metrics.done();
        Ok(None)
    }
}

fn reject<'a>(file: &'a str, row: &'a BadRow) -> Reject<'a> {
    Reject { file, line: row.line, column: row.column.as_deref(), reason: &row.reason, raw: &row.raw }
}

/// Where `file` is read from by what runs in `context`.
pub(super) fn store_of(file: &FileEntry, context: &TaskContext) -> Result<Arc<dyn ObjectStore>> {
    match TaskScope::of(context) {
        Some(scope) => file.open_store(&scope.storage).map_err(unreadable),
        None => context.runtime_env().object_store(ObjectStoreUrl::parse(&file.root)?),
    }
}

/// A plan that was accepted and cannot be opened here is wrong everywhere.
fn unreadable(error: PlanError) -> DataFusionError {
    TaskError::Fatal(error.to_string()).into()
}
