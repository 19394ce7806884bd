//! Finds out at run time which paths the processor has, and runs kernels on one of them.

use std::fmt;

use super::{Kernel, scalar};

/// A way to run kernels that this processor has. All give the same bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Cpu(Path);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Path {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Cpu {
    /// The fastest path of this processor.
    pub fn best() -> Self {
        *Self::all().last().expect("there is always the scalar path")
    }

    /// All paths of this processor, the slowest first. The first is plain code without vector instructions.
    pub fn all() -> Vec<Self> {
        #[allow(unused_mut, reason = "some architectures have the scalar path only")]
        let mut all = vec![Self(Path::Scalar)];
        #[cfg(target_arch = "x86_64")]
        {
            use super::{avx2::Avx2, avx512::Avx512};
            all.extend(Avx2::detect().map(|_| Self(Path::Avx2)));
            all.extend(Avx512::detect().map(|_| Self(Path::Avx512)));
        }
        #[cfg(target_arch = "aarch64")]
        all.extend(super::neon::Neon::detect().map(|_| Self(Path::Neon)));
        all
    }

    /// The path's name, as shown to people: `scalar`, `avx2`, `avx512` or `neon`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Path::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => "avx512",
            #[cfg(target_arch = "aarch64")]
            Path::Neon => "neon",
        }
    }

    /// The path to take where each row of `stride` floats is read and written at once. Rows start on 32 bytes, so that
    /// registers of 64 bytes straddle cache lines; below some 64 floats that costs more than they save (measured on
    /// Sapphire Rapids).
    pub(crate) fn for_rows(self, stride: usize) -> Self {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 if stride < 64 => Self(Path::Avx2),
            _ => self,
        }
    }

    /// Runs a kernel on this path.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Path::Scalar => kernel.run(scalar::Scalar),
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => super::avx2::Avx2::detect().expect("found before").run(kernel),
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => super::avx512::Avx512::detect().expect("found before").run(kernel),
            #[cfg(target_arch = "aarch64")]
            Path::Neon => super::neon::Neon::detect().expect("found before").run(kernel),
        }
    }
}

impl fmt::Debug for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
