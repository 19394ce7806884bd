//! Processes that many light actors share.

use std::collections::BTreeSet;

use tandem_actor_protocol::failure::Failure;
use tandem_actor_protocol::{ActorId, ExecutorId};

use crate::action::ExecutorNeeds;
use crate::context::Context;
use crate::executors::{Fate, Purpose};
use crate::job::Job;

/// A process of light actors.
#[derive(Debug)]
pub(crate) struct LightProcess {
    needs: ExecutorNeeds,
    actors: BTreeSet<ActorId>,
}

/// Light actors of one process.
const MOST_ACTORS: usize = 50_000;

impl Job {
    /// A process for a light actor: one that there is, if it has what the actor needs.
    pub(crate) fn light_process(&mut self, cx: &mut Context<'_>, actor: ActorId, needs: ExecutorNeeds) -> ExecutorId {
        let fits = |(executor, process): &(&ExecutorId, &LightProcess)| {
            let stays = self.executors.get(executor).is_some_and(|process| process.fate.is_none());
            stays && process.needs == needs && process.actors.len() < MOST_ACTORS
        };
        if let Some(executor) = self.light.iter().find(fits).map(|(executor, _)| *executor) {
            if let Some(process) = self.light.get_mut(&executor) {
                process.actors.insert(actor);
            }
            return executor;
        }
        let executor = self.start_executor(cx, Purpose::Light, needs.clone());
        self.light.insert(executor, LightProcess { needs, actors: BTreeSet::from([actor]) });
        executor
    }

    /// A process of light actors has said hello.
    pub(crate) fn light_process_ready(&mut self, cx: &mut Context<'_>, executor: ExecutorId) {
        let actors = self.light.get(&executor).map_or(Vec::new(), |process| process.actors.iter().copied().collect());
        for actor in actors {
            self.construct(cx, executor, actor);
        }
    }

    /// An actor leaves its process. With the last one the process ends.
    pub(crate) fn light_leaves(&mut self, cx: &mut Context<'_>, executor: ExecutorId, actor: ActorId) {
        let Some(process) = self.light.get_mut(&executor) else { return };
        process.actors.remove(&actor);
        if process.actors.is_empty() {
            self.stop_executor(cx, executor, Fate::ActorEnded, false);
        }
    }

    /// A process of light actors is gone, with all of them.
    pub(crate) fn light_process_gone(&mut self, cx: &mut Context<'_>, executor: ExecutorId, failure: &Failure) {
        let Some(process) = self.light.remove(&executor) else { return };
        for actor in process.actors {
            self.actor_process_gone(cx, actor, executor, None, failure.clone());
        }
    }
}
