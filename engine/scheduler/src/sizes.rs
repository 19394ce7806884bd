//! How many bytes each task of a stage wrote for each reader, one log-scaled byte per cell.
//! Owned by its [`Stage`](super::stage::Stage).

/// A table of tasks × output partitions. Takes no memory before the first task has finished.
#[derive(Debug)]
pub(crate) struct SizeTable {
    outputs: usize,
    cells: Vec<u8>,
}

impl SizeTable {
    /// An empty table for a stage whose tasks write `outputs` partitions.
    pub(crate) fn new(outputs: u32) -> Self {
        Self { outputs: outputs as usize, cells: Vec::new() }
    }

    /// Output partitions per task.
    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// Notes what task `index` of `tasks` wrote. A report of another width says nothing.
    pub(crate) fn set(&mut self, index: u32, tasks: usize, sizes: &[u8]) {
        if sizes.len() != self.outputs {
            return;
        }
        if self.cells.is_empty() {
            self.cells = vec![0; self.outputs * tasks];
        }
        let start = index as usize * self.outputs;
        self.cells[start..start + self.outputs].copy_from_slice(sizes);
    }

    /// Whether anything was noted.
    pub(crate) fn is_known(&self) -> bool {
        !self.cells.is_empty()
    }

    /// Bytes that task `index` wrote for each output partition, roughly.
    pub(crate) fn row(&self, index: u32) -> impl Iterator<Item = u64> {
        let start = index as usize * self.outputs;
        self.cells.get(start..start + self.outputs).unwrap_or_default().iter().copied().map(decode)
    }

    /// Gives the memory back.
    pub(crate) fn clear(&mut self) {
        self.cells = Vec::new();
    }
}

/// Eighths of a power of two, in 1/1024.
const EIGHTHS: [u64; 8] = [1024, 1117, 1218, 1328, 1448, 1579, 1722, 1878];

/// The bytes that `ceil(8 * log2(bytes)) + 1` stands for; 0 stands for none.
fn decode(cell: u8) -> u64 {
    match cell.checked_sub(1) {
        None => 0,
        Some(eighths) => ((1u64 << (eighths / 8)) * EIGHTHS[usize::from(eighths % 8)]) >> 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_within_a_tenth() {
        for bytes in [1u64, 2, 7, 1_000, 123_456, 1 << 30] {
            let cell = (8.0 * (bytes as f64).log2()).ceil() as u8 + 1;
            let decoded = decode(cell) as f64;
            assert!((decoded / bytes as f64 - 1.0).abs() < 0.1, "{bytes} became {decoded}");
        }
        assert_eq!(decode(0), 0);
    }

    #[test]
    fn a_report_of_another_width_is_ignored() {
        let mut table = SizeTable::new(2);
        table.set(0, 3, &[9, 9, 9]);
        assert_eq!(table.row(0).count(), 0);
        table.set(1, 3, &[1, 9]);
        assert_eq!(table.row(1).collect::<Vec<_>>(), [1, 2]);
    }
}
