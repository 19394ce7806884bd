//! What must hold of a token's text whatever it is. Property tests run it, and by hand the targets in `engine/fuzz`.

use crate::transport::Token;

/// Reads `bytes` as a token file and as the header of a caller.
///
/// # Panics
/// When a token is not shown by its own header, or by the bytes themselves.
pub fn token(bytes: &[u8]) {
    let Some(token) = Token::parse(&String::from_utf8_lossy(bytes)) else { return };
    assert!(token.is_shown_by(token.authorization().as_bytes()));
    assert!(!token.is_shown_by(bytes));
}
