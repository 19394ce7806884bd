//! Splits one big text file into ranges that begin at exact record boundaries, with exact line numbers.
//!
//! Cuts are put after line feeds, so that a range begins either at a record or inside quotes. Each range is scanned once,
//! wherever that is, under both assumptions at once; going through what was learnt of the ranges, in order, then tells which
//! one was true.
//!
//! ```text
//!   file     a,b⏎ c,"d⏎ e",f⏎ g,h⏎
//!   cuts              ▲            the cut is inside quotes, so its range begins at `g`
//! ```

use memchr::{memchr, memchr_iter};
use serde::{Deserialize, Serialize};

use super::dialect::Dialect;

/// Where the records of a range are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordRange {
    /// The first byte of its first record.
    pub(crate) start: u64,
    /// The byte after its last record.
    pub(crate) end: u64,
    /// The line of its first byte.
    pub(crate) line: u64,
}

/// What is known of a range between two cuts once its bytes were looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RangeFacts {
    pub(crate) start: u64,
    pub(crate) end: u64,
    newlines: u64,
    /// Whether it ends inside of quotes if it begins outside of them.
    from_outside: bool,
    /// Whether it ends inside of quotes if it begins inside of them.
    from_inside: bool,
    /// If it begins inside of quotes: where its first record begins, and line feeds before it.
    first_record: Option<(u64, u64)>,
}

/// Looks at the bytes of a range between two cuts.
#[derive(Debug, Clone)]
pub(crate) struct RangeScan {
    quoting: Option<Quoting>,
    at: u64,
    start: u64,
    newlines: u64,
    /// The byte before `at`; a range begins after a line feed.
    previous: u8,
}

/// How quotes open and close under the two assumptions.
#[derive(Debug, Clone)]
struct Quoting {
    quote: u8,
    delimiter: u8,
    from_outside: Side,
    from_inside: Side,
    /// Of `from_inside`: where the first record begins, and line feeds before it.
    first_record: Option<(u64, u64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Inside,
    /// With the place of the quote that closed last, which a quote right after it opens again.
    Outside {
        closed_at: u64,
    },
}

const NEVER: u64 = u64::MAX - 1;
const OUTSIDE: Side = Side::Outside { closed_at: NEVER };

impl RangeScan {
    /// A scan of the range that begins at `start`. Without quotes, every line is a record.
    pub(crate) fn new(quotes: Option<Dialect>, start: u64) -> Self {
        let quoting = quotes.and_then(|dialect| {
            let quote = dialect.quote?;
            let delimiter = dialect.delimiter;
            Some(Quoting { quote, delimiter, from_outside: OUTSIDE, from_inside: Side::Inside, first_record: None })
        });
        Self { quoting, at: start, start, newlines: 0, previous: b'\n' }
    }

    /// Goes on with the range's next bytes.
    pub(crate) fn push(&mut self, mut block: &[u8]) {
        const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
        if self.at == 0 && block.starts_with(BYTE_ORDER_MARK) {
            block = &block[BYTE_ORDER_MARK.len()..];
            self.at += BYTE_ORDER_MARK.len() as u64;
        }
        let Some(&last) = block.last() else { return };
        if let Some(quoting) = &mut self.quoting {
            quoting.push(block, self.at, self.previous, self.newlines);
        }
        self.newlines += memchr_iter(b'\n', block).count() as u64;
        self.at += block.len() as u64;
        self.previous = last;
    }

    /// What all bytes of the range together tell. The next range begins after a line feed, so no quote follows at once.
    pub(crate) fn finish(self) -> RangeFacts {
        let Self { quoting, at, start, newlines, .. } = self;
        let (from_outside, from_inside, first_record) = quoting.map_or((false, false, None), |quoting| {
            (quoting.from_outside == Side::Inside, quoting.from_inside == Side::Inside, quoting.first_record)
        });
        RangeFacts { start, end: at, newlines, from_outside, from_inside, first_record }
    }
}

impl Quoting {
    /// Follows the quotes of `block`, whose first byte is at `offset`, after `previous` and `newlines` line feeds.
    fn push(&mut self, block: &[u8], offset: u64, previous: u8, newlines: u64) {
        let mut after_last = 0;
        for place in memchr_iter(self.quote, block) {
            self.look_for_record(block, after_last..place, offset, newlines);
            let before = if place == 0 { previous } else { block[place - 1] };
            let opens = before == self.delimiter || before == b'\n';
            let at = offset + place as u64;
            self.from_outside = self.from_outside.after_quote(at, opens);
            self.from_inside = self.from_inside.after_quote(at, opens);
            after_last = place + 1;
        }
        self.look_for_record(block, after_last..block.len(), offset, newlines);
    }

    /// A line feed outside of quotes is followed by a record.
    fn look_for_record(&mut self, block: &[u8], between: std::ops::Range<usize>, offset: u64, newlines: u64) {
        if self.first_record.is_some() || self.from_inside == Side::Inside {
            return;
        }
        if let Some(place) = memchr(b'\n', &block[between.clone()]) {
            let after = between.start + place + 1;
            let before = memchr_iter(b'\n', &block[..after]).count() as u64;
            self.first_record = Some((offset + after as u64, newlines + before));
        }
    }
}

impl Side {
    fn after_quote(self, at: u64, opens: bool) -> Self {
        match self {
            Self::Inside => Self::Outside { closed_at: at },
            Self::Outside { closed_at } if closed_at + 1 == at || opens => Self::Inside,
            outside @ Self::Outside { .. } => outside,
        }
    }
}

/// Puts what is known of all ranges of a file, in order, together. A range in which no record begins is none; its bytes
/// belong to the range before it.
pub(crate) fn record_ranges(facts: &[RangeFacts]) -> Vec<Option<RecordRange>> {
    let mut ranges: Vec<Option<RecordRange>> = Vec::with_capacity(facts.len());
    let mut inside = false;
    let mut line = 1;
    for range in facts {
        let first_record = if inside { range.first_record } else { Some((range.start, 0)) };
        let first_record = first_record.filter(|(start, _)| *start < range.end);
        if let Some(last) = ranges.iter_mut().rev().flatten().next() {
            last.end = first_record.map_or(range.end, |(start, _)| start);
        }
        ranges.push(first_record.map(|(start, newlines)| RecordRange { start, end: range.end, line: line + newlines }));
        inside = if inside { range.from_inside } else { range.from_outside };
        line += range.newlines;
    }
    ranges
}

/// Where a range that is to begin at about `wanted` is cut, given the bytes from there on: after the first line feed.
pub(crate) fn cut_after(wanted: u64, bytes: &[u8]) -> Option<u64> {
    memchr(b'\n', bytes).map(|place| wanted + place as u64 + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::source::csv::records::{FieldForm, Next, RecordReader};

    const DIALECT: Dialect = Dialect { delimiter: b',', quote: Some(b'"') };

    type Records = Vec<(u64, Vec<Vec<u8>>)>;

    /// The records of `text[range]` with their lines; one that is never closed is without fields.
    fn read(text: &[u8], range: RecordRange) -> Records {
        let mut reader = RecordReader::new(DIALECT, range.line);
        reader.push(&text[range.start as usize..range.end as usize]);
        if range.start == 0 {
            reader.skip_byte_order_mark();
        }
        reader.end();
        let mut records = Vec::new();
        loop {
            let mut fields = Vec::new();
            match reader.next(&mut fields, usize::MAX) {
                Next::Record(record) => {
                    let field = |span: &crate::source::csv::records::FieldSpan| {
                        let bytes = &reader.data()[span.start as usize..span.end as usize];
                        if span.form == FieldForm::Escaped { DIALECT.unescape(bytes) } else { bytes.to_vec() }
                    };
                    records.push((record.line, fields.iter().map(field).collect()));
                }
                Next::Broken { line, .. } => records.push((line, Vec::new())),
                Next::NeedInput | Next::End => return records,
            }
        }
    }

    /// The ranges of `text`, asked for at `wanted`, scanned in blocks of `block` bytes.
    fn split(text: &[u8], wanted: &[usize], block: usize) -> Vec<RecordRange> {
        let mut cuts = vec![0];
        for &place in wanted {
            let place = place.min(text.len());
            cuts.push(cut_after(place as u64, &text[place..]).unwrap_or(text.len() as u64) as usize);
        }
        cuts.push(text.len());
        cuts.sort_unstable();
        cuts.dedup();
        let scan = |range: &[usize]| {
            let mut scan = RangeScan::new(Some(DIALECT), range[0] as u64);
            // The first block holds a byte order mark whole, as blocks of files do.
            let mut at = range[0];
            while at < range[1] {
                let to = range[1].min(at + if at == 0 { block.max(3) } else { block });
                scan.push(&text[at..to]);
                at = to;
            }
            scan.finish()
        };
        record_ranges(&cuts.windows(2).map(scan).collect::<Vec<_>>()).into_iter().flatten().collect()
    }

    fn check(text: &[u8], wanted: &[usize], block: usize) {
        let whole = read(text, RecordRange { start: 0, end: text.len() as u64, line: 1 });
        let ranges = split(text, wanted, block);
        let parts: Records = ranges.iter().flat_map(|&range| read(text, range)).collect();
        assert_eq!(parts, whole, "{:?} cut at {wanted:?}: {ranges:?}", String::from_utf8_lossy(text));
    }

    #[test]
    fn a_cut_inside_quotes_moves_to_the_next_record() {
        let text = b"a,b\nc,\"d\ne\",f\ng,h\n";
        let ranges = split(text, &[5], 4);
        assert_eq!(ranges, [RecordRange { start: 0, end: 14, line: 1 }, RecordRange { start: 14, end: 18, line: 4 }]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn ranges_have_the_records_and_lines_of_the_whole(
            text in "(\u{feff})?([a-b,]|\"|\"\"|\n|\r\n|,\"|\"\n|\",){0,60}",
            wanted in proptest::collection::vec(0_usize..120, 0..6),
            block in 1_usize..30,
        ) {
            check(text.as_bytes(), &wanted, block);
        }
    }
}
