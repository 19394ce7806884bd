//! A set of terms with ids in the order of their coming, found by hash and compared by bytes.
//! Invariant: a term is one word, or several with a single space between them; its hash follows from those of its words,
//! so that a caller who has hashed each word once need not hash the n-grams they are part of.
//!
//!   text  "goodgood newsnews"         slots  ┌──────┬─────┬──────┬───
//!   ends      4        13  17                │ tag,2│     │ tag,0│ …    open addressing, linear, half empty
//!   ids       0         1   2                └──────┴─────┴──────┴───
//!
//! The hash folds the two halves of a 64 × 64 bit product (the idea of wyhash, Wang Yi 2019). It has no secret: whoever
//! chooses the texts of a fit can make it slow, as with most hashes, but can give no wrong answer.

/// Terms and their ids.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    text: Vec<u8>,
    ends: Vec<usize>,
    hashes: Vec<u64>,
    slots: Vec<Slot>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    tag: u32,
    id: u32,
}

/// A slot without a term.
const FREE: Slot = Slot { tag: 0, id: u32::MAX };
/// Odd numbers without pattern: digits of π.
const PI: [u64; 4] = [0x243F_6A88_85A3_08D3, 0x1319_8A2E_0370_7345, 0xA409_3822_299F_31D1, 0x082E_FA98_EC4E_6C89];

impl Default for Terms {
    fn default() -> Self {
        Self { text: Vec::new(), ends: Vec::new(), hashes: Vec::new(), slots: vec![FREE; 16] }
    }
}

impl Terms {
    /// How many terms there are; ids are below.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of a term.
    pub(crate) fn bytes(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        &self.text[start..self.ends[id]]
    }

    /// A term.
    pub(crate) fn term(&self, id: u32) -> &str {
        std::str::from_utf8(self.bytes(id)).expect("terms are made of whole characters")
    }

    /// All terms by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|id| self.term(id as u32))
    }

    /// The id of a term, if it is there.
    #[inline]
    pub(crate) fn find(&self, hash: u64, term: &[u8]) -> Option<u32> {
        self.slots[self.place(hash, term)].id.checked_add(1).map(|next| next - 1)
    }

    /// The id of a term, which is added if it is not there.
    pub(crate) fn intern(&mut self, hash: u64, term: &[u8]) -> u32 {
        let place = self.place(hash, term);
        if self.slots[place].id != FREE.id {
            return self.slots[place].id;
        }
        let id = self.len() as u32;
        assert!(id < FREE.id, "fewer than 2³² terms fit into memory");
        self.text.extend_from_slice(term);
        self.ends.push(self.text.len());
        self.hashes.push(hash);
        self.slots[place] = Slot { tag: tag(hash), id };
        if self.len() * 2 > self.slots.len() {
            self.grow();
        }
        id
    }

    /// Adds a term of unknown hash.
    pub(crate) fn insert(&mut self, term: &str) -> u32 {
        self.intern(hash_term(term), term.as_bytes())
    }

    /// The hash of a term that is there.
    pub(crate) fn hash(&self, id: u32) -> u64 {
        self.hashes[id as usize]
    }

    /// The slot of a term, or the free one where it belongs.
    #[inline]
    fn place(&self, hash: u64, term: &[u8]) -> usize {
        let mask = self.slots.len() - 1;
        let mut place = hash as usize & mask;
        loop {
            let slot = self.slots[place];
            if slot.id == FREE.id || (slot.tag == tag(hash) && self.bytes(slot.id) == term) {
                return place;
            }
            place = (place + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let mask = self.slots.len() * 4 - 1;
        let mut slots = vec![FREE; mask + 1];
        for (id, hash) in self.hashes.iter().enumerate() {
            let mut place = *hash as usize & mask;
            while slots[place].id != FREE.id {
                place = (place + 1) & mask;
            }
            slots[place] = Slot { tag: tag(*hash), id: id as u32 };
        }
        self.slots = slots;
    }
}

/// The same terms with the same ids.
impl PartialEq for Terms {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.ends == other.ends
    }
}

fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// The hash of one word.
#[inline]
pub(crate) fn hash_word(word: &[u8]) -> u64 {
    let (first, last) = if let (Some(first), Some(last)) = (word.first_chunk(), word.last_chunk()) {
        let mut state = u64::from_le_bytes(*first);
        if word.len() > 16 {
            let middle =
                word[8..].chunks_exact(8).map(|eight| u64::from_le_bytes(eight.try_into().expect("eight bytes")));
            state = middle.fold(state, |state, eight| fold(state ^ PI[2], eight ^ PI[3]));
        }
        (state, u64::from_le_bytes(*last))
    } else if let (Some(first), Some(last)) = (word.first_chunk(), word.last_chunk()) {
        (u32::from_le_bytes(*first).into(), u32::from_le_bytes(*last).into())
    } else if let [first, .., last] = word {
        (u64::from(*first) | u64::from(*last) << 8, word[word.len() / 2].into())
    } else {
        (word.first().map_or(0, |byte| u64::from(*byte)), 0)
    };
    // Spread over all bits, the length is no match for the difference of some byte.
    let length = (word.len() as u64).wrapping_mul(PI[3]);
    fold(first ^ PI[0] ^ length, last ^ PI[1])
}

/// The hash of an n-gram, from that of all its words but the last, and that of the last.
#[inline]
pub(crate) fn hash_next(before: u64, word: u64) -> u64 {
    fold(before ^ PI[1], word.rotate_left(32) ^ PI[2])
}

/// The hash of a term.
pub(crate) fn hash_term(term: &str) -> u64 {
    term.split(' ').map(|word| hash_word(word.as_bytes())).reduce(hash_next).expect("splitting gives a word")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_get_ids_and_are_found_again() {
        let mut terms = Terms::default();
        let of = |n: u32| "x".repeat(n as usize % 40) + &n.to_string() + if n.is_multiple_of(3) { " y" } else { "" };
        for n in 0..5000 {
            assert_eq!(terms.insert(&of(n)), n);
        }
        for n in 0..5000 {
            assert_eq!(terms.insert(&of(n)), n);
            assert_eq!(terms.find(hash_term(&of(n)), of(n).as_bytes()), Some(n));
            assert_eq!((terms.term(n), terms.hash(n)), (&*of(n), hash_term(&of(n))));
        }
        assert_eq!(terms.find(hash_term("none"), b"none"), None);
        assert_eq!(terms.find(hash_term("0"), b"1"), None, "a hash alone is no proof");
        assert_eq!(terms.len(), terms.iter().count());
    }

    #[test]
    fn hashes_of_words_differ_by_each_byte_and_by_length() {
        let mut seen = std::collections::HashSet::new();
        for len in 0..40 {
            let mut word = vec![b'a'; len];
            assert!(seen.insert(hash_word(&word)));
            for at in 0..len {
                word[at] = b'b';
                assert!(seen.insert(hash_word(&word)), "{len} bytes, another at {at}");
                word[at] = b'a';
            }
        }
    }
}
