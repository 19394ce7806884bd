//! Eight lanes in a 256-bit register, with FMA3.

use std::arch::x86_64::{
    __m256, _MM_FROUND_NO_EXC, _MM_FROUND_TO_NEAREST_INT, _MM_HINT_T0, _mm_prefetch, _mm256_add_epi32, _mm256_add_ps,
    _mm256_castpd_ps, _mm256_castps_pd, _mm256_castsi256_ps, _mm256_cvtps_epi32, _mm256_cvtss_f32, _mm256_div_ps,
    _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_max_ps, _mm256_min_ps, _mm256_mul_ps, _mm256_permute_ps,
    _mm256_permute2f128_ps, _mm256_round_ps, _mm256_set1_epi32, _mm256_set1_ps, _mm256_shuffle_ps, _mm256_slli_epi32,
    _mm256_sqrt_ps, _mm256_storeu_ps, _mm256_sub_ps, _mm256_unpackhi_pd, _mm256_unpacklo_pd,
};

use super::pair::sixteen_as_two_eights;
use super::{Kernel, Lanes};

/// Proof that the processor has AVX2 and FMA: made by [`Avx2::detect`] only, which is what every SAFETY comment below
/// that names the token rests on.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// The token, if the processor has the instructions.
    #[inline]
    pub(super) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }

    /// Runs a kernel compiled with the instructions.
    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma")]
        fn run<K: Kernel>(kernel: K, lanes: Avx2) -> K::Output {
            kernel.run(lanes)
        }
        // SAFETY: the token.
        unsafe { run(kernel, self) }
    }
}

/// Adds lanes 4 apart: four sums of `low`, then four of `high`.
#[inline]
#[target_feature(enable = "avx2")]
fn fours(low: __m256, high: __m256) -> __m256 {
    let first = _mm256_permute2f128_ps::<0b0010_0000>(low, high);
    _mm256_add_ps(first, _mm256_permute2f128_ps::<0b0011_0001>(low, high))
}

/// Adds lanes 2 apart, in each half: two sums of `low`, then two of `high`.
#[inline]
#[target_feature(enable = "avx2")]
fn twos(low: __m256, high: __m256) -> __m256 {
    let (low, high) = (_mm256_castps_pd(low), _mm256_castps_pd(high));
    let first = _mm256_castpd_ps(_mm256_unpacklo_pd(low, high));
    _mm256_add_ps(first, _mm256_castpd_ps(_mm256_unpackhi_pd(low, high)))
}

impl Avx2 {
    #[inline(always)]
    fn max8(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token.
        unsafe { _mm256_max_ps(a, b) }
    }

    #[inline(always)]
    fn round8(self, value: __m256) -> __m256 {
        // SAFETY: the token.
        unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(value) }
    }

    #[inline(always)]
    fn scale8(self, value: __m256, exponent: __m256) -> __m256 {
        // SAFETY: the token.
        unsafe {
            let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(exponent), _mm256_set1_epi32(127));
            _mm256_mul_ps(value, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent)))
        }
    }
}

impl Lanes for Avx2 {
    type F8 = __m256;
    type F16 = (__m256, __m256);

    #[inline(always)]
    fn load8(self, from: &[f32; 8]) -> Self::F8 {
        // SAFETY: the token; the reference covers the 32 bytes, which may lie anywhere.
        unsafe { _mm256_loadu_ps(from.as_ptr()) }
    }

    #[inline(always)]
    fn store8(self, value: Self::F8, to: &mut [f32; 8]) {
        // SAFETY: the token; the reference covers the 32 bytes, which may lie anywhere.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr(), value) }
    }

    #[inline(always)]
    fn splat8(self, value: f32) -> Self::F8 {
        // SAFETY: the token.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    fn add8(self, a: Self::F8, b: Self::F8) -> Self::F8 {
        // SAFETY: the token.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub8(self, a: Self::F8, b: Self::F8) -> Self::F8 {
        // SAFETY: the token.
        unsafe { _mm256_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul8(self, a: Self::F8, b: Self::F8) -> Self::F8 {
        // SAFETY: the token.
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    fn div8(self, a: Self::F8, b: Self::F8) -> Self::F8 {
        // SAFETY: the token.
        unsafe { _mm256_div_ps(a, b) }
    }

    #[inline(always)]
    fn sqrt8(self, value: Self::F8) -> Self::F8 {
        // SAFETY: the token.
        unsafe { _mm256_sqrt_ps(value) }
    }

    #[inline(always)]
    fn fma8(self, a: Self::F8, b: Self::F8, c: Self::F8) -> Self::F8 {
        // SAFETY: the token.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn clamp8(self, value: Self::F8, bound: Self::F8) -> Self::F8 {
        // Of two operands of which one is NaN, max and min answer the second: the value.
        // SAFETY: the token.
        unsafe { _mm256_min_ps(bound, _mm256_max_ps(_mm256_sub_ps(_mm256_set1_ps(0.0), bound), value)) }
    }

    #[inline(always)]
    fn sum8(self, t: Self::F8) -> Self::F8 {
        // SAFETY: the token.
        unsafe {
            let t = _mm256_add_ps(t, _mm256_permute2f128_ps::<0b0000_0001>(t, t));
            let t = _mm256_add_ps(t, _mm256_permute_ps::<0b01_00_11_10>(t));
            _mm256_add_ps(t, _mm256_permute_ps::<0b10_11_00_01>(t))
        }
    }

    /// Each step of [`Lanes::sum8`], for half as many registers as the one before.
    #[inline(always)]
    fn sums8(self, [a, b, c, d, e, f, g, h]: [Self::F8; 8]) -> Self::F8 {
        // SAFETY: the token.
        unsafe {
            let (low, high) = (twos(fours(a, e), fours(b, f)), twos(fours(c, g), fours(d, h)));
            _mm256_add_ps(_mm256_shuffle_ps::<0b10_00_10_00>(low, high), _mm256_shuffle_ps::<0b11_01_11_01>(low, high))
        }
    }

    #[inline(always)]
    fn first(self, value: Self::F8) -> f32 {
        // SAFETY: the token.
        unsafe { _mm256_cvtss_f32(value) }
    }

    #[inline(always)]
    fn prefetch(self, slice: &[f32], index: usize) {
        // SAFETY: a prefetch reads nothing that the program sees and does not fault, wherever the pointer leads.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(slice.as_ptr().wrapping_add(index).cast()) }
    }

    sixteen_as_two_eights!();
}
