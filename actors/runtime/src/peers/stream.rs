//! What workers say on a byte stream between them: one reads objects, the other lends them, one after the other.
//!
//!   reader → lender   job (u64) · object (u128) · offset (u64) · length (u64)
//!   lender → reader   outcome (u8) · length (u64) · copy (u128) and the bytes, or in words why there are none
//!   reader → lender   one byte when all bytes have come: until then they are read from where they lie
//!
//! A copy is a name that only these bytes have: parts of an object belong together if it is the same. Numbers are big endian.

use std::io;
use std::time::Duration;

use tandem_actor_protocol::{JobId, ObjectId};
use tandem_proto::transport::Connection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A peer that is silent for so long is stopped or gone.
const SILENCE: Duration = Duration::from_secs(20);
const LENT: u8 = 0;
const GONE: u8 = 1;
const LATER: u8 = 2;
/// In words, it is never longer.
const MAX_REASON_BYTES: u64 = 4096;

/// What a reader asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReadRequest {
    pub(super) job: JobId,
    pub(super) object: ObjectId,
    pub(super) offset: u64,
    pub(super) length: u64,
}

impl ReadRequest {
    pub(super) async fn send(&self, stream: &mut Connection) -> io::Result<()> {
        let mut message = Vec::with_capacity(40);
        message.extend(self.job.0.to_be_bytes());
        message.extend(self.object.0.to_be_bytes());
        message.extend(self.offset.to_be_bytes());
        message.extend(self.length.to_be_bytes());
        stream.write_all(&message).await?;
        stream.flush().await
    }

    pub(super) async fn receive(stream: &mut Connection) -> io::Result<Self> {
        Ok(Self {
            job: JobId(stream.read_u64().await?),
            object: ObjectId(stream.read_u128().await?),
            offset: stream.read_u64().await?,
            length: stream.read_u64().await?,
        })
    }
}

/// How a lender answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// This many bytes of this copy follow.
    Lent { length: u64, copy: ObjectId },
    /// The object is not there, and must be made again.
    Gone(String),
    /// It may be there another time.
    Later(String),
}

impl Answer {
    pub(super) async fn send(&self, stream: &mut Connection) -> io::Result<()> {
        let copy_bytes;
        let (outcome, length, rest) = match self {
            Self::Lent { length, copy } => {
                copy_bytes = copy.0.to_be_bytes();
                (LENT, *length, copy_bytes.as_slice())
            }
            Self::Gone(reason) => (GONE, reason.len() as u64, reason.as_bytes()),
            Self::Later(reason) => (LATER, reason.len() as u64, reason.as_bytes()),
        };
        let mut message = vec![outcome];
        message.extend(length.to_be_bytes());
        message.extend(rest);
        stream.write_all(&message).await?;
        stream.flush().await
    }

    pub(super) async fn receive(stream: &mut Connection) -> io::Result<Self> {
        let outcome = stream.read_u8().await?;
        let length = stream.read_u64().await?;
        match outcome {
            LENT => Ok(Self::Lent { length, copy: ObjectId(stream.read_u128().await?) }),
            GONE => Ok(Self::Gone(words(stream, length).await?)),
            LATER => Ok(Self::Later(words(stream, length).await?)),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("{outcome} is no outcome"))),
        }
    }
}

async fn words(stream: &mut Connection, length: u64) -> io::Result<String> {
    if length > MAX_REASON_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "too many words"));
    }
    let mut bytes = vec![0; length as usize];
    stream.read_exact(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Waits for what a peer that is well does soon: to answer, to send, to take what is sent.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] when it does not, as one that is stopped.
pub(super) async fn in_time<T>(coming: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(SILENCE, coming).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Says that all bytes have come.
pub(super) async fn thank(stream: &mut Connection) -> io::Result<()> {
    stream.write_u8(0).await?;
    stream.flush().await
}

/// Waits until all bytes have come.
pub(super) async fn thanked(stream: &mut Connection) -> io::Result<()> {
    stream.read_u8().await.map(|_| ())
}
