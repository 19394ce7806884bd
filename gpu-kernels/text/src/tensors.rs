//! Named arrays and text in one file, in the form of safetensors, so that other tools can read it.
//!
//! ```text
//! 8 bytes: length n, little-endian │ n bytes: JSON, {"__metadata__": {key: text}, name: {dtype, shape, data_offsets}} │ data
//! ```
//!
//! Source of the form: <https://github.com/huggingface/safetensors>. The same content gives the same bytes, and an error names the array
//! that is wrong; the crate of that name, which reads what is written here, promises neither.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Bytes that the header may have.
const HEADER_LIMIT: usize = 1 << 20;
const METADATA: &str = "__metadata__";

/// The content of a file.
#[derive(Debug, Default)]
pub(crate) struct Tensors {
    text: BTreeMap<String, String>,
    arrays: BTreeMap<String, Array>,
}

#[derive(Debug)]
struct Array {
    dtype: String,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

/// What is wrong with which part of a model or of counts that were read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct Malformed {
    /// The part.
    pub key: String,
    /// What is wrong with it.
    pub problem: String,
}

pub(crate) fn malformed(key: &str, problem: impl Into<String>) -> Malformed {
    Malformed { key: key.to_owned(), problem: problem.into() }
}

impl Tensors {
    pub(crate) fn put_text(&mut self, key: &str, text: &str) {
        self.text.insert(key.to_owned(), text.to_owned());
    }

    pub(crate) fn put_numbers(&mut self, key: &str, shape: &[usize], values: &[f64]) {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.put(key, "F64", shape, bytes);
    }

    pub(crate) fn put_counts(&mut self, key: &str, shape: &[usize], values: impl Iterator<Item = u64>) {
        self.put(key, "U64", shape, values.flat_map(u64::to_le_bytes).collect());
    }

    /// Puts strings as two arrays: their bytes, and where each ends.
    pub(crate) fn put_strings<'a>(&mut self, key: &str, strings: impl Iterator<Item = &'a str>) {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for string in strings {
            bytes.extend_from_slice(string.as_bytes());
            ends.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        }
        self.put(&format!("{key}.ends"), "U64", &[ends.len() / 8], ends);
        self.put(&format!("{key}.bytes"), "U8", &[bytes.len()], bytes);
    }

    fn put(&mut self, key: &str, dtype: &str, shape: &[usize], bytes: Vec<u8>) {
        let array = Array { dtype: dtype.to_owned(), shape: shape.to_vec(), bytes };
        self.arrays.insert(key.to_owned(), array);
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut header = serde_json::Map::new();
        header.insert(METADATA.to_owned(), serde_json::json!(self.text));
        let mut end = 0;
        for (key, array) in &self.arrays {
            let data_offsets = [end, end + array.bytes.len()];
            let entry = Entry { dtype: array.dtype.clone(), shape: array.shape.clone(), data_offsets };
            header.insert(key.clone(), serde_json::json!(entry));
            end = data_offsets[1];
        }
        let mut header = serde_json::Value::Object(header).to_string();
        // Numbers begin at multiples of 8 bytes as far as their length allows.
        header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend_from_slice(header.as_bytes());
        self.arrays.values().for_each(|array| file.extend_from_slice(&array.bytes));
        file
    }

    pub(crate) fn decode(file: &[u8]) -> Result<Self, Malformed> {
        let short = || malformed("header", format!("the file has {} bytes and ends before it", file.len()));
        let (length, rest) = file.split_first_chunk::<8>().ok_or_else(short)?;
        let length = u64::from_le_bytes(*length);
        let length = usize::try_from(length).ok().filter(|length| *length <= HEADER_LIMIT);
        let length = length.ok_or_else(|| malformed("header", format!("it is longer than {HEADER_LIMIT} bytes")))?;
        let (header, data) = rest.split_at_checked(length).ok_or_else(short)?;
        let header: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(header).map_err(|error| malformed("header", error.to_string()))?;
        let mut tensors = Self::default();
        for (key, value) in header {
            if key == METADATA {
                tensors.text = serde_json::from_value(value).map_err(|error| malformed(&key, error.to_string()))?;
            } else {
                let array = array(&key, value, data)?;
                tensors.arrays.insert(key, array);
            }
        }
        Ok(tensors)
    }

    pub(crate) fn text(&self, key: &str) -> Result<&str, Malformed> {
        self.text.get(key).map(String::as_str).ok_or_else(|| malformed(key, "it is missing"))
    }

    /// Text that is one of a few.
    pub(crate) fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Result<T, Malformed> {
        let text = self.text(key)?;
        let found = choices.iter().find(|(name, _)| *name == text);
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        found
            .map(|(_, value)| *value)
            .ok_or_else(|| malformed(key, format!("it is {text:?}, expected {}", names.join(" or "))))
    }

    /// Numbers of a shape, each of which must pass `good`.
    pub(crate) fn numbers(
        &self,
        key: &str,
        shape: &[usize],
        good: impl Fn(f64) -> bool,
        expected: &str,
    ) -> Result<Vec<f64>, Malformed> {
        let array = self.shaped(key, "F64", shape)?;
        let values: Vec<f64> = array.bytes.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
        match values.iter().position(|value| !good(*value)) {
            Some(at) => Err(malformed(key, format!("number {at} is {}, expected {expected}", values[at]))),
            None => Ok(values),
        }
    }

    /// Counts of a shape.
    pub(crate) fn counts(&self, key: &str, shape: &[usize]) -> Result<Vec<u64>, Malformed> {
        let array = self.shaped(key, "U64", shape)?;
        Ok(array.bytes.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect())
    }

    pub(crate) fn strings(&self, key: &str) -> Result<Vec<&str>, Malformed> {
        let (ends_key, bytes_key) = (format!("{key}.ends"), format!("{key}.bytes"));
        let (ends, bytes) = (self.array(&ends_key, "U64")?, self.array(&bytes_key, "U8")?);
        let all = std::str::from_utf8(&bytes.bytes).map_err(|error| malformed(&bytes_key, error.to_string()))?;
        let mut start = 0;
        let mut next = |(at, end): (usize, &[u8; 8])| {
            let end = usize::try_from(u64::from_le_bytes(*end)).unwrap_or(usize::MAX);
            let string = all.get(start..end);
            start = end;
            string.ok_or_else(|| {
                malformed(&ends_key, format!("string {at} does not end at a character at or after its start"))
            })
        };
        ends.bytes.as_chunks::<8>().0.iter().enumerate().map(&mut next).collect()
    }

    /// Strings that must be in ascending order, each once.
    pub(crate) fn ascending(&self, key: &str) -> Result<Vec<&str>, Malformed> {
        let strings = self.strings(key)?;
        match strings.windows(2).position(|pair| pair[0] >= pair[1]) {
            Some(at) => Err(malformed(key, format!("string {} is not after the one before it", at + 1))),
            None => Ok(strings),
        }
    }

    fn shaped(&self, key: &str, dtype: &str, shape: &[usize]) -> Result<&Array, Malformed> {
        let array = self.array(key, dtype)?;
        if array.shape != shape {
            return Err(malformed(key, format!("its shape is {:?}, expected {shape:?}", array.shape)));
        }
        Ok(array)
    }

    fn array(&self, key: &str, dtype: &str) -> Result<&Array, Malformed> {
        let array = self.arrays.get(key).ok_or_else(|| malformed(key, "it is missing"))?;
        if array.dtype != dtype {
            return Err(malformed(key, format!("its dtype is {}, expected {dtype}", array.dtype)));
        }
        Ok(array)
    }
}

/// Reads one array, whose dtype must be one of those we write.
fn array(key: &str, entry: serde_json::Value, data: &[u8]) -> Result<Array, Malformed> {
    let entry: Entry = serde_json::from_value(entry).map_err(|error| malformed(key, error.to_string()))?;
    let size = match entry.dtype.as_str() {
        "F64" | "U64" => 8,
        "U8" => 1,
        other => return Err(malformed(key, format!("its dtype is {other:?}, expected F64, U64 or U8"))),
    };
    let bytes = entry.shape.iter().try_fold(size, |product: usize, length| product.checked_mul(*length));
    let [start, end] = entry.data_offsets;
    let found = data.get(start..end).filter(|found| Some(found.len()) == bytes);
    let found = found.ok_or_else(|| {
        malformed(key, format!("bytes {start} to {end} of the data are not its shape {:?}", entry.shape))
    })?;
    Ok(Array { dtype: entry.dtype, shape: entry.shape, bytes: found.to_vec() })
}
