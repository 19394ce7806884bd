//! Descriptors that came and wait for the frame they belong to.
//! The writer begins a write with the frame that descriptors go with, and the system gives them out with the first of
//! these bytes. So once all whole frames are taken, those left are exactly the ones that the begun frame names.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use crate::decoder::Position;
use crate::error::DecodeError;

/// A queue in the order of arrival. What is left is closed on drop.
#[derive(Debug, Default)]
pub(crate) struct Attached {
    waiting: VecDeque<OwnedFd>,
}

impl Attached {
    /// Adds what came with one read, at most `limit`.
    pub(crate) fn add(&mut self, came: Vec<OwnedFd>, limit: u8) -> Result<(), DecodeError> {
        if came.len() > usize::from(limit) {
            return Err(DecodeError::DescriptorsLost);
        }
        self.waiting.extend(came);
        Ok(())
    }

    /// Those of a frame that names `count`.
    pub(crate) fn take(&mut self, count: u8) -> Result<Vec<OwnedFd>, DecodeError> {
        let named = usize::from(count);
        if named > self.waiting.len() {
            return Err(DecodeError::Descriptors { came: self.waiting.len(), named });
        }
        Ok(self.waiting.drain(..named).collect())
    }

    /// Whether those left are those that belong to what comes at `position`.
    pub(crate) fn check(&self, position: Position) -> Result<(), DecodeError> {
        let came = self.waiting.len();
        let named = match position {
            Position::Between => 0,
            Position::Frame { descriptors } => usize::from(descriptors),
            // What the header names is not known yet; the number is bounded by `add`.
            Position::Header => came,
        };
        if came == named { Ok(()) } else { Err(DecodeError::Descriptors { came, named }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(count: usize) -> Vec<OwnedFd> {
        (0..count).map(|_| std::fs::File::open("/dev/null").expect("a file").into()).collect()
    }

    #[test]
    fn what_is_left_must_be_what_the_begun_frame_names() {
        let mut attached = Attached::default();
        attached.add(files(3), 3).expect("within the limit");
        assert_eq!(attached.take(2).map(|files| files.len()), Ok(2));
        assert_eq!(attached.check(Position::Frame { descriptors: 1 }), Ok(()));
        assert_eq!(attached.check(Position::Header), Ok(()));
        let wrong = |came, named| Err(DecodeError::Descriptors { came, named });
        assert_eq!(attached.check(Position::Frame { descriptors: 2 }), wrong(1, 2));
        assert_eq!(attached.check(Position::Between), wrong(1, 0));
        assert_eq!(attached.take(2).map(drop), wrong(1, 2));
        assert_eq!(attached.add(files(4), 3), Err(DecodeError::DescriptorsLost));
    }
}
