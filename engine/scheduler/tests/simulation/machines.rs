//! What the virtual workers do in time: connect, beat, obey, and go through their attempts.

use std::collections::BTreeMap;

use tandem_graph::StageRole;
use tandem_proto::{Attempt, PartitionId, TaskId, WorkerId};
use tandem_scheduler::{
    Action, AttemptId, CountKind, Event, FailureKind, RowCount, StagePlan, StagedFile, TaskMetrics, TaskOutcome,
    TaskOutput, WorkerInfo, WorkerUsage,
};

use crate::node::random_extras;
use crate::worker::{Link, ToRead, VirtualWorker, failed};
use crate::world::{Happening, World};

impl World {
    pub(crate) fn join(&mut self) {
        let id = WorkerId(self.next_worker);
        self.next_worker += 1;
        let slowness = if self.rng.chance(15) { 8 } else { 1 };
        let slots = self.rng.range(1..5) as u32;
        let mut extras = WorkerInfo::default();
        random_extras(&mut self.rng, &mut extras);
        self.workers.insert(id, VirtualWorker::new(id, slots, slowness, extras));
        let delay = self.rng.range(1..200);
        self.plan(delay, Happening::Connect { worker: id });
    }

    /// When a stopped worker goes on, if it is stopped.
    pub(crate) fn stopped_for(&self, worker: WorkerId) -> Option<u64> {
        let until = self.workers.get(&worker)?.paused_until;
        (until > self.now).then(|| until - self.now)
    }

    pub(crate) fn connect(&mut self, id: WorkerId) {
        if let Some(delay) = self.stopped_for(id) {
            return self.plan(delay, Happening::Connect { worker: id });
        }
        let (up, stream) = (self.cluster.is_some(), self.next_stream);
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if worker.link != Link::Away {
            return;
        }
        if !up || worker.cut_until > self.now {
            return self.plan(100, Happening::Connect { worker: id });
        }
        self.next_stream += 1;
        worker.link = Link::Registering { stream };
        let registration = worker.registration();
        self.streams.insert(stream, (id, None));
        self.send_to_coordinator(id, stream, Event::WorkerRegistered(Box::new(registration)));
        // A registration that is not answered is given up.
        self.plan(1_000, Happening::Beat { worker: id, stream });
    }

    pub(crate) fn worker_sees_break(&mut self, id: WorkerId, broken: u64) {
        if let Some(delay) = self.stopped_for(id) {
            return self.plan(delay, Happening::WorkerSeesBreak { worker: id, stream: broken });
        }
        let Some(worker) = self.workers.get_mut(&id) else { return };
        match worker.link {
            Link::Registering { stream } | Link::Attached { stream, .. } if stream == broken => {
                worker.link = Link::Away;
                let delay = self.rng.range(10..300);
                self.plan(delay, Happening::Connect { worker: id });
            }
            _ => {}
        }
    }

    pub(crate) fn beat(&mut self, id: WorkerId, of: u64) {
        if let Some(delay) = self.stopped_for(id) {
            return self.plan(delay, Happening::Beat { worker: id, stream: of });
        }
        let Some(worker) = self.workers.get(&id) else { return };
        match worker.link {
            Link::Registering { stream } if stream == of => {
                self.plan(0, Happening::CoordinatorSeesBreak { stream });
                self.plan(0, Happening::WorkerSeesBreak { worker: id, stream });
            }
            Link::Attached { stream, epoch } if stream == of => {
                let (progress, owed, draining) = (worker.progress(), worker.owed.clone(), worker.draining);
                let usage = WorkerUsage::default();
                let leases = worker.node.report(draining);
                self.send_to_coordinator(id, stream, Event::Heartbeat { worker: id, epoch, usage, progress, leases });
                for (sequence, (attempt, outcome)) in owed {
                    let event = Event::TaskReported { worker: id, epoch, sequence, attempt, outcome };
                    self.send_to_coordinator(id, stream, event);
                }
                if draining {
                    self.send_to_coordinator(id, stream, Event::WorkerDraining { worker: id, epoch });
                }
                self.plan(500, Happening::Beat { worker: id, stream });
            }
            _ => {}
        }
    }

    pub(crate) fn deliver_to_worker(&mut self, stream: u64, action: Action) -> Result<(), String> {
        let Some(id) = addressee(&action) else { return Ok(()) };
        if let Some(delay) = self.stopped_for(id) {
            self.plan(delay, Happening::ToWorker { stream, action });
            return Ok(());
        }
        let Some(worker) = self.workers.get_mut(&id) else { return Ok(()) };
        match (worker.link, action) {
            (Link::Registering { stream: mine }, Action::Registered { epoch, .. }) if mine == stream => {
                worker.link = Link::Attached { stream, epoch };
                self.plan(0, Happening::Beat { worker: id, stream });
            }
            (Link::Registering { stream: mine }, Action::Reject { .. }) if mine == stream => {
                self.tally.rejected += 1;
                self.workers.remove(&id);
                self.plan(300, Happening::Join);
            }
            (Link::Registering { stream: mine }, action @ (Action::JobGone { .. } | Action::WorkerGone { .. }))
                if mine == stream =>
            {
                // It was sent behind the answer to the registration.
                self.plan(2, Happening::ToWorker { stream, action });
            }
            (Link::Attached { stream: mine, .. }, action) if mine == stream => self.obey(id, action),
            _ => {}
        }
        self.check_not_overbooked(id)
    }

    pub(crate) fn obey(&mut self, id: WorkerId, action: Action) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        match action {
            Action::Launch { attempt, inputs_version, work, .. } => {
                let started = worker.launch(attempt, inputs_version);
                let job = self.jobs.get(&attempt.task.job);
                if started && job.is_some_and(|job| job.script.plan.executors) {
                    worker.node.executors.insert(attempt.task.job);
                    let delay = self.rng.range(1..200);
                    self.plan(delay, Happening::Want { worker: id, job: attempt.task.job });
                }
                self.works.entry(attempt).or_insert(work);
                let delay = started.then(|| self.rng.range(1..50));
                if let Some(delay) = delay {
                    self.plan(delay, Happening::Step { worker: id, attempt });
                }
            }
            Action::Cancel { attempt, .. } => {
                if let Some(run) = worker.running.get_mut(&attempt) {
                    run.cancelled = true;
                }
            }
            Action::DropOutput { job, stage, .. } => worker.drop_output(job, stage),
            lending @ (Action::JobGone { .. }
            | Action::GrantLease { .. }
            | Action::RevokeLease { .. }
            | Action::RefuseLease { .. }
            | Action::WorkerGone { .. }) => self.obey_lending(id, lending),
            Action::GroupChanged { group, news, .. } => self.group_changed(id, group, news),
            Action::Acknowledge { sequence, .. } => {
                worker.owed.remove(&sequence);
            }
            Action::Drain { .. } => worker.draining = true,
            Action::Shutdown { .. } => {
                self.break_stream(id);
                self.workers.remove(&id);
                self.keep_some_workers();
            }
            _ => {}
        }
    }

    pub(crate) fn step(&mut self, id: WorkerId, attempt: AttemptId) {
        if let Some(delay) = self.stopped_for(id) {
            return self.plan(delay, Happening::Step { worker: id, attempt });
        }
        let Some(worker) = self.workers.get(&id) else { return };
        let Some(run) = worker.running.get(&attempt).cloned() else { return };
        let pace = worker.slowness;
        if run.cancelled && self.rng.chance(80) {
            return self.end(id, attempt, failed(FailureKind::Cancelled));
        }
        match run.to_read {
            None => self.ask_for_inputs(id, attempt, run.inputs_version),
            Some(inputs) if inputs.is_empty() => {
                let outcome = self.outcome_of(id, attempt);
                self.end(id, attempt, outcome);
            }
            Some(_) => {
                if let Err(failure) = self.read_inputs(id, attempt) {
                    return self.end(id, attempt, failure);
                }
                let delay = self.rng.range(1..600) * pace;
                self.plan(delay, Happening::Step { worker: id, attempt });
            }
        }
    }

    pub(crate) fn ask_for_inputs(&mut self, id: WorkerId, attempt: AttemptId, version: u32) {
        let Some(cluster) = &self.cluster else { return self.plan(200, Happening::Step { worker: id, attempt }) };
        let TaskId { job, stage, .. } = attempt.task;
        let Ok(inputs) = cluster.stage_inputs(job, stage, version) else {
            return self.end(id, attempt, failed(FailureKind::Retry));
        };
        let mut to_read = Vec::new();
        for input in inputs {
            let Some(division) = cluster.division(job, input.stage) else { continue };
            for (number, (&worker, &attempt)) in (0..).zip(input.worker_of.iter().zip(&input.attempt_of)) {
                let Some(index) = division.writer_of(number) else { continue };
                let task = TaskId { job, stage: input.stage, index };
                let attempt = AttemptId { task, attempt: Attempt(attempt) };
                to_read.push(ToRead { attempt, number, from: input.workers[worker as usize].0 });
            }
        }
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let pace = worker.slowness;
        if let Some(run) = worker.running.get_mut(&attempt) {
            run.to_read = Some(to_read);
        }
        let is_program = self.jobs.get(&job).is_some_and(|job| job.script.plan.is_program());
        let delay = self.rng.range(1..if is_program { 8_000 } else { 600 }) * pace;
        self.plan(delay, Happening::Step { worker: id, attempt });
    }

    /// Reads every input, or fails with the one that cannot be read.
    pub(crate) fn read_inputs(&mut self, id: WorkerId, attempt: AttemptId) -> Result<(), TaskOutcome> {
        let run = self.workers.get_mut(&id).and_then(|worker| worker.running.get_mut(&attempt));
        let Some(inputs) = run.and_then(|run| run.to_read.replace(Vec::new())) else { return Ok(()) };
        let mut lineage = BTreeMap::new();
        for ToRead { attempt: input, number, from } in inputs {
            let source = self
                .workers
                .get(&from)
                .filter(|source| source.paused_until <= self.now && source.cut_until <= self.now);
            if !source.is_some_and(|source| source.held.contains_key(&input)) {
                let (stage, partition) = (input.task.stage, PartitionId(number));
                return Err(failed(FailureKind::Fetch { stage, partition, worker: from }));
            }
            lineage.extend(self.lineages.get(&input).cloned().unwrap_or_default());
        }
        if let Some(run) = self.workers.get_mut(&id).and_then(|worker| worker.running.get_mut(&attempt)) {
            run.lineage = lineage;
        }
        Ok(())
    }

    /// How an attempt ends that has read its inputs.
    pub(crate) fn outcome_of(&mut self, id: WorkerId, attempt: AttemptId) -> TaskOutcome {
        let TaskId { job, stage, index } = attempt.task;
        let Some(script) = self.jobs.get(&job).map(|job| job.script.clone()) else {
            return failed(FailureKind::Cancelled);
        };
        if script.fatal == Some((stage, index)) {
            self.jobs.entry(job).and_modify(|job| job.met_fatal = true);
            return failed(FailureKind::Fatal);
        }
        if self.rng.chance(script.flaky_percent) {
            return failed(if self.rng.chance(50) { FailureKind::Retry } else { FailureKind::Resources });
        }
        let Some(plan) = script.plan.stage(stage) else { return failed(FailureKind::Fatal) };
        let run = self.workers.get(&id).and_then(|worker| worker.running.get(&attempt));
        let mut lineage = run.map(|run| run.lineage.clone()).unwrap_or_default();
        if !plan.deterministic {
            lineage.insert((stage, index), attempt.attempt.0);
        }
        self.lineages.insert(attempt, lineage);
        self.finished.insert(attempt);
        let scale = self.rng.range(0..4);
        TaskOutcome::Finished(Box::new(output(plan, attempt, scale)))
    }

    pub(crate) fn end(&mut self, id: WorkerId, attempt: AttemptId, outcome: TaskOutcome) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let Some(sequence) = worker.end(attempt, outcome.clone()) else { return };
        if let Link::Attached { stream, epoch } = worker.link {
            self.send_to_coordinator(id, stream, Event::TaskReported { worker: id, epoch, sequence, attempt, outcome });
        }
    }
}

fn addressee(action: &Action) -> Option<WorkerId> {
    match action {
        Action::Registered { worker, .. }
        | Action::Acknowledge { worker, .. }
        | Action::Launch { worker, .. }
        | Action::Cancel { worker, .. }
        | Action::DropOutput { worker, .. }
        | Action::JobGone { worker, .. }
        | Action::GrantLease { worker, .. }
        | Action::RevokeLease { worker, .. }
        | Action::RefuseLease { worker, .. }
        | Action::GroupChanged { worker, .. }
        | Action::WorkerGone { worker, .. }
        | Action::Reject { worker, .. }
        | Action::Drain { worker, .. }
        | Action::Shutdown { worker, .. } => Some(*worker),
        _ => None,
    }
}

/// `scale` is how large it is: from next to nothing to more than a partition of its own may be.
fn output(plan: &StagePlan, attempt: AttemptId, scale: u64) -> TaskOutput {
    let TaskId { stage, index, .. } = attempt.task;
    let files = match &plan.role {
        StageRole::Sink(sink) => vec![StagedFile {
            sink: sink.clone(),
            staged_path: format!("staged/{stage}-{index}-{}", attempt.attempt),
            final_path: format!("{stage}-{index}"),
            rows: 1,
            bytes: 10,
            multipart_id: String::new(),
            parts: Vec::new(),
        }],
        _ => Vec::new(),
    };
    let sizes = [0, 100, 205, 240];
    let output_bytes = if scale == 3 { 1 << 30 } else { 10 };
    let count = RowCount { name: plan.name.clone(), kind: CountKind::Step, rows: 1, bytes: 0 };
    TaskOutput {
        partition_sizes: (0..plan.outputs).map(|output| sizes[(scale as usize + output as usize) % 4]).collect(),
        metrics: TaskMetrics { counts: vec![count], output_rows: 1, output_bytes, ..TaskMetrics::default() },
        files,
    }
}
