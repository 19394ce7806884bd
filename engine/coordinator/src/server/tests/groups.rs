//! Placement groups: what their owner is told, what people see, and that a coordinator that is killed leaves them where they are.

use tandem_proto::WorkerId;
use tandem_proto::v1::{self, GroupNews, PlacementGroupState};
use tempfile::TempDir;

use super::programs::{killed, submission};
use super::{FakeWorker, LIMIT, Running, Said, Told, register, start};

fn group(job: u64, number: u8, strategy: v1::PlacementStrategy, cpus: &[u64]) -> v1::PlacementGroup {
    let bundle = |cpus: &u64| v1::Shape {
        resources: Some(v1::Resources { milli: [("cpus".to_owned(), *cpus * 1_000)].into(), memory_bytes: 0 }),
        ..v1::Shape::default()
    };
    v1::PlacementGroup {
        group: [WorkerId(1).0.to_be_bytes(), [number; 8]].concat(),
        job,
        name: "train".to_owned(),
        strategy: strategy.into(),
        bundles: cpus.iter().map(bundle).collect(),
        settled: false,
    }
}

impl FakeWorker {
    /// What the worker is told next of a group.
    async fn next_news(&mut self) -> v1::GroupChanged {
        loop {
            let told = tokio::time::timeout(LIMIT, self.told.message()).await.unwrap().unwrap().unwrap();
            if let Some(Told::GroupChanged(changed)) = told.message {
                return changed;
            }
        }
    }
}

async fn list(running: &Running, job: u64) -> Vec<v1::PlacementGroupStatus> {
    running.client().await.list_groups(v1::ListGroupsRequest { job }).await.unwrap().into_inner().groups
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_are_reserved_shown_and_given_back() {
    let folder = TempDir::new().unwrap();
    let running = start(folder.path()).await;
    let mut worker = FakeWorker::join(&running, register(WorkerId(1))).await;
    let job = running.client().await.submit(submission()).await.unwrap().into_inner().job;
    let launch = worker.next_launch().await;
    let small = group(job, 1, v1::PlacementStrategy::StrictPack, &[1, 2]);
    worker.say(Said::GroupWanted(small.clone())).await;
    assert_eq!(worker.next_news().await.news(), GroupNews::Reserved);
    let large = group(job, 2, v1::PlacementStrategy::Pack, &[4]);
    worker.say(Said::GroupWanted(large.clone())).await;
    let waits = worker.next_news().await;
    assert_eq!((waits.news(), waits.group, waits.reason.is_empty()), (GroupNews::Waits, large.group.clone(), false));

    let shown = list(&running, job).await;
    let [reserved, pending] = shown.as_slice() else { panic!("two groups: {shown:?}") };
    assert_eq!((reserved.state(), reserved.strategy()), (PlacementGroupState::Reserved, small.strategy()));
    assert_eq!((reserved.name.as_str(), &reserved.group, reserved.job), ("train", &small.group, job));
    let places: Vec<_> = reserved.bundles.iter().map(|bundle| (bundle.worker, bundle.worker_name.as_str())).collect();
    assert_eq!(places, [(1, "worker-1"); 2]);
    assert_eq!(reserved.bundles[1].shape, Some(small.bundles[1].clone()));
    assert_eq!((pending.state(), pending.pending_reason.as_str()), (PlacementGroupState::Pending, "no-room"));
    assert_eq!((list(&running, 0).await.len(), list(&running, job ^ 1).await.len()), (2, 0));

    worker.say(Said::GroupRemoved(v1::GroupEnded { group: small.group })).await;
    assert_eq!(worker.next_news().await.news(), GroupNews::Reserved, "what it gave back is the other's");
    worker.finish(1, &launch).await;
    assert_eq!(worker.next_gone().await, job);
    assert!(list(&running, 0).await.is_empty());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_outlive_a_coordinator_that_is_killed() {
    let folder = TempDir::new().unwrap();
    let running = start(folder.path()).await;
    let mut worker = FakeWorker::join(&running, register(WorkerId(1))).await;
    let job = running.client().await.submit(submission()).await.unwrap().into_inner().job;
    let launch = worker.next_launch().await;
    let wanted = group(job, 1, v1::PlacementStrategy::StrictPack, &[1, 2]);
    let empty = killed(folder.path());
    worker.say(Said::GroupWanted(wanted.clone())).await;
    assert_eq!(worker.next_news().await.news(), GroupNews::Reserved);
    // What this shows is on disk by then, and all before it.
    running.client().await.list_tasks(v1::GetRequest { job }).await.unwrap();
    let full = killed(folder.path());
    running.stop().await;

    // A crash may have come before the group was journaled: then its owner says it again.
    for (folder, known) in [(full, 1), (empty, 0)] {
        let running = start(folder.path()).await;
        assert_eq!(list(&running, job).await.len(), known);
        let groups = vec![v1::PlacementGroup { settled: true, ..wanted.clone() }];
        let attempts = launch.attempt.into_iter().collect();
        let back = v1::Register { running: attempts, jobs: vec![job], groups, ..register(WorkerId(1)) };
        let mut worker = FakeWorker::join(&running, back).await;
        let mut news = worker.next_news().await.news();
        while news == GroupNews::Waits {
            news = worker.next_news().await.news();
        }
        assert_eq!(news, GroupNews::Reserved);
        let places: Vec<_> = list(&running, job).await[0].bundles.iter().map(|bundle| bundle.worker).collect();
        assert_eq!(places, [1, 1]);
        running.stop().await;
    }
}
