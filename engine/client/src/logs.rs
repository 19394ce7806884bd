//! Reading what the processes of one job said. Owned by whoever reads.
//! Always holds: no line is given twice. The order of lines does not change, so that those that were read already are skipped
//! on a renewed stream.

use std::future::Future;

use tandem_proto::v1::{LogChunk, LogLine, ReadLogsRequest};
use tonic::{Status, Streaming};

use crate::client::Client;
use crate::error::ClientError;
use crate::renewed::{Heard, Renewed, Subscription};

/// The lines of one job, oldest first.
pub struct Logs {
    stream: Renewed<ReadLogsRequest>,
    /// Lines that were given.
    given: u64,
    /// Lines that come again on this stream.
    skipped: u64,
    dropped: u64,
}

/// A line as it is shown among others, `WORKER TASK| text`; with the name of a function or class instead of an id that says nothing.
pub fn line_text(line: &LogLine) -> String {
    let task = if line.task_name.is_empty() { &line.task } else { &line.task_name };
    let space = if task.is_empty() { "" } else { " " };
    format!("{}{space}{task}| {}", line.worker, line.text)
}

impl Subscription for ReadLogsRequest {
    type Message = LogChunk;

    fn subscribe(&self, client: &Client) -> impl Future<Output = Result<Streaming<LogChunk>, Status>> + Send {
        client.subscribe_logs(self.clone())
    }
}

impl Logs {
    pub(crate) async fn start(client: Client, request: ReadLogsRequest) -> Result<Self, ClientError> {
        Ok(Self { stream: Renewed::start(client, request).await?, given: 0, skipped: 0, dropped: 0 })
    }

    /// Lines that the coordinator did not keep, as far as it has said so: the job was over its quota.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The next lines, or none after the last. May be dropped while waiting without losing a line.
    pub async fn next_lines(&mut self) -> Result<Option<Vec<LogLine>>, ClientError> {
        loop {
            match self.stream.next().await? {
                Heard::Message(chunk) => {
                    let lines = self.accept(chunk);
                    if !lines.is_empty() {
                        return Ok(Some(lines));
                    }
                }
                Heard::Again => self.skipped = self.given,
                Heard::End => return Ok(None),
            }
        }
    }

    /// What is new in a chunk.
    fn accept(&mut self, chunk: LogChunk) -> Vec<LogLine> {
        let LogChunk { mut lines, dropped } = chunk;
        self.dropped = dropped;
        let old = usize::try_from(self.skipped).unwrap_or(usize::MAX).min(lines.len());
        lines.drain(..old);
        self.skipped -= old as u64;
        self.given += lines.len() as u64;
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_who_printed_it() {
        let line = |task: &str, name: &str| LogLine {
            worker: "worker-1".to_owned(),
            task: task.to_owned(),
            task_name: name.to_owned(),
            text: "hello".to_owned(),
            ..LogLine::default()
        };
        assert_eq!(line_text(&line("2/0", "")), "worker-1 2/0| hello");
        assert_eq!(line_text(&line("t0001", "count")), "worker-1 count| hello");
        assert_eq!(line_text(&line("", "")), "worker-1| hello");
    }
}
