//! A reader of data ports.

use arrow::record_batch::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use tandem_ipc::Decoder;
use tandem_proto::transport::{ClientSecurity, connect};
use tandem_proto::v1::shuffle_service_client::ShuffleServiceClient;
use tandem_proto::v1::{Chunk, FetchRequest, TaskAttempt};
use tonic::Status;

/// Everything that one attempt put out, as one reader gets it.
pub(crate) async fn fetch(
    address: &str,
    security: &ClientSecurity,
    attempt: TaskAttempt,
    outputs: u32,
) -> Result<Vec<RecordBatch>, Status> {
    let request = FetchRequest {
        job: attempt.job,
        stage: attempt.stage,
        partitions: vec![attempt.task],
        attempts: vec![attempt.attempt],
        output_start: 0,
        output_end: outputs,
        uncompressed: false,
    };
    let channel = connect(address, security).await.unwrap();
    let mut pieces = ShuffleServiceClient::new(channel).fetch(request).await?.into_inner();
    let (mut decoder, mut batches) = (Decoder::new(), Vec::new());
    while let Some(Chunk { mut data }) = pieces.message().await? {
        while let Some(batch) = decoder.decode(&mut data).unwrap() {
            batches.push(batch);
        }
    }
    decoder.finish().unwrap();
    Ok(batches)
}

/// The rows as a table, to compare.
pub(crate) fn table(batches: &[RecordBatch]) -> String {
    pretty_format_batches(batches).unwrap().to_string()
}
