//! The receiving half of a link for a thread of its own, which blocks in the read.
//! For a process with one link: it is woken without a runtime in between, which halves a round trip.

use std::os::unix::net::UnixStream;

use rustix::net::RecvFlags;

use crate::error::RecvError;
use crate::frame::Frame;
use crate::incoming::Incoming;
use crate::limits::Limits;
use crate::socket;

/// Receives frames and blocks its thread meanwhile. What is not received stays in the socket.
#[derive(Debug)]
pub struct BlockingReceiver {
    stream: UnixStream,
    incoming: Incoming,
}

impl BlockingReceiver {
    /// Receives from `stream`, which is set to block.
    ///
    /// # Errors
    /// When the socket cannot be set.
    pub fn new(stream: UnixStream, limits: Limits) -> std::io::Result<Self> {
        stream.set_nonblocking(false)?;
        Ok(Self { stream, incoming: Incoming::new(limits.bounded()) })
    }

    /// The next frame; none when the other side ended the stream.
    ///
    /// # Errors
    /// When the other side broke the format or the stream ended inside a frame, or the socket failed. The link is of no use
    /// after any of these: drop it.
    pub fn recv(&mut self) -> Result<Option<Frame>, RecvError> {
        loop {
            if let Some(frame) = self.incoming.next()? {
                return Ok(Some(frame));
            }
            let (space, descriptors) = self.incoming.space();
            let received = socket::receive(&self.stream, space, descriptors, RecvFlags::empty())?;
            if !self.incoming.take(received)? {
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::frame::frame_header;

    #[test]
    fn frames_written_by_hand_arrive_and_a_cut_one_is_an_error() {
        let (mut writer, reader) = UnixStream::pair().expect("a pair");
        let mut receiver = BlockingReceiver::new(reader, Limits::default()).expect("a receiver");
        let header = frame_header(7, 3).expect("a short payload");
        writer.write_all(&[&header[..], b"abc", &header[..], b"d"].concat()).expect("room");
        let frame = receiver.recv().expect("a sound stream").expect("a frame");
        assert_eq!((frame.kind, &frame.payload[..]), (7, &b"abc"[..]));
        drop(writer);
        assert!(receiver.recv().is_err(), "the second frame is cut");
    }
}
