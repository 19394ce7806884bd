//! Processes that many light actors share. One that is killed leaves at once for all others, and its process is asked to end what it
//! does; if it does not in time, the process ends, with all actors that are there.

use std::collections::{BTreeMap, BTreeSet};

use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::failure::Failure;
use tandem_actor_protocol::{ActorId, CallId, ExecutorId};

use crate::action::ExecutorNeeds;
use crate::context::Context;
use crate::executors::{Fate, Purpose};
use crate::job::Job;
use crate::timers::{Timer, Timestamp};

/// A process of light actors.
#[derive(Debug)]
pub(crate) struct LightProcess {
    needs: ExecutorNeeds,
    actors: BTreeSet<ActorId>,
    /// Those that were killed and have not ended, and until when they may.
    killed: BTreeMap<ActorId, Killed>,
}

#[derive(Debug)]
struct Killed {
    class: String,
    until: Timestamp,
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
        self.light.insert(executor, LightProcess { needs, actors: BTreeSet::from([actor]), killed: BTreeMap::new() });
        executor
    }

    /// A process of light actors has said hello.
    pub(crate) fn light_process_ready(&mut self, cx: &mut Context<'_>, executor: ExecutorId) {
        let actors = self.light.get(&executor).map_or(Vec::new(), |process| process.actors.iter().copied().collect());
        for actor in actors {
            self.construct(cx, executor, actor);
        }
    }

    /// Has a process end an actor at once: what it has of that is cancelled, from the last to the first, so that nothing begins.
    pub(crate) fn kill_light(&mut self, cx: &mut Context<'_>, executor: ExecutorId, actor: ActorId) {
        let Some(hosted) = self.hosted_actors.get(&actor) else { return };
        let class = hosted.spec.class.clone();
        let is_sent = |call: &&CallId| self.hosted_calls.get(call).is_some_and(|entry| entry.sent.is_some());
        let calls: Vec<CallId> = hosted.calls.iter().rev().filter(is_sent).copied().collect();
        // A process that has said nothing yet does not begin what has left it.
        if self.executors.get(&executor).is_some_and(|process| process.process.is_some()) {
            for call in calls.into_iter().chain([actor.creation()]) {
                cx.send(executor, ToExecutor::Cancel(call));
            }
            cx.send(executor, ToExecutor::EndActor(actor));
            if let Some(process) = self.light.get_mut(&executor) {
                let until = cx.now.after(cx.config.stop_grace_ms);
                process.killed.insert(actor, Killed { class, until });
                cx.shared.timers.set(until, self.id, Timer::ActorKill(actor));
            }
        }
        self.light_leaves(cx, executor, actor);
    }

    /// A process has ended an actor that was killed.
    pub(crate) fn killed_has_ended(&mut self, executor: ExecutorId, actor: ActorId) {
        if let Some(process) = self.light.get_mut(&executor) {
            process.killed.remove(&actor);
        }
    }

    /// An actor that was killed may still be at something.
    pub(crate) fn killed_overdue(&mut self, cx: &mut Context<'_>, actor: ActorId) {
        let late = |(_, process): &(&ExecutorId, &LightProcess)| {
            process.killed.get(&actor).is_some_and(|killed| killed.until <= cx.now)
        };
        let Some((executor, process)) = self.light.iter().find(late) else { return };
        let (executor, class) = (*executor, &process.killed[&actor].class);
        let fate = Fate::HeldUp(format!("{class}, which was killed, did not end"));
        self.stop_executor(cx, executor, fate, true);
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
