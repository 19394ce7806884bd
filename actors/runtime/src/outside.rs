//! What the runtime needs of the worker around it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tandem_actor_protocol::call::ActorSpec;
use tandem_actor_protocol::node::SqlRequest;
use tandem_actor_protocol::placement::{BundleId, PlacementGroup};
use tandem_actor_protocol::resources::Shape;
use tandem_actor_protocol::{ActorId, ExecutorId, JobId, PlacementGroupId};
use tokio::sync::mpsc;

/// The worker around a runtime. None of it may block a thread.
#[async_trait]
pub trait Outside: Send + Sync + 'static {
    /// What the executors of a job run. Asked once for each process; called again, it should answer from a cache.
    ///
    /// # Errors
    /// Why there is none, in words; the processes cannot be started then.
    async fn program(&self, job: JobId) -> Result<Arc<JobProgram>, String>;

    /// Runs a statement as a query of a job. `rows` gets its rows as Arrow IPC streams, at least one, each as the parts that it
    /// consists of. It is full until the last one is kept.
    ///
    /// # Errors
    /// Why there are none, or not all of them, in words.
    async fn sql(&self, job: JobId, query: SqlQuery, rows: mpsc::Sender<Vec<Bytes>>) -> Result<(), String>;

    /// Takes what processes printed, in order for each of them. While this waits, they wait.
    async fn log(&self, lines: Vec<LogLine>);

    /// Passes on what the node wants others to know; it comes in order, and again when the coordinator was away.
    fn tell(&self, news: News);
}

/// What the executors of a job run.
#[derive(Clone, PartialEq, Eq)]
pub struct JobProgram {
    /// The executable.
    pub executable: PathBuf,
    /// The folder with the files that are attached to it.
    pub files: Option<PathBuf>,
    /// Variables of each process, secrets included.
    pub environment: BTreeMap<String, String>,
    /// Those of the variables whose values are masked wherever they would be shown.
    pub secret_names: Vec<String>,
    /// The job's name.
    pub job_name: String,
}

impl std::fmt::Debug for JobProgram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobProgram")
            .field("executable", &self.executable)
            .field("environment", &self.environment.keys())
            .field("job_name", &self.job_name)
            .finish_non_exhaustive()
    }
}

/// A statement over paths and objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlQuery {
    /// The statement, and the tables that are paths.
    pub request: SqlRequest,
    /// Name and Arrow IPC streams of each table that is a set of objects.
    pub tables: Vec<(String, Vec<Bytes>)>,
}

/// What the node wants others to know.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// The whole demand of a job for leases of a shape has changed.
    Demand {
        /// The job.
        job: JobId,
        /// The shape.
        shape: Shape,
        /// The bundle that they are to be a part of; none for the workers as they are.
        bundle: Option<BundleId>,
        /// Leases wanted in all.
        wanted: u32,
    },
    /// As owner, this node needs a lease no more.
    ReleaseLease(u64),
    /// As host, this node runs nothing on a revoked lease any more.
    ReturnLease(u64),
    /// A placement group is to be reserved.
    CreateGroup {
        /// The job.
        job: JobId,
        /// The group.
        group: Box<PlacementGroup>,
    },
    /// As its owner, this node needs a placement group no more.
    RemoveGroup {
        /// The job.
        job: JobId,
        /// The group.
        group: PlacementGroupId,
    },
    /// An actor wants its name.
    ClaimName {
        /// The job.
        job: JobId,
        /// The actor.
        spec: Box<ActorSpec>,
    },
    /// A named actor is gone for good.
    DropName {
        /// The job.
        job: JobId,
        /// The actor.
        actor: ActorId,
    },
    /// An actor is to be started as a job of its own.
    Detach {
        /// The job of whoever made it.
        job: JobId,
        /// The actor.
        spec: Box<ActorSpec>,
    },
    /// An executor asks who has a name.
    FindName {
        /// Who asks.
        executor: ExecutorId,
        /// As it asked.
        request: u32,
        /// The job.
        job: JobId,
        /// Empty for that of the job.
        namespace: String,
        /// The name.
        name: String,
    },
    /// Whether this worker may leave, in answer to [`Event::LeaveWanted`](tandem_node::Event::LeaveWanted).
    Leave {
        /// Nothing would be lost with it.
        may: bool,
    },
    /// Something of a job ended or began that people may want to see.
    Note {
        /// The job.
        job: JobId,
        /// What.
        text: String,
    },
    /// Something of the job is here from now on.
    Began(JobId),
    /// Nothing of the job is left here.
    Forgotten(JobId),
}

/// One line that a process printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Its job.
    pub job: JobId,
    /// Milliseconds since the Unix epoch when it was read.
    pub time_ms: i64,
    /// Where it was printed to.
    pub stream: LogStream,
    /// Who printed it: `driver`, the id of a task or an actor, or empty when that is not known.
    pub task: Arc<str>,
    /// For people: the function, or the class of an actor.
    pub task_name: Arc<str>,
    /// Without its newline, cut after 16 KiB, with secrets masked.
    pub text: String,
}

/// Where a line was printed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}
