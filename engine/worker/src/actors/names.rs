//! The directory of named actors, as the node asks it.

use tandem_actor_protocol::call::ActorSpec;
use tandem_actor_protocol::{ActorId, ExecutorId, JobId};
use tandem_node::{Event, NameRefusal};
use tandem_proto::v1::{ClaimNameRequest, DropNameRequest, FindNameRequest, NamedActor};
use tandem_runtime::{News, RuntimeHandle};
use tracing::warn;

use crate::coordinator::CoordinatorCalls;

/// Something to ask about names.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum NameQuestion {
    Claim { job: JobId, spec: Box<ActorSpec> },
    Drop { job: JobId, actor: ActorId },
    Find { executor: ExecutorId, request: u32, job: JobId, namespace: String, name: String },
}

impl NameQuestion {
    /// The question that is news, else the news.
    pub(crate) fn of(news: News) -> Result<Self, Box<News>> {
        match news {
            News::ClaimName { job, spec } => Ok(Self::Claim { job, spec }),
            News::DropName { job, actor } => Ok(Self::Drop { job, actor }),
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
        detached: spec.options.detached,
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

async fn find(coordinator: &CoordinatorCalls, request: FindNameRequest) -> Option<(ActorId, String)> {
    match coordinator.find_name(request).await {
        Ok(named) => id(&named).map(|actor| (actor, named.class)),
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
