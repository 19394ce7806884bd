//! A set of hashed keys that may say yes by mistake, but never no: a Bloom filter in which all bits of a key are in one word, so that a
//! lookup reads memory once. After Putze, Sanders and Singler, "Cache-, hash- and space-efficient Bloom filters" (2009).

use arrow::buffer::BooleanBuffer;

/// With so many bits for each key fewer than one other key in fifty is taken for one of them.
const BITS_PER_KEY: usize = 16;

/// Bytes of the set of keys with these hashes.
pub(super) fn key_set(hashes: &[u64]) -> Vec<u8> {
    let count = (hashes.len() * BITS_PER_KEY).div_ceil(u64::BITS as usize).max(1);
    let mut words = vec![0; count];
    for &hash in hashes {
        words[word_of(hash, count as u64) as usize] |= bits(hash);
    }
    words.iter().flat_map(|word: &u64| word.to_le_bytes()).collect()
}

/// The sets of all partitions, behind each other: those of as many keys as a batch has rows are looked for in two passes, so that
/// the processor waits for many words at once.
#[derive(Debug)]
pub(super) struct KeySets {
    /// The first is that of a set without keys.
    words: Vec<u64>,
    /// Where the sets of the partitions are. A partition has one in each layer, of which most have been made of one whole partition.
    layers: Vec<Vec<Place>>,
    partitions: usize,
}

/// Where in the words of all sets those of one are.
#[derive(Debug, Clone, Copy)]
struct Place {
    start: u32,
    /// At least one.
    count: u32,
}

impl Place {
    const NO_KEYS: Self = Self { start: 0, count: 1 };
}

impl KeySets {
    /// No keys of so many partitions, at least one.
    pub(super) fn new(partitions: usize) -> Self {
        Self { words: vec![0], layers: Vec::new(), partitions }
    }

    /// Adds the set of some keys of a partition, as [`key_set`] gave it. False when the bytes cannot be a set, there is no such partition,
    /// or the sets are too large.
    #[must_use]
    pub(super) fn add(&mut self, partition: usize, bytes: &[u8]) -> bool {
        let (words, rest) = bytes.as_chunks::<{ size_of::<u64>() }>();
        let (start, count) = (u32::try_from(self.words.len()), u32::try_from(words.len()));
        let (Ok(start), Ok(count @ 1..), true) = (start, count, rest.is_empty() && partition < self.partitions) else {
            return false;
        };
        let free = |layer: &Vec<Place>| layer[partition].start == Place::NO_KEYS.start;
        let layer = self.layers.iter().position(free).unwrap_or_else(|| {
            self.layers.push(vec![Place::NO_KEYS; self.partitions]);
            self.layers.len() - 1
        });
        self.layers[layer][partition] = Place { start, count };
        self.words.extend(words.iter().map(|word| u64::from_le_bytes(*word)));
        true
    }

    /// Memory they take.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.words)
    }

    /// Which of these keys may be in the set of their partition; false only for one that was not added.
    pub(super) fn may_contain(&self, hashes: &[u64]) -> BooleanBuffer {
        let mut places = Vec::with_capacity(hashes.len());
        let layers = self.layers.iter().map(|layer| {
            self.find(layer, hashes, &mut places);
            BooleanBuffer::collect_bool(hashes.len(), |row| !self.words[places[row] as usize] & bits(hashes[row]) == 0)
        });
        layers.reduce(|all, more| &all | &more).unwrap_or_else(|| BooleanBuffer::new_unset(hashes.len()))
    }

    /// The places of the words with the bits of these keys.
    fn find(&self, layer: &[Place], hashes: &[u64], places: &mut Vec<u32>) {
        let place = |partition: u64, hash: u64| {
            let Place { start, count } = layer[partition as usize];
            start + word_of(hash, count.into())
        };
        let partitions = self.partitions as u64;
        places.clear();
        if partitions.is_power_of_two() {
            // To divide takes longer than all of the rest.
            places.extend(hashes.iter().map(|hash| place(hash & (partitions - 1), *hash)));
        } else {
            places.extend(hashes.iter().map(|hash| place(hash % partitions, *hash)));
        }
    }
}

/// The high half says which word of so many.
#[inline]
fn word_of(hash: u64, count: u64) -> u32 {
    (((hash >> 32) * count) >> 32) as u32
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

    fn sets(partitions: usize, hashes: &[u64]) -> KeySets {
        let mut sets = KeySets::new(partitions);
        for partition in 0..partitions {
            let own: Vec<u64> =
                hashes.iter().copied().filter(|hash| *hash % partitions as u64 == partition as u64).collect();
            assert!(sets.add(partition, &key_set(&own)));
        }
        sets
    }

    proptest! {
        #[test]
        fn no_key_is_forgotten(
            hashes in proptest::collection::vec(any::<u64>(), 0..2000),
            more in proptest::collection::vec(any::<u64>(), 0..100),
            partitions in 1_usize..20,
        ) {
            let mut sets = sets(partitions, &hashes);
            prop_assert_eq!(sets.may_contain(&hashes).count_set_bits(), hashes.len());
            let partition = more.first().map_or(0, |hash| (hash % partitions as u64) as usize);
            let more: Vec<u64> = more.into_iter().filter(|hash| (hash % partitions as u64) as usize == partition).collect();
            prop_assert!(sets.add(partition, &key_set(&more)), "a second set of one partition");
            let all = [hashes, more].concat();
            prop_assert_eq!(sets.may_contain(&all).count_set_bits(), all.len());
        }

        #[test]
        fn bytes_that_are_no_set_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let sound = !bytes.is_empty() && bytes.len().is_multiple_of(size_of::<u64>());
            prop_assert_eq!(KeySets::new(3).add(2, &bytes), sound);
            prop_assert!(!KeySets::new(3).add(3, &bytes), "there is no such partition");
        }
    }

    /// Also where all keys are of one partition of many.
    #[test]
    fn few_other_keys_pass() {
        for partitions in [1, 7, 32] {
            let keys: Vec<u64> = (0..1_000_000).map(hash).collect();
            let others: Vec<u64> = (1_000_000..4_000_000).map(hash).collect();
            let mistakes = sets(partitions, &keys).may_contain(&others).count_set_bits();
            assert!(mistakes * 50 < others.len(), "{mistakes} of {}", others.len());
        }
        assert_eq!(sets(3, &[]).may_contain(&[hash(1)]).count_set_bits(), 0);
        assert_eq!(KeySets::new(3).may_contain(&[hash(1)]).count_set_bits(), 0);
    }
}
