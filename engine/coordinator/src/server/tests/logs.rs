//! Lines of workers on their way to clients.

use tandem_proto::WorkerId;
use tandem_proto::transport::AuthorizedChannel;
use tandem_proto::v1::cluster_service_client::ClusterServiceClient;
use tandem_proto::v1::{self, LogBatch, LogLine, LogStream, ReadLogsRequest};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use super::programs::submission;
use super::{FakeWorker, LIMIT, Running, job_file, prepare, register, start, start_with};
use crate::{CoordinatorConfig, LogsConfig};

/// A worker's stream of lines.
struct Shipper {
    batches: mpsc::Sender<LogBatch>,
    acks: Streaming<v1::LogAck>,
}

impl Shipper {
    async fn open(running: &Running) -> Self {
        let channel: AuthorizedChannel = running.channel(Some(running.token.clone())).await;
        let (batches, outgoing) = mpsc::channel(1);
        let acks = ClusterServiceClient::new(channel).ship_logs(ReceiverStream::new(outgoing)).await.unwrap();
        Self { batches, acks: acks.into_inner() }
    }

    /// Sends lines of worker 1. Returns up to which line it is told they are kept.
    async fn ship(&mut self, lines: Vec<LogLine>) -> u64 {
        self.batches.send(LogBatch { worker: 1, lines }).await.unwrap();
        tokio::time::timeout(LIMIT, self.acks.message()).await.unwrap().unwrap().unwrap().sequence
    }
}

fn line(job: u64, sequence: u64, task: &str, stream: LogStream) -> LogLine {
    LogLine {
        sequence,
        job,
        worker: "worker-1".to_owned(),
        stream: stream.into(),
        task: task.to_owned(),
        text: format!("line {sequence}"),
        ..LogLine::default()
    }
}

async fn open(running: &Running, request: ReadLogsRequest) -> Streaming<v1::LogChunk> {
    running.client().await.read_logs(request).await.unwrap().into_inner()
}

/// The numbers of the lines of the next chunk; none at the end.
async fn next(chunks: &mut Streaming<v1::LogChunk>) -> Option<(Vec<u64>, u64)> {
    let chunk = tokio::time::timeout(LIMIT, chunks.message()).await.unwrap().unwrap()?;
    Some((chunk.lines.iter().map(|line| line.sequence).collect(), chunk.dropped))
}

async fn read(running: &Running, request: ReadLogsRequest) -> Vec<u64> {
    let mut chunks = open(running, request).await;
    let mut all = Vec::new();
    while let Some((numbers, _)) = next(&mut chunks).await {
        all.extend(numbers);
    }
    all
}

fn all_of(job: u64) -> ReadLogsRequest {
    ReadLogsRequest { job, ..ReadLogsRequest::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_are_acknowledged_and_read_back_by_who_printed_them() {
    let folder = TempDir::new().unwrap();
    let running = start(folder.path()).await;
    let job = running.client().await.submit(job_file(folder.path())).await.unwrap().into_inner().job;
    let mut shipper = Shipper::open(&running).await;
    let named = LogLine { task_name: "count".to_owned(), ..line(job, 4, "t0001", LogStream::Stdout) };
    let lines = vec![
        line(job, 1, "driver", LogStream::Stdout),
        line(job, 2, "driver", LogStream::Stderr),
        line(job, 3, "driver", LogStream::Worker),
        named,
        line(job, 5, "2/0", LogStream::Worker),
        line(job + 1, 6, "driver", LogStream::Stdout),
    ];
    assert_eq!(shipper.ship(lines.clone()).await, 6);
    drop(shipper);
    let mut shipper = Shipper::open(&running).await;
    assert_eq!(shipper.ship(lines).await, 6, "sent again on the next stream");
    assert_eq!(shipper.ship(vec![line(job, 7, "2/0", LogStream::Worker)]).await, 7);

    let of = |task: &str| ReadLogsRequest { task: task.to_owned(), ..all_of(job) };
    assert_eq!(read(&running, all_of(job)).await, [1, 2, 3, 4, 5, 7]);
    assert_eq!(read(&running, ReadLogsRequest { driver: true, ..all_of(job) }).await, [1, 2]);
    for (task, expected) in
        [("2/0", &[5, 7][..]), ("t0001", &[4]), ("count", &[4]), ("driver", &[1, 2, 3]), ("3/0", &[])]
    {
        assert_eq!(read(&running, of(task)).await, expected, "{task}");
    }
    let unknown = running.client().await.read_logs(all_of(job + 1)).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    running.stop().await;

    let running = start(folder.path()).await;
    let mut shipper = Shipper::open(&running).await;
    let again = vec![line(job, 7, "2/0", LogStream::Worker), line(job, 8, "2/0", LogStream::Worker)];
    assert_eq!(shipper.ship(again).await, 8);
    assert_eq!(read(&running, of("2/0")).await, [5, 7, 8]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_follows_gets_all_lines_up_to_the_end_of_the_job() {
    let folder = TempDir::new().unwrap();
    let running = start(folder.path()).await;
    let mut worker = FakeWorker::join(&running, register(WorkerId(1))).await;
    let mut client = running.client().await;
    let job = client.submit(submission()).await.unwrap().into_inner().job;
    let mut everything = open(&running, ReadLogsRequest { follow: true, ..all_of(job) }).await;
    let mut driver = open(&running, ReadLogsRequest { follow: true, driver: true, ..all_of(job) }).await;
    let mut shipper = Shipper::open(&running).await;
    shipper.ship(vec![line(job, 1, "driver", LogStream::Stdout)]).await;
    assert_eq!(next(&mut everything).await, Some((vec![1], 0)));
    shipper.ship(vec![line(job, 2, "1/0", LogStream::Worker)]).await;
    assert_eq!(next(&mut everything).await, Some((vec![2], 0)));

    shipper.ship(vec![line(job, 3, "driver", LogStream::Stdout)]).await;
    let launch = worker.next_launch().await;
    worker.finish(1, &launch).await;
    assert_eq!(next(&mut driver).await, Some((vec![1], 0)));
    assert_eq!(next(&mut driver).await, Some((vec![3], 0)));
    assert_eq!(next(&mut driver).await, None, "the job has ended");
    shipper.ship(vec![line(job, 4, "1/0", LogStream::Worker)]).await;
    let mut rest = Vec::new();
    while let Some((numbers, _)) = next(&mut everything).await {
        rest.extend(numbers);
    }
    assert_eq!(rest, [3, 4], "with what came a little late");
    assert_eq!(read(&running, ReadLogsRequest { follow: true, ..all_of(job) }).await, [1, 2, 3, 4]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_follows_is_told_that_the_coordinator_stops() {
    let folder = TempDir::new().unwrap();
    let running = start(folder.path()).await;
    let job = running.client().await.submit(job_file(folder.path())).await.unwrap().into_inner().job;
    let mut lines = open(&running, ReadLogsRequest { follow: true, ..all_of(job) }).await;
    running.stop().await;
    let told = tokio::time::timeout(LIMIT, lines.message()).await.unwrap().unwrap_err();
    assert_eq!(told.code(), Code::Unavailable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_over_the_quota_are_reported() {
    let folder = TempDir::new().unwrap();
    let (config, token) = prepare(folder.path());
    let logs = LogsConfig { quota_bytes: 100 };
    let running = start_with(CoordinatorConfig { logs, ..config }, token, None).await;
    let job = running.client().await.submit(job_file(folder.path())).await.unwrap().into_inner().job;
    let mut shipper = Shipper::open(&running).await;
    let lines = (1..=10).map(|sequence| line(job, sequence, "driver", LogStream::Stdout)).collect();
    assert_eq!(shipper.ship(lines).await, 10);
    assert_eq!(next(&mut open(&running, all_of(job)).await).await, Some((vec![1, 2], 8)));
    let mut none = open(&running, ReadLogsRequest { task: "nobody".to_owned(), ..all_of(job) }).await;
    assert_eq!((next(&mut none).await, next(&mut none).await), (Some((Vec::new(), 8)), None));
    running.stop().await;
}
