//! Reading what the processes of one job said. Owned by whoever reads.
//! Always holds: no line is given twice, and a broken stream is renewed while [`Patience`] lasts. The order of lines does not
//! change, so that those that were read already are skipped then.

use futures::Stream;
use tandem_proto::JobId;
use tandem_proto::v1::{LogChunk, LogLine, ReadLogsRequest};
use tonic::{Status, Streaming};

use crate::client::Client;
use crate::error::{ClientError, is_broken_connection};
use crate::patience::Patience;

/// The lines of one job, oldest first.
pub struct Logs {
    client: Client,
    request: ReadLogsRequest,
    connection: Connection,
    /// Lines that were given.
    given: u64,
    /// Lines that come again on this connection.
    skipped: u64,
    dropped: u64,
}

enum Connection {
    Open(Streaming<LogChunk>),
    Broken { patience: Patience, reason: Status },
    Ended,
}

impl Logs {
    pub(crate) async fn start(client: Client, request: ReadLogsRequest) -> Result<Self, ClientError> {
        let connection = match client.subscribe_logs(request.clone()).await {
            Ok(stream) => Connection::Open(stream),
            Err(reason) if is_broken_connection(&reason) => Connection::broken(reason),
            Err(status) => return Err(ClientError::from_status(client.address(), &status)),
        };
        Ok(Self { client, request, connection, given: 0, skipped: 0, dropped: 0 })
    }

    /// Lines that the coordinator did not keep, as far as it has said so: the job was over its quota.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The next lines, or none after the last. May be dropped while waiting without losing a line.
    pub async fn next_lines(&mut self) -> Result<Option<Vec<LogLine>>, ClientError> {
        loop {
            match &mut self.connection {
                Connection::Ended => return Ok(None),
                Connection::Open(stream) => match stream.message().await {
                    Ok(Some(chunk)) => {
                        let lines = self.accept(chunk);
                        if !lines.is_empty() {
                            return Ok(Some(lines));
                        }
                    }
                    Ok(None) => self.connection = Connection::Ended,
                    Err(status) if is_broken_connection(&status) => self.broke(status),
                    Err(status) => return Err(ClientError::from_status(self.client.address(), &status)),
                },
                Connection::Broken { .. } => self.renew().await?,
            }
        }
    }

    /// The lines as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<Vec<LogLine>, ClientError>> + Send {
        futures::stream::try_unfold(
            self,
            |mut logs| async move { Ok(logs.next_lines().await?.map(|lines| (lines, logs))) },
        )
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

    fn broke(&mut self, reason: Status) {
        tracing::debug!(job = %JobId(self.request.job), %reason, "the stream of the job's lines broke");
        self.connection = Connection::broken(reason);
    }

    async fn renew(&mut self) -> Result<(), ClientError> {
        let Connection::Broken { patience, reason } = &mut self.connection else { return Ok(()) };
        if !patience.wait().await {
            return Err(ClientError::from_status(self.client.address(), reason));
        }
        let subscribed = tokio::time::timeout_at(patience.until, self.client.subscribe_logs(self.request.clone()));
        match subscribed.await {
            Ok(Ok(stream)) => {
                self.connection = Connection::Open(stream);
                self.skipped = self.given;
            }
            Ok(Err(status)) if is_broken_connection(&status) => *reason = status,
            Ok(Err(status)) => return Err(ClientError::from_status(self.client.address(), &status)),
            Err(_) => return Err(ClientError::TimedOut(self.client.address().to_owned())),
        }
        Ok(())
    }
}

impl Connection {
    fn broken(reason: Status) -> Self {
        Self::Broken { patience: Patience::from_now(), reason }
    }
}
