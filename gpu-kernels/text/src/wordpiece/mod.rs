//! The tokenizer of BERT: a text becomes words, a word the longest pieces of a vocabulary that it begins with.
//!
//! ```text
//!   "Unaffable!" ─► unaffable, ! ─► [CLS] un ##aff ##able ! [SEP]
//! ```
//!
//! What holds: the ids are those of Hugging Face's `tokenizers` for the same files, whatever the text. Padding and
//! truncation that a `tokenizer.json` asks for are not read: nothing is padded here, and how long a text may be is said by
//! other files.

mod characters;
mod read;
mod special;
mod trie;

use characters::{Buffers, Characters};
use special::{Part, Special};
use trie::Trie;

/// A vocabulary and how texts are cut into its pieces.
pub struct WordPiece {
    characters: Characters,
    special: Special,
    trie: Trie,
    /// Characters of the longest word that is looked up.
    longest_word: usize,
    unknown: u32,
    /// Comes before a text.
    class: u32,
    /// Comes behind a text.
    separator: u32,
    size: usize,
}

/// What became of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoded {
    /// Pieces that were appended, besides the first and the last token.
    pub pieces: usize,
    /// Whether there were more than fit.
    pub cut: bool,
}

/// The first and the last token of a text.
pub(crate) const FRAME: usize = 2;

impl WordPiece {
    /// How many tokens there are: the highest id plus 1.
    pub fn vocabulary_size(&self) -> usize {
        self.size
    }

    /// Whether letters are made small.
    pub fn lowercase(&self) -> bool {
        self.characters.lowercase()
    }

    /// Appends the ids of a text to `ids`, first and last token included: `limit` at most, which is at least 2.
    pub fn encode(&self, text: &str, limit: usize, ids: &mut Vec<u32>) -> Encoded {
        ids.push(self.class);
        let (first, room) = (ids.len(), limit.saturating_sub(FRAME));
        let mut buffers = Buffers::default();
        for part in self.special.parts(text) {
            match part {
                Part::Token(id) => ids.push(id),
                Part::Text(text) => self.characters.for_words(text, &mut buffers, |word, characters| {
                    if characters > self.longest_word || !self.trie.cut(word, ids) {
                        ids.push(self.unknown);
                    }
                    ids.len() - first <= room
                }),
            }
            if ids.len() - first > room {
                break;
            }
        }
        let cut = ids.len() - first > room;
        ids.truncate(first + room);
        let pieces = ids.len() - first;
        ids.push(self.separator);
        Encoded { pieces, cut }
    }
}
