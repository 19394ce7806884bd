//! Cuts texts into words and n-grams.
//!
//!   "The cat, the café!"  ─lower─►  the cat the café  ─stop words─►  cat café  ─n-grams─►  cat, café, "cat café"
//!
//! A word is a run of two or more letters, numbers and `_`. Words are put down with a single space between them, so that
//! every n-gram is a slice of one buffer and none is copied.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use super::word_flips::FLIPS;
use crate::FitError;
use crate::tensors::{Malformed, Tensors, malformed};
use crate::terms::{Terms, hash_next, hash_word};

/// The longest n-grams there can be.
const LONGEST: usize = 8;

/// How texts become terms. Counts and models of one analyzer only can be used together.
#[derive(Debug, Clone, PartialEq)]
pub struct Analyzer {
    lowercase: bool,
    shortest: usize,
    longest: usize,
    stop_words: Terms,
}

impl Analyzer {
    /// Lower-cases, keeps all words but `stop_words`, and makes n-grams of as many words as `words` allows.
    ///
    /// # Errors
    /// [`FitError::Parameter`] for an empty range, or one not within 1 to 8.
    pub fn new<'a>(
        words: RangeInclusive<usize>,
        stop_words: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, FitError> {
        let (shortest, longest) = words.into_inner();
        FitError::check("fewest words of a term", shortest as f64, shortest > 0, "1 or more")?;
        let expected = "no fewer than the fewest, and no more than 8";
        FitError::check("most words of a term", longest as f64, (shortest..=LONGEST).contains(&longest), expected)?;
        let mut kept = Terms::default();
        stop_words.into_iter().for_each(|word| _ = kept.insert(word));
        Ok(Self { lowercase: true, shortest, longest, stop_words: kept })
    }

    /// The same, but upper-case letters stay as they are.
    #[must_use]
    pub fn with_case(self) -> Self {
        Self { lowercase: false, ..self }
    }

    /// Writes the analyzer.
    pub(crate) fn put(&self, tensors: &mut Tensors) {
        tensors.put_text("lowercase", if self.lowercase { "true" } else { "false" });
        tensors.put_text("words", &format!("{} to {}", self.shortest, self.longest));
        tensors.put_strings("stop_words", self.stop_words.iter());
    }

    /// Reads an analyzer.
    pub(crate) fn take(tensors: &Tensors) -> Result<Self, Malformed> {
        let range = tensors.text("words")?.split_once(" to ");
        let range = range.and_then(|(from, to)| Some(from.parse().ok()?..=to.parse().ok()?));
        let range = range.ok_or_else(|| malformed("words", "it is not like \"1 to 2\""))?;
        let analyzer = Self::new(range, tensors.strings("stop_words")?);
        let analyzer = analyzer.map_err(|error| malformed("words", error.to_string()))?;
        let lowercase = tensors.choice("lowercase", &[("true", true), ("false", false)])?;
        Ok(if lowercase { analyzer } else { analyzer.with_case() })
    }

    /// Calls `each` with the hash and the bytes of every term of a text, as often as it is there.
    #[inline]
    pub(crate) fn terms(&self, text: &str, words: &mut Words, mut each: impl FnMut(u64, &[u8])) {
        self.cut(text, words);
        let spans = &words.spans;
        for (first, start) in spans.iter().enumerate() {
            let mut hash = start.hash;
            for (more, end) in spans[first..].iter().take(self.longest).enumerate() {
                if more > 0 {
                    hash = hash_next(hash, end.hash);
                }
                if more + 1 >= self.shortest {
                    each(hash, &words.text[start.start..end.end]);
                }
            }
        }
    }

    /// Puts down the words of a text.
    fn cut(&self, text: &str, words: &mut Words) {
        words.text.clear();
        words.spans.clear();
        let text =
            if self.lowercase && !text.is_ascii() { Cow::Owned(text.to_lowercase()) } else { Cow::Borrowed(text) };
        let ascii = if self.lowercase { &LOWER } else { &AS_IS };
        let (bytes, mut at) = (text.as_bytes(), 0);
        while at < bytes.len() {
            let (start, mut characters) = (words.text.len(), 0);
            while let Some(byte) = bytes.get(at) {
                if let Some(part) = ascii.get(usize::from(*byte)) {
                    at += 1;
                    if *part == 0 {
                        break;
                    }
                    words.text.push(*part);
                } else {
                    let character = text[at..].chars().next().expect("there is a byte of it");
                    let range = at..at + character.len_utf8();
                    at = range.end;
                    if !is_word(character) {
                        break;
                    }
                    words.text.extend_from_slice(&bytes[range]);
                }
                characters += 1;
            }
            self.end_word(words, start, characters);
        }
    }

    #[inline]
    fn end_word(&self, words: &mut Words, start: usize, characters: usize) {
        if characters >= 2 {
            let word = &words.text[start..];
            let hash = hash_word(word);
            if self.stop_words.find(hash, word).is_none() {
                words.spans.push(Span { start, end: words.text.len(), hash });
                words.text.push(b' ');
                return;
            }
        }
        words.text.truncate(start);
    }
}

/// The words of one text, in buffers that many texts share.
#[derive(Debug, Default)]
pub(crate) struct Words {
    text: Vec<u8>,
    spans: Vec<Span>,
}

#[derive(Debug)]
struct Span {
    start: usize,
    end: usize,
    hash: u64,
}

/// For each ASCII character itself if it is part of a word, else 0.
const AS_IS: [u8; 128] = table(false);
/// The same in lower case.
const LOWER: [u8; 128] = table(true);

const fn table(lower: bool) -> [u8; 128] {
    let mut table = [0; 128];
    let mut byte = 0;
    while byte < 128 {
        let character = byte as u8;
        if character.is_ascii_alphanumeric() || character == b'_' {
            table[byte] = if lower { character.to_ascii_lowercase() } else { character };
        }
        byte += 1;
    }
    table
}

/// Whether a character is part of a word.
fn is_word(character: char) -> bool {
    FLIPS.partition_point(|flip| *flip <= character as u32) % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(analyzer: &Analyzer, text: &str) -> Vec<String> {
        let mut terms = Vec::new();
        analyzer.terms(text, &mut Words::default(), |hash, term| {
            let term = std::str::from_utf8(term).expect("whole characters");
            assert_eq!(hash, crate::terms::hash_term(term));
            terms.push(term.to_owned());
        });
        terms
    }

    #[test]
    fn words_are_runs_of_word_characters() {
        let analyzer = Analyzer::new(1..=1, []).expect("a good range");
        for (text, words) in [
            ("", &[][..]),
            (" .,!?", &[]),
            ("The cat's a_b, x 42!", &["the", "cat", "a_b", "42"]),
            ("naïve CAFÉ\u{301}s ÀÈ", &["naïve", "café", "àè"]),
            // A dot above is no part of a word, and is what a Turkish capital I leaves behind.
            ("İstanbul ΟΔΟΣ Ⅷx ½½", &["stanbul", "οδος", "ⅷx", "½½"]),
            ("日本 語 ＡＢ", &["日本", "ａｂ"]),
        ] {
            assert_eq!(terms(&analyzer, text), words, "{text}");
        }
        assert_eq!(terms(&analyzer.with_case(), "Ab ÀÈ"), ["Ab", "ÀÈ"]);
    }

    #[test]
    fn n_grams_span_stop_words_and_signs() {
        let analyzer = Analyzer::new(1..=3, ["the", "of"]).expect("a good range");
        let expected = ["cup", "cup tea", "cup tea now", "tea", "tea now", "now"];
        assert_eq!(terms(&analyzer, "The cup, OF tea - now"), expected);
        assert_eq!(terms(&Analyzer::new(2..=2, []).expect("a good range"), "one"), [""; 0]);
        for (from, to) in [(0, 1), (2, 1), (1, 9)] {
            assert!(Analyzer::new(from..=to, []).is_err());
        }
    }
}
