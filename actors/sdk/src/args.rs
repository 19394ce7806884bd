//! The main program's arguments.

use std::ops::Deref;
use std::str::FromStr;

/// What was typed behind `--` when the job was submitted.
///
/// ```
/// use tandem::prelude::*;
///
/// let args = Args::from(vec!["out.csv".to_owned(), "40".to_owned()]);
/// assert_eq!(&args[0], "out.csv");
/// let count: u32 = args.parse(1)?;
/// assert_eq!(count, 40);
/// assert!(args.parse::<u32>(2).is_err());
/// # Ok::<(), tandem::anyhow::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Args(Vec<String>);

/// An argument that is missing or not what is expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgError {
    /// There are not so many.
    #[error("argument {number} is missing")]
    Missing {
        /// Its number, counted from 1.
        number: usize,
    },
    /// It cannot be read.
    #[error("argument {number} is `{text}`: {reason}")]
    Invalid {
        /// Its number, counted from 1.
        number: usize,
        /// What was typed.
        text: String,
        /// What is wrong.
        reason: String,
    },
}

impl Args {
    /// The argument at `index`, counted from 0, as a `T`.
    ///
    /// # Errors
    /// When it is missing or not a `T`.
    pub fn parse<T: FromStr<Err: std::fmt::Display>>(&self, index: usize) -> Result<T, ArgError> {
        let number = index + 1;
        let text = self.0.get(index).ok_or(ArgError::Missing { number })?;
        text.parse().map_err(|error: T::Err| ArgError::Invalid {
            number,
            text: text.clone(),
            reason: error.to_string(),
        })
    }

    /// They as they were typed.
    pub fn into_vec(self) -> Vec<String> {
        self.0
    }
}

impl From<Vec<String>> for Args {
    fn from(args: Vec<String>) -> Self {
        Self(args)
    }
}

impl Deref for Args {
    type Target = [String];

    fn deref(&self) -> &[String] {
        &self.0
    }
}
