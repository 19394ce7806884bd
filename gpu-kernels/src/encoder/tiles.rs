//! The products of rows with panels, by tiles whose sums stay in registers, for all precisions.
//!
//! ```text
//!   for each step of depth: one row of the panel (32 columns) is read once,
//!   one element of each row is spread over the lanes and multiplied with it
//!
//!              AVX-512: 12 rows × 2 registers of 16        AVX2, NEON: 6 rows × 16 columns
//! ```
//!
//! Every sum takes its products in the order of depth, whatever the tile: so a row's results depend neither on the rows
//! beside it nor, in `f32`, on the path.

use super::shape::PANEL;
use crate::simd::Lanes;

/// Rows of the highest tile.
pub(super) const TILE_ROWS: usize = 12;

/// One step of depth in one precision.
pub(super) trait Step: Copy {
    /// Whether sixteen sums are one register, of which there are 32.
    const WIDE: bool;
    /// What a row has for each step: a float, two bfloat16 or four bytes.
    type Element: Copy;
    /// Sixteen elements.
    type Elements: Copy;
    /// Sixteen sums.
    type Sums: Copy;

    /// Sums that start with these biases, or at 0 where biases are added in the end.
    fn start(self, biases: &[f32; 16]) -> Self::Sums;
    /// Reads sixteen elements.
    fn load(self, from: &[Self::Element; 16]) -> Self::Elements;
    /// The same element sixteen times.
    fn spread(self, element: Self::Element) -> Self::Elements;
    /// Adds the products of `a` and `b` to `sums`.
    fn add(self, a: Self::Elements, b: Self::Elements, sums: Self::Sums) -> Self::Sums;
}

/// What becomes of sums.
pub(super) trait Finish<S: Step> {
    /// Takes the sums of sixteen columns, from `column` on, of a row.
    fn take(&mut self, step: S, row: usize, column: usize, sums: S::Sums);
}

/// Steps in `f32`.
#[derive(Clone, Copy)]
pub(super) struct FullStep<L>(pub(super) L);

impl<L: Lanes> Step for FullStep<L> {
    const WIDE: bool = L::WIDE;
    type Element = f32;
    type Elements = L::F16;
    type Sums = L::F16;

    #[inline(always)]
    fn start(self, biases: &[f32; 16]) -> L::F16 {
        self.0.load16(biases)
    }

    #[inline(always)]
    fn load(self, from: &[f32; 16]) -> L::F16 {
        self.0.load16(from)
    }

    #[inline(always)]
    fn spread(self, element: f32) -> L::F16 {
        self.0.splat16(element)
    }

    #[inline(always)]
    fn add(self, a: L::F16, b: L::F16, sums: L::F16) -> L::F16 {
        self.0.fma16(a, b, sums)
    }
}

/// Rows that are multiplied.
#[derive(Clone, Copy)]
pub(super) struct Left<'a, E> {
    /// The first row and those behind it.
    pub(super) rows: &'a [E],
    /// From one row to the next.
    pub(super) stride: usize,
    /// How many rows there are.
    pub(super) count: usize,
}

/// 32 columns that they are multiplied with.
#[derive(Clone, Copy)]
pub(super) struct Right<'a, E> {
    /// The columns of the first step of depth, and those of the steps behind it.
    pub(super) values: &'a [E],
    /// From one step to the next.
    pub(super) stride: usize,
    /// How many steps there are.
    pub(super) depth: usize,
    /// What the sums start with: 32 values.
    pub(super) start: &'a [f32],
}

/// The tiles that cover `count` rows, as first row and number of rows: `height` rows each, the last over rows of the one
/// before if need be; for fewer rows than that tiles of 4 and of 1.
pub(super) fn tiles(count: usize, height: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let (first, rows) = match count - next {
            0 => return None,
            _ if count >= height => (next.min(count - height), height),
            1..4 => (next, 1),
            _ => (next, 4),
        };
        next = first + rows;
        Some((first, rows))
    })
}

/// Gives the products of all rows with one panel to `finish`.
#[inline(always)]
pub(super) fn multiply<S: Step>(
    step: S,
    left: Left<S::Element>,
    right: Right<S::Element>,
    finish: &mut impl Finish<S>,
) {
    if S::WIDE {
        for (first, rows) in tiles(left.count, 12) {
            match rows {
                12 => tile::<S, 12, 2>(step, left, first, right, 0, finish),
                4 => tile::<S, 4, 2>(step, left, first, right, 0, finish),
                _ => tile::<S, 1, 2>(step, left, first, right, 0, finish),
            }
        }
        return;
    }
    for column in [0, PANEL / 2] {
        for (first, rows) in tiles(left.count, 6) {
            match rows {
                6 => tile::<S, 6, 1>(step, left, first, right, column, finish),
                4 => tile::<S, 4, 1>(step, left, first, right, column, finish),
                _ => tile::<S, 1, 1>(step, left, first, right, column, finish),
            }
        }
    }
}

/// `ROWS` rows from `first` on by `VECTORS` times 16 columns from `column` on.
#[inline(always)]
fn tile<S: Step, const ROWS: usize, const VECTORS: usize>(
    step: S,
    left: Left<S::Element>,
    first: usize,
    right: Right<S::Element>,
    column: usize,
    finish: &mut impl Finish<S>,
) {
    let start = right.start[column..].as_chunks::<16>().0;
    let mut sums = [[step.start(&start[0]); VECTORS]; ROWS];
    for at in 1..VECTORS {
        for sums in &mut sums {
            sums[at] = step.start(&start[at]);
        }
    }
    let (rows, values) = (&left.rows[first * left.stride..], &right.values[column..]);
    assert!(right.depth > 0 && rows.len() >= (ROWS - 1) * left.stride + right.depth);
    assert!(values.len() >= (right.depth - 1) * right.stride + 16 * VECTORS);
    let (rows, values) = (rows.as_ptr(), values.as_ptr());
    for depth in 0..right.depth {
        // SAFETY: `depth` is below the depth, so by the second assertion 16 × VECTORS elements follow in the slice.
        let columns: &[[S::Element; 16]; VECTORS] = unsafe { &*values.add(depth * right.stride).cast() };
        let mut elements = [step.load(&columns[0]); VECTORS];
        for at in 1..VECTORS {
            elements[at] = step.load(&columns[at]);
        }
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: `row` is below ROWS and `depth` below the depth, so by the first assertion it is in the slice.
            let element = step.spread(unsafe { *rows.add(row * left.stride + depth) });
            for at in 0..VECTORS {
                sums[at] = step.add(element, elements[at], sums[at]);
            }
        }
    }
    for (row, sums) in sums.into_iter().enumerate() {
        for (at, sums) in sums.into_iter().enumerate() {
            finish.take(step, first + row, column + 16 * at, sums);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_all_rows() {
        for count in 0..60 {
            let mut next = 0;
            for (first, rows) in tiles(count, 12) {
                assert!(first <= next && first + rows > next, "{count} rows: {rows} from {first}");
                assert!(if count < 12 { first == next } else { rows == 12 });
                next = first + rows;
            }
            assert_eq!(next, count);
        }
    }
}
