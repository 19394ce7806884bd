//! `[params]`: named values that `--set` may override and `${name}` in any string refers to, defaults of other params included.
//! Invariant: an override keeps the type of the default it replaces, and is taken as it is.

use std::collections::BTreeMap;

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use super::document::{Document, suggestion};
use super::error::JobFileError;

/// Bytes that a default may have when others are filled in: a few that refer to each other could make it grow without end.
const LONGEST_FILLED: usize = 1 << 16;

/// The values of one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params(BTreeMap<String, Param>);

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Param {
    text: String,
    kind: Kind,
}

/// The type of a param's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Whole,
    Number,
    Boolean,
}

/// What is wrong with a placeholder.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FillError {
    #[error("`${{{0}}}` names no param")]
    Unknown(String),
    #[error("`${{{0}` is not closed")]
    Unclosed(String),
}

impl FillError {
    /// The text to look for to find its line.
    pub(crate) fn placeholder(&self) -> String {
        let (Self::Unknown(name) | Self::Unclosed(name)) = self;
        format!("${{{name}")
    }

    pub(crate) fn help(&self, params: &Params) -> String {
        match self {
            Self::Unknown(name) => suggestion(name, params.names(), "param"),
            Self::Unclosed(_) => "close it with `}`, or write `$${` for a plain `${`".to_owned(),
        }
    }
}

impl Params {
    /// Defaults from `[params]`, params in them filled in, replaced by `overrides`.
    pub(crate) fn read(
        document: &Document<'_>,
        table: Option<&DeTable<'_>>,
        overrides: &BTreeMap<String, String>,
    ) -> Result<Self, JobFileError> {
        let mut values = BTreeMap::new();
        let mut open = Vec::new();
        for (key, value) in table.into_iter().flatten() {
            let name = key.get_ref().as_ref();
            let default = scalar(value.get_ref()).ok_or_else(|| {
                let found = value.get_ref().type_str();
                document.error_at(
                    value.span().start,
                    format!("param `{name}` must be a string, number or boolean, not this {found}"),
                )
            })?;
            let chosen = match overrides.get(name) {
                None => {
                    open.push((name, value.span().start));
                    default
                }
                Some(text) => typed(text, value.get_ref()).map_err(|wanted| {
                    document.error_at(key.span().start, format!("param `{name}` must be {wanted}, not `{text}`"))
                })?,
            };
            values.insert(name.to_owned(), Param { text: chosen, kind: kind_of(value.get_ref()) });
        }
        let params = Self(values);
        match overrides.keys().find(|name| !params.0.contains_key(*name)) {
            None => params.filled(document, open),
            Some(name) => Err(document
                .error_at(0, format!("there is no param `{name}` to set"))
                .with_help(suggestion(name, params.names(), "param"))),
        }
    }

    /// The same with params filled in where the `open` ones, which are names and places of defaults, refer to them.
    fn filled(self, document: &Document<'_>, mut open: Vec<(&str, usize)>) -> Result<Self, JobFileError> {
        let settled = self.0.iter().filter(|(name, _)| open.iter().all(|(other, _)| other != name));
        let mut filled = Self(settled.map(|(name, param)| (name.clone(), param.clone())).collect());
        while let Some((_, first)) = open.first().copied() {
            let mut waiting = Vec::new();
            for (name, at) in &open {
                let Param { text, kind } = &self.0[*name];
                match filled.fill(text) {
                    Ok(long) if long.len() > text.len().max(LONGEST_FILLED) => {
                        let what = format!("param `{name}` is longer than {LONGEST_FILLED} bytes");
                        return Err(document.error_at(*at, what));
                    }
                    Ok(text) => drop(filled.0.insert((*name).to_owned(), Param { text, kind: *kind })),
                    Err(FillError::Unknown(other)) if self.0.contains_key(&other) => waiting.push((*name, *at)),
                    Err(error) => return Err(document.error_at(*at, error.to_string()).with_help(error.help(&self))),
                }
            }
            if waiting.len() == open.len() {
                let names: Vec<String> = waiting.iter().map(|(name, _)| format!("`{name}`")).collect();
                return Err(document.error_at(first, format!("params refer to each other: {}", names.join(", "))));
            }
            open = waiting;
        }
        Ok(filled)
    }

    /// Their names, sorted.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Names and values, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, param)| (name.as_str(), param.text.as_str()))
    }

    /// The value of a param that is no text, when `text` is that param and nothing else.
    pub(crate) fn typed(&self, text: &str) -> Option<Value> {
        let param = self.0.get(text.strip_prefix("${")?.strip_suffix('}')?)?;
        match param.kind {
            Kind::Text => None,
            Kind::Whole => param.text.parse::<i64>().ok().map(Value::from),
            Kind::Number => param.text.parse::<f64>().ok().map(Value::from),
            Kind::Boolean => param.text.parse::<bool>().ok().map(Value::from),
        }
    }

    /// `text` with each `${name}` replaced, once: a value that looks like a placeholder stays as it is. `$${` is a
    /// plain `${`.
    pub(crate) fn fill(&self, text: &str) -> Result<String, FillError> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                filled.push_str(&rest[..at - 1]);
                filled.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            filled.push_str(&rest[..at]);
            let opened = &rest[at + 2..];
            let (name, after) = opened.split_once('}').ok_or_else(|| FillError::Unclosed(first_word(opened)))?;
            let param = self.0.get(name).ok_or_else(|| FillError::Unknown(name.to_owned()))?;
            filled.push_str(&param.text);
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn kind_of(default: &DeValue<'_>) -> Kind {
    match default {
        DeValue::Integer(_) => Kind::Whole,
        DeValue::Float(_) => Kind::Number,
        DeValue::Boolean(_) => Kind::Boolean,
        _ => Kind::Text,
    }
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix()).ok().map(|n| n.to_string()),
        DeValue::Float(float) => Some(float.as_str().to_owned()),
        DeValue::Boolean(boolean) => Some(boolean.to_string()),
        DeValue::Datetime(datetime) => Some(datetime.to_string()),
        DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// `text` if it has the type of `default`, else what it should have been.
fn typed(text: &str, default: &DeValue<'_>) -> Result<String, &'static str> {
    let trimmed = text.trim();
    match default {
        DeValue::Integer(_) if trimmed.parse::<i64>().is_err() => Err("a whole number"),
        DeValue::Float(_) if !trimmed.parse::<f64>().is_ok_and(f64::is_finite) => Err("a number"),
        DeValue::Boolean(_) if trimmed.parse::<bool>().is_err() => Err("true or false"),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) => Ok(trimmed.to_owned()),
        _ => Ok(text.to_owned()),
    }
}
