//! Commands that need no cluster, and what all commands say when there is none.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::support::{Finished, Sandbox, files_below, signal, wait_for};

#[test]
fn help_names_every_command() {
    let help = Sandbox::new().run(&["--help"]).succeeded();
    let commands = [
        "run",
        "cluster",
        "coordinator",
        "worker",
        "job",
        "sql",
        "explain",
        "data",
        "node",
        "verify",
        "doctor",
        "config",
        "token",
        "cert",
        "completion",
    ];
    for command in commands {
        assert!(help.stdout.lines().any(|line| line.trim_start().starts_with(command)), "{command}:\n{}", help.stdout);
    }
    assert_eq!(help.stderr, "");
}

#[test]
fn wrong_usage_exits_with_2() {
    let sandbox = Sandbox::new();
    for args in [
        &["frobnicate"][..],
        &["run"],
        &["sql"],
        &["sql", "-e", "SELECT 1", "-f", "x.sql"],
        &["sql", "-e", "SELECT 1", "--table", "no-path"],
        &["job", "get", "42"],
        &["cluster", "up", "--memory", "lots"],
        &["-o", "yaml", "config", "view"],
        &["--timeout", "soon", "config", "view"],
    ] {
        sandbox.run(args).ended_with(2).tells(&[]);
    }
}

#[test]
fn config_view_shows_values_and_origins() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.config()).unwrap();
    std::fs::write(sandbox.config().join("config.toml"), "workers = 5\ntimeout = \"1m\"\n").unwrap();
    let mut command = sandbox.command(&["config", "view", "-o", "json", "--address", "flag:1"]);
    let view = Finished::of(command.env("TANDEM_TIMEOUT", "5m").env("NO_COLOR", "1")).succeeded().json();
    let found = |name: &str| {
        let all = view.as_array().unwrap();
        let setting = all.iter().find(|setting| setting["setting"] == name).unwrap();
        (setting["value"].as_str().unwrap().to_owned(), setting["origin"].as_str().unwrap().to_owned())
    };
    assert_eq!(found("address"), ("flag:1".into(), "flag --address".into()));
    assert_eq!(found("timeout"), ("5m".into(), "variable TANDEM_TIMEOUT".into()));
    assert_eq!(found("color"), ("false".into(), "variable NO_COLOR".into()));
    let file = format!("file {}", sandbox.config().join("config.toml").display());
    assert_eq!(found("workers"), ("5".into(), file));
    assert_eq!(found("cpus"), ("1".into(), "default".into()));
}

#[test]
fn an_empty_variable_is_not_set() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.config()).unwrap();
    std::fs::write(sandbox.config().join("config.toml"), "timeout = \"1m\"\n").unwrap();
    let mut command = sandbox.command(&["config", "view", "-o", "json"]);
    for name in ["ADDRESS", "TIMEOUT", "CONFIG", "TOKEN_FILE", "OUTPUT_FORMAT", "MEMORY"] {
        command.env(format!("TANDEM_{name}"), "");
    }
    let view = Finished::of(&mut command).succeeded().json();
    for setting in view.as_array().unwrap() {
        let origin = setting["origin"].as_str().unwrap();
        assert!(!origin.starts_with("variable"), "{setting}");
        assert_eq!(origin.starts_with("file"), setting["setting"] == "timeout", "{setting}");
    }
    sandbox.run(&["token", "create", "--out", "token"]).succeeded();
    let status = ["--token-file", "token", "cluster", "status"];
    Finished::of(sandbox.command(&status).env("TANDEM_ADDRESS", "")).ended_with(4).tells(&["no cluster is running"]);
}

#[test]
fn an_unknown_setting_names_the_nearest() {
    let sandbox = Sandbox::new();
    let file = sandbox.write("settings.toml", "adress = \"h:1\"\n");
    let args = ["--config", file.to_str().unwrap(), "config", "view"];
    sandbox.run(&args).ended_with(2).tells(&["unknown setting `adress`", "help: did you mean `address`?"]);
}

#[test]
fn a_token_is_printed_or_written_for_its_user_alone() {
    let sandbox = Sandbox::new();
    let printed = sandbox.run(&["token", "create"]).succeeded();
    assert!(printed.stdout.trim().len() >= 32, "{}", printed.stdout);
    assert_ne!(printed.stdout, sandbox.run(&["token", "create"]).stdout);
    let written = sandbox.run(&["token", "create", "--out", "token"]).succeeded();
    assert_eq!(written.stdout, "");
    let mode = sandbox.work().join("token").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let token = sandbox.read("token");
    sandbox.run(&["token", "create", "--out", "token"]).ended_with(1).tells(&["token", "help: choose another file"]);
    assert_eq!(sandbox.read("token"), token);
}

#[test]
fn certificates_are_made_once() {
    let sandbox = Sandbox::new();
    let args = ["cert", "create", "--out", "tls", "--host", "tandem.example", "--host", "10.0.0.1"];
    sandbox.run(&args).succeeded();
    assert!(sandbox.read("tls/ca.pem").starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(sandbox.read("tls/cert.pem").starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(sandbox.read("tls/key.pem").contains("PRIVATE KEY"));
    assert_eq!(sandbox.work().join("tls/key.pem").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    sandbox.run(&args).ended_with(1).tells(&["tls/ca.pem", "help: choose another folder"]);
    std::fs::remove_file(sandbox.work().join("tls/ca.pem")).unwrap();
    sandbox.run(&args).ended_with(1).tells(&["tls/cert.pem", "help: choose another folder"]);
    assert!(!sandbox.work().join("tls/ca.pem").exists(), "it would not be the authority of the others");
}

#[test]
fn what_needs_no_local_cluster_needs_no_home() {
    let sandbox = Sandbox::with_cluster(1);
    let run = |args: &[&str]| Finished::of(sandbox.command(args).env_remove("HOME").env_remove("XDG_STATE_HOME"));
    run(&["token", "create"]).succeeded();
    run(&["completion", "bash"]).succeeded();
    run(&["data", "gen", "sales", "--rows", "9", "--out", "sales.csv"]).succeeded();
    let status = sandbox.run(&["cluster", "status", "-o", "json"]).succeeded().json();
    let token = sandbox.state().join("token");
    let target = ["--address", status["address"].as_str().unwrap(), "--token-file", token.to_str().unwrap()];
    for command in [["job", "list"], ["cluster", "status"]] {
        run(&[&target[..], &command].concat()).succeeded();
    }
    for args in [&["job", "list"][..], &["cluster", "down"], &["sql", "--local", "-e", "SELECT 1"]] {
        run(args).ended_with(2).tells(&["neither XDG_STATE_HOME nor HOME is set"]);
    }
}

#[test]
fn completion_scripts_name_the_commands() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = sandbox.run(&["completion", shell]).succeeded();
        assert!(script.stdout.contains("cluster"), "{shell}");
    }
}

#[test]
fn doctor_lists_its_findings() {
    let sandbox = Sandbox::new();
    let findings = sandbox.run(&["doctor", "-o", "json"]).succeeded().json();
    let state = findings.as_array().unwrap().iter().find(|finding| finding["what"] == "state folder").unwrap();
    assert_eq!(state["verdict"], "ok");
    assert_eq!(state["detail"], sandbox.state().to_str().unwrap());
    let executors = findings.as_array().unwrap().iter().find(|finding| finding["what"] == "executors").unwrap();
    let detail = executors["detail"].as_str().unwrap();
    let known = ["their memory is held by cgroups, in /", "their memory is watched, and not held by cgroups: "];
    assert!(known.iter().any(|known| detail.starts_with(known)), "{detail}");
}

#[test]
fn generated_data_depend_on_the_seed_alone() {
    let sandbox = Sandbox::new();
    for (seed, out) in [("1", "a.csv"), ("1", "b.csv"), ("2", "c.csv")] {
        sandbox.run(&["data", "gen", "sales", "--rows", "100", "--seed", seed, "--out", out]).succeeded();
    }
    assert_eq!(sandbox.read("a.csv"), sandbox.read("b.csv"));
    assert_ne!(sandbox.read("a.csv"), sandbox.read("c.csv"));
    assert_eq!(sandbox.read("a.csv").lines().count(), 101);
    let listed = sandbox.run(&["data", "gen", "sales", "--rows", "9", "--out", "d.csv", "-o", "json"]).succeeded();
    assert_eq!(listed.json()[0]["rows"], 9);
}

#[test]
fn data_that_cannot_be_made_are_refused() {
    let sandbox = Sandbox::new();
    sandbox.run(&["data", "gen", "sales", "--scale", "1", "--out", "x"]).ended_with(2).tells(&["scale"]);
    sandbox.run(&["data", "gen", "sales", "--out", "x"]).ended_with(2).tells(&[]);
    sandbox.run(&["data", "gen", "sales", "--rows", "1", "--out", ""]).ended_with(2).tells(&["--out"]);
    let args = ["data", "gen", "sales", "--rows", "1", "--dirty", "0.5", "--out", "x"];
    sandbox.run(&args).ended_with(2).tells(&["dirty"]);
    for (dataset, out) in [("sales", "x.csv.gz"), ("events", "in/x.tsv"), ("articles", "x.zst")] {
        sandbox
            .run(&["data", "gen", dataset, "--rows", "1", "--out", out])
            .ended_with(2)
            .tells(&[out, ".parquet file"]);
    }
    assert_eq!(std::fs::read_dir(sandbox.work()).unwrap().count(), 0);
}

#[test]
fn data_whose_making_is_interrupted_are_not_there() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&["data", "gen", "sales", "--gb", "900", "--out", "sales.csv"]);
    let making = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for("the start of the file", || !files_below(&sandbox.work()).is_empty());
    assert!(!sandbox.work().join("sales.csv").exists(), "it is not complete");
    signal("INT", making.id());
    Finished::from(making.wait_with_output().unwrap()).ended_with(130).tells(&["interrupted"]);
    assert_eq!(files_below(&sandbox.work()), Vec::<String>::new());
}

#[test]
fn without_a_cluster_commands_say_how_to_get_one() {
    let sandbox = Sandbox::new();
    for args in [
        &["job", "submit", "sales"][..],
        &["job", "list"],
        &["job", "get", "j000000000000002a"],
        &["node", "list"],
        &["sql", "-e", "SELECT 1"],
        &["explain", "-e", "SELECT 1"],
        &["verify"],
        &["cluster", "status"],
        &["cluster", "scale", "2"],
    ] {
        sandbox.run(args).ended_with(4).tells(&["no", "cluster is running", "help: ", "tandem cluster up"]);
    }
    let down = sandbox.run(&["cluster", "down"]).succeeded();
    assert_eq!(down.stderr, "no local cluster is running\n");
}

#[test]
fn an_address_where_nobody_listens_is_unreachable() {
    let sandbox = Sandbox::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    sandbox.run(&["--address", &free, "node", "list"]).ended_with(4).tells(&[&free, "cannot reach"]);
    sandbox.run(&["--address", "nonsense", "node", "list"]).ended_with(2).tells(&["nonsense"]);
    // The token must not cross a network in clear text.
    sandbox.run(&["--address", "192.0.2.1:7100", "node", "list"]).ended_with(2).tells(&["--tls-ca"]);
}

#[test]
fn a_wrong_job_file_is_refused_before_anything_is_started() {
    let sandbox = Sandbox::new();
    sandbox.run(&["run", "missing.toml"]).ended_with(3).tells(&["missing.toml", "help: built-in jobs are sales"]);
    sandbox.write("unknown.toml", "name = \"x\"\nretry = 2\n");
    sandbox.run(&["run", "unknown.toml"]).ended_with(2).tells(&["retry", "unknown.toml:2", "retries"]);
    sandbox.write("broken.toml", "name = \n");
    sandbox.run(&["run", "broken.toml"]).ended_with(2).tells(&["broken.toml:1"]);
    assert!(!sandbox.state().exists(), "nothing was started");
}

#[test]
fn a_process_refuses_what_cannot_be_safe() {
    let sandbox = Sandbox::new();
    sandbox.run(&["token", "create", "--out", "token"]).succeeded();
    let open = ["coordinator", "--listen", "0.0.0.0:0", "--http", "127.0.0.1:0", "--token-file", "token"];
    sandbox.run(&open).ended_with(2).tells(&["--tls-cert"]);
    sandbox.run(&["worker", "--coordinator", "127.0.0.1:1"]).ended_with(2).tells(&["--token-file"]);
    let small = ["worker", "--coordinator", "127.0.0.1:1", "--token-file", "token", "--memory", "1MiB"];
    sandbox.run(&small).ended_with(2).tells(&["memory limit"]);
    let open = ["worker", "--coordinator", "127.0.0.1:1", "--token-file", "token", "--listen", "0.0.0.0:0"];
    sandbox.run(&open).ended_with(2).tells(&["--advertise"]);
}
