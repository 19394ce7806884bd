//! Where the `f32` sums of tiles go.

use super::math::gelu;
use super::tiles::{Finish, FullStep};
use crate::simd::Lanes;

/// Rows of floats, `stride` apart, that take sums or their GELU.
pub(super) struct Store<'a, const GELU: bool> {
    pub(super) out: &'a mut [f32],
    pub(super) stride: usize,
}

impl<const GELU: bool> Store<'_, GELU> {
    /// Writes sixteen sums.
    #[inline(always)]
    pub(super) fn write<L: Lanes, const ROUGH: bool>(&mut self, lanes: L, row: usize, column: usize, sums: L::F16) {
        let at = row * self.stride + column;
        let out = self.out[at..].first_chunk_mut().expect("rows of whole panels");
        lanes.store16(if GELU { gelu::<L, ROUGH>(lanes, sums) } else { sums }, out);
    }
}

impl<L: Lanes, const GELU: bool> Finish<FullStep<L>> for Store<'_, GELU> {
    #[inline(always)]
    fn take(&mut self, step: FullStep<L>, row: usize, column: usize, sums: L::F16) {
        self.write::<L, false>(step.0, row, column, sums);
    }
}
