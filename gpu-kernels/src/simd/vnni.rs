//! Products of four bytes each, sixteen at a time, with AVX512_VNNI.

use std::arch::x86_64::{
    __m512, __m512i, _mm_storeu_si128, _mm512_cvtepi32_epi8, _mm512_cvtepi32_ps, _mm512_cvtps_epi32,
    _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_max_ps, _mm512_min_ps, _mm512_reduce_max_ps, _mm512_reduce_min_ps,
    _mm512_set1_epi32, _mm512_setzero_si512,
};

use super::Avx512;

/// Proof that the processor has AVX512_VNNI and what [`Avx512`] stands for: made by [`Vnni::detect`] only, which is what
/// every SAFETY comment below that names the token rests on.
#[derive(Clone, Copy)]
pub(crate) struct Vnni(Avx512);

/// A computation with bytes. `run` must be `#[inline(always)]`, so that it is compiled with the instructions.
pub(crate) trait VnniKernel {
    /// Runs it.
    fn run(self, vnni: Vnni);
}

impl Vnni {
    /// The token, if the processor has the instructions.
    pub(crate) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512vl");
        Avx512::detect().filter(|_| has && is_x86_feature_detected!("avx512bw")).map(Self)
    }

    /// Runs a kernel compiled with the instructions.
    pub(crate) fn run(self, kernel: impl VnniKernel) {
        #[target_feature(enable = "avx2,fma,avx512f,avx512dq,avx512bw,avx512vl,avx512vnni")]
        fn run(kernel: impl VnniKernel, vnni: Vnni) {
            kernel.run(vnni);
        }
        // SAFETY: the token.
        unsafe { run(kernel, self) }
    }

    /// The path for what is `f32`.
    #[inline(always)]
    pub(crate) fn lanes(self) -> Avx512 {
        self.0
    }

    /// Sums of 0.
    #[inline(always)]
    pub(crate) fn zero(self) -> __m512i {
        // SAFETY: the token.
        unsafe { _mm512_setzero_si512() }
    }

    /// Reads sixteen times four bytes.
    #[inline(always)]
    pub(crate) fn load(self, from: &[u32; 16]) -> __m512i {
        // SAFETY: the token; the reference covers the 64 bytes.
        unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
    }

    /// The same four bytes sixteen times.
    #[inline(always)]
    pub(crate) fn spread(self, bytes: u32) -> __m512i {
        // SAFETY: the token.
        unsafe { _mm512_set1_epi32(bytes.cast_signed()) }
    }

    /// Adds the four products of unsigned bytes of `a` and signed bytes of `b` to each sum.
    #[inline(always)]
    pub(crate) fn add_products(self, a: __m512i, b: __m512i, sums: __m512i) -> __m512i {
        // SAFETY: the token.
        unsafe { _mm512_dpbusd_epi32(sums, a, b) }
    }

    /// The sums as floats.
    #[inline(always)]
    pub(crate) fn to_floats(self, sums: __m512i) -> __m512 {
        // SAFETY: the token.
        unsafe { _mm512_cvtepi32_ps(sums) }
    }

    /// The smallest and the largest of some values, of which there is one at least.
    #[inline(always)]
    pub(crate) fn range(self, values: &[[f32; 16]]) -> (f32, f32) {
        use super::Lanes;
        let mut least = self.0.load16(&values[0]);
        let mut most = least;
        for values in &values[1..] {
            let values = self.0.load16(values);
            // SAFETY: the token.
            (least, most) = unsafe { (_mm512_min_ps(least, values), _mm512_max_ps(most, values)) };
        }
        // SAFETY: the token.
        unsafe { (_mm512_reduce_min_ps(least), _mm512_reduce_max_ps(most)) }
    }

    /// Rounds sixteen floats from 0 to 255 to bytes.
    #[inline(always)]
    pub(crate) fn store_bytes(self, values: __m512, to: &mut [u32; 4]) {
        // SAFETY: the token; the reference covers the 16 bytes.
        unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(values))) }
    }
}
