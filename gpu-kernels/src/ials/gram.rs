//! Sums of outer products: the Gram matrix of all rows, and what single rows add to it.
//!
//!   G = Σᵢ yᵢ yᵢᵀ        A ← A + Σᵢ wᵢ yᵢ yᵢᵀ
//!
//! ```text
//! matrix, four rows at a time          panel of up to 64 rows, as they are and times their weights
//! 0 ████████                            y₀ ▒▒▒▒▒▒▒▒▒▒▒▒      w₀y₀ ▒▒▒▒▒▒▒▒▒▒▒▒
//! 4 ████████                            y₁ ▒▒▒▒▒▒▒▒▒▒▒▒      w₁y₁ ▒▒▒▒▒▒▒▒▒▒▒▒
//! 8 ████████████████                    …                    …
//! ```
//!
//! Only the lower triangle is computed, in tiles of four rows by sixteen columns (eight at the end of a row) that stay
//! in registers while the whole panel is added, one row of the panel after another. So the bits are those of adding one
//! product at a time. For G, rows are summed in chunks of [`CHUNK`] in `f32` and the chunks in `f64`, in order: the sum
//! does not depend on threads, and loses no digits in a large catalogue.

use crate::parallel::for_pieces;
use crate::simd::{Kernel, Lanes};
use crate::{Cpu, KernelError};

/// Rows that are added while a tile stays in registers.
pub(super) const PANEL: usize = 64;
/// Rows summed in `f32`.
const CHUNK: usize = 512;

/// The Gram matrix of `rows`, which hold `factors` factors each at the stride of [`super::stride`]: a square of that
/// stride, of which the lower triangle counts. The same bits for any number of threads.
///
/// # Errors
/// [`KernelError::Length`] if the slice does not hold whole rows, [`KernelError::Parameter`] for 0 threads.
pub fn gram(cpu: Cpu, rows: &[f32], factors: usize, threads: usize) -> Result<Vec<f32>, KernelError> {
    let stride = super::stride(factors);
    let size = stride * stride;
    if factors == 0 {
        KernelError::check_length("rows", rows.len(), 0)?;
        return Ok(Vec::new());
    }
    KernelError::check_length("rows", rows.len(), rows.len() / stride * stride)?;
    let chunks: Vec<&[f32]> = rows.chunks(CHUNK * stride).collect();
    let mut sum = vec![0.0_f64; size];
    // As many chunks at a time as keep all threads busy for a while.
    for chunks in chunks.chunks(64) {
        let mut parts = vec![0.0; chunks.len() * size];
        for_pieces(threads, &mut parts, size, |number, part| {
            // Unweighted, a panel is its own weighted copy.
            for panel in chunks[number].chunks(PANEL * stride) {
                cpu.run(AddPanel { matrix: part, factors, stride, rows: panel, weighted: panel });
            }
            Ok(())
        })?;
        for part in parts.chunks(size) {
            sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += f64::from(*part));
        }
    }
    Ok(sum.into_iter().map(|sum| sum as f32).collect())
}

/// Adds the products of a panel to a matrix of `stride` rows of `stride` floats.
pub(super) struct AddPanel<'a> {
    pub(super) matrix: &'a mut [f32],
    pub(super) factors: usize,
    pub(super) stride: usize,
    /// Rows of `stride` floats.
    pub(super) rows: &'a [f32],
    /// The same rows, each times its weight.
    pub(super) weighted: &'a [f32],
}

impl Kernel for AddPanel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Self { matrix, factors, stride, rows, weighted } = self;
        for (four, matrix) in matrix.chunks_exact_mut(4 * stride).take(factors.div_ceil(4)).enumerate() {
            let first = 4 * four;
            let width = (first / 8 + 1) * 8;
            let mut column = 0;
            while column + 16 <= width {
                let mut sums = [lanes.splat16(0.0); 4];
                for (r, sum) in sums.iter_mut().enumerate() {
                    *sum = lanes.load16(part(matrix, r * stride + column));
                }
                for (row, weighted) in rows.chunks_exact(stride).zip(weighted.chunks_exact(stride)) {
                    let (row, scales) = (lanes.load16(part(row, column)), part::<4>(weighted, first));
                    for (sum, scale) in sums.iter_mut().zip(scales) {
                        *sum = lanes.fma16(lanes.splat16(*scale), row, *sum);
                    }
                }
                for (r, sum) in sums.into_iter().enumerate() {
                    lanes.store16(sum, part_mut(matrix, r * stride + column));
                }
                column += 16;
            }
            if column < width {
                let mut sums = [lanes.splat8(0.0); 4];
                for (r, sum) in sums.iter_mut().enumerate() {
                    *sum = lanes.load8(part(matrix, r * stride + column));
                }
                for (row, weighted) in rows.chunks_exact(stride).zip(weighted.chunks_exact(stride)) {
                    let (row, scales) = (lanes.load8(part(row, column)), part::<4>(weighted, first));
                    for (sum, scale) in sums.iter_mut().zip(scales) {
                        *sum = lanes.fma8(lanes.splat8(*scale), row, *sum);
                    }
                }
                for (r, sum) in sums.into_iter().enumerate() {
                    lanes.store8(sum, part_mut(matrix, r * stride + column));
                }
            }
        }
    }
}

/// `N` values of a slice from `start` on.
#[inline(always)]
fn part<const N: usize>(values: &[f32], start: usize) -> &[f32; N] {
    values[start..].first_chunk().expect("tiles lie within their rows")
}

/// As [`part`], to write to.
#[inline(always)]
fn part_mut<const N: usize>(values: &mut [f32], start: usize) -> &mut [f32; N] {
    values[start..].first_chunk_mut().expect("tiles lie within their rows")
}
