//! Programs: what a worker is told of them, and what becomes of it when they end.

use std::path::Path;

use tandem_proto::WorkerId;
use tandem_proto::v1::{self, JobState};
use tempfile::TempDir;
use tonic::Code;

use super::{FakeWorker, Running, register, start};

fn program() -> v1::Program {
    v1::Program {
        package: String::new(),
        args: vec!["--digits".to_owned(), "9".to_owned()],
        path: String::new(),
        ..v1::Program::default()
    }
}

pub(super) fn submission() -> v1::SubmitRequest {
    let spec = v1::JobSpec {
        name: "pi".to_owned(),
        work: Some(v1::job_spec::Work::Program(program())),
        environment: [("MODE".to_owned(), "full".to_owned())].into(),
        secrets: [("PASSWORD".to_owned(), "hunter2".to_owned())].into(),
        ..v1::JobSpec::default()
    };
    v1::SubmitRequest { spec: Some(spec), attached: false, submission_id: "three".to_owned() }
}

async fn check_program(worker: &mut FakeWorker, job: u64) {
    let told = worker.client.get_program(v1::GetProgramRequest { job }).await.unwrap().into_inner();
    assert_eq!((told.program, told.job_name.as_str()), (Some(program()), "pi"));
    assert_eq!((told.environment["MODE"].as_str(), told.environment["PASSWORD"].as_str()), ("full", "hunter2"));
    assert_eq!(told.secret_names, ["PASSWORD"]);
}

async fn state(running: &Running, job: u64) -> v1::JobStatus {
    running.client().await.get(v1::GetRequest { job }).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_runs_as_one_task_and_survives_its_coordinator() {
    let folder = TempDir::new().unwrap();
    let running = start(folder.path()).await;
    let mut worker = FakeWorker::join(&running, register(WorkerId(1))).await;
    let job = running.client().await.submit(submission()).await.unwrap().into_inner().job;
    let launch = worker.next_launch().await;
    let stage = worker.stage(&launch).await;
    assert_eq!((stage.driver, stage.plan.len()), (Some(program()), 0));
    check_program(&mut worker, job).await;
    running.stop().await;

    let running = start(folder.path()).await;
    let known =
        v1::Register { running: launch.attempt.into_iter().collect(), jobs: vec![job], ..register(WorkerId(1)) };
    let mut worker = FakeWorker::join(&running, known).await;
    check_program(&mut worker, job).await;
    worker.finish(1, &launch).await;
    assert_eq!(worker.next_gone().await, job);
    let status = state(&running, job).await;
    assert_eq!((status.state(), status.stages[0].driver), (JobState::Succeeded, true));
    let report = running.client().await.get_report(v1::GetRequest { job }).await.unwrap().into_inner();
    assert!(report.markdown.contains("# pi: SUCCEEDED") && !report.markdown.contains("## Rows"), "{report:?}");
    let gone = worker.client.get_program(v1::GetProgramRequest { job }).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    running.stop().await;
}

#[tokio::test]
async fn a_worker_is_told_of_jobs_that_are_not_known_any_more() {
    let folder = TempDir::new().unwrap();
    let running = start(folder.path()).await;
    let mut worker = FakeWorker::join(&running, v1::Register { jobs: vec![42], ..register(WorkerId(1)) }).await;
    assert_eq!(worker.next_gone().await, 42);
    running.stop().await;
}

fn claim(job: u64, actor: u8) -> v1::ClaimNameRequest {
    let owner = WorkerId(1).0.to_be_bytes();
    v1::ClaimNameRequest {
        job,
        name: "stock".to_owned(),
        actor: [owner, [actor; 8]].concat(),
        class: "shop::Stock".to_owned(),
        ..v1::ClaimNameRequest::default()
    }
}

fn wanted(job: u64) -> v1::FindNameRequest {
    v1::FindNameRequest { job, name: "stock".to_owned(), ..v1::FindNameRequest::default() }
}

/// The folder of a coordinator as it would be if that had been killed now.
pub(super) fn killed(folder: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    std::fs::create_dir(copy.path().join("data")).unwrap();
    for file in ["token", "data/journal.redb", "data/secrets.key"] {
        std::fs::copy(folder.join(file), copy.path().join(file)).unwrap();
    }
    copy
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_actors_survive_a_coordinator_that_is_killed() {
    let folder = TempDir::new().unwrap();
    let running = start(folder.path()).await;
    let mut worker = FakeWorker::join(&running, register(WorkerId(1))).await;
    let job = running.client().await.submit(submission()).await.unwrap().into_inner().job;
    let launch = worker.next_launch().await;
    let first = worker.client.claim_name(claim(job, 1)).await.unwrap().into_inner();
    assert_eq!((&first.actor, first.class.as_str()), (&claim(job, 1).actor, "shop::Stock"));
    let named = killed(folder.path());
    assert_eq!(worker.client.claim_name(claim(job, 2)).await.unwrap().into_inner(), first);
    let dropped = v1::DropNameRequest { job, actor: first.actor.clone() };
    worker.client.drop_name(dropped).await.unwrap();
    let free = killed(folder.path());
    running.stop().await;

    for (folder, expected) in [(named, first), (free, v1::NamedActor::default())] {
        let running = start(folder.path()).await;
        let known =
            v1::Register { running: launch.attempt.into_iter().collect(), jobs: vec![job], ..register(WorkerId(1)) };
        let mut worker = FakeWorker::join(&running, known).await;
        let found = worker.client.find_name(wanted(job)).await.unwrap().into_inner();
        assert_eq!(found.owner_address.is_empty(), expected.actor.is_empty(), "it says where calls go");
        assert_eq!(v1::NamedActor { owner_address: String::new(), ..found }, expected);
        worker.finish(1, &launch).await;
        assert_eq!(worker.next_gone().await, job);
        let over = worker.client.find_name(wanted(job)).await.unwrap_err();
        assert_eq!(over.code(), Code::NotFound);
        running.stop().await;
    }
}

#[tokio::test]
async fn names_that_cannot_be_given_are_refused_with_the_reason() {
    let folder = TempDir::new().unwrap();
    let running = start(folder.path()).await;
    let mut worker = FakeWorker::join(&running, register(WorkerId(1))).await;
    let job = running.client().await.submit(submission()).await.unwrap().into_inner().job;
    let of_other = v1::ClaimNameRequest { actor: vec![9; 16], ..claim(job, 1) };
    let cases = [
        (v1::ClaimNameRequest { name: String::new(), ..claim(job, 1) }, Code::InvalidArgument, "empty"),
        (v1::ClaimNameRequest { actor: vec![1], ..claim(job, 1) }, Code::InvalidArgument, "16 bytes"),
        (claim(job ^ 1, 1), Code::NotFound, "not running"),
        (of_other, Code::Unavailable, "not registered"),
    ];
    for (claim, code, text) in cases {
        let refused = worker.client.claim_name(claim.clone()).await.unwrap_err();
        assert!(refused.code() == code && refused.message().contains(text), "{claim:?}: {refused}");
    }
    running.stop().await;
}
