//! What a guest has of the arena of its job: the files of extents, which it maps nowhere, and the room that it was leased. Pure
//! but for the files.
//! Invariants: a lease holds one value, and is given back when that is published; an extent goes back to the node when nothing
//! is being written there, and no lease in it is taken after that before the node shows it again to be written.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tandem_actor_protocol::call::Arg;
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::value::{Body, Value};
use tandem_actor_protocol::{ExtentId, Location, Piece, SpaceLease};

/// See the module's header.
#[derive(Debug, Default)]
pub(super) struct Memory {
    extents: HashMap<ExtentId, Extent>,
    /// Room that no published value is in yet.
    leases: Vec<SpaceLease>,
    /// Extents that the node asked for.
    wanted_back: Vec<(ExtentId, Afterwards)>,
}

/// What becomes of an extent that is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Afterwards {
    Read,
    Forgotten,
}

#[derive(Debug)]
struct Extent {
    file: Arc<File>,
    writable: bool,
}

/// What a client may not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Misdeed {
    #[error("bytes at {offset} of {extent}, which was not leased to it")]
    Elsewhere { extent: ExtentId, offset: u64 },
    #[error("a value at {0:?}, where it was leased nothing")]
    NotSent(Location),
    #[error("a message about memory that it does not have, or of a process that runs tasks")]
    NotADriver,
    #[error("a value in {0}, which was not shown")]
    Unknown(ExtentId),
}

impl Memory {
    /// An extent, from the node.
    pub(super) fn show(&mut self, extent: ExtentId, file: OwnedFd, writable: bool) {
        self.extents.insert(extent, Extent { file: Arc::new(File::from(file)), writable });
    }

    /// Room, from the node. False: it gave it before it heard that the extent was given up, and so there is none.
    pub(super) fn add_lease(&mut self, lease: SpaceLease) -> bool {
        let writable = self.extents.get(&lease.extent).is_some_and(|extent| extent.writable);
        if writable {
            self.leases.push(lease);
        }
        writable
    }

    /// Where a piece is to be written.
    pub(super) fn target(&self, piece: &Piece) -> Result<Arc<File>, Misdeed> {
        let Piece { extent, offset, .. } = *piece;
        let of = Location { extent, offset, length: piece.bytes.len() as u64 };
        match (self.leases.iter().any(|lease| holds(lease, of)), self.extents.get(&extent)) {
            (true, Some(extent)) => Ok(Arc::clone(&extent.file)),
            _ => Err(Misdeed::Elsewhere { extent, offset }),
        }
    }

    /// Where a value is to be read.
    pub(super) fn source(&self, location: Location) -> Result<Arc<File>, Misdeed> {
        let extent = self.extents.get(&location.extent).ok_or(Misdeed::Unknown(location.extent))?;
        Ok(Arc::clone(&extent.file))
    }

    /// Takes out the room of the values that a message publishes. It is to be given back behind the message.
    pub(super) fn publish(&mut self, message: &ToNode) -> Result<Vec<SpaceLease>, Misdeed> {
        let mut used = Vec::new();
        for value in values(message)? {
            let Body::Shared { location, .. } = value.body else { continue };
            let at = self.leases.iter().position(|lease| holds(lease, location) && lease.offset == location.offset);
            used.push(self.leases.swap_remove(at.ok_or(Misdeed::NotSent(location))?));
        }
        Ok(used)
    }

    /// The node wants an extent back.
    pub(super) fn want_back(&mut self, extent: ExtentId, afterwards: Afterwards) {
        self.wanted_back.push((extent, afterwards));
    }

    /// Gives up the extents that are wanted back and not in use.
    pub(super) fn give_up(&mut self) -> Vec<ExtentId> {
        let Self { extents, leases, wanted_back } = self;
        let unused = |(extent, _): &mut (ExtentId, Afterwards)| !leases.iter().any(|lease| lease.extent == *extent);
        let mut given_up = Vec::new();
        for (extent, afterwards) in wanted_back.extract_if(.., unused) {
            match (afterwards, extents.get_mut(&extent)) {
                (Afterwards::Read, Some(extent)) => extent.writable = false,
                (Afterwards::Forgotten, _) => drop(extents.remove(&extent)),
                (Afterwards::Read, None) => {}
            }
            given_up.push(extent);
        }
        given_up
    }
}

fn holds(lease: &SpaceLease, of: Location) -> bool {
    let inside = of.offset.checked_add(of.length).is_some_and(|end| end <= lease.offset + lease.bytes);
    lease.extent == of.extent && of.offset >= lease.offset && inside
}

fn of_args(args: &[Arg]) -> Vec<&Value> {
    args.iter().filter_map(|arg| if let Arg::Value(value) = arg { Some(value) } else { None }).collect()
}

/// The values that a driver sends with a message.
fn values(message: &ToNode) -> Result<Vec<&Value>, Misdeed> {
    Ok(match message {
        ToNode::Submit(task) | ToNode::SubmitIn { task, .. } | ToNode::SubmitStream { task, .. } => of_args(&task.args),
        ToNode::Spawn(actor) | ToNode::SpawnIn { actor, .. } => of_args(&actor.args),
        ToNode::Call(call) | ToNode::CallWith { call, .. } => of_args(&call.args),
        ToNode::Put { value, .. } => vec![value],
        ToNode::Hello(_)
        | ToNode::Watch { .. }
        | ToNode::Retain(_)
        | ToNode::Release(_)
        | ToNode::Cancel { .. }
        | ToNode::Kill { .. }
        | ToNode::Find { .. }
        | ToNode::NeedSpace { .. }
        | ToNode::Sql(_)
        | ToNode::CreateGroup(_)
        | ToNode::RemoveGroup(_)
        | ToNode::WantItems { .. }
        | ToNode::DriverDone(_) => Vec::new(),
        ToNode::Unpin(_)
        | ToNode::SpaceUsed(_)
        | ToNode::GaveUp(_)
        | ToNode::Blocked(_)
        | ToNode::Unblocked(_)
        | ToNode::GaveBack(_)
        | ToNode::Began(_)
        | ToNode::Done { .. }
        | ToNode::Yield { .. }
        | ToNode::Checkpoint { .. }
        | ToNode::NoCheckpoint { .. }
        | ToNode::ActorEnded(_)
        | ToNode::Stuck { .. } => return Err(Misdeed::NotADriver),
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tandem_actor_protocol::call::{ActorCall, CallOptions};
    use tandem_actor_protocol::value::Format;
    use tandem_actor_protocol::{ActorId, CallId, ObjectId, SpaceLeaseId};

    use super::*;

    const EXTENT: ExtentId = ExtentId(3);

    const LEASE: SpaceLease = SpaceLease { id: SpaceLeaseId(1), extent: EXTENT, offset: 64, bytes: 128 };

    fn show(memory: &mut Memory) {
        memory.show(EXTENT, File::open("/dev/null").expect("a file").into(), true);
    }

    fn memory() -> Memory {
        let mut memory = Memory::default();
        show(&mut memory);
        assert!(memory.add_lease(LEASE));
        memory
    }

    fn piece(extent: ExtentId, offset: u64, length: usize) -> Piece {
        Piece { extent, offset, bytes: Bytes::from(vec![0; length]) }
    }

    fn put(offset: u64, length: u64) -> ToNode {
        let location = Location { extent: EXTENT, offset, length };
        let body = Body::Shared { format: Format::Bytes, object: ObjectId(1), location };
        ToNode::Put { object: ObjectId(1), value: Value { body, refs: Vec::new() } }
    }

    #[test]
    fn a_client_writes_only_where_it_was_leased_room() {
        let memory = memory();
        for (offset, length) in [(64, 128), (64, 0), (191, 1)] {
            assert!(memory.target(&piece(EXTENT, offset, length)).is_ok(), "{length} bytes at {offset}");
        }
        for (extent, offset, length) in
            [(EXTENT, 63, 1), (EXTENT, 64, 129), (EXTENT, 192, 1), (EXTENT, u64::MAX, 2), (ExtentId(4), 64, 1)]
        {
            let error = memory.target(&piece(extent, offset, length)).expect_err("it was not leased");
            assert_eq!(error, Misdeed::Elsewhere { extent, offset });
        }
    }

    #[test]
    fn room_is_used_once_and_keeps_its_extent_until_then() {
        let mut memory = memory();
        memory.want_back(EXTENT, Afterwards::Read);
        assert_eq!(memory.give_up(), []);
        assert!(memory.publish(&put(65, 10)).is_err() && memory.publish(&put(64, 129)).is_err());
        assert_eq!(memory.publish(&put(64, 100)).expect("it was leased").len(), 1);
        assert!(memory.publish(&put(64, 100)).is_err(), "it was published already");
        assert_eq!(memory.give_up(), [EXTENT]);
        assert_eq!(memory.give_up(), []);
        assert!(!memory.add_lease(LEASE), "it was granted too early");
        let location = Location { extent: EXTENT, offset: 64, length: 1 };
        assert!(memory.source(location).is_ok(), "it may be read");
        show(&mut memory);
        assert!(memory.add_lease(LEASE));
        memory.publish(&put(64, 100)).expect("it was leased");
        memory.want_back(EXTENT, Afterwards::Forgotten);
        assert_eq!(memory.give_up(), [EXTENT]);
        assert!(memory.source(location).is_err());
    }

    #[test]
    fn arguments_of_calls_are_published_like_values_that_are_put() {
        let ToNode::Put { value, .. } = put(64, 100) else { panic!("it is put") };
        let (call, actor, args) = (CallId(1), ActorId(2), vec![Arg::Value(value)]);
        let call = ActorCall { call, actor, method: "lines".into(), args, returns: 1, parent: None };
        let options = CallOptions { group: None, stream: true };
        for message in [ToNode::Call(call.clone()), ToNode::CallWith { call, options }] {
            assert_eq!(memory().publish(&message).map(|used| used.len()), Ok(1), "{message:?}");
            assert!(Memory::default().publish(&message).is_err(), "it was not leased: {message:?}");
        }
    }

    #[test]
    fn a_driver_does_not_answer_for_tasks() {
        let mut memory = memory();
        for message in [ToNode::Unpin(Vec::new()), ToNode::SpaceUsed(Vec::new()), ToNode::GaveUp(EXTENT)] {
            assert_eq!(memory.publish(&message), Err(Misdeed::NotADriver), "{message:?}");
        }
    }
}
