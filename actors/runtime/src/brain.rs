//! What decides: the node, or what stands for it where the shell alone is tested.

use std::any::Any;

use tandem_node::{Action, Event, Node, Timestamp};

/// Pure: events in, actions out. Times are since the runtime started and never run backwards.
pub trait Brain: Any + Send {
    /// One thing that happened, and what is to be done about it, in order.
    fn handle(&mut self, now: Timestamp, event: Event) -> Vec<Action>;

    /// When it wants an [`Event::Tick`] at the latest, if nothing else happens before.
    fn next_deadline(&self) -> Option<Timestamp>;
}

impl Brain for Node {
    fn handle(&mut self, now: Timestamp, event: Event) -> Vec<Action> {
        Self::handle(self, now, event)
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        Self::next_deadline(self)
    }
}
