//! One worker's fine state: takes events, decides, says what to do.

use crate::action::Action;
use crate::config::NodeConfig;
use crate::event::Event;
use crate::timers::Timestamp;

/// The fine state of one worker.
#[derive(Debug)]
pub struct Node {
    config: NodeConfig,
}

impl Node {
    /// A node that knows of nothing.
    pub fn new(config: NodeConfig) -> Self {
        Self { config }
    }

    /// Takes what has happened at `now`, and says what to do, in this order.
    pub fn handle(&mut self, now: Timestamp, event: Event) -> Vec<Action> {
        let _ = (now, event, &self.config);
        Vec::new()
    }

    /// When [`Event::Tick`] is wanted at the latest, if nothing else happens before.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        None
    }
}
