//! The simulated shell: feeds the state machine, performs its actions, keeps the journal, crashes and starts again.

use tandem_proto::JobId;
use tandem_scheduler::{Action, Cluster, ClusterConfig, Event, Fact, StagedFile, Timestamp};

use crate::world::{Client, Happening, World};

impl World {
    /// Gives an event to the coordinator, if it is up, performs what comes out and checks that all is well.
    pub(crate) fn feed(&mut self, event: Event) -> Result<(), String> {
        let now = Timestamp(self.now);
        let Some(cluster) = &mut self.cluster else { return Ok(()) };
        let before = cluster.counters();
        let actions = cluster.handle(now, event);
        let after = cluster.counters();
        self.losses += (after.workers_lost - before.workers_lost) as u32;
        self.tally.workers_lost += after.workers_lost - before.workers_lost;
        self.tally.outputs_lost += after.outputs_lost - before.outputs_lost;
        self.tally.leases += after.leases_granted - before.leases_granted;
        self.tally.revoked += after.leases_revoked - before.leases_revoked;
        self.tally.reserved += after.groups_reserved - before.groups_reserved;
        self.tally.raced += after.attempts_raced - before.attempts_raced;
        self.tally.released += after.workers_released - before.workers_released;
        self.perform(actions)
    }

    pub(crate) fn perform(&mut self, actions: Vec<Action>) -> Result<(), String> {
        self.check_actions(&actions)?;
        for action in actions {
            self.perform_one(action)?;
        }
        self.check_state()?;
        if let Some(at) = self.cluster.as_ref().and_then(Cluster::next_deadline) {
            let delay = at.0.saturating_sub(self.now);
            self.plan(delay, Happening::Tick { term: self.term });
        }
        Ok(())
    }

    pub(crate) fn perform_one(&mut self, action: Action) -> Result<(), String> {
        if self.trace {
            println!("          -> {action:?}");
        }
        match action {
            Action::Registered { worker, epoch }
            | Action::Acknowledge { worker, epoch, .. }
            | Action::Launch { worker, epoch, .. }
            | Action::Cancel { worker, epoch, .. }
            | Action::DropOutput { worker, epoch, .. }
            | Action::JobGone { worker, epoch, .. }
            | Action::GrantLease { worker, epoch, .. }
            | Action::RevokeLease { worker, epoch, .. }
            | Action::RefuseLease { worker, epoch, .. }
            | Action::GroupChanged { worker, epoch, .. }
            | Action::WorkerGone { worker, epoch, .. }
            | Action::Drain { worker, epoch }
            | Action::Shutdown { worker, epoch } => self.send_to_worker(worker, epoch, action),
            Action::Reject { worker, .. } => {
                if let Some(stream) = self.routes.remove(&worker) {
                    self.plan(1, Happening::ToWorker { stream, action });
                }
            }
            Action::Disconnect { worker, epoch } => {
                if let Some(stream) = self.route(worker, epoch) {
                    self.streams.remove(&stream);
                    self.plan(1, Happening::WorkerSeesBreak { worker, stream });
                }
            }
            Action::Record(fact) => {
                if let Fact::NameFreed { name } = &fact {
                    self.names.remove(name);
                }
                self.journal.record(fact);
                if self.rng.chance(30) {
                    self.journal.sync();
                }
            }
            Action::Commit { job, files } => self.commit(job, files)?,
            Action::CleanUp { job } => {
                let delay = self.rng.range(1..100);
                self.plan(delay, Happening::Cleaned { term: self.term, job });
            }
            Action::JobChanged { job } => self.job_changed(job),
            Action::JobEnded { job, outcome } => self.job_ended(job, outcome)?,
            Action::Forget { job } => {
                self.journal.forget(job);
                if let Some(job) = self.jobs.get_mut(&job) {
                    job.forgotten = true;
                }
            }
        }
        Ok(())
    }

    pub(crate) fn commit(&mut self, job: JobId, files: Vec<StagedFile>) -> Result<(), String> {
        self.check_commit(job, &files)?;
        self.journal.intend(job, files.clone());
        let fails = self.jobs.get(&job).map_or(0, |job| job.script.commit_fails_percent);
        let outcome = if self.rng.chance(fails) { Err("the disk is full".to_owned()) } else { Ok(()) };
        let delay = self.rng.range(1..400);
        self.plan(delay, Happening::Published { term: self.term, job, files, outcome });
        Ok(())
    }

    pub(crate) fn published(
        &mut self,
        id: JobId,
        files: Vec<StagedFile>,
        outcome: Result<(), String>,
    ) -> Result<(), String> {
        let Some(job) = self.jobs.get_mut(&id) else { return Ok(()) };
        match &outcome {
            Ok(()) => {
                job.published = Some(files);
                self.journal.done(id);
            }
            Err(_) => job.commit_failed = true,
        }
        // The coordinator may die between publishing and saying so.
        if self.faults_last() && self.rng.chance(10) {
            self.crash_coordinator();
            return Ok(());
        }
        self.feed(Event::CommitFinished { job: id, outcome })
    }

    pub(crate) fn tick(&mut self) -> Result<(), String> {
        let due = self.cluster.as_ref().and_then(Cluster::next_deadline);
        if due.is_some_and(|due| due.0 <= self.now) { self.feed(Event::Tick) } else { Ok(()) }
    }

    pub(crate) fn crash_coordinator(&mut self) {
        self.cluster = None;
        self.tally.restarts += 1;
        self.routes.clear();
        for (stream, (worker, _)) in std::mem::take(&mut self.streams) {
            let delay = self.rng.range(1..100);
            self.plan(delay, Happening::WorkerSeesBreak { worker, stream });
        }
        for job in self.jobs.values_mut() {
            if !job.script.plan.journaled && !job.is_over() {
                job.vanished = true;
                self.tally.vanished += 1;
            }
            if let Client::Following { .. } = job.client {
                job.client = Client::Absent;
                job.was_alone = true;
            }
        }
        let delay = self.rng.range(20..3_000);
        self.plan(delay, Happening::CoordinatorStarts);
    }

    pub(crate) fn start_coordinator(&mut self) -> Result<(), String> {
        if self.cluster.is_some() {
            return Ok(());
        }
        self.term.0 += 1;
        let (jobs, facts) = self.journal.crash(&mut self.rng);
        let config = ClusterConfig { expect_workers: !std::mem::take(&mut self.down), ..self.config.clone() };
        let (cluster, actions) = Cluster::restore(config, self.term, Timestamp(self.now), jobs, facts);
        self.cluster = Some(cluster);
        let clients: Vec<_> =
            self.jobs.iter().filter(|(_, job)| job.client == Client::Absent).map(|(&id, _)| id).collect();
        for job in clients {
            let delay = self.rng.range(1..2_000);
            self.plan(delay, Happening::Follow { job });
        }
        self.perform(actions)?;
        self.check_names()
    }
}
