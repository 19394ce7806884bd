//! Second attempts of tasks that take far longer than the others of their stage: their disk is slow, or their machine busy.
//! Part of the [`Cluster`]. Only with slots that nothing else wants; the first attempt to finish counts, the other is ended.

use tandem_proto::{JobId, StageId, TaskId, WorkerId};

use crate::cluster::Cluster;
use crate::config::ClusterConfig;
use crate::job::Job;
use crate::stage::{Demand, Stage};
use crate::task::{Task, TaskState};
use crate::time::Timestamp;
use crate::timers::Timer;

impl Cluster {
    /// Something runs that may become a straggler.
    pub(crate) fn watch_stragglers(&mut self) {
        if self.config.straggler_interval_ms > 0 {
            self.timers.arm(Timer::Stragglers, self.now.after_ms(self.config.straggler_interval_ms));
        }
    }

    /// Gives stragglers a second attempt, as far as there are slots.
    pub(crate) fn race_stragglers(&mut self) {
        let running: Vec<JobId> = self.jobs.values().filter(|job| job.slots > 0).map(|job| job.id).collect();
        if running.is_empty() {
            return;
        }
        self.watch_stragglers();
        for id in running {
            if self.workers.free_slots() == 0 || !self.wanting.is_empty() {
                return;
            }
            let stragglers = self.jobs.get(&id).map(|job| job.stragglers(self.now, &self.config)).unwrap_or_default();
            for (task, worker) in stragglers {
                if let Some(other) = self.other_worker(task, worker) {
                    self.counters.attempts_raced += 1;
                    self.launch(task, other);
                }
            }
        }
    }

    /// A worker with a free slot besides `worker`, where the task has not failed.
    fn other_worker(&self, task: TaskId, worker: WorkerId) -> Option<WorkerId> {
        let stage = self.jobs.get(&task.job)?.stage(task.stage);
        let avoid = stage.tasks[task.index as usize].avoids();
        self.host_for_task(stage, |id| id != worker && !avoid.contains(&id))
    }
}

impl Job {
    /// Tasks that take far longer than the others of their stage, and the worker each runs on.
    fn stragglers(&self, now: Timestamp, config: &ClusterConfig) -> Vec<(TaskId, WorkerId)> {
        if !self.is_active() || !self.plan.race_stragglers {
            return Vec::new();
        }
        let limited = |id: StageId| Some((id, self.stage(id).straggler_limit_ms(config)?));
        let of_stage = |(id, limit_ms): (StageId, u64)| {
            let late = move |task: &Task| match task.state {
                TaskState::Running(run) => (now.ms_since(run.started) > limit_ms).then_some(run.worker),
                _ => None,
            };
            let tasks = self.stage(id).tasks.iter().zip(0..);
            tasks.filter_map(move |(task, index)| Some((TaskId { job: self.id, stage: id, index }, late(task)?)))
        };
        self.plan.stage_ids().filter_map(limited).flat_map(of_stage).collect()
    }
}

impl Stage {
    /// How long a task may run before it is a straggler. None when too few others have finished to tell, or others wait.
    fn straggler_limit_ms(&self, config: &ClusterConfig) -> Option<u64> {
        let settled = self.demand == Demand::Wanted && self.open_inputs == 0 && self.pending() == 0;
        if !settled || self.running() == 0 || self.finished() < self.running() {
            return None;
        }
        let finished = self.tasks.iter().filter(|task| task.state.accepted().is_some());
        let mut took: Vec<u64> = finished.map(|task| task.ended.ms_since(task.started)).collect();
        let middle = took.len() / 2;
        let (_, &mut median, _) = took.select_nth_unstable(middle);
        Some(config.straggler_after_ms.max(median.saturating_mul(config.straggler_percent) / 100))
    }
}
