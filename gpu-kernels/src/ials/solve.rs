//! One half of an iteration of weighted alternating least squares: the rows of one side from those of the other.
//!
//! With strength s ≥ 0 of a pair (0 if it never occurred), preference 1 if s > 0, else 0, and confidence c = 1 + α s,
//! the row x of a user minimises Σᵢ cᵢ (prefᵢ − x·yᵢ)² + λ |x|² over all items, seen or not. Where the gradient is
//! zero:
//!
//!   (G + λI + Σ α sᵢ yᵢ yᵢᵀ) x = Σ (1 + α sᵢ) yᵢ        sums over the items with sᵢ > 0, G = Σ yᵢ yᵢᵀ over all items
//!
//! ```text
//! sixteen rows ─► their matrices, one after another (eights) ─► turned into lanes ─► Cholesky ─► sixteen rows
//! ```
//!
//! A row without entries is zero. Rows do not depend on each other, nor on how they are dealt to threads.
//!
//! Source: Y. Hu, Y. Koren, C. Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008.

use super::cholesky::{LANES, Solve, Wide, entry};
use super::gram::{AddPanel, PANEL};
use super::params::{IalsParams, stride};
use crate::funk::Rows;
use crate::parallel::for_pieces;
use crate::sparse::Sparse;
use crate::{Cpu, KernelError};

/// Computes a row for each row of `strengths` from the rows of the other side and their [`super::gram()`] matrix.
///
/// `others` has a row for each column of `strengths`. The same bits for any number of threads, and for any part of the
/// rows computed by itself.
///
/// # Errors
/// [`KernelError::Length`] or [`KernelError::Parameter`] for bad shapes, parameters, or a strength below 0;
/// [`KernelError::Singular`] if the equations of a row have no solution in `f32`, as with `others` that are not finite.
pub fn solve(
    cpu: Cpu,
    params: &IalsParams,
    others: &[f32],
    gram: &[f32],
    strengths: &Sparse,
    threads: usize,
) -> Result<Rows, KernelError> {
    params.validate()?;
    let stride = stride(params.factors);
    KernelError::check_length("others", others.len(), strengths.width() * stride)?;
    KernelError::check_length("gram", gram.len(), stride * stride)?;
    if let Some(strength) = strengths.all_values().iter().find(|strength| **strength < 0.0) {
        let value = f64::from(*strength);
        return Err(KernelError::Parameter { name: "strength", value, expected: "0 or more" });
    }
    let mut rows = Rows::zeros(strengths.rows() * stride);
    if params.factors == 0 {
        return Ok(rows);
    }
    for_pieces(threads, &mut rows, LANES * stride, |piece, rows| {
        let mut batch = Batch::new(cpu, params, others, gram);
        for (lane, _) in rows.chunks(stride).enumerate() {
            let row = piece * LANES + lane;
            batch.fill(lane, strengths.columns(row), strengths.values(row));
        }
        let singular = batch.solve();
        for (lane, row) in rows.chunks_mut(stride).enumerate() {
            if singular[lane] {
                return Err(KernelError::Singular { row: piece * LANES + lane });
            }
            row.iter_mut().zip(&batch.right).for_each(|(factor, solved)| *factor = solved[lane]);
        }
        Ok(())
    })?;
    Ok(rows)
}

/// Up to sixteen systems of equations.
struct Batch<'a> {
    cpu: Cpu,
    params: &'a IalsParams,
    stride: usize,
    others: &'a [f32],
    gram: &'a [f32],
    /// The matrix of one system, and what is being added to it.
    matrix: Vec<f32>,
    rows: Vec<f32>,
    weighted: Vec<f32>,
    /// The right side of one system.
    sums: Vec<f32>,
    triangle: Vec<Wide>,
    right: Vec<Wide>,
}

impl<'a> Batch<'a> {
    /// Systems that say x = 0, in every lane.
    fn new(cpu: Cpu, params: &'a IalsParams, others: &'a [f32], gram: &'a [f32]) -> Self {
        let factors = params.factors;
        let mut triangle = vec![[0.0; LANES]; entry(factors, 0)];
        (0..factors).for_each(|r| triangle[entry(r, r)] = [1.0; LANES]);
        let right = vec![[0.0; LANES]; factors];
        let stride = stride(factors);
        let (matrix, rows, weighted, sums) = (gram.to_vec(), Vec::new(), Vec::new(), vec![0.0; stride]);
        Self { cpu, params, stride, others, gram, matrix, rows, weighted, sums, triangle, right }
    }

    /// Writes the equations of a row into a lane.
    fn fill(&mut self, lane: usize, columns: &[u32], strengths: &[f32]) {
        let IalsParams { factors, alpha, regularization } = *self.params;
        let (stride, others) = (self.stride, self.others);
        let seen = || columns.iter().zip(strengths).filter(|(_, strength)| **strength > 0.0);
        if seen().next().is_none() {
            return;
        }
        let row = |column: &u32| &others[*column as usize * stride..][..stride];
        self.matrix.copy_from_slice(self.gram);
        self.sums.fill(0.0);
        let mut entries = seen().peekable();
        while entries.peek().is_some() {
            self.rows.clear();
            self.weighted.clear();
            for (column, strength) in entries.by_ref().take(PANEL) {
                let weight = alpha * strength;
                self.rows.extend_from_slice(row(column));
                self.weighted.extend(row(column).iter().map(|factor| weight * factor));
            }
            let (rows, weighted) = (&self.rows, &self.weighted);
            for (row, weighted) in rows.chunks_exact(stride).zip(weighted.chunks_exact(stride)) {
                let both = self.sums.iter_mut().zip(row.iter().zip(weighted));
                both.for_each(|(sum, (once, weighted))| *sum += once + weighted);
            }
            self.cpu.run(AddPanel { matrix: &mut self.matrix, factors, stride, rows, weighted });
        }
        for (r, matrix) in self.matrix.chunks(stride).take(factors).enumerate() {
            let triangle = &mut self.triangle[entry(r, 0)..][..=r];
            triangle.iter_mut().zip(matrix).for_each(|(to, from)| to[lane] = *from);
            triangle[r][lane] += regularization;
        }
        self.right.iter_mut().zip(&self.sums).for_each(|(to, from)| to[lane] = *from);
    }

    /// Solves all systems; `right` then holds the rows. Answers which have no solution.
    fn solve(&mut self) -> [bool; LANES] {
        self.cpu.run(Solve { triangle: &mut self.triangle, right: &mut self.right })
    }
}
