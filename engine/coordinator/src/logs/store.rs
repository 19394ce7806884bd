//! The folder of logs and the thread that writes to it.

use std::collections::hash_map::{Entry, HashMap};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;

use tandem_proto::v1::LogLine;
use tandem_proto::{JobId, WorkerId};
use tokio::sync::{oneshot, watch};
use tracing::{error, warn};

use super::LogsConfig;
use super::file::{self, Extent, JobLog};

/// All logs of one coordinator. Dropping it waits until what was given to it is written.
#[derive(Debug)]
pub(crate) struct LogStore {
    folder: PathBuf,
    requests: Option<mpsc::Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Request {
    Append { worker: WorkerId, lines: HashMap<JobId, Vec<LogLine>>, done: oneshot::Sender<()> },
    Watch { job: JobId, answer: oneshot::Sender<io::Result<watch::Receiver<Extent>>> },
    Forget(JobId),
}

impl LogStore {
    /// The logs in `folder`, which is created when missing. Those of jobs that are not `known` are removed.
    pub(crate) fn open(folder: PathBuf, config: LogsConfig, known: impl Fn(JobId) -> bool) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let job = path.file_stem().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
            if !job.is_some_and(&known) {
                remove(&path);
            }
        }
        let (requests, inbox) = mpsc::channel();
        let writer = Writer { folder: folder.clone(), config, logs: HashMap::new() };
        let thread = std::thread::Builder::new().name("logs".to_owned()).spawn(move || writer.run(&inbox))?;
        Ok(Self { folder, requests: Some(requests), thread: Some(thread) })
    }

    /// Keeps lines of a worker, in the order of their numbers; the answer comes when they are in their files, or dropped.
    pub(crate) fn append(&self, worker: WorkerId, lines: HashMap<JobId, Vec<LogLine>>) -> oneshot::Receiver<()> {
        let (done, answer) = oneshot::channel();
        self.send(Request::Append { worker, lines, done });
        answer
    }

    /// What of a job's log is there, now and as it grows. It ends when the job is forgotten.
    pub(crate) fn watch(&self, job: JobId) -> oneshot::Receiver<io::Result<watch::Receiver<Extent>>> {
        let (answer, answered) = oneshot::channel();
        self.send(Request::Watch { job, answer });
        answered
    }

    /// Removes the log of a job.
    pub(crate) fn forget(&self, job: JobId) {
        self.send(Request::Forget(job));
    }

    /// Some lines of a job between `place` and `end`, which was watched, and where they end. Waits for the disk.
    pub(crate) fn read(&self, job: JobId, place: u64, end: u64) -> io::Result<(Vec<LogLine>, u64)> {
        let (batches, next) = file::page(&File::open(path_of(&self.folder, job))?, place, end)?;
        if batches.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is damaged"));
        }
        Ok((batches.into_iter().flat_map(|batch| batch.lines).collect(), next))
    }

    /// The channel has no bound of its own: each stream of a worker waits for its answer.
    fn send(&self, request: Request) {
        // The receiver is gone only when the writer panicked; who waits then sees the answer dropped.
        if let Some(requests) = &self.requests {
            let _ = requests.send(request);
        }
    }
}

impl Drop for LogStore {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("the thread of the logs panicked");
        }
    }
}

/// The store's thread.
struct Writer {
    folder: PathBuf,
    config: LogsConfig,
    /// Those that were written or watched since the start.
    logs: HashMap<JobId, JobLog>,
}

impl Writer {
    /// Runs until the store is dropped. Who has asked may be gone.
    fn run(mut self, inbox: &mpsc::Receiver<Request>) {
        while let Ok(request) = inbox.recv() {
            match request {
                Request::Append { worker, lines, done } => {
                    for (job, lines) in lines {
                        self.append(worker, job, lines);
                    }
                    let _ = done.send(());
                }
                Request::Watch { job, answer } => {
                    let _ = answer.send(self.log(job).map(|log| log.watch()));
                }
                Request::Forget(job) => {
                    self.logs.remove(&job);
                    remove(&path_of(&self.folder, job));
                }
            }
        }
    }

    fn append(&mut self, worker: WorkerId, job: JobId, lines: Vec<LogLine>) {
        let quota_bytes = self.config.quota_bytes;
        match self.log(job) {
            Ok(log) => log.append(worker, lines, quota_bytes),
            Err(error) => warn!(%job, %error, lines = lines.len(), "the log of a job cannot be opened, lines are lost"),
        }
    }

    fn log(&mut self, job: JobId) -> io::Result<&mut JobLog> {
        Ok(match self.logs.entry(job) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(JobLog::open(path_of(&self.folder, job))?),
        })
    }
}

fn path_of(folder: &Path, job: JobId) -> PathBuf {
    folder.join(format!("{job}.log"))
}

/// Most jobs say nothing and have none.
fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            warn!(log = %path.display(), %error, "a log cannot be removed");
        }
        _ => {}
    }
}
