//! What will happen, and when. Of the same time, what was noted first comes first.

use std::collections::{BTreeMap, VecDeque};

use tandem_actor_protocol::ExecutorId;
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::node::ToNode;
use tandem_node::Event;

/// One thing that will happen. Workers are told by their place in the fleet.
#[derive(Debug)]
pub(crate) enum Due {
    /// The node of a worker hears something.
    Node(usize, Event),
    /// A process hears something.
    Process(usize, ExecutorId, ToExecutor),
    /// A process is there.
    Started(usize, ExecutorId),
    /// The task of a process has taken its time.
    Worked(usize, ExecutorId),
    /// The script of a process goes on.
    GoOn(usize, ExecutorId),
    /// A process is ended, if it has not ended by itself.
    Kill(usize, ExecutorId),
    /// The coordinator hears something.
    Coordinator(tandem_scheduler::Event),
    /// A worker hears something of the coordinator.
    Order(usize, tandem_scheduler::Action),
    Beat(usize),
    /// The next deadline of a node.
    Tick(usize),
    /// That of the coordinator.
    Deadline,
}

/// See the module's header.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    now_us: u64,
    due: BTreeMap<u64, VecDeque<Due>>,
}

impl Agenda {
    pub(crate) fn now_us(&self) -> u64 {
        self.now_us
    }

    pub(crate) fn at(&mut self, us: u64, due: Due) {
        self.due.entry(us.max(self.now_us)).or_default().push_back(due);
    }

    pub(crate) fn after(&mut self, us: u64, due: Due) {
        self.at(self.now_us + us, due);
    }

    /// A process says something to its node.
    pub(crate) fn say(&mut self, index: usize, executor: ExecutorId, message: ToNode) {
        self.after(0, Due::Node(index, Event::FromExecutor { executor, message }));
    }

    /// What is next, if that is not after `until_us`, which it is then.
    pub(crate) fn pop(&mut self, until_us: u64) -> Option<Due> {
        let Some(mut first) = self.due.first_entry().filter(|first| *first.key() <= until_us) else {
            self.now_us = until_us;
            return None;
        };
        self.now_us = *first.key();
        let due = first.get_mut().pop_front();
        if first.get().is_empty() {
            first.remove();
        }
        due
    }
}
