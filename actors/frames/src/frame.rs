//! One frame: a fixed header, then the payload.
//!
//!   length u32 │ kind u16 │ descriptors u8 │ 0 u8 │ payload …      (little endian; the length is that of the payload)

use std::os::fd::OwnedFd;

use bytes::Bytes;

use crate::error::DecodeError;
use crate::limits::Limits;

/// Bytes before each payload.
pub const HEADER_BYTES: usize = 8;

/// What one call of `send` gives to the other side.
#[derive(Debug, Default)]
pub struct Frame {
    /// What the payload is; for the two sides to agree on.
    pub kind: u16,
    /// The content. A received one is a part of a read buffer of 64 KiB or more: copy what is kept for long.
    pub payload: Bytes,
    /// Open files that go along. The receiver has descriptors of its own, closed on `exec`; the sender's are closed when
    /// the frame is written.
    pub descriptors: Vec<OwnedFd>,
}

impl Frame {
    /// A frame without descriptors.
    pub fn new(kind: u16, payload: impl Into<Bytes>) -> Self {
        Self { kind, payload: payload.into(), descriptors: Vec::new() }
    }
}

/// The bytes before a payload of `payload_bytes` without descriptors, for who writes frames without a [`Link`](crate::Link);
/// none if it is too long for any frame.
pub fn frame_header(kind: u16, payload_bytes: usize) -> Option<[u8; HEADER_BYTES]> {
    let payload_bytes = u32::try_from(payload_bytes).ok()?;
    Some(Header { payload_bytes, kind, descriptors: 0 }.encode())
}

/// The first bytes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) payload_bytes: u32,
    pub(crate) kind: u16,
    pub(crate) descriptors: u8,
}

impl Header {
    pub(crate) fn encode(self) -> [u8; HEADER_BYTES] {
        let [a, b, c, d] = self.payload_bytes.to_le_bytes();
        let [e, f] = self.kind.to_le_bytes();
        [a, b, c, d, e, f, self.descriptors, 0]
    }

    pub(crate) fn decode(bytes: [u8; HEADER_BYTES], limits: &Limits) -> Result<Self, DecodeError> {
        let [a, b, c, d, e, f, descriptors, reserved] = bytes;
        let payload_bytes = u32::from_le_bytes([a, b, c, d]);
        let kind = u16::from_le_bytes([e, f]);
        if reserved != 0 {
            return Err(DecodeError::Reserved { kind, byte: reserved });
        }
        if payload_bytes > limits.payload_bytes {
            return Err(DecodeError::TooLong { kind, bytes: payload_bytes, limit: limits.payload_bytes });
        }
        if descriptors > limits.descriptors {
            return Err(DecodeError::TooManyDescriptors { kind, count: descriptors, limit: limits.descriptors });
        }
        Ok(Self { payload_bytes, kind, descriptors })
    }

    /// Bytes of the whole frame.
    pub(crate) fn frame_bytes(self) -> usize {
        HEADER_BYTES + self.payload_bytes as usize
    }
}
