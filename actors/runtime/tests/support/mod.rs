//! A runtime around a node that does what a test says.
#![allow(dead_code, reason = "each test uses some of it")]

pub(crate) mod security;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tandem_actor_protocol::executor::{Run, ToExecutor};
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::value::{Body, Value};
use tandem_actor_protocol::{CallId, ExecutorId, JobId, WorkerId};
use tandem_node::{Action, Event, ExecutorNeeds, ExitCause, Timestamp};
use tandem_runtime::{Brain, JobProgram, LogLine, News, Outside, Runtime, RuntimeConfig, RuntimeHandle, SqlQuery};
use tempfile::TempDir;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

pub(crate) const JOB: JobId = JobId(7);
/// Longer than anything takes that ends at all.
const PATIENCE: Duration = Duration::from_secs(120);

/// A brain that tells the test what happens, and does what the test has put in.
struct Script {
    events: UnboundedSender<Event>,
    actions: VecDeque<Action>,
}

impl Brain for Script {
    fn handle(&mut self, _: Timestamp, event: Event) -> Vec<Action> {
        // A flood of these is nothing to look at.
        if !matches!(&event, Event::FromExecutor { message: ToNode::Release(_), .. }) {
            // The test may be over.
            let _ = self.events.send(event);
        }
        self.actions.drain(..).collect()
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        None
    }
}

/// What a test sees of a runtime.
pub(crate) struct Stage {
    pub(crate) worker: WorkerId,
    pub(crate) runtime: RuntimeHandle,
    events: UnboundedReceiver<Event>,
    /// What happened and was not looked for yet.
    earlier: VecDeque<Event>,
    pub(crate) world: Arc<World>,
    pub(crate) folder: TempDir,
    next_executor: u64,
}

/// The worker around the runtime.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) environment: Mutex<BTreeMap<String, String>>,
    pub(crate) lines: Mutex<Vec<LogLine>>,
    /// No lines are taken while this is true.
    pub(crate) stopped: watch::Sender<bool>,
    pub(crate) news: Mutex<Vec<News>>,
}

#[async_trait]
impl Outside for World {
    async fn program(&self, _: JobId) -> Result<Arc<JobProgram>, String> {
        let environment = self.environment.lock().expect("a map").clone();
        if environment.contains_key("TEST_NO_PROGRAM") {
            return Err("there is no program".to_owned());
        }
        let secret_names = vec!["SECRET".to_owned()];
        let executable = PathBuf::from(env!("CARGO_BIN_EXE_tandem-runtime-test-executor"));
        Ok(Arc::new(JobProgram { executable, files: None, environment, secret_names, job_name: "a job".to_owned() }))
    }

    async fn sql(&self, _: JobId, query: SqlQuery, rows: mpsc::Sender<Vec<Bytes>>) -> Result<(), String> {
        rows.send(vec![Bytes::from(query.request.sql)]).await.map_err(|error| error.to_string())
    }

    async fn log(&self, lines: Vec<LogLine>) {
        // The sender lives as long as this.
        let _ = self.stopped.subscribe().wait_for(|stopped| !stopped).await;
        self.lines.lock().expect("a list").extend(lines);
    }

    fn tell(&self, news: News) {
        self.news.lock().expect("a list").push(news);
    }
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut RuntimeConfig)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = RuntimeConfig::new(new_worker(), "a worker", folder.path().join("executors"));
        change(&mut config);
        let worker = config.worker;
        let (sender, events) = unbounded_channel();
        let world = Arc::new(World::default());
        let script = Script { events: sender, actions: VecDeque::new() };
        let outside: Arc<dyn Outside> = Arc::clone(&world) as _;
        let runtime = Runtime::start(config, outside, script).expect("a runtime");
        Self { worker, runtime, events, earlier: VecDeque::new(), world, folder, next_executor: 1 }
    }

    /// Sets a variable of the job.
    pub(crate) fn set(&self, name: &str, value: &str) {
        self.world.environment.lock().expect("a map").insert(name.to_owned(), value.to_owned());
    }

    pub(crate) async fn act(&mut self, action: Action) {
        self.runtime.look(|script: &mut Script| script.actions.push_back(action)).await.expect("a running desk");
        self.runtime.tell(Event::CoordinatorBack);
        self.until(|event| matches!(event, Event::CoordinatorBack).then_some(())).await;
        // The desk takes this up when it has done all that.
        self.runtime.look(|_: &mut Script| ()).await.expect("a running desk");
    }

    /// The first event that `wanted` takes. Those before it stay for later.
    pub(crate) async fn until<T>(&mut self, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
        for i in 0..self.earlier.len() {
            if let Some(found) = wanted(self.earlier[i].clone()) {
                self.earlier.remove(i);
                return found;
            }
        }
        let found = async {
            loop {
                let event = self.events.recv().await.expect("a running desk");
                if let Some(found) = wanted(event.clone()) {
                    return found;
                }
                self.earlier.push_back(event);
            }
        };
        tokio::time::timeout(PATIENCE, found).await.expect("it happens in time")
    }

    /// Asks for a process and tells its number and how its start went.
    pub(crate) async fn start(&mut self, needs: ExecutorNeeds) -> (ExecutorId, Result<u32, String>) {
        let id = ExecutorId(self.next_executor);
        self.next_executor += 1;
        self.act(Action::StartExecutor { executor: id, job: JOB, needs }).await;
        let outcome = self
            .until(|event| match event {
                Event::ExecutorStarted { executor, outcome } if executor == id => Some(outcome),
                _ => None,
            })
            .await;
        (id, outcome)
    }

    /// A process that has said hello.
    pub(crate) async fn executor(&mut self) -> ExecutorId {
        self.executor_with(ExecutorNeeds::default()).await
    }

    pub(crate) async fn executor_with(&mut self, needs: ExecutorNeeds) -> ExecutorId {
        let (id, outcome) = self.start(needs).await;
        outcome.expect("a process");
        self.said(id, |message| matches!(message, ToNode::Hello(_)).then_some(())).await;
        id
    }

    pub(crate) async fn said<T>(&mut self, id: ExecutorId, mut wanted: impl FnMut(ToNode) -> Option<T>) -> T {
        self.until(|event| match event {
            Event::FromExecutor { executor, message } if executor == id => wanted(message),
            Event::ExecutorGone { executor, cause } if executor == id => panic!("it is gone: {cause:?}"),
            _ => None,
        })
        .await
    }

    pub(crate) async fn gone(&mut self, id: ExecutorId) -> ExitCause {
        self.until(|event| match event {
            Event::ExecutorGone { executor, cause } if executor == id => Some(cause),
            _ => None,
        })
        .await
    }

    pub(crate) async fn send(&mut self, executor: ExecutorId, message: ToExecutor) {
        self.act(Action::Send { executor, message }).await;
    }

    /// Has a function run, and does not wait for its end.
    pub(crate) async fn begin(&mut self, executor: ExecutorId, function: &str, args: Vec<Value>) -> CallId {
        self.next_executor += 1;
        let call = CallId(u128::from(self.next_executor));
        let run = Run {
            call,
            attempt: 0,
            function: function.to_owned(),
            actor: None,
            args,
            returns: 1,
            timeout_ms: 0,
            environment: BTreeMap::new(),
        };
        self.send(executor, ToExecutor::Run(run)).await;
        call
    }

    /// Has a function run to its end, and returns which call it was.
    pub(crate) async fn run(&mut self, executor: ExecutorId, function: &str, args: Vec<Value>) -> CallId {
        let wanted = self.begin(executor, function, args).await;
        self.said(executor, |message| matches!(message, ToNode::Done { call, .. } if call == wanted).then_some(wanted))
            .await
    }

    /// Has a function run to its end.
    pub(crate) async fn call(&mut self, executor: ExecutorId, function: &str, args: Vec<Value>) -> String {
        let wanted = self.begin(executor, function, args).await;
        let values = self
            .said(executor, |message| match message {
                ToNode::Done { call, outcome, .. } if call == wanted => Some(outcome.expect("a result")),
                _ => None,
            })
            .await;
        let Body::Inline { bytes, .. } = &values[0].body else { panic!("{values:?}") };
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// What was printed so far, once `enough` says so.
    pub(crate) async fn lines(&self, mut enough: impl FnMut(&[LogLine]) -> bool) -> Vec<LogLine> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            {
                let lines = self.world.lines.lock().expect("a list");
                if enough(&lines) {
                    return lines.clone();
                }
                assert!(tokio::time::Instant::now() < deadline, "only {} lines: {:?}", lines.len(), lines.first());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A worker that no other test has, also in another process: what is of it is ended with it.
fn new_worker() -> WorkerId {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    WorkerId(u64::from(std::process::id()) << 32 | COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A value in a message.
pub(crate) fn text(text: &str) -> Value {
    Value::inline(tandem_actor_protocol::value::Format::Bytes, text.as_bytes().to_vec())
}

/// Processes that have `needle` in what they were started with.
pub(crate) fn processes_with(needle: &str) -> Vec<i32> {
    let pids = std::fs::read_dir("/proc").expect("the system").flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| {
        let read = |name| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let has = |bytes: &[u8]| bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
        has(&read("environ")) || has(&read("cmdline"))
    })
    .collect()
}
