//! Names of actors: who has one, who may have it, and when it is free again.

use tandem_proto::{Epoch, JobId, WorkerId};
use tandem_scheduler::{Action, ActorId, ActorName, Event, Fact, FailureKind, NameError, NamedActor, Namespace};

use super::bench::{A, B, Bench, JOB, one_task, only};
use super::programs::program;

fn own(job: JobId) -> ActorName {
    ActorName { namespace: Namespace::Job(job), name: "stock".to_owned() }
}

fn shared() -> ActorName {
    ActorName { namespace: Namespace::Shared("shop".to_owned()), name: "stock".to_owned() }
}

/// The `number`th actor that a worker owns.
fn actor(job: JobId, owner: WorkerId, number: u64) -> NamedActor {
    let actor = ActorId(u128::from(owner.0) << 64 | u128::from(number));
    NamedActor { actor, job, class: "shop::Stock".to_owned() }
}

impl Bench {
    fn claim(&mut self, name: ActorName, actor: &NamedActor) -> Result<ActorId, NameError> {
        self.feed(Event::NameClaimed { name: name.clone(), actor: actor.clone() });
        let holder = self.cluster.claim_of(&name, actor)?;
        Ok(holder.expect("someone has it now").actor)
    }

    fn find(&self, job: JobId, name: &ActorName) -> Option<ActorId> {
        self.cluster.find_name(job, name).unwrap().map(|actor| actor.actor)
    }
}

#[test]
fn the_first_to_claim_a_name_has_it_until_it_is_gone() {
    let mut bench = Bench::new();
    bench.join(A, 1);
    bench.accept(JOB, program());
    let (first, second) = (actor(JOB, A, 1), actor(JOB, A, 2));
    assert_eq!(bench.find(JOB, &own(JOB)), None);
    for other in [&first, &second, &first] {
        assert_eq!(bench.claim(own(JOB), other), Ok(first.actor));
    }
    assert_eq!(bench.find(JOB, &own(JOB)), Some(first.actor));
    bench.feed(Event::NameDropped { job: JOB, actor: second.actor });
    assert_eq!(bench.find(JOB, &own(JOB)), Some(first.actor), "the other one never had it");
    for _ in 0..2 {
        bench.feed(Event::NameDropped { job: JOB, actor: first.actor });
        assert_eq!(bench.find(JOB, &own(JOB)), None);
    }
    assert_eq!(bench.claim(own(JOB), &second), Ok(second.actor));
}

#[test]
fn a_namespace_is_that_of_all_jobs_and_no_namespace_that_of_one() {
    let mut bench = Bench::new();
    bench.join(A, 1);
    let other = JobId(2);
    bench.accept(JOB, program());
    bench.accept(other, program());
    let (mine, theirs) = (actor(JOB, A, 1), actor(other, A, 2));
    assert_eq!(bench.claim(own(JOB), &mine), Ok(mine.actor));
    assert_eq!(bench.claim(own(other), &theirs), Ok(theirs.actor));
    assert_eq!(bench.claim(shared(), &mine), Ok(mine.actor));
    assert_eq!(bench.claim(shared(), &theirs), Ok(mine.actor));
    assert_eq!(bench.find(other, &shared()), Some(mine.actor));
}

#[test]
fn only_actors_of_running_programs_on_known_workers_have_names() {
    let mut bench = Bench::new();
    bench.join(A, 1);
    let driver = only(&bench.accept(JOB, program()));
    bench.accept(JobId(2), one_task());
    assert_eq!(bench.claim(own(JOB), &actor(JOB, B, 1)), Err(NameError::NoSuchWorker(B)));
    for job in [JobId(2), JobId(3)] {
        assert_eq!(bench.claim(own(job), &actor(job, A, 1)), Err(NameError::NoSuchJob(job)));
    }
    bench.finish(driver);
    assert_eq!(bench.claim(own(JOB), &actor(JOB, A, 1)), Err(NameError::NoSuchJob(JOB)));
    assert_eq!(bench.cluster.find_name(JOB, &own(JOB)), Err(NameError::NoSuchJob(JOB)));
}

#[test]
fn names_end_with_the_driver_and_with_the_job() {
    let mut bench = Bench::new();
    bench.join(A, 1);
    let driver = only(&bench.accept(JOB, program()));
    bench.claim(own(JOB), &actor(JOB, A, 1)).unwrap();
    bench.claim(shared(), &actor(JOB, A, 2)).unwrap();
    let again = only(&bench.fail(driver, FailureKind::Retry));
    assert_eq!((bench.find(JOB, &own(JOB)), bench.find(JOB, &shared())), (None, None));
    let next = actor(JOB, A, 3);
    assert_eq!(bench.claim(shared(), &next), Ok(next.actor));
    bench.accept(JobId(2), program());
    assert_eq!(bench.find(JobId(2), &shared()), Some(next.actor));
    bench.finish(again);
    assert_eq!(bench.find(JobId(2), &shared()), None);
}

#[test]
fn who_was_told_of_an_actor_hears_of_the_end_of_its_owner_and_the_owner_of_theirs() {
    let mut bench = Bench::new();
    bench.join(A, 1);
    let theirs = only(&bench.accept(JOB, program()));
    bench.join(B, 4);
    let mine = only(&bench.accept(JobId(2), program()));
    assert_eq!((theirs.0, mine.0), (A, B));
    bench.claim(shared(), &actor(JOB, A, 1)).unwrap();
    bench.feed(Event::ActorFound { job: JobId(2), owner: A });
    let told = |actions: &[Action]| {
        let of = |action: &Action| match action {
            Action::JobGone { worker, job, .. } => Some((*worker, *job)),
            _ => None,
        };
        actions.iter().filter_map(of).collect::<Vec<_>>()
    };
    assert!(told(&bench.finish(mine)).contains(&(A, JobId(2))));
    bench.accept(JobId(3), program());
    bench.feed(Event::ActorFound { job: JobId(3), owner: A });
    let actions = bench.lose(A, Epoch((1 << 32) + 1));
    let gone = |action: &Action| matches!(action, Action::WorkerGone { worker: B, gone: A, .. });
    assert!(actions.iter().any(gone), "{actions:?}");
}

#[test]
fn names_end_with_the_worker_that_owns_the_actor() {
    let mut bench = Bench::new();
    bench.join(A, 4);
    let driver = only(&bench.accept(JOB, program()));
    bench.join(B, 1);
    let (mine, lost) = (actor(JOB, A, 1), actor(JOB, B, 2));
    bench.claim(own(JOB), &mine).unwrap();
    bench.claim(shared(), &lost).unwrap();
    assert_eq!(driver.0, A);
    bench.lose(B, Epoch((1 << 32) + 2));
    assert_eq!(bench.find(JOB, &own(JOB)), Some(mine.actor));
    assert_eq!(bench.find(JOB, &shared()), None);
}

#[test]
fn a_restarted_coordinator_knows_names_and_what_had_made_them_free() {
    let mut bench = Bench::new();
    bench.join(A, 1);
    let driver = only(&bench.accept(JOB, program()));
    let over = only(&bench.accept(JobId(2), program()));
    let (mine, theirs) = (actor(JOB, A, 1), actor(JobId(2), A, 2));
    bench.claim(own(JOB), &mine).unwrap();
    bench.claim(own(JobId(2)), &theirs).unwrap();
    bench.claim(shared(), &actor(JOB, A, 3)).unwrap();
    bench.feed(Event::NameDropped { job: JOB, actor: actor(JOB, A, 3).actor });
    bench.finish(over);
    // The end of a job is journaled, and the coordinator is gone before the end of its names is.
    let name = own(JobId(2));
    bench.facts.retain(|fact| *fact != Fact::NameFreed { name: name.clone() });
    let mut bench = bench.restarted(&[(JOB, program()), (JobId(2), program())]);
    assert_eq!(bench.find(JOB, &own(JOB)), Some(mine.actor));
    assert_eq!((bench.find(JOB, &shared()), bench.find(JOB, &own(JobId(2)))), (None, None));
    bench.register(A, 1, vec![driver.2], Vec::new());
    assert_eq!(bench.find(JOB, &own(JOB)), Some(mine.actor));
}

#[test]
fn names_of_a_worker_that_does_not_come_back_are_free() {
    let mut bench = Bench::new();
    bench.join(A, 1);
    bench.accept(JOB, program());
    bench.claim(own(JOB), &actor(JOB, A, 1)).unwrap();
    let mut bench = bench.restarted(&[(JOB, program())]);
    bench.pass_in_silence(60_000);
    bench.join(B, 1);
    let (name, next) = (own(JobId(2)), actor(JobId(2), B, 1));
    bench.accept(JobId(2), program());
    assert_eq!(bench.find(JobId(2), &own(JOB)), None);
    assert_eq!(bench.claim(name, &next), Ok(next.actor));
}
