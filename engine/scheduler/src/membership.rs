//! How workers come, stay in touch, drain and go. Part of the [`Cluster`].
//! A worker that is gone and comes back registers as if it were new: its epoch is another, what it runs and holds is taken over
//! where it still fits and ended where not.

use std::collections::BTreeSet;

use tandem_proto::{Epoch, JobId, StageId, TaskId, WorkerId};

use crate::action::{Action, Fact};
use crate::cluster::Cluster;
use crate::contact::{Contact, ContactEvent, Duty, DutyEvent};
use crate::event::{HeldOutput, LeaseReport, Progress, Registration, WorkerUsage};
use crate::report::AttemptId;
use crate::stage::Demand;
use crate::task::TaskState;
use crate::timers::Timer;
use crate::worker::{Placed, Standing, Worker};

impl Cluster {
    /// A worker opened a stream and says what it runs and holds.
    pub(crate) fn register(&mut self, registration: Registration) {
        let Registration { worker: id, info, running, held, jobs, leases, groups } = registration;
        let known = self.workers.get(id).is_some();
        if !known && self.was_given_up(&jobs, &running) {
            let reason = "it was out of touch for so long that its work was given to others".to_owned();
            return self.out.actions.push(Action::Reject { worker: id, reason });
        }
        self.epoch.0 += 1;
        self.counters.registrations += 1;
        let (epoch, now, info) = (self.epoch, self.now, info.completed());
        if known {
            let expected_before = self.workers.any_expected();
            self.workers.edit(id, |worker| {
                (worker.info, worker.epoch, worker.heard) = (info, epoch, now);
                worker.contact.apply(ContactEvent::Registered);
            });
            self.note_return(expected_before);
        } else {
            self.record(Fact::WorkerJoined { worker: id, name: info.name.clone() });
            self.workers.insert(Worker::new(id, info, epoch, Contact::Attached, now));
        }
        self.out.actions.push(Action::Registered { worker: id, epoch });
        let running: BTreeSet<_> = running.into_iter().collect();
        let gone = self.compare_jobs(id, jobs);
        self.compare_placed(id, &running, &held);
        self.compare_leases(id, leases, &gone);
        self.compare_groups(id, groups);
        self.tell_groups(id);
        self.compare_outputs(id, held);
        let joined = self.workers.get(id);
        let hopeful = self.leases.worker_joined(id, |shape| joined.is_some_and(|worker| worker.could_ever_host(shape)));
        self.out.touched.extend(hopeful);
        self.repeat_duty(id);
        self.arm_worker(id);
    }

    /// Brings the attempts that are placed on a worker in line with what it says it runs.
    fn compare_placed(&mut self, id: WorkerId, running: &BTreeSet<AttemptId>, held: &[HeldOutput]) {
        let known = self.workers.edit(id, |worker| std::mem::take(&mut worker.placed)).unwrap_or_default();
        let finished: BTreeSet<_> = held.iter().map(|output| output.attempt).collect();
        let mut all = Vec::with_capacity(running.len());
        for placed in known {
            if running.contains(&placed.attempt) {
                all.push(Placed { seen: self.now, ..placed });
            } else {
                self.free_slot(placed.attempt.task.job);
                if !finished.contains(&placed.attempt) {
                    self.requeue_if_running(id, placed.attempt);
                }
            }
        }
        for &attempt in running {
            if !all.iter().any(|placed| placed.attempt == attempt) {
                all.push(self.take_over_running(id, attempt));
            }
        }
        let cancelled = all.iter().filter(|placed| placed.standing == Standing::Cancelled);
        let cancelled: Vec<_> = cancelled.map(|placed| placed.attempt).collect();
        self.workers.edit(id, |worker| worker.placed = all);
        for attempt in cancelled {
            self.context().cancel(id, attempt);
        }
    }

    /// An attempt that the worker runs and that is not placed on it: it is wanted if its task is pending.
    fn take_over_running(&mut self, id: WorkerId, attempt: AttemptId) -> Placed {
        let job = attempt.task.job;
        let wanted = self.with_job(job, |job, cx| {
            let known = job.has(attempt.task);
            let wanted = known && job.may_take_over(attempt) && job.stage(attempt.task.stage).demand == Demand::Wanted;
            if wanted {
                job.adopt(cx, attempt, id);
            } else {
                job.slots += 1;
            }
            cx.out.touched.insert(job.id);
            wanted
        });
        let standing = if wanted { Standing::Wanted } else { Standing::Cancelled };
        self.placed(attempt, standing)
    }

    /// Brings what is known of a worker's output in line with what it says it holds.
    fn compare_outputs(&mut self, id: WorkerId, held: Vec<HeldOutput>) {
        let claimed: BTreeSet<_> = held.iter().map(|output| output.attempt).collect();
        let known = self.workers.get(id).map(|worker| worker.held.keys().copied().collect()).unwrap_or_default();
        self.lose_unclaimed(id, known, &claimed);
        let mut strays = BTreeSet::new();
        for HeldOutput { attempt, output } in held {
            if let Some(stray) = self.take_over_held(id, attempt, output) {
                strays.insert(stray);
            }
        }
        for (job, stage) in strays {
            if stage.is_none_or(|stage| self.keeps_nothing(id, job, stage)) {
                self.context().drop_output(id, job, stage);
            }
        }
    }

    /// Whether all a worker has of a stage can be dropped: nothing wants the stage, and none of it is retained.
    fn keeps_nothing(&self, id: WorkerId, job: JobId, stage: StageId) -> bool {
        let idle = self.jobs.get(&job).is_some_and(|job| job.stage(stage).demand == Demand::Idle);
        idle && self.workers.get(id).is_some_and(|worker| !worker.held.contains_key(&(job, stage)))
    }

    fn lose_unclaimed(&mut self, id: WorkerId, known: Vec<(JobId, StageId)>, claimed: &BTreeSet<AttemptId>) {
        for (job, stage) in known {
            self.with_job(job, |job, cx| {
                let held = |state: &TaskState| matches!(state, TaskState::Held { worker, .. } if *worker == id);
                for index in job.stage(stage).indices(held) {
                    let Some((_, attempt)) = job.stage(stage).tasks[index as usize].state.accepted() else { continue };
                    let task = TaskId { job: job.id, stage, index };
                    if !claimed.contains(&AttemptId { task, attempt }) {
                        job.lose(cx, stage, index, id, "its worker came back without it");
                    }
                }
                job.remake_result(cx);
            });
        }
    }

    /// Takes over a held output. Otherwise answers with the stage it belongs to, or only the job when that is over.
    fn take_over_held(
        &mut self,
        id: WorkerId,
        attempt: AttemptId,
        output: crate::TaskOutput,
    ) -> Option<(JobId, Option<StageId>)> {
        let TaskId { job: job_id, stage, index } = attempt.task;
        if self.jobs.get(&job_id).is_none_or(|job| job.is_ended() || !job.has(attempt.task)) {
            return Some((job_id, None));
        }
        self.with_job(job_id, |job, cx| {
            job.holders.insert(id);
            let state = job.stage(stage).tasks[index as usize].state;
            if state.run(id, attempt.attempt).is_some() || job.may_take_over(attempt) {
                job.accept(cx, attempt, id, output);
            } else if state == (TaskState::Held { worker: id, attempt: attempt.attempt }) {
                job.confirm(attempt, &output);
            } else if state.accepted() != Some((id, attempt.attempt)) || job.stage(stage).demand == Demand::Idle {
                job.stage_mut(stage).strays.insert(id);
                return Some((job_id, Some(stage)));
            }
            None
        })
    }

    /// A worker that was told to drain or to exit may not have heard it.
    fn repeat_duty(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(id) else { return };
        let epoch = worker.epoch;
        match worker.duty {
            Duty::Ready => {}
            Duty::Draining { .. } => self.out.actions.push(Action::Drain { worker: id, epoch }),
            Duty::Leaving => self.out.actions.push(Action::Shutdown { worker: id, epoch }),
        }
    }

    /// Whether a message of this epoch counts; notes that the worker is alive.
    pub(crate) fn heard(&mut self, id: WorkerId, epoch: Epoch) -> bool {
        let now = self.now;
        let current = self.workers.get(id).filter(|worker| worker.epoch == epoch && worker.contact.has_stream());
        let Some(contact) = current.map(|worker| worker.contact) else {
            self.counters.stale_messages += 1;
            return false;
        };
        if contact == Contact::Attached {
            if let Some(worker) = self.workers.get_mut(id) {
                worker.heard = now;
            }
        } else {
            self.workers.edit(id, |worker| {
                worker.heard = now;
                worker.contact.apply(ContactEvent::Heard);
            });
        }
        true
    }

    /// A worker says what it uses and every attempt it runs.
    pub(crate) fn heartbeat(
        &mut self,
        id: WorkerId,
        epoch: Epoch,
        usage: WorkerUsage,
        progress: &[Progress],
        leases: LeaseReport,
    ) {
        if !self.heard(id, epoch) {
            return;
        }
        let now = self.now;
        let mut unknown = Vec::new();
        let mut wanted = Vec::with_capacity(progress.len());
        self.workers.note_usage(id, usage, self.config.admission_percent);
        if let Some(worker) = self.workers.get_mut(id) {
            for entry in progress {
                match worker.placed.iter_mut().find(|placed| placed.attempt == entry.attempt) {
                    Some(placed) if placed.standing == Standing::Wanted => {
                        placed.seen = now;
                        wanted.push(entry);
                    }
                    Some(_) | None => unknown.push(entry.attempt),
                }
            }
        }
        for entry in wanted {
            self.note_progress(id, entry);
        }
        for attempt in unknown {
            self.context().cancel(id, attempt);
        }
        self.repeat_unseen(id);
        self.compare_lease_report(id, leases);
        if self.workers.get(id).is_some_and(|worker| worker.duty == Duty::Leaving) {
            self.repeat_duty(id);
        }
    }

    fn note_progress(&mut self, id: WorkerId, entry: &Progress) {
        let AttemptId { task: TaskId { job, stage, index }, attempt } = entry.attempt;
        let Some(job) = self.jobs.get_mut(&job) else { return };
        let stage = job.stage_mut(stage);
        // Of two attempts, the first is shown.
        let first = stage.tasks[index as usize].state.runs().next();
        if first.is_some_and(|run| run.worker == id && run.attempt == attempt) {
            stage.progress(index, entry.rows, entry.bytes);
        }
    }

    /// A launch that no heartbeat has mentioned for a while was lost on the way, or its report was: the worker knows
    /// which. A cancelled attempt that is not mentioned has ended.
    fn repeat_unseen(&mut self, id: WorkerId) {
        let (now, patience_ms) = (self.now, self.config.launch_repeat_ms);
        let overdue = |placed: &Placed| now.ms_since(placed.seen) >= patience_ms;
        let Some(worker) = self.workers.get(id).filter(|worker| worker.placed.iter().any(overdue)) else { return };
        let unseen: Vec<_> = worker.placed.iter().filter(|placed| overdue(placed)).cloned().collect();
        for Placed { attempt, standing, .. } in unseen {
            match standing {
                Standing::Wanted => self.launch_again(id, attempt),
                Standing::Cancelled => {
                    self.unplace(id, attempt);
                }
            }
        }
    }

    fn launch_again(&mut self, id: WorkerId, attempt: AttemptId) {
        let now = self.now;
        let Some(worker) = self.workers.get_mut(id) else { return };
        for placed in worker.placed.iter_mut().filter(|placed| placed.attempt == attempt) {
            placed.seen = now;
        }
        let epoch = worker.epoch;
        let Some(job) = self.jobs.get(&attempt.task.job) else { return };
        if job.run(id, attempt).is_some() {
            self.out.actions.push(job.launch_action(id, epoch, attempt));
        }
    }

    /// The stream of a worker broke.
    pub(crate) fn disconnected(&mut self, id: WorkerId, epoch: Epoch) {
        let Some(worker) = self.workers.get(id).filter(|worker| worker.epoch == epoch) else { return };
        if worker.duty == Duty::Leaving {
            return self.remove_worker(id, "");
        }
        let until = self.now.after_ms(self.config.reconnect_grace_ms);
        self.workers.edit(id, |worker| worker.contact.apply(ContactEvent::StreamBroke { until }));
        self.arm_worker(id);
    }

    /// Someone wants a worker drained.
    pub(crate) fn drain(&mut self, id: WorkerId) {
        let now = self.now;
        let Some(Duty::Ready) = self.workers.get(id).map(|worker| worker.duty) else { return };
        self.workers.edit(id, |worker| worker.duty.apply(DutyEvent::Drain(now)));
        self.leave_bundles(id);
        self.revoke_hosted(id);
        if self.workers.get(id).is_some_and(|worker| worker.contact.has_stream()) {
            self.repeat_duty(id);
        }
        self.arm_worker(id);
    }

    /// Drained workers that nothing needs may go. One that is out of touch may run what is not known here.
    pub(crate) fn release_drained(&mut self) {
        let wanted = |&(job, stage): &(JobId, StageId)| {
            self.jobs.get(&job).is_some_and(|job| job.stage(stage).demand == Demand::Wanted)
        };
        let lends = |id| self.leases.hosted_by(id).chain(self.leases.owned_by(id)).next().is_some();
        let has_programs = |id| self.jobs.values().any(|job| job.members.contains(&id));
        let idle = |worker: &&Worker| {
            let works = !worker.placed.is_empty() || lends(worker.id);
            let needed = worker.held.keys().any(wanted) || (!worker.may_leave && has_programs(worker.id));
            worker.contact.has_stream() && !works && !needed
        };
        let draining = self.workers.draining().filter_map(|id| self.workers.get(id));
        let done: Vec<_> = draining.filter(idle).map(|worker| worker.id).collect();
        for id in done {
            self.workers.edit(id, |worker| worker.duty.apply(DutyEvent::Release));
            self.repeat_duty(id);
            self.counters.workers_released += 1;
        }
    }

    /// Time has come to look at a worker's lease and drain.
    pub(crate) fn look_at_worker(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(id) else { return };
        let silent_ms = self.now.ms_since(worker.heard);
        match worker.contact {
            Contact::Attached if silent_ms >= self.config.suspect_after_ms => {
                self.workers.edit(id, |worker| worker.contact.apply(ContactEvent::WentSilent));
            }
            Contact::Silent if silent_ms >= self.config.lost_after_ms => return self.lose_worker(id, "no heartbeat"),
            Contact::Broken { until } if until <= self.now => return self.lose_worker(id, "its connection broke"),
            Contact::Expected { until } if until <= self.now => {
                return self.lose_worker(id, "it did not come back after a restart of the coordinator");
            }
            Contact::Attached | Contact::Silent | Contact::Broken { .. } | Contact::Expected { .. } => {}
        }
        self.move_output_of_drained(id);
        self.arm_worker(id);
    }

    /// Readers have had their time: what a draining worker still holds is made again elsewhere, if there is an elsewhere.
    fn move_output_of_drained(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(id) else { return };
        let Duty::Draining { since } = worker.duty else { return };
        let due = since.after_ms(self.config.drain_patience_ms) <= self.now;
        if due && worker.placed.is_empty() && self.workers.ready() > 0 {
            let held: Vec<_> = worker.held.keys().copied().collect();
            self.lose_outputs(id, held, "its worker drains");
        }
    }

    /// A worker is lost and fenced: what comes from it now is dropped until it registers anew.
    pub(crate) fn lose_worker(&mut self, id: WorkerId, why: &str) {
        self.counters.workers_lost += 1;
        self.last_lost = Some(self.workers.name(id));
        self.remove_worker(id, why);
    }

    fn remove_worker(&mut self, id: WorkerId, why: &str) {
        let expected_before = self.workers.any_expected();
        let shown_until = self.now.after_ms(self.config.lost_shown_ms);
        let Some(worker) = self.workers.remove(id, shown_until) else { return };
        self.timers.disarm(Timer::Worker(id));
        self.timers.arm(Timer::Worker(id), shown_until);
        self.record(Fact::WorkerGone { worker: id });
        if worker.contact.has_stream() {
            self.out.actions.push(Action::Disconnect { worker: id, epoch: worker.epoch });
        }
        self.lose_leases(id);
        self.leave_bundles(id);
        self.remove_groups_of_worker(id);
        self.free_names_of_worker(id);
        self.leave_jobs(id);
        self.lose_outputs(id, worker.held.into_keys().collect(), why);
        for placed in worker.placed {
            self.free_slot(placed.attempt.task.job);
            if placed.standing == Standing::Wanted {
                self.attempt_lost(id, placed.attempt, why);
            }
        }
        self.note_return(expected_before);
    }

    /// Loses what a worker holds of these stages.
    fn lose_outputs(&mut self, id: WorkerId, held: Vec<(JobId, StageId)>, why: &str) {
        for (job, stage) in held {
            self.with_job(job, |job, cx| {
                job.lose_all(cx, stage, id, why);
                job.remake_result(cx);
            });
        }
    }

    /// When the last expected worker is back or given up, restored jobs may start.
    fn note_return(&mut self, expected_before: bool) {
        if expected_before && !self.workers.any_expected() {
            self.out.touched.extend(self.jobs.values().filter(|job| job.is_active()).map(|job| job.id));
        }
    }

    /// The coordinator stood still, so nobody was heard: leases start anew.
    pub(crate) fn excuse_silence(&mut self) {
        let ids: Vec<_> = self.workers.iter().map(|worker| worker.id).collect();
        let until = self.now.after_ms(self.config.reconnect_grace_ms);
        for id in ids {
            if let Some(worker) = self.workers.get_mut(id) {
                worker.heard = self.now;
                worker.contact.apply(ContactEvent::Excused { until });
            }
        }
    }

    fn arm_worker(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get(id) {
            self.timers.arm(Timer::Worker(id), worker.deadline(&self.config, self.now));
        }
    }
}
