//! Keeps the processes of a local cluster running. One task owns them; others ask it through
//! [`super::LocalCluster`].
//! Always holds: there is one coordinator and `shape.workers` workers, or they are being started; what died young waits
//! longer each time; a worker that left with status 0 was told to, and is not replaced.
//!
//!   waiting ─► running ─► (exit) ─► waiting …
//!                 └─► leaving ─► (exit) ─► gone

use std::collections::BTreeMap;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::children::{Commands, Ending, Role, Running, start};
use super::cluster::ClusterFault;
use super::listeners::Listeners;
use super::restart::Restarts;

/// How often a process may give up on its start before that is taken for final.
const START_ATTEMPTS: u32 = 3;
/// Later than this after its start a process that gives up did not fail to start.
const START_TIME: Duration = Duration::from_secs(5);
/// How long a coordinator may take to leave before it is killed: it removes what jobs have staged.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);

/// What the supervisor is told and asked.
pub(super) enum Event {
    /// A process is gone.
    Exited { role: Role, status: io::Result<ExitStatus> },
    /// Have so many workers.
    Scale { workers: u32, answer: oneshot::Sender<Result<Surplus, ClusterFault>> },
    /// Which processes run, by name.
    Processes(oneshot::Sender<BTreeMap<String, u32>>),
    /// Say so when a process cannot be started.
    TellFault(oneshot::Sender<ClusterFault>),
    /// End everything.
    Stop,
}

/// Names of workers that must leave, and the news that they have.
pub(super) type Surplus = (Vec<String>, oneshot::Receiver<()>);

struct Child {
    state: ChildState,
    restarts: Restarts,
    /// How often in a row it ended by itself, saying why, right after its start.
    gave_up: u32,
    started: Instant,
}

enum ChildState {
    Waiting { until: Instant },
    Running(Running),
    Leaving(Running),
}

impl ChildState {
    /// Ends the process, if there is one.
    fn end(&self, how: Ending) {
        if let Self::Running(running) | Self::Leaving(running) = self {
            running.end(how);
        }
    }
}

/// The processes of one cluster.
pub(super) struct Supervisor {
    commands: Commands,
    listeners: Listeners,
    children: BTreeMap<Role, Child>,
    events: mpsc::UnboundedSender<Event>,
    /// Who waits for surplus workers to leave.
    waiting: Vec<oneshot::Sender<()>>,
    /// Who wants to know when a process keeps failing.
    fault: Option<oneshot::Sender<ClusterFault>>,
}

impl Supervisor {
    /// Starts a coordinator and `workers` workers. `events` are what [`Self::run`] will be given.
    pub(super) fn start(
        commands: Commands,
        listeners: Listeners,
        workers: u32,
        events: mpsc::UnboundedSender<Event>,
    ) -> Result<Self, ClusterFault> {
        let mut supervisor =
            Self { commands, listeners, children: BTreeMap::new(), events, waiting: Vec::new(), fault: None };
        supervisor.add(Role::Coordinator)?;
        for number in 1..=workers {
            supervisor.add(Role::Worker(number))?;
        }
        Ok(supervisor)
    }

    /// Keeps the processes running until [`Event::Stop`], then ends them.
    pub(super) async fn run(mut self, mut events: mpsc::UnboundedReceiver<Event>) {
        loop {
            let due = self.next_start();
            tokio::select! {
                event = events.recv() => match event {
                    Some(Event::Stop) | None => break,
                    Some(event) => self.handle(event),
                },
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.start_due(),
            }
        }
        self.stop(events).await;
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Exited { role, status } => self.exited(role, status),
            Event::Scale { workers, answer } => {
                let surplus = self.scale(workers);
                let _ = answer.send(surplus);
            }
            Event::Processes(answer) => {
                let _ = answer.send(self.processes());
            }
            Event::TellFault(answer) => {
                self.fault = Some(answer);
                self.report_fault();
            }
            Event::Stop => {}
        }
    }

    fn add(&mut self, role: Role) -> Result<(), ClusterFault> {
        let running = self.spawn(role)?;
        let state = ChildState::Running(running);
        let child = Child { state, restarts: Restarts::default(), gave_up: 0, started: Instant::now() };
        self.children.insert(role, child);
        Ok(())
    }

    fn spawn(&self, role: Role) -> Result<Running, ClusterFault> {
        let command = match role {
            Role::Coordinator => self.commands.coordinator(&self.listeners, self.children.is_empty()),
            Role::Worker(number) => self.commands.worker(number),
        };
        let events = self.events.clone();
        let exited = move |status| {
            // Nobody listens any more only when the supervisor is gone.
            let _ = events.send(Event::Exited { role, status });
        };
        command
            .and_then(|command| start(command, exited))
            .map_err(|source| ClusterFault::Spawn { process: role.name(), source })
    }

    fn exited(&mut self, role: Role, status: io::Result<ExitStatus>) {
        let Some(child) = self.children.get_mut(&role) else { return };
        let leaving = matches!(child.state, ChildState::Leaving(_));
        let told_to = matches!(role, Role::Worker(_)) && status.as_ref().is_ok_and(ExitStatus::success);
        if leaving || told_to {
            tracing::info!(process = role.name(), "process left");
            self.children.remove(&role);
            self.tell_waiting();
            return;
        }
        let lifetime = child.started.elapsed();
        let delay = child.restarts.died(lifetime);
        let by_itself = status.as_ref().is_ok_and(|status| status.code().is_some());
        child.gave_up = if by_itself && lifetime < START_TIME { child.gave_up + 1 } else { 0 };
        let why = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        tracing::warn!(
            process = role.name(),
            reason = why,
            delay_ms = delay.as_millis(),
            "process died, starting it again"
        );
        child.state = ChildState::Waiting { until: Instant::now() + delay };
        self.report_fault();
    }

    fn next_start(&self) -> Option<Instant> {
        self.children
            .values()
            .filter_map(|child| match child.state {
                ChildState::Waiting { until } => Some(until),
                ChildState::Running(_) | ChildState::Leaving(_) => None,
            })
            .min()
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        let due: Vec<Role> = self
            .children
            .iter()
            .filter(|(_, child)| matches!(child.state, ChildState::Waiting { until } if until <= now))
            .map(|(role, _)| *role)
            .collect();
        for role in due {
            let spawned = self.spawn(role);
            let Some(child) = self.children.get_mut(&role) else { continue };
            child.started = now;
            child.state = match spawned {
                Ok(running) => ChildState::Running(running),
                Err(error) => {
                    tracing::error!(process = role.name(), %error, "process cannot be started");
                    ChildState::Waiting { until: now + child.restarts.died(Duration::ZERO) }
                }
            };
        }
    }

    /// Starts what is missing, or names the surplus: the workers with the highest numbers.
    fn scale(&mut self, workers: u32) -> Result<Surplus, ClusterFault> {
        let numbers: Vec<u32> = self.staying_workers().collect();
        let wanted = usize::try_from(workers).unwrap_or(usize::MAX);
        let (tell, gone) = oneshot::channel();
        if numbers.len() <= wanted {
            let free = (1..).filter(|number| !self.children.contains_key(&Role::Worker(*number)));
            for number in free.take(wanted - numbers.len()).collect::<Vec<u32>>() {
                self.add(Role::Worker(number))?;
            }
            return Ok((Vec::new(), gone));
        }
        let surplus: Vec<Role> = numbers[wanted..].iter().map(|number| Role::Worker(*number)).collect();
        let names = surplus.iter().map(|role| role.name()).collect();
        for role in surplus {
            self.let_go(role);
        }
        self.waiting.push(tell);
        self.tell_waiting();
        Ok((names, gone))
    }

    fn staying_workers(&self) -> impl Iterator<Item = u32> {
        self.children.iter().filter_map(|(role, child)| match (role, &child.state) {
            (Role::Worker(number), ChildState::Running(_) | ChildState::Waiting { .. }) => Some(*number),
            _ => None,
        })
    }

    fn let_go(&mut self, role: Role) {
        let Some(child) = self.children.remove(&role) else { return };
        if let ChildState::Running(running) | ChildState::Leaving(running) = child.state {
            self.children.insert(role, Child { state: ChildState::Leaving(running), ..child });
        }
    }

    fn tell_waiting(&mut self) {
        let leaving = self.children.values().any(|child| matches!(child.state, ChildState::Leaving(_)));
        if !leaving {
            for waiting in self.waiting.drain(..) {
                let _ = waiting.send(());
            }
        }
    }

    fn processes(&self) -> BTreeMap<String, u32> {
        self.children
            .iter()
            .filter_map(|(role, child)| match &child.state {
                ChildState::Running(running) | ChildState::Leaving(running) => Some((role.name(), running.pid)),
                ChildState::Waiting { .. } => None,
            })
            .collect()
    }

    /// Tells who asked, if a process keeps failing.
    fn report_fault(&mut self) {
        let failing = self.children.iter().find(|(_, child)| child.gave_up >= START_ATTEMPTS);
        let Some((role, _)) = failing else { return };
        let log = self.commands.log_file(*role);
        let fault = ClusterFault::KeepsFailing { process: role.name(), reason: last_error(&log), log };
        if let Some(tell) = self.fault.take() {
            let _ = tell.send(fault);
        }
    }

    /// The coordinator may remove what jobs have staged, which takes workers that tell of the end of their tasks, and close its
    /// journal. The workers have nothing to save, so they are killed then.
    async fn stop(mut self, mut events: mpsc::UnboundedReceiver<Event>) {
        self.children.retain(|_, child| !matches!(child.state, ChildState::Waiting { .. }));
        if let Some(coordinator) = self.children.get(&Role::Coordinator) {
            coordinator.state.end(Ending::Terminate);
        }
        let deadline = tokio::time::sleep(LEAVE_TIMEOUT);
        tokio::pin!(deadline);
        while !self.children.is_empty() {
            if !self.children.contains_key(&Role::Coordinator) {
                self.kill_all();
            }
            tokio::select! {
                event = events.recv() => match event {
                    Some(Event::Exited { role, .. }) => drop(self.children.remove(&role)),
                    Some(_) => {}
                    None => return,
                },
                () = &mut deadline => {
                    self.kill_all();
                    deadline.as_mut().reset(Instant::now() + LEAVE_TIMEOUT);
                }
            }
        }
    }

    fn kill_all(&self) {
        for child in self.children.values() {
            child.state.end(Ending::Kill);
        }
    }
}

/// What a process said last when it gave up.
fn last_error(log: &std::path::Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let last = text.lines().rev().find_map(|line| line.strip_prefix("error: "));
    last.map_or_else(|| "it says nothing".to_owned(), ToOwned::to_owned)
}
