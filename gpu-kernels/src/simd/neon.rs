//! Eight lanes in two 128-bit registers.

use std::arch::aarch64::{
    float32x4_t, vaddq_f32, vaddq_s32, vbslq_f32, vcgtq_f32, vcvtq_s32_f32, vdivq_f32, vdupq_n_f32, vdupq_n_s32,
    vextq_f32, vfmaq_f32, vgetq_lane_f32, vld1q_f32, vmaxq_f32, vminq_f32, vmulq_f32, vnegq_f32, vreinterpretq_f32_s32,
    vrev64q_f32, vrndnq_f32, vshlq_n_s32, vsqrtq_f32, vst1q_f32, vsubq_f32,
};
use std::arch::asm;

use super::pair::sixteen_as_two_eights;
use super::{Kernel, Lanes};

/// Proof that the processor has NEON: made by [`Neon::detect`] only, which is what every SAFETY comment below that
/// names the token rests on.
#[derive(Clone, Copy)]
pub(crate) struct Neon(());

/// Lanes 0 to 3, and 4 to 7.
type F8 = (float32x4_t, float32x4_t);

impl Neon {
    /// The token, if the processor has the instructions.
    #[inline]
    pub(super) fn detect() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("neon").then_some(Self(()))
    }

    /// Runs a kernel compiled with the instructions.
    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "neon")]
        fn run<K: Kernel>(kernel: K, lanes: Neon) -> K::Output {
            kernel.run(lanes)
        }
        // SAFETY: the token.
        unsafe { run(kernel, self) }
    }
}

impl Neon {
    #[inline(always)]
    fn max8(self, a: F8, b: F8) -> F8 {
        // SAFETY: the token.
        unsafe {
            let larger = |a, b| vbslq_f32(vcgtq_f32(a, b), a, b);
            (larger(a.0, b.0), larger(a.1, b.1))
        }
    }

    #[inline(always)]
    fn round8(self, value: F8) -> F8 {
        // SAFETY: the token.
        unsafe { (vrndnq_f32(value.0), vrndnq_f32(value.1)) }
    }

    #[inline(always)]
    fn scale8(self, value: F8, exponent: F8) -> F8 {
        // SAFETY: the token.
        unsafe {
            let power = |exponent| {
                let bits = vshlq_n_s32::<23>(vaddq_s32(vcvtq_s32_f32(exponent), vdupq_n_s32(127)));
                vreinterpretq_f32_s32(bits)
            };
            (vmulq_f32(value.0, power(exponent.0)), vmulq_f32(value.1, power(exponent.1)))
        }
    }
}

impl Lanes for Neon {
    type F8 = F8;
    type F16 = (F8, F8);

    #[inline(always)]
    fn load8(self, from: &[f32; 8]) -> Self::F8 {
        // SAFETY: the token; the reference covers both 16 bytes, which may lie anywhere.
        unsafe { (vld1q_f32(from.as_ptr()), vld1q_f32(from[4..].as_ptr())) }
    }

    #[inline(always)]
    fn store8(self, value: Self::F8, to: &mut [f32; 8]) {
        // SAFETY: the token; the reference covers both 16 bytes, which may lie anywhere.
        unsafe {
            vst1q_f32(to.as_mut_ptr(), value.0);
            vst1q_f32(to[4..].as_mut_ptr(), value.1);
        }
    }

    #[inline(always)]
    fn splat8(self, value: f32) -> Self::F8 {
        // SAFETY: the token.
        unsafe { (vdupq_n_f32(value), vdupq_n_f32(value)) }
    }

    #[inline(always)]
    fn add8(self, a: Self::F8, b: Self::F8) -> Self::F8 {
        // SAFETY: the token.
        unsafe { (vaddq_f32(a.0, b.0), vaddq_f32(a.1, b.1)) }
    }

    #[inline(always)]
    fn sub8(self, a: Self::F8, b: Self::F8) -> Self::F8 {
        // SAFETY: the token.
        unsafe { (vsubq_f32(a.0, b.0), vsubq_f32(a.1, b.1)) }
    }

    #[inline(always)]
    fn mul8(self, a: Self::F8, b: Self::F8) -> Self::F8 {
        // SAFETY: the token.
        unsafe { (vmulq_f32(a.0, b.0), vmulq_f32(a.1, b.1)) }
    }

    #[inline(always)]
    fn div8(self, a: Self::F8, b: Self::F8) -> Self::F8 {
        // SAFETY: the token.
        unsafe { (vdivq_f32(a.0, b.0), vdivq_f32(a.1, b.1)) }
    }

    #[inline(always)]
    fn sqrt8(self, value: Self::F8) -> Self::F8 {
        // SAFETY: the token.
        unsafe { (vsqrtq_f32(value.0), vsqrtq_f32(value.1)) }
    }

    #[inline(always)]
    fn fma8(self, a: Self::F8, b: Self::F8, c: Self::F8) -> Self::F8 {
        // SAFETY: the token. The addend comes first.
        unsafe { (vfmaq_f32(c.0, a.0, b.0), vfmaq_f32(c.1, a.1, b.1)) }
    }

    #[inline(always)]
    fn clamp8(self, value: Self::F8, bound: Self::F8) -> Self::F8 {
        // SAFETY: the token.
        unsafe {
            let (low, high) = ((vnegq_f32(bound.0), vnegq_f32(bound.1)), bound);
            (vminq_f32(vmaxq_f32(value.0, low.0), high.0), vminq_f32(vmaxq_f32(value.1, low.1), high.1))
        }
    }

    #[inline(always)]
    fn sum8(self, t: Self::F8) -> Self::F8 {
        // SAFETY: the token.
        unsafe {
            let t = vaddq_f32(t.0, t.1);
            let t = vaddq_f32(t, vextq_f32::<2>(t, t));
            let t = vaddq_f32(t, vrev64q_f32(t));
            (t, t)
        }
    }

    #[inline(always)]
    fn first(self, value: Self::F8) -> f32 {
        // SAFETY: the token.
        unsafe { vgetq_lane_f32::<0>(value.0) }
    }

    #[inline(always)]
    fn prefetch(self, slice: &[f32], index: usize) {
        let line = slice.as_ptr().wrapping_add(index);
        // SAFETY: a prefetch reads nothing that the program sees and does not fault, wherever the pointer leads.
        unsafe { asm!("prfm pldl1keep, [{line}]", line = in(reg) line, options(nostack, preserves_flags, readonly)) }
    }

    sixteen_as_two_eights!();
}
