//! The named actors of virtual drivers: a name that an actor was given outlives every coordinator, until it is free.

use tandem_proto::{JobId, WorkerId};
use tandem_scheduler::{ActorId, ActorName, Event, NamedActor, Namespace};

use crate::world::World;

impl World {
    /// The driver of a job runs here, and makes a named actor or ends one.
    pub(crate) fn name_or_drop(&mut self, id: WorkerId, job: JobId) -> Result<(), String> {
        let runs = self.workers.get(&id).is_some_and(|worker| {
            let runs = worker.running.keys().any(|attempt| attempt.task.job == job);
            runs && worker.paused_until <= self.now && worker.cut_until <= self.now
        });
        if !runs || self.cluster.is_none() {
            return Ok(());
        }
        let theirs = |actor: &NamedActor| actor.job == job && actor.actor.owner() == id;
        let named: Vec<_> = self.names.values().filter(|actor| theirs(actor)).map(|actor| actor.actor).collect();
        match self.rng.pick(&named) {
            Some(actor) if self.rng.chance(40) => self.drop_actor(job, actor),
            _ => self.claim(id, job),
        }
    }

    fn claim(&mut self, id: WorkerId, job: JobId) -> Result<(), String> {
        let namespace = if self.rng.chance(50) { Namespace::Job(job) } else { Namespace::Shared("all".to_owned()) };
        let name = ActorName { namespace, name: format!("actor-{}", self.rng.range(0..4)) };
        let actor = ActorId(u128::from(id.0) << 64 | u128::from(self.order));
        let actor = NamedActor { actor, job, class: "Actor".to_owned() };
        self.feed(Event::NameClaimed { name: name.clone(), actor: actor.clone() })?;
        let holder = self.cluster.as_ref().and_then(|cluster| cluster.claim_of(&name, &actor).ok().flatten());
        if holder == Some(&actor) {
            self.journal.sync();
            self.tally.named += 1;
            self.names.insert(name, actor);
        }
        Ok(())
    }

    fn drop_actor(&mut self, job: JobId, actor: ActorId) -> Result<(), String> {
        self.feed(Event::NameDropped { job, actor })?;
        self.journal.sync();
        match self.names.iter().find(|(_, named)| named.actor == actor) {
            Some((name, _)) => Err(format!("{name:?} is still that of {actor:?}, which is gone")),
            None => Ok(()),
        }
    }

    /// A coordinator that has just started knows every name, but for those of workers and jobs that are gone.
    pub(crate) fn check_names(&self) -> Result<(), String> {
        let Some(cluster) = &self.cluster else { return Ok(()) };
        for (name, actor) in &self.names {
            let holder = cluster.find_name(actor.job, name).unwrap_or(Some(actor));
            if holder != Some(actor) {
                return Err(format!("{name:?} is that of {actor:?}, and now of {holder:?}"));
            }
        }
        Ok(())
    }
}
