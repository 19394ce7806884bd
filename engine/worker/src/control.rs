//! The one task that owns a worker's state. Whatever happens comes here as an event; [`WorkerState`] decides; this performs.
//!
//! ```text
//!   coordinator ─ LinkEvent ─┐                      ┌─► runner (start, cancel)
//!   runner ─ TaskEnd ────────┼─► WorkerState.handle ┼─► store, stages (drop)
//!   timers, drain signal ────┘                      └─► coordinator (register, report, beat)
//! ```

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tandem_exec::sql_functions::free_idle_models;
use tandem_proto::PartitionId;
use tandem_runtime::News;
use tandem_store::OutputKey;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use crate::actors::{ActorQuestion, Actors};
use crate::attach::{LinkEvent, LinkTarget, OpenLink, keep_attached};
use crate::coordinator::CoordinatorCalls;
use crate::error::WorkerError;
use crate::process;
use crate::runner::{Runner, RunningTask};
use crate::stages::StageCache;
use crate::state::{Action, AttemptId, Event, Exit, Sample, TaskEnd, WorkerState};
use crate::status::{Duties, StatusBoard};

/// Until the coordinator says how often it wants to hear.
const DEFAULT_BEAT: Duration = Duration::from_millis(500);
const LINK_CAPACITY: usize = 256;

/// Everything the control task commands.
pub(crate) struct Control {
    /// What it decides by.
    pub(crate) state: WorkerState,
    /// Where attempts run.
    pub(crate) runner: Runner,
    /// The ends of attempts.
    pub(crate) ends: mpsc::Receiver<TaskEnd>,
    /// The runtime of fine tasks.
    pub(crate) actors: Actors,
    /// Its calls to the coordinator.
    pub(crate) coordinator: CoordinatorCalls,
    /// Cached stages.
    pub(crate) stages: Arc<StageCache>,
    /// Task output, and what heartbeats say.
    pub(crate) board: Arc<StatusBoard>,
    /// What `board` reads.
    pub(crate) duties: watch::Sender<Duties>,
    /// How long to stay once draining.
    pub(crate) drain_timeout: Duration,
}

impl Control {
    /// Serves the coordinator until it, or the drain timeout, ends this worker. `shutdown` starts the drain.
    pub(crate) async fn run(self, target: LinkTarget, shutdown: CancellationToken) -> Result<(), WorkerError> {
        let (sender, events) = mpsc::channel(LINK_CAPACITY);
        let link = AbortOnDropHandle::new(tokio::spawn(keep_attached(target, sender)));
        let mut desk = Desk {
            control: self,
            link: None,
            running: HashMap::new(),
            errands: JoinSet::new(),
            beat: beat_every(DEFAULT_BEAT),
            drain_deadline: None,
            exit: None,
        };
        let outcome = desk.serve(link, events, shutdown).await;
        let Desk { control, running, errands, .. } = desk;
        drop((running, errands));
        control.actors.runtime.stop().await;
        control.runner.stop().await;
        outcome
    }
}

/// The control task while it runs.
struct Desk {
    control: Control,
    link: Option<OpenLink>,
    running: HashMap<AttemptId, RunningTask>,
    /// Questions to the coordinator on behalf of the node, and memory that is given back.
    errands: JoinSet<()>,
    beat: Interval,
    drain_deadline: Option<Instant>,
    exit: Option<Exit>,
}

impl Desk {
    async fn serve(
        &mut self,
        mut link: AbortOnDropHandle<Result<(), WorkerError>>,
        mut events: mpsc::Receiver<LinkEvent>,
        shutdown: CancellationToken,
    ) -> Result<(), WorkerError> {
        let mut asked_to_drain = false;
        loop {
            let event = tokio::select! {
                biased;
                Some(event) = events.recv() => self.link_event(event),
                Some(end) = self.control.ends.recv() => {
                    self.running.remove(&end.id);
                    Event::Ended(end)
                }
                Some(news) = self.control.actors.news.recv() => match self.errand(news) {
                    Some(news) => Event::News(news),
                    None => continue,
                },
                Some(_) = self.errands.join_next() => continue,
                () = shutdown.cancelled(), if !asked_to_drain => {
                    asked_to_drain = true;
                    Event::DrainRequested
                }
                () = until(self.drain_deadline) => {
                    warn!(running = self.running.len(), held = self.control.state.held(), "drain timeout is over, leaving");
                    return Ok(());
                }
                _ = self.beat.tick() => {
                    self.errands.spawn_blocking(free_idle_models);
                    Event::Beat(self.sample())
                }
                ended = &mut link => return link_ended(ended),
            };
            for action in self.control.state.handle(event) {
                self.perform(action);
            }
            self.publish();
            match self.exit.take() {
                None => {}
                Some(Exit::Shutdown) => return Ok(()),
                Some(Exit::Rejected(reason)) => return Err(WorkerError::Rejected(reason)),
            }
        }
    }

    /// Asks what is to be asked; other news come back.
    fn errand(&mut self, news: News) -> Option<News> {
        match ActorQuestion::of(news) {
            Ok(question) => {
                let Control { coordinator, actors, .. } = &self.control;
                self.errands.spawn(question.ask(coordinator.clone(), actors.runtime.clone()));
                None
            }
            Err(news) => Some(*news),
        }
    }

    fn link_event(&mut self, event: LinkEvent) -> Event {
        match event {
            LinkEvent::Opened(open) => {
                self.link = Some(open);
                Event::LinkOpened
            }
            LinkEvent::Received(message) => Event::Received(message),
            LinkEvent::Closed => {
                self.link = None;
                Event::LinkClosed
            }
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Send(message) => {
                if let Some(link) = &self.link {
                    link.send(message);
                }
            }
            Action::BeatEvery(interval) => {
                info!("attached to the coordinator");
                self.beat = beat_every(interval);
            }
            Action::KnowStage { job, stage, inputs_version, definition } => {
                self.control.stages.offer(job, stage, inputs_version, *definition);
            }
            Action::Start(launch) => {
                let id = launch.id;
                self.running.insert(id, self.control.runner.start(launch));
            }
            Action::Cancel(id) => {
                if let Some(task) = self.running.get(&id) {
                    task.cancel();
                }
            }
            Action::DropAttempt(id, outputs) => self.drop_attempt(id, outputs),
            Action::DropStage(job, stage) => self.control.board.store.drop_stage(job, stage),
            Action::DropJob(job) => {
                self.control.stages.drop_job(job);
                self.control.board.store.drop_job(job);
            }
            Action::KeepJobs(jobs) => self.control.stages.keep_jobs(&jobs),
            Action::Node(event) => self.control.actors.runtime.tell(event),
            Action::Refused(job, reason) => {
                warn!(%job, reason, "no worker can run what a job asks for");
                self.control.actors.logs.note(job, "", &format!("no worker can run what is asked for: {reason}"));
            }
            Action::CloseLink => {
                warn!("a coordinator of an older term answered, leaving it");
                self.link = None;
            }
            Action::StartDrainTimer => {
                info!(timeout = ?self.control.drain_timeout, "draining");
                self.drain_deadline = Some(Instant::now() + self.control.drain_timeout);
            }
            Action::Exit(exit) => self.exit = Some(exit),
        }
    }

    fn drop_attempt(&self, id: AttemptId, outputs: Range<u32>) {
        for partition in outputs {
            let AttemptId { task, attempt } = id;
            let key = OutputKey { job: task.job, stage: task.stage, partition: PartitionId(partition), attempt };
            self.control.board.store.drop_output(key);
        }
    }

    fn sample(&self) -> Sample {
        let readings = self.control.board.readings();
        let progress = self.running.iter().map(|(&id, task)| {
            let (rows, bytes) = task.progress();
            (id, rows, bytes)
        });
        Sample {
            rss_bytes: process::rss_bytes(),
            pool_used_bytes: readings.pool_used_bytes,
            stored_bytes: readings.stored_bytes,
            spilled_bytes: readings.spilled_bytes,
            progress: progress.collect(),
        }
    }

    fn publish(&self) {
        let state = &self.control.state;
        let duties = Duties { attached: state.is_attached(), running: state.running(), held: state.held() };
        self.control.duties.send_if_modified(|old| std::mem::replace(old, duties) != duties);
    }
}

fn beat_every(interval: Duration) -> Interval {
    let mut beat = tokio::time::interval(interval);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beat
}

/// Never, when there is no deadline.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn link_ended(ended: Result<Result<(), WorkerError>, tokio::task::JoinError>) -> Result<(), WorkerError> {
    match ended {
        Ok(outcome) => outcome,
        Err(panicked) => Err(WorkerError::Serve { listener: "coordinator link", reason: panicked.to_string() }),
    }
}
