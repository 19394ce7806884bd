//! A coordinator for one worker or some: they have some processors each, it gives leases on them, and knows names.

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
use tandem_proto::transport::ClientSecurity;
use tandem_runtime::{JobProgram, LogLine, News, Outside, Runtime, RuntimeConfig, RuntimeHandle, SqlQuery};
use tempfile::TempDir;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::task::AbortOnDropHandle;

use crate::security::{Security, listen};

/// One worker with a program, maybe with others.
pub(crate) struct Cluster {
    pub(crate) runtime: RuntimeHandle,
    pub(crate) others: Vec<RuntimeHandle>,
    pub(crate) world: Arc<World>,
    pub(crate) folder: TempDir,
    _coordinator: AbortOnDropHandle<()>,
    _serving: Vec<AbortOnDropHandle<()>>,
}

/// The worker around a runtime.
pub(crate) struct World {
    worker: WorkerId,
    executable: PathBuf,
    pub(crate) lines: Arc<Mutex<Vec<LogLine>>>,
    news: UnboundedSender<(WorkerId, News)>,
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
        let _ = self.news.send((self.worker, news));
    }
}

impl Cluster {
    /// A worker with so many processors.
    pub(crate) fn new(cpus: u64) -> Self {
        Self::with(cpus, |_| {})
    }

    /// The same with another node.
    pub(crate) fn with(cpus: u64, change: impl Fn(&mut NodeConfig)) -> Self {
        let start = Start::new();
        let worker = start.worker(cpus, "here:1".to_owned(), ClientSecurity::default(), change);
        start.cluster(vec![worker], Vec::new())
    }

    /// Some workers with so many processors each, that reach each other.
    pub(crate) async fn several(workers: usize, cpus: u64, change: impl Fn(&mut NodeConfig)) -> Self {
        let (start, security) = (Start::new(), Security::clear());
        let (mut all, mut serving) = (Vec::new(), Vec::new());
        for _ in 0..workers {
            let (listener, address) = listen(None).await;
            let reachable = |node: &mut NodeConfig| {
                node.address = address.to_string();
                change(node);
            };
            let worker = start.worker(cpus, address.to_string(), security.client.clone(), reachable);
            serving.push(security.serve(worker.runtime.peer_port(), listener));
            all.push(worker);
        }
        start.cluster(all, serving)
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

/// What all workers of a cluster share.
struct Start {
    folder: TempDir,
    executable: PathBuf,
    lines: Arc<Mutex<Vec<LogLine>>>,
    news: UnboundedSender<(WorkerId, News)>,
    inbox: UnboundedReceiver<(WorkerId, News)>,
}

impl Start {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let executable = folder.path().join("program");
        let test = std::env::current_exe().expect("the path of this test");
        let script = format!("#!/bin/sh\nexec {} --exact executor_process --nocapture\n", test.display());
        fs::write(&executable, script).expect("a script");
        fs::set_permissions(&executable, fs::Permissions::from_mode(0o700)).expect("our file");
        let (news, inbox) = unbounded_channel();
        Self { folder, executable, lines: Arc::default(), news, inbox }
    }

    /// Starts a worker. The first one has the folders that tests look at.
    fn worker(&self, cpus: u64, address: String, security: ClientSecurity, change: impl Fn(&mut NodeConfig)) -> Worker {
        let worker = new_worker();
        let (lines, news) = (Arc::clone(&self.lines), self.news.clone());
        let world = Arc::new(World { worker, executable: self.executable.clone(), lines, news });
        let outside: Arc<dyn Outside> = Arc::clone(&world) as _;
        let first = !self.folder.path().join("executors").exists();
        let folder = if first { self.folder.path().to_owned() } else { self.folder.path().join(worker.to_string()) };
        let mut config = RuntimeConfig::new(worker, "a worker", folder.join("executors"));
        config.spill_dir = Some(folder.join("objects"));
        config.security = security;
        let mut node = NodeConfig::new(worker, "a worker");
        change(&mut node);
        let runtime = Runtime::start(config, outside, Node::new(node)).expect("a runtime");
        Worker { worker, address, free_milli: cpus * 1000, runtime, world }
    }

    fn cluster(self, workers: Vec<Worker>, serving: Vec<AbortOnDropHandle<()>>) -> Cluster {
        let runtimes: Vec<RuntimeHandle> = workers.iter().map(|worker| worker.runtime.clone()).collect();
        let [runtime, others @ ..] = &runtimes[..] else { panic!("a cluster has a worker") };
        let (runtime, others, world) = (runtime.clone(), others.to_vec(), Arc::clone(&workers[0].world));
        let coordinator = tokio::spawn(Coordinator::new(workers).serve(self.inbox));
        let _coordinator = AbortOnDropHandle::new(coordinator);
        Cluster { runtime, others, world, folder: self.folder, _coordinator, _serving: serving }
    }
}

/// A worker, as the coordinator knows it.
struct Worker {
    worker: WorkerId,
    address: String,
    free_milli: u64,
    runtime: RuntimeHandle,
    world: Arc<World>,
}

/// Who has what.
struct Coordinator {
    workers: Vec<Worker>,
    next_lease: u64,
    wanted: BTreeMap<(WorkerId, JobId, Shape), u32>,
    /// Those that are out.
    leases: BTreeMap<u64, Lease>,
    names: HashMap<String, (ActorId, String)>,
}

struct Lease {
    owner: WorkerId,
    host: WorkerId,
    job: JobId,
    shape: Shape,
}

impl Coordinator {
    fn new(workers: Vec<Worker>) -> Self {
        let (wanted, leases, names) = (BTreeMap::new(), BTreeMap::new(), HashMap::new());
        Self { workers, next_lease: 0, wanted, leases, names }
    }

    async fn serve(mut self, mut inbox: UnboundedReceiver<(WorkerId, News)>) {
        while let Some((from, news)) = inbox.recv().await {
            self.hear(from, news);
            self.grant();
        }
    }

    fn worker(&mut self, id: WorkerId) -> &mut Worker {
        self.workers.iter_mut().find(|worker| worker.worker == id).expect("one of ours")
    }

    fn hear(&mut self, from: WorkerId, news: News) {
        match news {
            News::Demand { job, shape, wanted, .. } => _ = self.wanted.insert((from, job, shape), wanted),
            News::ReleaseLease(lease) => {
                if let Some(host) = self.leases.get(&lease).map(|lease| lease.host) {
                    self.worker(host).runtime.tell(Event::LeaseRevoked { lease });
                }
            }
            News::ReturnLease(lease) => {
                if let Some(Lease { host, shape, .. }) = self.leases.remove(&lease) {
                    self.worker(host).free_milli += milli(&shape);
                }
            }
            News::ClaimName { job, spec } => {
                let has = self.names.entry(spec.options.name.clone()).or_insert((spec.actor, spec.class.clone()));
                let outcome = if has.0 == spec.actor { Ok(()) } else { Err(NameRefusal::Taken(has.0)) };
                self.worker(from).runtime.tell(Event::NameClaimed { job, actor: spec.actor, outcome });
            }
            News::FindName { executor, request, name, .. } => {
                let found = |(actor, class): (ActorId, String)| Found { actor, class, owner_address: String::new() };
                let actor = self.names.get(&name).cloned().map(found);
                self.worker(from).runtime.tell(Event::NameFound { executor, request, actor });
            }
            News::DropName { actor, .. } => self.names.retain(|_, (named, _)| *named != actor),
            News::CreateGroup { .. } | News::RemoveGroup { .. } => {}
            News::Note { .. } | News::Leave { .. } | News::Detach { .. } | News::Began(_) | News::Forgotten(_) => {}
        }
    }

    fn grant(&mut self) {
        for ((owner, job, shape), wanted) in self.wanted.clone() {
            let is_of = |lease: &&Lease| lease.owner == owner && lease.job == job && lease.shape == shape;
            let has = self.leases.values().filter(is_of).count();
            for _ in has..wanted as usize {
                // Where most is free.
                let Some(host) = self.workers.iter_mut().max_by_key(|worker| worker.free_milli) else { return };
                if host.free_milli < milli(&shape) {
                    break;
                }
                host.free_milli -= milli(&shape);
                let host = host.worker;
                self.next_lease += 1;
                self.leases.insert(self.next_lease, Lease { owner, host, job, shape: shape.clone() });
                let grant = LeaseGrant {
                    lease: self.next_lease,
                    job,
                    owner,
                    owner_address: self.worker(owner).address.clone(),
                    host,
                    host_address: self.worker(host).address.clone(),
                    shape: shape.clone(),
                    bundle: None,
                };
                self.worker(host).runtime.tell(Event::LeaseGranted(grant.clone()));
                if owner != host {
                    self.worker(owner).runtime.tell(Event::LeaseGranted(grant));
                }
            }
        }
    }
}

fn milli(shape: &Shape) -> u64 {
    shape.milli.get(CPUS).copied().unwrap_or(0)
}
