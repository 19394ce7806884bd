//! The directory of named actors, as the node asks it, and actors that become jobs of their own.

use tandem_actor_protocol::call::ActorSpec;
use tandem_actor_protocol::{ActorId, ExecutorId, JobId};
use tandem_node::{Event, Found, NameRefusal};
use tandem_proto::v1::{ClaimNameRequest, DropNameRequest, FindNameRequest, NamedActor};
use tandem_runtime::{News, RuntimeHandle};
use tracing::warn;

use super::detach::detach;
use crate::coordinator::CoordinatorCalls;

/// Something to ask the coordinator about actors.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ActorQuestion {
    Claim { job: JobId, spec: Box<ActorSpec> },
    Drop { job: JobId, actor: ActorId },
    Detach { job: JobId, spec: Box<ActorSpec> },
    Find { executor: ExecutorId, request: u32, job: JobId, namespace: String, name: String },
}

impl ActorQuestion {
    /// The question that is news, else the news.
    pub(crate) fn of(news: News) -> Result<Self, Box<News>> {
        match news {
            News::ClaimName { job, spec } => Ok(Self::Claim { job, spec }),
            News::DropName { job, actor } => Ok(Self::Drop { job, actor }),
            News::Detach { job, spec } => Ok(Self::Detach { job, spec }),
            News::FindName { executor, request, job, namespace, name } => {
                Ok(Self::Find { executor, request, job, namespace, name })
            }
            other => Err(Box::new(other)),
        }
    }

    /// Asks, and tells the node.
    pub(crate) async fn ask(self, coordinator: CoordinatorCalls, runtime: RuntimeHandle) {
        match self {
            Self::Claim { job, spec } => claim(&coordinator, &runtime, job, *spec).await,
            Self::Drop { job, actor } => drop_name(&coordinator, job, actor).await,
            Self::Detach { job, spec } => {
                let actor = spec.actor;
                let outcome = detach(&coordinator, job, *spec).await;
                runtime.tell(Event::Detached { job, actor, outcome });
            }
            Self::Find { executor, request, job, namespace, name } => {
                let found = find(&coordinator, FindNameRequest { job: job.0, namespace, name }).await;
                runtime.tell(Event::NameFound { executor, request, actor: found });
            }
        }
    }
}

async fn claim(coordinator: &CoordinatorCalls, runtime: &RuntimeHandle, job: JobId, spec: ActorSpec) {
    let actor = spec.actor;
    let request = ClaimNameRequest {
        job: job.0,
        namespace: spec.options.namespace,
        name: spec.options.name,
        actor: actor.0.to_be_bytes().to_vec(),
        class: spec.class,
    };
    let outcome = match coordinator.claim_name(request).await {
        Ok(named) => match id(&named) {
            Some(other) if other != actor => Err(NameRefusal::Taken(other)),
            _ => Ok(()),
        },
        Err(status) => Err(NameRefusal::Refused(status.message().to_owned())),
    };
    runtime.tell(Event::NameClaimed { job, actor, outcome });
}

async fn drop_name(coordinator: &CoordinatorCalls, job: JobId, actor: ActorId) {
    let request = DropNameRequest { job: job.0, actor: actor.0.to_be_bytes().to_vec() };
    if let Err(status) = coordinator.drop_name(request).await {
        warn!(%job, %actor, %status, "the name of an actor is not free");
    }
}

async fn find(coordinator: &CoordinatorCalls, request: FindNameRequest) -> Option<Found> {
    match coordinator.find_name(request).await {
        Ok(named) => found(named),
        Err(status) => {
            warn!(%status, "a name was not found");
            None
        }
    }
}

/// None if nobody has the name.
fn id(named: &NamedActor) -> Option<ActorId> {
    named.actor.as_slice().try_into().ok().map(|bytes| ActorId(u128::from_be_bytes(bytes)))
}

pub(super) fn found(named: NamedActor) -> Option<Found> {
    let actor = id(&named)?;
    let NamedActor { class, owner_address, .. } = named;
    Some(Found { actor, class, owner_address })
}
