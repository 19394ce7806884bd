//! Finds the bytes that give CSV its structure: delimiters, quotes and line ends, eight bytes at a time.

/// Bytes per step; all marks of one step are found before any is used.
const WORD: usize = 8;

/// Looks for up to three bytes at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct MarkFinder {
    needles: [u64; 3],
}

impl MarkFinder {
    /// A finder of `delimiter`, `quote` and line feeds.
    pub(super) fn new(delimiter: u8, quote: Option<u8>) -> Self {
        let spread = |byte: u8| u64::from_ne_bytes([byte; WORD]);
        Self { needles: [spread(delimiter), spread(quote.unwrap_or(delimiter)), spread(b'\n')] }
    }

    /// Appends the places in `data[from..to]` of all marks, counted from the start of `data`.
    pub(super) fn find(&self, data: &[u8], from: usize, to: usize, marks: &mut Vec<u32>) {
        let (words, rest) = data[from..to].as_chunks::<WORD>();
        let mut at = from;
        for word in words {
            let mut found = self.matches(u64::from_le_bytes(*word));
            while found != 0 {
                marks.push((at + (found.trailing_zeros() / 8) as usize) as u32);
                found &= found - 1;
            }
            at += WORD;
        }
        let mut last = [0; WORD];
        last[..rest.len()].copy_from_slice(rest);
        let mut found = self.matches(u64::from_le_bytes(last));
        while found != 0 {
            let place = (found.trailing_zeros() / 8) as usize;
            // The padding is not data, even if a delimiter is the zero byte.
            if place < rest.len() {
                marks.push((at + place) as u32);
            }
            found &= found - 1;
        }
    }

    /// The top bit of each byte that is one of the needles.
    fn matches(&self, word: u64) -> u64 {
        self.needles.iter().fold(0, |found, &needle| found | zero_bytes(word ^ needle))
    }
}

/// The top bit of each byte of `word` that is zero; exact, since no carry leaves a byte.
fn zero_bytes(word: u64) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    !(((word & LOW) + LOW) | word | LOW)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_what_a_loop_finds(data in proptest::collection::vec(prop_oneof![Just(b','), Just(b'"'), Just(b'\n'), any::<u8>()], 0..100), from in 0_usize..100) {
            let from = from.min(data.len());
            let mut marks = Vec::new();
            MarkFinder::new(b',', Some(b'"')).find(&data, from, data.len(), &mut marks);
            let expected: Vec<u32> = (from..data.len()).filter(|&at| b",\"\n".contains(&data[at])).map(|at| at as u32).collect();
            prop_assert_eq!(marks, expected);
        }
    }

    #[test]
    fn padding_is_never_a_mark() {
        let mut marks = Vec::new();
        MarkFinder::new(0, None).find(b"a\0b", 0, 3, &mut marks);
        assert_eq!(marks, [1]);
    }
}
