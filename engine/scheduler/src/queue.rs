//! The pending tasks of one stage, in the order they should start.
//! Owned by its [`Stage`](super::stage::Stage).
//! Invariant: every pending task is in exactly one of the queues. An entry of a task that is not pending any more is
//! dropped when it is met.

use std::collections::{BTreeMap, VecDeque};

use tandem_proto::WorkerId;

use crate::task::{Task, TaskState};

/// Tasks that wait, by where they would rather run.
#[derive(Debug)]
pub(crate) struct TaskQueue {
    /// Whether a task has an entry.
    queued: Vec<bool>,
    /// Tasks that failed somewhere and avoid those workers. They go first.
    picky: VecDeque<u32>,
    /// Tasks whose input is mostly on one worker.
    near: BTreeMap<WorkerId, VecDeque<u32>>,
    /// All others.
    any: VecDeque<u32>,
}

/// A task taken from the queue, and the worker it prefers.
pub(crate) type Taken = (u32, Option<WorkerId>);

impl TaskQueue {
    /// A queue of tasks `0..tasks`.
    pub(crate) fn full(tasks: u32) -> Self {
        Self {
            queued: vec![true; tasks as usize],
            picky: VecDeque::new(),
            near: BTreeMap::new(),
            any: (0..tasks).collect(),
        }
    }

    /// Adds a task that is pending again. It goes before those that never ran: others may wait for it.
    pub(crate) fn push(&mut self, index: u32) {
        if !std::mem::replace(&mut self.queued[index as usize], true) {
            self.any.push_front(index);
        }
    }

    /// Sorts the tasks by the worker they prefer.
    pub(crate) fn arrange(&mut self, mut prefers: impl FnMut(u32) -> Option<WorkerId>) {
        let mut all = std::mem::take(&mut self.any);
        all.extend(std::mem::take(&mut self.near).into_values().flatten());
        for index in all {
            match prefers(index) {
                Some(worker) => self.near.entry(worker).or_default().push_back(index),
                None => self.any.push_back(index),
            }
        }
    }

    /// Takes up to `limit` tasks that could use one of the offers. `free` tells the slots a worker offers, `may_use` whether a
    /// task may run there.
    pub(crate) fn take(
        &mut self,
        limit: usize,
        tasks: &[Task],
        free: &BTreeMap<WorkerId, u32>,
        may_use: impl Fn(&Task, WorkerId) -> bool,
    ) -> Vec<Taken> {
        let mut taken = Vec::new();
        let usable = |task: &Task| free.keys().any(|&worker| may_use(task, worker));
        self.take_picky(limit, tasks, &usable, &mut taken);
        let near: Vec<_> = self.preferred().collect();
        for worker in near {
            let slots = free.get(&worker).copied().unwrap_or_default();
            let at_most = limit.min(taken.len() + slots as usize);
            self.take_near(worker, at_most, tasks, &mut taken);
        }
        while taken.len() < limit
            && let Some(index) = self.any.pop_front()
        {
            self.keep(index, None, tasks, &mut taken);
        }
        while taken.len() < limit
            && let Some(&worker) = self.near.keys().next()
        {
            self.take_near(worker, limit, tasks, &mut taken);
        }
        self.take_picky(limit, tasks, &usable, &mut taken);
        taken
    }

    /// The workers that some task prefers.
    pub(crate) fn preferred(&self) -> impl Iterator<Item = WorkerId> {
        self.near.keys().copied()
    }

    fn take_near(&mut self, worker: WorkerId, at_most: usize, tasks: &[Task], taken: &mut Vec<Taken>) {
        let Some(mut queue) = self.near.remove(&worker) else { return };
        while taken.len() < at_most
            && let Some(index) = queue.pop_front()
        {
            self.keep(index, Some(worker), tasks, taken);
        }
        if !queue.is_empty() {
            self.near.insert(worker, queue);
        }
    }

    /// Takes what may run on some offer; what may not stays.
    fn take_picky(&mut self, limit: usize, tasks: &[Task], usable: &impl Fn(&Task) -> bool, taken: &mut Vec<Taken>) {
        for index in std::mem::take(&mut self.picky) {
            let task = &tasks[index as usize];
            if task.state != TaskState::Pending {
                self.queued[index as usize] = false;
            } else if taken.len() < limit && usable(task) {
                self.queued[index as usize] = false;
                taken.push((index, None));
            } else {
                self.picky.push_back(index);
            }
        }
    }

    fn keep(&mut self, index: u32, prefer: Option<WorkerId>, tasks: &[Task], taken: &mut Vec<Taken>) {
        let task = &tasks[index as usize];
        if task.state == TaskState::Pending && !task.avoids().is_empty() {
            self.picky.push_back(index);
            return;
        }
        self.queued[index as usize] = false;
        if task.state == TaskState::Pending {
            taken.push((index, prefer));
        }
    }
}

#[cfg(test)]
mod tests {
    use tandem_proto::Attempt;

    use super::*;
    use crate::task::TaskEvent;

    const A: WorkerId = WorkerId(1);
    const B: WorkerId = WorkerId(2);

    fn not_avoided(task: &Task, worker: WorkerId) -> bool {
        !task.avoids().contains(&worker)
    }

    fn tasks(count: u32) -> Vec<Task> {
        (0..count).map(|_| Task::new(0)).collect()
    }

    #[test]
    fn a_task_near_the_free_worker_goes_before_others() {
        let tasks = tasks(4);
        let mut queue = TaskQueue::full(4);
        queue.arrange(|index| [None, Some(B), None, Some(A)][index as usize]);
        let free = BTreeMap::from([(A, 1)]);
        assert_eq!(queue.take(1, &tasks, &free, not_avoided), [(3, Some(A))]);
        assert_eq!(queue.take(2, &tasks, &free, not_avoided), [(0, None), (2, None)]);
        assert_eq!(queue.take(2, &tasks, &free, not_avoided), [(1, Some(B))], "rather far away than not at all");
    }

    #[test]
    fn a_task_is_not_offered_the_worker_it_failed_on() {
        let mut tasks = tasks(2);
        tasks[0].trouble().avoid.push(A);
        let mut queue = TaskQueue::full(2);
        assert_eq!(queue.take(2, &tasks, &BTreeMap::from([(A, 2)]), not_avoided), [(1, None)]);
        assert_eq!(queue.take(2, &tasks, &BTreeMap::from([(A, 1), (B, 1)]), not_avoided), [(0, None)]);
    }

    #[test]
    fn a_task_that_is_pending_again_is_taken_once() {
        let mut tasks = tasks(2);
        let mut queue = TaskQueue::full(2);
        tasks[0].apply(TaskEvent::Accept { worker: A, attempt: Attempt(0) });
        tasks[0].apply(TaskEvent::Lose);
        queue.push(0);
        assert_eq!(queue.take(9, &tasks, &BTreeMap::from([(A, 9)]), not_avoided).len(), 2);
    }
}
