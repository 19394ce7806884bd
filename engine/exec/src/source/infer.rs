//! Finds out column types from a sample of rows. Types only ever widen, so the order of rows does not matter.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, Schema, TimeUnit};
use indexmap::IndexMap;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::values;

/// Values that are nested more deeply have nothing in common with others.
const MAX_DEPTH: usize = 128;

/// What the values of a column seen so far have in common.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Kind {
    /// None was seen.
    #[default]
    Nothing,
    Boolean,
    Integer,
    /// Whole numbers, some of which only a decimal holds.
    LongInteger,
    /// Whole numbers, some of which no numeric type holds exactly.
    Digits,
    Double,
    Date,
    Timestamp,
    Text,
    List(Box<Kind>),
    Object(IndexMap<String, Kind>),
    /// Nothing: kept as text.
    Mixed,
}

impl Kind {
    /// What a CSV cell looks like.
    pub(crate) fn of_text(text: &[u8]) -> Self {
        let text = text.trim_ascii();
        let digits = text.strip_prefix(b"-").unwrap_or(text);
        let has_leading_zero = digits.len() > 1 && digits[0] == b'0' && digits[1].is_ascii_digit();
        if text.is_empty() {
            Self::Nothing
        } else if has_leading_zero || text[0] == b'+' {
            // A code, not a number: as a number it would lose its zeros or its plus.
            Self::Text
        } else if let Some(whole) = Self::of_whole(text) {
            whole
        } else if text[text.len() - 1].is_ascii_digit() && values::float::<f64>(text).is_some() {
            Self::Double
        } else if text.eq_ignore_ascii_case(b"true") || text.eq_ignore_ascii_case(b"false") {
            Self::Boolean
        } else {
            Self::of_time(text)
        }
    }

    /// What a whole number is; none if `text` is something else.
    fn of_whole(text: &[u8]) -> Option<Self> {
        let digits = values::digit_count(text)?;
        Some(if values::integer::<i64>(text).is_some() {
            Self::Integer
        } else if digits <= usize::from(DECIMAL128_MAX_PRECISION) {
            Self::LongInteger
        } else {
            Self::Digits
        })
    }

    fn of_time(text: &[u8]) -> Self {
        if values::date(text).is_some() {
            Self::Date
        } else if values::timestamp_micros(text).is_some() {
            Self::Timestamp
        } else {
            Self::Text
        }
    }

    /// What the JSON value `text` is. Numbers are looked at as they are written.
    pub(crate) fn of_json(text: &str) -> Self {
        Self::of_nested_json(text, 0)
    }

    fn of_nested_json(text: &str, depth: usize) -> Self {
        match text.as_bytes().first() {
            None | Some(b'n') => Self::Nothing,
            Some(b't' | b'f') => Self::Boolean,
            Some(b'"') => {
                serde_json::from_str::<String>(text).map_or(Self::Text, |text| Self::of_time(text.as_bytes()))
            }
            Some(b'{' | b'[') if depth < MAX_DEPTH => {
                let inside = Inside { depth: depth + 1 };
                serde_json::Deserializer::from_str(text).deserialize_any(inside).unwrap_or(Self::Mixed)
            }
            Some(b'{' | b'[') => Self::Mixed,
            Some(_) => Self::of_whole(text.as_bytes()).unwrap_or(Self::Double),
        }
    }

    /// What values of both kinds have in common.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, kind) | (kind, Self::Nothing) => kind,
            (a, b) if a == b => a,
            (Self::Integer, Self::LongInteger) | (Self::LongInteger, Self::Integer) => Self::LongInteger,
            (Self::Digits, Self::Integer | Self::LongInteger) | (Self::Integer | Self::LongInteger, Self::Digits) => {
                Self::Digits
            }
            (Self::Double, Self::Integer | Self::LongInteger | Self::Digits)
            | (Self::Integer | Self::LongInteger | Self::Digits, Self::Double) => Self::Double,
            (Self::Date | Self::Timestamp, Self::Date | Self::Timestamp) => Self::Timestamp,
            (Self::Date | Self::Timestamp | Self::Text, Self::Date | Self::Timestamp | Self::Text) => Self::Text,
            (Self::List(a), Self::List(b)) => Self::List(Box::new(a.and(*b))),
            (Self::Object(a), Self::Object(b)) => Self::Object(merge_fields(a, b)),
            _ => Self::Mixed,
        }
    }

    /// The type of a column of this kind.
    pub(crate) fn column_type(&self) -> DataType {
        match self {
            Self::List(_) | Self::Object(_) => self.nested_type().unwrap_or(DataType::Utf8View),
            Self::Boolean => DataType::Boolean,
            Self::Integer => DataType::Int64,
            Self::LongInteger => DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0),
            Self::Double => DataType::Float64,
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Nothing | Self::Digits | Self::Text | Self::Mixed => DataType::Utf8View,
        }
    }

    /// The type inside of lists and objects; none where values have nothing in common, or where they are numbers of which
    /// digits would be lost.
    fn nested_type(&self) -> Option<DataType> {
        Some(match self {
            Self::Mixed | Self::LongInteger | Self::Digits => return None,
            Self::Boolean => DataType::Boolean,
            Self::Integer => DataType::Int64,
            Self::Double => DataType::Float64,
            Self::Nothing | Self::Date | Self::Timestamp | Self::Text => DataType::Utf8,
            Self::List(kind) => DataType::List(Arc::new(Field::new("item", kind.nested_type()?, true))),
            Self::Object(fields) if fields.is_empty() => return None,
            Self::Object(fields) => {
                let field = |(name, kind): (&String, &Self)| Some(Field::new(name, kind.nested_type()?, true));
                DataType::Struct(fields.iter().map(field).collect::<Option<Vec<Field>>>()?.into())
            }
        })
    }
}

/// Reads what is inside of a list or an object.
struct Inside {
    depth: usize,
}

impl<'de> Visitor<'de> for Inside {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list or an object")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Kind, A::Error> {
        let mut kind = Kind::Nothing;
        while let Some(item) = items.next_element::<&RawValue>()? {
            kind = kind.and(Kind::of_nested_json(item.get(), self.depth));
        }
        Ok(Kind::List(Box::new(kind)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Kind, A::Error> {
        let mut fields = IndexMap::new();
        while let Some((name, value)) = entries.next_entry::<String, &RawValue>()? {
            fields.insert(name, Kind::of_nested_json(value.get(), self.depth));
        }
        Ok(Kind::Object(fields))
    }
}

fn merge_fields(mut fields: IndexMap<String, Kind>, others: IndexMap<String, Kind>) -> IndexMap<String, Kind> {
    for (name, kind) in others {
        let known = fields.entry(name).or_default();
        *known = std::mem::take(known).and(kind);
    }
    fields
}

/// A table of columns of these kinds.
pub(crate) fn schema_of(columns: &[(String, Kind)]) -> Schema {
    Schema::new(columns.iter().map(|(name, kind)| Field::new(name, kind.column_type(), true)).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv(cells: &[&str]) -> DataType {
        cells.iter().map(|cell| Kind::of_text(cell.as_bytes())).fold(Kind::Nothing, Kind::and).column_type()
    }

    fn json_type(values: &[&str]) -> String {
        values.iter().map(|value| Kind::of_json(value)).fold(Kind::Nothing, Kind::and).column_type().to_string()
    }

    #[test]
    fn csv_types_widen() {
        assert_eq!(csv(&["1", "", "-2"]), DataType::Int64);
        assert_eq!(csv(&["1", "2.5", "1e9"]), DataType::Float64);
        assert_eq!(csv(&["1", "x"]), DataType::Utf8View);
        assert_eq!(csv(&["007", "8"]), DataType::Utf8View);
        assert_eq!(csv(&["+49123456", "-1"]), DataType::Utf8View);
        assert_eq!(csv(&["+2.5"]), DataType::Utf8View);
        assert_eq!(csv(&["0", "0.5"]), DataType::Float64);
        assert_eq!(csv(&["true", "FALSE"]), DataType::Boolean);
        assert_eq!(csv(&["2024-01-01"]), DataType::Date32);
        assert_eq!(csv(&["2024-01-01", "2024-01-01T00:00:00Z"]), DataType::Timestamp(TimeUnit::Microsecond, None));
        assert_eq!(csv(&["nan", "inf"]), DataType::Utf8View);
        assert_eq!(csv(&["", " "]), DataType::Utf8View);
    }

    #[test]
    fn long_whole_numbers_keep_their_digits() {
        let (id, longest, longer) = ("12345678901234567891", "9".repeat(38), "9".repeat(39));
        let decimal = DataType::Decimal128(38, 0);
        for (values, expected) in [
            (vec![id], decimal.clone()),
            (vec!["1", id, "-2"], decimal.clone()),
            (vec![&longest], decimal),
            (vec![&longer], DataType::Utf8View),
            (vec!["1", &longer], DataType::Utf8View),
            (vec!["2.5", id], DataType::Float64),
            (vec![&longer, "2.5"], DataType::Float64),
            (vec!["9223372036854775807"], DataType::Int64),
        ] {
            assert_eq!(csv(&values), expected, "{values:?}");
            assert_eq!(json_type(&values), expected.to_string(), "{values:?}");
        }
        assert_eq!(json_type(&["[1]", &format!("[{id}]")]), "Utf8View");
        assert_eq!(json_type(&[&format!(r#"{{"id":{id},"n":1}}"#)]), "Utf8View");
    }

    #[test]
    fn json_types_nest_and_fall_back_to_text() {
        assert_eq!(json_type(&["1", "2.5", "null"]), "Float64");
        assert_eq!(json_type(&[r#""2024-01-01""#]), "Date32");
        assert_eq!(json_type(&["1", r#""x""#]), "Utf8View");
        assert_eq!(json_type(&["[1]", "[2.5]"]), "List(Float64)");
        assert_eq!(json_type(&["[1]", r#"["x"]"#]), "Utf8View");
        let objects = json_type(&[r#"{"a": 1}"#, r#"{"b": {"c": "2024-01-01"}}"#]);
        assert_eq!(objects, r#"Struct("a": Int64, "b": Struct("c": Utf8))"#);
        assert_eq!(json_type(&["{}"]), "Utf8View");
        let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(json_type(&[&deep]), "Utf8View");
    }
}
