//! Tokens that are found in a text as they are, before anything else is done to it.

/// Those tokens.
pub(super) struct Special {
    /// With their ids; of those that begin alike the longest first.
    tokens: Vec<(String, u32)>,
    /// Whether one begins with the byte.
    first: [bool; 256],
}

/// A part of a text.
pub(super) enum Part<'a> {
    /// A special token.
    Token(u32),
    /// Text between them.
    Text(&'a str),
}

impl Special {
    /// Tokens with their ids. Empty ones are never found.
    pub(super) fn new(mut tokens: Vec<(String, u32)>) -> Self {
        tokens.retain(|(token, _)| !token.is_empty());
        tokens.sort_by_key(|(token, _)| std::cmp::Reverse(token.len()));
        let mut first = [false; 256];
        tokens.iter().for_each(|(token, _)| first[usize::from(token.as_bytes()[0])] = true);
        Self { tokens, first }
    }

    /// The parts of a text: of two tokens that overlap the first, of two that begin at the same place the longer.
    pub(super) fn parts<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Part<'a>> {
        let mut rest = text;
        let mut found = None;
        std::iter::from_fn(move || {
            if let Some(id) = found.take() {
                return Some(Part::Token(id));
            }
            if rest.is_empty() {
                return None;
            }
            let (before, token, behind) = self.split(rest);
            rest = behind;
            match token {
                Some(id) if before.is_empty() => Some(Part::Token(id)),
                _ => {
                    found = token;
                    Some(Part::Text(before))
                }
            }
        })
    }

    /// What is before the first token, the token, and what is behind it.
    fn split<'a>(&self, text: &'a str) -> (&'a str, Option<u32>, &'a str) {
        let bytes = text.as_bytes();
        for (at, byte) in bytes.iter().enumerate() {
            if !self.first[usize::from(*byte)] {
                continue;
            }
            if let Some((token, id)) = self.tokens.iter().find(|(token, _)| bytes[at..].starts_with(token.as_bytes())) {
                return (&text[..at], Some(*id), &text[at + token.len()..]);
            }
        }
        (text, None, "")
    }
}
