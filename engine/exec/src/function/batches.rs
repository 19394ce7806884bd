//! Rows put together to calls. Pure: batches in, microbatches out, no rows copied.

use std::collections::VecDeque;

use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;
use arrow::record_batch::RecordBatch;
use datafusion::common::internal_datafusion_err;
use datafusion::error::Result;

/// The rows of one call.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Microbatch {
    /// Its place among the microbatches of its partition or, if they are numbered, of the step; counted from 0.
    pub(super) number: u64,
    /// The place of its first row, in the same way.
    pub(super) first_row: u64,
    /// How many rows it has.
    pub(super) rows: u64,
    /// The rows.
    pub(super) batches: Vec<RecordBatch>,
}

/// Which rows go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grouping {
    /// So many, in order; at least 1.
    Rows(u64),
    /// Those with the same number in their last column, which is taken off. All but the last number have so many.
    Numbers(u64),
    /// All.
    Whole,
}

/// Puts batches together as they come.
#[derive(Debug)]
pub(super) struct Gathering {
    grouping: Grouping,
    open: Microbatch,
}

impl Gathering {
    pub(super) fn new(grouping: Grouping) -> Self {
        Self { grouping, open: Microbatch::default() }
    }

    /// Adds `batch`; microbatches that are complete then are appended to `ready`.
    pub(super) fn push(&mut self, batch: RecordBatch, ready: &mut VecDeque<Microbatch>) -> Result<()> {
        match self.grouping {
            Grouping::Rows(limit) => self.push_rows(batch, limit, ready),
            Grouping::Numbers(limit) => return self.push_numbered(&batch, limit, ready),
            Grouping::Whole => self.add(batch),
        }
        Ok(())
    }

    /// What is left; of all rows, also when there are none.
    pub(super) fn finish(self) -> Option<Microbatch> {
        (self.open.rows > 0 || self.grouping == Grouping::Whole).then_some(self.open)
    }

    fn push_rows(&mut self, mut batch: RecordBatch, limit: u64, ready: &mut VecDeque<Microbatch>) {
        while batch.num_rows() > 0 {
            let missing = usize::try_from(limit - self.open.rows).unwrap_or(usize::MAX);
            let taken = batch.num_rows().min(missing);
            self.add(batch.slice(0, taken));
            batch = batch.slice(taken, batch.num_rows() - taken);
            if self.open.rows == limit {
                self.close(self.open.number + 1, self.open.first_row + limit, ready);
            }
        }
    }

    fn push_numbered(&mut self, batch: &RecordBatch, limit: u64, ready: &mut VecDeque<Microbatch>) -> Result<()> {
        let numbers = batch.columns().last().and_then(|column| column.as_primitive_opt::<UInt64Type>());
        let numbers = numbers.ok_or_else(|| internal_datafusion_err!("rows without the number of their batch"))?;
        let columns: Vec<usize> = (0..batch.num_columns() - 1).collect();
        let rows = batch.project(&columns)?;
        let mut start = 0;
        for run in numbers.values().chunk_by(|a, b| a == b) {
            if run[0] != self.open.number {
                self.close(run[0], run[0].saturating_mul(limit), ready);
            }
            self.open.first_row = self.open.number.saturating_mul(limit);
            self.add(rows.slice(start, run.len()));
            start += run.len();
        }
        Ok(())
    }

    fn add(&mut self, batch: RecordBatch) {
        self.open.rows += batch.num_rows() as u64;
        self.open.batches.push(batch);
    }

    /// Ends the open microbatch and begins the one with this number.
    fn close(&mut self, number: u64, first_row: u64, ready: &mut VecDeque<Microbatch>) {
        let next = Microbatch { number, first_row, ..Microbatch::default() };
        let done = std::mem::replace(&mut self.open, next);
        ready.extend((done.rows > 0).then_some(done));
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "lists of ranges, some of them with one")]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, UInt64Array};
    use arrow::datatypes::Int64Type;

    use super::*;

    fn values(range: std::ops::Range<i64>) -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(range))
    }

    fn gather(grouping: Grouping, batches: Vec<RecordBatch>) -> Vec<(u64, u64, Vec<i64>)> {
        let mut gathering = Gathering::new(grouping);
        let mut ready = VecDeque::new();
        for batch in batches {
            gathering.push(batch, &mut ready).unwrap();
        }
        ready.extend(gathering.finish());
        let rows = |microbatch: Microbatch| {
            let values = microbatch.batches.iter().flat_map(|batch| {
                assert_eq!(batch.num_columns(), 1);
                batch.column(0).as_primitive::<Int64Type>().values().to_vec()
            });
            let values: Vec<i64> = values.collect();
            assert_eq!(values.len() as u64, microbatch.rows);
            (microbatch.number, microbatch.first_row, values)
        };
        ready.into_iter().map(rows).collect()
    }

    fn plain(ranges: &[std::ops::Range<i64>]) -> Vec<RecordBatch> {
        ranges.iter().map(|range| RecordBatch::try_from_iter([("v", values(range.clone()))]).unwrap()).collect()
    }

    #[test]
    fn small_batches_are_put_together_and_large_ones_cut() {
        let expected = [(0, 0, vec![0, 1, 2]), (1, 3, vec![3, 4, 5]), (2, 6, vec![6])];
        for ranges in [vec![0..7], vec![0..1, 1..2, 2..7], vec![0..3, 3..3, 3..6, 6..7]] {
            assert_eq!(gather(Grouping::Rows(3), plain(&ranges)), expected, "{ranges:?}");
        }
        assert_eq!(gather(Grouping::Rows(3), plain(&[0..3])), [(0, 0, vec![0, 1, 2])]);
        assert_eq!(gather(Grouping::Rows(3), vec![]), []);
    }

    #[test]
    fn all_rows_are_one_call_also_when_there_are_none() {
        assert_eq!(gather(Grouping::Whole, plain(&[0..2, 2..5])), [(0, 0, vec![0, 1, 2, 3, 4])]);
        assert_eq!(gather(Grouping::Whole, vec![]), [(0, 0, vec![])]);
    }

    #[test]
    fn numbers_keep_rows_together_however_they_arrive() {
        let numbered = |numbers: &[u64], range| {
            let numbers: ArrayRef = Arc::new(UInt64Array::from(numbers.to_vec()));
            RecordBatch::try_from_iter([("v", values(range)), ("#", numbers)]).unwrap()
        };
        let expected = [(1, 2, vec![0, 1]), (4, 8, vec![2, 3]), (7, 14, vec![4])];
        let one = numbered(&[1, 1, 4, 4, 7], 0..5);
        let pieces = vec![numbered(&[1], 0..1), numbered(&[1, 4], 1..3), numbered(&[4], 3..4), numbered(&[7], 4..5)];
        assert_eq!(gather(Grouping::Numbers(2), vec![one]), expected);
        assert_eq!(gather(Grouping::Numbers(2), pieces), expected);
        assert_eq!(gather(Grouping::Numbers(2), vec![numbered(&[0, 0], 0..2)]), [(0, 0, vec![0, 1])]);
        let mut gathering = Gathering::new(Grouping::Numbers(2));
        assert!(gathering.push(plain(&[0..1]).remove(0), &mut VecDeque::new()).is_err());
    }
}
