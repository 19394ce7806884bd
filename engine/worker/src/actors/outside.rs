//! What the runtime needs of this worker.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tandem_proto::{JobId, v1};
use tandem_runtime::{JobProgram, LogLine, LogStream, News, Outside, SqlQuery};
use tokio::sync::OnceCell;
use tokio::sync::mpsc::{self, UnboundedSender};

use super::logs::Logs;
use super::packages::Packages;
use super::sql::Statements;
use crate::coordinator::CoordinatorCalls;

/// See the module's header.
#[derive(Debug)]
pub(crate) struct WorkerSide {
    pub(super) coordinator: CoordinatorCalls,
    pub(super) packages: Packages,
    pub(super) logs: Logs,
    pub(super) statements: Statements,
    /// Variables that this worker gives to all programs.
    pub(super) environment: BTreeMap<String, String>,
    /// Where the node's news go.
    pub(super) news: UnboundedSender<News>,
    pub(super) programs: Mutex<HashMap<JobId, Arc<OnceCell<v1::JobProgram>>>>,
}

#[async_trait]
impl Outside for WorkerSide {
    async fn program(&self, job: JobId) -> Result<Arc<JobProgram>, String> {
        let v1::JobProgram { program, environment, secret_names, job_name, cluster_environment } =
            self.known_program(job).await?;
        let program = program.unwrap_or_default();
        let executable = self.packages.get(job, &program).await.map_err(|error| error.to_string())?;
        let files = self.packages.files(job, &program).await.map_err(|error| error.to_string())?;
        // Over these come those of the worker, and over those the job's.
        let of_cluster = cluster_environment.into_iter().filter(|(name, _)| !self.environment.contains_key(name));
        let environment = of_cluster.chain(environment).collect();
        Ok(Arc::new(JobProgram { executable, files, environment, secret_names, job_name }))
    }

    async fn sql(&self, job: JobId, query: SqlQuery, rows: mpsc::Sender<Vec<Bytes>>) -> Result<(), String> {
        let program = self.known_program(job).await?;
        self.statements.run(program, query, rows).await
    }

    async fn log(&self, lines: Vec<LogLine>) {
        self.logs.push(lines.into_iter().map(encode).collect()).await;
    }

    fn tell(&self, news: News) {
        match &news {
            News::Note { job, text } => return self.logs.note(*job, "", text),
            News::Forgotten(job) => self.forget(*job),
            _ => {}
        }
        // Nobody listens any more only when the worker stops.
        let _ = self.news.send(news);
    }
}

impl WorkerSide {
    /// What the coordinator said of a job's program, asked once.
    async fn known_program(&self, job: JobId) -> Result<v1::JobProgram, String> {
        let known = Arc::clone(self.programs().entry(job).or_default());
        let program = known.get_or_try_init(|| self.coordinator.program(job)).await.cloned();
        program.map_err(|status| format!("the coordinator gave no program: {}", status.message()))
    }

    fn forget(&self, job: JobId) {
        self.programs().remove(&job);
        self.packages.forget(job);
    }

    fn programs(&self) -> MutexGuard<'_, HashMap<JobId, Arc<OnceCell<v1::JobProgram>>>> {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn encode(line: LogLine) -> v1::LogLine {
    let stream = match line.stream {
        LogStream::Stdout => v1::LogStream::Stdout,
        LogStream::Stderr => v1::LogStream::Stderr,
    };
    v1::LogLine {
        job: line.job.0,
        time_ms: line.time_ms,
        stream: stream.into(),
        task: line.task.to_string(),
        task_name: line.task_name.to_string(),
        text: line.text,
        ..v1::LogLine::default()
    }
}
