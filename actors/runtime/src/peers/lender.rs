//! Lends the objects of this worker to one that reads them over a byte stream.
//!
//! In clear text the bytes go from the arena to the socket without a copy, so the object stays until the reader has said that it
//! has them: what is still in the socket's queue is the arena's own memory. From disk they come chunk by chunk, each when its checksum was
//! found right: a reader that is left in the middle asks for the rest, and hears by then what has become of the object.

use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tandem_arena::ExtentFile;
use tandem_node::SpillFile;
use tandem_proto::CHUNK_BYTES;
use tandem_proto::transport::Connection;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tracing::debug;

use super::port::PeerPort;
use super::stream::{Answer, ReadRequest, in_time, thanked};
use crate::room::{Lent, LentSource, read_range};
use crate::spill::{ObjectFile, Spill};

/// Bytes of objects that other workers have read here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LentStats {
    /// From shared memory.
    pub arena_bytes: u64,
    /// From disk.
    pub disk_bytes: u64,
}

/// The same, while it grows.
#[derive(Debug, Default)]
pub(super) struct Counters {
    arena_bytes: AtomicU64,
    disk_bytes: AtomicU64,
}

impl Counters {
    pub(super) fn stats(&self) -> LentStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LentStats { arena_bytes: read(&self.arena_bytes), disk_bytes: read(&self.disk_bytes) }
    }
}

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
        let lent = match self.stored(request.job, request.object).await {
            Ok(lent) => lent,
            Err(answer) => return answer.send(stream).await,
        };
        let start = request.offset.min(lent.length());
        let range = start..start + request.length.min(lent.length() - start);
        let answer = Answer::Lent { length: range.end - range.start, copy: lent.copy };
        match &lent.source {
            LentSource::Arena { file, location } => {
                answer.send(stream).await?;
                let range = location.offset + range.start..location.offset + range.end;
                match stream {
                    Connection::Clear(tcp) => self.send(tcp, file, range).await?,
                    Connection::Tls(_) => self.copy(stream, file, range).await?,
                }
            }
            LentSource::Disk { file, length } => match FileReader::open(&self.spill, *file, *length, range).await {
                Ok(reader) => {
                    answer.send(stream).await?;
                    self.copy_from_disk(stream, &lent, reader).await?;
                }
                Err(why) => {
                    lent.ticket.unreadable(why.clone());
                    return Answer::Gone(why).send(stream).await;
                }
            },
        }
        in_time(thanked(stream)).await
    }

    /// Hands the memory itself to the socket.
    async fn send(&self, tcp: &TcpStream, file: &ExtentFile, mut range: Range<u64>) -> io::Result<()> {
        while !range.is_empty() {
            let step = (range.end - range.start).min(CHUNK_BYTES as u64) as usize;
            let sending = tcp.async_io(Interest::WRITABLE, || file.send_to(tcp.as_fd(), range.start, step));
            let sent = in_time(sending).await?;
            if sent == 0 {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "an object outside of its extent"));
            }
            range.start += sent as u64;
            self.lent.arena_bytes.fetch_add(sent as u64, Ordering::Relaxed);
            tokio::task::coop::consume_budget().await;
        }
        Ok(())
    }

    async fn copy(&self, stream: &mut Connection, file: &ExtentFile, mut range: Range<u64>) -> io::Result<()> {
        while !range.is_empty() {
            let bytes = read_range(file, range.start, (range.end - range.start).min(CHUNK_BYTES as u64))?;
            in_time(stream.write_all(&bytes)).await?;
            range.start += bytes.len() as u64;
            self.lent.arena_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        stream.flush().await
    }

    async fn copy_from_disk(&self, stream: &mut Connection, lent: &Lent, mut reader: FileReader) -> io::Result<()> {
        while !reader.some.is_empty() {
            in_time(stream.write_all(&reader.some)).await?;
            self.lent.disk_bytes.fetch_add(reader.some.len() as u64, Ordering::Relaxed);
            if let Err(why) = reader.read_more(&self.spill).await {
                lent.ticket.unreadable(why.clone());
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
        }
        stream.flush().await
    }
}

/// Reads a range of an object on disk.
struct FileReader {
    object: Arc<ObjectFile>,
    /// What is not read yet.
    left: Range<u64>,
    /// What was read last; nothing at the end.
    some: Bytes,
}

impl FileReader {
    /// Opens the file, and reads the first bytes: what is damaged there can be said in place of them.
    async fn open(spill: &Spill, file: SpillFile, length: u64, range: Range<u64>) -> Result<Self, String> {
        let object = Arc::new(spill.clone().open_object(file, length).await?);
        let mut reader = Self { object, left: range, some: Bytes::new() };
        reader.read_more(spill).await?;
        Ok(reader)
    }

    async fn read_more(&mut self, spill: &Spill) -> Result<(), String> {
        self.some = spill.clone().read_some(Arc::clone(&self.object), self.left.clone()).await?;
        self.left.start += self.some.len() as u64;
        Ok(())
    }
}
