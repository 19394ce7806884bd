//! Rows of factors with the bias inside: what the update reads and writes.
//!
//! ```text
//!         0    1    2 …… k+1    k+2 …
//! user    bᵤ   1    factors     0        padded with zeros to a multiple of eight floats (32 bytes)
//! item    1    bᵢ   factors     0
//! ```
//!
//! One dot product of two rows is bᵤ + bᵢ + p·q, so biases cost no instruction and no cache line of their own. The two
//! constant ones and the zeros keep their values through every update.

use crate::KernelError;

/// Which of the two matrices a row belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// A row of a user.
    User,
    /// A row of an item.
    Item,
}

impl Side {
    /// Where the bias of such a row lies.
    pub fn bias_slot(self) -> usize {
        match self {
            Self::User => 0,
            Self::Item => 1,
        }
    }

    /// Where the constant 1 of such a row lies.
    pub fn one_slot(self) -> usize {
        1 - self.bias_slot()
    }

    /// What errors call such a row.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Item => "item",
        }
    }
}

/// How many factors a row has, and so how it is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowShape {
    factors: usize,
}

impl RowShape {
    /// Rows of `factors` factors; 0 leaves the biases only.
    pub fn new(factors: usize) -> Self {
        Self { factors }
    }

    /// Factors of a row.
    pub fn factors(self) -> usize {
        self.factors
    }

    /// Floats from one row to the next: a multiple of eight.
    pub fn stride(self) -> usize {
        (self.factors + 2).next_multiple_of(8)
    }

    /// The factors within one row of [`RowShape::stride`] floats.
    pub fn factors_of(self, row: &[f32]) -> &[f32] {
        &row[2..2 + self.factors]
    }

    /// How many rows a slice holds; an error unless it holds whole rows.
    pub(crate) fn rows_in(self, what: &'static str, values: &[f32]) -> Result<usize, KernelError> {
        let rows = values.len() / self.stride();
        KernelError::check_length(what, values.len(), rows * self.stride())?;
        Ok(rows)
    }
}

/// Floats that start on a cache line, so that no row lies on more lines than it must.
#[derive(Debug, Default)]
pub struct Rows {
    buffer: Vec<f32>,
    start: usize,
    len: usize,
}

/// Floats of a cache line.
const LINE: usize = 16;

impl Rows {
    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        let buffer = vec![0.0; len + LINE - 1];
        // An allocator may give any alignment; `align_offset` may say "never", which costs time only.
        let start = buffer.as_ptr().align_offset(4 * LINE).min(LINE - 1);
        Self { buffer, start, len }
    }
}

impl Clone for Rows {
    fn clone(&self) -> Self {
        let mut copy = Self::zeros(self.len);
        copy.copy_from_slice(self);
        copy
    }
}

impl PartialEq for Rows {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl std::ops::Deref for Rows {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.buffer[self.start..self.start + self.len]
    }
}

impl std::ops::DerefMut for Rows {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.buffer[self.start..self.start + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_are_the_next_multiple_of_eight_with_room_for_two_more() {
        let strides = [0, 6, 7, 20, 100, 128].map(|factors| RowShape::new(factors).stride());
        assert_eq!(strides, [8, 8, 16, 24, 104, 136]);
    }

    #[test]
    fn rows_start_on_a_cache_line_also_when_copied() {
        for len in [0, 1, 8, 1000] {
            let mut rows = Rows::zeros(len);
            rows.fill(1.5);
            let copy = rows.clone();
            assert_eq!((copy.len(), copy.as_ptr() as usize % 64, rows.as_ptr() as usize % 64), (len, 0, 0));
            assert_eq!(copy, rows);
        }
    }
}
