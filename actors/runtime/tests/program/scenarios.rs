//! What the program does, from its start to the last trace of it.

use std::time::Duration;

use tandem::{Failure, FailureKind};
use tandem_actor_protocol::JobId;
use tandem_node::{Event, Node};

use crate::app;
use crate::coordinator::Cluster;

const JOB: JobId = JobId(3);
/// Longer than anything takes that ends at all.
const PATIENCE: Duration = Duration::from_secs(300);

async fn drive(cluster: &Cluster, args: &[&str]) -> Result<(), Failure> {
    let args = args.iter().map(ToString::to_string).collect();
    tokio::time::timeout(PATIENCE, cluster.runtime.drive(JOB, 0, args)).await.expect("it ends")
}

/// Ends the job and waits until nothing is left of it.
async fn forget(cluster: &Cluster) {
    for runtime in cluster.others.iter().chain([&cluster.runtime]) {
        runtime.tell(Event::JobGone { job: JOB });
    }
    let folder = cluster.folder.path().join("executors").join(JOB.to_string());
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while folder.exists() {
        assert!(tokio::time::Instant::now() < deadline, "the job is still there");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let left = cluster.runtime.look(|node: &mut Node| (node.executors(None).count(), node.objects(None).count())).await;
    assert_eq!(left, Some((0, 0)));
}

async fn run(cpus: u64, args: &[&str]) {
    let cluster = Cluster::new(cpus);
    let outcome = drive(&cluster, args).await;
    assert_eq!(outcome, Ok(()), "{:#?}", cluster.lines());
    forget(&cluster).await;
    cluster.runtime.stop().await;
}

#[tokio::test]
async fn many_tasks_and_nested_ones() {
    run(2, &["areas", "500"]).await;
}

#[tokio::test]
async fn nested_tasks_share_one_processor() {
    run(1, &["areas", "10"]).await;
}

#[tokio::test]
async fn failures_come_back_typed() {
    run(2, &["failures"]).await;
}

#[tokio::test]
async fn objects_of_all_kinds() {
    run(3, &["objects"]).await;
}

#[tokio::test]
async fn what_has_no_room_goes_to_disk_and_comes_back() {
    let cluster = Cluster::with(2, |node| {
        node.arena.extent_bytes = 2 << 20;
        node.arena.quota_bytes = 8 << 20;
        node.spill_limit_bytes = 1 << 30;
    });
    let outcome = drive(&cluster, &["overflow"]).await;
    assert_eq!(outcome, Ok(()), "{:#?}", cluster.lines());
    forget(&cluster).await;
    let stats = cluster.runtime.spill_stats();
    assert!(stats.written_bytes > 0 && stats.restored_bytes > 0, "{stats:?}");
    let files = || std::fs::read_dir(cluster.folder.path().join("objects")).expect("the folder").count();
    while files() > 0 {
        tokio::task::yield_now().await;
    }
    cluster.runtime.stop().await;
    assert!(!cluster.folder.path().join("objects").exists());
}

/// Bytes that workers have sent to others, from memory and from disk.
fn lent(cluster: &Cluster) -> (u64, u64) {
    let all = cluster.others.iter().chain([&cluster.runtime]).map(|runtime| runtime.lent_stats());
    all.fold((0, 0), |(arena, disk), stats| (arena + stats.arena_bytes, disk + stats.disk_bytes))
}

async fn stop(cluster: &Cluster) {
    for runtime in cluster.others.iter().chain([&cluster.runtime]) {
        runtime.stop().await;
    }
}

#[tokio::test]
async fn one_object_goes_to_several_workers() {
    let cluster = Cluster::several(5, 1, |_| {}).await;
    let outcome = drive(&cluster, &["broadcast", "25"]).await;
    assert_eq!(outcome, Ok(()), "{:#?}", cluster.lines());
    forget(&cluster).await;
    let (from_memory, from_disk) = lent(&cluster);
    // Each of the four others has read it, and again if it had let it go between two tasks.
    let bytes = app::BROADCAST_BYTES as u64;
    assert!(from_memory >= 4 * bytes && from_memory <= 25 * (bytes + 1_000) && from_disk == 0, "{from_memory} bytes");
    stop(&cluster).await;
}

#[tokio::test]
async fn what_is_on_disk_is_read_by_other_workers() {
    let cluster = Cluster::several(3, 1, |node| {
        node.arena.extent_bytes = 2 << 20;
        node.arena.quota_bytes = 8 << 20;
        node.spill_limit_bytes = 1 << 30;
        node.spread_bytes = 0;
    })
    .await;
    let outcome = drive(&cluster, &["overflow"]).await;
    assert_eq!(outcome, Ok(()), "{:#?}", cluster.lines());
    forget(&cluster).await;
    let (_, from_disk) = lent(&cluster);
    assert!(from_disk > 0);
    stop(&cluster).await;
}

#[tokio::test]
async fn who_has_read_somewhere_may_write_there() {
    run(1, &["room"]).await;
}

#[tokio::test]
async fn only_what_takes_its_process_down_fails() {
    run(1, &["crash"]).await;
}

#[tokio::test]
async fn tables_are_read_in_place() {
    run(2, &["tables"]).await;
}

#[tokio::test]
async fn actors_that_wait_for_each_other_are_told() {
    run(1, &["circle"]).await;
}

#[tokio::test]
async fn pools_share_calls() {
    run(2, &["pools"]).await;
}

#[tokio::test]
async fn pools_go_on_without_actors_that_are_lost() {
    run(2, &["losses"]).await;
}

#[tokio::test]
async fn tables_are_made_of_tables() {
    run(2, &["mapped"]).await;
}

#[tokio::test]
async fn actors_with_and_without_names() {
    run(3, &["actors"]).await;
}

#[tokio::test]
async fn calls_that_are_cancelled() {
    run(2, &["cancel"]).await;
}

#[tokio::test]
async fn a_driver_that_fails_says_how() {
    for (scenario, kind, text) in
        [("error", FailureKind::Returned, "the driver fails"), ("panic", FailureKind::Panicked, "the driver panics")]
    {
        let cluster = Cluster::new(1);
        let failure = drive(&cluster, &[scenario]).await.expect_err("it fails");
        assert_eq!(failure.kind, kind, "{failure}");
        assert!(failure.to_string().contains(text), "{failure}");
        forget(&cluster).await;
    }
}

#[tokio::test]
async fn a_driver_that_starts_again_while_the_last_one_ends_is_waited_for() {
    let cluster = Cluster::new(2);
    let (runtime, args) = (cluster.runtime.clone(), vec!["areas".to_owned(), "100000".to_owned()]);
    let first = tokio::spawn(async move { runtime.drive(JOB, 0, args).await });
    while cluster.runtime.look(|node: &mut Node| node.executors(None).count()).await.unwrap_or(0) < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    cluster.runtime.tell(Event::JobGone { job: JOB });
    let again = cluster.runtime.drive(JOB, 1, vec!["areas".into(), "10".into()]);
    let again = tokio::time::timeout(PATIENCE, again).await.expect("it ends");
    assert_eq!(again, Ok(()), "{:#?}", cluster.lines());
    assert!(first.await.expect("no panic").is_err(), "its job was gone");
    forget(&cluster).await;
}

#[tokio::test]
async fn a_driver_that_nobody_waits_for_is_ended() {
    let cluster = Cluster::new(1);
    let running = tokio::time::timeout(Duration::from_millis(500), cluster.runtime.drive(JOB, 0, vec!["areas".into()]));
    // Whether it has ended by then or not: nothing is left of it.
    let _ = running.await;
    forget(&cluster).await;
}
