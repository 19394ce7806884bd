//! Products of pairs of bfloat16, sixteen at a time, with AVX512_BF16.

use std::arch::x86_64::{
    __m256bh, __m256i, __m512, __m512bh, __m512i, _mm256_storeu_si256, _mm512_cvtepu16_epi32, _mm512_cvtne2ps_pbh,
    _mm512_cvtneps_pbh, _mm512_dpbf16_ps, _mm512_loadu_si512, _mm512_or_si512, _mm512_set1_epi32, _mm512_setzero_si512,
    _mm512_shuffle_i32x4, _mm512_slli_epi32, _mm512_storeu_si512, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64,
    _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};
use std::mem::transmute;

use super::Avx512;

/// Proof that the processor has AVX512_BF16 and what [`Avx512`] stands for: made by [`Bf16::detect`] only, which is what
/// every SAFETY comment below that names the token rests on.
#[derive(Clone, Copy)]
pub(crate) struct Bf16(Avx512);

/// A computation with bfloat16. `run` must be `#[inline(always)]`, so that it is compiled with the instructions.
pub(crate) trait Bf16Kernel {
    /// Runs it.
    fn run(self, bf16: Bf16);
}

impl Bf16 {
    /// The token, if the processor has the instructions.
    pub(crate) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512bf16") && is_x86_feature_detected!("avx512vl");
        Avx512::detect().filter(|_| has && is_x86_feature_detected!("avx512bw")).map(Self)
    }

    /// Runs a kernel compiled with the instructions.
    pub(crate) fn run(self, kernel: impl Bf16Kernel) {
        #[target_feature(enable = "avx2,fma,avx512f,avx512dq,avx512bw,avx512vl,avx512bf16")]
        fn run(kernel: impl Bf16Kernel, bf16: Bf16) {
            kernel.run(bf16);
        }
        // SAFETY: the token.
        unsafe { run(kernel, self) }
    }

    /// The path for what is `f32`.
    #[inline(always)]
    pub(crate) fn lanes(self) -> Avx512 {
        self.0
    }

    /// Reads sixteen pairs; the lower half of each word is its first number.
    #[inline(always)]
    pub(crate) fn load(self, from: &[u32; 16]) -> __m512bh {
        // SAFETY: the token; the reference covers the 64 bytes; both types are 64 bytes of any value.
        unsafe { transmute::<__m512i, __m512bh>(_mm512_loadu_si512(from.as_ptr().cast())) }
    }

    /// The same pair sixteen times.
    #[inline(always)]
    pub(crate) fn spread(self, pair: u32) -> __m512bh {
        // SAFETY: the token; both types are 64 bytes of any value.
        unsafe { transmute::<__m512i, __m512bh>(_mm512_set1_epi32(pair.cast_signed())) }
    }

    /// Adds both products of each pair to its sum. Denormal numbers count as 0.
    #[inline(always)]
    pub(crate) fn add_products(self, a: __m512bh, b: __m512bh, sums: __m512) -> __m512 {
        // SAFETY: the token.
        unsafe { _mm512_dpbf16_ps(sums, a, b) }
    }

    #[inline(always)]
    fn zero(self) -> __m512i {
        // SAFETY: the token.
        unsafe { _mm512_setzero_si512() }
    }

    /// Rounds sixteen floats to eight pairs of neighbours.
    #[inline(always)]
    pub(crate) fn store_neighbours(self, values: __m512, to: &mut [u32; 8]) {
        // SAFETY: the token; the reference covers the 32 bytes.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), self.round(values)) }
    }

    /// Rounds two times sixteen floats to sixteen pairs: number n of both is pair n.
    #[inline(always)]
    pub(crate) fn store_pairs(self, firsts: __m512, seconds: __m512, to: &mut [u32; 16]) {
        // SAFETY: the token; the reference covers the 64 bytes.
        unsafe {
            let firsts = _mm512_cvtepu16_epi32(self.round(firsts));
            let seconds = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(self.round(seconds)));
            _mm512_storeu_si512(to.as_mut_ptr().cast(), _mm512_or_si512(firsts, seconds));
        }
    }

    /// Rounds 16 rows of 32 floats to pairs of neighbours, and writes pair n of all rows to row n of `to`, from `column` on.
    #[inline(always)]
    pub(crate) fn store_columns(self, rows: [&[[f32; 16]; 2]; 16], to: &mut [[u32; 32]; 16], column: usize) {
        use super::Lanes;
        let mut pairs = [self.zero(); 16];
        for (row, pairs) in rows.into_iter().zip(&mut pairs) {
            let (low, high) = (self.0.load16(&row[0]), self.0.load16(&row[1]));
            // SAFETY: the token; both types are 64 bytes of any value.
            *pairs = unsafe { transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)) };
        }
        for (row, to) in self.transpose(pairs).into_iter().zip(to) {
            let to: &mut [u32; 16] = to[column..].first_chunk_mut().expect("sixteen columns");
            // SAFETY: the token; the reference covers the 64 bytes.
            unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), row) }
        }
    }

    /// Word n of all rows becomes row n: by words and pairs of words within quarters, then by quarters.
    #[inline(always)]
    fn transpose(self, rows: [__m512i; 16]) -> [__m512i; 16] {
        let (mut words, mut pairs, mut halves, mut all) = (rows, rows, rows, rows);
        // SAFETY: the token.
        unsafe {
            for at in 0..8 {
                words[2 * at] = _mm512_unpacklo_epi32(rows[2 * at], rows[2 * at + 1]);
                words[2 * at + 1] = _mm512_unpackhi_epi32(rows[2 * at], rows[2 * at + 1]);
            }
            // Row 4a + b of pairs: in quarter q, word 4q + b of rows 4a to 4a + 3.
            for at in 0..4 {
                let [a, b, c, d] = [words[4 * at], words[4 * at + 1], words[4 * at + 2], words[4 * at + 3]];
                pairs[4 * at] = _mm512_unpacklo_epi64(a, c);
                pairs[4 * at + 1] = _mm512_unpackhi_epi64(a, c);
                pairs[4 * at + 2] = _mm512_unpacklo_epi64(b, d);
                pairs[4 * at + 3] = _mm512_unpackhi_epi64(b, d);
            }
            for at in 0..4 {
                let [a, b, c, d] = [pairs[at], pairs[4 + at], pairs[8 + at], pairs[12 + at]];
                halves[at] = _mm512_shuffle_i32x4::<0b10_00_10_00>(a, b);
                halves[4 + at] = _mm512_shuffle_i32x4::<0b11_01_11_01>(a, b);
                halves[8 + at] = _mm512_shuffle_i32x4::<0b10_00_10_00>(c, d);
                halves[12 + at] = _mm512_shuffle_i32x4::<0b11_01_11_01>(c, d);
            }
            for at in 0..4 {
                all[at] = _mm512_shuffle_i32x4::<0b10_00_10_00>(halves[at], halves[8 + at]);
                all[8 + at] = _mm512_shuffle_i32x4::<0b11_01_11_01>(halves[at], halves[8 + at]);
                all[4 + at] = _mm512_shuffle_i32x4::<0b10_00_10_00>(halves[4 + at], halves[12 + at]);
                all[12 + at] = _mm512_shuffle_i32x4::<0b11_01_11_01>(halves[4 + at], halves[12 + at]);
            }
        }
        all
    }

    #[inline(always)]
    fn round(self, values: __m512) -> __m256i {
        // SAFETY: the token; both types are 32 bytes of any value.
        unsafe { transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(values)) }
    }
}
