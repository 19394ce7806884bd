//! A JSON object for people: a line per value, indented as it is nested, numbers with separators.

use std::io::Write;

use serde_json::{Map, Number, Value};

use super::units::format_count;

/// Prints `object`. Of lists only the number of their items is told.
pub(crate) fn print_object(out: &mut dyn Write, object: &Map<String, Value>) -> std::io::Result<()> {
    let mut lines = Vec::new();
    flatten(object, 0, &mut lines);
    let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, value) in lines {
        let line = format!("{name}{}  {value}", " ".repeat(width - name.chars().count()));
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn flatten(object: &Map<String, Value>, depth: usize, lines: &mut Vec<(String, String)>) {
    for (name, value) in object {
        let name = format!("{}{name}", "  ".repeat(depth));
        match value {
            Value::Object(inner) => {
                lines.push((name, String::new()));
                flatten(inner, depth + 1, lines);
            }
            other => lines.push((name, scalar(other))),
        }
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::String(text) => text.clone(),
        Value::Number(number) => format_number(number),
        Value::Array(items) if items.len() == 1 => "1 item".to_owned(),
        Value::Array(items) => format!("{} items", format_count(items.len() as u64)),
        Value::Object(_) => String::new(),
    }
}

/// `1,234` for a whole number, `1,234.50` for any other.
fn format_number(number: &Number) -> String {
    if let Some(whole) = number.as_i64() {
        let sign = if whole < 0 { "-" } else { "" };
        return format!("{sign}{}", format_count(whole.unsigned_abs()));
    }
    let text = number.as_f64().map_or_else(|| number.to_string(), |value| format!("{value:.2}"));
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |digits| ("-", digits));
    match digits.split_once('.').map(|(whole, cents)| (whole.parse::<u64>(), cents)) {
        Some((Ok(whole), cents)) => format!("{sign}{}.{cents}", format_count(whole)),
        // Too large to be read more easily in groups.
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nested_values_are_indented_and_numbers_are_grouped() {
        let object = json!({
            "summary": { "products": 12345, "revenue": 1234567.891, "classes": { "High": 3 } },
            "best": null, "loss": -1234.5, "less": -5, "huge": 1e30, "all": [1, 2], "one": [1]
        });
        let mut text = Vec::new();
        print_object(&mut text, object.as_object().unwrap()).unwrap();
        let expected = "summary\n  \
                          products  12,345\n  \
                          revenue   1,234,567.89\n  \
                          classes\n    \
                            High    3\n\
                        best        none\n\
                        loss        -1,234.50\n\
                        less        -5\n\
                        huge        1000000000000000019884624838656.00\n\
                        all         2 items\n\
                        one         1 item\n";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}
