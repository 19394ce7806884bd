//! What processes say.

use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::{CallId, ExecutorId};
use tandem_arena::Holder;

use super::{Job, Life};
use crate::action::Action;
use crate::context::Context;
use crate::executors::ExecutorState;
use crate::objects::SpaceWaiter;

impl Job {
    pub(crate) fn executor_said(&mut self, cx: &mut Context<'_>, executor: ExecutorId, message: ToNode) {
        let Some(process) = self.executors.get(&executor) else { return };
        if self.life == Life::Ending {
            return;
        }
        if process.state == ExecutorState::Starting && !matches!(message, ToNode::Hello(_)) {
            return self.broke_protocol(cx, executor, "it did not say hello first");
        }
        match message {
            ToNode::Hello(hello) => self.hello(cx, executor, hello),
            ToNode::Submit(spec) => self.submit(cx, executor, spec, None),
            ToNode::Spawn(spec) => self.spawn(cx, executor, spec, None),
            ToNode::Call(call) => self.call(cx, executor, call, None),
            ToNode::CallWith { call, options } => self.call_with(cx, executor, call, options),
            ToNode::Put { object, value } => self.put(cx, executor, object, value),
            ToNode::Watch { objects, fetch } => self.watch(cx, executor, objects, fetch),
            ToNode::Retain(objects) => {
                objects.into_iter().for_each(|object| self.hold_by_process(cx, executor, object));
            }
            ToNode::Release(objects) => {
                objects.into_iter().for_each(|object| self.release_by_process(executor, object));
            }
            ToNode::Unpin(objects) => {
                objects.into_iter().for_each(|object| self.unpin(Holder::Executor(executor), object));
            }
            ToNode::Blocked(call) => self.blocked(cx, executor, call),
            ToNode::Unblocked(call) => self.unblocked(cx, executor, call),
            ToNode::Stuck { call, objects } => self.stuck(cx, executor, call, objects),
            ToNode::GaveBack(calls) => self.gave_back(cx, executor, &calls),
            ToNode::Began(call) => self.began(cx, executor, call),
            ToNode::Done { call, attempt, outcome } => self.done(cx, executor, call, attempt, outcome),
            ToNode::Cancel { call, force } => self.cancel(cx, call, force),
            ToNode::Kill { actor, at_once } => self.kill(cx, actor, at_once),
            ToNode::Checkpoint { actor, state } => self.checkpoint(cx, executor, actor, state),
            ToNode::NoCheckpoint { actor, outcome } => self.no_checkpoint(cx, executor, actor, outcome),
            ToNode::Find { request, namespace, name } => {
                cx.act(Action::FindName { executor, request, job: self.id, namespace, name });
            }
            ToNode::NeedSpace { bytes } => self.want_space(cx, bytes, SpaceWaiter::Executor(executor)),
            ToNode::SpaceUsed(leases) => self.space_used(cx, executor, leases),
            ToNode::GaveUp(extent) => self.gave_up(executor, extent),
            ToNode::Sql(request) => self.sql(cx, executor, request),
            ToNode::DriverDone(outcome) => self.driver_done(cx, executor, outcome),
            ToNode::ActorEnded(actor) => self.actor_ended(cx, executor, actor),
            ToNode::CreateGroup(group) => self.create_group(cx, executor, group),
            ToNode::RemoveGroup(group) => self.remove_group(cx, group),
            ToNode::SubmitIn { task, bundle } => self.submit(cx, executor, task, Some(bundle)),
            ToNode::SpawnIn { actor, bundle } => self.spawn(cx, executor, actor, Some(bundle)),
            ToNode::SubmitStream { task, bundle } => self.submit_stream(cx, executor, task, bundle),
            ToNode::WantItems { call, items } => self.want_items(cx, executor, call, items),
            ToNode::Yield { call, attempt, index, value } => self.yielded(cx, executor, call, attempt, index, value),
        }
    }

    /// A task, a call of an actor, or the start of one has ended.
    fn done(
        &mut self,
        cx: &mut Context<'_>,
        executor: ExecutorId,
        call: CallId,
        attempt: u32,
        outcome: Result<Vec<tandem_actor_protocol::value::Value>, tandem_actor_protocol::failure::Failure>,
    ) {
        if self.hosted.contains_key(&call) {
            self.task_ended(cx, executor, call, attempt, outcome);
        } else {
            self.actor_call_ended(cx, executor, call, attempt, outcome);
        }
    }
}
