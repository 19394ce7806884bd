//! Messages to another node: numbered from 1, kept until they have arrived. Pure.
//! Invariant: what is kept are all messages behind the last one that is known to have arrived, in order.
//!
//!   arrived │ sent, not known to have arrived │ not sent on this stream
//!           └ kept ───────────────────────────┴──────────────────────

use std::collections::VecDeque;

use bytes::Bytes;

/// A frame has at most so many messages, and about no more bytes.
const FRAME_MESSAGES: usize = 1024;
const FRAME_BYTES: usize = 1 << 20;

/// See the module's header.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    kept: VecDeque<Bytes>,
    /// How many have arrived.
    arrived: u64,
    /// How many were sent on this stream or are known to have arrived.
    sent: u64,
}

/// Some messages that follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Numbered {
    /// The number of the first one.
    pub(super) first: u64,
    pub(super) messages: Vec<Bytes>,
}

/// What the other side says cannot be: it is not the one that it was, or broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{said} messages are said to have arrived where {sent} were sent and {arrived} had arrived before")]
pub(super) struct Impossible {
    said: u64,
    sent: u64,
    arrived: u64,
}

impl Outgoing {
    pub(super) fn push(&mut self, message: Bytes) {
        self.kept.push_back(message);
    }

    /// A new stream was opened, and all up to `arrived` have arrived.
    pub(super) fn opened(&mut self, arrived: u64) -> Result<(), Impossible> {
        // What was sent on the stream before may have arrived without our being told.
        self.sent = self.arrived + self.kept.len() as u64;
        self.arrived(arrived)?;
        self.sent = self.arrived;
        Ok(())
    }

    /// All up to `arrived` have arrived.
    pub(super) fn arrived(&mut self, arrived: u64) -> Result<(), Impossible> {
        if arrived > self.sent || arrived < self.arrived {
            return Err(Impossible { said: arrived, sent: self.sent, arrived: self.arrived });
        }
        self.kept.drain(..(arrived - self.arrived) as usize);
        self.arrived = arrived;
        Ok(())
    }

    /// What is to be sent next on this stream; none if all is sent.
    pub(super) fn next(&mut self) -> Option<Numbered> {
        let mut bytes = 0;
        let unsent = self.kept.iter().skip((self.sent - self.arrived) as usize).take(FRAME_MESSAGES);
        let messages: Vec<Bytes> = unsent
            .take_while(|message| {
                let fits = bytes == 0 || bytes + message.len() <= FRAME_BYTES;
                bytes += message.len().max(1);
                fits
            })
            .cloned()
            .collect();
        if messages.is_empty() {
            return None;
        }
        let first = self.sent + 1;
        self.sent += messages.len() as u64;
        Some(Numbered { first, messages })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(frame: Option<Numbered>) -> Option<(u64, Vec<u8>)> {
        frame.map(|frame| (frame.first, frame.messages.iter().map(|message| message[0]).collect()))
    }

    fn outgoing(count: u8) -> Outgoing {
        let mut outgoing = Outgoing::default();
        (1..=count).for_each(|number| outgoing.push(vec![number].into()));
        outgoing
    }

    #[test]
    fn a_new_stream_goes_on_behind_what_has_arrived() {
        let mut outgoing = outgoing(3);
        outgoing.opened(0).expect("nothing has arrived");
        assert_eq!(numbers(outgoing.next()), Some((1, vec![1, 2, 3])));
        assert_eq!(numbers(outgoing.next()), None);
        outgoing.arrived(1).expect("it was sent");
        outgoing.push(vec![4].into());
        assert_eq!(numbers(outgoing.next()), Some((4, vec![4])));
        outgoing.opened(2).expect("it was sent");
        assert_eq!(numbers(outgoing.next()), Some((3, vec![3, 4])));
        outgoing.arrived(4).expect("all were sent");
        outgoing.opened(4).expect("all were sent");
        assert_eq!(numbers(outgoing.next()), None);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let mut outgoing = outgoing(3);
        outgoing.opened(0).expect("nothing has arrived");
        assert_eq!(outgoing.arrived(1), Err(Impossible { said: 1, sent: 0, arrived: 0 }));
        assert_eq!(outgoing.opened(4), Err(Impossible { said: 4, sent: 3, arrived: 0 }));
        outgoing.opened(2).expect("they may have arrived");
        assert_eq!(outgoing.arrived(1), Err(Impossible { said: 1, sent: 2, arrived: 2 }));
    }

    #[test]
    fn frames_are_bounded_but_take_at_least_one_message() {
        let mut outgoing = Outgoing::default();
        for bytes in [FRAME_BYTES * 2, FRAME_BYTES - 1, 1, 1] {
            outgoing.push(vec![0; bytes].into());
        }
        outgoing.opened(0).expect("nothing has arrived");
        let counts: Vec<usize> = std::iter::from_fn(|| outgoing.next()).map(|frame| frame.messages.len()).collect();
        assert_eq!(counts, [1, 2, 1]);
    }
}
