//! CSV records to batches: records are cut a chunk at a time, then parsed column by column.

use arrow::error::ArrowError;

use super::dialect::Dialect;
use super::records::{FieldForm, FieldSpan, Next, RecordReader, RecordSpan};
use crate::error::PlanError;
use crate::source::columns::{Cell, Fault};
use crate::source::rows::{BadRow, Decoded, Decoder, RowBuilder, Shape};

/// Records that are cut before any is parsed: enough to parse by column, few enough to stay in the cache.
const CHUNK_RECORDS: usize = 1024;

/// Which field of a record is which column.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct CsvLayout {
    /// Fields of each record.
    pub(crate) fields: u32,
    /// For each column of the table, its field.
    pub(crate) columns: Vec<u32>,
}

/// Where a decoder begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CsvStart {
    /// The line of the file that its first byte is on.
    pub(crate) line: u64,
    /// Its first byte is the file's, so that a byte order mark may come.
    pub(crate) at_file_start: bool,
    /// The first record names the columns.
    pub(crate) skip_header: bool,
}

/// Turns the bytes of a CSV file or of a range of one into batches.
pub(crate) struct CsvDecoder {
    reader: RecordReader,
    dialect: Dialect,
    fields_per_record: u32,
    /// Fields of each record that are remembered: up to the last one that is read.
    kept_fields: usize,
    /// For each column that is read, its field.
    read_fields: Vec<usize>,
    rows: RowBuilder,
    start: CsvStart,
    fields: Vec<FieldSpan>,
    records: Vec<RecordSpan>,
    unescaped: Vec<Vec<u8>>,
}

impl CsvDecoder {
    /// A decoder of records laid out as `layout` says.
    pub(crate) fn new(dialect: Dialect, layout: &CsvLayout, shape: &Shape, start: CsvStart) -> Result<Self, PlanError> {
        let read_fields: Vec<usize> =
            shape.read_columns().into_iter().map(|column| layout.columns[column] as usize).collect();
        Ok(Self {
            reader: RecordReader::new(dialect, start.line).with_empty_lines(layout.fields == 1),
            dialect,
            fields_per_record: layout.fields,
            kept_fields: read_fields.iter().max().map_or(0, |last| last + 1),
            read_fields,
            rows: RowBuilder::new(shape)?,
            start,
            fields: Vec::new(),
            records: Vec::new(),
            unescaped: Vec::new(),
        })
    }

    /// Cuts up to a chunk of records and adds them to the columns; says what stopped it.
    fn add_chunk(&mut self) -> Next {
        self.fields.clear();
        self.records.clear();
        self.unescaped.clear();
        let wanted = self.rows.room().min(CHUNK_RECORDS);
        let mut stopped = Next::NeedInput;
        while self.records.len() < wanted {
            stopped = self.reader.next(&mut self.fields, self.kept_fields);
            match &mut stopped {
                Next::Record(record) if self.start.skip_header && record.start == record.end => self.fields.clear(),
                Next::Record(record) if std::mem::take(&mut self.start.skip_header) => {
                    debug_assert!(record.fields > 0);
                    self.fields.clear();
                }
                Next::Record(record) if record.fields == self.fields_per_record => self.records.push(*record),
                Next::Record(record) => {
                    let record = *record;
                    self.add_ragged(record);
                }
                Next::Broken { line, raw, closed } => {
                    let (line, raw, closed) = (*line, std::mem::take(raw), *closed);
                    self.add_broken(line, &raw, closed);
                }
                Next::NeedInput | Next::End => break,
            }
        }
        self.resolve_escapes();
        self.parse_chunk();
        stopped
    }

    fn add_ragged(&mut self, record: RecordSpan) {
        let kept = self.records.len() * self.kept_fields;
        if self.rows.keeps_bad_rows() {
            self.fields.resize(kept + self.kept_fields, FieldSpan { start: 0, end: 0, form: FieldForm::Plain });
            self.records.push(record);
            return;
        }
        self.fields.truncate(kept);
        let reason = format!("{} fields instead of {}", record.fields, self.fields_per_record);
        let raw = &self.reader.data()[record.start as usize..record.end as usize];
        self.rows.push_bad(BadRow::whole(record.line, reason, raw));
    }

    fn add_broken(&mut self, line: u64, raw: &[u8], closed: bool) {
        if self.rows.keeps_bad_rows() {
            self.add_ragged(RecordSpan { start: 0, end: 0, line, fields: 0 });
            return;
        }
        let reason = if closed { "the record is too long" } else { "a quote is never closed" };
        self.rows.push_bad(BadRow::whole(line, reason, raw));
    }

    /// Puts the content of fields with quotes inside where cells can borrow it.
    fn resolve_escapes(&mut self) {
        let data = self.reader.data();
        for span in self.fields.iter_mut().filter(|span| span.form == FieldForm::Escaped) {
            let content = self.dialect.unescape(&data[span.start as usize..span.end as usize]);
            span.start = self.unescaped.len() as u32;
            self.unescaped.push(content);
        }
    }

    fn parse_chunk(&mut self) {
        let (Some(first), Some(last)) = (self.records.first(), self.records.last()) else { return };
        let data = self.reader.data();
        let (from, to) = (first.start as usize, (last.end as usize).max(first.start as usize));
        // Fields end at ASCII bytes, so that text which is UTF-8 as a whole is UTF-8 in each of them.
        let text = std::str::from_utf8(&data[from..to]).ok();
        let (fields, stride, unescaped) = (&self.fields, self.kept_fields, &self.unescaped);
        let cell = |row: usize, field: usize| -> Cell<'_> {
            let span = fields[row * stride + field];
            let (start, end) = (span.start as usize, span.end as usize);
            match span.form {
                FieldForm::Escaped => Cell { text: &unescaped[start], utf8: None, quoted: true },
                form => Cell {
                    text: &data[start..end],
                    utf8: text.and_then(|text| text.get(start.wrapping_sub(from)..end.wrapping_sub(from))),
                    quoted: form == FieldForm::Quoted,
                },
            }
        };
        let rows = self.records.len();
        let mut faults: Vec<(usize, usize, Fault)> = Vec::new();
        for (column, (values, &field)) in self.rows.columns().iter_mut().zip(&self.read_fields).enumerate() {
            values.extend((0..rows).map(|row| cell(row, field)), |row, fault| faults.push((row, column, fault)));
        }
        let records = &self.records;
        let describe = |row: usize| (records[row].line, &data[records[row].start as usize..records[row].end as usize]);
        let read_fields = &self.read_fields;
        self.rows.added(rows, faults, describe, |row, column| cell(row, read_fields[column]).text);
    }
}

impl Decoder for CsvDecoder {
    fn push(&mut self, bytes: &[u8]) {
        self.reader.push(bytes);
        // The mark is three bytes, which may come one by one.
        if self.start.at_file_start && self.reader.pending() >= 3 {
            self.start.at_file_start = false;
            self.reader.skip_byte_order_mark();
        }
    }

    fn end(&mut self) {
        self.start.at_file_start = false;
        self.reader.end();
    }

    fn unfinished(&self) -> usize {
        self.reader.pending()
    }

    fn decode(&mut self) -> Result<Decoded, ArrowError> {
        if self.start.at_file_start {
            return Ok(Decoded::NeedInput);
        }
        loop {
            let stopped = self.add_chunk();
            let at_end = stopped == Next::End;
            if let Some((batch, bad)) = self.rows.take(at_end)? {
                return Ok(Decoded::Batch(batch, bad));
            }
            match stopped {
                Next::NeedInput => return Ok(Decoded::NeedInput),
                Next::End => return Ok(Decoded::End),
                Next::Record(_) | Next::Broken { .. } => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::AsArray;
    use arrow::util::pretty::pretty_format_batches;

    use super::*;
    use crate::source::schema::parse_schema;
    use crate::source::spec::OnBadRow;

    fn shape(schema: &str, projection: &[usize], on_bad_row: OnBadRow) -> Shape {
        let table = Arc::new(parse_schema(schema).unwrap());
        Shape { table, projection: projection.to_vec(), on_bad_row, batch_rows: 4 }
    }

    fn decode(text: &[u8], shape: &Shape, piece: usize) -> (String, Vec<(u64, String)>) {
        let columns = shape.table.fields().len() as u32;
        let layout = CsvLayout { fields: columns, columns: (0..columns).collect() };
        let dialect = Dialect { delimiter: b',', quote: Some(b'"') };
        let start = CsvStart { line: 1, at_file_start: true, skip_header: true };
        let mut decoder = CsvDecoder::new(dialect, &layout, shape, start).unwrap();
        let mut pieces = text.chunks(piece);
        let (mut batches, mut bad_rows) = (Vec::new(), Vec::new());
        loop {
            match decoder.decode().unwrap() {
                Decoded::Batch(batch, bad) => {
                    batches.push(batch);
                    bad_rows.extend(bad.into_iter().map(|row| {
                        let column = row.column.map_or(String::new(), |column| format!("{column}: "));
                        (row.line, format!("{column}{} [{}]", row.reason, row.raw))
                    }));
                }
                Decoded::NeedInput => match pieces.next() {
                    Some(piece) => decoder.push(piece),
                    None => decoder.end(),
                },
                Decoded::End => break,
            }
        }
        (pretty_format_batches(&batches).unwrap().to_string(), bad_rows)
    }

    const DIRTY: &str = "\u{feff}id,n,price,at\r\na,1,1.50,2024-01-01 00:00:00\r\n\"b\nb\",x,2,\r\nc,2\r\n,3,4,\n\
                         d,5,\"6\",\"2024-02-02T00:00:00Z\"\ne,,,\n\"f\"\"f\",7,8.125,2024-03-03\ng,1,2,3,4\n\"h,8,9,";
    const SCHEMA: &str = "id string not null, n int, price decimal(6,2), at timestamp";

    #[test]
    fn dirty_rows_are_rejected_with_line_column_reason_and_text() {
        for piece in [1, 5, 4096] {
            let (table, bad) = decode(DIRTY.as_bytes(), &shape(SCHEMA, &[1, 0], OnBadRow::Reject), piece);
            assert_eq!(
                table,
                "+---+-----+\n| n | id  |\n+---+-----+\n| 1 | a   |\n| 5 | d   |\n|   | e   |\n| 7 | f\"f |\n+---+-----+"
            );
            let expected = [
                (3, "n: `x` is not a valid int [\"b\nb\",x,2,]"),
                (5, "2 fields instead of 4 [c,2]"),
                (6, "id: null in a not null column [,3,4,]"),
                (10, "5 fields instead of 4 [g,1,2,3,4]"),
                (11, "a quote is never closed [\"h,8,9,]"),
            ];
            let expected: Vec<_> = expected.map(|(line, text)| (line, text.to_owned())).into();
            assert_eq!(bad, expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn bad_rows_may_be_kept_with_nulls() {
        let schema = "id string, n int, price decimal(6,2), at timestamp";
        let (table, bad) = decode(DIRTY.as_bytes(), &shape(schema, &[0, 1], OnBadRow::Null), 4096);
        assert!(bad.is_empty());
        assert_eq!(table.lines().filter(|line| line.starts_with("| ")).count(), 11, "{table}");
    }

    #[test]
    fn only_columns_that_are_asked_for_can_fail() {
        let (table, bad) = decode(b"a,b\n1,x\n2,y\n", &shape("a int, b int", &[0], OnBadRow::Fail), 4096);
        assert!(bad.is_empty() && table.contains("| 2 |"));
        let (_, bad) = decode(b"a,b\n1,x\n2,y\n", &shape("a int, b int", &[], OnBadRow::Reject), 4096);
        assert_eq!(bad.len(), 2);
    }

    #[test]
    fn rows_are_counted_without_columns() {
        let columns = shape("a int, b int", &[], OnBadRow::Fail);
        let layout = CsvLayout { fields: 2, columns: vec![0, 1] };
        let dialect = Dialect { delimiter: b',', quote: None };
        let start = CsvStart { line: 1, at_file_start: true, skip_header: false };
        let mut decoder = CsvDecoder::new(dialect, &layout, &columns, start).unwrap();
        decoder.push(b"1,2\n3,4\n");
        decoder.end();
        let Decoded::Batch(batch, _) = decoder.decode().unwrap() else { panic!("no batch") };
        assert_eq!((batch.num_rows(), batch.num_columns()), (2, 0));
    }

    #[test]
    fn quoted_empty_text_is_text_and_invalid_utf8_is_named() {
        let (_, bad) =
            decode(b"a,b\n\xff,1\n\"\",2\n,3\n", &shape("a string not null, b int", &[0, 1], OnBadRow::Reject), 4096);
        let bad: Vec<_> = bad.iter().map(|(line, text)| (*line, text.split(" [").next().unwrap())).collect();
        assert_eq!(bad, [(2, "a: invalid UTF-8"), (4, "a: null in a not null column")]);
    }

    #[test]
    fn an_empty_line_is_a_null_where_there_is_one_column() {
        let text = b"\na\nx\n\n\"\"\n\r\n";
        for piece in [1, 100] {
            let (table, bad) = decode(text, &shape("a string", &[0], OnBadRow::Fail), piece);
            assert_eq!(table.lines().filter(|line| line.starts_with("| ")).count(), 5, "{table}");
            assert!(bad.is_empty());
            let (table, bad) = decode(text, &shape("a string not null", &[0], OnBadRow::Reject), piece);
            assert_eq!(table.lines().filter(|line| line.starts_with("| ")).count(), 3, "{table}");
            assert_eq!(bad.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [4, 6]);
        }
        let (table, _) = decode(b"a,b\n\n1,2\n\n", &shape("a int, b int", &[0], OnBadRow::Fail), 100);
        assert_eq!(table.lines().filter(|line| line.starts_with("| ")).count(), 2, "{table}");
    }

    #[test]
    fn long_text_and_every_row_survive_many_chunks() {
        let mut text = String::from("id,n\n");
        for n in 0..5_000 {
            text.push_str(&format!("\"name, number \"\"{n}\"\"\",{n}\r\n"));
        }
        let mut columns = shape("id string, n int", &[0, 1], OnBadRow::Fail);
        columns.batch_rows = 2_000;
        let layout = CsvLayout { fields: 2, columns: vec![0, 1] };
        let start = CsvStart { line: 1, at_file_start: true, skip_header: true };
        let dialect = Dialect { delimiter: b',', quote: Some(b'"') };
        let mut decoder = CsvDecoder::new(dialect, &layout, &columns, start).unwrap();
        let mut pieces = text.as_bytes().chunks(10_000);
        let mut next = 0;
        loop {
            match decoder.decode().unwrap() {
                Decoded::Batch(batch, bad) => {
                    assert!(bad.is_empty());
                    for row in 0..batch.num_rows() {
                        assert_eq!(batch.column(0).as_string_view().value(row), format!("name, number \"{next}\""));
                        next += 1;
                    }
                }
                Decoded::NeedInput => match pieces.next() {
                    Some(piece) => decoder.push(piece),
                    None => decoder.end(),
                },
                Decoded::End => break,
            }
        }
        assert_eq!(next, 5_000);
    }
}
