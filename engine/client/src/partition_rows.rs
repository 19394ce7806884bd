//! The rows of one result partition, out of the pieces that a worker sends.
//! Invariant: rows that an earlier read gave are not given again; a partition is whole only when its stream says so.

use arrow::array::RecordBatch;
use bytes::Bytes;
use tandem_ipc::{DecodeError, Decoder};

use crate::worker_reads::Piece;

/// Reads one partition once. It comes as rows or encoded.
#[derive(Debug)]
pub(crate) struct PartitionRows {
    source: Source,
    given: usize,
    to_skip: usize,
}

#[derive(Debug)]
enum Source {
    /// Nothing has come.
    Unknown,
    /// The last piece, as far as it is not used up.
    Encoded { decoder: Box<Decoder>, piece: Bytes },
    /// Rows that were not given.
    Rows(Option<RecordBatch>),
    /// There are no more.
    End,
}

impl Source {
    fn next(&mut self) -> Result<Option<RecordBatch>, DecodeError> {
        match self {
            Self::Unknown | Self::End => Ok(None),
            Self::Encoded { decoder, piece } => decoder.decode(piece),
            Self::Rows(rows) => Ok(rows.take()),
        }
    }
}

impl PartitionRows {
    /// Leaves out the first `to_skip` rows.
    pub(crate) fn new(to_skip: usize) -> Self {
        Self { source: Source::Unknown, given: 0, to_skip }
    }

    /// Takes the next piece. Call only when [`Self::next_batch`] gave none.
    pub(crate) fn push(&mut self, piece: Piece) {
        match (&mut self.source, piece) {
            (Source::Encoded { piece, .. }, Piece::Bytes(next)) => *piece = next,
            (source, Piece::Bytes(piece)) => *source = Source::Encoded { decoder: Box::new(Decoder::new()), piece },
            (source, Piece::Rows(rows)) => *source = Source::Rows(Some(rows)),
            (source, Piece::End) => *source = Source::End,
        }
    }

    /// The next rows that are wanted in what was pushed so far.
    pub(crate) fn next_batch(&mut self) -> Result<Option<RecordBatch>, DecodeError> {
        while let Some(batch) = self.source.next()? {
            let skipped = self.to_skip.saturating_sub(self.given).min(batch.num_rows());
            self.given += batch.num_rows();
            if skipped < batch.num_rows() {
                return Ok(Some(batch.slice(skipped, batch.num_rows() - skipped)));
            }
        }
        Ok(None)
    }

    /// Whether all of the partition was there.
    pub(crate) fn finish(&self) -> Result<(), DecodeError> {
        match &self.source {
            Source::Encoded { decoder, .. } => decoder.finish(),
            Source::Unknown | Source::Rows(_) => Err(DecodeError::Truncated),
            Source::End => Ok(()),
        }
    }

    /// Rows that this read and those before it gave.
    pub(crate) fn known(&self) -> usize {
        self.given.max(self.to_skip)
    }

    /// Whether this read got further than those before it.
    pub(crate) fn made_progress(&self) -> bool {
        self.given > self.to_skip
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};
    use tandem_ipc::{BodyCompression, END_OF_STREAM, Encoder};

    use super::*;

    fn numbers(range: std::ops::Range<i64>) -> RecordBatch {
        RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from_iter_values(range)) as ArrayRef)]).unwrap()
    }

    fn stream() -> Bytes {
        let mut encoder = Encoder::new(&numbers(0..0).schema(), BodyCompression::Lz4);
        let mut out = encoder.schema_message().to_vec();
        for start in [0, 10, 20] {
            encoder.encode(&numbers(start..start + 10), &mut out).unwrap();
        }
        out.extend(END_OF_STREAM);
        Bytes::from(out)
    }

    /// All batches and whether the stream was whole.
    fn read(mut bytes: Bytes, to_skip: usize) -> Result<Vec<RecordBatch>, DecodeError> {
        let mut rows = PartitionRows::new(to_skip);
        let mut batches = Vec::new();
        while !bytes.is_empty() {
            rows.push(Piece::Bytes(bytes.split_to(bytes.len().min(100))));
            while let Some(batch) = rows.next_batch()? {
                batches.push(batch);
            }
        }
        rows.finish().map(|()| batches)
    }

    #[test]
    fn rows_given_before_are_left_out() {
        assert_eq!(read(stream(), 0).unwrap(), [numbers(0..10), numbers(10..20), numbers(20..30)]);
        assert_eq!(read(stream(), 10).unwrap(), [numbers(10..20), numbers(20..30)]);
        assert_eq!(read(stream(), 14).unwrap(), [numbers(14..20), numbers(20..30)]);
        assert_eq!(read(stream(), 30).unwrap(), []);
    }

    #[test]
    fn rows_that_are_here_are_given_as_they_are() {
        let mut rows = PartitionRows::new(4);
        assert!(rows.finish().is_err(), "nothing has come");
        rows.push(Piece::Rows(numbers(0..10)));
        assert_eq!(rows.next_batch().unwrap(), Some(numbers(4..10)));
        assert_eq!(rows.next_batch().unwrap(), None);
        assert!(rows.finish().is_err(), "there may be more");
        rows.push(Piece::End);
        assert!(rows.next_batch().unwrap().is_none() && rows.finish().is_ok());
    }

    #[test]
    fn a_stream_cut_between_two_batches_is_not_a_whole_partition() {
        let whole = stream();
        let cut = whole.slice(..whole.len() - END_OF_STREAM.len());
        assert!(matches!(read(cut, 0), Err(DecodeError::Truncated)));
    }

    #[test]
    fn a_length_that_no_message_has_is_refused() {
        let claim = [[0xff; 4], (u32::MAX - 1).to_le_bytes()].concat();
        assert!(matches!(read(Bytes::from(claim), 0), Err(DecodeError::TooLarge { .. })));
    }
}
