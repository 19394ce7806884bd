//! Sums of outer products: the Gram matrix of all rows, and what single rows add to it.
//!
//!   G = Σᵢ yᵢ yᵢᵀ        A ← A + Σᵢ wᵢ yᵢ yᵢᵀ
//!
//! Only the lower triangle is computed, in eights: row r of a matrix has its columns 0 … 8⌈(r+1)/8⌉ − 1. Four rows are
//! added per pass, so that an entry is read and written once for four products; they are added one after another, so
//! that four at a time give the bits of one at a time. For G, rows are summed in chunks of [`CHUNK`] in `f32` and the chunks
//! in `f64`, in order: the sum neither depends on threads nor loses digits in a large catalogue.

use crate::parallel::for_pieces;
use crate::simd::{Kernel, Lanes};
use crate::{Cpu, KernelError};

/// Rows summed in `f32`.
const CHUNK: usize = 512;

/// The Gram matrix of `rows`, which hold `factors` factors each at the stride of [`super::stride`]: `factors` rows of that
/// stride, of which the lower triangle counts. The same bits for any number of threads.
///
/// # Errors
/// [`KernelError::Length`] if the slice does not hold whole rows, [`KernelError::Parameter`] for 0 threads.
pub fn gram(cpu: Cpu, rows: &[f32], factors: usize, threads: usize) -> Result<Vec<f32>, KernelError> {
    let stride = super::stride(factors);
    let size = factors * stride;
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
            let entries = chunks[number].chunks_exact(stride).map(|row| (row, 1.0));
            cpu.run(AddProducts { matrix: part, factors, stride, entries });
            Ok(())
        })?;
        for part in parts.chunks(size) {
            sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += f64::from(*part));
        }
    }
    Ok(sum.into_iter().map(|sum| sum as f32).collect())
}

/// Adds the weighted products of some rows to a matrix of `factors` rows of `stride` floats.
pub(super) struct AddProducts<'a, I> {
    pub(super) matrix: &'a mut [f32],
    pub(super) factors: usize,
    pub(super) stride: usize,
    /// Rows of `stride` floats and their weights.
    pub(super) entries: I,
}

impl<'a, I: Iterator<Item = (&'a [f32], f32)>> Kernel for AddProducts<'_, I> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Self { matrix, factors, stride, mut entries } = self;
        while let Some(first) = entries.next() {
            let Some(second) = entries.next() else { return add(lanes, matrix, factors, stride, [first]) };
            let Some(third) = entries.next() else { return add(lanes, matrix, factors, stride, [first, second]) };
            let Some(fourth) = entries.next() else {
                return add(lanes, matrix, factors, stride, [first, second, third]);
            };
            add(lanes, matrix, factors, stride, [first, second, third, fourth]);
        }
    }
}

/// Adds `N` products in one pass.
#[inline(always)]
fn add<L: Lanes, const N: usize>(
    lanes: L,
    matrix: &mut [f32],
    factors: usize,
    stride: usize,
    entries: [(&[f32], f32); N],
) {
    for (r, row) in matrix.chunks_exact_mut(stride).take(factors).enumerate() {
        let width = (r / 8 + 1) * 8;
        let row = &mut row[..width];
        let scales = entries.map(|(entry, weight)| weight * entry[r]);
        let columns = entries.map(|(entry, _)| entry[..width].as_chunks::<16>());
        let (wide, rest) = row.as_chunks_mut::<16>();
        let scales16 = scales.map(|scale| lanes.splat16(scale));
        for (at, sums) in wide.iter_mut().enumerate() {
            let mut sum = lanes.load16(sums);
            for n in 0..N {
                sum = lanes.fma16(scales16[n], lanes.load16(&columns[n].0[at]), sum);
            }
            lanes.store16(sum, sums);
        }
        if let [sums] = rest.as_chunks_mut::<8>().0 {
            let mut sum = lanes.load8(sums);
            for n in 0..N {
                let [column] = columns[n].1.as_chunks::<8>().0 else { unreachable!("all have the row's width") };
                sum = lanes.fma8(lanes.halves(scales16[n]).0, lanes.load8(column), sum);
            }
            lanes.store8(sum, sums);
        }
    }
}
