//! What must hold of the decoder whatever bytes it meets. Property tests run it, and by hand the targets in `engine/fuzz`.

use crate::decoder::{BUFFER_BYTES, Decoder, Position};
use crate::frame::HEADER_BYTES;
use crate::limits::Limits;

/// Decodes `bytes` as a stream that comes in pieces, whose size the first byte says. Frames are within the limits, each
/// byte is in one frame or left over, and no memory is taken beyond the largest frame.
///
/// # Panics
/// When it is not so.
pub fn stream(bytes: &[u8]) {
    let Some((&piece, bytes)) = bytes.split_first() else { return };
    let limits = Limits { payload_bytes: 4_000, descriptors: 4, queue_bytes: 0 };
    let mut decoder = Decoder::new(limits);
    let mut left = bytes.len();
    for mut piece in bytes.chunks(1 + 16 * usize::from(piece)) {
        while !piece.is_empty() {
            let space = decoder.space();
            let len = piece.len().min(space.len());
            space[..len].copy_from_slice(&piece[..len]);
            decoder.fill(len);
            piece = &piece[len..];
            assert!(decoder.held_bytes() <= BUFFER_BYTES, "memory grows with what frames say");
            loop {
                match decoder.decode() {
                    Ok(Some(frame)) => {
                        assert!(frame.payload.len() <= 4_000 && frame.descriptors <= 4, "a frame beyond the limits");
                        left -= HEADER_BYTES + frame.payload.len();
                    }
                    Ok(None) => break,
                    Err(error) => {
                        assert_eq!(decoder.position(), Err(error), "an error does not stay");
                        assert!(decoder.space().is_empty(), "bytes are taken after an error");
                        return;
                    }
                }
            }
        }
    }
    match decoder.position().expect("no error is left unsaid") {
        Position::Between => assert_eq!(left, 0),
        Position::Header => assert!((1..HEADER_BYTES).contains(&left)),
        Position::Frame { .. } => assert!((HEADER_BYTES..HEADER_BYTES + 4_000).contains(&left)),
    }
}
