//! Calls between jobs: of actors that have a name in a namespace, by whoever finds them there.
//!
//! ```text
//!   job of the caller ──CallOutside──▶ owner of the actor, in the actor's job ──as any call of its own──▶ actor
//!                     ◀──DoneOutside──
//! ```
//!
//! Values go from the arena of one job to that of the other, and name no objects, since those of one job mean nothing in another.
//! Invariant: whoever holds a large value keeps it until the other side has it: arguments until the call has ended, results
//! until they are dropped.

mod caller;
mod detached;
mod fetch;
mod owner;

use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::peer::{OutsideCall, OutsideValue, PeerBody};
use tandem_actor_protocol::{ActorId, JobId, ObjectId, WorkerId};

use crate::context::Context;
use crate::objects::{Stored, StoredBody};

pub(crate) use caller::Returning;
pub(crate) use detached::Proxy;
pub(crate) use fetch::{FromOutside, unreadable};
pub(crate) use owner::OutsideCalls;

/// Why a value cannot go to another job, or how it goes. `object` is its name in `job`; none: it is not here.
fn outward(stored: &Stored, job: JobId, object: ObjectId) -> Result<Option<OutsideValue>, Failure> {
    if !stored.refs.is_empty() {
        let why = "a value that names objects cannot go to another job, where these mean nothing";
        return Err(Failure::new(FailureKind::Mismatch, "", why));
    }
    Ok(match &stored.body {
        StoredBody::Inline { format, bytes } => Some(OutsideValue::Inline { format: *format, bytes: bytes.clone() }),
        StoredBody::Large { .. } if !stored.is_here() => None,
        StoredBody::Large { format, length, .. } => {
            Some(OutsideValue::Held { format: *format, length: *length, job, object })
        }
    })
}

/// Answers a call of an actor that is not here any more.
pub(crate) fn refuse(cx: &mut Context<'_>, call: &OutsideCall) {
    let outcome = Err(Failure::new(FailureKind::ActorGone, "", "the actor is gone"));
    cx.tell_job(call.caller, call.job, PeerBody::DoneOutside { call: call.call, outcome });
}

/// Tells a job that has nothing else here where an actor is that it may call.
pub(crate) fn tell_place(cx: &mut Context<'_>, to: WorkerId, job: JobId, actor: ActorId) {
    let gone = || Failure::new(FailureKind::ActorGone, "", "the actor is gone");
    let here = cx.public_job(actor).map(|_| cx.config.worker);
    let place = here.map(Some).ok_or_else(gone);
    let outside = here.map(|_| actor);
    cx.tell_job(to, job, PeerBody::ActorAt { actor, place, retry_calls: false, outside, start: 0 });
}

/// Ends an actor of this worker that other jobs may call, if it is one of those.
pub(crate) fn kill(cx: &mut Context<'_>, actor: ActorId, at_once: bool) {
    if let Some(job) = cx.public_job(actor) {
        cx.tell_job(cx.config.worker, job, PeerBody::Kill { actor, at_once });
    }
}

/// Answers a job that has no objects here. It may have found actors of others.
pub(crate) fn lend_nothing(cx: &mut Context<'_>, to: WorkerId, job: JobId, objects: Vec<ObjectId>) {
    cx.tell_job(to, job, PeerBody::Lent(objects.clone()));
    for object in objects {
        let gone = || Failure::new(FailureKind::ObjectLost, "", "the object is gone: nothing of its job is here");
        let started = cx.public_job(ActorId(object.0)).map(|_| Stored::unit().to_remote(cx.config.worker));
        let outcome = started.ok_or_else(gone);
        cx.tell_job(to, job, PeerBody::Resolved { object, outcome });
    }
}

/// Nobody of `job` wants these results of another job any more.
pub(crate) fn drop_unwanted(cx: &mut Context<'_>, from: WorkerId, job: JobId, values: Vec<OutsideValue>) {
    for value in values {
        if let OutsideValue::Held { job: of, object, .. } = value {
            cx.tell_job(from, of, PeerBody::DropOutside { job, objects: vec![object] });
        }
    }
}
