//! Jobs from a folder that the workers cannot see.

use std::process::Command;

use crate::support::moto::{BUCKET, Moto};
use crate::support::{Finished, Sandbox};

const JOB: &str = r#"
name = "totals"
[params]
input = "in.csv"
[[source]]
name = "t"
path = "${input}"
format = "csv"
schema = "k string, v int"
[[step]]
name = "totals"
sql = "SELECT k, sum(v) AS total FROM t GROUP BY k ORDER BY k"
[[sink]]
from = "totals"
path = "s3://bucket/out"
format = "csv"
mode = "overwrite"
"#;

/// `command` in a mount of its own over its working folder, in which only `files` are. The cluster's processes see the
/// empty folder beneath it. Where mounting is not allowed, none.
fn apart(command: &Command, files: &[(&str, &str)]) -> Option<Finished> {
    let folder = command.get_current_dir()?.to_owned();
    let write: String =
        files.iter().map(|(name, text)| format!("cat > {name} <<'END'\n{text}END\n")).collect::<Vec<_>>().concat();
    let script = format!("mount -t tmpfs tmpfs . && cd \"$PWD\" && {{\n{write}}} && exec \"$@\"");
    let mut inside = Command::new("unshare");
    inside.args(["--mount", "sh", "-c", &script, "sh"]).arg(command.get_program()).args(command.get_args());
    inside.current_dir(&folder).env_clear();
    inside.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let allowed = Command::new("unshare").args(["--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).output();
    allowed.is_ok_and(|output| output.status.success()).then(|| Finished::of(&mut inside))
}

#[test]
fn a_job_over_s3_needs_nothing_of_the_folder_it_is_submitted_from() {
    let moto = match Moto::start() {
        Ok(moto) => moto,
        Err(reason) => return eprintln!("skipped: {reason}"),
    };
    let cluster = Sandbox::with_cluster(2);
    let rows = cluster.write("rows.csv", "k,v\na,1\nb,2\na,3\n");
    moto.put("in/rows.csv", &rows).expect("an object");
    let status = cluster.run(&["cluster", "status", "-o", "json"]).succeeded().json();
    let (address, token) = (status["address"].as_str().expect("an address"), cluster.state().join("token"));
    let client = Sandbox::new().with_environment(moto.environment());
    let submit = |input: &str| {
        let target = ["--address", address, "--token-file", token.to_str().expect("a path")];
        let input = format!("input={input}");
        let args = [&target[..], &["job", "submit", "totals.toml", "--set", &input]].concat();
        apart(&client.command(&args), &[("totals.toml", JOB), ("rows.csv", "k,v\n")])
    };
    let Some(finished) = submit(&format!("s3://{BUCKET}/in/rows.csv")) else {
        return eprintln!("skipped: a mount of one's own needs root");
    };
    finished.succeeded();
    moto.download("out", &client.work()).expect("objects");
    let written = moto.keys().into_iter().find(|key| key.ends_with(".csv") && key.starts_with("out"));
    assert_eq!(client.read(&written.expect("a file")), "k,total\na,4\nb,2\n");

    // The folder of a client that shares none with the workers is named before anything runs.
    let refused = submit("rows.csv").expect("mounts are allowed").ended_with(2);
    refused.tells(&["rows.csv", "no such file"]);
    let jobs = cluster.run(&["job", "list", "-o", "json"]).succeeded().json();
    assert_eq!(jobs.as_array().map(Vec::len), Some(1), "only the first was accepted");
}

#[test]
fn what_a_job_wrote_is_shown_from_the_storage_of_its_environment() {
    let moto = match Moto::start() {
        Ok(moto) => moto,
        Err(reason) => return eprintln!("skipped: {reason}"),
    };
    let [(endpoint, url), (key, id), (secret, password)] = moto.environment();
    let sandbox = Sandbox::new().with_environment([(secret.clone(), password)]);
    sandbox.write("rows.csv", "k,v\na,1\n");
    let sink = format!("[[sink]]\nfrom = \"t\"\npath = \"s3://{BUCKET}/out.csv\"\n");
    let source = "[[source]]\nname = \"t\"\npath = \"rows.csv\"\n";
    sandbox.write("job.toml", &format!("name = \"copy\"\n[env]\n{endpoint} = \"{url}\"\n{source}{sink}"));
    let key = format!("{key}={id}");
    let args = ["run", "job.toml", "--workers", "1", "--env", &key, "--secret", &secret, "-o", "csv"];
    assert_eq!(sandbox.run(&args).succeeded().stdout, "k,v\na,1\n");
}
