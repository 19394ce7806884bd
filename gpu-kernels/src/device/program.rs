//! The source texts of kernels and what is fixed in them when they are compiled.

use sha2::{Digest, Sha256};

/// What all sources share: vector loads, atomic additions, shuffles and tensor products, each beside plain C++ that does
/// the same for the tests.
pub const PRELUDE: &str = include_str!("prelude.cuh");

/// A source file that stands beside the CPU's twin of what it computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source {
    /// Where it lies below `src`.
    pub path: &'static str,
    /// Its text, which goes behind [`PRELUDE`].
    pub text: &'static str,
    /// The kernels in it.
    pub kernels: &'static [&'static str],
}

/// A source with values for its macros: what is compiled.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Program {
    /// The source.
    pub source: Source,
    /// Macros and their values.
    pub defines: Vec<(&'static str, u32)>,
}

impl Program {
    /// A source with values for its macros.
    pub fn new(source: Source, defines: &[(&'static str, u32)]) -> Self {
        Self { source, defines: defines.to_vec() }
    }

    /// The whole text, so that errors name lines of the source file.
    pub fn text(&self) -> String {
        let Source { path, text, .. } = self.source;
        format!("#line 1 \"device/prelude.cuh\"\n{PRELUDE}\n#line 1 \"{path}\"\n{text}")
    }

    /// The compiler's options that set the macros.
    pub fn options(&self) -> Vec<String> {
        self.defines.iter().map(|(name, value)| format!("-D{name}={value}")).collect()
    }
}

/// What a compiled program is filed under: it changes with the text, the options (which name the architecture), and the
/// compiler's version.
pub fn key(text: &str, options: &[String], compiler: (i32, i32)) -> String {
    let mut hash = Sha256::new();
    for part in options.iter().map(String::as_str).chain([text]) {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.update(compiler.0.to_le_bytes());
    hash.update(compiler.1.to_le_bytes());
    hex(&hash.finalize())
}

/// Bytes as text.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every program that the usual inputs need, for tests and for filling a cache ahead of time.
pub fn programs() -> Vec<Program> {
    let of_operations = [crate::funk::cuda::programs(), crate::rank::cuda::programs(), crate::ials::cuda::programs()];
    [super::self_test::programs(), of_operations.concat(), crate::encoder::cuda::programs()].concat()
}
