//! Frames on their way out, as the fewest writes: one run of bytes with large payloads and descriptors put in between.
//! Invariant: descriptors go with the write that begins with their frame.
//!
//!   bytes:   │ header payload header payload header │ header payload …
//!   inserts:                                        └ a large payload, not copied, or descriptors

use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::Bytes;

use crate::frame::{Frame, HEADER_BYTES, Header};

/// Payloads from this size on are written from where they are.
const LARGE_BYTES: usize = 16 << 10;
/// Slices of one write.
const SLICES: usize = 16;
/// More memory than this is given back when all is written.
const KEPT_BYTES: usize = 128 << 10;
/// What a descriptor counts in the queue. The system holds it for us.
const DESCRIPTOR_COST: usize = 1 << 10;

/// What a frame takes of the queue.
pub(crate) fn cost(payload_bytes: usize, descriptors: usize) -> usize {
    HEADER_BYTES + payload_bytes + DESCRIPTOR_COST * descriptors
}

/// Frames in the order in which they are written.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    inserts: VecDeque<Insert>,
    /// How much of `bytes` is written.
    written: usize,
}

/// What is written before the byte at `at`.
#[derive(Debug)]
struct Insert {
    at: usize,
    what: What,
}

#[derive(Debug)]
enum What {
    /// The part that is not written.
    Payload(Bytes),
    Descriptors(Vec<OwnedFd>),
}

/// One write.
#[derive(Debug)]
pub(crate) struct Write<'a> {
    slices: [IoSlice<'a>; SLICES],
    used: usize,
    pub(crate) descriptors: Vec<BorrowedFd<'a>>,
}

impl<'a> Write<'a> {
    pub(crate) fn slices(&self) -> &[IoSlice<'a>] {
        &self.slices[..self.used]
    }

    fn add(&mut self, bytes: &'a [u8]) {
        if !bytes.is_empty() {
            self.slices[self.used] = IoSlice::new(bytes);
            self.used += 1;
        }
    }
}

impl Batch {
    /// Appends a frame that is within the limits of its link.
    pub(crate) fn push(&mut self, frame: Frame) {
        let Frame { kind, payload, descriptors } = frame;
        let header = Header { payload_bytes: payload.len() as u32, kind, descriptors: descriptors.len() as u8 };
        if !descriptors.is_empty() {
            self.insert(What::Descriptors(descriptors));
        }
        self.bytes.extend_from_slice(&header.encode());
        if payload.len() < LARGE_BYTES {
            self.bytes.extend_from_slice(&payload);
        } else {
            self.insert(What::Payload(payload));
        }
    }

    fn insert(&mut self, what: What) {
        self.inserts.push_back(Insert { at: self.bytes.len(), what });
    }

    /// Whether all is written.
    pub(crate) fn is_empty(&self) -> bool {
        self.written == self.bytes.len() && self.inserts.is_empty()
    }

    /// What to write next, in one call.
    pub(crate) fn next_write(&self) -> Write<'_> {
        let mut write = Write { slices: [IoSlice::new(&[]); SLICES], used: 0, descriptors: Vec::new() };
        let mut from = self.written;
        for Insert { at, what } in &self.inserts {
            // A slice before each insert, one for it, one at the end.
            if write.used + 3 > SLICES {
                return write;
            }
            write.add(&self.bytes[from..*at]);
            from = *at;
            match what {
                What::Payload(payload) => write.add(payload),
                What::Descriptors(descriptors) if write.used == 0 && write.descriptors.is_empty() => {
                    write.descriptors = descriptors.iter().map(AsFd::as_fd).collect();
                }
                What::Descriptors(_) => return write,
            }
        }
        write.add(&self.bytes[from..]);
        write
    }

    /// Notes that `bytes`, more than none, of [`Self::next_write`] were written, and closes the descriptors that went with them.
    /// Returns what the queue gets back.
    pub(crate) fn advance(&mut self, mut bytes: usize) -> usize {
        let mut freed = bytes;
        while let Some(insert) = self.inserts.front_mut() {
            let before = insert.at - self.written;
            if bytes == 0 || bytes < before {
                break;
            }
            self.written += before;
            bytes -= before;
            match &mut insert.what {
                What::Payload(payload) if bytes < payload.len() => {
                    drop(payload.split_to(bytes));
                    return freed;
                }
                What::Payload(payload) => bytes -= payload.len(),
                // They went if a byte behind them did.
                What::Descriptors(_) if bytes == 0 => break,
                What::Descriptors(descriptors) => freed += DESCRIPTOR_COST * descriptors.len(),
            }
            self.inserts.pop_front();
        }
        self.written += bytes;
        if self.is_empty() {
            self.bytes.clear();
            self.bytes.shrink_to(KEPT_BYTES);
            self.written = 0;
        }
        freed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(len: usize, descriptors: usize) -> Frame {
        let payload: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
        let file = || std::fs::File::open("/dev/null").expect("a file").into();
        Frame { kind: len as u16, payload: payload.into(), descriptors: (0..descriptors).map(|_| file()).collect() }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

        #[test]
        fn writes_of_any_size_give_the_frames_in_order_and_descriptors_at_their_start(
            frames in prop::collection::vec((prop_oneof![8 => 0..300_usize, 2 => 15_000..40_000_usize], 0..3_usize), 1..40),
            sizes in prop::collection::vec(prop_oneof![1..50_usize, 1..50_000_usize], 1..200),
        ) {
            let mut batch = Batch::default();
            let mut expected = Vec::new();
            let mut starts = Vec::new();
            let mut total = 0;
            for (len, descriptors) in frames {
                let frame = frame(len, descriptors);
                let header = Header { payload_bytes: len as u32, kind: len as u16, descriptors: descriptors as u8 };
                if descriptors > 0 {
                    starts.push((expected.len(), descriptors));
                }
                expected.extend(header.encode());
                expected.extend(&frame.payload);
                total += cost(len, descriptors);
                batch.push(frame);
            }
            let mut sizes = sizes.into_iter();
            let (mut out, mut went, mut freed) = (Vec::<u8>::new(), Vec::new(), 0);
            while !batch.is_empty() {
                let write = batch.next_write();
                if !write.descriptors.is_empty() {
                    went.push((out.len(), write.descriptors.len()));
                }
                let bytes: Vec<u8> = write.slices().iter().flat_map(|slice| slice.to_vec()).collect();
                prop_assert!(!bytes.is_empty());
                let size = sizes.next().unwrap_or(usize::MAX).min(bytes.len());
                out.extend(&bytes[..size]);
                freed += batch.advance(size);
            }
            prop_assert_eq!(out, expected);
            prop_assert_eq!(went, starts);
            prop_assert_eq!(freed, total);
        }
    }

    #[test]
    fn small_frames_are_one_slice() {
        let mut batch = Batch::default();
        (0..100).for_each(|_| batch.push(frame(64, 0)));
        assert_eq!(batch.next_write().slices().len(), 1);
        batch.advance(100 * 72);
        assert!(batch.is_empty());
    }
}
