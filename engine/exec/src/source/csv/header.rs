//! What the head of a CSV file says: names of columns, their order, and, from a sample of records, their types.

use std::collections::{HashMap, HashSet};

use datafusion::common::utils::datafusion_strsim::levenshtein;

use super::decoder::CsvLayout;
use super::dialect::{Dialect, State};
use super::records::{FieldForm, FieldSpan, Next, RecordReader};
use crate::source::infer::Kind;

/// Records of a sample.
const SAMPLE_RECORDS: usize = 20_000;

/// The first records of a file.
#[derive(Debug, Default)]
pub(crate) struct CsvHead {
    /// The cells of the first record.
    pub(crate) first: Vec<String>,
    /// What each field of the other records looks like.
    pub(crate) kinds: Vec<Kind>,
    /// Records of the sample and their bytes.
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

/// Why a head says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HeadError {
    /// There is no record at all.
    Empty,
    /// The first record does not end within the sample.
    TooLong,
    /// The first record is not UTF-8.
    Encoding,
    /// Lines end in CR alone, which ends no record.
    LineEnds,
}

/// Reads the head of a file: `bytes`, which are `all` of it or a first part. The first record counts as a header, and not
/// as a row, if `header` says so.
pub(crate) fn read_csv_head(bytes: &[u8], all: bool, dialect: Dialect, header: bool) -> Result<CsvHead, HeadError> {
    // Without a header, a stray CR may be data.
    if (header || !bytes.contains(&b'\n')) && has_bare_cr(bytes, dialect) {
        return Err(HeadError::LineEnds);
    }
    let mut reader = RecordReader::new(dialect, 1);
    reader.push(bytes);
    reader.skip_byte_order_mark();
    if all {
        reader.end();
    }
    let mut fields = Vec::new();
    let first = match reader.next(&mut fields, usize::MAX) {
        Next::Record(_) => cells(&reader, dialect, &fields),
        Next::End => return Err(HeadError::Empty),
        Next::NeedInput | Next::Broken { .. } => return Err(HeadError::TooLong),
    };
    let names: Result<Vec<String>, _> = first.iter().map(|cell| String::from_utf8(cell.clone())).collect();
    let mut head = CsvHead { first: names.map_err(|_| HeadError::Encoding)?, ..CsvHead::default() };
    head.kinds.resize(head.first.len(), Kind::Nothing);
    if !header {
        head.add(&first, first.iter().map(Vec::len).sum::<usize>() + first.len());
    }
    while head.records < SAMPLE_RECORDS {
        fields.clear();
        let Next::Record(record) = reader.next(&mut fields, usize::MAX) else { break };
        // A ragged record says nothing about columns.
        if fields.len() == head.first.len() {
            head.add(&cells(&reader, dialect, &fields), (record.end - record.start) as usize + 1);
        }
    }
    Ok(head)
}

impl CsvHead {
    fn add(&mut self, cells: &[Vec<u8>], bytes: usize) {
        for (kind, cell) in self.kinds.iter_mut().zip(cells) {
            *kind = std::mem::take(kind).and(Kind::of_text(cell));
        }
        self.records += 1;
        self.bytes += bytes;
    }

    /// Bytes of a row, on average.
    pub(crate) fn row_bytes(&self) -> u32 {
        const GUESS: usize = 100;
        let average = self.bytes.checked_div(self.records).unwrap_or(GUESS);
        u32::try_from(average.max(1)).unwrap_or(u32::MAX)
    }
}

/// Whether in the first record, outside of quotes, a CR comes before something else than a line end.
fn has_bare_cr(bytes: &[u8], dialect: Dialect) -> bool {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
    let mut state = State::FieldStart;
    for pair in bytes[start..].windows(2) {
        match (state, pair) {
            (State::Quoted, _) => {}
            (_, [b'\n', _]) => return false,
            // In UTF-16, which is refused for that, a zero follows.
            (_, [b'\r', next]) if !matches!(next, b'\r' | b'\n' | 0) => return true,
            _ => {}
        }
        state = dialect.step(state, pair[0]);
    }
    false
}

fn cells(reader: &RecordReader, dialect: Dialect, fields: &[FieldSpan]) -> Vec<Vec<u8>> {
    let cell = |span: &FieldSpan| {
        let bytes = &reader.data()[span.start as usize..span.end as usize];
        if span.form == FieldForm::Escaped { dialect.unescape(bytes) } else { bytes.to_vec() }
    };
    fields.iter().map(cell).collect()
}

/// Where `columns` are in files with this header; else the first column that is not there.
pub(crate) fn layout_of<'a>(header: &[String], columns: impl Iterator<Item = &'a str>) -> Result<CsvLayout, &'a str> {
    let loosely = |name: &str| name.trim().to_ascii_lowercase();
    // From the last to the first, so that the first of equal names stays.
    let places = || header.iter().enumerate().rev();
    let exact: HashMap<&str, u32> = places().map(|(place, name)| (name.as_str(), place as u32)).collect();
    let loose: HashMap<String, u32> = places().map(|(place, name)| (loosely(name), place as u32)).collect();
    let find = |name: &'a str| exact.get(name).or_else(|| loose.get(&loosely(name))).copied().ok_or(name);
    Ok(CsvLayout { fields: header.len() as u32, columns: columns.map(find).collect::<Result<_, _>>()? })
}

/// The name in `header` that is most like `name`.
pub(crate) fn nearest<'a>(name: &str, header: &'a [String]) -> Option<&'a str> {
    header.iter().min_by_key(|other| distance(name, other)).map(|name| name.trim())
}

/// The name in `others` that `name` is most likely meant to be, if it is like one.
pub(crate) fn misspelt<'a>(name: &str, others: &'a [String]) -> Option<&'a str> {
    nearest(name, others).filter(|other| distance(name, other) * 4 <= name.chars().count())
}

fn distance(name: &str, other: &str) -> usize {
    levenshtein(&name.to_lowercase(), &other.trim().to_lowercase())
}

/// Names for the columns of a file: those of the header, told apart, or `column_1`, `column_2`, ….
pub(crate) fn column_names(first: &[String], header: bool) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(first.len());
    let mut taken = HashSet::with_capacity(first.len());
    let mut numbers: HashMap<String, usize> = HashMap::new();
    for (place, cell) in first.iter().enumerate() {
        let wanted = match cell.trim() {
            name if header && !name.is_empty() => name.to_owned(),
            _ => format!("column_{}", place + 1),
        };
        let mut name = wanted.clone();
        while !taken.insert(name.clone()) {
            let number = numbers.entry(wanted.clone()).or_insert(1);
            *number += 1;
            name = format!("{wanted}_{number}");
        }
        names.push(name);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIALECT: Dialect = Dialect { delimiter: b',', quote: Some(b'"') };

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_head_gives_names_types_and_a_row_size() {
        let head = read_csv_head(b"\xef\xbb\xbfid,\"na\"\"me\"\n1,x\n2,y\n,\nbad\n", true, DIALECT, true).unwrap();
        assert_eq!(head.first, ["id", "na\"me"]);
        assert_eq!(head.kinds, [Kind::Integer, Kind::Text]);
        assert_eq!((head.records, head.row_bytes()), (3, 3));
        let head = read_csv_head(b"1,x\n2", false, DIALECT, false).unwrap();
        assert_eq!((head.records, head.kinds[0].clone()), (1, Kind::Integer));
        assert_eq!(read_csv_head(b"\n\n", true, DIALECT, true).unwrap_err(), HeadError::Empty);
        assert_eq!(read_csv_head(b"a,b", false, DIALECT, true).unwrap_err(), HeadError::TooLong);
        assert_eq!(read_csv_head(b"\"a,b", true, DIALECT, true).unwrap_err(), HeadError::TooLong);
        assert_eq!(read_csv_head(b"a,\xff\n", true, DIALECT, true).unwrap_err(), HeadError::Encoding);
    }

    #[test]
    fn lines_that_end_in_cr_alone_are_refused() {
        let read = |text: &str, header| read_csv_head(text.as_bytes(), true, DIALECT, header).map(|head| head.first);
        for text in ["a,b\r1,x\r2,y\r", "\u{feff}\r\"a\nb\",b\r1,x\n", "a,b\r1,\"x"] {
            assert_eq!(read(text, true), Err(HeadError::LineEnds), "{text:?}");
        }
        assert_eq!(read("1,x\r2,y\r", false), Err(HeadError::LineEnds));
        for text in ["\"a\rb\",c\r\n1,x\ry\n", "a,b\r", "a,b\r\r\n1,x\r\r\n", "a,b\r\0\n\0"] {
            assert_eq!(read(text, true).unwrap().len(), 2, "{text:?}");
        }
        assert_eq!(read("1,x\ry\n2,z\n", false).unwrap(), ["1", "x\ry"]);
    }

    #[test]
    fn columns_are_found_by_name_and_missing_ones_named() {
        let header = owned(&["Event_ID", " quantity ", "id"]);
        assert_eq!(layout_of(&header, ["id", "event_id", "quantity"].into_iter()).unwrap().columns, [2, 0, 1]);
        assert_eq!(layout_of(&header, ["id", "quantiy"].into_iter()), Err("quantiy"));
        assert_eq!(nearest("quantiy", &header), Some("quantity"));
    }

    #[test]
    fn names_are_told_apart() {
        assert_eq!(column_names(&owned(&["a", "", "a", "a_2"]), true), ["a", "column_2", "a_2", "a_2_2"]);
        assert_eq!(column_names(&owned(&["1", "2"]), false), ["column_1", "column_2"]);
        let same = vec!["x".to_owned(); 100_000];
        let names = column_names(&same, true);
        assert_eq!((names[0].as_str(), names[99_999].as_str()), ("x", "x_100000"));
        assert_eq!(layout_of(&names, names.iter().map(String::as_str)).unwrap().columns[99_999], 99_999);
    }
}
