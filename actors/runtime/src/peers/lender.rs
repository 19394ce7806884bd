//! Lends the objects of this worker to one that reads them over a byte stream.
//!
//! In clear text the bytes go from the arena to the socket without a copy, so the object stays until the reader has said that it
//! has them: what is still in the socket's queue is the arena's own memory.

use std::io;
use std::os::fd::AsFd;

use tandem_proto::CHUNK_BYTES;
use tandem_proto::transport::Connection;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tracing::debug;

use super::port::PeerPort;
use super::stream::{Answer, ReadRequest, in_time, thanked};
use crate::room::{Stored, read_range};

impl PeerPort {
    /// Answers whoever reads over `stream`, until they end it.
    pub async fn lend(self, mut stream: Connection) {
        loop {
            match self.lend_one(&mut stream).await {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return,
                Err(error) => return debug!(%error, "a worker that read objects is gone"),
            }
        }
    }

    async fn lend_one(&self, stream: &mut Connection) -> io::Result<()> {
        let request = ReadRequest::receive(stream).await?;
        let stored = match self.stored(request.job, request.object).await {
            Ok(stored) => stored,
            Err(answer) => return answer.send(stream).await,
        };
        let start = request.offset.min(stored.location.length);
        let length = request.length.min(stored.location.length - start);
        Answer::Lent(length).send(stream).await?;
        let offset = stored.location.offset + start;
        match stream {
            Connection::Clear(tcp) => send(tcp, &stored, offset, length).await?,
            Connection::Tls(_) => copy(stream, &stored, offset, length).await?,
        }
        in_time(thanked(stream)).await
    }
}

/// Hands the memory itself to the socket.
async fn send(tcp: &TcpStream, stored: &Stored, mut offset: u64, length: u64) -> io::Result<()> {
    let end = offset + length;
    while offset < end {
        let step = (end - offset).min(CHUNK_BYTES as u64) as usize;
        let sending = tcp.async_io(Interest::WRITABLE, || stored.file.send_to(tcp.as_fd(), offset, step));
        let sent = in_time(sending).await?;
        if sent == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "an object outside of its extent"));
        }
        offset += sent as u64;
        tokio::task::coop::consume_budget().await;
    }
    Ok(())
}

async fn copy(stream: &mut Connection, stored: &Stored, mut offset: u64, length: u64) -> io::Result<()> {
    let end = offset + length;
    while offset < end {
        let bytes = read_range(&stored.file, offset, (end - offset).min(CHUNK_BYTES as u64))?;
        in_time(stream.write_all(&bytes)).await?;
        offset += bytes.len() as u64;
    }
    stream.flush().await
}
