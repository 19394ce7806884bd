//! Reading a settings file: flat TOML, whose keys are those of [`super::settings`]. An unknown key is an error.

use std::collections::BTreeMap;
use std::path::Path;

use super::settings::{KEYS, SettingsError};

/// The values of a settings file by key.
pub(crate) type FileValues = BTreeMap<String, String>;

/// Reads `path`.
pub(crate) fn read(path: &Path) -> Result<FileValues, SettingsError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| SettingsError::new(format!("cannot read the settings: {}: {error}", path.display())))?;
    parse(&text, path)
}

fn parse(text: &str, path: &Path) -> Result<FileValues, SettingsError> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        SettingsError::new(format!("{}: {}:{line}", error.message(), path.display()))
    })?;
    table.into_iter().map(|(key, value)| entry(key, value, path)).collect()
}

fn entry(key: String, value: toml::Value, path: &Path) -> Result<(String, String), SettingsError> {
    if !KEYS.iter().any(|known| known.name == key) {
        let error = SettingsError::new(format!("unknown setting `{key}`: {}", path.display()));
        return Err(error.with_help(format!("did you mean `{}`?", nearest_key(&key))));
    }
    let text = match value {
        toml::Value::String(text) => text,
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Boolean(truth) => truth.to_string(),
        other => {
            let message = format!("setting `{key}` cannot be {}: {}", other.type_str(), path.display());
            return Err(SettingsError::new(message));
        }
    };
    Ok((key, text))
}

fn nearest_key(key: &str) -> &'static str {
    KEYS.iter().map(|known| known.name).min_by_key(|name| distance(name, key)).unwrap_or_default()
}

/// Edits between two short words.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_all_kinds_are_texts() {
        let values = parse("address = \"h:1\"\nworkers = 3\n", Path::new("t.toml")).unwrap();
        assert_eq!(values["address"], "h:1");
        assert_eq!(values["workers"], "3");
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let error = parse("adress = \"h:1\"", Path::new("t.toml")).unwrap_err();
        assert_eq!(error.message, "unknown setting `adress`: t.toml");
        assert_eq!(error.help.as_deref(), Some("did you mean `address`?"));
    }

    #[test]
    fn broken_toml_names_the_line() {
        let error = parse("workers = 1\naddress = ", Path::new("t.toml")).unwrap_err();
        assert!(error.message.ends_with("t.toml:2"), "{}", error.message);
    }
}
