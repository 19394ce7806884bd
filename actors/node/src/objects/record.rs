//! One object, as this worker knows it.
//!
//! ```text
//!   Pending ─made─► Ready ─copied─► Ready, here too        Ready elsewhere, or on disk ─lost─► Pending
//!      └───broke──► Failed            │       ▲
//!                                  spilled  copied
//!                                     ▼       │
//!                                   Ready, on disk
//! ```
//!
//! Invariant: a record stays exactly as long as anyone counted here holds it.

use std::sync::Arc;

use bytes::Bytes;
use tandem_actor_protocol::failure::Failure;
use tandem_actor_protocol::peer::RemoteValue;
use tandem_actor_protocol::value::Format;
use tandem_actor_protocol::{CallId, ObjectId, WorkerId};

use super::Borrowers;
use super::hold::NO_INDEX;
use crate::action::SpillFile;

/// What is known of an object here, and who keeps it. There may be millions, so it is kept small.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) state: ObjectState,
    /// Which of its call's objects it is.
    pub(crate) index: u32,
    /// Processes here that hold it.
    pub(crate) processes: u32,
    /// Arguments of tasks and calls that this worker owns, and values here that name it.
    pub(crate) uses: u32,
    /// Arguments of what this worker hosts: whoever sent that holds it too.
    pub(crate) guests: u32,
    /// Its owner wants it kept here.
    pub(crate) kept: bool,
    /// Its owner, another worker, knows that this one holds it.
    pub(crate) borrowed: bool,
    /// What its value names is held by it here, not by whoever sent it.
    pub(crate) holds_refs: bool,
    pub(crate) borrowers: Borrowers,
}

/// Where an object stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ObjectState {
    Pending,
    Ready(Box<Stored>),
    Failed(Arc<Failure>),
}

/// A value, wherever it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stored {
    pub(crate) body: StoredBody,
    /// Objects that it names.
    pub(crate) refs: Box<[ObjectId]>,
    /// The worker that keeps something for this one, until it is told to drop it.
    pub(crate) keeper: Option<WorkerId>,
}

/// Where the bytes of a value are.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum StoredBody {
    Inline {
        format: Format,
        bytes: Bytes,
    },
    Large {
        format: Format,
        length: u64,
        /// Its name in the arena of the job here, if it is there.
        local: Option<ObjectId>,
        /// The file on disk here, if it is there and not in the arena.
        file: Option<SpillFile>,
        /// Another worker that has it.
        remote: Option<WorkerId>,
    },
}

/// What can happen to an object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ObjectEvent {
    /// It has a value.
    Made(Box<Stored>),
    /// It will never have one.
    Broke(Arc<Failure>),
    /// Its bytes are here too, under this name.
    Copied(ObjectId),
    /// Its bytes are on disk, and not in the arena any more.
    Spilled(SpillFile),
    /// Its bytes cannot be read from disk.
    FileLost,
    /// The other worker has its bytes no more.
    Lost,
    /// Whatever it was, it will never be had again.
    Gone(Arc<Failure>),
}

/// What cannot happen in a state.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("an object that is {state} cannot get {event:?}")]
pub(crate) struct IllegalTransition {
    state: &'static str,
    event: ObjectEvent,
}

impl Object {
    /// The call that returned it, if it is named `object`.
    pub(crate) fn call(&self, object: ObjectId) -> Option<CallId> {
        (self.index != NO_INDEX).then(|| CallId(object.0 - u128::from(self.index)))
    }

    pub(crate) fn new(state: ObjectState, index: u32) -> Self {
        Self {
            state,
            index,
            processes: 0,
            uses: 0,
            guests: 0,
            kept: false,
            borrowed: false,
            holds_refs: false,
            borrowers: Borrowers::default(),
        }
    }

    /// Whether anyone needs the record.
    pub(crate) fn is_held(&self) -> bool {
        self.is_ours() || self.guests > 0 || self.kept || !self.borrowers.is_empty()
    }

    /// Whether this worker itself needs it, so that its owner has to know.
    pub(crate) fn is_ours(&self) -> bool {
        self.processes > 0 || self.uses > 0
    }

    pub(crate) fn stored(&self) -> Option<&Stored> {
        match &self.state {
            ObjectState::Ready(stored) => Some(stored),
            ObjectState::Pending | ObjectState::Failed(_) => None,
        }
    }
}

impl ObjectState {
    /// The only place where the state of an object changes.
    pub(crate) fn apply(&mut self, event: ObjectEvent) -> Result<(), IllegalTransition> {
        match (&mut *self, event) {
            (Self::Pending, ObjectEvent::Made(stored)) => *self = Self::Ready(stored),
            (Self::Pending, ObjectEvent::Broke(failure)) => *self = Self::Failed(failure),
            (Self::Ready(stored), ObjectEvent::Copied(name)) if stored.is_large() && !stored.is_local() => {
                stored.set_local(name)
            }
            (Self::Ready(stored), ObjectEvent::Spilled(file)) if stored.is_local() => stored.set_spilled(file),
            (Self::Ready(stored), ObjectEvent::FileLost) if stored.file().is_some() => {
                if !stored.forget_file() {
                    *self = Self::Pending;
                }
            }
            (Self::Ready(stored), ObjectEvent::Lost) if stored.is_large() => {
                if !stored.forget_remote() {
                    *self = Self::Pending;
                }
            }
            (Self::Pending | Self::Ready(_), ObjectEvent::Gone(failure)) => *self = Self::Failed(failure),
            (state, event) => return Err(IllegalTransition { state: state.name(), event }),
        }
        Ok(())
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Ready(_) => "ready",
            Self::Failed(_) => "failed",
        }
    }
}

impl Stored {
    pub(crate) fn inline(format: Format, bytes: Bytes, refs: Vec<ObjectId>) -> Self {
        Self { body: StoredBody::Inline { format, bytes }, refs: refs.into(), keeper: None }
    }

    /// What a function returns that returns nothing.
    pub(crate) fn unit() -> Self {
        Self::inline(Format::Serde, Bytes::new(), Vec::new())
    }

    /// A value that is in the arena here under this name.
    pub(crate) fn local(format: Format, name: ObjectId, length: u64, refs: Vec<ObjectId>) -> Self {
        let body = StoredBody::Large { format, length, local: Some(name), file: None, remote: None };
        Self { body, refs: refs.into(), keeper: None }
    }

    /// What another worker sent.
    pub(crate) fn from_remote(value: RemoteValue) -> Self {
        match value {
            RemoteValue::Inline { format, bytes, refs } => Self::inline(format, bytes, refs),
            RemoteValue::Held { format, worker, length, refs } => Self {
                body: StoredBody::Large { format, length, local: None, file: None, remote: Some(worker) },
                refs: refs.into(),
                keeper: None,
            },
        }
    }

    /// As it is told to another worker.
    pub(crate) fn to_remote(&self, here: WorkerId) -> RemoteValue {
        let refs = self.refs.to_vec();
        match &self.body {
            StoredBody::Inline { format, bytes } => RemoteValue::Inline { format: *format, bytes: bytes.clone(), refs },
            StoredBody::Large { format, length, remote, .. } => {
                let worker = if self.is_here() { here } else { remote.unwrap_or(here) };
                RemoteValue::Held { format: *format, worker, length: *length, refs }
            }
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        match &self.body {
            StoredBody::Inline { bytes, .. } => bytes.len() as u64,
            StoredBody::Large { length, .. } => *length,
        }
    }

    pub(crate) fn is_large(&self) -> bool {
        matches!(self.body, StoredBody::Large { .. })
    }

    /// Whether its bytes are in the arena here.
    pub(crate) fn is_local(&self) -> bool {
        self.name().is_some()
    }

    /// Whether this worker has its bytes, in messages, in the arena or on disk.
    pub(crate) fn is_here(&self) -> bool {
        !matches!(self.body, StoredBody::Large { local: None, file: None, .. })
    }

    /// The file that has its bytes.
    pub(crate) fn file(&self) -> Option<SpillFile> {
        match self.body {
            StoredBody::Large { file, .. } => file,
            StoredBody::Inline { .. } => None,
        }
    }

    /// Its name in the arena here.
    pub(crate) fn name(&self) -> Option<ObjectId> {
        match self.body {
            StoredBody::Large { local, .. } => local,
            StoredBody::Inline { .. } => None,
        }
    }

    /// Whether a process here could get it at once.
    pub(crate) fn is_at_hand(&self) -> bool {
        !matches!(self.body, StoredBody::Large { local: None, .. })
    }

    /// The other worker that has its bytes.
    pub(crate) fn remote(&self) -> Option<WorkerId> {
        match self.body {
            StoredBody::Large { remote, .. } => remote,
            StoredBody::Inline { .. } => None,
        }
    }

    fn set_local(&mut self, name: ObjectId) {
        if let StoredBody::Large { local, file, .. } = &mut self.body {
            *local = Some(name);
            *file = None;
        }
    }

    fn set_spilled(&mut self, to: SpillFile) {
        if let StoredBody::Large { local, file, .. } = &mut self.body {
            *local = None;
            *file = Some(to);
        }
    }

    /// Returns whether another worker has its bytes.
    fn forget_file(&mut self) -> bool {
        let StoredBody::Large { file, remote, .. } = &mut self.body else { return true };
        *file = None;
        remote.is_some()
    }

    /// Returns whether its bytes are here all the same.
    pub(crate) fn forget_remote(&mut self) -> bool {
        let StoredBody::Large { remote, .. } = &mut self.body else { return true };
        *remote = None;
        self.is_here()
    }
}

#[cfg(test)]
mod tests {
    use tandem_actor_protocol::failure::FailureKind;

    use super::*;

    fn large(local: bool, remote: Option<u64>) -> ObjectState {
        let (local, remote) = (local.then_some(ObjectId(9)), remote.map(WorkerId));
        let body = StoredBody::Large { format: Format::Bytes, length: 1 << 20, local, file: None, remote };
        ObjectState::Ready(Box::new(Stored { body, refs: Box::default(), keeper: None }))
    }

    fn on_disk(remote: Option<u64>) -> ObjectState {
        let (file, remote) = (Some(SpillFile(5)), remote.map(WorkerId));
        let body = StoredBody::Large { format: Format::Bytes, length: 1 << 20, local: None, file, remote };
        ObjectState::Ready(Box::new(Stored { body, refs: Box::default(), keeper: None }))
    }

    #[test]
    fn an_object_stays_small() {
        assert!(size_of::<Object>() <= 48, "an object takes {} bytes", size_of::<Object>());
    }

    #[test]
    fn transitions() {
        use ObjectEvent::{Broke, Copied, FileLost, Gone, Lost, Made, Spilled};
        let inline = Box::new(Stored::inline(Format::Bytes, Bytes::from_static(b"x"), Vec::new()));
        let failure = Arc::new(Failure::new(FailureKind::Cancelled, "f", "asked for"));
        let (ready, failed) = (ObjectState::Ready(inline.clone()), ObjectState::Failed(failure.clone()));
        let cases = [
            (ObjectState::Pending, Made(inline.clone()), Some(ready.clone())),
            (ObjectState::Pending, Broke(failure.clone()), Some(failed.clone())),
            (ObjectState::Pending, Copied(ObjectId(9)), None),
            (ObjectState::Pending, Lost, None),
            (ready.clone(), Made(inline.clone()), None),
            (ready.clone(), Broke(failure.clone()), None),
            (ready.clone(), Copied(ObjectId(9)), None),
            (ready, Lost, None),
            (large(false, Some(2)), Copied(ObjectId(9)), Some(large(true, Some(2)))),
            (large(false, Some(2)), Lost, Some(ObjectState::Pending)),
            (large(true, None), Copied(ObjectId(8)), None),
            (large(true, Some(2)), Lost, Some(large(true, None))),
            (large(true, None), Gone(failure.clone()), Some(failed.clone())),
            (large(true, Some(2)), Spilled(SpillFile(5)), Some(on_disk(Some(2)))),
            (large(false, Some(2)), Spilled(SpillFile(5)), None),
            (on_disk(None), Spilled(SpillFile(6)), None),
            (on_disk(None), Copied(ObjectId(9)), Some(large(true, None))),
            (on_disk(Some(2)), Lost, Some(on_disk(None))),
            (on_disk(None), FileLost, Some(ObjectState::Pending)),
            (on_disk(Some(2)), FileLost, Some(large(false, Some(2)))),
            (large(true, None), FileLost, None),
            (failed.clone(), Gone(failure.clone()), None),
            (failed.clone(), Made(inline), None),
            (failed.clone(), Broke(failure), None),
            (failed, Lost, None),
        ];
        for (state, event, expected) in cases {
            let mut after = state.clone();
            let applied = after.apply(event.clone());
            assert_eq!(applied.is_ok(), expected.is_some(), "{state:?} and {event:?}");
            assert_eq!(after, expected.unwrap_or(state), "{event:?}");
        }
    }
}
