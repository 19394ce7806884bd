//! What must hold of the decoder whatever bytes it meets. Property tests run it, and by hand the targets in `engine/fuzz`.

use bytes::Bytes;

use crate::{DecodeLimits, Decoder, decode_schema};

/// Decodes `bytes` as a stream that comes in pieces, whose size the first byte says. What comes out is sound.
///
/// # Panics
/// When it is not.
pub fn stream(bytes: &[u8]) {
    let Some((&piece, bytes)) = bytes.split_first() else { return };
    let mut decoder = Decoder::with_limits(DecodeLimits { message_bytes: 1 << 20, batch_bytes: 16 << 20 });
    for piece in bytes.chunks(1 + 16 * usize::from(piece)) {
        let mut piece = Bytes::copy_from_slice(piece);
        loop {
            match decoder.decode(&mut piece) {
                Ok(Some(batch)) => {
                    for column in batch.columns() {
                        column.to_data().validate_full().expect("a decoded column keeps to its type");
                    }
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

/// Decodes `bytes` as a schema alone; what comes out is encoded and decoded again to the same.
///
/// # Panics
/// When it is not.
pub fn schema(bytes: &[u8]) {
    if let Ok(schema) = decode_schema(bytes) {
        let again = decode_schema(&crate::encode_schema(&schema)).expect("an encoded schema can be decoded");
        assert_eq!(again.fields().len(), schema.fields().len());
    }
}
