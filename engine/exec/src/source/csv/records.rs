//! Cuts CSV bytes into records and fields, without looking at values.
//! Owned by a decoder, which pushes bytes and takes whole records.
//!
//! The grammar is RFC 4180's, read leniently: a quote opens a field only as its first byte, text after a closing quote
//! belongs to the field, a record ends with LF or CRLF outside of quotes, and an empty line is no record.

use super::dialect::{Dialect, State};
use super::marks::MarkFinder;

/// Marks are found this many bytes ahead, so that they stay in the nearest cache.
const WINDOW: usize = 16 << 10;
/// A longer record is bad: most likely a quote that is never closed.
pub(crate) const MAX_RECORD_BYTES: usize = 16 << 20;

/// Where a field is in the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FieldSpan {
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) form: FieldForm,
}

/// What a field's bytes need before they are its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldForm {
    /// Nothing; it was not in quotes.
    Plain,
    /// Nothing; the span is what was between the quotes.
    Quoted,
    /// Resolving quotes; the span includes them.
    Escaped,
}

/// What the next bytes are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A record; its fields were appended.
    Record(RecordSpan),
    /// A record that is too long or whose quote is never closed; no field was appended.
    Broken { line: u64, raw: Vec<u8>, closed: bool },
    /// Nothing yet: push more, or end the input.
    NeedInput,
    /// Nothing more.
    End,
}

/// Where a record is in the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordSpan {
    pub(crate) start: u32,
    /// Without its line end.
    pub(crate) end: u32,
    /// The line of the file it starts on.
    pub(crate) line: u64,
    /// How many fields it has; `fields` got at most as many as were asked for.
    pub(crate) fields: u32,
}

/// The records of one byte stream.
#[derive(Debug)]
pub(crate) struct RecordReader {
    dialect: Dialect,
    finder: MarkFinder,
    data: Vec<u8>,
    /// The next record's first byte.
    at: usize,
    marks: Vec<u32>,
    next_mark: usize,
    marked_to: usize,
    line: u64,
    ended: bool,
    skip: Option<Skip>,
    keeps_empty_lines: bool,
    max_record_bytes: usize,
}

/// A record that is too long, being passed over.
#[derive(Debug)]
struct Skip {
    line: u64,
    raw: Vec<u8>,
    state: State,
    newlines: u64,
}

impl RecordReader {
    /// A reader whose first byte is on `line` of its file, at the start of a record.
    pub(crate) fn new(dialect: Dialect, line: u64) -> Self {
        Self {
            dialect,
            finder: MarkFinder::new(dialect.delimiter, dialect.quote),
            data: Vec::new(),
            at: 0,
            marks: Vec::new(),
            next_mark: 0,
            marked_to: 0,
            line,
            ended: false,
            skip: None,
            keeps_empty_lines: false,
            max_record_bytes: MAX_RECORD_BYTES,
        }
    }

    /// Takes empty lines for records of one field, which they are where every record has one. Otherwise they are passed over.
    pub(crate) fn with_empty_lines(mut self, keep: bool) -> Self {
        self.keeps_empty_lines = keep;
        self
    }

    #[cfg(test)]
    pub(crate) fn with_max_record_bytes(mut self, limit: usize) -> Self {
        self.max_record_bytes = limit;
        self
    }

    /// Appends input. Spans handed out before are no longer valid.
    pub(crate) fn push(&mut self, block: &[u8]) {
        self.data.drain(..self.at);
        self.at = 0;
        self.rewind();
        self.data.extend_from_slice(block);
    }

    /// Says that nothing more is pushed.
    pub(crate) fn end(&mut self) {
        if !self.ended {
            self.ended = true;
            if self.data.len() > self.at && self.data.last() != Some(&b'\n') {
                self.data.push(b'\n');
            }
        }
    }

    /// Passes over a byte order mark, which only the first bytes of a file can be.
    pub(crate) fn skip_byte_order_mark(&mut self) {
        if self.data[self.at..].starts_with(b"\xef\xbb\xbf") {
            self.at += 3;
            self.rewind();
        }
    }

    /// The bytes that spans are about.
    pub(crate) fn data(&self) -> &[u8] {
        &self.data
    }

    /// Bytes pushed that no record has used yet.
    pub(crate) fn pending(&self) -> usize {
        self.data.len() - self.at
    }

    /// The next record. Its first `limit` fields are appended to `fields`.
    pub(crate) fn next(&mut self, fields: &mut Vec<FieldSpan>, limit: usize) -> Next {
        if self.skip.is_some() {
            return self.continue_skip();
        }
        loop {
            let before = (self.next_mark, fields.len());
            match self.try_record(fields, limit) {
                Some(record) => {
                    if record.end > record.start || self.keeps_empty_lines {
                        return Next::Record(record);
                    }
                    fields.truncate(before.1);
                }
                None => {
                    fields.truncate(before.1);
                    return self.out_of_data();
                }
            }
        }
    }

    fn rewind(&mut self) {
        self.marks.clear();
        self.next_mark = 0;
        self.marked_to = self.at;
    }

    fn out_of_data(&mut self) -> Next {
        let partial = self.data.len() - self.at;
        if self.ended {
            if partial == 0 {
                return Next::End;
            }
            // Only an open quote can keep the last line end from ending its record.
            let raw = self.data[self.at..self.data.len() - 1].to_vec();
            let line = self.line;
            self.at = self.data.len();
            return Next::Broken { line, raw, closed: false };
        }
        if partial <= self.max_record_bytes {
            self.rewind();
            return Next::NeedInput;
        }
        const KEPT: usize = 1 << 10;
        let raw = self.data[self.at..self.at + KEPT.min(partial)].to_vec();
        self.skip = Some(Skip { line: self.line, raw, state: State::FieldStart, newlines: 0 });
        self.continue_skip()
    }

    /// Passes over bytes up to the end of the record that is too long.
    fn continue_skip(&mut self) -> Next {
        let Some(mut skip) = self.skip.take() else { return Next::NeedInput };
        while let Some(&byte) = self.data.get(self.at) {
            self.at += 1;
            skip.newlines += u64::from(byte == b'\n');
            if byte == b'\n' && skip.state != State::Quoted {
                self.line += skip.newlines;
                self.rewind();
                return Next::Broken { line: skip.line, raw: skip.raw, closed: true };
            }
            skip.state = self.dialect.step(skip.state, byte);
        }
        self.rewind();
        if self.ended {
            return Next::Broken { line: skip.line, raw: skip.raw, closed: false };
        }
        self.skip = Some(skip);
        Next::NeedInput
    }

    /// The place of the next mark, if it was pushed yet.
    #[inline]
    fn mark(&mut self) -> Option<usize> {
        if let Some(&mark) = self.marks.get(self.next_mark) {
            self.next_mark += 1;
            return Some(mark as usize);
        }
        self.more_marks()
    }

    #[cold]
    fn more_marks(&mut self) -> Option<usize> {
        while self.marked_to < self.data.len() {
            let to = self.data.len().min(self.marked_to + WINDOW);
            self.marks.clear();
            self.finder.find(&self.data, self.marked_to, to, &mut self.marks);
            self.marked_to = to;
            self.next_mark = 1;
            if let Some(&mark) = self.marks.first() {
                return Some(mark as usize);
            }
        }
        self.next_mark = self.marks.len();
        None
    }

    /// The next record if all of it is here; `at` and `line` move only then.
    fn try_record(&mut self, fields: &mut Vec<FieldSpan>, limit: usize) -> Option<RecordSpan> {
        let start = self.at;
        let mut field_start = start;
        let mut count = 0_usize;
        let mut newlines = 1;
        loop {
            let quoted = self.dialect.quote.is_some_and(|quote| self.data.get(field_start) == Some(&quote));
            let (mut span, mut end, is_last) = if quoted {
                self.quoted_field(field_start, &mut newlines)?
            } else {
                let (end, is_last) = self.field_end()?;
                (FieldSpan { start: field_start as u32, end: end as u32, form: FieldForm::Plain }, end, is_last)
            };
            let after = end + 1;
            if is_last && span.form != FieldForm::Quoted && end > field_start && self.data[end - 1] == b'\r' {
                span.end -= 1;
            }
            if count < limit {
                fields.push(span);
            }
            count += 1;
            if is_last {
                if end > start && self.data[end - 1] == b'\r' {
                    end -= 1;
                }
                let record = RecordSpan { start: start as u32, end: end as u32, line: self.line, fields: count as u32 };
                self.line += newlines;
                self.at = after;
                return Some(record);
            }
            field_start = after;
        }
    }

    /// The delimiter or line end that ends a field outside of quotes, and whether it is a line end.
    #[inline]
    fn field_end(&mut self) -> Option<(usize, bool)> {
        loop {
            let mark = self.mark()?;
            let byte = self.data[mark];
            if byte == b'\n' {
                return Some((mark, true));
            }
            if byte == self.dialect.delimiter {
                return Some((mark, false));
            }
        }
    }

    /// A field that begins with a quote at `start`: its span, its end, and whether it is the record's last.
    fn quoted_field(&mut self, start: usize, newlines: &mut u64) -> Option<(FieldSpan, usize, bool)> {
        let quote = self.dialect.quote?;
        // The opening quote itself.
        self.mark()?;
        let mut escaped = false;
        let close = loop {
            let mark = self.mark()?;
            let byte = self.data[mark];
            if byte == quote {
                // What follows decides between the end and a doubled quote; there is always a line end at last.
                if *self.data.get(mark + 1)? != quote {
                    break mark;
                }
                self.mark()?;
                escaped = true;
            } else if byte == b'\n' {
                *newlines += 1;
            }
        };
        let (end, is_last) = self.field_end()?;
        let clean = end == close + 1 || (is_last && end == close + 2 && self.data[close + 1] == b'\r');
        let span = if clean && !escaped {
            FieldSpan { start: start as u32 + 1, end: close as u32, form: FieldForm::Quoted }
        } else {
            FieldSpan { start: start as u32, end: end as u32, form: FieldForm::Escaped }
        };
        Some((span, end, is_last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIALECT: Dialect = Dialect { delimiter: b',', quote: Some(b'"') };

    /// All records of `text`, pushed in pieces of `piece` bytes, as (line, fields) and, for broken ones, (line, None).
    pub(crate) fn records(text: &[u8], piece: usize, limit: usize) -> Vec<(u64, Option<Vec<Vec<u8>>>)> {
        let mut reader = RecordReader::new(DIALECT, 1).with_max_record_bytes(limit);
        let mut pieces = text.chunks(piece);
        let mut found = Vec::new();
        let mut first = true;
        loop {
            let mut fields = Vec::new();
            match reader.next(&mut fields, usize::MAX) {
                Next::Record(record) => {
                    assert_eq!(record.fields as usize, fields.len());
                    let content = |span: &FieldSpan| {
                        let bytes = &reader.data()[span.start as usize..span.end as usize];
                        if span.form == FieldForm::Escaped { DIALECT.unescape(bytes) } else { bytes.to_vec() }
                    };
                    found.push((record.line, Some(fields.iter().map(content).collect())));
                }
                Next::Broken { line, .. } => found.push((line, None)),
                Next::NeedInput => match pieces.next() {
                    Some(piece) => {
                        reader.push(piece);
                        if std::mem::take(&mut first) {
                            reader.skip_byte_order_mark();
                        }
                    }
                    None => reader.end(),
                },
                Next::End => return found,
            }
        }
    }

    fn shown(text: &str, piece: usize) -> String {
        let show = |(line, fields): (u64, Option<Vec<Vec<u8>>>)| match fields {
            Some(fields) => {
                let fields: Vec<_> = fields.iter().map(|f| String::from_utf8_lossy(f).into_owned()).collect();
                format!("{line}:{}", fields.join("|"))
            }
            None => format!("{line}:broken"),
        };
        records(text.as_bytes(), piece, 1 << 20).into_iter().map(show).collect::<Vec<_>>().join(";")
    }

    #[test]
    fn records_and_lines_do_not_depend_on_how_input_comes() {
        for (text, expected) in [
            ("a,b\nc,d\n", "1:a|b;2:c|d"),
            ("a,b\r\nc,d", "1:a|b;2:c|d"),
            ("\n\r\na\n\nb\n", "3:a;5:b"),
            ("a,\n,b\n,\n", "1:a|;2:|b;3:|"),
            ("\"a,b\",\"c\"\"d\"\r\n\"x\ny\",z\nw,\"\"\n", "1:a,b|c\"d;2:x\ny|z;4:w|"),
            ("a\"b,c\" d\n\"q\"tail,\"q\"\" r\"s\n", "1:a\"b|c\" d;2:qtail|q\" rs"),
            ("\"\"\"\",\"\"\"x\"\n", "1:\"|\"x"),
            ("a\n\"open\nb,c", "1:a;2:broken"),
            ("", ""),
            ("x", "1:x"),
            ("\"x\"", "1:x"),
        ] {
            for piece in [1, 2, 3, 7, 1000] {
                assert_eq!(shown(text, piece), expected, "{text:?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn empty_lines_may_be_records() {
        for piece in [1, 2, 100] {
            let mut reader = RecordReader::new(DIALECT, 1).with_empty_lines(true);
            let mut pieces = "\na\n\r\n\"\"\n\n".as_bytes().chunks(piece);
            let (mut fields, mut lines) = (Vec::new(), Vec::new());
            loop {
                match reader.next(&mut fields, usize::MAX) {
                    Next::Record(record) => lines.push((record.line, record.end - record.start)),
                    Next::NeedInput => match pieces.next() {
                        Some(piece) => reader.push(piece),
                        None => reader.end(),
                    },
                    Next::Broken { .. } => panic!("nothing is broken"),
                    Next::End => break,
                }
            }
            assert_eq!(lines, [(1, 0), (2, 1), (3, 0), (4, 2), (5, 0)], "in pieces of {piece}");
            let forms: Vec<FieldForm> = fields.iter().map(|field| field.form).collect();
            let quoted = forms.iter().position(|form| *form == FieldForm::Quoted);
            assert_eq!((forms.len(), quoted), (5, Some(3)));
        }
    }

    #[test]
    fn a_record_that_is_too_long_is_passed_over_with_its_lines_counted() {
        let long = format!("a\nb,\"{}\n\n\"\"x\"\nc\n", "y".repeat(500));
        for piece in [1, 10, 64, 10_000] {
            let found = records(long.as_bytes(), piece, 100);
            let lines: Vec<_> = found.iter().map(|(line, fields)| (*line, fields.is_some())).collect();
            // A block that holds all of a record is not bounded by the limit, only by its own size.
            let fits = piece > long.len();
            assert_eq!(lines, [(1, true), (2, fits), (5, true)], "in pieces of {piece}");
        }
        let open = format!("a\n\"{}", "y\n".repeat(500));
        assert_eq!(records(open.as_bytes(), 10, 100).last().map(|(line, f)| (*line, f.is_some())), Some((2, false)));
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_the_csv_crate(text in "([a-c,\"\"\n]|\r\n){0,60}", piece in 1_usize..20) {
            let mut oracle = ::csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
            let mut expected: Vec<Vec<Vec<u8>>> =
                oracle.byte_records().map(|r| r.unwrap().iter().map(<[u8]>::to_vec).collect()).collect();
            let mut found: Vec<Option<Vec<Vec<u8>>>> =
                records(text.as_bytes(), piece, 1 << 20).into_iter().map(|(_, fields)| fields).collect();
            if found.last() == Some(&None) {
                // The oracle takes what there is of a record whose quote is never closed.
                found.pop();
                expected.pop();
            }
            let found: Vec<Vec<Vec<u8>>> = found.into_iter().map(|fields| fields.expect("only the last is broken")).collect();
            proptest::prop_assert_eq!(found, expected);
        }

        #[test]
        fn no_bytes_panic_and_pieces_do_not_matter(text in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200), piece in 1_usize..50) {
            proptest::prop_assert_eq!(records(&text, piece, 1 << 20), records(&text, 1000, 1 << 20));
        }
    }
}
