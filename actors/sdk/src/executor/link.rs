//! What the node says, on a thread of its own, so that no user's code holds it up. When the node is gone, so is this process.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::exit;
use std::sync::Arc;

use tandem_actor_protocol::executor::{Run, Start, ToExecutor};
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::value::Value;
use tandem_actor_protocol::{CallId, NoPiece, ObjectId, PIECE_KIND, Piece, SpaceLease, decode};
use tandem_arena::{Access, MapError, ReadError};
use tandem_frames::{BlockingReceiver, Frame, RecvError};

use super::ends::finish;
use super::work::{Birth, Job, Work};
use crate::calls::Call;
use crate::memory::Memory;
use crate::process::Process;
use crate::task::Yields;
use crate::value::Fetched;

/// How this process ends when the node has gone away, or has said what cannot be.
const GONE: i32 = 3;

/// Why the link is of no use any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// It broke.
    #[error(transparent)]
    Receive(#[from] RecvError),
    /// The node ended without saying so.
    #[error("the worker is gone")]
    Gone,
    /// The node says what this version does not know.
    #[error("cannot understand the worker: {0}")]
    Message(#[from] tandem_actor_protocol::DecodeError),
    /// It speaks of memory that is not here.
    #[error(transparent)]
    Map(#[from] MapError),
    /// It speaks of memory that is not here.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A piece of a value that is none.
    #[error(transparent)]
    Piece(#[from] NoPiece),
    /// An extent comes with its descriptor.
    #[error("memory was announced that did not come")]
    NoDescriptor,
}

/// Hears the node out; ends the process unless the node has said that it should end in order.
pub(crate) fn listen(process: &Arc<Process>, receiver: BlockingReceiver) {
    let _deaf = Deaf;
    if let Err(error) = hear(process, receiver) {
        if !matches!(error, LinkError::Gone) {
            // Who would read it may be gone too, and then nobody needs to know.
            let _ = writeln!(std::io::stderr(), "tandem: {error}");
        }
        exit(GONE);
    }
    process.work().close();
}

/// A process that cannot hear the node must not go on, whatever the reason.
struct Deaf;

impl Drop for Deaf {
    fn drop(&mut self) {
        if std::thread::panicking() {
            exit(GONE);
        }
    }
}

/// Hears the node out.
///
/// # Errors
/// When it cannot be heard any more, and has not said that this process should end in order.
pub(crate) fn hear(process: &Arc<Process>, mut receiver: BlockingReceiver) -> Result<(), LinkError> {
    loop {
        let Frame { kind, payload, mut descriptors } = receiver.recv()?.ok_or(LinkError::Gone)?;
        if kind == PIECE_KIND {
            if let Memory::Apart(apart) = process.memory() {
                apart.gather(&Piece::decode(payload)?);
            }
            continue;
        }
        match decode(&payload)? {
            ToExecutor::Shutdown => return Ok(()),
            message => take(process, message, descriptors.pop())?,
        }
    }
}

fn take(process: &Arc<Process>, message: ToExecutor, descriptor: Option<OwnedFd>) -> Result<(), LinkError> {
    match message {
        ToExecutor::Run(run) | ToExecutor::Call(run) => {
            let call = process.calls().begin(run.call, run.actor);
            process.work().push(Work::Run(job(process, call, run)?));
        }
        ToExecutor::RunStream { run, wanted } => begin_stream(process, run, wanted)?,
        ToExecutor::CallStream { run, until } => begin_stream(process, run, vec![(0, until)])?,
        ToExecutor::MayYield { call, until } => {
            let call = process.calls().get(call);
            if let Some(yields) = call.as_ref().and_then(|call| call.yields.as_ref()) {
                yields.may_yield(until);
            }
        }
        ToExecutor::Start(start) => process.work().push(Work::Start(birth(process, start, false)?)),
        ToExecutor::StartHeld(start) => process.work().push(Work::Start(birth(process, start, true)?)),
        ToExecutor::EndActor(actor) => process.work().push(Work::End(actor)),
        ToExecutor::Value { object, outcome } => set_value(process, object, outcome)?,
        ToExecutor::Ready(objects) => {
            objects.iter().filter_map(|object| process.objects().get(*object)).for_each(|handle| handle.set_ready());
        }
        ToExecutor::Resume(call) => {
            if let Some(call) = process.calls().get(call) {
                call.resume();
            }
        }
        ToExecutor::Recall(count) => process.give_back(count as usize),
        ToExecutor::Cancel(call) => cancel(process, call),
        ToExecutor::Found { request, actor } => process.found(request, actor),
        ToExecutor::Space(room) => take_room(process, room)?,
        ToExecutor::Extent { extent, bytes, writable } => {
            let access = if writable { Access::Write } else { Access::Read };
            let descriptor = descriptor.ok_or(LinkError::NoDescriptor)?;
            if let Memory::Shared(space) = process.memory() {
                space.arena().map(extent, descriptor, bytes, access)?;
            }
        }
        ToExecutor::GiveUp(extent) => {
            if let Memory::Shared(space) = process.memory() {
                space.arena().unmap(extent);
            }
        }
        ToExecutor::StopWriting(extent) => {
            if let Memory::Shared(space) = process.memory() {
                space.give_up(extent);
            }
        }
        ToExecutor::SqlDone { request, outcome } => process.queried(request, outcome),
        // The first message, and the last one.
        ToExecutor::Welcome(_) | ToExecutor::Shutdown => {}
    }
    Ok(())
}

fn begin_stream(process: &Process, run: Run, wanted: Vec<(u64, u64)>) -> Result<(), ReadError> {
    let call = process.calls().begin_stream(run.call, run.actor, Yields::new(run.attempt, wanted));
    process.work().push(Work::Run(job(process, call, run)?));
    Ok(())
}

fn job(process: &Process, call: Arc<Call>, run: Run) -> Result<Job, ReadError> {
    let Run { attempt, function, actor, args, returns, timeout_ms, environment, .. } = run;
    let args = read_all(process, args)?;
    Ok(Job { call, attempt, function, actor, args, returns, timeout_ms, environment })
}

fn birth(process: &Process, start: Start, held: bool) -> Result<Birth, ReadError> {
    let Start { actor, attempt, class, args, checkpoint, concurrency } = start;
    let checkpoint = checkpoint.map(|value| process.read(value)).transpose()?;
    let args = read_all(process, args)?;
    Ok(Birth {
        actor,
        call: process.calls().begin(actor.creation(), Some(actor)),
        attempt,
        class,
        args,
        checkpoint,
        concurrency,
        held,
    })
}

fn read_all(process: &Process, values: Vec<Value>) -> Result<Vec<Fetched>, ReadError> {
    values.into_iter().map(|value| process.read(value)).collect()
}

fn set_value(process: &Process, object: ObjectId, outcome: Result<Value, Failure>) -> Result<(), ReadError> {
    let outcome = match outcome {
        Ok(value) => Ok(process.read(value)?),
        Err(failure) => Err(Arc::new(failure)),
    };
    // Nobody may want it any more; then it is dropped, and so unpinned.
    if let Some(handle) = process.objects().get(object) {
        handle.set_value(outcome);
    }
    Ok(())
}

fn cancel(process: &Arc<Process>, call: CallId) {
    match process.work().remove(call) {
        Some(job) => {
            let cancelled = Failure::new(FailureKind::Cancelled, &job.function, "cancelled before it began");
            finish(process, call, job.attempt, &job.function, Err(cancelled));
            if job.actor.is_some() {
                process.work().push(Work::Taken(job.call));
            }
        }
        None => {
            if let Some(call) = process.calls().get(call) {
                call.cancel();
            }
        }
    }
}

fn take_room(process: &Process, room: Result<SpaceLease, Failure>) -> Result<(), MapError> {
    match process.memory() {
        Memory::Shared(space) => space.answer(room),
        Memory::Apart(apart) => {
            apart.answer(room);
            Ok(())
        }
    }
}

impl Process {
    /// Gives back up to `count` tasks that have not begun.
    pub(crate) fn give_back(&self, count: usize) {
        let calls = self.work().take_back(count);
        calls.iter().for_each(|call| self.calls().end(*call));
        self.transport().post(ToNode::GaveBack(calls));
    }

    /// Says that a call waits, with all that is queued behind it.
    pub(crate) fn block(&self, call: &Call) {
        call.lend_slot(|| self.transport().post(ToNode::Blocked(call.id)));
        if !self.work().is_empty() {
            self.give_back(usize::MAX);
        }
        self.transport().flush();
    }

    /// Says that a call goes on when it has its slot.
    pub(crate) fn unblock(&self, call: &Call) {
        call.want_slot(|| self.transport().post(ToNode::Unblocked(call.id)));
        self.transport().flush();
    }
}
