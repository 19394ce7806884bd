//! Values between processes here, the arena, and the records of objects. Nothing that a process says about memory is believed unchecked.

use tandem_actor_protocol::call::Arg;
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::value::{Body, Value};
use tandem_actor_protocol::{ExecutorId, ExtentId, ObjectId};
use tandem_arena::allocator::PublishError;
use tandem_arena::{Holder, Published};

use super::{Object, ObjectState, Stored, StoredBody};
use crate::context::Context;
use crate::job::Job;

/// Why a value of a process was not taken.
#[derive(Debug, PartialEq)]
pub(crate) enum Refused {
    /// The process lies: it is to be ended.
    Broken(String),
    /// There is no room in the books.
    Full(String),
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full(why) => Self::new(FailureKind::StoreFull, "", why),
            Refused::Broken(why) => {
                Self::new(FailureKind::ProcessLost, "", format!("its process broke the protocol: {why}"))
            }
        }
    }
}

/// The objects among arguments.
pub(crate) fn objects_of(args: &[Arg]) -> impl Iterator<Item = ObjectId> {
    args.iter().filter_map(|arg| match arg {
        Arg::Object(object) => Some(*object),
        Arg::Value(_) => None,
    })
}

impl Job {
    /// Takes a value that `writer` says it has made, or has read and passes on. Leaves the objects that it names to the caller.
    pub(crate) fn take_value(&mut self, writer: Holder, value: Value) -> Result<Stored, Refused> {
        match value.body {
            Body::Inline { format, bytes } => Ok(Stored::inline(format, bytes, value.refs)),
            Body::Shared { format, object, location } => {
                if self.arena.location(object) == Some(location) {
                    // Every record that has it pins it once.
                    let _ = self.arena.pin(Holder::Worker, object);
                } else {
                    self.arena.publish(writer, Published { object, location }).map_err(refused)?;
                }
                Ok(Stored::local(format, object, location.length, value.refs))
            }
        }
    }

    /// Keeps a value that a process has put.
    pub(crate) fn put(&mut self, cx: &mut Context<'_>, executor: ExecutorId, object: ObjectId, value: Value) {
        if self.objects.contains_key(&object) || tandem_actor_protocol::object_owner(object) != self.worker {
            return self.broke_protocol(cx, executor, &format!("{object} is not its to put"));
        }
        self.objects.insert(object, Object::new(ObjectState::Pending, super::hold::NO_INDEX));
        self.hold_by_process(cx, executor, object);
        match self.take_value(Holder::Executor(executor), value) {
            Ok(stored) => {
                self.make_object(cx, object, stored);
            }
            Err(Refused::Full(reason)) => {
                let failure = Failure::new(FailureKind::StoreFull, "put", reason);
                self.break_object(object, failure.into());
            }
            Err(Refused::Broken(reason)) => self.broke_protocol(cx, executor, &reason),
        }
    }

    /// Makes arguments that are large values objects, and holds all that arguments name.
    pub(crate) fn take_args(
        &mut self,
        cx: &mut Context<'_>,
        executor: ExecutorId,
        args: Vec<Arg>,
    ) -> Result<Box<[Arg]>, Refused> {
        let mut taken = Vec::with_capacity(args.len());
        for arg in args {
            let arg = match arg {
                Arg::Value(value) if matches!(value.body, Body::Shared { .. }) => {
                    let object = cx.new_objects(1);
                    let stored = self.take_value(Holder::Executor(executor), value)?;
                    self.objects.insert(object, Object::new(ObjectState::Pending, super::hold::NO_INDEX));
                    self.make_object(cx, object, stored);
                    Arg::Object(object)
                }
                other => other,
            };
            self.hold_arg(cx, &arg);
            taken.push(arg);
        }
        Ok(taken.into())
    }

    fn hold_arg(&mut self, cx: &mut Context<'_>, arg: &Arg) {
        match arg {
            Arg::Object(object) => self.hold_use(cx, *object),
            Arg::Value(value) => value.refs.iter().for_each(|inner| self.hold_use(cx, *inner)),
        }
    }

    /// The opposite of what [`Self::take_args`] did.
    pub(crate) fn drop_args(&mut self, args: &[Arg]) {
        for arg in args {
            match arg {
                Arg::Object(object) => self.drop_use(*object),
                Arg::Value(value) => value.refs.iter().for_each(|inner| self.drop_use(*inner)),
            }
        }
    }

    /// The value of an object as a process here can read it, pinned for it; none when it is not at hand.
    pub(crate) fn value_for(&mut self, cx: &mut Context<'_>, executor: ExecutorId, object: ObjectId) -> Option<Value> {
        let stored = self.objects.get(&object)?.stored()?;
        let refs = stored.refs.to_vec();
        let body = match &stored.body {
            StoredBody::Inline { format, bytes } => Body::Inline { format: *format, bytes: bytes.clone() },
            StoredBody::Large { local: None, .. } => return None,
            StoredBody::Large { format, local: Some(name), .. } => {
                let (format, object) = (*format, *name);
                let location = self.arena.pin(Holder::Executor(executor), object).ok()?;
                self.map_extent(cx, executor, location.extent, false);
                Body::Shared { format, object, location }
            }
        };
        Some(Value { body, refs })
    }

    /// Sees to it that a process has an extent mapped before it is told of anything there.
    pub(crate) fn map_extent(&mut self, cx: &mut Context<'_>, executor: ExecutorId, extent: ExtentId, writable: bool) {
        let Some(bytes) = self.extents.get(&extent).copied() else { return };
        let Some(process) = self.executors.get_mut(&executor) else { return };
        match process.extents.get(&extent) {
            Some(true) => return,
            Some(false) if !writable => return,
            Some(false) | None => {}
        }
        process.extents.insert(extent, writable);
        cx.send(executor, ToExecutor::Extent { extent, bytes, writable });
    }

    /// A process lets go of a shared value once.
    pub(crate) fn unpin(&mut self, holder: Holder, object: ObjectId) {
        // It may be gone, or may be written to disk now.
        self.space.freed |= self.arena.unpin(holder, object).is_ok();
    }
}

fn refused(error: PublishError) -> Refused {
    match error {
        PublishError::TooMany { .. } => Refused::Full(error.to_string()),
        PublishError::NoSuchExtent { .. }
        | PublishError::NotTheWriter { .. }
        | PublishError::OutOfBounds { .. }
        | PublishError::NotLeased { .. }
        | PublishError::Duplicate { .. } => Refused::Broken(error.to_string()),
    }
}
