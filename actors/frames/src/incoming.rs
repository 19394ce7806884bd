//! What has come on one stream and is not taken yet, whoever reads the socket.

use crate::attached::Attached;
use crate::decoder::{Decoded, Decoder, Position};
use crate::error::DecodeError;
use crate::frame::Frame;
use crate::limits::Limits;
use crate::socket::Received;

#[derive(Debug)]
pub(crate) struct Incoming {
    limits: Limits,
    decoder: Decoder,
    attached: Attached,
}

impl Incoming {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, decoder: Decoder::new(limits), attached: Attached::default() }
    }

    /// Where to read to, and how many descriptors may come along.
    pub(crate) fn space(&mut self) -> (&mut [u8], u8) {
        (self.decoder.space(), self.limits.descriptors)
    }

    /// The next whole frame, if there is one.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, DecodeError> {
        let Some(Decoded { kind, descriptors, payload }) = self.decoder.decode()? else {
            self.attached.check(self.decoder.position()?)?;
            return Ok(None);
        };
        let descriptors = self.attached.take(descriptors)?;
        Ok(Some(Frame { kind, payload, descriptors }))
    }

    /// Adds what was read; false at the end of the stream.
    pub(crate) fn take(&mut self, received: Received) -> Result<bool, DecodeError> {
        if received.bytes == 0 {
            return self.end(&received).map(|()| false);
        }
        if received.lost {
            return Err(DecodeError::DescriptorsLost);
        }
        self.attached.add(received.descriptors, self.limits.descriptors)?;
        self.decoder.fill(received.bytes);
        Ok(true)
    }

    fn end(&self, received: &Received) -> Result<(), DecodeError> {
        match self.decoder.position()? {
            Position::Between if received.descriptors.is_empty() => Ok(()),
            Position::Between => Err(DecodeError::Descriptors { came: received.descriptors.len(), named: 0 }),
            Position::Header | Position::Frame { .. } => Err(DecodeError::Truncated),
        }
    }
}
