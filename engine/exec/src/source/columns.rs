//! Typed columns that text cells are parsed into, shared by the CSV and JSON decoders.
//!
//! A cell that cannot be read becomes a null and a [`Fault`]; what becomes of the row is the decoder's business.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewBuilder, BooleanBuilder, Decimal128Builder, PrimitiveBuilder, StringViewBuilder,
};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Field, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimeUnit, TimestampMicrosecondType,
};
use arrow::error::ArrowError;

use super::nested::Nested;
use super::rows::text_cell;
use super::schema::type_name;
use super::values;
use crate::error::PlanError;

/// Why a cell could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is empty and its column is `not null`.
    Null,
    /// It is not of its column's type.
    Type,
    /// It is not UTF-8.
    Utf8,
}

impl Fault {
    /// In words, for the cell `text` of a column of type `data_type`.
    pub(crate) fn reason(self, text: &[u8], data_type: &DataType) -> String {
        const SHOWN: usize = 80;
        match self {
            Self::Null => "null in a not null column".to_owned(),
            Self::Utf8 => "invalid UTF-8".to_owned(),
            Self::Type => {
                let shown: String = String::from_utf8_lossy(text).chars().take(SHOWN).collect();
                let cut = if shown.len() < text.len() { "…" } else { "" };
                format!("`{shown}{cut}` is not a valid {}", type_name(data_type))
            }
        }
    }
}

/// One cell of a text file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell<'a> {
    /// Its content, quotes resolved.
    pub(crate) text: &'a [u8],
    /// The same, when it is known to be UTF-8.
    pub(crate) utf8: Option<&'a str>,
    /// It was in quotes, so that an empty text is a text and not a null.
    pub(crate) quoted: bool,
}

/// A column under construction.
#[derive(Debug)]
pub(crate) struct Column {
    data_type: DataType,
    not_null: bool,
    values: Values,
}

#[derive(Debug)]
enum Values {
    String(StringViewBuilder),
    Binary(BinaryViewBuilder),
    Boolean(BooleanBuilder),
    Int8(PrimitiveBuilder<Int8Type>),
    Int16(PrimitiveBuilder<Int16Type>),
    Int32(PrimitiveBuilder<Int32Type>),
    Int64(PrimitiveBuilder<Int64Type>),
    Float32(PrimitiveBuilder<Float32Type>),
    Float64(PrimitiveBuilder<Float64Type>),
    Date(PrimitiveBuilder<Date32Type>),
    Timestamp(PrimitiveBuilder<TimestampMicrosecondType>),
    Decimal(Decimal128Builder, u8, i8),
    /// A list or struct, which only JSON holds.
    Nested(Nested),
    /// A string column that is checked and not kept.
    Checked(usize),
}

impl Column {
    /// An empty column of `field`'s type with room for `rows`.
    pub(crate) fn new(field: &Field, rows: usize) -> Result<Self, PlanError> {
        let values = match field.data_type() {
            DataType::Utf8View => Values::String(StringViewBuilder::with_capacity(rows)),
            DataType::BinaryView => Values::Binary(BinaryViewBuilder::with_capacity(rows)),
            DataType::Boolean => Values::Boolean(BooleanBuilder::with_capacity(rows)),
            DataType::Int8 => Values::Int8(PrimitiveBuilder::with_capacity(rows)),
            DataType::Int16 => Values::Int16(PrimitiveBuilder::with_capacity(rows)),
            DataType::Int32 => Values::Int32(PrimitiveBuilder::with_capacity(rows)),
            DataType::Int64 => Values::Int64(PrimitiveBuilder::with_capacity(rows)),
            DataType::Float32 => Values::Float32(PrimitiveBuilder::with_capacity(rows)),
            DataType::Float64 => Values::Float64(PrimitiveBuilder::with_capacity(rows)),
            DataType::Date32 => Values::Date(PrimitiveBuilder::with_capacity(rows)),
            DataType::Timestamp(TimeUnit::Microsecond, None) => {
                Values::Timestamp(PrimitiveBuilder::with_capacity(rows))
            }
            &DataType::Decimal128(precision, scale) => {
                let builder = Decimal128Builder::with_capacity(rows)
                    .with_precision_and_scale(precision, scale)
                    .map_err(|error| PlanError::invalid(format!("column `{}`: {error}", field.name())))?;
                Values::Decimal(builder, precision, scale)
            }
            DataType::List(_) | DataType::Struct(_) => Values::Nested(Nested::new(field)),
            other => {
                let what = format!("column `{}` has type {other}, which text files cannot hold", field.name());
                return Err(PlanError::invalid(what));
            }
        };
        Ok(Self { data_type: field.data_type().clone(), not_null: !field.is_nullable(), values })
    }

    /// Like [`Column::new`], but a string's content is only looked at: the query does not ask for it.
    pub(crate) fn checked(field: &Field, rows: usize) -> Result<Self, PlanError> {
        match field.data_type() {
            DataType::Utf8View => {
                Ok(Self { data_type: DataType::Utf8View, not_null: !field.is_nullable(), values: Values::Checked(0) })
            }
            _ => Self::new(field, rows),
        }
    }

    /// Its type.
    pub(crate) fn data_type(&self) -> &DataType {
        &self.data_type
    }

    /// Appends one cell.
    pub(crate) fn push(&mut self, cell: Cell<'_>) -> Result<(), Fault> {
        let mut fault = Ok(());
        self.extend(std::iter::once(cell), |_, found| fault = Err(found));
        fault
    }

    /// Appends `cells` and tells `faulty` the place in them of each that could not be read.
    pub(crate) fn extend<'a>(&mut self, cells: impl Iterator<Item = Cell<'a>>, mut faulty: impl FnMut(usize, Fault)) {
        let not_null = self.not_null;
        let numbered = cells.enumerate();
        match &mut self.values {
            Values::String(builder) => {
                for (index, cell) in numbered {
                    match string_of(cell, not_null) {
                        Ok(text) => builder.append_option(text),
                        Err(fault) => {
                            builder.append_null();
                            faulty(index, fault);
                        }
                    }
                }
            }
            Values::Nested(nested) => {
                for (index, cell) in numbered {
                    if let Err(fault) = nested.push_text(cell.text, not_null) {
                        faulty(index, fault);
                    }
                }
            }
            Values::Checked(rows) => {
                for (index, cell) in numbered {
                    *rows += 1;
                    if let Err(fault) = string_of(cell, not_null) {
                        faulty(index, fault);
                    }
                }
            }
            Values::Binary(builder) => {
                for (index, cell) in numbered {
                    let empty = cell.text.is_empty() && !cell.quoted;
                    builder.append_option((!empty).then_some(cell.text));
                    if empty && not_null {
                        faulty(index, Fault::Null);
                    }
                }
            }
            Values::Boolean(builder) => {
                for (index, cell) in numbered {
                    builder.append_option(value_of(cell, not_null, values::boolean).unwrap_or_else(|fault| {
                        faulty(index, fault);
                        None
                    }));
                }
            }
            Values::Int8(builder) => fill(builder, numbered, not_null, faulty, values::integer),
            Values::Int16(builder) => fill(builder, numbered, not_null, faulty, values::integer),
            Values::Int32(builder) => fill(builder, numbered, not_null, faulty, values::integer),
            Values::Int64(builder) => fill(builder, numbered, not_null, faulty, values::integer),
            Values::Float32(builder) => fill(builder, numbered, not_null, faulty, values::float),
            Values::Float64(builder) => fill(builder, numbered, not_null, faulty, values::float),
            Values::Date(builder) => fill(builder, numbered, not_null, faulty, values::date),
            Values::Timestamp(builder) => fill(builder, numbered, not_null, faulty, values::timestamp_micros),
            Values::Decimal(builder, precision, scale) => {
                let (precision, scale) = (*precision, *scale);
                fill(builder, numbered, not_null, faulty, |text| values::decimal(text, precision, scale));
            }
        }
    }

    /// Appends a number or a boolean, `text` being how it is written without quotes. Whole numbers may have a fraction of
    /// zeros or an exponent; a floating point number must be finite.
    pub(crate) fn push_plain(&mut self, text: &str) -> Result<(), Fault> {
        let bytes = text.as_bytes();
        match &mut self.values {
            Values::Int8(builder) => push_number(builder, values::whole(bytes)),
            Values::Int16(builder) => push_number(builder, values::whole(bytes)),
            Values::Int32(builder) => push_number(builder, values::whole(bytes)),
            Values::Int64(builder) => push_number(builder, values::whole(bytes)),
            Values::Float32(builder) => {
                push_number(builder, values::float(bytes).filter(|value: &f32| value.is_finite()))
            }
            Values::Float64(builder) => {
                push_number(builder, values::float(bytes).filter(|value: &f64| value.is_finite()))
            }
            _ => self.push(text_cell(text)),
        }
    }

    /// Whether it holds lists or structs.
    pub(crate) fn is_nested(&self) -> bool {
        matches!(self.values, Values::Nested(_))
    }

    /// Appends the list or object that is written as `json` to a column that holds such.
    pub(crate) fn push_nested(&mut self, json: &str) -> Result<(), Fault> {
        match &mut self.values {
            Values::Nested(nested) => nested.push(json),
            _ => Err(Fault::Type),
        }
    }

    /// The rows so far as an array; none for a column that is only checked. The column is empty afterwards.
    pub(crate) fn finish(&mut self) -> Result<Option<ArrayRef>, ArrowError> {
        Ok(Some(match &mut self.values {
            Values::Nested(nested) => nested.finish()?,
            Values::String(builder) => Arc::new(builder.finish()),
            Values::Binary(builder) => Arc::new(builder.finish()),
            Values::Boolean(builder) => Arc::new(builder.finish()),
            Values::Int8(builder) => Arc::new(builder.finish()),
            Values::Int16(builder) => Arc::new(builder.finish()),
            Values::Int32(builder) => Arc::new(builder.finish()),
            Values::Int64(builder) => Arc::new(builder.finish()),
            Values::Float32(builder) => Arc::new(builder.finish()),
            Values::Float64(builder) => Arc::new(builder.finish()),
            Values::Date(builder) => Arc::new(builder.finish()),
            Values::Timestamp(builder) => Arc::new(builder.finish()),
            Values::Decimal(builder, ..) => Arc::new(builder.finish()),
            Values::Checked(rows) => {
                *rows = 0;
                return Ok(None);
            }
        }))
    }
}

fn push_number<T: ArrowPrimitiveType>(
    builder: &mut PrimitiveBuilder<T>,
    value: Option<T::Native>,
) -> Result<(), Fault> {
    builder.append_option(value);
    value.map(|_| ()).ok_or(Fault::Type)
}

fn fill<'a, T: ArrowPrimitiveType>(
    builder: &mut PrimitiveBuilder<T>,
    cells: impl Iterator<Item = (usize, Cell<'a>)>,
    not_null: bool,
    mut faulty: impl FnMut(usize, Fault),
    parse: impl Fn(&[u8]) -> Option<T::Native>,
) {
    for (index, cell) in cells {
        match value_of(cell, not_null, &parse) {
            Ok(Some(value)) => builder.append_value(value),
            Ok(None) => builder.append_null(),
            Err(fault) => {
                builder.append_null();
                faulty(index, fault);
            }
        }
    }
}

/// A value of any type but text: spaces around it do not count, and an empty one is a null even in quotes.
fn value_of<T>(cell: Cell<'_>, not_null: bool, parse: impl Fn(&[u8]) -> Option<T>) -> Result<Option<T>, Fault> {
    if let Some(value) = parse(cell.text) {
        return Ok(Some(value));
    }
    let trimmed = cell.text.trim_ascii();
    match trimmed.is_empty() {
        true if not_null => Err(Fault::Null),
        true => Ok(None),
        false => parse(trimmed).map(Some).ok_or(Fault::Type),
    }
}

fn string_of(cell: Cell<'_>, not_null: bool) -> Result<Option<&str>, Fault> {
    if cell.text.is_empty() && !cell.quoted {
        return if not_null { Err(Fault::Null) } else { Ok(None) };
    }
    match cell.utf8 {
        Some(text) => Ok(Some(text)),
        None => std::str::from_utf8(cell.text).map(Some).map_err(|_| Fault::Utf8),
    }
}
