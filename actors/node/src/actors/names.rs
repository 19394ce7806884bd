//! Actors by name: the coordinator knows them.

use tandem_actor_protocol::ExecutorId;
use tandem_actor_protocol::executor::ToExecutor;

use crate::context::Context;
use crate::event::Found;
use crate::job::Job;

impl Job {
    /// The coordinator says who has a name.
    pub(crate) fn name_found(
        &mut self,
        cx: &mut Context<'_>,
        executor: ExecutorId,
        request: u32,
        found: Option<Found>,
    ) {
        if !self.executors.contains_key(&executor) {
            return;
        }
        let actor = found.map(|Found { actor, class, owner_address }| {
            // Those of other jobs may be owned by workers that this job has nothing else to do with.
            self.know_peer(cx, actor.owner(), owner_address);
            (actor, class)
        });
        cx.send(executor, ToExecutor::Found { request, actor });
    }
}
