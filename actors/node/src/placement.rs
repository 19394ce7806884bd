//! The placement groups that processes of this worker made, and what becomes of work in a group that is gone.
//! The coordinator reserves what they have; here is only who waits for that, and that a group ends when nobody holds its object.
//!
//! ```text
//!   Pending ─reserved─► Reserved ─► removed        (by a process, or when nobody holds it any more)
//!      └─failed, or too late─► Failed ─► removed
//! ```

use std::sync::Arc;

use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::peer::PeerBody;
use tandem_actor_protocol::placement::PlacementGroup;
use tandem_actor_protocol::resources::Shape;
use tandem_actor_protocol::{ActorId, CallId, ExecutorId, PlacementGroupId};

use crate::action::Action;
use crate::actors::OwnedState;
use crate::context::Context;
use crate::event::GroupNews;
use crate::job::Job;
use crate::objects::Stored;
use crate::tasks::{ShapeId, TaskState};
use crate::timers::Timer;

/// As many as the coordinator takes.
const MAX_BUNDLES: usize = 10_000;

/// Where a placement group stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GroupState {
    /// The coordinator has not reserved all of it; for this reason, as far as it has said.
    Pending { reason: String },
    /// It is there.
    Reserved,
    /// It will never be there.
    Failed,
}

/// What can happen to a placement group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GroupEvent {
    /// It still waits, for this reason.
    Waits(String),
    /// Every bundle is reserved.
    Reserved,
    /// No worker will ever have room for it, or it took too long.
    Failed,
}

impl GroupState {
    /// The only place where the state of a group changes. False: nothing is new.
    pub(crate) fn apply(&mut self, event: GroupEvent) -> bool {
        let after = match (&*self, event) {
            (Self::Pending { .. }, GroupEvent::Waits(reason)) => Self::Pending { reason },
            (Self::Pending { .. }, GroupEvent::Reserved) => Self::Reserved,
            (Self::Pending { .. }, GroupEvent::Failed) => Self::Failed,
            // The coordinator says it again, or it has lost a bundle, which is for what runs there to wait for.
            (Self::Reserved | Self::Failed, _) => return false,
        };
        *self = after;
        true
    }
}

impl Job {
    /// A process makes a placement group.
    pub(crate) fn create_group(&mut self, cx: &mut Context<'_>, executor: ExecutorId, spec: PlacementGroup) {
        let group = spec.group;
        if !self.may_make(executor, CallId(group.0), 1) {
            return self.broke_protocol(cx, executor, &format!("{group} is not its to make"));
        }
        self.make_results(cx, executor, CallId(group.0), 1);
        if spec.bundles.is_empty() || spec.bundles.len() > MAX_BUNDLES {
            let why = format!("a placement group has 1 to {MAX_BUNDLES} bundles");
            let failure = Failure::new(FailureKind::Mismatch, group.to_string(), why);
            return self.break_object(group.object(), failure.into());
        }
        let refused = |(index, shape): (usize, &Shape)| shape.refuse().map(|why| format!("bundle {index}: {why}"));
        if let Some(why) = spec.bundles.iter().enumerate().find_map(refused) {
            let failure = Failure::new(FailureKind::Unschedulable, group.to_string(), why);
            return self.break_object(group.object(), failure.into());
        }
        self.placement_groups.insert(group, GroupState::Pending { reason: String::new() });
        if spec.timeout_ms > 0 {
            cx.timer(spec.timeout_ms, self.id, Timer::Group(group));
        }
        cx.act(Action::CreateGroup { job: self.id, group: Box::new(spec) });
    }

    /// The coordinator says how a placement group stands.
    pub(crate) fn group_changed(&mut self, cx: &mut Context<'_>, group: PlacementGroupId, news: GroupNews) {
        let event = match news {
            GroupNews::Gone => return self.group_gone(cx, group),
            GroupNews::Waits(reason) => GroupEvent::Waits(reason),
            GroupNews::Reserved => GroupEvent::Reserved,
            GroupNews::Failed(why) => return self.group_failed(cx, group, why),
        };
        let Some(state) = self.placement_groups.get_mut(&group) else { return };
        if state.apply(event) && *state == GroupState::Reserved {
            self.make_object(cx, group.object(), Stored::unit());
        }
    }

    /// A placement group will not be there. What the coordinator knows of it goes too.
    fn group_failed(&mut self, cx: &mut Context<'_>, group: PlacementGroupId, why: String) {
        let Some(state) = self.placement_groups.get_mut(&group) else { return };
        if state.apply(GroupEvent::Failed) {
            let failure = Failure::new(FailureKind::Unschedulable, group.to_string(), why);
            self.break_object(group.object(), Arc::new(failure));
            cx.act(Action::RemoveGroup { job: self.id, group });
        }
    }

    /// A placement group should be there by now.
    pub(crate) fn group_overdue(&mut self, cx: &mut Context<'_>, group: PlacementGroupId) {
        if let Some(GroupState::Pending { reason }) = self.placement_groups.get(&group) {
            let reason = if reason.is_empty() { "the coordinator has not answered" } else { reason };
            let why = format!("it is not reserved in time: {reason}");
            self.group_failed(cx, group, why);
        }
    }

    /// A process wants a placement group removed. Its owner does it.
    pub(crate) fn remove_group(&mut self, cx: &mut Context<'_>, group: PlacementGroupId) {
        if group.owner() != self.worker {
            return self.send_peer(cx, group.owner(), PeerBody::RemoveGroup(group));
        }
        let Some(state) = self.placement_groups.remove(&group) else { return };
        if state != GroupState::Failed {
            cx.act(Action::RemoveGroup { job: self.id, group });
        }
        self.break_object(group.object(), Arc::new(removed(&group.to_string())));
        self.group_gone(cx, group);
    }

    /// Nobody holds a placement group any more.
    pub(crate) fn group_let_go(&mut self, cx: &mut Context<'_>, group: PlacementGroupId) {
        if self.placement_groups.contains_key(&group) {
            self.remove_group(cx, group);
        }
    }

    /// What this worker has in a placement group ends with it: what waits fails, what runs is cancelled, actors are ended.
    fn group_gone(&mut self, cx: &mut Context<'_>, group: PlacementGroupId) {
        let shapes: Vec<ShapeId> = self.shapes.in_group(group).collect();
        if shapes.is_empty() {
            return;
        }
        let tasks = self.tasks.iter().filter(|(_, task)| shapes.contains(&task.shape));
        let mut tasks: Vec<CallId> = tasks.map(|(call, _)| *call).collect();
        tasks.sort_unstable();
        for call in tasks {
            let Some(task) = self.tasks.get(&call) else { continue };
            match task.state {
                TaskState::Waiting { .. } | TaskState::Queued => {
                    let failure = Failure { attempts: task.failures, ..removed(task.name()) };
                    self.finish_task(cx, call, Err(failure));
                }
                TaskState::Placed { .. } => self.cancel_here(cx, call, true),
                TaskState::Finished => {}
            }
        }
        let lives = |state: &OwnedState| !matches!(state, OwnedState::Gone(_) | OwnedState::Ending { .. });
        let actors = self.owned_actors.iter().filter(|(_, actor)| shapes.contains(&actor.shape) && lives(&actor.state));
        let actors: Vec<ActorId> = actors.map(|(actor, _)| *actor).collect();
        for actor in actors {
            let Some(owned) = self.owned_actors.get(&actor) else { continue };
            if owned.state.at().is_some() {
                self.kill(cx, actor, true);
            } else {
                let failure = removed(&owned.spec.class);
                self.actor_is_gone(cx, actor, failure);
            }
        }
    }
}

/// Why what waits in a placement group that is gone fails.
fn removed(name: &str) -> Failure {
    Failure::new(FailureKind::Unschedulable, name, "its placement group was removed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_settled_once() {
        use GroupEvent::{Failed, Reserved, Waits};
        let waits = |reason: &str| GroupState::Pending { reason: reason.to_owned() };
        let cases = [
            (waits(""), Waits("no room".to_owned()), Some(waits("no room"))),
            (waits("no room"), Reserved, Some(GroupState::Reserved)),
            (waits("no room"), Failed, Some(GroupState::Failed)),
            (GroupState::Reserved, Reserved, None),
            (GroupState::Reserved, Waits("a worker is lost".to_owned()), None),
            (GroupState::Reserved, Failed, None),
            (GroupState::Failed, Reserved, None),
        ];
        for (state, event, expected) in cases {
            let mut after = state.clone();
            assert_eq!(after.apply(event.clone()), expected.is_some(), "{state:?} and {event:?}");
            assert_eq!(after, expected.unwrap_or(state), "{event:?}");
        }
    }
}
