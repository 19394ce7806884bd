//! Finds out column types from a sample of rows. Types only ever widen, so the order of rows does not matter.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use indexmap::IndexMap;
use serde_json::Value;

use super::values;

/// What the values of a column seen so far have in common.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Kind {
    /// None was seen.
    #[default]
    Nothing,
    Boolean,
    Integer,
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
        } else if has_leading_zero {
            // A code, not a number: as a number it would lose its zeros.
            Self::Text
        } else if values::integer::<i64>(text).is_some() {
            Self::Integer
        } else if text[text.len() - 1].is_ascii_digit() && values::float::<f64>(text).is_some() {
            Self::Double
        } else if text.eq_ignore_ascii_case(b"true") || text.eq_ignore_ascii_case(b"false") {
            Self::Boolean
        } else {
            Self::of_time(text)
        }
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

    /// What a JSON value is.
    pub(crate) fn of_json(value: &Value) -> Self {
        match value {
            Value::Null => Self::Nothing,
            Value::Bool(_) => Self::Boolean,
            Value::Number(number) if number.is_i64() => Self::Integer,
            Value::Number(_) => Self::Double,
            Value::String(text) => Self::of_time(text.as_bytes()),
            Value::Array(items) => Self::List(Box::new(items.iter().map(Self::of_json).fold(Self::Nothing, Self::and))),
            Value::Object(fields) => {
                Self::Object(fields.iter().map(|(name, value)| (name.clone(), Self::of_json(value))).collect())
            }
        }
    }

    /// What values of both kinds have in common.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, kind) | (kind, Self::Nothing) => kind,
            (a, b) if a == b => a,
            (Self::Integer | Self::Double, Self::Integer | Self::Double) => Self::Double,
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
            Self::Double => DataType::Float64,
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Nothing | Self::Text | Self::Mixed => DataType::Utf8View,
        }
    }

    /// The type inside of lists and objects; none where values have nothing in common.
    fn nested_type(&self) -> Option<DataType> {
        Some(match self {
            Self::Mixed => return None,
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
    use serde_json::json;

    use super::*;

    fn csv(cells: &[&str]) -> DataType {
        cells.iter().map(|cell| Kind::of_text(cell.as_bytes())).fold(Kind::Nothing, Kind::and).column_type()
    }

    fn json_type(values: &[Value]) -> String {
        values.iter().map(Kind::of_json).fold(Kind::Nothing, Kind::and).column_type().to_string()
    }

    #[test]
    fn csv_types_widen() {
        assert_eq!(csv(&["1", "", "-2"]), DataType::Int64);
        assert_eq!(csv(&["1", "2.5", "1e9"]), DataType::Float64);
        assert_eq!(csv(&["1", "x"]), DataType::Utf8View);
        assert_eq!(csv(&["007", "8"]), DataType::Utf8View);
        assert_eq!(csv(&["0", "0.5"]), DataType::Float64);
        assert_eq!(csv(&["true", "FALSE"]), DataType::Boolean);
        assert_eq!(csv(&["2024-01-01"]), DataType::Date32);
        assert_eq!(csv(&["2024-01-01", "2024-01-01T00:00:00Z"]), DataType::Timestamp(TimeUnit::Microsecond, None));
        assert_eq!(csv(&["nan", "inf"]), DataType::Utf8View);
        assert_eq!(csv(&["", " "]), DataType::Utf8View);
    }

    #[test]
    fn json_types_nest_and_fall_back_to_text() {
        assert_eq!(json_type(&[json!(1), json!(2.5), json!(null)]), "Float64");
        assert_eq!(json_type(&[json!("2024-01-01")]), "Date32");
        assert_eq!(json_type(&[json!(1), json!("x")]), "Utf8View");
        assert_eq!(json_type(&[json!([1]), json!([2.5])]), "List(Float64)");
        assert_eq!(json_type(&[json!([1]), json!(["x"])]), "Utf8View");
        let objects = json_type(&[json!({"a": 1}), json!({"b": {"c": "2024-01-01"}})]);
        assert_eq!(objects, r#"Struct("a": Int64, "b": Struct("c": Utf8))"#);
        assert_eq!(json_type(&[json!({})]), "Utf8View");
    }
}
