//! Rows that a client holds itself. A worker that asks for a query on behalf of a program is a client with a store of its own.

use arrow::array::RecordBatch;
use futures::stream::BoxStream;
use tandem_proto::JobId;
use tandem_proto::v1::ResultPartition;
use tonic::Status;

/// What is read without asking anyone.
pub trait OwnRows: Send + Sync + 'static {
    /// The rows of a partition of a result, by pointer; none if they are not here.
    fn read(
        &self,
        job: JobId,
        stage: u32,
        partition: &ResultPartition,
    ) -> Option<BoxStream<'static, Result<RecordBatch, Status>>>;
}
