//! The text of one job file: lines for byte offsets, and typed access to its tables.
//! Invariant: every key of an open [`Section`] is one that its reader asks for.

mod arguments;

use std::ops::Range;

use tandem_exec::error::PlanError;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::JobFileError;
use super::params::Params;

/// A job file's text and its name in errors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Document<'a> {
    pub(crate) text: &'a str,
    pub(crate) origin: &'a str,
}

impl<'a> Document<'a> {
    /// Parses the TOML itself.
    pub(crate) fn parse(&self) -> Result<DeTable<'a>, JobFileError> {
        DeTable::parse(self.text).map(Spanned::into_inner).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            let message = error.message().lines().collect::<Vec<_>>().join(", ");
            self.error_at(offset, message)
        })
    }

    /// The line of a byte offset, counted from 1.
    pub(crate) fn line(&self, offset: usize) -> usize {
        let end = offset.min(self.text.len());
        1 + self.text.as_bytes()[..end].iter().filter(|&&byte| byte == b'\n').count()
    }

    pub(crate) fn error_at(&self, offset: usize, message: impl Into<String>) -> JobFileError {
        JobFileError { origin: self.origin.to_owned(), line: self.line(offset), message: message.into(), help: None }
    }
}

/// One value and where it stands; its strings have their params already filled in.
#[derive(Debug, Clone)]
pub(crate) struct Located<T> {
    pub(crate) value: T,
    pub(crate) span: Range<usize>,
}

/// One table of a job file, read key by key.
pub(crate) struct Section<'a, 'd> {
    document: &'a Document<'d>,
    params: &'a Params,
    table: &'a DeTable<'d>,
    title: String,
    start: usize,
    keys: &'static [&'static str],
}

impl<'a, 'd> Section<'a, 'd> {
    /// Opens a table that may have `keys` and no others. `title` is how errors call it, such as `[[source]]`; `start` is
    /// where it begins.
    pub(crate) fn open(
        document: &'a Document<'d>,
        params: &'a Params,
        table: &'a DeTable<'d>,
        title: impl Into<String>,
        start: usize,
        keys: &'static [&'static str],
    ) -> Result<Self, JobFileError> {
        let section = Self { document, params, table, title: title.into(), start, keys };
        section.check_keys()?;
        Ok(section)
    }

    /// Opens a table inside this one.
    pub(crate) fn child<'b>(
        &'b self,
        table: &'b DeTable<'d>,
        title: String,
        start: usize,
        keys: &'static [&'static str],
    ) -> Result<Section<'b, 'd>, JobFileError> {
        Section::open(self.document, self.params, table, title, start, keys)
    }

    /// Names the first key that the table cannot have.
    fn check_keys(&self) -> Result<(), JobFileError> {
        let unknown = self.table.keys().filter(|key| !self.keys.contains(&key.get_ref().as_ref()));
        match unknown.min_by_key(|key| key.span().start) {
            None => Ok(()),
            Some(key) => {
                let name = key.get_ref().as_ref();
                let error = self.error_at(&key.span(), format!("unknown key `{name}` in {}", self.title));
                Err(error.with_help(suggestion(name, self.keys.iter().copied(), "key")))
            }
        }
    }

    /// The line the table begins at.
    pub(crate) fn line(&self) -> usize {
        self.document.line(self.start)
    }

    /// The line a value begins at.
    pub(crate) fn line_at(&self, span: &Range<usize>) -> usize {
        self.document.line(span.start)
    }

    /// A value as it is written.
    pub(crate) fn text(&self, span: &Range<usize>) -> &'d str {
        &self.document.text[span.clone()]
    }

    /// An error about the table as a whole.
    pub(crate) fn error(&self, message: impl Into<String>) -> JobFileError {
        self.document.error_at(self.start, message)
    }

    /// An error that a planner type found in this table.
    pub(crate) fn invalid(&self, error: PlanError) -> JobFileError {
        let located = self.error(error.to_string());
        match error {
            PlanError::Invalid { help: Some(help), .. } => located.with_help(help),
            _ => located,
        }
    }

    /// An error about one value.
    pub(crate) fn error_at(&self, span: &Range<usize>, message: impl Into<String>) -> JobFileError {
        self.document.error_at(span.start, message)
    }

    /// The value of `key` as it stands in the file.
    pub(crate) fn raw(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'d>>> {
        debug_assert!(self.keys.contains(&key), "`{key}` is no key of {}", self.title);
        self.table.get(key)
    }

    /// A string with its params filled in.
    pub(crate) fn string(&self, key: &'static str) -> Result<Option<Located<String>>, JobFileError> {
        self.raw(key).map(|value| self.expect_string(key, value)).transpose()
    }

    /// A string that must be there and not be empty.
    pub(crate) fn required(&self, key: &'static str) -> Result<Located<String>, JobFileError> {
        match self.string(key)? {
            None => Err(self.error(format!("{} has no `{key}`", self.title))),
            Some(text) if text.value.trim().is_empty() => {
                Err(self.error_at(&text.span, format!("`{key}` of {} is empty", self.title)))
            }
            Some(text) => Ok(text),
        }
    }

    /// A list of strings; a single string counts as a list of one.
    pub(crate) fn strings(&self, key: &'static str) -> Result<Vec<Located<String>>, JobFileError> {
        match self.raw(key) {
            None => Ok(Vec::new()),
            Some(value) => match value.get_ref() {
                DeValue::Array(items) => items.iter().map(|item| self.expect_string(key, item)).collect(),
                _ => Ok(vec![self.expect_string(key, value)?]),
            },
        }
    }

    /// A whole number from 0, written as a number or as a string that a param filled in.
    pub(crate) fn count(&self, key: &'static str) -> Result<Option<Located<u64>>, JobFileError> {
        let Some(value) = self.raw(key) else { return Ok(None) };
        let number = match value.get_ref() {
            DeValue::Integer(integer) => u64::from_str_radix(integer.as_str(), integer.radix()).ok(),
            DeValue::String(_) => self.expect_string(key, value)?.value.trim().parse().ok(),
            _ => None,
        };
        match number {
            Some(number) => Ok(Some(Located { value: number, span: value.span() })),
            None => Err(self.mismatch(key, value, "a whole number from 0")),
        }
    }

    /// `true` or `false`, bare or as a string that a param filled in.
    pub(crate) fn boolean(&self, key: &'static str) -> Result<Option<bool>, JobFileError> {
        let Some(value) = self.raw(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::Boolean(boolean) => Ok(Some(*boolean)),
            DeValue::String(_) => match self.expect_string(key, value)?.value.trim() {
                "true" => Ok(Some(true)),
                "false" => Ok(Some(false)),
                _ => Err(self.mismatch(key, value, "true or false")),
            },
            _ => Err(self.mismatch(key, value, "true or false")),
        }
    }

    /// One of a few words.
    pub(crate) fn choice<T: Copy>(&self, key: &'static str, choices: &[(&str, T)]) -> Result<Option<T>, JobFileError> {
        let Some(word) = self.string(key)? else { return Ok(None) };
        let value = word.value.trim().to_ascii_lowercase();
        match choices.iter().find(|(name, _)| *name == value) {
            Some((_, choice)) => Ok(Some(*choice)),
            None => {
                let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
                let error = self.error_at(&word.span, format!("`{key}` of {} cannot be `{}`", self.title, word.value));
                Err(error.with_help(format!("it is one of {}", names.join(", "))))
            }
        }
    }

    /// An error that says what `key` should have been.
    pub(crate) fn mismatch(&self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str) -> JobFileError {
        let found = value.get_ref().type_str();
        self.error_at(&value.span(), format!("`{key}` of {} must be {wanted}, not this {found}", self.title))
    }

    fn expect_string(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Result<Located<String>, JobFileError> {
        let DeValue::String(text) = value.get_ref() else {
            return Err(self.mismatch(key, value, "a string"));
        };
        let span = value.span();
        let filled = self.params.fill(text).map_err(|error| {
            // The placeholder's own line, which matters in a long SQL text.
            let inside = self.document.text[span.clone()].find(&error.placeholder()).unwrap_or(0);
            self.document.error_at(span.start + inside, error.to_string()).with_help(error.help(self.params))
        })?;
        Ok(Located { value: filled, span })
    }
}

/// `did you mean …` when one name is near, else the list of names.
pub(crate) fn suggestion<'n>(wrong: &str, names: impl Iterator<Item = &'n str>, noun: &str) -> String {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    let near = names.iter().map(|name| (strsim::damerau_levenshtein(wrong, name), name)).min();
    match near {
        Some((distance, name)) if distance <= 1 + wrong.len() / 3 => format!("did you mean `{name}`?"),
        Some(_) => format!("{noun}s here are {}", names.join(", ")),
        None => format!("there are no {noun}s here"),
    }
}
