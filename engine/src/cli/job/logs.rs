//! `tandem job logs`: the lines about one job in the logs of the local cluster's processes, in the order of their times.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tandem_client::Client;
use tandem_proto::JobId;
use tandem_proto::v1::JobState;

use super::super::session::Session;
use super::super::{Exit, Failure};

/// How often files are looked at with `-f`.
const POLL: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
pub(in super::super) struct LogsArgs {
    #[command(flatten)]
    job: super::IdArg,
    /// Go on until the job has ended
    #[arg(short, long)]
    follow: bool,
    /// Only this task: STAGE/TASK
    #[arg(long, value_name = "TASK")]
    task: Option<String>,
}

pub(super) async fn execute(args: &LogsArgs, session: &Session) -> Result<(), Failure> {
    let client = session.connect().await?;
    let running = session.folder.running()?;
    if running.is_none_or(|record| record.address != client.address()) {
        return Err(Failure::usage("logs can be read only on the machine of a local cluster")
            .with_help("look at the standard error of the cluster's processes"));
    }
    let id = args.job.id;
    client.get(id).await?;
    let mut reader = LogReader {
        folder: session.folder.logs(),
        filter: Filter::new(id, args.task.as_deref())?,
        places: BTreeMap::new(),
    };
    loop {
        let ended = !args.follow || has_ended(&client, id).await?;
        reader.print_new()?;
        if ended {
            return Ok(());
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn has_ended(client: &Client, id: JobId) -> Result<bool, Failure> {
    let state = client.get(id).await?.state();
    Ok(!matches!(state, JobState::Pending | JobState::Running))
}

/// Which lines are shown.
struct Filter {
    job: String,
    /// Stage and task.
    task: Option<(u64, u64)>,
}

impl Filter {
    fn new(job: JobId, task: Option<&str>) -> Result<Self, Failure> {
        let parse = |text: &str| {
            let (stage, task) = text.split_once('/')?;
            Some((stage.parse().ok()?, task.parse().ok()?))
        };
        let task = task.map(|text| {
            parse(text).ok_or_else(|| Failure::usage(format!("`{text}` is not a task (it looks like 2/0: stage/task)")))
        });
        Ok(Self { job: job.to_string(), task: task.transpose()? })
    }

    /// Whether the line is about the job: its event or one of its spans says so.
    fn takes(&self, line: &Value) -> bool {
        let spans = line.get("spans").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let field = |names: &[&str]| {
            std::iter::once(line).chain(spans).find_map(|place| names.iter().find_map(|name| place.get(name))).cloned()
        };
        if field(&["job", "job_id"]).as_ref().and_then(Value::as_str) != Some(&self.job) {
            return false;
        }
        self.task.is_none_or(|(stage, task)| {
            let number =
                |name| field(&[name]).and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
            number("stage") == Some(stage) && number("task") == Some(task)
        })
    }
}

struct LogReader {
    folder: PathBuf,
    filter: Filter,
    /// How far each file was read.
    places: BTreeMap<PathBuf, u64>,
}

impl LogReader {
    fn print_new(&mut self) -> Result<(), Failure> {
        let mut lines: Vec<(String, String)> = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let process = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            for line in self.new_lines(&path)? {
                // What is not JSON, such as the last words of a process, is about no job.
                let Ok(value) = serde_json::from_str::<Value>(&line) else { continue };
                if self.filter.takes(&value) {
                    let time = value.get("timestamp").and_then(Value::as_str).unwrap_or_default().to_owned();
                    lines.push((time, format!("{process} {line}")));
                }
            }
        }
        lines.sort();
        let mut out = std::io::stdout().lock();
        lines.iter().try_for_each(|(_, line)| writeln!(out, "{line}"))?;
        Ok(out.flush()?)
    }

    /// Whole lines that were added since the last look.
    fn new_lines(&mut self, path: &Path) -> Result<Vec<String>, Failure> {
        let place = self.places.entry(path.to_owned()).or_default();
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(*place))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        *place += whole as u64;
        Ok(String::from_utf8_lossy(&bytes[..whole]).lines().map(ToOwned::to_owned).collect())
    }
}

impl From<tandem_proto::ParseIdError> for Failure {
    fn from(error: tandem_proto::ParseIdError) -> Self {
        Self::new(Exit::Usage, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lines_are_about_a_job_by_event_or_span() {
        let id = JobId(42);
        let all = Filter::new(id, None).unwrap();
        let one = Filter::new(id, Some("2/0")).unwrap();
        let by_event = json!({"message": "accepted", "job": id.to_string()});
        let by_span = json!({"spans": [{"name": "task", "job": id.to_string(), "stage": 2, "task": 0}]});
        let other = json!({"job": JobId(43).to_string()});
        assert!(all.takes(&by_event) && all.takes(&by_span) && !all.takes(&other));
        assert!(!one.takes(&by_event) && one.takes(&by_span));
        assert!(Filter::new(id, Some("two")).is_err());
    }
}
