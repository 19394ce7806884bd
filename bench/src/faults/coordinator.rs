//! The coordinator is killed in the middle of the journaled job `events`: how long nobody answers, and that no stage that was
//! finished runs again.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tandem::v1::{JobState, JobStatus, TaskState, TaskStatus};
use tandem::{Client, JobId};

use super::Arguments;
use super::storm::{EVENTS, Work, Works};
use super::worker::attempts_again;
use crate::cluster::Cluster;
use crate::process::signal;
use crate::report::{Line, Report, Unit, median};

const POLL: Duration = Duration::from_millis(2);

pub(super) async fn run(folder: &Path, arguments: &Arguments, report: &mut Report) -> anyhow::Result<()> {
    let works = Works::prepare(folder, arguments).await?;
    let cluster = Cluster::start(folder, &arguments.shape).await?;
    let work = works.get(EVENTS)?;
    let calm = work.undisturbed(&cluster).await?;
    let (mut serving, mut total, mut again) = (Vec::new(), Vec::new(), Vec::new());
    let mut kept = usize::MAX;
    for _ in 0..arguments.rounds {
        let round = disturb(&cluster, work).await?;
        serving.push(round.serving_ms);
        total.push(round.seconds);
        again.push(round.again as f64);
        kept = kept.min(round.finished);
    }
    let rows = arguments.rows;
    report.line(Line::of(format!("events of {rows} rows, nothing killed"), Unit::Seconds, calm));
    report.line(Line::of("the coordinator killed in the middle", Unit::Seconds, median(total)?));
    report.line(Line::of("… until it serves again", Unit::Ms, median(serving)?));
    report.line(Line::of("… attempts made again", Unit::Count, median(again)?));
    report.note(format!(
        "When the coordinator was killed, at least {kept} tasks of finished stages were done; none of them ran again."
    ));
    Ok(())
}

struct Round {
    serving_ms: f64,
    seconds: f64,
    again: usize,
    /// Tasks of stages that were finished at the kill.
    finished: usize,
}

async fn disturb(cluster: &Cluster, work: &Work) -> anyhow::Result<Round> {
    let client = cluster.client();
    let pid = *cluster.processes()?.get("coordinator").context("there is no coordinator")?;
    let start = Instant::now();
    let job = work.submit(cluster)?;
    let status = half_done(client, job).await?;
    let done = |status: &JobStatus| -> BTreeSet<u32> {
        status.stages.iter().filter(|stage| stage.tasks > 0 && stage.finished == stage.tasks).map(|s| s.stage).collect()
    };
    let before = finished_tasks(&client.tasks(job).await?, &done(&status));
    signal("KILL", pid)?;
    let killed = Instant::now();
    while client.cluster().await.is_err() {
        tokio::time::sleep(POLL).await;
    }
    let serving_ms = killed.elapsed().as_secs_f64() * 1e3;
    let last = client.follow(job).await?.last_status().await?.unwrap_or(status);
    ensure!(last.state() == JobState::Succeeded, "the job ended as {:?}", last.state());
    let seconds = start.elapsed().as_secs_f64();
    let all_stages = last.stages.iter().map(|stage| stage.stage).collect();
    let after = finished_tasks(&client.tasks(job).await?, &all_stages);
    let lost: Vec<_> = before.difference(&after).collect();
    ensure!(lost.is_empty(), "finished tasks (stage, task, attempt) ran again: {lost:?}");
    work.check().await?;
    Ok(Round { serving_ms, seconds, again: attempts_again(client, job).await?, finished: before.len() })
}

/// Follows the job until half of its stages are done.
async fn half_done(client: &Client, job: JobId) -> anyhow::Result<JobStatus> {
    let mut follow = client.follow(job).await?;
    while let Some(status) = follow.next_status().await? {
        let done = status.stages.iter().filter(|stage| stage.tasks > 0 && stage.finished == stage.tasks).count();
        if 2 * done >= status.stages.len() && done > 0 {
            return Ok(status);
        }
    }
    anyhow::bail!("the job ended before the coordinator was killed")
}

/// Stage, task and attempt of what succeeded in `stages`.
fn finished_tasks(tasks: &[TaskStatus], stages: &BTreeSet<u32>) -> BTreeSet<(u32, u32, u32)> {
    let succeeded = tasks.iter().filter(|task| task.state() == TaskState::Succeeded);
    let attempts = succeeded.filter_map(|task| task.attempt.as_ref());
    let of_stages = attempts.filter(|attempt| stages.contains(&attempt.stage));
    of_stages.map(|attempt| (attempt.stage, attempt.task, attempt.attempt)).collect()
}
