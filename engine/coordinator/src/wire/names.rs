//! Names of actors, in both directions.

use tandem_proto::{JobId, v1};
use tandem_scheduler::{ActorId, ActorName, NamedActor, Namespace};

use super::reports::Malformed;

/// The longest name, and the longest namespace.
const MAX_NAME_BYTES: usize = 256;
/// The longest path of an actor's type.
const MAX_CLASS_BYTES: usize = 4 << 10;

/// The name that an actor wants, and the actor.
pub(crate) fn name_claim(message: v1::ClaimNameRequest) -> Result<(ActorName, NamedActor), Malformed> {
    let v1::ClaimNameRequest { job, namespace, name, actor, class } = message;
    if class.len() > MAX_CLASS_BYTES {
        return Err(Malformed("the type of an actor has a path of more than 4096 bytes"));
    }
    let job = JobId(job);
    Ok((actor_name(job, namespace, name)?, NamedActor { actor: actor_id(&actor)?, job, class }))
}

/// The job that asks who has a name, and the name.
pub(crate) fn name_wanted(message: v1::FindNameRequest) -> Result<(JobId, ActorName), Malformed> {
    let v1::FindNameRequest { job, namespace, name } = message;
    let job = JobId(job);
    Ok((job, actor_name(job, namespace, name)?))
}

/// The actor that is gone, and its job.
pub(crate) fn names_dropped(message: v1::DropNameRequest) -> Result<(JobId, ActorId), Malformed> {
    Ok((JobId(message.job), actor_id(&message.actor)?))
}

/// Who has a name, if anyone.
pub(crate) fn named_actor(actor: Option<&NamedActor>) -> v1::NamedActor {
    actor.map_or_else(v1::NamedActor::default, |actor| v1::NamedActor {
        actor: actor.actor.0.to_be_bytes().to_vec(),
        class: actor.class.clone(),
        job: actor.job.0,
        owner_address: String::new(),
    })
}

fn actor_id(bytes: &[u8]) -> Result<ActorId, Malformed> {
    let bytes = bytes.try_into().map_err(|_| Malformed("the id of an actor is not of 16 bytes"))?;
    Ok(ActorId(u128::from_be_bytes(bytes)))
}

fn actor_name(job: JobId, namespace: String, name: String) -> Result<ActorName, Malformed> {
    if name.is_empty() {
        return Err(Malformed("the name of an actor is empty"));
    }
    if name.len() > MAX_NAME_BYTES || namespace.len() > MAX_NAME_BYTES {
        return Err(Malformed("the name of an actor or its namespace has more than 256 bytes"));
    }
    let namespace = if namespace.is_empty() { Namespace::Job(job) } else { Namespace::Shared(namespace) };
    Ok(ActorName { namespace, name })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim() -> v1::ClaimNameRequest {
        v1::ClaimNameRequest {
            job: 7,
            name: "stock".to_owned(),
            actor: [[0, 0, 0, 0, 0, 0, 0, 3], [0, 0, 0, 0, 0, 0, 1, 0]].concat(),
            class: "shop::Stock".to_owned(),
            ..v1::ClaimNameRequest::default()
        }
    }

    #[test]
    fn an_actor_reads_back_from_the_wire() {
        let (name, actor) = name_claim(claim()).unwrap();
        assert_eq!(name, ActorName { namespace: Namespace::Job(JobId(7)), name: "stock".to_owned() });
        assert_eq!((actor.actor, actor.actor.owner().0, actor.job), (ActorId((3 << 64) + 256), 3, JobId(7)));
        let told = named_actor(Some(&actor));
        assert_eq!((told.actor, told.class), (claim().actor, claim().class));
        assert!(named_actor(None).actor.is_empty());
        let shared = v1::FindNameRequest { job: 7, namespace: "all".to_owned(), name: "stock".to_owned() };
        assert_eq!(name_wanted(shared).unwrap().1.namespace, Namespace::Shared("all".to_owned()));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = "x".repeat(257);
        let broken = [
            v1::ClaimNameRequest { name: String::new(), ..claim() },
            v1::ClaimNameRequest { name: long.clone(), ..claim() },
            v1::ClaimNameRequest { namespace: long, ..claim() },
            v1::ClaimNameRequest { class: "x".repeat(4097), ..claim() },
            v1::ClaimNameRequest { actor: vec![1; 15], ..claim() },
        ];
        for broken in broken {
            assert!(name_claim(broken.clone()).is_err(), "{broken:?}");
        }
        assert!(names_dropped(v1::DropNameRequest { job: 7, actor: vec![1; 17] }).is_err());
    }
}
