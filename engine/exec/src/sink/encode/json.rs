//! JSON: one object per line, one indented array, or one indented object.
//!
//! Keys keep the order of columns and nulls are written. Floating-point numbers are the shortest text that reads back to
//! the same number, as Python's `json` writes them: `7250.0`, `1e-05`, `1e+16`. What is not a number is null.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, FieldRef, Float32Type, Float64Type};
use arrow::error::ArrowError;
use arrow::json::writer::{
    Encoder as ValueEncoder, EncoderFactory, EncoderOptions, JsonFormat, LineDelimited, NullableEncoder,
};
use arrow::json::{Writer, WriterBuilder};
use arrow::record_batch::RecordBatch;

use super::text::Packer;
use super::{Encoder, fatal};
use crate::error::TaskError;

/// Writes rows as objects, laid out as `F` says.
pub fn json_writer<W: Write, F: JsonFormat>(output: W) -> Writer<W, F> {
    WriterBuilder::new().with_explicit_nulls(true).with_encoder_factory(Arc::new(PythonFloats)).build(output)
}

/// One object per line.
pub(super) struct LinesEncoder {
    writer: Writer<Packer, LineDelimited>,
}

impl LinesEncoder {
    pub(super) fn new(packer: Packer) -> Self {
        Self { writer: json_writer(packer) }
    }
}

impl Encoder for LinesEncoder {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), TaskError> {
        self.writer.write(batch).map_err(fatal)
    }

    fn memory_bytes(&self) -> usize {
        self.writer.get_ref().memory_bytes()
    }

    fn finish(self: Box<Self>) -> Result<(), TaskError> {
        self.writer.into_inner().finish()
    }
}

/// One array of objects, indented by two spaces, without a newline at its end.
pub(super) struct ArrayEncoder {
    packer: Packer,
    rows: u64,
    text: Vec<u8>,
}

impl ArrayEncoder {
    pub(super) fn new(packer: Packer) -> Self {
        Self { packer, rows: 0, text: Vec::new() }
    }
}

impl Encoder for ArrayEncoder {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), TaskError> {
        let mut rows = Vec::new();
        json_writer::<_, LineDelimited>(&mut rows).write(batch).map_err(fatal)?;
        for row in rows.split(|&byte| byte == b'\n').filter(|row| !row.is_empty()) {
            self.text.extend_from_slice(if self.rows == 0 { b"[\n  " } else { b",\n  " });
            indent(row, 1, &mut self.text);
            self.rows += 1;
        }
        self.packer.write_all(&self.text).map_err(fatal)?;
        self.text.clear();
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        self.packer.memory_bytes() + self.text.capacity()
    }

    fn finish(mut self: Box<Self>) -> Result<(), TaskError> {
        let end: &[u8] = if self.rows == 0 { b"[]" } else { b"\n]" };
        self.packer.write_all(end).map_err(fatal)?;
        self.packer.finish()
    }
}

/// The only row as an object, indented by two spaces, without a newline at its end.
pub(super) struct ObjectEncoder {
    packer: Packer,
    rows: usize,
}

impl ObjectEncoder {
    pub(super) fn new(packer: Packer) -> Self {
        Self { packer, rows: 0 }
    }
}

impl Encoder for ObjectEncoder {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), TaskError> {
        self.rows += batch.num_rows();
        match (batch.num_rows(), self.rows) {
            (0, _) => return Ok(()),
            (_, 1) => {}
            _ => return Err(fatal("a file with shape = \"object\" has one row, and there are more")),
        }
        let (mut row, mut text) = (Vec::new(), Vec::new());
        json_writer::<_, LineDelimited>(&mut row).write(batch).map_err(fatal)?;
        indent(row.trim_ascii_end(), 0, &mut text);
        self.packer.write_all(&text).map_err(fatal)
    }

    fn memory_bytes(&self) -> usize {
        self.packer.memory_bytes()
    }

    fn finish(self: Box<Self>) -> Result<(), TaskError> {
        if self.rows == 0 {
            return Err(fatal("a file with shape = \"object\" has one row, and there is none"));
        }
        self.packer.finish()
    }
}

/// Appends compact JSON to `out` with a line per value, itself standing at `depth`.
fn indent(compact: &[u8], mut depth: usize, out: &mut Vec<u8>) {
    let (mut in_string, mut escaped) = (false, false);
    for (at, &byte) in compact.iter().enumerate() {
        if in_string {
            out.push(byte);
            (in_string, escaped) = (escaped || byte != b'"', !escaped && byte == b'\\');
            continue;
        }
        let empty = matches!(compact.get(at + 1), Some(b'}' | b']'));
        match byte {
            b'{' | b'[' => {
                out.push(byte);
                depth += 1;
                if !empty {
                    new_line(depth, out);
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if !matches!(compact.get(at.wrapping_sub(1)), Some(b'{' | b'[')) {
                    new_line(depth, out);
                }
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                new_line(depth, out);
            }
            b':' => out.extend_from_slice(b": "),
            _ => {
                in_string = byte == b'"';
                out.push(byte);
            }
        }
    }
}

fn new_line(depth: usize, out: &mut Vec<u8>) {
    out.push(b'\n');
    out.extend(std::iter::repeat_n(b' ', 2 * depth));
}

/// Replaces Arrow's way of writing floating-point numbers.
#[derive(Debug)]
struct PythonFloats;

impl EncoderFactory for PythonFloats {
    fn make_default_encoder<'a>(
        &self,
        _field: &'a FieldRef,
        array: &'a dyn Array,
        _options: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        let encoder: Box<dyn ValueEncoder + 'a> = match array.data_type() {
            DataType::Float64 => {
                let values = array.as_primitive::<Float64Type>().values();
                Box::new(FloatEncoder { digits: |at| shortest(values[at], format!("{:?}", values[at])) })
            }
            DataType::Float32 => {
                let values = array.as_primitive::<Float32Type>().values();
                Box::new(FloatEncoder { digits: |at| shortest(f64::from(values[at]), format!("{:?}", values[at])) })
            }
            _ => return Ok(None),
        };
        Ok(Some(NullableEncoder::new(encoder, array.nulls().cloned())))
    }
}

struct FloatEncoder<F> {
    digits: F,
}

impl<F: Fn(usize) -> String> ValueEncoder for FloatEncoder<F> {
    fn encode(&mut self, index: usize, out: &mut Vec<u8>) {
        out.extend_from_slice((self.digits)(index).as_bytes());
    }
}

/// `digits` with Python's exponents, which have a sign and two digits at least.
fn shortest(value: f64, digits: String) -> String {
    if !value.is_finite() {
        return "null".to_owned();
    }
    match digits.split_once('e') {
        None => digits,
        Some((mantissa, exponent)) => {
            let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
            format!("{mantissa}e{sign}{exponent:0>2}")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray, StructArray};
    use arrow::datatypes::{Field, Fields};

    use super::super::OutputBuffer;
    use super::*;
    use crate::sink::spec::Compression;

    fn array_text(batches: &[RecordBatch]) -> String {
        let output = OutputBuffer::default();
        let mut encoder = Box::new(ArrayEncoder::new(Packer::new(Compression::None, output.clone()).unwrap()));
        for batch in batches {
            encoder.write(batch).unwrap();
        }
        encoder.finish().unwrap();
        String::from_utf8(output.take().to_vec()).unwrap()
    }

    #[test]
    fn an_array_looks_like_pythons_indented_json() {
        let names: ArrayRef = Arc::new(StringArray::from(vec![Some("a\"{:,\\"), None]));
        let revenue: ArrayRef = Arc::new(Float64Array::from(vec![7250.0, 96.66666666666667]));
        let quantity: ArrayRef = Arc::new(Int64Array::from(vec![290, 3]));
        let batch =
            RecordBatch::try_from_iter([("name", names), ("revenue", revenue), ("quantity", quantity)]).unwrap();
        let expected = r#"[
  {
    "name": "a\"{:,\\",
    "revenue": 7250.0,
    "quantity": 290
  },
  {
    "name": null,
    "revenue": 96.66666666666667,
    "quantity": 3
  }
]"#;
        assert_eq!(array_text(&[batch.slice(0, 1), batch.slice(1, 1)]), expected);
        assert_eq!(array_text(&[]), "[]");
        assert_eq!(array_text(&[batch.slice(0, 0)]), "[]");
    }

    #[test]
    fn an_object_is_the_only_row() {
        let encode = |batches: &[RecordBatch]| {
            let output = OutputBuffer::default();
            let mut encoder = Box::new(ObjectEncoder::new(Packer::new(Compression::None, output.clone()).unwrap()));
            batches.iter().try_for_each(|batch| encoder.write(batch))?;
            encoder.finish()?;
            Ok::<_, TaskError>(String::from_utf8(output.take().to_vec()).unwrap())
        };
        let values: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), None]));
        let batch = RecordBatch::try_from_iter([("x", values)]).unwrap();
        assert_eq!(encode(&[batch.slice(0, 0), batch.slice(0, 1)]).unwrap(), "{\n  \"x\": 1.0\n}");
        assert!(encode(std::slice::from_ref(&batch)).unwrap_err().to_string().contains("there are more"));
        assert!(encode(&[batch.slice(0, 1), batch.slice(1, 1)]).is_err());
        assert!(encode(&[]).unwrap_err().to_string().contains("there is none"));
    }

    #[test]
    fn nested_values_are_indented_and_empty_ones_are_not() {
        let inner = Fields::from(vec![Field::new("x", DataType::Int64, true)]);
        let values: ArrayRef = Arc::new(StructArray::new(inner, vec![Arc::new(Int64Array::from(vec![1]))], None));
        let batch = RecordBatch::try_from_iter([("s", values)]).unwrap();
        assert_eq!(array_text(&[batch]), "[\n  {\n    \"s\": {\n      \"x\": 1\n    }\n  }\n]");
        let mut out = Vec::new();
        indent(br#"{"a":[],"b":{}}"#, 0, &mut out);
        assert_eq!(out, b"{\n  \"a\": [],\n  \"b\": {}\n}");
    }

    #[test]
    fn floats_are_written_as_python_does() {
        let text = |value: f64| shortest(value, format!("{value:?}"));
        let cases = [
            (7250.0, "7250.0"),
            (1e16, "1e+16"),
            (1e15, "1000000000000000.0"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e300, "1.5e+300"),
            (-0.0, "-0.0"),
            (5249999123.25, "5249999123.25"),
        ];
        for (value, expected) in cases {
            assert_eq!(text(value), expected);
        }
        assert_eq!(text(f64::NAN), "null");
    }
}
