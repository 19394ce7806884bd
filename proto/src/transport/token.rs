//! The shared secret of one cluster.

use std::fmt;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use subtle::ConstantTimeEq;

/// Characters a token must have at least: 16 hexadecimal digits are 64 bits, beyond guessing over a network.
const MIN_CHARS: usize = 16;
const GENERATED_BYTES: usize = 32;
const SCHEME: &[u8] = b"bearer ";

/// A secret text that every client, worker and scraper of a cluster shows. Its `Debug` form hides it; it has no other.
#[derive(Clone)]
pub struct Token(Box<str>);

impl Token {
    /// A fresh token from the system's random source.
    pub fn generate() -> Self {
        let bytes: [u8; GENERATED_BYTES] = rand::random();
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Reads the token in `path`; white space around it is not part of it.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| TokenError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).ok_or_else(|| TokenError::Malformed { path: path.to_owned() })
    }

    /// A token from its text: none unless it has at least 16 visible ASCII characters and no blank inside.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        (text.len() >= MIN_CHARS && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| Self(text.into()))
    }

    /// Writes the token to `path` so that only this user can read it. Replaces what was there as a whole.
    pub fn write(&self, path: &Path) -> Result<(), TokenError> {
        let failed = |source| TokenError::Write { path: path.to_owned(), source };
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = path.file_name().ok_or_else(|| failed(io::ErrorKind::InvalidFilename.into()))?;
        let draft = folder.join(format!(".{}.{:016x}", name.to_string_lossy(), rand::random::<u64>()));
        let written = write_private(&draft, self.0.as_bytes()).and_then(|()| std::fs::rename(&draft, path));
        written.map_err(|source| {
            // The draft may not exist; the first error is the one to tell.
            let _ = std::fs::remove_file(&draft);
            failed(source)
        })
    }

    /// The value of an `authorization` header that shows this token.
    pub fn authorization(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Whether `header`, the value of an `authorization` header, shows this token. Takes the same time wherever the two differ.
    pub fn is_shown_by(&self, header: &[u8]) -> bool {
        let shown = match header.split_at_checked(SCHEME.len()) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case(SCHEME) => rest.trim_ascii(),
            _ => return false,
        };
        shown.ct_eq(self.0.as_bytes()).into()
    }

    /// The text itself, for the one command that prints it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

fn write_private(path: &Path, data: &[u8]) -> io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(data)?;
    file.write_all(b"\n")?;
    file.sync_all()
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Token {}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Why a token file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It cannot be read.
    #[error("cannot read the token file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write the token file {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It holds something else than a token.
    #[error("{} holds no token (one word of at least {MIN_CHARS} visible ASCII characters)", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_hidden_and_compares_whole() {
        let token = Token::generate();
        assert_eq!(format!("{token:?}"), "***");
        assert_eq!(Token::parse(&format!(" {}\n", token.reveal())), Some(token.clone()));
        assert_ne!(Token::generate(), token);
    }

    #[test]
    fn a_header_shows_a_token_only_when_all_of_it_is_right() {
        let token = Token::parse("0123456789abcdef").unwrap();
        for (header, right) in [
            ("Bearer 0123456789abcdef", true),
            ("bearer 0123456789abcdef", true),
            ("Bearer 0123456789abcde", false),
            ("Bearer 0123456789abcdef0", false),
            ("Bearer ", false),
            ("Bearer", false),
            ("Basic 0123456789abcdef", false),
            ("0123456789abcdef", false),
            ("", false),
        ] {
            assert_eq!(token.is_shown_by(header.as_bytes()), right, "{header:?}");
        }
    }

    #[test]
    fn what_is_too_short_or_has_a_blank_is_no_token() {
        for text in ["", "short", "0123456789 abcdef", "0123456789abcdéf"] {
            assert_eq!(Token::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_written_token_is_its_users_alone() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let token = Token::generate();
        Token::generate().write(&path).unwrap();
        token.write(&path).unwrap();
        assert_eq!(Token::read(&path).unwrap(), token);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
        let error = Token::read(&folder.path().join("none")).unwrap_err().to_string();
        assert!(error.contains("none"), "{error}");
    }
}
