//! Carries bytes between the socket that the driver speaks over and the stream to its worker. What the other side has no room
//! for waits in the socket.

use std::io;
use std::os::unix::net::UnixStream;

use bytes::BytesMut;
use tandem_client::{DriverSender, DriverStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// Bytes that are read from the socket at once.
const READ_BYTES: usize = 256 << 10;

/// Starts to carry; the driver's end of the socket. When the stream ends, so does the socket.
///
/// # Errors
/// When no more files can be opened.
///
/// # Panics
/// Outside a Tokio runtime.
pub(super) fn start(stream: DriverStream) -> io::Result<UnixStream> {
    let (own, other) = UnixStream::pair()?;
    other.set_nonblocking(true)?;
    let (reader, writer) = tokio::net::UnixStream::from_std(other)?.into_split();
    let DriverStream { sender, receiver } = stream;
    tokio::spawn(async move {
        tokio::select! {
            () = carry_up(reader, sender) => {}
            () = carry_down(receiver, writer) => {}
        }
    });
    Ok(own)
}

async fn carry_up(mut socket: OwnedReadHalf, stream: DriverSender) {
    const { assert!(READ_BYTES <= DriverSender::MAX_BYTES) };
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(READ_BYTES);
        let read = (&mut socket).take(READ_BYTES as u64).read_buf(&mut buffer).await;
        if !matches!(read, Ok(1..)) || !stream.send(buffer.split().freeze()).await {
            return;
        }
    }
}

async fn carry_down(mut stream: tandem_client::DriverReceiver, mut socket: OwnedWriteHalf) {
    // Why a stream broke is told by the job.
    while let Ok(Some(bytes)) = stream.next().await {
        if socket.write_all(&bytes).await.is_err() {
            return;
        }
    }
}
