//! Checks what a message claims about its body before Arrow allocates or slices by it.
//! The structure of the metadata is verified by flatbuffers; these are the numbers in it.

use arrow_ipc::{BodyCompressionMethod, CompressionType, DictionaryBatch, RecordBatch};

use crate::decode::{DecodeError, DecodeLimits};

/// More than any batch has, little enough that no size computed from it overflows.
const MAX_ROWS: i64 = 1 << 40;
/// LZ4 cannot expand by more than this.
const MAX_EXPANSION: u64 = 255;
/// Each compressed buffer starts with its uncompressed length.
const LENGTH_PREFIX: usize = 8;
/// The uncompressed length of a buffer that is stored as it is.
const NOT_COMPRESSED: i64 = -1;

/// Checks a dictionary message.
pub(crate) fn dictionary(batch: DictionaryBatch<'_>, body: &[u8], limits: DecodeLimits) -> Result<(), DecodeError> {
    if batch.isDelta() {
        // Joining deltas lets a short stream cost quadratic time; our encoder sends none.
        return Err(DecodeError::malformed("a delta dictionary"));
    }
    record_batch(batch.data().ok_or(DecodeError::malformed("a dictionary without values"))?, body, limits)
}

/// Checks a batch message.
pub(crate) fn record_batch(batch: RecordBatch<'_>, body: &[u8], limits: DecodeLimits) -> Result<(), DecodeError> {
    if !(0..=MAX_ROWS).contains(&batch.length()) {
        return Err(DecodeError::malformed("a number of rows out of range"));
    }
    for node in batch.nodes().into_iter().flatten() {
        if !(0..=MAX_ROWS).contains(&node.length()) || !(0..=node.length()).contains(&node.null_count()) {
            return Err(DecodeError::malformed("an array length out of range"));
        }
    }
    let buffers = batch.buffers().map_or(0, |buffers| buffers.len()) as i64;
    for count in batch.variadicBufferCounts().into_iter().flatten() {
        if !(0..=buffers).contains(&count) {
            return Err(DecodeError::malformed("a number of view buffers out of range"));
        }
    }
    match batch.compression() {
        None => all_buffers(batch, body).try_for_each(|buffer| buffer.map(drop)),
        Some(compression)
            if compression.codec() == CompressionType::LZ4_FRAME
                && compression.method() == BodyCompressionMethod::BUFFER =>
        {
            compressed_buffers(batch, body, limits)
        }
        Some(_) => Err(DecodeError::malformed("an unknown compression")),
    }
}

fn compressed_buffers(batch: RecordBatch<'_>, body: &[u8], limits: DecodeLimits) -> Result<(), DecodeError> {
    let mut total = 0_u64;
    for buffer in all_buffers(batch, body) {
        let buffer = buffer?;
        if buffer.is_empty() {
            continue;
        }
        let Some((prefix, data)) = buffer.split_first_chunk::<LENGTH_PREFIX>() else {
            return Err(DecodeError::malformed("a compressed buffer without its length"));
        };
        let length = match i64::from_le_bytes(*prefix) {
            NOT_COMPRESSED => data.len() as u64,
            length => u64::try_from(length).map_err(|_| DecodeError::malformed("a negative buffer length"))?,
        };
        if length > (data.len() as u64).saturating_mul(MAX_EXPANSION) {
            return Err(DecodeError::malformed("a buffer that claims to expand more than its compression can"));
        }
        total = total.saturating_add(length);
        if total > limits.batch_bytes {
            return Err(DecodeError::TooLarge { bytes: total, limit: limits.batch_bytes });
        }
    }
    Ok(())
}

fn all_buffers<'a>(batch: RecordBatch<'a>, body: &'a [u8]) -> impl Iterator<Item = Result<&'a [u8], DecodeError>> + 'a {
    batch.buffers().into_iter().flatten().map(move |buffer| {
        let start = usize::try_from(buffer.offset()).ok();
        let len = usize::try_from(buffer.length()).ok();
        let range = start.zip(len).and_then(|(start, len)| Some(start..start.checked_add(len)?));
        range.and_then(|range| body.get(range)).ok_or(DecodeError::malformed("a buffer outside of its body"))
    })
}
