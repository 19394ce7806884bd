//! Rows as CSV and as JSON lines, field by field, straight into a buffer.

use super::Format;

/// Writes the fields of one row after another.
pub(super) struct RowWriter<'a> {
    out: &'a mut Vec<u8>,
    format: Format,
    fields: usize,
}

impl<'a> RowWriter<'a> {
    /// A writer of text rows to `out`.
    pub(super) fn new(out: &'a mut Vec<u8>, format: Format) -> Self {
        Self { out, format, fields: 0 }
    }

    /// A text; empty for none.
    pub(super) fn text(&mut self, name: &str, value: &str) {
        self.begin(name);
        match self.format {
            Format::Jsonl if value.is_empty() => self.out.extend_from_slice(b"null"),
            Format::Jsonl => json_string(self.out, value),
            Format::Csv | Format::Parquet => csv_field(self.out, value),
        }
    }

    /// A number, already as text; one that is none stays a text.
    pub(super) fn number(&mut self, name: &str, value: &str) {
        let plain = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit() || b"-.".contains(&byte));
        if plain {
            self.begin(name);
            self.out.extend_from_slice(value.as_bytes());
        } else {
            self.text(name, value);
        }
    }

    /// Ends the row.
    pub(super) fn end(&mut self) {
        if self.format == Format::Jsonl {
            self.out.push(b'}');
        }
        self.out.push(b'\n');
        self.fields = 0;
    }

    fn begin(&mut self, name: &str) {
        match self.format {
            Format::Jsonl => {
                self.out.extend_from_slice(if self.fields == 0 { b"{\"" } else { b",\"" });
                self.out.extend_from_slice(name.as_bytes());
                self.out.extend_from_slice(b"\":");
            }
            Format::Csv | Format::Parquet if self.fields > 0 => self.out.push(b','),
            Format::Csv | Format::Parquet => {}
        }
        self.fields += 1;
    }
}

fn csv_field(out: &mut Vec<u8>, value: &str) {
    if !value.bytes().any(|byte| b",\"\r\n".contains(&byte)) {
        return out.extend_from_slice(value.as_bytes());
    }
    out.push(b'"');
    for byte in value.bytes() {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// Our texts have no control characters, so quotes and backslashes are all there is to escape.
fn json_string(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    for byte in value.bytes() {
        if b"\"\\".contains(&byte) {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// A short text on the stack's side of things: cleared and filled again for every field.
#[derive(Debug, Default)]
pub(super) struct Scratch(String);

impl Scratch {
    /// `prefix` and `number`, at least `width` digits.
    pub(super) fn padded(&mut self, prefix: &str, number: u64, width: usize) -> &str {
        self.0.clear();
        self.0.push_str(prefix);
        push_padded(&mut self.0, number, width);
        &self.0
    }

    /// A whole number.
    pub(super) fn integer(&mut self, number: i64) -> &str {
        self.0.clear();
        if number < 0 {
            self.0.push('-');
        }
        push_padded(&mut self.0, number.unsigned_abs(), 1);
        &self.0
    }

    /// Hundredths with two digits after the point.
    pub(super) fn cents(&mut self, cents: i64) -> &str {
        self.integer(cents / 100);
        if cents < 0 && cents > -100 {
            self.0.insert(0, '-');
        }
        self.0.push('.');
        push_padded(&mut self.0, cents.unsigned_abs() % 100, 2);
        &self.0
    }

    /// A time as ISO 8601 in UTC, to the millisecond.
    pub(super) fn time(&mut self, ms: i64) -> &str {
        self.0.clear();
        if let Some(time) = chrono::DateTime::from_timestamp_millis(ms) {
            use chrono::{Datelike, Timelike};
            push_padded(&mut self.0, time.year().unsigned_abs().into(), 4);
            for (mark, part) in
                [("-", time.month()), ("-", time.day()), ("T", time.hour()), (":", time.minute()), (":", time.second())]
            {
                self.0.push_str(mark);
                push_padded(&mut self.0, part.into(), 2);
            }
            self.0.push('.');
            push_padded(&mut self.0, time.timestamp_subsec_millis().into(), 3);
            self.0.push('Z');
        }
        &self.0
    }
}

fn push_padded(text: &mut String, mut number: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut start = digits.len();
    while number > 0 || start == digits.len() {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    start = start.min(digits.len().saturating_sub(width));
    text.extend(digits[start..].iter().map(|&digit| char::from(digit)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times() {
        let mut scratch = Scratch::default();
        assert_eq!(scratch.padded("u", 42, 6), "u000042");
        assert_eq!(scratch.padded("u", 1_234_567, 3), "u1234567");
        assert_eq!(scratch.integer(0), "0");
        assert_eq!(scratch.integer(-17), "-17");
        assert_eq!(scratch.cents(5), "0.05");
        assert_eq!(scratch.cents(-5), "-0.05");
        assert_eq!(scratch.cents(-1234), "-12.34");
        assert_eq!(scratch.time(1_767_225_600_123), "2026-01-01T00:00:00.123Z");
    }

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        let mut out = Vec::new();
        let mut csv = RowWriter::new(&mut out, Format::Csv);
        csv.text("a", "toys, games");
        csv.text("b", "say \"hi\"");
        csv.number("c", "1.5");
        csv.end();
        assert_eq!(String::from_utf8(out).unwrap(), "\"toys, games\",\"say \"\"hi\"\"\",1.5\n");
        let mut out = Vec::new();
        let mut json = RowWriter::new(&mut out, Format::Jsonl);
        json.text("a", "say \"hi\"");
        json.text("b", "");
        json.number("c", "-1.5");
        json.number("d", "n/a");
        json.end();
        assert_eq!(String::from_utf8(out).unwrap(), "{\"a\":\"say \\\"hi\\\"\",\"b\":null,\"c\":-1.5,\"d\":\"n/a\"}\n");
    }
}
