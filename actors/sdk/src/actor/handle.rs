//! What an actor is called through.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::{ActorId, ObjectId};

use super::call::MethodCall;
use crate::context::Context;
use crate::object_ref::ObjectRef;
use crate::process::Process;
use crate::task::Returns;

/// What all handles of actors have. The methods of the actor itself are those of its own handle's type.
pub trait ActorHandle: Sized {
    /// The type's name with its modules.
    const CLASS: &'static str;

    /// The handle of this actor.
    #[doc(hidden)]
    fn of(actor: ActorRef) -> Self;

    /// The actor behind this handle.
    #[doc(hidden)]
    fn actor(&self) -> &ActorRef;

    /// The actor's id, for logs and the command line.
    fn id(&self) -> ActorId {
        self.actor().id()
    }

    /// Has a value once the actor has started, or a failure if it cannot.
    fn started(&self) -> ObjectRef<()> {
        self.actor().created.clone()
    }

    /// Ends the actor after the calls that it has got. Later ones fail.
    fn end(&self) {
        self.actor().kill(false);
    }

    /// Ends the actor and its process at once. Its calls fail, and it is not started again. The process of a light actor has others:
    /// what this one does there is cancelled, and the process ends only if that does not help.
    fn kill(&self) {
        self.actor().kill(true);
    }
}

/// One actor.
#[derive(Debug, Clone)]
pub struct ActorRef {
    /// The object that is there once the actor is.
    created: ObjectRef<()>,
    /// Its calls have an object more, which says that they have ended.
    tells_ends: bool,
}

impl ActorRef {
    pub(super) fn new(created: ObjectRef<()>) -> Self {
        Self { created, tells_ends: false }
    }

    /// The same actor, whose calls also say when they have ended.
    pub(super) fn telling_ends(&self) -> Self {
        Self { tells_ends: true, ..self.clone() }
    }

    pub(super) fn tells_ends(&self) -> bool {
        self.tells_ends
    }

    pub(super) fn id(&self) -> ActorId {
        ActorId(self.created.id().0)
    }

    /// The process, or why the actor was never started.
    pub(super) fn process(&self) -> Result<&Arc<Process>, Failure> {
        let handle = self.created.handle();
        let gone = || Failure::new(FailureKind::ActorGone, "", "the actor was never started");
        handle.process().ok_or_else(|| handle.never_sent().map_or_else(gone, |failure| Failure::clone(&failure)))
    }

    /// A call of a method with `count` arguments.
    pub fn call<R: Returns>(&self, method: &'static str, count: usize) -> MethodCall<'_, R> {
        MethodCall::new(self, method, count)
    }

    fn kill(&self, at_once: bool) {
        // An actor that was never started has ended.
        if let Ok(process) = self.process() {
            process.send(ToNode::Kill { actor: self.id(), at_once });
        }
    }
}

impl Serialize for ActorRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.created.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ActorRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ObjectRef::deserialize(deserializer).map(Self::new)
    }
}

/// The actor of that name in the job's own namespace, or in `namespace`.
///
/// # Errors
/// When the name is that of an actor of another type, or nobody can be asked.
pub async fn find<H: ActorHandle>(ctx: &Context, namespace: &str, name: &str) -> Result<Option<H>, Failure> {
    let process = ctx.process();
    let answer = process.find(namespace.to_owned(), name.to_owned());
    process.transport().flush();
    match answer.await.map_err(|_| process.unanswered())? {
        None => Ok(None),
        Some((actor, class)) if class == H::CLASS => {
            let created = process.objects().adopt(process, ObjectId(actor.0));
            Ok(Some(H::of(ActorRef::new(ObjectRef::new(created)))))
        }
        Some((_, class)) => {
            let message = format!("the actor `{name}` is a {class} and no {}", H::CLASS);
            Err(Failure::new(FailureKind::Mismatch, name, message))
        }
    }
}
