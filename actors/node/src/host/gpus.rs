//! Which GPUs of this worker are whose. A lease of whole ones has them alone; parts of one share it.

/// Thousandths of each GPU that are free, by index.
#[derive(Debug, Default)]
pub(crate) struct Gpus {
    free_milli: Vec<u64>,
}

/// What a lease took of GPUs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GpuShare {
    pub(crate) indices: Vec<u32>,
    milli_each: u64,
}

const WHOLE: u64 = 1000;

impl Gpus {
    pub(crate) fn new(count: u32) -> Self {
        Self { free_milli: vec![WHOLE; count as usize] }
    }

    /// Takes so much. Less if there is not so much: then the coordinator counts otherwise than this worker.
    pub(crate) fn take(&mut self, milli: u64) -> GpuShare {
        if milli == 0 {
            return GpuShare::default();
        }
        let (wanted, milli_each) = if milli < WHOLE { (1, milli) } else { (milli.div_ceil(WHOLE), WHOLE) };
        // The fullest that still fits, so that whole ones stay whole.
        let mut fitting: Vec<usize> =
            (0..self.free_milli.len()).filter(|index| self.free_milli[*index] >= milli_each).collect();
        fitting.sort_by_key(|index| self.free_milli[*index]);
        fitting.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
        fitting.sort_unstable();
        fitting.iter().for_each(|index| self.free_milli[*index] -= milli_each);
        GpuShare { indices: fitting.into_iter().map(|index| index as u32).collect(), milli_each }
    }

    pub(crate) fn give_back(&mut self, share: &GpuShare) {
        for index in &share.indices {
            if let Some(free) = self.free_milli.get_mut(*index as usize) {
                *free = (*free + share.milli_each).min(WHOLE);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_share_one_and_whole_ones_are_alone() {
        let mut gpus = Gpus::new(3);
        let half = gpus.take(500);
        let quarter = gpus.take(250);
        assert_eq!((half.indices.clone(), quarter.indices), (vec![0], vec![0]));
        let two = gpus.take(2000);
        assert_eq!(two.indices, [1, 2]);
        assert!(gpus.take(500).indices.is_empty(), "a quarter is left");
        gpus.give_back(&half);
        gpus.give_back(&two);
        assert_eq!(gpus.take(1000).indices, [1]);
        assert_eq!(gpus.take(0), GpuShare::default());
    }
}
