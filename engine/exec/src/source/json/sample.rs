//! What the head of a JSON file says: lines or one array, and, from a sample of objects, the columns.

use serde_json::value::RawValue;

use super::split::{Next, ObjectReader};
use crate::source::infer::Kind;

/// Objects of a sample.
const SAMPLE_OBJECTS: usize = 10_000;

/// The first objects of a file, or of several.
#[derive(Debug, Default)]
pub(crate) struct JsonHead {
    /// The keys of the objects, in the order they were met, and what their values are.
    pub(crate) columns: Vec<(String, Kind)>,
    /// Objects of the sample and their bytes.
    pub(crate) objects: usize,
    pub(crate) bytes: usize,
    /// Why there is no object, where that is clear.
    pub(crate) oddity: Option<Oddity>,
}

/// What a file without objects has instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Oddity {
    EmptyArray,
    /// The first object does not end on its line.
    SeveralLines,
}

/// Whether the first byte that is not space begins an array.
pub(crate) fn is_json_array(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    bytes.trim_ascii_start().first() == Some(&b'[')
}

/// Reads the head of a file: `bytes`, which are `all` of it or a first part.
pub(crate) fn read_json_head(bytes: &[u8], all: bool, is_array: bool) -> JsonHead {
    let mut reader = ObjectReader::new(is_array, 1);
    reader.push(bytes);
    reader.skip_byte_order_mark();
    if all {
        reader.end();
    }
    let mut head = JsonHead::default();
    let mut kind = Kind::Nothing;
    while head.objects < SAMPLE_OBJECTS {
        match reader.next() {
            Next::Object(span) => {
                // What is not an object becomes a bad row when it is read.
                let value = serde_json::from_slice::<&RawValue>(&reader.data()[span.start..span.end]);
                if let Ok(object @ Kind::Object(_)) = value.map(|value| Kind::of_json(value.get())) {
                    kind = kind.and(object);
                    head.objects += 1;
                    head.bytes += span.end - span.start + 1;
                }
            }
            Next::Broken { .. } => {}
            Next::NeedInput | Next::End => break,
        }
    }
    if let Kind::Object(columns) = kind {
        head.columns = columns.into_iter().collect();
    }
    if head.objects == 0 {
        head.oddity = oddity_of(bytes, is_array);
    }
    head
}

fn oddity_of(bytes: &[u8], is_array: bool) -> Option<Oddity> {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii();
    if is_array {
        return (text.strip_prefix(b"[")?.trim_ascii_start() == b"]").then_some(Oddity::EmptyArray);
    }
    let line = text.split(|&byte| byte == b'\n').next()?;
    let goes_on = |error: serde_json::Error| error.is_eof() && line.starts_with(b"{") && line.len() < text.len();
    serde_json::from_slice::<&RawValue>(line).is_err_and(goes_on).then_some(Oddity::SeveralLines)
}

impl JsonHead {
    /// What two heads say together.
    pub(crate) fn and(self, other: Self) -> Self {
        let object = |columns: Vec<(String, Kind)>| Kind::Object(columns.into_iter().collect());
        let columns = match object(self.columns).and(object(other.columns)) {
            Kind::Object(columns) => columns.into_iter().collect(),
            _ => Vec::new(),
        };
        Self {
            columns,
            objects: self.objects + other.objects,
            bytes: self.bytes + other.bytes,
            oddity: self.oddity.or(other.oddity),
        }
    }

    /// Bytes of a row, on average.
    pub(crate) fn row_bytes(&self) -> u32 {
        const GUESS: usize = 200;
        let average = self.bytes.checked_div(self.objects).unwrap_or(GUESS);
        u32::try_from(average.max(1)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_arrays_give_the_same_columns() {
        let lines = b"{\"a\":1,\"b\":\"x\"}\nnonsense\n{\"a\":2.5,\"c\":null}\n{\"a\":";
        let array = b" [{\"a\":1,\"b\":\"x\"},\n{\"a\":2.5,\"c\":null}, {\"a\"";
        assert!(!is_json_array(lines) && is_json_array(array));
        for (bytes, is_array) in [(&lines[..], false), (&array[..], true)] {
            let head = read_json_head(bytes, false, is_array);
            let expected = [("a", Kind::Double), ("b", Kind::Text), ("c", Kind::Nothing)];
            assert_eq!(head.columns, expected.map(|(name, kind)| (name.to_owned(), kind)));
            assert_eq!(head.objects, 2);
        }
    }
}
