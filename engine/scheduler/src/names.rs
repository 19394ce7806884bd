//! The directory of named actors: who has which name.
//! Owned by the [`Cluster`]; journaled, so that a restart of the coordinator takes no name from an actor that lives.
//! Invariants: a name is that of one actor; its job is live; the worker that owns it is known.
//!
//! ```text
//!   free ──claimed──▶ taken ──actor, driver, job or owner is gone──▶ free
//! ```

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tandem_proto::{JobId, WorkerId};

use crate::action::{Action, Fact};
use crate::cluster::Cluster;
use crate::job::{Context, Job};

/// Names that the actors of one job may have at once.
const MAX_NAMES_PER_JOB: usize = 100_000;

/// One actor, over all its restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ActorId(pub u128);

impl ActorId {
    /// The worker that owns it: the upper half of the id.
    pub fn owner(self) -> WorkerId {
        WorkerId((self.0 >> 64) as u64)
    }
}

/// Where a name holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Namespace {
    /// In one job.
    Job(JobId),
    /// In all jobs that say this.
    Shared(String),
}

/// A name that an actor can have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ActorName {
    /// Where it holds.
    pub namespace: Namespace,
    /// What it is there.
    pub name: String,
}

/// An actor that has a name, or wants one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedActor {
    /// Which.
    pub actor: ActorId,
    /// Of which job.
    pub job: JobId,
    /// Its type.
    pub class: String,
}

/// Why a name can neither be claimed nor found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The job is over, was never here, or has no actors.
    #[error("job {0} is not running")]
    NoSuchJob(JobId),
    /// The worker that owns the actor was lost, or is not registered yet.
    #[error("worker {0} is not registered")]
    NoSuchWorker(WorkerId),
    /// The job must drop names before it may have others.
    #[error("the actors of job {0} have {MAX_NAMES_PER_JOB} names, which is as many as they may have")]
    TooMany(JobId),
}

/// All names that are taken.
#[derive(Debug, Default)]
pub(crate) struct Names {
    table: BTreeMap<ActorName, NamedActor>,
    by_job: BTreeMap<JobId, BTreeSet<(ActorId, ActorName)>>,
}

impl Names {
    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ActorName, &NamedActor)> {
        self.table.iter()
    }

    /// The names as indexed by job and actor.
    pub(crate) fn indexed(&self) -> impl Iterator<Item = (JobId, ActorId, &ActorName)> {
        self.by_job.iter().flat_map(|(job, names)| names.iter().map(|(actor, name)| (*job, *actor, name)))
    }

    fn insert(&mut self, name: ActorName, actor: NamedActor) {
        self.by_job.entry(actor.job).or_default().insert((actor.actor, name.clone()));
        self.table.insert(name, actor);
    }

    fn remove(&mut self, name: &ActorName) {
        let Some(actor) = self.table.remove(name) else { return };
        if let Some(names) = self.by_job.get_mut(&actor.job) {
            names.remove(&(actor.actor, name.clone()));
            if names.is_empty() {
                self.by_job.remove(&actor.job);
            }
        }
    }

    fn count(&self, job: JobId) -> usize {
        self.by_job.get(&job).map_or(0, BTreeSet::len)
    }

    fn of_job(&self, job: JobId) -> impl Iterator<Item = &ActorName> {
        self.by_job.get(&job).into_iter().flatten().map(|(_, name)| name)
    }

    fn of_actor(&self, job: JobId, actor: ActorId) -> impl Iterator<Item = &ActorName> {
        let first = ActorName { namespace: Namespace::Job(JobId(0)), name: String::new() };
        let names = self.by_job.get(&job).into_iter();
        let names = names.flat_map(move |names| names.range((actor, first.clone())..));
        names.take_while(move |(of, _)| *of == actor).map(|(_, name)| name)
    }
}

impl Cluster {
    /// Who has a name, for someone in `job`.
    ///
    /// # Errors
    /// The job is not running.
    pub fn find_name(&self, job: JobId, name: &ActorName) -> Result<Option<&NamedActor>, NameError> {
        let live = self.jobs.get(&job).is_some_and(|job| job.plan.executors && job.is_active());
        if live { Ok(self.names.table.get(name)) } else { Err(NameError::NoSuchJob(job)) }
    }

    /// Who has a name that `actor` wants; none if it could have it.
    ///
    /// # Errors
    /// Nobody has the name, and this actor cannot have it.
    pub fn claim_of(&self, name: &ActorName, actor: &NamedActor) -> Result<Option<&NamedActor>, NameError> {
        let holder = self.find_name(actor.job, name)?;
        let owner = actor.actor.owner();
        if holder.is_some() {
            Ok(holder)
        } else if self.workers.get(owner).is_none() {
            Err(NameError::NoSuchWorker(owner))
        } else if self.names.count(actor.job) >= MAX_NAMES_PER_JOB {
            Err(NameError::TooMany(actor.job))
        } else {
            Ok(None)
        }
    }

    /// An actor wants a name, and has it from now on if it can.
    pub(crate) fn claim_name(&mut self, name: ActorName, actor: NamedActor) {
        if self.claim_of(&name, &actor) != Ok(None) {
            return;
        }
        self.with_job(actor.job, |job, cx| {
            job.record(cx, Fact::NameClaimed { name: name.clone(), actor: actor.clone() });
            cx.names.insert(name, actor);
        });
    }

    /// An actor is gone for good.
    pub(crate) fn drop_names(&mut self, job: JobId, actor: ActorId) {
        let names = self.names.of_actor(job, actor).cloned().collect();
        self.context().free_names(names);
    }

    /// Processes of a job may call an actor that this worker owns: it hears when the job is over, and they when it is lost.
    pub(crate) fn actor_found(&mut self, job: JobId, owner: WorkerId) {
        if self.workers.get(owner).is_some()
            && let Some(job) = self.jobs.get_mut(&job).filter(|job| job.has_executors())
        {
            job.members.insert(owner);
        }
    }

    /// A worker is lost, with the actors that it owned.
    pub(crate) fn free_names_of_worker(&mut self, id: WorkerId) {
        let owned = self.names.iter().filter(|(_, actor)| actor.actor.owner() == id);
        let names = owned.map(|(name, _)| name.clone()).collect();
        self.context().free_names(names);
    }

    /// Takes a name from the journal, unless what makes it free came too late to be journaled.
    pub(crate) fn restore_name(&mut self, name: ActorName, actor: NamedActor) {
        let lives = self.jobs.get(&actor.job).is_some_and(Job::has_executors);
        if lives && self.workers.get(actor.actor.owner()).is_some() {
            self.names.insert(name, actor);
        } else {
            self.record(Fact::NameFreed { name });
        }
    }
}

impl Job {
    /// Whether processes of it may be somewhere.
    pub(crate) fn has_executors(&self) -> bool {
        self.plan.executors && !self.is_ended()
    }

    /// The actors of the job end.
    pub(crate) fn end_names(&self, cx: &mut Context<'_>) {
        let names = cx.names.of_job(self.id).cloned().collect();
        cx.free_names(names);
    }
}

impl Context<'_> {
    fn free_names(&mut self, names: Vec<ActorName>) {
        for name in names {
            self.names.remove(&name);
            self.out.actions.push(Action::Record(Fact::NameFreed { name }));
        }
    }
}
