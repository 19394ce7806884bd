//! Joins the small batches that a hash exchange deals out into batches of a useful size, one gatherer per output partition.

use arrow::compute::{BatchCoalescer, concat_batches};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

/// How large gathered batches become.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GatherSize {
    rows: usize,
    bytes: usize,
}

impl GatherSize {
    /// At most `rows`, and as much fewer as all `outputs` together need to stay within `total_bytes`.
    pub(crate) fn new(schema: &Schema, outputs: usize, rows: usize, total_bytes: usize) -> Self {
        /// Fewer rows than these make encoding and reading slower than gathering saves.
        const MIN_ROWS: usize = 128;
        /// Arrow reserves about this for a column of views.
        const MIN_BYTES: usize = 64 << 10;
        let bytes = total_bytes / outputs.max(1);
        let width = schema.fields().iter().map(|field| estimated_width(field.data_type())).sum::<usize>().max(1);
        let rows = if outputs > 1 { (bytes / width).clamp(MIN_ROWS.min(rows), rows) } else { rows };
        Self { rows: rows.max(1), bytes: bytes.max(rows * width).max(MIN_BYTES) }
    }
}

/// Bytes of one value, guessed where the type leaves it open.
fn estimated_width(data_type: &DataType) -> usize {
    match data_type {
        DataType::Struct(fields) => fields.iter().map(|field| estimated_width(field.data_type())).sum(),
        DataType::FixedSizeBinary(width) => usize::try_from(*width).unwrap_or(0),
        DataType::Boolean | DataType::Null => 1,
        other => other.primitive_width().unwrap_or(32),
    }
}

/// Batches of one output partition, on their way to a useful size. Keeps the order of rows.
#[derive(Debug)]
pub(crate) enum Gather {
    /// Copies rows as they come.
    Coalesce { coalescer: Box<BatchCoalescer>, size: GatherSize },
    /// Keeps batches and joins them at once; where Arrow cannot join them (keys of a joined dictionary may not fit their
    /// type) they stay apart.
    Concat { schema: SchemaRef, pending: Vec<RecordBatch>, rows: usize, bytes: usize, size: GatherSize },
    /// Counts rows without columns.
    Rows { schema: SchemaRef, rows: usize },
}

impl Gather {
    pub(crate) fn new(schema: &SchemaRef, size: GatherSize) -> Self {
        if schema.fields().is_empty() {
            return Self::Rows { schema: SchemaRef::clone(schema), rows: 0 };
        }
        if schema.fields().iter().any(|field| may_not_join(field.data_type())) {
            return Self::Concat { schema: SchemaRef::clone(schema), pending: Vec::new(), rows: 0, bytes: 0, size };
        }
        let coalescer = BatchCoalescer::new(SchemaRef::clone(schema), size.rows)
            .with_biggest_coalesce_batch_size(Some(size.rows / 2));
        Self::Coalesce { coalescer: Box::new(coalescer), size }
    }

    /// Adds `batch` and appends what became complete to `ready`.
    pub(crate) fn push(&mut self, batch: RecordBatch, ready: &mut Vec<RecordBatch>) -> Result<(), ArrowError> {
        match self {
            Self::Coalesce { coalescer, size } => {
                coalescer.push_batch(batch)?;
                if coalescer.size() > 2 * size.bytes {
                    coalescer.finish_buffered_batch()?;
                }
                ready.extend(std::iter::from_fn(|| coalescer.next_completed_batch()));
            }
            Self::Concat { rows, bytes, size, pending, .. } => {
                *rows += batch.num_rows();
                *bytes += batch.get_array_memory_size();
                pending.push(batch);
                if *rows >= size.rows || *bytes > 2 * size.bytes {
                    self.finish(ready)?;
                }
            }
            Self::Rows { rows, .. } => *rows += batch.num_rows(),
        }
        Ok(())
    }

    /// Appends what is left to `ready`.
    pub(crate) fn finish(&mut self, ready: &mut Vec<RecordBatch>) -> Result<(), ArrowError> {
        match self {
            Self::Coalesce { coalescer, .. } => {
                coalescer.finish_buffered_batch()?;
                ready.extend(std::iter::from_fn(|| coalescer.next_completed_batch()));
            }
            Self::Concat { schema, pending, rows, bytes, .. } => {
                (*rows, *bytes) = (0, 0);
                let pending = std::mem::take(pending);
                match concat_batches(schema, &pending) {
                    _ if pending.len() < 2 => ready.extend(pending),
                    Ok(joined) => ready.push(joined),
                    Err(_) => ready.extend(pending),
                }
            }
            Self::Rows { schema, rows } => {
                let options = RecordBatchOptions::new().with_row_count(Some(std::mem::take(rows)));
                let batch = RecordBatch::try_new_with_options(SchemaRef::clone(schema), vec![], &options)?;
                ready.extend((batch.num_rows() > 0).then_some(batch));
            }
        }
        Ok(())
    }

    /// Memory held now.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Coalesce { coalescer, .. } => coalescer.size(),
            Self::Concat { bytes, .. } => *bytes,
            Self::Rows { .. } => 0,
        }
    }
}

fn may_not_join(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(..) | DataType::RunEndEncoded(..) | DataType::Union(..) => true,
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => may_not_join(field.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| may_not_join(field.data_type())),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, DictionaryArray, Int64Array};
    use arrow::datatypes::Int8Type;

    use super::*;

    fn gather(column: impl Fn(usize) -> ArrayRef, batches: usize, rows: usize) -> Vec<RecordBatch> {
        let batch = |i| RecordBatch::try_from_iter([("c", column(i))]).unwrap();
        let schema = batch(0).schema();
        let mut gather = Gather::new(&schema, GatherSize::new(&schema, 1, rows, 1 << 20));
        let mut ready = Vec::new();
        (0..batches).for_each(|i| gather.push(batch(i), &mut ready).unwrap());
        gather.finish(&mut ready).unwrap();
        assert_eq!(
            ready.iter().map(RecordBatch::num_rows).sum::<usize>(),
            (0..batches).map(|i| column(i).len()).sum::<usize>()
        );
        ready
    }

    #[test]
    fn small_batches_become_large_ones_and_large_ones_stay() {
        let ready = gather(|i| Arc::new(Int64Array::from(vec![i as i64; 10])), 100, 256);
        assert_eq!(ready.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [256, 256, 256, 232]);
        let ready = gather(|i| Arc::new(Int64Array::from(vec![i as i64; 1000])), 3, 256);
        assert_eq!(ready.len(), 3);
    }

    #[test]
    fn dictionaries_whose_keys_would_overflow_stay_apart() {
        let column = |i: usize| -> ArrayRef {
            let values: Vec<_> = (0..100).map(|n| format!("{i}-{n}")).collect();
            Arc::new(values.iter().map(|s| s.as_str()).collect::<DictionaryArray<Int8Type>>())
        };
        assert_eq!(gather(column, 3, 250).len(), 3);
        let shared = column(0);
        assert_eq!(gather(|_| ArrayRef::clone(&shared), 3, 1000).len(), 1, "one dictionary joins");
    }

    #[test]
    fn many_outputs_get_smaller_batches() {
        let schema = Schema::new(vec![arrow::datatypes::Field::new("c", DataType::Int64, true)]);
        assert_eq!(GatherSize::new(&schema, 1, 8192, 1 << 20).rows, 8192);
        assert_eq!(GatherSize::new(&schema, 100, 8192, 1 << 20).rows, 1310);
        assert_eq!(GatherSize::new(&schema, 1_000_000, 8192, 1 << 20).rows, 128);
    }
}
