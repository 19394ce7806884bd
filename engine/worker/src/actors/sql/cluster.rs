//! Statements over files alone: queries that the coordinator plans and all workers run. What this worker holds of their rows is
//! read by pointer.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use tandem_actor_protocol::node::SqlRequest;
use tandem_client::{ClientError, OwnRows, Submission};
use tandem_proto::transport::ClientSecurity;
use tandem_proto::v1::job_spec::Work;
use tandem_proto::v1::{self, JobSpec, ResultPartition};
use tandem_proto::{Attempt, JobId, PartitionId, StageId, WorkerId};
use tandem_store::{OutputKey, ShuffleStore};
use tonic::Status;

use super::Refused;
use super::objects::Objects;
use crate::actors::submit;
use crate::coordinator::CoordinatorCalls;

/// How this worker asks for queries.
#[derive(Debug)]
pub(crate) struct Queries {
    coordinator: CoordinatorCalls,
    security: ClientSecurity,
    held: Arc<Held>,
}

impl Queries {
    /// Connects to other workers with `security`. What `worker` holds itself is in `store`.
    pub(crate) fn new(
        coordinator: CoordinatorCalls,
        security: ClientSecurity,
        worker: WorkerId,
        store: Arc<ShuffleStore>,
    ) -> Self {
        Self { coordinator, security, held: Arc::new(Held { worker, store }) }
    }

    /// Runs one and has `objects` made of its rows. Dropped, the query ends.
    pub(super) async fn run(
        &self,
        program: v1::JobProgram,
        request: SqlRequest,
        mut objects: Objects,
    ) -> Result<(), Refused> {
        let client = submit::client(&self.coordinator, self.security.clone()).await?;
        let client = client.with_own_rows(Arc::clone(&self.held) as _);
        let submission = Submission { spec: spec(program, request), attached: true, submission_id: String::new() };
        let job = JobId(client.submit(submission).await.map_err(refused)?.job);
        let mut results = client.results(job).await.map_err(refused)?;
        while let Some(batch) = results.next_batch().await.map_err(refused)? {
            objects.push(batch).await?;
        }
        let schema = results.schema().ok_or("the coordinator does not say which columns the rows have")?;
        objects.finish(schema).await
    }
}

fn refused(error: ClientError) -> Refused {
    match error {
        ClientError::JobFailed { failure, .. } => failure.cause,
        other => other.to_string(),
    }
}

/// The query that a program asks for, with its variables.
fn spec(program: v1::JobProgram, request: SqlRequest) -> JobSpec {
    let table = |(name, path)| v1::Table { name, path, ..v1::Table::default() };
    let tables = request.tables.into_iter().map(table).collect();
    let query = v1::Query { sql: request.sql, tables, ..v1::Query::default() };
    let name = format!("a query of {}", program.job_name);
    submit::spec(program, name, Work::Query(query))
}

/// What this worker holds of results.
#[derive(Debug)]
struct Held {
    worker: WorkerId,
    store: Arc<ShuffleStore>,
}

impl OwnRows for Held {
    fn read(
        &self,
        job: JobId,
        stage: u32,
        partition: &ResultPartition,
    ) -> Option<BoxStream<'static, Result<RecordBatch, Status>>> {
        if partition.worker != self.worker.0 {
            return None;
        }
        let (stage, attempt) = (StageId(stage), Attempt(partition.attempt));
        let key = OutputKey { job, stage, partition: PartitionId(partition.partition), attempt };
        // What is gone is asked for like that of others, and looked for again.
        let rows = self.store.read(key, 0..1).ok()?;
        Some(rows.map_err(|error| Status::not_found(error.to_string())).boxed())
    }
}
