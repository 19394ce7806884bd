//! Cuts what a process prints into lines. Pure.
//! Invariant: holds less than one line of [`LINE_BYTES`] and a secret, however long the lines are.

use std::sync::Arc;

use super::mask::Mask;

/// Bytes of a line that are kept.
pub const LINE_BYTES: usize = 16 << 10;

/// Who prints.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Tag {
    /// `driver`, or the id of a task or actor.
    pub(crate) task: Arc<str>,
    /// For people.
    pub(crate) name: Arc<str>,
}

/// A line and who printed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) tag: Tag,
    pub(crate) text: String,
}

/// One stream of a process.
#[derive(Debug)]
pub(crate) struct Lines {
    mask: Mask,
    kept_bytes: usize,
    /// The line that has not ended, as far as it is kept.
    open: Vec<u8>,
    /// It was longer than what is kept.
    cut: bool,
    tag: Tag,
}

impl Lines {
    pub(crate) fn new(mask: Mask) -> Self {
        // So that a secret that begins before the cut is known as one.
        let kept_bytes = LINE_BYTES + mask.longest();
        Self { mask, kept_bytes, open: Vec::new(), cut: false, tag: Tag::default() }
    }

    /// Takes what `tag` printed and adds the lines that it ends to `out`. What another one had begun ends before.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], tag: &Tag, out: &mut Vec<Line>) {
        if bytes.is_empty() {
            return;
        }
        if *tag != self.tag {
            // Nobody's line is of who ends it: it was read before it was known whose it is.
            if !self.tag.task.is_empty() {
                self.end(out);
            }
            self.tag = tag.clone();
        }
        while let Some(newline) = memchr::memchr(b'\n', bytes) {
            self.keep(&bytes[..newline]);
            self.finish(out);
            bytes = &bytes[newline + 1..];
        }
        self.keep(bytes);
    }

    /// Adds the line that has not ended, if there is one.
    pub(crate) fn end(&mut self, out: &mut Vec<Line>) {
        if !self.open.is_empty() {
            self.finish(out);
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = self.kept_bytes - self.open.len();
        self.open.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.cut |= bytes.len() > room;
    }

    fn finish(&mut self, out: &mut Vec<Line>) {
        let mut line = std::mem::take(&mut self.open);
        if !self.cut && line.last() == Some(&b'\r') {
            line.pop();
        }
        self.mask.apply(&mut line);
        if std::mem::take(&mut self.cut) {
            // What is cut at the end may be the beginning of a secret.
            line.truncate(line.len().saturating_sub(self.mask.longest()));
        }
        line.truncate(LINE_BYTES);
        let text =
            String::from_utf8(line).unwrap_or_else(|invalid| String::from_utf8_lossy(invalid.as_bytes()).into_owned());
        out.push(Line { tag: self.tag.clone(), text });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outside::JobProgram;

    fn tag(task: &str) -> Tag {
        Tag { task: task.into(), name: "".into() }
    }

    fn lines(secret: &str) -> Lines {
        let program = JobProgram {
            executable: "/bin/true".into(),
            files: None,
            environment: [("KEY".to_owned(), secret.to_owned())].into(),
            secret_names: vec!["KEY".to_owned()],
            job_name: String::new(),
        };
        Lines::new(Mask::new(&program))
    }

    fn texts(lines: &[Line]) -> Vec<(&str, &str)> {
        lines.iter().map(|line| (&*line.tag.task, line.text.as_str())).collect()
    }

    #[test]
    fn lines_end_at_newlines_at_another_task_and_at_the_end() {
        let (mut lines, mut out) = (lines(""), Vec::new());
        lines.feed(b"one\r\ntw", &tag("a"), &mut out);
        lines.feed(b"o\n\npart", &tag("a"), &mut out);
        lines.feed(b"", &tag("c"), &mut out);
        lines.feed(b"\xff\xfe!\n", &tag("b"), &mut out);
        lines.feed(b"end", &tag("b"), &mut out);
        lines.end(&mut out);
        lines.end(&mut out);
        let expected = [("a", "one"), ("a", "two"), ("a", ""), ("a", "part"), ("b", "\u{fffd}\u{fffd}!"), ("b", "end")];
        assert_eq!(texts(&out), expected);
    }

    #[test]
    fn nobodys_line_is_of_who_ends_it() {
        let (mut lines, mut out) = (lines(""), Vec::new());
        lines.feed(b"be", &tag(""), &mut out);
        lines.feed(b"gun\n", &tag("a"), &mut out);
        assert_eq!(texts(&out), [("a", "begun")]);
    }

    #[test]
    fn a_long_line_is_cut_and_costs_no_more_memory() {
        let (mut lines, mut out) = (lines(""), Vec::new());
        for _ in 0..1000 {
            lines.feed(&[b'x'; 10_000], &tag("a"), &mut out);
            assert!(lines.open.len() <= LINE_BYTES);
        }
        lines.feed(b"\nnext\n", &tag("a"), &mut out);
        let lengths: Vec<usize> = out.iter().map(|line| line.text.len()).collect();
        assert_eq!(lengths, [LINE_BYTES, 4]);
    }

    #[test]
    fn a_secret_is_masked_over_pieces_and_at_the_cut() {
        let (mut lines, mut out) = (lines("hunter2"), Vec::new());
        lines.feed(b"key hun", &tag("a"), &mut out);
        lines.feed(b"ter2\n", &tag("a"), &mut out);
        let mut long = vec![b'x'; LINE_BYTES - 4];
        long.extend(b"hunter2 and more\n");
        lines.feed(&long, &tag("a"), &mut out);
        let mut many = b"hunter2".repeat(2400);
        many.extend(b"hunter");
        many.push(b'\n');
        lines.feed(&many, &tag("a"), &mut out);
        assert_eq!(out[0].text, "key ***");
        assert!(out[1..].iter().all(|line| line.text.len() > 5_000 && !line.text.contains("hunt")));
    }
}
