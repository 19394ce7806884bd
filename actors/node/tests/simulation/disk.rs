//! The disks of all workers, and what is being written or read there.

use std::collections::BTreeMap;

use tandem_actor_protocol::{Location, ObjectId, WorkerId};
use tandem_node::{Event, RestoreError, SpillFile};

use crate::coordinator::JOB;
use crate::memory::Memory;

/// See the module's header.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    files: BTreeMap<(WorkerId, SpillFile), File>,
    pub(crate) orders: Vec<OrderOf>,
    /// How often something was written, could not be, was read back, was read for another worker, could not be read.
    pub(crate) written: u64,
    pub(crate) failed: u64,
    pub(crate) read: u64,
    pub(crate) lent: u64,
    pub(crate) damaged: u64,
}

#[derive(Debug)]
struct File {
    bytes: u64,
    number: u64,
}

/// What a worker wants done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OrderOf {
    pub(crate) worker: WorkerId,
    file: SpillFile,
    pub(crate) what: Order,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Order {
    /// With what was there when it was ordered.
    Write {
        from: Location,
        number: u64,
    },
    Read {
        object: ObjectId,
        into: Location,
    },
}

impl Disk {
    pub(crate) fn write(&mut self, worker: WorkerId, file: SpillFile, from: Location, number: u64) {
        self.orders.push(OrderOf { worker, file, what: Order::Write { from, number } });
    }

    pub(crate) fn read(&mut self, worker: WorkerId, object: ObjectId, file: SpillFile, into: Location) {
        assert!(self.files.contains_key(&(worker, file)), "{file:?} is there");
        self.orders.push(OrderOf { worker, file, what: Order::Read { object, into } });
    }

    /// What another worker reads from a file, if it is there and can be read.
    pub(crate) fn lend(&mut self, worker: WorkerId, file: SpillFile, length: u64, fails: bool) -> Option<u64> {
        let found = self.files.get(&(worker, file))?;
        assert_eq!(found.bytes, length);
        if fails {
            self.damaged += 1;
            return None;
        }
        self.lent += 1;
        Some(found.number)
    }

    pub(crate) fn remove(&mut self, worker: WorkerId, file: SpillFile) {
        let uses = |order: &OrderOf| order.worker == worker && order.file == file;
        assert!(!self.orders.iter().any(uses), "{file:?} is in use");
        assert!(self.files.remove(&(worker, file)).is_some(), "{file:?} is there");
    }

    /// Does what was ordered. What the node hears of it.
    pub(crate) fn perform(&mut self, order: OrderOf, memory: &mut Memory, fails: bool) -> Event {
        let OrderOf { worker, file, what } = order;
        match what {
            Order::Write { from, number } => {
                assert_eq!(memory.read(from), Some(number), "nobody else has the room of what is written");
                let outcome = if fails { Err("the disk is full".to_owned()) } else { Ok(()) };
                if fails {
                    self.failed += 1;
                } else {
                    self.written += 1;
                    self.files.insert((worker, file), File { bytes: from.length, number });
                }
                Event::Spilled { job: JOB, file, outcome }
            }
            Order::Read { object, into } => {
                let found = &self.files[&(worker, file)];
                assert_eq!(found.bytes, into.length);
                let outcome = if fails { Err(RestoreError::Damaged("a bit has flipped".to_owned())) } else { Ok(()) };
                if fails {
                    self.damaged += 1;
                } else {
                    self.read += 1;
                    memory.write(into, found.number);
                }
                Event::Restored { job: JOB, object, outcome }
            }
        }
    }

    /// A worker is gone, and what it had is removed.
    pub(crate) fn lose(&mut self, worker: WorkerId) {
        self.files.retain(|(of, _), _| *of != worker);
        self.orders.retain(|order| order.worker != worker);
    }

    pub(crate) fn is_busy(&self) -> bool {
        !self.orders.is_empty()
    }

    pub(crate) fn files(&self) -> usize {
        self.files.len()
    }

    pub(crate) fn bytes(&self, worker: WorkerId) -> u64 {
        self.files.iter().filter(|((of, _), _)| *of == worker).map(|(_, file)| file.bytes).sum()
    }

    /// Counts what another has done.
    pub(crate) fn add(&mut self, other: &Self) {
        self.written += other.written;
        self.failed += other.failed;
        self.read += other.read;
        self.lent += other.lent;
        self.damaged += other.damaged;
    }
}
