//! The data port: stored output for other workers and for clients, what nodes say to each other, what is to be seen of them, and
//! drivers at clients.
//!
//! The store is one step ahead of the connection and no more, so a slow reader costs this worker one step and one HTTP/2
//! window.

use std::ops::Range;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tandem_proto::transport::{RequireToken, ServerSecurity, incoming_with_streams, plain_server};
use tandem_proto::v1::shuffle_service_server::{ShuffleService, ShuffleServiceServer};
use tandem_proto::v1::{Chunk, FetchRequest};
use tandem_proto::{Attempt, JobId, PartitionId, StageId};
use tandem_runtime::{DriverPort, PeerPort};
use tandem_store::{BodyCompression, OutputKey, StoreError};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::{Request, Response, Status};
use tracing::debug;

use crate::actors::StatePort;
use crate::error::WorkerError;
use crate::status::StatusBoard;

/// Metadata of a refused fetch: the partition, of those asked for, whose output is not here.
pub(crate) const LOST_PARTITION: &str = "tandem-lost-partition";

/// A merge reads one stream per partition at the same time; fewer than it needs would make it wait for itself.
const MAX_STREAMS_PER_CONNECTION: u32 = 1 << 16;

/// Serves the board's store on `listener` until dropped.
pub(crate) async fn serve(
    listener: TcpListener,
    security: ServerSecurity,
    board: Arc<StatusBoard>,
    (peers, drivers, state): (PeerPort, DriverPort, StatePort),
) -> Result<(), WorkerError> {
    let service = ShuffleServiceServer::new(DataPort { board });
    let mut lending = JoinSet::new();
    let lender = peers.clone();
    let incoming = incoming_with_streams(listener, &security, move |stream| {
        while lending.try_join_next().is_some() {}
        lending.spawn(lender.clone().lend(stream));
    })?;
    plain_server()
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        .layer(tonic::service::InterceptorLayer::new(RequireToken::new(security.token)))
        .add_service(service)
        .add_service(peers.service())
        .add_service(state.service())
        .add_service(drivers.service())
        // Never told to stop; but when this is dropped, connections that it accepted take no further calls.
        .serve_with_incoming_shutdown(incoming, std::future::pending())
        .await
        .map_err(|error| WorkerError::Serve { listener: "data", reason: error.to_string() })
}

struct DataPort {
    board: Arc<StatusBoard>,
}

#[tonic::async_trait]
impl ShuffleService for DataPort {
    type FetchStream = BoxStream<'static, Result<Chunk, Status>>;

    async fn fetch(&self, request: Request<FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
        let request = request.into_inner();
        let (keys, outputs) = parse(&request)?;
        if keys.is_empty() {
            return Ok(Response::new(stream::empty().boxed()));
        }
        let board = Arc::clone(&self.board);
        let compression = if request.uncompressed { BodyCompression::None } else { BodyCompression::Lz4 };
        let reader = self.board.store.read_ipc(keys, outputs, compression).map_err(|error| status(&error))?;
        let pieces = reader.map(move |piece| match piece {
            Ok(data) => {
                board.metrics.served(data.len());
                Ok(Chunk { data })
            }
            Err(error) => Err(status(&error)),
        });
        Ok(Response::new(pieces.boxed()))
    }
}

fn parse(request: &FetchRequest) -> Result<(Vec<OutputKey>, Range<usize>), Status> {
    if request.partitions.len() != request.attempts.len() {
        return Err(Status::invalid_argument("partitions and attempts differ in length"));
    }
    if request.output_start > request.output_end {
        return Err(Status::invalid_argument("the range of outputs ends before it starts"));
    }
    let written_by = request.partitions.iter().zip(&request.attempts);
    let keys = written_by
        .map(|(&partition, &attempt)| OutputKey {
            job: JobId(request.job),
            stage: StageId(request.stage),
            partition: PartitionId(partition),
            attempt: Attempt(attempt),
        })
        .collect();
    Ok((keys, request.output_start as usize..request.output_end as usize))
}

fn status(error: &StoreError) -> Status {
    debug!(%error, "fetch refused");
    if let Some(key) = error.lost() {
        let mut status = Status::not_found(error.to_string());
        status.metadata_mut().insert(LOST_PARTITION, key.partition.0.into());
        return status;
    }
    match error {
        StoreError::NoSuchOutput { .. } => Status::invalid_argument(error.to_string()),
        error => Status::unavailable(error.to_string()),
    }
}
