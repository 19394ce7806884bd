//! JSON objects to batches: each object is read straight into cells, without a tree, then added to the columns. A number
//! stays the text that it is written as until its column's type is known, so that no digit is lost.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use arrow::error::ArrowError;
use memchr::memchr;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::split::{Next, ObjectReader, ObjectSpan};
use crate::error::PlanError;
use crate::source::columns::{Column, Fault};
use crate::source::rows::{BadRow, Decoded, Decoder, NO_CELL, RowBuilder, Shape, text_cell};

/// Where a decoder begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JsonStart {
    /// The line of the file that its first byte is on.
    pub(crate) line: u64,
    /// Its first byte is the file's, so that a byte order mark may come.
    pub(crate) at_file_start: bool,
    /// The file is one array.
    pub(crate) is_array: bool,
}

/// Turns the bytes of a JSON file or of a range of one into batches.
pub(crate) struct JsonDecoder {
    reader: ObjectReader,
    keys: Keys,
    row: Row,
    rows: RowBuilder,
    at_file_start: bool,
}

/// Which key is which column.
struct Keys {
    places: HashMap<String, usize>,
    /// The same, in the columns' order: objects mostly have their keys in one order.
    names: Vec<String>,
}

/// The cells of one object.
struct Row {
    cells: Vec<JsonCell>,
    /// What text cells refer to.
    text: String,
}

/// One value of an object, with its place in the row's text.
#[derive(Debug, Clone, Default, PartialEq)]
enum JsonCell {
    /// Missing or null.
    #[default]
    Null,
    /// A number or boolean, as it is written.
    Plain(Range<usize>),
    /// What is between the quotes of a text.
    Text(Range<usize>),
    /// A list or an object, as it is written but for space between its values.
    Nested(Range<usize>),
}

impl JsonDecoder {
    /// A decoder of objects into the columns of `shape`.
    pub(crate) fn new(shape: &Shape, start: JsonStart) -> Result<Self, PlanError> {
        let names: Vec<String> =
            shape.read_columns().into_iter().map(|column| shape.table.field(column).name().clone()).collect();
        let places = names.iter().enumerate().map(|(place, name)| (name.clone(), place)).collect();
        Ok(Self {
            reader: ObjectReader::new(start.is_array, start.line),
            row: Row { cells: vec![JsonCell::Null; names.len()], text: String::new() },
            keys: Keys { places, names },
            rows: RowBuilder::new(shape)?,
            at_file_start: start.at_file_start,
        })
    }

    fn add_object(&mut self, span: ObjectSpan) {
        let raw = &self.reader.data()[span.start..span.end];
        if let Err(error) = self.row.read(raw, &self.keys) {
            if self.rows.keeps_bad_rows() {
                self.add_nulls();
            } else {
                self.rows.push_bad(BadRow::whole(span.line, format!("not a JSON object: {error}"), raw));
            }
            return;
        }
        let mut faults = Vec::new();
        let Row { cells, text } = &self.row;
        for (place, (column, cell)) in self.rows.columns().iter_mut().zip(cells).enumerate() {
            if let Err(fault) = cell.push_to(column, text) {
                faults.push((0, place, fault));
            }
        }
        self.rows.added(1, faults, |_| (span.line, raw), |_, place| cells[place].text(text).as_bytes());
    }

    fn add_broken(&mut self, line: u64, reason: &str, raw: &[u8]) {
        if self.rows.keeps_bad_rows() {
            self.add_nulls();
        } else {
            self.rows.push_bad(BadRow::whole(line, reason, raw));
        }
    }

    /// A row of which nothing can be read.
    fn add_nulls(&mut self) {
        for column in self.rows.columns() {
            // Where bad rows are kept, every column takes nulls.
            let _ = column.push(NO_CELL);
        }
        self.rows.added(1, Vec::new(), |_| (0, b""), |_, _| b"");
    }
}

impl Decoder for JsonDecoder {
    fn push(&mut self, bytes: &[u8]) {
        self.reader.push(bytes);
        if self.at_file_start && self.reader.pending() >= 3 {
            self.at_file_start = false;
            self.reader.skip_byte_order_mark();
        }
    }

    fn end(&mut self) {
        self.at_file_start = false;
        self.reader.end();
    }

    fn unfinished(&self) -> usize {
        // Where the reader is in an object, it keeps.
        0
    }

    fn decode(&mut self) -> Result<Decoded, ArrowError> {
        if self.at_file_start {
            return Ok(Decoded::NeedInput);
        }
        loop {
            if let Some((batch, bad)) = self.rows.take(false)? {
                return Ok(Decoded::Batch(batch, bad));
            }
            match self.reader.next() {
                Next::Object(span) => self.add_object(span),
                Next::Broken { line, reason, raw } => self.add_broken(line, reason, &raw),
                Next::NeedInput => return Ok(Decoded::NeedInput),
                Next::End => {
                    let rest = self.rows.take(true)?;
                    return Ok(rest.map_or(Decoded::End, |(batch, bad)| Decoded::Batch(batch, bad)));
                }
            }
        }
    }
}

impl Row {
    /// Takes the cells of the object that `raw` is.
    fn read(&mut self, raw: &[u8], keys: &Keys) -> Result<(), serde_json::Error> {
        self.cells.fill(JsonCell::Null);
        self.text.clear();
        let mut deserializer = serde_json::Deserializer::from_slice(raw);
        deserializer.deserialize_map(RowVisitor { row: self, keys })?;
        deserializer.end()
    }
}

impl JsonCell {
    /// The cell of the value `raw`, whose text is added to `text`.
    fn of(raw: &str, text: &mut String) -> Result<Self, serde_json::Error> {
        let start = text.len();
        match raw.as_bytes() {
            [b'n', ..] => return Ok(Self::Null),
            [b'"', inside @ .., b'"'] => {
                if memchr(b'\\', inside).is_some() {
                    text.push_str(&serde_json::from_str::<String>(raw)?);
                } else {
                    text.push_str(&raw[1..raw.len() - 1]);
                }
                return Ok(Self::Text(start..text.len()));
            }
            [b'{' | b'[', ..] => {
                push_compact(raw, text);
                return Ok(Self::Nested(start..text.len()));
            }
            _ => text.push_str(raw),
        }
        Ok(Self::Plain(start..text.len()))
    }

    fn push_to(&self, column: &mut Column, text: &str) -> Result<(), Fault> {
        match self {
            Self::Null => column.push(NO_CELL),
            Self::Plain(_) => column.push_plain(self.text(text)),
            Self::Nested(_) if column.is_nested() => column.push_nested(self.text(text)),
            Self::Text(_) | Self::Nested(_) => column.push(text_cell(self.text(text))),
        }
    }

    /// Its place in `text`.
    fn text<'a>(&self, text: &'a str) -> &'a str {
        match self {
            Self::Null => "",
            Self::Plain(range) | Self::Text(range) | Self::Nested(range) => &text[range.clone()],
        }
    }
}

/// Appends JSON to `text` without the space between its values.
fn push_compact(json: &str, text: &mut String) {
    let (mut in_text, mut escaped) = (false, false);
    let is_kept = |character: &char| {
        if in_text {
            (in_text, escaped) = (escaped || *character != '"', !escaped && *character == '\\');
            return true;
        }
        in_text = *character == '"';
        !character.is_ascii_whitespace()
    };
    text.extend(json.chars().filter(is_kept));
}

struct RowVisitor<'a> {
    row: &'a mut Row,
    keys: &'a Keys,
}

impl<'de> Visitor<'de> for RowVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut expected = 0;
        while let Some(place) = map.next_key_seed(KeySeed { keys: self.keys, expected })? {
            match place {
                Some(place) => {
                    self.row.cells[place] = map.next_value_seed(CellSeed { text: &mut self.row.text })?;
                    expected = place + 1;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

struct KeySeed<'a> {
    keys: &'a Keys,
    /// The column that the key most likely is.
    expected: usize,
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        if self.keys.names.get(self.expected).is_some_and(|name| name == key) {
            return Ok(Some(self.expected));
        }
        Ok(self.keys.places.get(key).copied())
    }
}

struct CellSeed<'a> {
    text: &'a mut String,
}

impl<'de> DeserializeSeed<'de> for CellSeed<'_> {
    type Value = JsonCell;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<JsonCell, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        JsonCell::of(raw.get(), self.text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{Schema, SchemaRef};
    use arrow::util::pretty::pretty_format_batches;
    use serde_json::json;

    use super::*;
    use crate::source::infer::{Kind, schema_of};
    use crate::source::schema::parse_schema;
    use crate::source::spec::OnBadRow;

    fn decode(text: &str, table: Schema, on_bad_row: OnBadRow, piece: usize) -> (String, Vec<(u64, String)>) {
        let is_array = text.trim_start().starts_with('[');
        let table: SchemaRef = Arc::new(table);
        let projection = (0..table.fields().len()).collect();
        let shape = Shape { table, projection, on_bad_row, batch_rows: 3 };
        let start = JsonStart { line: 1, at_file_start: true, is_array };
        let mut decoder = JsonDecoder::new(&shape, start).unwrap();
        let mut pieces = text.as_bytes().chunks(piece);
        let (mut batches, mut bad_rows) = (Vec::new(), Vec::new());
        loop {
            match decoder.decode().unwrap() {
                Decoded::Batch(batch, bad) => {
                    batches.push(batch);
                    bad_rows.extend(bad.into_iter().map(|row| (row.line, format!("{:?} {}", row.column, row.reason))));
                }
                Decoded::NeedInput => match pieces.next() {
                    Some(piece) => decoder.push(piece),
                    None => decoder.end(),
                },
                Decoded::End => return (pretty_format_batches(&batches).unwrap().to_string(), bad_rows),
            }
        }
    }

    const ROWS: [&str; 7] = [
        r#"{"id":"a","n":1,"price":1.25,"at":"2024-01-01T00:00:00Z","other":[1,{"x":2}]}"#,
        r#"{"n":"2","id":7,"price":"3","at":null}"#,
        r#"{"id":"c","n":"x"}"#,
        r#"{"id":null,"n":3}"#,
        r#"{"id":"d","n":1.5}"#,
        r#"{"id":"e","n":4"#,
        r#"{"id":{"k":[true]},"n":5,"price":12.345}"#,
    ];
    const SCHEMA: &str = "id string not null, n int, price decimal(6,2), at timestamp";

    #[test]
    fn lines_and_arrays_give_the_same_rows() {
        let lines = ROWS.join("\n");
        let expected = "+--------------+---+-------+---------------------+\n\
                        | id           | n | price | at                  |\n\
                        +--------------+---+-------+---------------------+\n\
                        | a            | 1 | 1.25  | 2024-01-01T00:00:00 |\n\
                        | 7            | 2 | 3.00  |                     |\n\
                        | {\"k\":[true]} | 5 | 12.35 |                     |\n\
                        +--------------+---+-------+---------------------+";
        for piece in [1, 7, 4096] {
            let (table, bad) = decode(&lines, parse_schema(SCHEMA).unwrap(), OnBadRow::Reject, piece);
            assert_eq!(table, expected);
            let bad: Vec<String> = bad.into_iter().map(|(line, text)| format!("{line} {text}")).collect();
            assert_eq!(bad[0], "3 Some(\"n\") `x` is not a valid int");
            assert_eq!(bad[1], "4 Some(\"id\") null in a not null column");
            assert_eq!(bad[2], "5 Some(\"n\") `1.5` is not a valid int");
            assert!(bad[3].starts_with("6 None not a JSON object: EOF"), "{}", bad[3]);
            let sound: Vec<&str> = ROWS.into_iter().filter(|row| row.ends_with('}')).collect();
            let array = format!("[\n{}\n]\n", sound.join(",\n"));
            assert_eq!(decode(&array, parse_schema(SCHEMA).unwrap(), OnBadRow::Reject, piece).0, expected);
        }
    }

    #[test]
    fn bad_rows_may_be_kept_with_nulls() {
        let schema = parse_schema("id string, n int").unwrap();
        let (table, bad) = decode(&ROWS.join("\n"), schema, OnBadRow::Null, 4096);
        assert!(bad.is_empty());
        assert_eq!(table.lines().count(), ROWS.len() + 4);
    }

    #[test]
    fn nested_columns_keep_their_structure() {
        let rows = [json!({"id": 1, "tags": ["x"], "at": {"lat": 1.5}}), json!({"id": 2, "tags": [], "at": null})];
        let kinds = rows.iter().map(|row| Kind::of_json(&row.to_string())).fold(Kind::Nothing, Kind::and);
        let Kind::Object(columns) = kinds else { panic!("not objects") };
        let text = format!("{}\n{}\n{}\n", rows[0], rows[1], json!({"id": 3, "tags": "oops"}));
        let (table, bad) = decode(&text, schema_of(&columns.into_iter().collect::<Vec<_>>()), OnBadRow::Reject, 4096);
        assert!(table.contains("| 1  | [x]  | {lat: 1.5} |"), "{table}");
        assert!(table.contains("| 2  | []   |            |"), "{table}");
        assert_eq!(bad.len(), 1);
        assert!(bad[0].1.contains("`oops` is not a valid List"), "{bad:?}");
    }

    #[test]
    fn numbers_keep_their_digits() {
        let rows = [
            r#"{"p":12345678901234567.89,"t":1234567890123456789012345,"n":5.0,"f":1e3}"#,
            r#"{"p":"12345678901234567.89","t":1.10,"n":1e2,"f":0.1}"#,
            r#"{"p":1.5e3,"t":[1.10, {"a b":  "\\ \" ,"}],"n":7,"f":1e400}"#,
            r#"{"p":-0.005,"t":true,"n":7.5,"f":1}"#,
        ];
        let schema = parse_schema("p decimal(20,2), t string, n int, f double").unwrap();
        let (table, bad) = decode(&rows.join("\n"), schema, OnBadRow::Reject, 4096);
        let lines: Vec<String> = table.lines().skip(3).map(|line| line.replace(' ', "")).collect();
        assert_eq!(lines[0], "|12345678901234567.89|1234567890123456789012345|5|1000.0|");
        assert_eq!(lines[1], "|12345678901234567.89|1.10|100|0.1|");
        let bad: Vec<_> = bad.iter().map(|(line, text)| format!("{line} {text}")).collect();
        assert_eq!(bad, ["3 Some(\"f\") `1e400` is not a valid double", "4 Some(\"n\") `7.5` is not a valid int"]);
        let (table, _) =
            decode(&rows[2..].join("\n"), parse_schema("p decimal(9,2), t string").unwrap(), OnBadRow::Fail, 7);
        let lines: Vec<&str> = table.lines().skip(3).collect();
        assert_eq!(lines[0], r#"| 1500.00 | [1.10,{"a b":"\\ \" ,"}] |"#);
        assert_eq!(lines[1].replace(' ', ""), "|-0.01|true|");
    }

    #[test]
    fn long_whole_numbers_are_told_apart() {
        let ids = ["12345678901234567891", "12345678901234567892", "1234567890123456789012345678901234567"];
        let rows = ids.map(|id| format!(r#"{{"id":{id},"in":{{"id":{id}}}}}"#)).join("\n");
        let head = crate::source::json::read_json_head(rows.as_bytes(), true, false);
        let (table, bad) = decode(&rows, schema_of(&head.columns), OnBadRow::Reject, 4096);
        assert!(bad.is_empty(), "{bad:?}");
        for id in ids {
            assert!(table.contains(&format!("| {id} ")) && table.contains(&format!(r#"{{"id":{id}}}"#)), "{table}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[\\[\\]{}:,\"\\\\a1.\n -]{0,80}") {
            decode(&text, parse_schema("a int, b string not null").unwrap(), OnBadRow::Reject, 7);
        }
    }
}
