//! The same frames without a runtime: one thread on each side that sleeps in the call that reads, or asks again and again.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tandem_frames::{Decoded, Decoder, Limits, inherited};

use crate::{Measured, Other, goes_on};

const ECHO: u16 = 1;
const COUNT: u16 = 2;
const LAST: u16 = 3;

struct Blocking {
    stream: UnixStream,
    decoder: Decoder,
    out: Vec<u8>,
}

impl Blocking {
    fn new(stream: UnixStream, wait: &str) -> Result<Self> {
        stream.set_nonblocking(wait == "spinning")?;
        Ok(Self { stream, decoder: Decoder::new(Limits::default()), out: Vec::new() })
    }

    fn queue(&mut self, kind: u16, payload: &[u8]) {
        self.out.extend((payload.len() as u32).to_le_bytes());
        self.out.extend(kind.to_le_bytes());
        self.out.extend([0; 2]);
        self.out.extend(payload);
    }

    fn flush(&mut self) -> Result<()> {
        let mut left = self.out.as_slice();
        while !left.is_empty() {
            match self.stream.write(left) {
                Ok(written) => left = &left[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
                Err(error) => return Err(error.into()),
            }
        }
        self.out.clear();
        Ok(())
    }

    fn recv(&mut self) -> Result<Option<Decoded>> {
        loop {
            if let Some(frame) = self.decoder.decode()? {
                return Ok(Some(frame));
            }
            match self.stream.read(self.decoder.space()) {
                Ok(0) => return Ok(None),
                Ok(bytes) => self.decoder.fill(bytes),
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

pub(crate) fn child(wait: &str) -> Result<()> {
    let mut link = Blocking::new(inherited()?, wait)?;
    let mut counted = 0_u64;
    while let Some(frame) = link.recv()? {
        match frame.kind {
            COUNT => {
                counted += 1;
                continue;
            }
            ECHO => link.queue(ECHO, &frame.payload),
            _ => link.queue(LAST, &counted.to_le_bytes()),
        }
        link.flush()?;
    }
    Ok(())
}

pub(crate) fn measure(wait: &str, size: usize, time: Duration) -> Result<Measured> {
    let (other, end) = Other::linked("threads", wait)?;
    let mut link = Blocking::new(end, wait)?;
    let payload = vec![7; size];
    let mut round_trips = Vec::new();
    let begun = Instant::now();
    while goes_on(begun, time) {
        let start = Instant::now();
        link.queue(ECHO, &payload);
        link.flush()?;
        link.recv()?.context("the child ended")?;
        round_trips.push(start.elapsed());
    }
    let (cpu, start, mut messages) = (other.cpu_s()?, Instant::now(), 0);
    while goes_on(start, time) {
        for _ in 0..1_000 {
            link.queue(COUNT, &payload);
            if link.out.len() > 64 << 10 {
                link.flush()?;
            }
        }
        messages += 1_000;
    }
    link.queue(LAST, &[]);
    link.flush()?;
    let counted = link.recv()?.context("the child ended")?;
    let wall = start.elapsed();
    anyhow::ensure!(counted.payload.as_ref() == u64::to_le_bytes(messages), "messages were lost");
    Ok(Measured { round_trips, messages, wall, cpu_s: other.cpu_s()? - cpu })
}
