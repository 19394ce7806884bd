//! Passes on what a process prints, line by line. While nobody takes it, the process waits in its `write`.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tandem_actor_protocol::JobId;
use tracing::debug;

use super::lines::{Line, Lines};
use super::mask::Mask;
use super::printed::Printed;
use crate::outside::{LogLine, LogStream, Outside};

const BUFFER_BYTES: usize = 16 << 10;

/// One output of one process.
pub(crate) struct Printer {
    pub(crate) job: JobId,
    pub(crate) stream: LogStream,
    pub(crate) printed: Arc<Printed>,
    pub(crate) mask: Mask,
    pub(crate) outside: Arc<dyn Outside>,
}

impl Printer {
    /// Runs until all that could print are gone.
    pub(crate) async fn run(self) {
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut lines = Lines::new(self.mask.clone());
        let mut ended = Vec::new();
        loop {
            let parts = match self.printed.read(&mut buffer).await {
                Ok(parts) if parts.is_empty() => break,
                Ok(parts) => parts,
                Err(error) => {
                    debug!(job = %self.job, %error, "output of a process cannot be read");
                    break;
                }
            };
            for (range, tag) in parts {
                lines.feed(&buffer[range], &tag, &mut ended);
            }
            self.pass_on(&mut ended).await;
            self.printed.passed_on();
        }
        lines.end(&mut ended);
        self.pass_on(&mut ended).await;
        self.printed.closed();
    }

    async fn pass_on(&self, ended: &mut Vec<Line>) {
        if ended.is_empty() {
            return;
        }
        let (job, stream, time_ms) = (self.job, self.stream, now_ms());
        let lines = ended.drain(..).map(|Line { tag, text }| LogLine {
            job,
            time_ms,
            stream,
            task: tag.task,
            task_name: tag.name,
            text,
        });
        self.outside.log(lines.collect()).await;
    }
}

fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
