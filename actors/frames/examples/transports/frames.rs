//! Links of this crate, on one runtime or the other.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use tandem_frames::{Frame, Limits, Link, inherited};
use tokio::runtime::{Builder, Runtime};

use crate::{Measured, Other, goes_on};

const ECHO: u16 = 1;
const COUNT: u16 = 2;
const LAST: u16 = 3;

fn runtime(kind: &str) -> Result<Runtime> {
    let mut builder =
        if kind == "current_thread" { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    Ok(builder.worker_threads(2).enable_all().build()?)
}

/// Sends back what asks for it, and counts the rest.
pub(crate) fn child(kind: &str) -> Result<()> {
    let end = inherited()?;
    // Not in `block_on`, whose thread is none of the multi-thread runtime's.
    runtime(kind)?.block_on(async { tokio::spawn(serve(end)).await? })
}

async fn serve(end: std::os::unix::net::UnixStream) -> Result<()> {
    let mut link = Link::start(end, Limits::default())?;
    let mut counted = 0_u64;
    while let Some(frame) = link.receiver.recv().await? {
        match frame.kind {
            ECHO => link.sender.send(frame).await?,
            COUNT => counted += 1,
            _ => link.sender.send(Frame::new(LAST, counted.to_le_bytes().to_vec())).await?,
        }
    }
    Ok(())
}

pub(crate) fn measure(kind: &str, size: usize, time: Duration) -> Result<Measured> {
    let (other, end) = Other::linked("frames", kind)?;
    let runtime = runtime(kind)?;
    runtime.block_on(async { tokio::spawn(drive(other, end, size, time)).await? })
}

async fn drive(other: Other, end: std::os::unix::net::UnixStream, size: usize, time: Duration) -> Result<Measured> {
    let mut link = Link::start(end, Limits::default())?;
    let payload = Bytes::from(vec![7; size]);
    let mut round_trips = Vec::new();
    let begun = Instant::now();
    while goes_on(begun, time) {
        let start = Instant::now();
        link.sender.send(Frame::new(ECHO, payload.clone())).await?;
        link.receiver.recv().await?.context("the child ended")?;
        round_trips.push(start.elapsed());
    }
    let (cpu, start, mut messages) = (other.cpu_s()?, Instant::now(), 0);
    while goes_on(start, time) {
        for _ in 0..1_000 {
            link.sender.send(Frame::new(COUNT, payload.clone())).await?;
        }
        messages += 1_000;
    }
    link.sender.send(Frame::new(LAST, Bytes::new())).await?;
    let counted = link.receiver.recv().await?.context("the child ended")?;
    let wall = start.elapsed();
    anyhow::ensure!(counted.payload.as_ref() == u64::to_le_bytes(messages), "messages were lost");
    Ok(Measured { round_trips, messages, wall, cpu_s: other.cpu_s()? - cpu })
}
