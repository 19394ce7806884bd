//! Actors by name: the coordinator knows them.

use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::{ActorId, ExecutorId};

use crate::context::Context;
use crate::job::Job;

impl Job {
    /// The coordinator says who has a name.
    pub(crate) fn name_found(
        &mut self,
        cx: &mut Context<'_>,
        executor: ExecutorId,
        request: u32,
        actor: Option<(ActorId, String)>,
    ) {
        if self.executors.contains_key(&executor) {
            cx.send(executor, ToExecutor::Found { request, actor });
        }
    }
}
