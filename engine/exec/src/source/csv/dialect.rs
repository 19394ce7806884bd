//! How CSV fields and records are told apart, byte by byte: the grammar that the fast paths must agree with.

/// How fields and records are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Dialect {
    /// Between fields.
    pub(crate) delimiter: u8,
    /// Around fields.
    pub(crate) quote: Option<u8>,
}

/// Where in a record a byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    FieldStart,
    Unquoted,
    Quoted,
    AfterQuote,
}

impl Dialect {
    /// Where the byte after `byte` is, when `byte` is at `state`.
    pub(super) fn step(self, state: State, byte: u8) -> State {
        let is_quote = Some(byte) == self.quote;
        match state {
            State::FieldStart | State::AfterQuote if is_quote => State::Quoted,
            State::Quoted if is_quote => State::AfterQuote,
            State::Quoted => State::Quoted,
            _ if byte == self.delimiter => State::FieldStart,
            State::FieldStart | State::Unquoted | State::AfterQuote => State::Unquoted,
        }
    }

    /// The content of an `FieldForm::Escaped` field.
    pub(crate) fn unescape(self, field: &[u8]) -> Vec<u8> {
        let mut content = Vec::with_capacity(field.len());
        let mut state = State::FieldStart;
        for &byte in field {
            let next = if state == State::Unquoted { state } else { self.step(state, byte) };
            match (state, next) {
                // An opening or closing quote.
                (State::FieldStart, State::Quoted) | (State::Quoted, State::AfterQuote) => {}
                _ => content.push(byte),
            }
            state = next;
        }
        content
    }
}
