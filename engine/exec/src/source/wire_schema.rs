//! A text table's schema on the wire: only the types that text files can hold, so that there is nothing in it that could
//! not be read.

use std::cell::Cell;
use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, Schema, SchemaRef, TimeUnit};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

/// Deeper types are refused, since reading one goes as deep as it is. JSON files have at most half of this.
const MAX_DEPTH: usize = 256;

thread_local! {
    /// How deep the type is in which the field that is being read stands.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

#[derive(Serialize, Deserialize)]
struct WireField {
    name: String,
    nullable: bool,
    #[serde(deserialize_with = "one_deeper")]
    data_type: WireType,
}

#[derive(Serialize, Deserialize)]
enum WireType {
    /// `string`, and whether it is a view, which nested ones are not.
    String(bool),
    Binary,
    Boolean,
    Int8,
    Int16,
    Int32,
    Int64,
    Float32,
    Float64,
    Date,
    Timestamp,
    Decimal(u8, i8),
    List(Box<WireField>),
    Struct(Vec<WireField>),
}

fn one_deeper<'de, D: Deserializer<'de>>(deserializer: D) -> Result<WireType, D::Error> {
    let depth = DEPTH.get();
    if depth >= MAX_DEPTH {
        return Err(de::Error::custom("a type that is nested too deeply"));
    }
    DEPTH.set(depth + 1);
    let data_type = WireType::deserialize(deserializer);
    DEPTH.set(depth);
    data_type
}

/// For `#[serde(with)]`.
pub(crate) fn serialize<S: Serializer>(schema: &SchemaRef, serializer: S) -> Result<S::Ok, S::Error> {
    let fields: Option<Vec<WireField>> = schema.fields().iter().map(|field| to_wire(field)).collect();
    fields.ok_or_else(|| ser::Error::custom("a type that text files cannot hold"))?.serialize(serializer)
}

/// For `#[serde(with)]`.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SchemaRef, D::Error> {
    let fields = Vec::<WireField>::deserialize(deserializer)?;
    let fields: Option<Vec<Field>> = fields.into_iter().map(from_wire).collect();
    Ok(Arc::new(Schema::new(fields.ok_or_else(|| de::Error::custom("a decimal out of range"))?)))
}

fn to_wire(field: &Field) -> Option<WireField> {
    let data_type = match field.data_type() {
        DataType::Utf8View => WireType::String(true),
        DataType::Utf8 => WireType::String(false),
        DataType::BinaryView => WireType::Binary,
        DataType::Boolean => WireType::Boolean,
        DataType::Int8 => WireType::Int8,
        DataType::Int16 => WireType::Int16,
        DataType::Int32 => WireType::Int32,
        DataType::Int64 => WireType::Int64,
        DataType::Float32 => WireType::Float32,
        DataType::Float64 => WireType::Float64,
        DataType::Date32 => WireType::Date,
        DataType::Timestamp(TimeUnit::Microsecond, None) => WireType::Timestamp,
        &DataType::Decimal128(precision, scale) => WireType::Decimal(precision, scale),
        DataType::List(item) => WireType::List(Box::new(to_wire(item)?)),
        DataType::Struct(fields) => WireType::Struct(fields.iter().map(|f| to_wire(f)).collect::<Option<_>>()?),
        _ => return None,
    };
    Some(WireField { name: field.name().clone(), nullable: field.is_nullable(), data_type })
}

fn from_wire(field: WireField) -> Option<Field> {
    let data_type = match field.data_type {
        WireType::String(true) => DataType::Utf8View,
        WireType::String(false) => DataType::Utf8,
        WireType::Binary => DataType::BinaryView,
        WireType::Boolean => DataType::Boolean,
        WireType::Int8 => DataType::Int8,
        WireType::Int16 => DataType::Int16,
        WireType::Int32 => DataType::Int32,
        WireType::Int64 => DataType::Int64,
        WireType::Float32 => DataType::Float32,
        WireType::Float64 => DataType::Float64,
        WireType::Date => DataType::Date32,
        WireType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        WireType::Decimal(precision, scale) => {
            let is_sound = (1..=DECIMAL128_MAX_PRECISION).contains(&precision) && scale.unsigned_abs() <= precision;
            is_sound.then_some(DataType::Decimal128(precision, scale))?
        }
        WireType::List(item) => DataType::List(Arc::new(from_wire(*item)?)),
        WireType::Struct(fields) => {
            DataType::Struct(fields.into_iter().map(from_wire).collect::<Option<Vec<Field>>>()?.into())
        }
    };
    Some(Field::new(field.name, data_type, field.nullable))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::infer::Kind;
    use crate::source::schema::parse_schema;

    #[derive(Serialize, Deserialize)]
    struct Holder(#[serde(with = "super")] SchemaRef);

    #[test]
    fn every_type_comes_back() {
        let text = "a string not null, b int, c bigint, d smallint, e tinyint, f float, g double, h boolean, i date, \
                    j timestamp, k decimal(12,2), l binary";
        let nested = Kind::of_json(r#"[{"a": [1], "b": "x"}]"#).column_type();
        let mut fields = parse_schema(text).unwrap().fields().to_vec();
        fields.push(Arc::new(Field::new("m", nested, true)));
        let schema = Arc::new(Schema::new(fields));
        let bytes = postcard::to_stdvec(&Holder(schema.clone())).unwrap();
        assert_eq!(postcard::from_bytes::<Holder>(&bytes).unwrap().0, schema);
    }

    #[test]
    fn a_type_that_goes_too_deep_is_refused() {
        let field = |data_type| Field::new("", data_type, true);
        let holder = |depth| {
            let nested = (0..depth).fold(DataType::Utf8, |nested, _| DataType::List(Arc::new(field(nested))));
            postcard::to_stdvec(&Holder(Arc::new(Schema::new(vec![field(nested)])))).unwrap()
        };
        assert!(postcard::from_bytes::<Holder>(&holder(200)).is_ok());
        // One column: an empty name, nullable; then per level that it is a list, of items without a name, nullable.
        let encoded = holder(1_000);
        let (one, levels) = encoded.split_at(3);
        assert!(levels.starts_with(&levels[..3].repeat(1_000)));
        let deep = [one, &levels[..3].repeat(1_000_000)].concat();
        assert!(postcard::from_bytes::<Holder>(&deep).is_err());
    }
}
