//! Gives free slots to pending tasks. Part of the [`Cluster`]; who gets which is decided in `placement.rs`.
//! Looks only at as many workers and jobs as there are slots to give, so that an event costs the same on a large cluster.

use std::collections::{BTreeMap, BTreeSet};

use tandem_proto::{JobId, StageId, TaskId, WorkerId};

use crate::cluster::Cluster;
use crate::job::Job;
use crate::placement::{self, Demand, Offer, Problem, Wish};
use crate::queue::Taken;
use crate::report::AttemptId;
use crate::resources::SLOT_MILLI;
use crate::timers::Timer;
use crate::worker::{Placed, Standing};
use crate::workers::Workers;

impl Cluster {
    /// Places tasks and leases until processors, work or the batch run out.
    pub(crate) fn dispatch(&mut self) {
        let mut budget = self.config.launch_batch as u32;
        self.place_groups();
        self.grant_scarce(&mut budget);
        let mut unplaceable = BTreeSet::new();
        loop {
            let demands = if budget > 0 { self.demands(budget, &unplaceable) } else { Vec::new() };
            if demands.is_empty() {
                break;
            }
            budget -= self.place_round(budget, &demands, &mut unplaceable);
        }
        if budget == 0 && self.workers.free_cpus() > 0 && !self.wanting.is_empty() {
            self.timers.arm(Timer::Dispatch, self.now);
        }
        self.watch_sharing();
    }

    /// The jobs that come first, as many as could get a slot.
    fn demands(&self, budget: u32, unplaceable: &BTreeSet<JobId>) -> Vec<(JobId, Demand)> {
        let (slots, largest) = (self.workers.free_slots().min(budget), self.workers.largest_free());
        if slots == 0 && (largest == 0 || !self.leases.has_claims()) {
            return Vec::new();
        }
        let demand = |&(used, _, id): &(u64, u64, JobId)| {
            let job = self.jobs.get(&id)?;
            let demand = if job.plan.is_program() {
                let (pending, unit) = self.leases.pending_cpus(id)?;
                Demand { used, pending, unit }
            } else {
                Demand { used, pending: job.startable(slots), unit: SLOT_MILLI }
            };
            (demand.unit <= largest).then_some((id, demand))
        };
        let jobs = self.wanting.iter().filter(|(_, _, id)| !unplaceable.contains(id));
        jobs.filter_map(demand).take(slots.max(1) as usize).collect()
    }

    /// One round of placement. Jobs that had a share and could place nothing are not asked again for this event, so that
    /// each round places something or asks fewer.
    fn place_round(&mut self, budget: u32, demands: &[(JobId, Demand)], unplaceable: &mut BTreeSet<JobId>) -> u32 {
        let only: Vec<_> = demands.iter().map(|&(_, demand)| demand).collect();
        let shares = placement::shares(self.workers.free_cpus(), budget, &only);
        let shares: Vec<_> = demands.iter().map(|&(id, _)| id).zip(shares).filter(|(_, share)| *share > 0).collect();
        unplaceable.extend(shares.iter().map(|(id, _)| *id));
        let leased = self.grant_shares(&shares, budget, unplaceable);
        let slots = self.workers.free_slots().min(budget - leased);
        let mut offers: BTreeMap<WorkerId, u32> = self.workers.with_free_slots().take(slots as usize).collect();
        let mut wishes = Vec::new();
        for &(id, share) in &shares {
            self.with_job(id, |job, cx| job.divide_runnable(cx));
            if let Some(job) = self.jobs.get_mut(&id).filter(|job| !job.plan.is_program()) {
                job.take_wishes(share as usize, &self.workers, &mut offers, &mut wishes);
            }
        }
        let launched = self.place_wishes(offers, wishes);
        let mut placed = leased;
        for (id, share) in shares {
            let launched = launched.get(&id).copied().unwrap_or_default();
            let launched = launched + self.place_demanding(id, share.saturating_sub(launched), None);
            if launched > 0 {
                unplaceable.remove(&id);
            }
            placed += launched;
        }
        placed
    }

    /// Launches what finds a place among the offers, and puts back the rest. Answers with how many tasks of each job were launched.
    pub(crate) fn place_wishes(&mut self, offers: BTreeMap<WorkerId, u32>, wishes: Vec<Wish>) -> BTreeMap<JobId, u32> {
        let offers = offers.into_iter().map(|(worker, free)| Offer { worker, free }).collect();
        let problem = Problem { offers, wishes };
        let choices = placement::place(&problem);
        let mut launched = BTreeMap::new();
        for (wish, choice) in problem.wishes.into_iter().zip(choices) {
            match choice {
                Some(worker) => {
                    self.launch(wish.task, worker);
                    *launched.entry(wish.task.job).or_default() += 1;
                }
                None => self.put_back(wish.task),
            }
        }
        launched
    }

    fn put_back(&mut self, task: TaskId) {
        if let Some(job) = self.jobs.get_mut(&task.job) {
            job.stage_mut(task.stage).queue.push(task.index);
        }
    }

    pub(crate) fn launch(&mut self, task: TaskId, id: WorkerId) {
        self.served += 1;
        let served = self.served;
        let Some(epoch) = self.workers.get(id).map(|worker| worker.epoch) else { return };
        let launched = self.with_job(task.job, |job, cx| {
            job.served = served;
            let attempt = job.launch(cx, task.stage, task.index, id);
            cx.out.actions.push(job.launch_action(id, epoch, attempt));
            Some(attempt)
        });
        if let Some(attempt) = launched {
            self.counters.attempts_launched += 1;
            let placed = self.placed(attempt, Standing::Wanted);
            self.workers.edit(id, |worker| worker.placed.push(placed));
            self.index_job(task.job);
            self.watch_stragglers();
        }
    }

    /// What an attempt takes of its worker from now on.
    pub(crate) fn placed(&self, attempt: AttemptId, standing: Standing) -> Placed {
        let job = self.jobs.get(&attempt.task.job);
        let is_driver = job.is_some_and(|job| job.plan.is_program());
        let needs = job.filter(|job| job.has(attempt.task)).and_then(|job| job.stage(attempt.task.stage).needs.clone());
        Placed { attempt, standing, seen: self.now, slots: if is_driver { 0 } else { 1 }, needs }
    }
}

impl Job {
    /// Takes up to `limit` pending tasks that could use one of the offers; workers that a task prefers join the offers.
    fn take_wishes(
        &mut self,
        limit: usize,
        workers: &Workers,
        offers: &mut BTreeMap<WorkerId, u32>,
        wishes: &mut Vec<Wish>,
    ) {
        let until = wishes.len() + limit;
        let runnable: Vec<_> = self.runnable.iter().copied().collect();
        for id in runnable {
            if wishes.len() >= until {
                break;
            }
            self.arrange_anew(id);
            let preferred = self.stage(id).queue.preferred().filter_map(|worker| workers.get(worker));
            offers.extend(preferred.filter(|worker| worker.free() > 0).map(|worker| (worker.id, worker.free())));
            self.take_wishes_of(id, until - wishes.len(), workers, offers, wishes);
        }
    }

    /// The same, of one stage, with nothing but the offers.
    pub(crate) fn take_wishes_of(
        &mut self,
        id: StageId,
        limit: usize,
        workers: &Workers,
        offers: &BTreeMap<WorkerId, u32>,
        wishes: &mut Vec<Wish>,
    ) {
        self.arrange_anew(id);
        let job = self.id;
        let stage = self.stage_mut(id);
        let needs = stage.needs.as_deref();
        let taken = stage.queue.take(limit, &stage.tasks, offers, |task, worker| {
            !workers.to_avoid(task.avoids(), needs).contains(&worker)
        });
        wishes.extend(taken.into_iter().map(|(index, prefer): Taken| {
            let avoid = workers.to_avoid(stage.tasks[index as usize].avoids(), needs).to_vec();
            Wish { task: TaskId { job, stage: id, index }, prefer, avoid }
        }));
    }

    /// Sorts the pending tasks of a stage unless its inputs are where they were.
    fn arrange_anew(&mut self, id: StageId) {
        if self.stage(id).arranged != Some(self.stage(id).inputs_version) {
            self.arrange(id);
        }
    }
}
