//! Versions of the C library, such as `GLIBC_2.34`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How symbol versions of glibc begin.
const SYMBOL_PREFIX: &str = "GLIBC_";

/// A version, as far as symbols tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// Before the point.
    pub major: u32,
    /// Behind it.
    pub minor: u32,
}

impl Version {
    /// The version that a symbol version names; none for those that are not of glibc, or private to it.
    pub(crate) fn of_symbol(name: &[u8]) -> Option<Self> {
        std::str::from_utf8(name).ok()?.strip_prefix(SYMBOL_PREFIX)?.parse().ok()
    }
}

impl FromStr for Version {
    type Err = std::num::ParseIntError;

    /// What stands behind a second point does not matter here.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('.');
        let mut number = || parts.next().unwrap_or("0").parse();
        Ok(Self { major: number()?, minor: number()? })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_symbols_are_ordered_by_their_numbers() {
        let of = |name: &str| Version::of_symbol(name.as_bytes());
        assert!(of("GLIBC_2.9") < of("GLIBC_2.34"));
        assert_eq!(of("GLIBC_2.2.5"), Some(Version { major: 2, minor: 2 }));
        assert_eq!((of("GLIBC_PRIVATE"), of("GCC_3.0"), of("")), (None, None, None));
        assert_eq!(of("GLIBC_2.34").unwrap().to_string(), "2.34");
    }
}
