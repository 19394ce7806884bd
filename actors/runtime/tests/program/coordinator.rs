//! A coordinator for one worker: it has some processors, gives leases on them, and knows names.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tandem_actor_protocol::resources::{CPUS, Shape};
use tandem_actor_protocol::{ActorId, JobId, WorkerId};
use tandem_node::{Event, Found, LeaseGrant, NameRefusal, Node, NodeConfig};
use tandem_runtime::{JobProgram, LogLine, News, Outside, Runtime, RuntimeConfig, RuntimeHandle, SqlQuery};
use tempfile::TempDir;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::task::AbortOnDropHandle;

/// One worker with a program.
pub(crate) struct Cluster {
    pub(crate) runtime: RuntimeHandle,
    pub(crate) world: Arc<World>,
    pub(crate) folder: TempDir,
    _coordinator: AbortOnDropHandle<()>,
}

/// The worker around the runtime.
pub(crate) struct World {
    executable: PathBuf,
    pub(crate) lines: Mutex<Vec<LogLine>>,
    news: UnboundedSender<News>,
}

#[async_trait]
impl Outside for World {
    async fn program(&self, _: JobId) -> Result<Arc<JobProgram>, String> {
        Ok(Arc::new(JobProgram {
            executable: self.executable.clone(),
            files: None,
            environment: BTreeMap::new(),
            secret_names: Vec::new(),
            job_name: "a program".to_owned(),
        }))
    }

    async fn sql(&self, _: JobId, _: SqlQuery, _: mpsc::Sender<Vec<Bytes>>) -> Result<(), String> {
        Err("there is no SQL here".to_owned())
    }

    async fn log(&self, lines: Vec<LogLine>) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).extend(lines);
    }

    fn tell(&self, news: News) {
        // The test may be over.
        let _ = self.news.send(news);
    }
}

impl Cluster {
    /// A worker with so many processors.
    pub(crate) fn new(cpus: u64) -> Self {
        Self::with(cpus, |_| {})
    }

    /// The same with another node.
    pub(crate) fn with(cpus: u64, change: impl FnOnce(&mut NodeConfig)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let executable = folder.path().join("program");
        let test = std::env::current_exe().expect("the path of this test");
        let script = format!("#!/bin/sh\nexec {} --exact executor_process --nocapture\n", test.display());
        fs::write(&executable, script).expect("a script");
        fs::set_permissions(&executable, fs::Permissions::from_mode(0o700)).expect("our file");
        let worker = new_worker();
        let (news, inbox) = unbounded_channel();
        let world = Arc::new(World { executable, lines: Mutex::default(), news });
        let outside: Arc<dyn Outside> = Arc::clone(&world) as _;
        let mut config = RuntimeConfig::new(worker, "a worker", folder.path().join("executors"));
        config.spill_dir = Some(folder.path().join("objects"));
        let mut node = NodeConfig::new(worker, "a worker");
        change(&mut node);
        let node = Node::new(node);
        let runtime = Runtime::start(config, outside, node).expect("a runtime");
        let coordinator = Coordinator::new(worker, cpus * 1000);
        let serving = tokio::spawn(coordinator.serve(inbox, runtime.clone()));
        Self { runtime, world, folder, _coordinator: AbortOnDropHandle::new(serving) }
    }

    pub(crate) fn lines(&self) -> Vec<LogLine> {
        self.world.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A worker that no other test has, also in another process: what is of it is ended with it.
fn new_worker() -> WorkerId {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    WorkerId(u64::from(std::process::id()) << 32 | COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Who has what.
struct Coordinator {
    worker: WorkerId,
    free_milli: u64,
    next_lease: u64,
    wanted: BTreeMap<(JobId, Shape), u32>,
    /// Those that are out.
    leases: BTreeMap<u64, (JobId, Shape)>,
    names: HashMap<String, (ActorId, String)>,
}

impl Coordinator {
    fn new(worker: WorkerId, free_milli: u64) -> Self {
        let (wanted, leases, names) = (BTreeMap::new(), BTreeMap::new(), HashMap::new());
        Self { worker, free_milli, next_lease: 0, wanted, leases, names }
    }

    async fn serve(mut self, mut inbox: UnboundedReceiver<News>, runtime: RuntimeHandle) {
        while let Some(news) = inbox.recv().await {
            self.hear(news, &runtime);
            self.grant(&runtime);
        }
    }

    fn hear(&mut self, news: News, runtime: &RuntimeHandle) {
        match news {
            News::Demand { job, shape, wanted, .. } => _ = self.wanted.insert((job, shape), wanted),
            News::ReleaseLease(lease) => runtime.tell(Event::LeaseRevoked { lease }),
            News::ReturnLease(lease) => {
                if let Some((_, shape)) = self.leases.remove(&lease) {
                    self.free_milli += milli(&shape);
                }
            }
            News::ClaimName { job, spec } => {
                let has = self.names.entry(spec.options.name.clone()).or_insert((spec.actor, spec.class.clone()));
                let outcome = if has.0 == spec.actor { Ok(()) } else { Err(NameRefusal::Taken(has.0)) };
                runtime.tell(Event::NameClaimed { job, actor: spec.actor, outcome });
            }
            News::FindName { executor, request, name, .. } => {
                let found = |(actor, class): (ActorId, String)| Found { actor, class, owner_address: String::new() };
                let actor = self.names.get(&name).cloned().map(found);
                runtime.tell(Event::NameFound { executor, request, actor });
            }
            News::DropName { actor, .. } => self.names.retain(|_, (named, _)| *named != actor),
            News::CreateGroup { .. } | News::RemoveGroup { .. } => {}
            News::Note { .. } | News::Leave { .. } | News::Detach { .. } | News::Began(_) | News::Forgotten(_) => {}
        }
    }

    fn grant(&mut self, runtime: &RuntimeHandle) {
        for ((job, shape), wanted) in &self.wanted {
            let has = self.leases.values().filter(|(of, kind)| of == job && kind == shape).count();
            for _ in has..*wanted as usize {
                if self.free_milli < milli(shape) {
                    break;
                }
                self.free_milli -= milli(shape);
                self.next_lease += 1;
                self.leases.insert(self.next_lease, (*job, shape.clone()));
                runtime.tell(Event::LeaseGranted(LeaseGrant {
                    lease: self.next_lease,
                    job: *job,
                    owner: self.worker,
                    owner_address: "here:1".to_owned(),
                    host: self.worker,
                    host_address: "here:1".to_owned(),
                    shape: shape.clone(),
                    bundle: None,
                }));
            }
        }
    }
}

fn milli(shape: &Shape) -> u64 {
    shape.milli.get(CPUS).copied().unwrap_or(0)
}
