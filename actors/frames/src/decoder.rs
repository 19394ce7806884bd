//! Cuts a stream of bytes into frames. Pure: the caller reads into [`Decoder::space`] and says how much came.
//! Invariants: memory is one buffer of at most [`BUFFER_BYTES`] or the largest frame allowed, whatever the bytes say; no
//! bytes make it panic; a bad header stays where it is, so that the error repeats and nothing more is taken.
//!
//!   buffer: │ frame │ frame │ begun frame … │ space        frames are split off the front, shared and not copied

use bytes::{Buf, Bytes, BytesMut};

use crate::error::DecodeError;
use crate::frame::{HEADER_BYTES, Header};
use crate::limits::Limits;

/// Bytes that one read asks for.
pub(crate) const BUFFER_BYTES: usize = 64 << 10;
/// With less space than this a new buffer pays.
const MIN_SPACE_BYTES: usize = 4 << 10;

/// A frame as its bytes say, without the descriptors that came beside them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// What the payload is.
    pub kind: u16,
    /// How many descriptors belong to it.
    pub descriptors: u8,
    /// The content.
    pub payload: Bytes,
}

/// Where the stream stands after the frames that were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// Between two frames.
    Between,
    /// In a header.
    Header,
    /// In a frame that comes with so many descriptors.
    Frame {
        /// How many descriptors belong to it.
        descriptors: u8,
    },
}

/// Turns bytes into frames. One decoder reads one stream.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    /// All of it is initialised; the front is filled, the rest is space.
    buffer: BytesMut,
    filled: usize,
}

impl Decoder {
    /// A decoder that takes frames within `limits`.
    pub fn new(limits: Limits) -> Self {
        Self { limits, buffer: BytesMut::new(), filled: 0 }
    }

    /// Where to read the next bytes to. Empty only after an error.
    pub fn space(&mut self) -> &mut [u8] {
        let needed = match self.header() {
            Err(_) => return &mut [],
            Ok(Some(header)) => header.frame_bytes().max(self.filled + 1),
            Ok(None) => self.filled + MIN_SPACE_BYTES,
        };
        if self.buffer.len() < needed {
            let mut buffer = BytesMut::zeroed(needed.max(BUFFER_BYTES));
            buffer[..self.filled].copy_from_slice(&self.buffer[..self.filled]);
            self.buffer = buffer;
        }
        &mut self.buffer[self.filled..]
    }

    /// Says that the first `bytes` of [`Self::space`] were written.
    ///
    /// # Panics
    /// When the space was smaller.
    pub fn fill(&mut self, bytes: usize) {
        assert!(bytes <= self.buffer.len() - self.filled, "more bytes than there was space");
        self.filled += bytes;
    }

    /// The next frame; none until all of it is there.
    pub fn decode(&mut self) -> Result<Option<Decoded>, DecodeError> {
        let Some(header) = self.header()?.filter(|header| header.frame_bytes() <= self.filled) else {
            return Ok(None);
        };
        let mut frame = self.buffer.split_to(header.frame_bytes());
        self.filled -= frame.len();
        frame.advance(HEADER_BYTES);
        // An empty payload must not hold on to the buffer.
        let payload = if frame.is_empty() { Bytes::new() } else { frame.freeze() };
        Ok(Some(Decoded { kind: header.kind, descriptors: header.descriptors, payload }))
    }

    /// Where the stream stands when no whole frame is left.
    pub fn position(&self) -> Result<Position, DecodeError> {
        Ok(match self.header()? {
            Some(header) => Position::Frame { descriptors: header.descriptors },
            None if self.filled > 0 => Position::Header,
            None => Position::Between,
        })
    }

    fn header(&self) -> Result<Option<Header>, DecodeError> {
        let filled = &self.buffer[..self.filled];
        filled.first_chunk().map(|bytes| Header::decode(*bytes, &self.limits)).transpose()
    }

    /// Bytes of memory held for what has not become a frame yet.
    #[doc(hidden)]
    pub fn held_bytes(&self) -> usize {
        self.buffer.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    const LIMITS: Limits = Limits { payload_bytes: 200_000, descriptors: 4, queue_bytes: 0 };

    fn frame() -> impl Strategy<Value = Decoded> {
        let len = prop_oneof![6 => 0..100_usize, 2 => 100..10_000_usize, 1 => 10_000..200_000_usize];
        (any::<u16>(), 0..=4_u8, len, any::<u8>()).prop_map(|(kind, descriptors, len, seed)| {
            let payload = (0..len).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)).collect();
            Decoded { kind, descriptors, payload }
        })
    }

    fn encode(frames: &[Decoded]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for Decoded { kind, descriptors, payload } in frames {
            let header = Header { payload_bytes: payload.len() as u32, kind: *kind, descriptors: *descriptors };
            bytes.extend(header.encode());
            bytes.extend(payload);
        }
        bytes
    }

    /// Feeds `bytes` in the given pieces and then in as large ones as there is space for.
    fn decode(mut bytes: &[u8], pieces: &[usize]) -> Result<Vec<Decoded>, DecodeError> {
        let mut decoder = Decoder::new(LIMITS);
        let mut frames = Vec::new();
        let mut pieces = pieces.iter().copied();
        while !bytes.is_empty() {
            let piece = pieces.next().unwrap_or(usize::MAX);
            let space = decoder.space();
            let piece = piece.min(space.len()).min(bytes.len());
            space[..piece].copy_from_slice(&bytes[..piece]);
            decoder.fill(piece);
            bytes = &bytes[piece..];
            while let Some(frame) = decoder.decode()? {
                frames.push(frame);
            }
        }
        match decoder.position()? {
            Position::Between => Ok(frames),
            Position::Header | Position::Frame { .. } => Err(DecodeError::Truncated),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

        #[test]
        fn any_split_of_the_stream_gives_the_same_frames(
            frames in prop::collection::vec(frame(), 0..12),
            pieces in prop::collection::vec(prop_oneof![1..20_usize, 1..70_000_usize], 0..60),
        ) {
            prop_assert_eq!(decode(&encode(&frames), &pieces), Ok(frames));
        }

        #[test]
        fn a_cut_stream_is_truncated_or_ends_between_frames(
            frames in prop::collection::vec(frame(), 1..6),
            cut in any::<Index>(),
        ) {
            let bytes = encode(&frames);
            let cut = cut.index(bytes.len());
            match decode(&bytes[..cut], &[]) {
                Ok(some) => prop_assert_eq!(encode(&some), &bytes[..cut]),
                Err(error) => prop_assert_eq!(error, DecodeError::Truncated),
            }
        }

        #[test]
        fn hostile_bytes_are_frames_or_errors(bytes in prop::collection::vec(any::<u8>(), 0..4_000)) {
            crate::fuzz::stream(&bytes);
        }

        #[test]
        fn hostile_headers_are_frames_or_errors(
            headers in prop::collection::vec((0..5_000_u32, any::<u16>(), 0..5_u8, 0..2_u8, 0..64_usize), 0..40),
            piece in any::<u8>(),
        ) {
            let mut bytes = vec![piece];
            for (len, kind, descriptors, reserved, rest) in headers {
                let mut header = Header { payload_bytes: len, kind, descriptors }.encode();
                header[7] = reserved / 2;
                bytes.extend(header);
                bytes.resize(bytes.len() + rest.max(len as usize % 128), 0);
            }
            crate::fuzz::stream(&bytes);
        }
    }

    #[test]
    fn a_header_beyond_the_limits_is_an_error_that_stays_and_takes_no_memory() {
        let too_long = Header { payload_bytes: 200_001, kind: 7, descriptors: 0 }.encode();
        let too_many = Header { payload_bytes: 0, kind: 7, descriptors: 5 }.encode();
        let mut reserved = Header { payload_bytes: 0, kind: 7, descriptors: 0 }.encode();
        reserved[7] = 1;
        let errors = [
            (too_long, DecodeError::TooLong { kind: 7, bytes: 200_001, limit: 200_000 }),
            (too_many, DecodeError::TooManyDescriptors { kind: 7, count: 5, limit: 4 }),
            (reserved, DecodeError::Reserved { kind: 7, byte: 1 }),
        ];
        for (header, error) in errors {
            let mut decoder = Decoder::new(LIMITS);
            decoder.space()[..HEADER_BYTES].copy_from_slice(&header);
            decoder.fill(HEADER_BYTES);
            for _ in 0..2 {
                assert_eq!(decoder.decode(), Err(error.clone()));
                assert!(decoder.space().is_empty());
            }
            assert_eq!(decoder.held_bytes(), BUFFER_BYTES);
        }
    }

    #[test]
    fn payloads_share_the_buffer_that_was_read_to() {
        let mut decoder = Decoder::new(LIMITS);
        let bytes =
            encode(&[3, 5].map(|kind| Decoded { kind, descriptors: 0, payload: Bytes::from_static(b"payload") }));
        let space = decoder.space();
        let start = space.as_ptr() as usize;
        space[..bytes.len()].copy_from_slice(&bytes);
        decoder.fill(bytes.len());
        for at in [8, 23] {
            let frame = decoder.decode().expect("no error").expect("a frame");
            assert_eq!(frame.payload.as_ptr() as usize, start + at);
        }
    }
}
