//! Vectors of a fixed number of lanes, and which instructions of this processor run them.
//! Invariant: an operation gives the same bits on every path. All multiply-adds are fused, and a sum over lanes has one
//! order (below), so a path decides how fast a kernel is and never what it answers. NaN is only ever NaN: its payload
//! is the one thing that may differ.
//!
//! A row is cut into eights. A dot product keeps sixteen sums: eights 0, 2, 4 … go to the first half, 1, 3, 5 … to the
//! second. The halves are added lane by lane, then lanes 4 apart, 2 apart and 1 apart:
//!
//!   sums  s0 … s7   s8 … s15        tⱼ = sⱼ + sⱼ₊₈
//!   total ((t0 + t4) + (t2 + t6)) + ((t1 + t5) + (t3 + t7))
//!
//!   scalar: arrays    NEON: 4 × 4 lanes    AVX2: 2 × 8 lanes    AVX-512: 1 × 16 lanes (the odd last eight: 1 × 8)
//!
//! A kernel is written once over [`Lanes`] in safe code and compiled for each path by [`Cpu::run`]. The token types
//! that implement `Lanes` exist only where their instructions do, which is what makes their methods safe to call. A
//! kernel's inner loops have no closures that use lanes: a closure that is not inlined is compiled without the path's
//! instructions, and every operation in it becomes a call.
//!
//! Outside of the invariant: products of bfloat16 and of bytes, which only some processors have ([`Bf16`], [`Vnni`]).

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod bf16;
mod cpu;
mod dot;
#[cfg(target_arch = "aarch64")]
mod neon;
mod pair;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod vnni;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
#[cfg(target_arch = "x86_64")]
pub(crate) use bf16::{Bf16, Bf16Kernel};
pub use cpu::Cpu;
pub(crate) use dot::{dot, products};
#[cfg(target_arch = "x86_64")]
pub(crate) use vnni::{Vnni, VnniKernel};

/// Operations on eight and on sixteen `f32` lanes.
pub(crate) trait Lanes: Copy {
    /// Whether sixteen lanes are one register, of which there are 32.
    const WIDE: bool = false;

    /// Eight lanes.
    type F8: Copy;
    /// Sixteen lanes: two times eight.
    type F16: Copy;

    /// Reads eight lanes.
    fn load8(self, from: &[f32; 8]) -> Self::F8;
    /// Writes eight lanes.
    fn store8(self, value: Self::F8, to: &mut [f32; 8]);
    /// The same value in eight lanes.
    fn splat8(self, value: f32) -> Self::F8;
    /// `a + b`.
    fn add8(self, a: Self::F8, b: Self::F8) -> Self::F8;
    /// `a - b`.
    fn sub8(self, a: Self::F8, b: Self::F8) -> Self::F8;
    /// `a * b`.
    fn mul8(self, a: Self::F8, b: Self::F8) -> Self::F8;
    /// `a / b`.
    fn div8(self, a: Self::F8, b: Self::F8) -> Self::F8;
    /// The square root of each lane.
    fn sqrt8(self, value: Self::F8) -> Self::F8;
    /// `a * b + c`, rounded once.
    fn fma8(self, a: Self::F8, b: Self::F8, c: Self::F8) -> Self::F8;
    /// `value`, or the bound (`-bound`, `bound`) it lies beyond; NaN stays NaN.
    fn clamp8(self, value: Self::F8, bound: Self::F8) -> Self::F8;
    /// The sum of all lanes, in every lane, in the order above.
    fn sum8(self, value: Self::F8) -> Self::F8;
    /// The sum of all lanes of each value, in the order above: that of `values[n]` in lane n.
    #[inline(always)]
    fn sums8(self, values: [Self::F8; 8]) -> Self::F8 {
        self.load8(&values.map(|value| self.first(self.sum8(value))))
    }
    /// Lane 0.
    fn first(self, value: Self::F8) -> f32;

    /// Reads sixteen lanes.
    fn load16(self, from: &[f32; 16]) -> Self::F16;
    /// Writes sixteen lanes.
    fn store16(self, value: Self::F16, to: &mut [f32; 16]);
    /// The same value in sixteen lanes.
    fn splat16(self, value: f32) -> Self::F16;
    /// `a + b`.
    fn add16(self, a: Self::F16, b: Self::F16) -> Self::F16;
    /// `a - b`.
    fn sub16(self, a: Self::F16, b: Self::F16) -> Self::F16;
    /// `a * b`.
    fn mul16(self, a: Self::F16, b: Self::F16) -> Self::F16;
    /// `a / b`.
    fn div16(self, a: Self::F16, b: Self::F16) -> Self::F16;
    /// The square root of each lane.
    fn sqrt16(self, value: Self::F16) -> Self::F16;
    /// `a * b + c`, rounded once.
    fn fma16(self, a: Self::F16, b: Self::F16, c: Self::F16) -> Self::F16;
    /// As [`Lanes::clamp8`].
    fn clamp16(self, value: Self::F16, bound: Self::F16) -> Self::F16;
    /// The larger of `a` and `b`, lane by lane; `b` if they are equal or one is NaN.
    fn max16(self, a: Self::F16, b: Self::F16) -> Self::F16;
    /// Each lane rounded to the nearest whole number, halves to the even one.
    fn round16(self, value: Self::F16) -> Self::F16;
    /// `value * 2^exponent` for whole exponents from -126 to 127. Lanes that are no such `value` or exponent answer
    /// some number or NaN.
    fn scale16(self, value: Self::F16, exponent: Self::F16) -> Self::F16;
    /// Lanes 0 to 7, and 8 to 15.
    fn halves(self, value: Self::F16) -> (Self::F8, Self::F8);
    /// Lanes 0 to 7, then once more.
    fn twice(self, value: Self::F8) -> Self::F16;

    /// Asks for the cache line that holds `slice[index]`, which need not exist.
    fn prefetch(self, slice: &[f32], index: usize);
}

/// A computation over [`Lanes`]. `run` must be `#[inline(always)]`, so that it is compiled with the path's
/// instructions.
pub(crate) trait Kernel {
    /// What it answers.
    type Output;
    /// Runs on the path that `lanes` stands for.
    fn run<L: Lanes>(self, lanes: L) -> Self::Output;
}
