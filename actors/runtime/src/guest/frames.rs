//! The stream of a client as frames.

use bytes::{Buf, Bytes, BytesMut};
use tandem_actor_protocol::link_limits;
use tandem_frames::{Decoded, Decoder, HEADER_BYTES, frame_header};
use tandem_proto::v1::DriverBytes;
use tandem_proto::{CHUNK_BYTES, chunks};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};
use tracing::debug;

use super::relay::Parting;

/// What a client says.
#[derive(Debug)]
pub(crate) struct FromClient {
    stream: Streaming<DriverBytes>,
    /// Bytes that have come and were not decoded.
    rest: Bytes,
    decoder: Decoder,
}

/// The way to a client. It waits for a client that reads slowly.
#[derive(Debug, Clone)]
pub(crate) struct ToClient(mpsc::Sender<Result<DriverBytes, Status>>);

impl FromClient {
    /// What comes after `first`.
    pub(super) fn new(first: Bytes, stream: Streaming<DriverBytes>) -> Self {
        // No descriptor can come over a network.
        let limits = tandem_frames::Limits { descriptors: 0, ..link_limits() };
        Self { stream, rest: first, decoder: Decoder::new(limits) }
    }

    /// The next frame; none when the client has ended its stream.
    pub(super) async fn next(&mut self) -> Result<Option<Decoded>, Parting> {
        loop {
            if let Some(frame) = self.decoder.decode()? {
                return Ok(Some(frame));
            }
            while self.rest.is_empty() {
                match self.stream.message().await {
                    Ok(Some(message)) => self.rest = message.data,
                    Ok(None) => return Ok(None),
                    Err(status) => {
                        debug!(%status, "the connection of a client broke");
                        return Err(Parting::Broken("its connection broke".to_owned()));
                    }
                }
            }
            let space = self.decoder.space();
            let length = space.len().min(self.rest.len());
            self.rest.copy_to_slice(&mut space[..length]);
            self.decoder.fill(length);
        }
    }
}

impl ToClient {
    pub(super) fn new(stream: mpsc::Sender<Result<DriverBytes, Status>>) -> Self {
        Self(stream)
    }

    /// Sends a frame.
    pub(super) async fn send(&self, kind: u16, payload: Bytes) -> Result<(), Parting> {
        let header = frame_header(kind, payload.len()).ok_or(Parting::TooLong(payload.len()))?;
        if HEADER_BYTES + payload.len() <= CHUNK_BYTES {
            let mut frame = BytesMut::with_capacity(HEADER_BYTES + payload.len());
            frame.extend_from_slice(&header);
            frame.extend_from_slice(&payload);
            return self.push(frame.freeze()).await;
        }
        self.push(Bytes::copy_from_slice(&header)).await?;
        for chunk in chunks(payload) {
            self.push(chunk.data).await?;
        }
        Ok(())
    }

    /// Ends the stream, for this reason.
    pub(super) fn fail(&self, reason: &str) {
        // A client that does not read will see its connection end.
        let _ = self.0.try_send(Err(Status::aborted(reason)));
    }

    async fn push(&self, data: Bytes) -> Result<(), Parting> {
        let message = DriverBytes { job: 0, data };
        self.0.send(Ok(message)).await.map_err(|_| Parting::Broken("it reads no more".to_owned()))
    }
}
