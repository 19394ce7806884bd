//! Checks that what the state keeps twice agrees. For tests, which call it after every event.

use std::collections::BTreeMap;

use tandem_proto::{JobId, StageId, WorkerId};

use super::cluster::Cluster;
use super::job::Job;
use super::stage::{Demand, Keep};
use super::task::TaskState;
use super::workers::LeaseState;

impl Cluster {
    /// Everything that does not agree, in words; empty when all is well. Looks at every task.
    pub fn audit(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut held: BTreeMap<(WorkerId, JobId, StageId), u32> = BTreeMap::new();
        for job in self.jobs.values() {
            audit_job(job, &mut faults);
            self.audit_leases(job, &mut faults);
            self.count_held(job, &mut held, &mut faults);
            let waits = self.workers.any_expected();
            let key = job.wants_slots(waits).then_some((job.slots, job.served));
            check(self.wanting_keys.get(&job.id) == key.as_ref(), &mut faults, || {
                format!("job {} wants slots with {key:?}, indexed as {:?}", job.id, self.wanting_keys.get(&job.id))
            });
        }
        for worker in self.workers.iter() {
            for (&(job, stage), &count) in &worker.held {
                let counted = held.remove(&(worker.id, job, stage)).unwrap_or_default();
                check(counted == count, &mut faults, || {
                    format!("{} holds {counted} of stage {stage} of {job}, noted are {count}", worker.id)
                });
            }
        }
        faults.extend(
            held.keys().map(|(worker, job, stage)| format!("{worker} is not noted for stage {stage} of {job}")),
        );
        let free: u32 = self.workers.iter().map(|worker| worker.free()).sum();
        check(free == self.workers.free_slots(), &mut faults, || {
            format!("{free} slots are free, noted are {}", self.workers.free_slots())
        });
        faults
    }

    /// Slots of a job are the leases of its attempts, and a task runs exactly where wanted leases say so.
    fn audit_leases(&self, job: &Job, faults: &mut Vec<String>) {
        let leases = || {
            let all = self.workers.iter().flat_map(|worker| worker.leases.iter().map(|lease| (worker.id, *lease)));
            all.filter(|(_, lease)| lease.attempt.task.job == job.id)
        };
        check(leases().count() as u32 == job.slots, faults, || {
            format!("job {} has {} leases, noted are {}", job.id, leases().count(), job.slots)
        });
        let wanted = leases().filter(|(_, lease)| lease.state == LeaseState::Wanted);
        for (worker, lease) in wanted {
            check(job.run(worker, lease.attempt).is_some(), faults, || {
                format!("{:?} has a slot of {worker} but does not run", lease.attempt)
            });
        }
        let running = job.stages.iter().flat_map(|stage| &stage.tasks).flat_map(|task| task.state.runs()).count();
        let wanted = leases().filter(|(_, lease)| lease.state == LeaseState::Wanted).count();
        check(running == wanted, faults, || format!("job {} runs {running} attempts with {wanted} slots", job.id));
    }

    fn count_held(&self, job: &Job, held: &mut BTreeMap<(WorkerId, JobId, StageId), u32>, faults: &mut Vec<String>) {
        if job.is_ended() {
            return;
        }
        for id in job.plan.stage_ids() {
            for task in &job.stage(id).tasks {
                let TaskState::Held { worker, .. } = task.state else { continue };
                *held.entry((worker, job.id, id)).or_default() += 1;
                check(self.workers.get(worker).is_some(), faults, || {
                    format!("stage {id} of {} has output on {worker}, which is gone", job.id)
                });
            }
        }
    }
}

fn audit_job(job: &Job, faults: &mut Vec<String>) {
    let ends = job.stages.iter().filter(|stage| stage.keep != Keep::ForReaders && !stage.is_finished()).count() as u32;
    check(ends == job.open_ends, faults, || {
        format!("job {} has {ends} open ends, noted are {}", job.id, job.open_ends)
    });
    for id in job.plan.stage_ids() {
        let stage = job.stage(id);
        let name = || format!("stage {id} of {}", job.id);
        let count = |state: fn(&TaskState) -> bool| stage.tasks.iter().filter(|task| state(&task.state)).count() as u32;
        let running = count(TaskState::is_running);
        let finished = count(|state| state.accepted().is_some());
        let held = count(|state| matches!(state, TaskState::Held { .. }));
        check(running == stage.running() && finished == stage.finished(), faults, || {
            format!(
                "{}: {running} run and {finished} are finished, noted {} and {}",
                name(),
                stage.running(),
                stage.finished()
            )
        });
        check((held == stage.len()) == stage.is_readable(), faults, || format!("{}: {held} are held", name()));
        let open = stage.inputs.iter().filter(|&&input| !job.stage(input).is_readable()).count() as u32;
        check(open == stage.open_inputs, faults, || {
            format!("{}: {open} inputs are open, noted are {}", name(), stage.open_inputs)
        });
        let wanted =
            stage.keep != Keep::ForReaders || stage.readers.iter().any(|&reader| job.stage(reader).is_hungry());
        check(wanted == (stage.demand == Demand::Wanted), faults, || format!("{}: wanted is {wanted}", name()));
        check(wanted || running == 0, faults, || format!("{}: idle but {running} running", name()));
        if !job.is_ended() {
            let runnable = job.runnable.contains(&id);
            check(runnable == stage.is_runnable(), faults, || format!("{}: noted runnable is {runnable}", name()));
        }
    }
}

fn check(holds: bool, faults: &mut Vec<String>, fault: impl FnOnce() -> String) {
    if !holds {
        faults.push(fault());
    }
}
