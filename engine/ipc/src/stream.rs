//! A stream of batches over a stream of pieces.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use futures::Stream;

use crate::decode::{DecodeError, DecodeLimits, Decoder};

/// Decodes the pieces that another stream yields. Ends after the stream's end mark or the first error; pieces that
/// end before the mark are an error. Decodes at most one batch per poll.
#[derive(Debug)]
pub struct BatchStream<S> {
    pieces: Option<S>,
    piece: Bytes,
    decoder: Decoder,
}

impl<S> BatchStream<S> {
    /// Decodes `pieces` with the default limits.
    pub fn new(pieces: S) -> Self {
        Self::with_limits(pieces, DecodeLimits::default())
    }

    /// Decodes `pieces` with other limits.
    pub fn with_limits(pieces: S, limits: DecodeLimits) -> Self {
        Self { pieces: Some(pieces), piece: Bytes::new(), decoder: Decoder::with_limits(limits) }
    }

    /// The schema, once it was read.
    pub fn schema(&self) -> Option<&SchemaRef> {
        self.decoder.schema()
    }
}

impl<S, E> Stream for BatchStream<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: From<DecodeError>,
{
    type Item = Result<RecordBatch, E>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        while let Some(pieces) = &mut this.pieces {
            match this.decoder.decode(&mut this.piece) {
                Ok(Some(batch)) => return Poll::Ready(Some(Ok(batch))),
                Ok(None) => {}
                Err(error) => return this.end(Some(error.into())),
            }
            match ready!(Pin::new(pieces).poll_next(context)) {
                Some(Ok(piece)) => this.piece = piece,
                Some(Err(error)) => return this.end(Some(error)),
                None => {
                    let cut = this.decoder.finish().err();
                    return this.end(cut.map(E::from));
                }
            }
        }
        Poll::Ready(None)
    }
}

impl<S> BatchStream<S> {
    fn end<E>(&mut self, error: Option<E>) -> Poll<Option<Result<RecordBatch, E>>> {
        self.pieces = None;
        Poll::Ready(error.map(Err))
    }
}
