//! Cuts a text into the words whose pieces are looked up: cleans it, sets Chinese characters apart, takes accents off,
//! makes letters small, and cuts at white space and around punctuation.
//!
//! ASCII goes through a table of 128 classes. From the first character on that is more, up to the next white space, the
//! steps are done one after the other as the original does them; no step reaches over ASCII white space.
//!
//! Source: the basic tokenizer of Devlin et al. (2019), as Hugging Face's `tokenizers` reads it, whose two libraries with
//! the tables of Unicode are used here, so that ids are equal.

use unicode_categories::UnicodeCategories;
use unicode_normalization_alignments::UnicodeNormalization;

/// Which steps are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cleaning {
    /// Whether control characters are taken out and all white space becomes blanks.
    pub(super) clean_text: bool,
    /// Whether each Chinese character is a word.
    pub(super) handle_chinese_chars: bool,
    /// Whether accents are taken off.
    pub(super) strip_accents: bool,
    /// Whether letters are made small.
    pub(super) lowercase: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Ends a word.
    Space,
    /// Is a word.
    Punctuation,
    /// Is part of a word.
    Word,
    /// Is taken out.
    Nothing,
    /// Is no ASCII.
    More,
}

/// Cuts texts into words.
pub(super) struct Characters {
    cleaning: Cleaning,
    classes: [Class; 256],
    small: [u8; 256],
}

impl Characters {
    pub(super) fn new(cleaning: Cleaning) -> Self {
        let class = |byte: u8| match char::from(byte) {
            character if !character.is_ascii() => Class::More,
            character if cleaning.clean_text && is_nothing(character) => Class::Nothing,
            character if character.is_whitespace() => Class::Space,
            character if character.is_ascii_punctuation() => Class::Punctuation,
            _ => Class::Word,
        };
        let small = |byte: u8| if cleaning.lowercase { byte.to_ascii_lowercase() } else { byte };
        let bytes = std::array::from_fn(|byte| byte as u8);
        Self { cleaning, classes: bytes.map(class), small: bytes.map(small) }
    }

    pub(super) fn lowercase(&self) -> bool {
        self.cleaning.lowercase
    }

    /// Calls `take` with each word and how many characters it has, until it answers false.
    #[inline]
    pub(super) fn for_words(&self, text: &str, buffers: &mut Buffers, mut take: impl FnMut(&[u8], usize) -> bool) {
        let bytes = text.as_bytes();
        let class = |at: usize| bytes.get(at).map_or(Class::Space, |byte| self.classes[usize::from(*byte)]);
        let mut at = 0;
        while at < bytes.len() {
            let start = at;
            match class(at) {
                Class::Space | Class::Nothing => at += 1,
                Class::Punctuation => {
                    at += 1;
                    if !take(&bytes[start..at], 1) {
                        return;
                    }
                }
                Class::Word | Class::More => {
                    buffers.word.clear();
                    while class(at) == Class::Word {
                        buffers.word.push(self.small[usize::from(bytes[at])]);
                        at += 1;
                    }
                    let go_on = match class(at) {
                        Class::Space | Class::Punctuation => take(&buffers.word, at - start),
                        Class::Word | Class::Nothing | Class::More => {
                            while class(at) != Class::Space {
                                at += 1;
                            }
                            self.for_any_words(&text[start..at], buffers, &mut take)
                        }
                    };
                    if !go_on {
                        return;
                    }
                }
            }
        }
    }

    /// As [`Characters::for_words`] for text of any characters; answers whether to go on.
    #[cold]
    fn for_any_words(&self, text: &str, buffers: &mut Buffers, take: &mut impl FnMut(&[u8], usize) -> bool) -> bool {
        let normal = &mut buffers.normal;
        normal.clear();
        self.normalise(text, normal, &mut buffers.spaced);
        let (mut start, mut characters) = (0, 0);
        for (at, character) in normal.char_indices() {
            let (space, punctuation) = (character.is_whitespace(), is_punctuation(character));
            if !(space || punctuation) {
                characters += 1;
                continue;
            }
            let end = at + character.len_utf8();
            if at > start && !take(&normal.as_bytes()[start..at], characters)
                || punctuation && !take(&normal.as_bytes()[at..end], 1)
            {
                return false;
            }
            (start, characters) = (end, 0);
        }
        start == normal.len() || take(&normal.as_bytes()[start..], characters)
    }

    fn normalise(&self, text: &str, normal: &mut String, spaced: &mut String) {
        let Cleaning { clean_text, handle_chinese_chars, strip_accents, lowercase } = self.cleaning;
        spaced.clear();
        for character in text.chars().filter(|character| !(clean_text && is_nothing(*character))) {
            if clean_text && character.is_whitespace() {
                spaced.push(' ');
            } else if handle_chinese_chars && is_chinese(character) {
                spaced.extend([' ', character, ' ']);
            } else {
                spaced.push(character);
            }
        }
        let mut small = |character: char| {
            if lowercase { normal.extend(character.to_lowercase()) } else { normal.push(character) }
        };
        if strip_accents {
            let parts = spaced.nfd().map(|(character, _)| character);
            parts.filter(|character| !character.is_mark_nonspacing()).for_each(&mut small);
        } else {
            spaced.chars().for_each(&mut small);
        }
    }
}

/// Room for words that are no slices of their text.
#[derive(Default)]
pub(super) struct Buffers {
    word: Vec<u8>,
    normal: String,
    spaced: String,
}

/// Whether cleaning takes it out: what says that a character is missing, and controls that are no white space.
fn is_nothing(character: char) -> bool {
    match character {
        '\t' | '\n' | '\r' => false,
        '\0' | '\u{FFFD}' => true,
        _ => character.is_other(),
    }
}

fn is_punctuation(character: char) -> bool {
    character.is_ascii_punctuation() || character.is_punctuation()
}

/// Whether it is in one of the blocks of unified ideographs and their compatibility forms, as BERT lists them.
fn is_chinese(character: char) -> bool {
    matches!(
        u32::from(character),
        0x3400..=0x4DBF
            | 0x4E00..=0x9FFF
            | 0xF900..=0xFAFF
            | 0x20000..=0x2A6DF
            | 0x2A700..=0x2B73F
            | 0x2B740..=0x2B81F
            | 0x2B920..=0x2CEAF
            | 0x2F800..=0x2FA1F
    )
}
