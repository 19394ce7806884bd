//! Pieces of large values, for a process that shares no memory with its worker: the program of a client. Between them the bytes
//! go before the message that names them, as frames of their own among those of messages.
//!
//! ```text
//!   program ──NeedSpace──▶ ◀──Space── worker      as with shared memory
//!           ──piece, piece, message──▶            into what was leased
//!           ◀──piece, piece, message──            one whole value before the message that has it
//! ```
//!
//! A piece is the extent, u32, and the offset of its first byte there, u64, both little endian, then the bytes.

use bytes::{Buf, Bytes};
use tandem_arena::{ExtentId, Location};

/// The frame kind of a piece.
pub const PIECE_KIND: u16 = 2;

/// Bytes of a value in one piece, at most.
pub const PIECE_BYTES: usize = 256 << 10;

/// Bytes before those of the value.
const HEADER_BYTES: usize = 12;

/// Some bytes of a large value, and where they belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The extent.
    pub extent: ExtentId,
    /// Where the first byte is there.
    pub offset: u64,
    /// The bytes.
    pub bytes: Bytes,
}

/// Bytes that are no piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} bytes are no piece of a value")]
pub struct NoPiece(usize);

impl Piece {
    /// The payload of a frame.
    pub fn encode(extent: ExtentId, offset: u64, bytes: &[u8]) -> Vec<u8> {
        let mut payload = Vec::with_capacity(HEADER_BYTES + bytes.len());
        payload.extend(extent.0.to_le_bytes());
        payload.extend(offset.to_le_bytes());
        payload.extend(bytes);
        payload
    }

    /// The piece that a payload is.
    ///
    /// # Errors
    /// When it is too short or too long for one.
    pub fn decode(mut payload: Bytes) -> Result<Self, NoPiece> {
        let length = payload.len();
        if !(HEADER_BYTES..=HEADER_BYTES + PIECE_BYTES).contains(&length) {
            return Err(NoPiece(length));
        }
        let (extent, offset) = (ExtentId(payload.get_u32_le()), payload.get_u64_le());
        Ok(Self { extent, offset, bytes: payload })
    }

    /// Where the pieces of a value begin, and how long each is.
    pub fn ranges(of: Location) -> impl Iterator<Item = (u64, usize)> + Send {
        let end = of.offset.saturating_add(of.length);
        let starts = (of.offset..end).step_by(PIECE_BYTES);
        starts.map(move |start| (start, (end - start).min(PIECE_BYTES as u64) as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_read_as_it_was_written() {
        let piece = Piece { extent: ExtentId(7), offset: 1 << 40, bytes: Bytes::from_static(b"some bytes") };
        let payload = Piece::encode(piece.extent, piece.offset, &piece.bytes);
        assert_eq!(Piece::decode(payload.into()), Ok(piece));
    }

    #[test]
    fn what_is_too_short_or_too_long_is_no_piece() {
        for length in [0, HEADER_BYTES - 1, HEADER_BYTES + PIECE_BYTES + 1] {
            assert_eq!(Piece::decode(vec![0; length].into()), Err(NoPiece(length)));
        }
    }

    #[test]
    fn pieces_cover_a_value_once() {
        let whole = PIECE_BYTES as u64;
        let ranges = |offset, length| {
            let location = Location { extent: ExtentId(0), offset, length };
            Piece::ranges(location).collect::<Vec<_>>()
        };
        assert_eq!(ranges(64, 0), []);
        assert_eq!(ranges(64, whole), [(64, PIECE_BYTES)]);
        assert_eq!(ranges(64, whole + 1), [(64, PIECE_BYTES), (64 + whole, 1)]);
    }
}
