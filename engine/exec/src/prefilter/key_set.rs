//! A set of hashed keys that may say yes by mistake, but never no: a Bloom filter in which all bits of a key are in one word, so that a
//! lookup reads memory once. After Putze, Sanders and Singler, "Cache-, hash- and space-efficient Bloom filters" (2009).

/// With so many bits for each key fewer than one other key in fifty is taken for one of them.
const BITS_PER_KEY: usize = 16;

/// The hashes of some keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeySet {
    /// At least one.
    words: Vec<u64>,
}

impl KeySet {
    /// The set of these hashes.
    pub(super) fn of(hashes: &[u64]) -> Self {
        let words = (hashes.len() * BITS_PER_KEY).div_ceil(u64::BITS as usize).max(1);
        let mut set = Self { words: vec![0; words] };
        for &hash in hashes {
            let place = set.place(hash);
            set.words[place] |= bits(hash);
        }
        set
    }

    /// False only for a hash that was not added.
    #[inline]
    pub(super) fn may_contain(&self, hash: u64) -> bool {
        !self.words[self.place(hash)] & bits(hash) == 0
    }

    /// Memory it takes.
    pub(super) fn bytes(&self) -> usize {
        self.words.len() * size_of::<u64>()
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// The set that gave these bytes; none when none did.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<{ size_of::<u64>() }>();
        let whole = rest.is_empty() && !words.is_empty();
        whole.then(|| Self { words: words.iter().map(|word| u64::from_le_bytes(*word)).collect() })
    }

    /// The high half says which word.
    #[inline]
    fn place(&self, hash: u64) -> usize {
        (((hash >> 32) * self.words.len() as u64) >> 32) as usize
    }
}

/// The low half, mixed since its last bits tell the partition, says which four bits of the word.
#[inline]
fn bits(hash: u64) -> u64 {
    let mixed = u64::from(hash as u32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    (1 << (mixed & 63)) | (1 << (mixed >> 6 & 63)) | (1 << (mixed >> 12 & 63)) | (1 << (mixed >> 18 & 63))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Spreads numbers as a hash function does.
    fn hash(number: u64) -> u64 {
        let mixed = (number ^ (number >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }

    proptest! {
        #[test]
        fn no_key_is_forgotten(hashes in proptest::collection::vec(any::<u64>(), 0..2000)) {
            let set = KeySet::of(&hashes);
            prop_assert!(hashes.iter().all(|&hash| set.may_contain(hash)));
            prop_assert_eq!(KeySet::from_bytes(&set.to_bytes()), Some(set));
        }

        #[test]
        fn bytes_that_are_no_set_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let sound = !bytes.is_empty() && bytes.len().is_multiple_of(size_of::<u64>());
            prop_assert_eq!(KeySet::from_bytes(&bytes).is_some(), sound);
        }
    }

    /// Also where all keys are of one partition of many.
    #[test]
    fn few_other_keys_pass() {
        for partitions in [1_u64, 32] {
            let of_partition = |number: &u64| hash(*number).is_multiple_of(partitions);
            let keys: Vec<u64> = (0..1_000_000).filter(of_partition).map(hash).collect();
            let set = KeySet::of(&keys);
            let others: Vec<u64> = (1_000_000..4_000_000).filter(of_partition).map(hash).collect();
            let mistakes = others.iter().filter(|&&other| set.may_contain(other)).count();
            assert!(mistakes * 50 < others.len(), "{mistakes} of {}", others.len());
        }
        assert!(!KeySet::of(&[]).may_contain(hash(1)));
    }
}
