//! `tandem doctor`: what on this machine would keep a local cluster from working well.

use std::os::unix::fs::PermissionsExt;

use serde::Serialize;
use tandem_worker::divisible_cgroup;

use super::Failure;
use super::session::Session;
use crate::local::{StateFolder, default_memory_bytes};
use crate::output::units::{format_bytes, format_counted};
use crate::output::{Record, print_list};

/// Connections, spill files and inputs of one process; fewer open files than this may not do.
const OPEN_FILES: u64 = 1_024;
/// With less room a job that spills fails soon.
const FREE_BYTES: u64 = 1 << 30;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

#[derive(Debug, Serialize)]
struct Finding {
    verdict: Verdict,
    what: &'static str,
    detail: String,
}

impl Record for Finding {
    const COLUMNS: &'static [&'static str] = &["verdict", "what", "detail"];

    fn cells(&self) -> Vec<String> {
        let verdict = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "fail",
        };
        vec![verdict.to_owned(), self.what.to_owned(), self.detail.clone()]
    }
}

fn finding(verdict: Verdict, what: &'static str, detail: impl Into<String>) -> Finding {
    Finding { verdict, what, detail: detail.into() }
}

pub(super) async fn execute(session: &Session) -> Result<(), Failure> {
    let mut findings = match StateFolder::of_user() {
        Ok(folder) => vec![state_folder(&folder), token(&folder), disk(&folder)],
        Err(error) => vec![finding(Verdict::Fail, "state folder", error.to_string())],
    };
    findings.extend([memory(session), executors(), open_files(), cluster(session).await]);
    let failed = findings.iter().filter(|finding| finding.verdict == Verdict::Fail).count();
    print_list(session.format(), &findings)?;
    match failed {
        0 => Ok(()),
        _ => Err(Failure::failed(format!("{failed} of {} checks failed", findings.len()))),
    }
}

fn state_folder(folder: &StateFolder) -> Finding {
    match folder.create() {
        Ok(()) => finding(Verdict::Ok, "state folder", folder.root().display().to_string()),
        Err(error) => finding(Verdict::Fail, "state folder", error.to_string()),
    }
}

fn token(folder: &StateFolder) -> Finding {
    let path = folder.token_file();
    match std::fs::metadata(&path) {
        Ok(about) if about.permissions().mode() & 0o077 == 0 => {
            finding(Verdict::Ok, "token", "only its user can read it")
        }
        Ok(_) => finding(Verdict::Fail, "token", format!("others can read it: {}", path.display())),
        Err(_) => finding(Verdict::Ok, "token", "made by the first `tandem cluster up`"),
    }
}

fn disk(folder: &StateFolder) -> Finding {
    match rustix::fs::statvfs(folder.root()) {
        Ok(about) => {
            let free = about.f_bavail.saturating_mul(about.f_frsize);
            let verdict = if free < FREE_BYTES { Verdict::Warn } else { Verdict::Ok };
            finding(verdict, "disk", format!("{} free for spilling", format_bytes(free)))
        }
        Err(error) => finding(Verdict::Fail, "disk", std::io::Error::from(error).to_string()),
    }
}

fn memory(session: &Session) -> Finding {
    let workers = session.settings.workers();
    let share = default_memory_bytes(workers);
    finding(Verdict::Ok, "memory", format!("{} for each of {}", format_bytes(share), format_counted(workers, "worker")))
}

/// How a worker that is started from here would see to it that programs take no more memory than they may.
fn executors() -> Finding {
    let detail = match divisible_cgroup() {
        Ok(path) => format!("their memory is held by cgroups, in {}", path.display()),
        Err(reason) => format!("their memory is watched, and not held by cgroups: {reason}"),
    };
    finding(Verdict::Ok, "executors", detail)
}

fn open_files() -> Finding {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    let verdict = if limit < OPEN_FILES { Verdict::Warn } else { Verdict::Ok };
    finding(verdict, "open files", format!("at most {limit} for each process"))
}

async fn cluster(session: &Session) -> Finding {
    let local = || StateFolder::of_user().and_then(|folder| folder.running());
    if session.settings.address().is_none() && !local().is_ok_and(|record| record.is_some()) {
        return finding(Verdict::Ok, "cluster", "none is running");
    }
    let asked = session.in_time(async { Ok(session.connect().await?.cluster().await?) }).await;
    match asked {
        Ok(status) if status.version != tandem_proto::VERSION => {
            let detail = format!("it is version {}, this is {}", status.version, tandem_proto::VERSION);
            finding(Verdict::Fail, "cluster", detail)
        }
        Ok(status) => {
            finding(Verdict::Ok, "cluster", format!("{} ready", format_counted(status.nodes_ready, "worker")))
        }
        Err(Failure::Told { message, .. }) => finding(Verdict::Fail, "cluster", message),
        Err(Failure::ReaderGone) => finding(Verdict::Fail, "cluster", "it cannot be asked"),
    }
}
