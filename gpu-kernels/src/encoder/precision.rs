//! What the products compute in, and whether a processor can.

use std::fmt;

/// What weights and activations are in the products of an encoder. Sums, softmax and norms are `f32` in all three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Precision {
    /// `f32`: on every processor.
    F32,
    /// bfloat16, which has the range of `f32` and 8 bits of it: where the processor has AVX512_BF16.
    Bf16,
    /// Bytes, with a scale per column of weights and a range per row of activations: where the processor has
    /// AVX512_VNNI. The least exact; for those who ask for it.
    Int8,
}

impl Precision {
    /// The fastest that gives up no more than rounding: `Bf16` where this processor has it, else `F32`.
    pub fn best() -> Self {
        if Self::Bf16.missing().is_none() { Self::Bf16 } else { Self::F32 }
    }

    /// The instructions that this processor lacks for it; none if it can.
    pub fn missing(self) -> Option<&'static str> {
        #[cfg(target_arch = "x86_64")]
        let (bf16, int8) = (crate::simd::Bf16::detect().is_some(), super::int8::Int8::detect().is_some());
        #[cfg(not(target_arch = "x86_64"))]
        let (bf16, int8) = (false, false);
        match self {
            Self::F32 => None,
            Self::Bf16 => (!bf16).then_some("AVX512_BF16"),
            Self::Int8 => (!int8).then_some("AVX512_VNNI"),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        })
    }
}
