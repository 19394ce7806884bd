//! Checks that what the state keeps twice agrees. For tests, which call it after every event.

use std::collections::{BTreeMap, BTreeSet};

use tandem_proto::{JobId, StageId, WorkerId};

use crate::cluster::Cluster;
use crate::contact::Contact;
use crate::groups::{Bundle, BundleId, Group, GroupState, Strategy};
use crate::job::Job;
use crate::leases::Lease;
use crate::resources::{CPUS, Resources};
use crate::stage::{Demand, Keep};
use crate::task::TaskState;
use crate::worker::Standing;

impl Cluster {
    /// Everything that does not agree, in words; empty when all is well. Looks at every task.
    pub fn audit(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut held: BTreeMap<(WorkerId, JobId, StageId), u32> = BTreeMap::new();
        for job in self.jobs.values() {
            audit_job(job, &mut faults);
            self.audit_placed(job, &mut faults);
            self.count_held(job, &mut held, &mut faults);
            let key = self.wanting_key(job, self.workers.any_expected());
            let demanding = job.is_demanding(self.workers.any_expected());
            check(self.demanding.contains(&job.id) == demanding, &mut faults, || {
                format!("job {} is noted to be demanding, or not: it is {demanding}", job.id)
            });
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
        self.audit_bookings(&mut faults);
        self.audit_claims(&mut faults);
        self.audit_groups(&mut faults);
        self.audit_names(&mut faults);
        faults.extend(
            held.keys().map(|(worker, job, stage)| format!("{worker} is not noted for stage {stage} of {job}")),
        );
        let free: u32 = self.workers.iter().map(|worker| worker.free()).sum();
        check(free == self.workers.free_slots(), &mut faults, || {
            format!("{free} slots are free, noted are {}", self.workers.free_slots())
        });
        faults
    }

    /// Slots of a job are those of its attempts, and a task runs exactly where a wanted attempt is placed.
    fn audit_placed(&self, job: &Job, faults: &mut Vec<String>) {
        let placed = || {
            let all = self.workers.iter().flat_map(|worker| worker.placed.iter().map(|placed| (worker.id, placed)));
            all.filter(|(_, placed)| placed.attempt.task.job == job.id)
        };
        check(placed().count() as u32 == job.slots, faults, || {
            format!("job {} has {} attempts placed, noted are {}", job.id, placed().count(), job.slots)
        });
        let wanted = placed().filter(|(_, placed)| placed.standing == Standing::Wanted);
        for (worker, placed) in wanted {
            check(job.run(worker, placed.attempt).is_some(), faults, || {
                format!("{:?} is placed on {worker} but does not run", placed.attempt)
            });
        }
        let running = job.stages.iter().flat_map(|stage| &stage.tasks).flat_map(|task| task.state.runs()).count();
        let wanted = placed().filter(|(_, placed)| placed.standing == Standing::Wanted).count();
        check(running == wanted, faults, || format!("job {} runs {running} attempts with {wanted} slots", job.id));
    }

    /// What leases and bundles take is booked on their hosts, and no worker has given more than it has.
    fn audit_bookings(&self, faults: &mut Vec<String>) {
        for worker in self.workers.iter() {
            let mut leased = Resources::default();
            let outside = self.leases.hosted_by(worker.id).filter(|lease| lease.inside().is_none());
            outside.for_each(|lease| leased.add(&lease.shape.resources));
            let reserved = self.groups.iter().flat_map(Group::reserved).filter(|(host, _)| *host == worker.id);
            reserved.for_each(|(_, resources)| leased.add(resources));
            let hosted = self.leases.hosted_by(worker.id).count();
            check(leased == worker.leased && hosted == worker.hosted as usize, faults, || {
                format!(
                    "{} hosts {hosted} leases and bundles, {leased:?} in all, noted are {} of {:?}",
                    worker.id, worker.hosted, worker.leased
                )
            });
            // One that is expected back has not said yet what it has. Attempts that a worker turned out to run are not looked at.
            let total = &worker.info.resources;
            let known = !matches!(worker.contact, Contact::Expected { .. });
            let placed = worker.placed.iter().filter_map(|placed| placed.needs.as_deref());
            placed.for_each(|needs| leased.add(&needs.beyond));
            let fits = leased.milli.iter().all(|(name, amount)| *amount <= total.amount(name));
            check(!known || fits && leased.memory_bytes <= total.memory_bytes, faults, || {
                format!("{} has {total:?}, and its leases take {leased:?}", worker.id)
            });
        }
        let hosts = self.leases.iter().filter(|lease| self.workers.get(lease.host).is_none());
        faults.extend(hosts.map(|lease| format!("{:?} is on {}, which is gone", lease.id, lease.host)));
        let cpus: u64 = self.workers.iter().map(|worker| worker.free_cpus()).sum();
        check(cpus == self.workers.free_cpus(), faults, || {
            format!("{cpus} are free, noted are {}", self.workers.free_cpus())
        });
    }

    /// What is granted and used is counted right, and only live jobs want anything.
    fn audit_claims(&self, faults: &mut Vec<String>) {
        for (claim, wanted) in self.leases.claims() {
            let same =
                |lease: &&Lease| (lease.job, &lease.shape, lease.bundle) == (claim.job, &claim.shape, claim.bundle);
            let theirs = self.leases.owned_by(claim.owner).filter(same);
            let granted = theirs.filter(|lease| lease.is_granted()).count();
            check(granted == wanted.granted as usize, faults, || {
                format!("{granted} are granted of {claim:?}, noted {wanted:?}")
            });
            check(self.jobs.get(&claim.job).is_some_and(Job::is_active), faults, || {
                format!("{claim:?} is of no live job")
            });
            check(self.workers.get(claim.owner).is_some(), faults, || format!("{claim:?} is of a worker that is gone"));
        }
        for job in self.jobs.keys() {
            let leases = self.leases.iter().filter(|lease| lease.job == *job && lease.inside().is_none());
            let leased: u64 = leases.map(|lease| lease.shape.cpus()).sum();
            let groups = self.groups.iter().filter(|group| group.plan.job == *job);
            let reserved: u64 = groups.flat_map(Group::reserved).map(|(_, resources)| resources.amount(CPUS)).sum();
            check(leased + reserved == self.leases.usage(*job, CPUS), faults, || {
                format!("leases of {job} take {leased} of processors and bundles {reserved}")
            });
        }
    }

    /// A group has all or nothing, as its strategy says, and no bundle has given more than it has.
    fn audit_groups(&self, faults: &mut Vec<String>) {
        for group in self.groups.iter() {
            let (id, state) = (group.plan.group, &group.state);
            let (missing, hosts) = (group.unplaced().count(), group.reserved().map(|(host, _)| host));
            let hosts: Vec<WorkerId> = hosts.collect();
            let whole = match state {
                GroupState::Pending { .. } | GroupState::Failed(_) => hosts.is_empty(),
                GroupState::Reserved => missing == 0,
                GroupState::Broken => missing > 0,
            };
            check(whole, faults, || format!("{id:?} is {state:?} with {hosts:?}"));
            let distinct: BTreeSet<_> = hosts.iter().collect();
            let kept = match group.plan.strategy {
                Strategy::Pack | Strategy::Spread => true,
                Strategy::StrictPack => distinct.len() <= 1,
                Strategy::StrictSpread => distinct.len() == hosts.len(),
            };
            check(kept, faults, || format!("{id:?} is {:?} and on {hosts:?}", group.plan.strategy));
            check(self.jobs.get(&group.plan.job).is_some_and(Job::has_executors), faults, || {
                format!("{id:?} is of no live job")
            });
            let known = self.workers.get(id.owner()).is_some();
            check(known, faults, || format!("{id:?} is of a worker that is gone"));
            let lost = hosts.iter().find(|host| self.workers.get(**host).is_none());
            check(lost.is_none(), faults, || format!("{id:?} has a bundle on {lost:?}, which is gone"));
            let waits = self.groups.waiting().any(|waiting| waiting == id);
            check(waits == group.waits(), faults, || format!("{id:?} is {state:?}, and waits is {waits}"));
            for (index, bundle) in (0..).zip(&group.bundles) {
                self.audit_bundle(BundleId { group: id, index }, bundle, faults);
            }
        }
    }

    fn audit_bundle(&self, id: BundleId, bundle: &Bundle, faults: &mut Vec<String>) {
        let mut leased = Resources::default();
        let inside = self.leases.iter().filter(|lease| lease.is_in(id));
        for lease in inside {
            leased.add(&lease.shape.resources);
            check(Some(lease.host) == bundle.host, faults, || format!("{:?} is not where {id:?} is", lease.id));
        }
        check(leased == bundle.leased, faults, || format!("{leased:?} of {id:?} is leased, noted {:?}", bundle.leased));
        let fits = bundle.shape.resources.has_room(&Resources::default(), &leased);
        check(fits, faults, || format!("{id:?} has {}, and its leases take {leased:?}", bundle.shape));
        let indexed = bundle.host.is_none_or(|host| self.groups.hosted_by(host).contains(&id));
        check(indexed, faults, || format!("{id:?} is not indexed where it is"));
    }

    /// Names are of actors that may live, and indexed right.
    fn audit_names(&self, faults: &mut Vec<String>) {
        for (name, actor) in self.names.iter() {
            let lives = self.jobs.get(&actor.job).is_some_and(Job::has_executors);
            check(lives, faults, || format!("{name:?} is that of {actor:?}, whose job is over"));
            let owned = self.workers.get(actor.actor.owner()).is_some();
            check(owned, faults, || format!("{name:?} is that of {actor:?}, whose owner is gone"));
        }
        let mut indexed: Vec<_> = self.names.indexed().map(|(job, actor, name)| (name, job, actor)).collect();
        indexed.sort_unstable();
        let taken: Vec<_> = self.names.iter().map(|(name, actor)| (name, actor.job, actor.actor)).collect();
        check(indexed == taken, faults, || format!("the names {taken:?} are indexed as {indexed:?}"));
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
            let (plain, demanding) = (job.runnable.contains(&id), job.demanding.contains(&id));
            let of_kind = if stage.needs.is_some() { demanding && !plain } else { plain && !demanding };
            let right = if stage.is_runnable() { of_kind } else { !plain && !demanding };
            check(right, faults, || format!("{}: noted runnable is {plain}, with needs {demanding}", name()));
        }
    }
}

fn check(holds: bool, faults: &mut Vec<String>, fault: impl FnOnce() -> String) {
    if !holds {
        faults.push(fault());
    }
}
