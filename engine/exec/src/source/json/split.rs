//! Cuts JSON bytes into objects, without looking inside: one per line, or the elements of one array.
//! Owned by a decoder, which pushes bytes and takes whole objects.

use memchr::{memchr, memchr_iter, memchr2};

/// A longer object is bad.
const MAX_OBJECT_BYTES: usize = 16 << 20;
/// Of such an object, this much is kept as its text.
const KEPT_RAW_BYTES: usize = 1 << 10;

/// Where an object is in the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ObjectSpan {
    pub(super) start: usize,
    pub(super) end: usize,
    /// The line of the file it starts on.
    pub(super) line: u64,
}

/// What the next bytes are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Object(ObjectSpan),
    Broken { line: u64, reason: &'static str, raw: Vec<u8> },
    NeedInput,
    End,
}

/// Where in the input the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first byte that is not space.
    ArrayStart,
    /// Where the first element, or the end of the array, begins.
    FirstElement,
    /// Where a further element begins, after a comma.
    Element,
    /// In an element, or in a line.
    Inside,
    AfterArray,
    /// After something that is no array; told once, and the rest is passed over.
    Stray,
}

/// The objects of one byte stream.
#[derive(Debug)]
pub(super) struct ObjectReader {
    is_array: bool,
    state: State,
    data: Vec<u8>,
    /// The first byte of the object that is being read.
    at: usize,
    /// Bytes before this were looked at.
    seen: usize,
    line: u64,
    depth: u32,
    in_string: bool,
    ended: bool,
    /// An object that is too long, being passed over.
    skipped: Option<(u64, Vec<u8>)>,
    max_object_bytes: usize,
}

impl ObjectReader {
    /// A reader whose first byte is on `line` of its file.
    pub(super) fn new(is_array: bool, line: u64) -> Self {
        Self {
            is_array,
            state: if is_array { State::ArrayStart } else { State::Inside },
            data: Vec::new(),
            at: 0,
            seen: 0,
            line,
            depth: 0,
            in_string: false,
            ended: false,
            skipped: None,
            max_object_bytes: MAX_OBJECT_BYTES,
        }
    }

    #[cfg(test)]
    pub(super) fn with_max_object_bytes(mut self, limit: usize) -> Self {
        self.max_object_bytes = limit;
        self
    }

    /// Appends input. Spans handed out before are no longer valid.
    pub(super) fn push(&mut self, block: &[u8]) {
        self.data.drain(..self.at);
        self.seen -= self.at;
        self.at = 0;
        self.data.extend_from_slice(block);
    }

    /// Says that nothing more is pushed.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// Passes over a byte order mark, which only the first bytes of a file can be.
    pub(super) fn skip_byte_order_mark(&mut self) {
        if self.data[self.at..].starts_with(b"\xef\xbb\xbf") {
            self.at += 3;
            self.seen = self.at;
        }
    }

    /// The bytes that spans are about.
    pub(super) fn data(&self) -> &[u8] {
        &self.data
    }

    /// Bytes pushed that no object has used yet.
    pub(super) fn pending(&self) -> usize {
        self.data.len() - self.at
    }

    /// The next object.
    pub(super) fn next(&mut self) -> Next {
        loop {
            let found = match self.state {
                State::Inside => self.object_end(),
                State::ArrayStart | State::FirstElement | State::Element | State::AfterArray | State::Stray => {
                    match self.between() {
                        Some(next) => return next,
                        None => continue,
                    }
                }
            };
            let Some(end) = found else { return self.out_of_data() };
            let (start, line) = (self.at, self.line);
            self.advance(end);
            if let Some((line, raw)) = self.skipped.take() {
                return Next::Broken { line, reason: "the object is too long", raw };
            }
            let text = &self.data[start..end];
            let leading = text.len() - text.trim_ascii_start().len();
            let trimmed = text.trim_ascii();
            if trimmed.is_empty() && !self.is_array {
                continue;
            }
            let line = line + memchr_iter(b'\n', &text[..leading]).count() as u64;
            return Next::Object(ObjectSpan { start: start + leading, end: start + leading + trimmed.len(), line });
        }
    }

    /// Moves past what was read up to `end` and the byte there that ended it.
    fn advance(&mut self, end: usize) {
        let next = (end + 1).min(self.data.len());
        if self.is_array {
            self.state = if self.data.get(end) == Some(&b',') { State::Element } else { State::AfterArray };
        }
        self.line += memchr_iter(b'\n', &self.data[self.at..next]).count() as u64;
        self.at = next;
        self.seen = next;
    }

    /// Passes over space between elements; none when an element begins.
    fn between(&mut self) -> Option<Next> {
        while let Some(&byte) = self.data.get(self.at) {
            match (self.state, byte) {
                (_, b' ' | b'\t' | b'\r') => {}
                (_, b'\n') => self.line += 1,
                (State::ArrayStart, b'[') => self.state = State::FirstElement,
                (State::FirstElement, b']') => self.state = State::AfterArray,
                (State::Element, b']') => {
                    self.state = State::AfterArray;
                    self.at += 1;
                    self.seen = self.at;
                    let reason = "an element is missing after the last comma";
                    return Some(Next::Broken { line: self.line, reason, raw: Vec::new() });
                }
                (State::FirstElement | State::Element, _) => {
                    self.state = State::Inside;
                    self.seen = self.at;
                    return None;
                }
                (State::Stray, _) => {}
                (State::ArrayStart | State::AfterArray | State::Inside, _) => {
                    let rest = &self.data[self.at..];
                    if rest.len() < KEPT_RAW_BYTES && !self.ended {
                        // The same text is told however the bytes come.
                        self.seen = self.at;
                        return Some(Next::NeedInput);
                    }
                    let raw = rest[..rest.len().min(KEPT_RAW_BYTES)].to_vec();
                    self.state = State::Stray;
                    return Some(Next::Broken { line: self.line, reason: "there is text outside of the array", raw });
                }
            }
            self.at += 1;
        }
        self.seen = self.at;
        if self.ended && matches!(self.state, State::FirstElement | State::Element) {
            self.state = State::AfterArray;
            return Some(Next::Broken { line: self.line, reason: "the array is not closed", raw: Vec::new() });
        }
        Some(self.idle())
    }

    fn idle(&self) -> Next {
        if self.ended { Next::End } else { Next::NeedInput }
    }

    fn out_of_data(&mut self) -> Next {
        if self.ended {
            let (line, raw) = (self.line, self.data[self.at..].to_vec());
            self.at = self.data.len();
            self.seen = self.at;
            return match (self.skipped.take(), self.is_array) {
                (Some((line, raw)), _) => Next::Broken { line, reason: "the object is too long", raw },
                (None, true) => {
                    self.state = State::AfterArray;
                    Next::Broken { line, reason: "the array is not closed", raw }
                }
                (None, false) => Next::End,
            };
        }
        if self.skipped.is_some() || self.pending() > self.max_object_bytes {
            let kept = &self.data[self.at..self.data.len().min(self.at + KEPT_RAW_BYTES)];
            self.skipped.get_or_insert_with(|| (self.line, kept.to_vec()));
            self.line += memchr_iter(b'\n', &self.data[self.at..]).count() as u64;
            self.at = self.data.len();
            self.seen = self.at;
        }
        Next::NeedInput
    }

    /// The place after the last byte of the object, if it is here.
    fn object_end(&mut self) -> Option<usize> {
        if self.is_array { self.element_end() } else { self.line_end() }
    }

    fn line_end(&mut self) -> Option<usize> {
        let found = memchr(b'\n', &self.data[self.seen..]).map(|place| self.seen + place);
        self.seen = self.data.len();
        match found {
            None if self.ended && (self.pending() > 0 || self.skipped.is_some()) => Some(self.data.len()),
            found => found,
        }
    }

    fn element_end(&mut self) -> Option<usize> {
        while self.seen < self.data.len() {
            if self.in_string {
                let Some(place) = memchr2(b'"', b'\\', &self.data[self.seen..]) else {
                    self.seen = self.data.len();
                    return None;
                };
                let place = self.seen + place;
                if self.data[place] == b'"' {
                    self.in_string = false;
                    self.seen = place + 1;
                } else if place + 1 < self.data.len() {
                    self.seen = place + 2;
                } else {
                    // What is escaped comes with the next block.
                    self.seen = place;
                    return None;
                }
                continue;
            }
            match self.data[self.seen] {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b',' | b']' if self.depth == 0 => return Some(self.seen),
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            self.seen += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(text: &str, is_array: bool, piece: usize, limit: usize) -> Vec<(u64, String)> {
        let mut reader = ObjectReader::new(is_array, 1).with_max_object_bytes(limit);
        let mut pieces = text.as_bytes().chunks(piece);
        let mut found = Vec::new();
        loop {
            match reader.next() {
                Next::Object(span) => {
                    found.push((span.line, String::from_utf8_lossy(&reader.data()[span.start..span.end]).into_owned()));
                }
                Next::Broken { line, reason, .. } => found.push((line, format!("!{reason}"))),
                Next::NeedInput => match pieces.next() {
                    Some(piece) => reader.push(piece),
                    None => reader.end(),
                },
                Next::End => return found,
            }
        }
    }

    fn check(text: &str, is_array: bool, expected: &[(u64, &str)]) {
        let expected: Vec<_> = expected.iter().map(|(line, text)| (*line, (*text).to_owned())).collect();
        for piece in [1, 2, 3, 7, 1000] {
            assert_eq!(objects(text, is_array, piece, 1 << 20), expected, "{text:?} in pieces of {piece}");
        }
    }

    #[test]
    fn lines_and_elements_are_found_whatever_the_pieces() {
        check("{\"a\":1}\n\r\n  {\"a\":2}  \r\nx", false, &[(1, "{\"a\":1}"), (3, "{\"a\":2}"), (4, "x")]);
        check("", false, &[]);
        check(
            "[\n {\"a\":[1,2]},\n{\"b\":\"},\\\"]\"}\n]\n",
            true,
            &[(2, "{\"a\":[1,2]}"), (3, "{\"b\":\"},\\\"]\"}")],
        );
        check("[]", true, &[]);
        check("  ", true, &[]);
        check("[1,\n2", true, &[(1, "1"), (2, "!the array is not closed")]);
        check("[1,", true, &[(1, "1"), (1, "!the array is not closed")]);
        check("[1]\n x y", true, &[(1, "1"), (2, "!there is text outside of the array")]);
        check("{}", true, &[(1, "!there is text outside of the array")]);
        check("[1,2,\n ]", true, &[(1, "1"), (1, "2"), (2, "!an element is missing after the last comma")]);
        check("[1,,2]", true, &[(1, "1"), (1, ""), (1, "2")]);
    }

    #[test]
    fn objects_that_are_too_long_are_passed_over() {
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(500));
        for piece in [1, 10, 60] {
            let lines = objects(&format!("1\n{long}\n2"), false, piece, 100);
            let expected =
                |last| vec![(1, "1".to_owned()), (2, "!the object is too long".to_owned()), (last, "2".to_owned())];
            assert_eq!(lines, expected(3));
            assert_eq!(objects(&format!("[1,\n{long},\n2]"), true, piece, 100), expected(3));
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics_and_pieces_do_not_matter(text in "[\\[\\]{},\"\\\\a\n ]{0,60}", is_array: bool, piece in 1_usize..10) {
            let whole: Vec<_> = objects(&text, is_array, 1000, 1 << 20);
            let parts = objects(&text, is_array, piece, 1 << 20);
            proptest::prop_assert_eq!(parts, whole);
        }
    }
}
