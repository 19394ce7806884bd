//! What has arrived from another node. Pure.

use bytes::Bytes;

use super::outgoing::Numbered;

/// Counts what has arrived of one other node, over all its streams.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    received: u64,
}

/// Messages are missing before the first one: the sender is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("message {first} came where {expected} was expected")]
pub(super) struct Gap {
    first: u64,
    expected: u64,
}

impl Incoming {
    /// The number of the last one that has arrived.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Those of `numbered` that have not arrived before.
    pub(super) fn take(&mut self, numbered: Numbered) -> Result<Vec<Bytes>, Gap> {
        let Numbered { first, mut messages } = numbered;
        if messages.is_empty() {
            return Ok(messages);
        }
        let expected = self.received + 1;
        let known = expected.checked_sub(first).filter(|_| first > 0).ok_or(Gap { first, expected })?;
        messages.drain(..messages.len().min(usize::try_from(known).unwrap_or(usize::MAX)));
        self.received += messages.len() as u64;
        Ok(messages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_arrives_once_and_in_order() {
        let mut incoming = Incoming::default();
        let mut take = |first: u64, numbers: &[u8]| {
            let messages = numbers.iter().map(|number| vec![*number].into()).collect();
            incoming
                .take(Numbered { first, messages })
                .map(|new| new.iter().map(|message| message[0]).collect::<Vec<_>>())
        };
        assert_eq!(take(1, &[1, 2]), Ok(vec![1, 2]));
        assert_eq!(take(1, &[1, 2, 3]), Ok(vec![3]));
        assert_eq!(take(2, &[2]), Ok(vec![]));
        assert_eq!(take(5, &[5]), Err(Gap { first: 5, expected: 4 }));
        assert_eq!(take(0, &[9]), Err(Gap { first: 0, expected: 4 }));
        assert_eq!(take(0, &[]), Ok(vec![]));
        assert_eq!(take(4, &[4]), Ok(vec![4]));
        assert_eq!(incoming.received(), 4);
    }
}
