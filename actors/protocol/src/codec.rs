//! Messages as bytes: postcard, one message per frame.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The frame kind of every message; other kinds are for later.
pub const MESSAGE_KIND: u16 = 1;

/// Bytes that are no message of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// They cannot be read as one.
    #[error("not a message of this protocol: {0}")]
    Malformed(postcard::Error),
    /// A message, and more behind it.
    #[error("{0} bytes behind a message")]
    Trailing(usize),
}

/// The message as bytes.
///
/// # Panics
/// Never for messages of this crate: all they hold has a known length.
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    postcard::to_extend(message, Vec::with_capacity(64)).expect("messages have known lengths")
}

/// The message as bytes behind those of `buffer`.
///
/// # Panics
/// As [`encode`].
pub fn encode_onto<T: Serialize>(message: &T, buffer: Vec<u8>) -> Vec<u8> {
    postcard::to_extend(message, buffer).expect("messages have known lengths")
}

/// The message that `bytes` are.
///
/// # Errors
/// When they are none.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Ok(message),
        Ok((_, rest)) => Err(DecodeError::Trailing(rest.len())),
        Err(error) => Err(DecodeError::Malformed(error)),
    }
}
