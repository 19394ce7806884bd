//! gRPC over a Unix socket, messages as plain bytes: a call for each, or one stream each way whose messages are batches.

use std::convert::Infallible;
use std::pin::Pin;
use std::process::Command;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::net::UnixListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tokio_stream::{Stream, StreamExt};
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{NamedService, StreamingService, UnaryService};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

use crate::{Measured, Other, goes_on, itself};

/// Bytes of a batch that goes one way.
const BATCH_BYTES: usize = 32 << 10;
const WINDOW_BYTES: u32 = 4 << 20;
const CALLS_AT_ONCE: usize = 64;

fn runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

pub(crate) fn child(path: &str) -> Result<()> {
    runtime()?.block_on(async {
        let incoming = UnixListenerStream::new(UnixListener::bind(path)?);
        let server = Server::builder().initial_stream_window_size(WINDOW_BYTES);
        let mut server = server.initial_connection_window_size(WINDOW_BYTES);
        Ok(server.add_service(Echo).serve_with_incoming(incoming).await?)
    })
}

async fn connect() -> Result<(Other, Grpc<Channel>)> {
    let path = std::env::temp_dir().join(format!("transports-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let path = path.to_string_lossy();
    let mut command: Command = itself("grpc", &path)?;
    let other = Other(command.spawn()?);
    let endpoint = Endpoint::from_shared(format!("unix:{path}"))?
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    let begun = Instant::now();
    loop {
        match endpoint.connect().await {
            Ok(channel) => {
                std::fs::remove_file(path.as_ref())?;
                return Ok((other, Grpc::new(channel)));
            }
            Err(error) if begun.elapsed() > Duration::from_secs(5) => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn call(grpc: &mut Grpc<Channel>, payload: Bytes) -> Result<()> {
    grpc.ready().await?;
    grpc.unary(Request::new(payload), PathAndQuery::from_static("/bench.Echo/Call"), Raw).await?;
    Ok(())
}

pub(crate) fn unary(size: usize, time: Duration) -> Result<Measured> {
    runtime()?.block_on(async {
        let (other, mut grpc) = connect().await?;
        let payload = Bytes::from(vec![7; size]);
        let mut round_trips = Vec::new();
        let begun = Instant::now();
        while goes_on(begun, time) {
            let start = Instant::now();
            call(&mut grpc, payload.clone()).await?;
            round_trips.push(start.elapsed());
        }
        let (cpu, start) = (other.cpu_s()?, Instant::now());
        let callers: Vec<_> = (0..CALLS_AT_ONCE)
            .map(|_| {
                let (mut grpc, payload) = (grpc.clone(), payload.clone());
                tokio::spawn(async move {
                    let mut calls = 0;
                    while goes_on(start, time) {
                        call(&mut grpc, payload.clone()).await?;
                        calls += 1;
                    }
                    Ok::<u64, anyhow::Error>(calls)
                })
            })
            .collect();
        let mut messages = 0;
        for caller in callers {
            messages += caller.await??;
        }
        Ok(Measured { round_trips, messages, wall: start.elapsed(), cpu_s: other.cpu_s()? - cpu })
    })
}

pub(crate) fn stream(size: usize, time: Duration) -> Result<Measured> {
    runtime()?.block_on(async {
        let (other, mut grpc) = connect().await?;
        let (to, mut from) = open(&mut grpc, "/bench.Echo/Echo").await?;
        let one = batch(size, 1);
        let mut round_trips = Vec::new();
        let begun = Instant::now();
        while goes_on(begun, time) {
            let start = Instant::now();
            to.send(one.clone()).await?;
            anyhow::ensure!(from.message().await?.is_some(), "the child ended");
            round_trips.push(start.elapsed());
        }
        let (to, mut from) = open(&mut grpc, "/bench.Echo/Count").await?;
        let (cpu, start, mut messages) = (other.cpu_s()?, Instant::now(), 0);
        let in_batch = BATCH_BYTES / size;
        while goes_on(start, time) {
            // Written again each time, as messages of many callers would be.
            to.send(batch(size, in_batch)).await?;
            messages += in_batch as u64;
        }
        drop(to);
        let counted = from.message().await?;
        let wall = start.elapsed();
        anyhow::ensure!(counted.is_some_and(|count| count.as_ref() == messages.to_le_bytes()), "messages were lost");
        Ok(Measured { round_trips, messages, wall, cpu_s: other.cpu_s()? - cpu })
    })
}

async fn open(grpc: &mut Grpc<Channel>, path: &'static str) -> Result<(mpsc::Sender<Bytes>, Streaming<Bytes>)> {
    let (to, requests) = mpsc::channel(16);
    grpc.ready().await?;
    let requests = Request::new(ReceiverStream::new(requests));
    let replies = grpc.streaming(requests, PathAndQuery::from_static(path), Raw).await?;
    Ok((to, replies.into_inner()))
}

fn batch(size: usize, messages: usize) -> Bytes {
    let mut bytes = BytesMut::with_capacity(messages * (4 + size));
    for _ in 0..messages {
        bytes.put_u32_le(size as u32);
        bytes.put_bytes(7, size);
    }
    bytes.freeze()
}

/// How many messages a batch has.
fn count(mut batch: Bytes) -> u64 {
    let mut messages = 0;
    while batch.remaining() >= 4 {
        let len = batch.get_u32_le() as usize;
        let message = batch.split_to(len);
        messages += u64::from(!message.is_empty());
    }
    messages
}

#[derive(Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "bench.Echo";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let mut grpc = tonic::server::Grpc::new(Raw);
        match request.uri().path() {
            "/bench.Echo/Call" => Box::pin(async move { Ok(grpc.unary(Echo, request).await) }),
            "/bench.Echo/Echo" => Box::pin(async move { Ok(grpc.streaming(Echo, request).await) }),
            _ => Box::pin(async move { Ok(grpc.streaming(Count, request).await) }),
        }
    }
}

impl UnaryService<Bytes> for Echo {
    type Response = Bytes;
    type Future = BoxFuture<Response<Bytes>, Status>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        Box::pin(async move { Ok(Response::new(request.into_inner())) })
    }
}

type Replies = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

impl StreamingService<Bytes> for Echo {
    type Response = Bytes;
    type ResponseStream = Replies;
    type Future = BoxFuture<Response<Replies>, Status>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        Box::pin(async move { Ok(Response::new(Box::pin(request.into_inner()) as Replies)) })
    }
}

struct Count;

impl StreamingService<Bytes> for Count {
    type Response = Bytes;
    type ResponseStream = Replies;
    type Future = BoxFuture<Response<Replies>, Status>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let (to, replies) = mpsc::channel(1);
        tokio::spawn(async move {
            let mut messages = 0;
            let mut batches = request.into_inner();
            while let Some(Ok(batch)) = batches.next().await {
                messages += count(batch);
            }
            let _ = to.send(Ok(Bytes::copy_from_slice(&messages.to_le_bytes()))).await;
        });
        Box::pin(async move { Ok(Response::new(Box::pin(ReceiverStream::new(replies)) as Replies)) })
    }
}

/// Bytes as they are.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
