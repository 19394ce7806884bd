//! The object that says whether an actor has started, when nobody has held it for a while: whoever finds the actor may ask again.

use std::collections::BTreeMap;
use std::sync::Arc;

use tandem_actor_protocol::{ActorId, ObjectId};

use super::{OwnedActor, OwnedState, Place};
use crate::context::Context;
use crate::objects::{ObjectState, Stored};
use crate::outside::Proxy;

/// What an object of this worker says of an actor, as that stands; none if it is about no actor.
pub(crate) fn started(
    cx: &Context<'_>,
    owned_actors: &BTreeMap<ActorId, OwnedActor>,
    proxies: &BTreeMap<ActorId, Proxy>,
    object: ObjectId,
) -> Option<ObjectState> {
    let actor = ActorId(object.0);
    let ready = || ObjectState::Ready(Box::new(Stored::unit()));
    if let Some(owned) = owned_actors.get(&actor) {
        return Some(match &owned.state {
            OwnedState::Ready { .. } | OwnedState::Ending { .. } => ready(),
            OwnedState::Gone(why) => ObjectState::Failed(Arc::clone(why)),
            OwnedState::Naming | OwnedState::Waiting { .. } | OwnedState::Queued | OwnedState::Starting { .. } => {
                ObjectState::Pending
            }
        });
    }
    if let Some(proxy) = proxies.get(&actor) {
        return Some(match proxy.place().0 {
            Place::At(_) => ready(),
            Place::Unknown => ObjectState::Pending,
            Place::Gone(why) => ObjectState::Failed(why),
        });
    }
    // Other jobs find it by its name; their calls wait until it has started.
    cx.public_job(actor).map(|_| ready())
}
