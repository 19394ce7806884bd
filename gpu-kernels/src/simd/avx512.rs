//! Sixteen lanes in a 512-bit register; eight lanes as AVX2 does them.

use std::arch::x86_64::{
    __m256, __m512, _mm512_add_ps, _mm512_broadcast_f32x8, _mm512_castps512_ps256, _mm512_div_ps,
    _mm512_extractf32x8_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_max_ps, _mm512_min_ps, _mm512_mul_ps,
    _mm512_roundscale_ps, _mm512_scalef_ps, _mm512_set1_ps, _mm512_sqrt_ps, _mm512_storeu_ps, _mm512_sub_ps,
};

use super::avx2::Avx2;
use super::{Kernel, Lanes};

/// Proof that the processor has AVX-512 F and DQ, AVX2 and FMA: made by [`Avx512::detect`] only, which is what every
/// SAFETY comment below that names the token rests on.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(Avx2);

impl Avx512 {
    /// The token, if the processor has the instructions.
    #[inline]
    pub(crate) fn detect() -> Option<Self> {
        let wide = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq");
        Avx2::detect().filter(|_| wide).map(Self)
    }

    /// Runs a kernel compiled with the instructions.
    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma,avx512f,avx512dq")]
        fn run<K: Kernel>(kernel: K, lanes: Avx512) -> K::Output {
            kernel.run(lanes)
        }
        // SAFETY: the token.
        unsafe { run(kernel, self) }
    }
}

impl Lanes for Avx512 {
    const WIDE: bool = true;
    type F8 = __m256;
    type F16 = __m512;

    #[inline(always)]
    fn load8(self, from: &[f32; 8]) -> Self::F8 {
        self.0.load8(from)
    }

    #[inline(always)]
    fn store8(self, value: Self::F8, to: &mut [f32; 8]) {
        self.0.store8(value, to);
    }

    #[inline(always)]
    fn splat8(self, value: f32) -> Self::F8 {
        self.0.splat8(value)
    }

    #[inline(always)]
    fn add8(self, a: Self::F8, b: Self::F8) -> Self::F8 {
        self.0.add8(a, b)
    }

    #[inline(always)]
    fn sub8(self, a: Self::F8, b: Self::F8) -> Self::F8 {
        self.0.sub8(a, b)
    }

    #[inline(always)]
    fn mul8(self, a: Self::F8, b: Self::F8) -> Self::F8 {
        self.0.mul8(a, b)
    }

    #[inline(always)]
    fn div8(self, a: Self::F8, b: Self::F8) -> Self::F8 {
        self.0.div8(a, b)
    }

    #[inline(always)]
    fn sqrt8(self, value: Self::F8) -> Self::F8 {
        self.0.sqrt8(value)
    }

    #[inline(always)]
    fn fma8(self, a: Self::F8, b: Self::F8, c: Self::F8) -> Self::F8 {
        self.0.fma8(a, b, c)
    }

    #[inline(always)]
    fn clamp8(self, value: Self::F8, bound: Self::F8) -> Self::F8 {
        self.0.clamp8(value, bound)
    }

    #[inline(always)]
    fn sum8(self, value: Self::F8) -> Self::F8 {
        self.0.sum8(value)
    }

    #[inline(always)]
    fn sums8(self, values: [Self::F8; 8]) -> Self::F8 {
        self.0.sums8(values)
    }

    #[inline(always)]
    fn first(self, value: Self::F8) -> f32 {
        self.0.first(value)
    }

    #[inline(always)]
    fn load16(self, from: &[f32; 16]) -> Self::F16 {
        // SAFETY: the token; the reference covers the 64 bytes, which may lie anywhere.
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }

    #[inline(always)]
    fn store16(self, value: Self::F16, to: &mut [f32; 16]) {
        // SAFETY: the token; the reference covers the 64 bytes, which may lie anywhere.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), value) }
    }

    #[inline(always)]
    fn splat16(self, value: f32) -> Self::F16 {
        // SAFETY: the token.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    fn add16(self, a: Self::F16, b: Self::F16) -> Self::F16 {
        // SAFETY: the token.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub16(self, a: Self::F16, b: Self::F16) -> Self::F16 {
        // SAFETY: the token.
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul16(self, a: Self::F16, b: Self::F16) -> Self::F16 {
        // SAFETY: the token.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn div16(self, a: Self::F16, b: Self::F16) -> Self::F16 {
        // SAFETY: the token.
        unsafe { _mm512_div_ps(a, b) }
    }

    #[inline(always)]
    fn sqrt16(self, value: Self::F16) -> Self::F16 {
        // SAFETY: the token.
        unsafe { _mm512_sqrt_ps(value) }
    }

    #[inline(always)]
    fn fma16(self, a: Self::F16, b: Self::F16, c: Self::F16) -> Self::F16 {
        // SAFETY: the token.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn clamp16(self, value: Self::F16, bound: Self::F16) -> Self::F16 {
        // Of two operands of which one is NaN, max and min answer the second: the value.
        // SAFETY: the token.
        unsafe { _mm512_min_ps(bound, _mm512_max_ps(_mm512_sub_ps(_mm512_set1_ps(0.0), bound), value)) }
    }

    #[inline(always)]
    fn max16(self, a: Self::F16, b: Self::F16) -> Self::F16 {
        // SAFETY: the token.
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    fn round16(self, value: Self::F16) -> Self::F16 {
        // SAFETY: the token.
        unsafe { _mm512_roundscale_ps::<0>(value) }
    }

    #[inline(always)]
    fn scale16(self, value: Self::F16, exponent: Self::F16) -> Self::F16 {
        // SAFETY: the token.
        unsafe { _mm512_scalef_ps(value, exponent) }
    }

    #[inline(always)]
    fn halves(self, value: Self::F16) -> (Self::F8, Self::F8) {
        // SAFETY: the token.
        unsafe { (_mm512_castps512_ps256(value), _mm512_extractf32x8_ps::<1>(value)) }
    }

    #[inline(always)]
    fn twice(self, value: Self::F8) -> Self::F16 {
        // SAFETY: the token.
        unsafe { _mm512_broadcast_f32x8(value) }
    }

    #[inline(always)]
    fn prefetch(self, slice: &[f32], index: usize) {
        self.0.prefetch(slice, index);
    }
}
