//! Log lines on their way to the coordinator: numbered from 1, kept until they were kept there, bounded. Pure.
//!
//!   kept there │ sent on this stream │ not sent
//!              └ here ───────────────┴─────────

use std::collections::VecDeque;

use tandem_proto::v1::LogLine;

/// Bytes of lines that wait.
const LIMIT_BYTES: usize = 8 << 20;
/// A batch has at most so many lines, and about no more bytes.
const BATCH_LINES: usize = 1024;
const BATCH_BYTES: usize = 256 << 10;
/// What a line takes beside its text.
const LINE_BYTES: usize = 128;

/// See the module's header.
#[derive(Debug, Default)]
pub(super) struct LogBuffer {
    lines: VecDeque<LogLine>,
    bytes: usize,
    /// The number of the last line that was ever added.
    last: u64,
    /// How many of `lines` were sent on this stream.
    sent: usize,
}

impl LogBuffer {
    /// Whether there is room for more lines.
    pub(super) fn has_room(&self) -> bool {
        self.bytes < LIMIT_BYTES
    }

    /// Adds a line.
    pub(super) fn push(&mut self, mut line: LogLine) {
        self.last += 1;
        line.sequence = self.last;
        self.bytes += cost(&line);
        self.lines.push_back(line);
    }

    /// The number of the last line that was added.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// The number of the last line that needs not be sent again.
    pub(super) fn kept(&self) -> u64 {
        self.last - self.lines.len() as u64
    }

    /// A new stream: all that is here goes over it.
    pub(super) fn opened(&mut self) {
        self.sent = 0;
    }

    /// All lines up to this one are kept there.
    pub(super) fn acknowledge(&mut self, sequence: u64) {
        let gone = sequence.saturating_sub(self.kept());
        let gone = usize::try_from(gone).unwrap_or(usize::MAX).min(self.lines.len());
        self.bytes -= self.lines.drain(..gone).map(|line| cost(&line)).sum::<usize>();
        self.sent = self.sent.saturating_sub(gone);
    }

    /// What is to be sent next; empty if all is sent.
    pub(super) fn next(&mut self) -> Vec<LogLine> {
        let mut bytes = 0;
        let unsent = self.lines.iter().skip(self.sent).take(BATCH_LINES);
        let batch: Vec<LogLine> = unsent
            .take_while(|line| {
                let fits = bytes < BATCH_BYTES;
                bytes += cost(line);
                fits
            })
            .cloned()
            .collect();
        self.sent += batch.len();
        batch
    }
}

fn cost(line: &LogLine) -> usize {
    line.text.len() + LINE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(lines: usize, bytes: usize) -> LogBuffer {
        let mut buffer = LogBuffer::default();
        (0..lines).for_each(|_| buffer.push(LogLine { text: "x".repeat(bytes), ..LogLine::default() }));
        buffer
    }

    fn numbers(batch: &[LogLine]) -> Vec<u64> {
        batch.iter().map(|line| line.sequence).collect()
    }

    #[test]
    fn lines_are_sent_again_until_they_are_kept() {
        let mut buffer = buffer(3, 1);
        assert_eq!(numbers(&buffer.next()), [1, 2, 3]);
        assert!(buffer.next().is_empty());
        buffer.acknowledge(1);
        buffer.push(LogLine::default());
        assert_eq!(numbers(&buffer.next()), [4]);
        buffer.opened();
        assert_eq!(numbers(&buffer.next()), [2, 3, 4]);
        buffer.acknowledge(1);
        buffer.acknowledge(u64::MAX);
        assert_eq!((buffer.kept(), buffer.last(), buffer.bytes), (4, 4, 0));
    }

    #[test]
    fn batches_and_the_whole_are_bounded() {
        let mut buffer = buffer(10, 100 << 10);
        let mut counts = Vec::new();
        loop {
            match buffer.next().len() {
                0 => break,
                count => counts.push(count),
            }
        }
        assert_eq!(counts, [3, 3, 3, 1]);
        assert!(buffer.has_room());
        (0..LIMIT_BYTES / LINE_BYTES).for_each(|_| buffer.push(LogLine::default()));
        assert!(!buffer.has_room());
        buffer.acknowledge(buffer.last());
        assert!(buffer.has_room());
    }
}
