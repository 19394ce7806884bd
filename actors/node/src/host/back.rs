//! Tasks that were not begun and go back where they came from, or wait here for another process.

use tandem_actor_protocol::peer::PeerBody;
use tandem_actor_protocol::{CallId, ExecutorId, WorkerId};

use super::task::PhaseEvent;
use super::{Hosted, Phase, Source};
use crate::context::Context;
use crate::job::Job;
use crate::objects::objects_of;

impl Job {
    /// A process has not begun these tasks and will not.
    pub(crate) fn gave_back(&mut self, cx: &mut Context<'_>, executor: ExecutorId, calls: &[CallId]) {
        let Some(process) = self.executors.get_mut(&executor) else { return };
        process.recalling = false;
        let group = process.group;
        let mut back = Vec::with_capacity(calls.len());
        for call in calls {
            if process.calls.contains(call) && !process.waits_for(*call) {
                back.push(*call);
            }
        }
        // From the last to the first, which may have been about to begin.
        for call in back.iter().rev() {
            self.process_done(cx, executor, *call);
        }
        for call in back.iter().rev() {
            self.back_from_process(cx, *call);
        }
        if let Some(group) = group {
            self.dirty.group(group);
        }
        self.recall_behind_waiting(cx, executor);
    }

    /// One task is not at a process any more, and has not begun.
    pub(crate) fn back_from_process(&mut self, cx: &mut Context<'_>, call: CallId) {
        let Some(hosted) = self.hosted.get_mut(&call) else { return };
        let (source, group) = (hosted.source, hosted.group);
        let _ = hosted.phase.apply(PhaseEvent::Back);
        match source {
            Source::Own => {
                self.remove_hosted(call);
                self.requeue_own(cx, call);
            }
            Source::Nobody => {
                self.remove_hosted(call);
            }
            Source::Peer { worker, .. } if self.owes(worker) || !self.has_place(group, worker) => {
                self.send_back(cx, worker, vec![call]);
            }
            Source::Peer { .. } | Source::Shell { .. } => {
                if self
                    .hosted
                    .get(&call)
                    .and_then(|hosted| hosted.guest.as_deref())
                    .is_some_and(|guest| guest.cancelled)
                {
                    return self.hosted_task_failed(cx, call, crate::tasks::cancelled(""));
                }
                self.groups[group.0 as usize].inbox.push_front(call);
                self.dirty.group(group);
            }
        }
    }

    fn requeue_own(&mut self, cx: &mut Context<'_>, call: CallId) {
        let cancelled = self
            .tasks
            .get(&call)
            .is_some_and(|task| matches!(task.state, crate::tasks::TaskState::Placed { cancelled: true, .. }));
        if cancelled {
            self.finish_cancelled(cx, call);
        } else {
            self.ready_or_wait(cx, call, true);
        }
    }

    /// Whether a worker has recalled tasks that it has not got back yet.
    fn owes(&mut self, worker: WorkerId) -> bool {
        let Some(owed) = self.peers.owed.get_mut(&worker) else { return false };
        *owed -= 1;
        if *owed == 0 {
            self.peers.owed.remove(&worker);
        }
        true
    }

    /// Sends tasks back to the worker that wanted them run here.
    pub(crate) fn send_back(&mut self, cx: &mut Context<'_>, worker: WorkerId, calls: Vec<CallId>) {
        for call in &calls {
            self.remove_hosted(*call);
        }
        if !calls.is_empty() {
            self.send_peer(cx, worker, PeerBody::GaveBack(calls));
        }
    }

    /// A worker wants tasks back that have not begun, for others that are idle.
    pub(crate) fn recalled(&mut self, cx: &mut Context<'_>, worker: WorkerId, count: u32) {
        let mut back = Vec::new();
        let mut left = count as usize;
        for index in 0..self.groups.len() {
            let of_worker = |call: &CallId| {
                let source = self.hosted.get(call).map(|hosted| hosted.source);
                matches!(source, Some(Source::Peer { worker: owner, .. }) if owner == worker)
            };
            let found: Vec<CallId> =
                self.groups[index].inbox.iter().rev().copied().filter(of_worker).take(left).collect();
            self.groups[index].inbox.retain(|call| !found.contains(call));
            left -= found.len();
            back.extend(found);
        }
        back.reverse();
        for call in &back {
            self.remove_hosted(*call);
        }
        // An answer in any case, so that it knows when to ask again.
        self.send_peer(cx, worker, PeerBody::GaveBack(back));
        if left > 0 {
            self.recall_from_processes(cx, worker, left);
        }
    }

    /// What processes have queued for a worker comes back too, later.
    fn recall_from_processes(&mut self, cx: &mut Context<'_>, worker: WorkerId, count: usize) {
        let mut left = count;
        let mut asked: Vec<(ExecutorId, usize)> = Vec::new();
        for (executor, process) in &self.executors {
            let last = process.calls.iter().skip(1).filter_map(|call| self.hosted.get(call));
            let of_worker =
                |hosted: &&Hosted| matches!(hosted.source, Source::Peer { worker: owner, .. } if owner == worker);
            let here = last.filter(of_worker).count();
            if here > 0 && !process.recalling {
                asked.push((*executor, here));
            }
        }
        asked.sort_unstable();
        for (executor, here) in asked {
            let from_here = here.min(left);
            if from_here == 0 {
                break;
            }
            left -= from_here;
            let count = u32::try_from(from_here).unwrap_or(u32::MAX);
            *self.peers.owed.entry(worker).or_default() += count;
            self.recall(cx, executor, count);
        }
    }

    /// A hosted task is not here any more. Its own arguments are let go.
    pub(crate) fn remove_hosted(&mut self, call: CallId) -> Option<Hosted> {
        let hosted = self.hosted.remove(&call)?;
        self.groups[hosted.group.0 as usize].hosted -= 1;
        self.stuck.remove(call);
        if let Some(guest) = &hosted.guest {
            objects_of(&guest.args).for_each(|object| self.drop_guest(object));
        }
        let counted = match hosted.phase {
            Phase::Sent(executor) => !self.executors.get(&executor).is_some_and(|process| process.has_lent(call)),
            Phase::Fetching { .. } | Phase::Inbox => true,
        };
        self.count_here(hosted.group, hosted.source == Source::Own && counted, -1);
        if let Source::Shell { has_place: true, .. } = hosted.source {
            let group = &mut self.groups[hosted.group.0 as usize];
            group.own = group.own.saturating_sub(1);
        }
        Some(hosted)
    }
}
