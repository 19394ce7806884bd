//! The commands of the README and of the guides do what they say: they are run as they stand there, in order, in one folder.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::{Finished, Sandbox, TANDEM};
use crate::texts;

/// Contents of the README's code blocks in `language`.
fn blocks(readme: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    readme.split(&fence).skip(1).filter_map(|rest| rest.split("```").next()).map(ToOwned::to_owned).collect()
}

#[test]
fn its_commands_run() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    let sandbox = Sandbox::new();
    sandbox.write("totals.toml", &blocks(&readme, "toml")[0]);
    let commands = commands(&readme);
    assert!(commands.len() > 8, "{commands:?}");
    run_all(&sandbox, &commands);
    assert!(sandbox.processes().is_empty(), "the last command takes the cluster down");
}

#[test]
fn commands_of_a_new_package_run() {
    let sandbox = Sandbox::new();
    sandbox.run(&["new", "hello"]).succeeded();
    run_all(&sandbox, &commands(&sandbox.read("hello/README.md")));
    assert!(sandbox.processes().is_empty(), "the last command takes the cluster down");
}

#[test]
fn commands_of_the_guide_to_job_files_run() {
    let sandbox = Sandbox::new();
    sandbox.write("in/dirty.csv", "product,region,quantity,price\nA,north,2,9.50\nB,north,two,1\n");
    run_guide(&sandbox, "job-files.md", 6);
    assert_eq!(
        sandbox.read("out/best.json").matches("\"product\": \"A\"").count(),
        1,
        "what is left is of the last run"
    );
}

#[test]
fn commands_of_the_guide_to_clusters_run() {
    let sandbox = Sandbox::new();
    run_guide(&sandbox, "clusters.md", 6);
    assert!(sandbox.processes().is_empty(), "the last command takes the cluster down");
}

#[test]
fn commands_of_the_guide_to_functions_run() {
    run_guide(&Sandbox::new(), "job-functions.md", 6);
}

#[test]
fn commands_of_the_guide_to_texts_run() {
    let sandbox = Sandbox::new();
    texts::write_inputs(&sandbox);
    run_guide(&sandbox, "texts.md", 7);
    let sql = "SELECT count(*) AS rows, count(embedding) AS vectors FROM './out/vectors'";
    let found = sandbox.run(&["sql", "--local", "-e", sql, "-o", "json"]).succeeded().json();
    assert_eq!(
        (&found[0]["rows"], &found[0]["vectors"]),
        (&Value::from(texts::ARTICLES), &Value::from(texts::ARTICLES - 1))
    );
    let sql = "SELECT count(*) AS right FROM './out/classified' WHERE topic = expected";
    let found = sandbox.run(&["sql", "--local", "-e", sql, "-o", "json"]).succeeded().json();
    assert_eq!(found[0]["right"], texts::ARTICLES);
}

/// Writes the files of a page and runs its commands, of which it has at least so many.
fn run_guide(sandbox: &Sandbox, page: &str, at_least: usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide").join(page);
    let guide = std::fs::read_to_string(path).unwrap();
    for block in blocks(&guide, "toml") {
        let name = block.lines().next().and_then(|line| line.strip_prefix("# "));
        sandbox.write(name.expect("the name of the file"), &block);
    }
    let commands = commands(&guide);
    assert!(commands.len() >= at_least, "{commands:?}");
    run_all(sandbox, &commands);
}

/// The commands in a page, in order.
fn commands(page: &str) -> Vec<String> {
    let blocks = blocks(page, "sh");
    let lines = blocks.iter().flat_map(|block| block.lines());
    // What `cargo build` would give is here already: `actors/programs` builds the same source.
    let hello = Path::new(TANDEM).with_file_name("hello");
    let hello = hello.to_str().expect("a UTF-8 path");
    let commands = lines.filter(|line| line.starts_with("tandem "));
    commands.map(|line| line.replace("./target/debug/hello", hello)).collect()
}

fn run_all(sandbox: &Sandbox, commands: &[String]) {
    for line in commands {
        let script = format!("tandem() {{ '{TANDEM}' \"$@\"; }}; {line}");
        let mut command = Command::new("bash");
        command.args(["-c", &script]).env_clear().current_dir(sandbox.work());
        for (name, value) in sandbox.command(&[]).get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        let finished = Finished::of(&mut command);
        assert_eq!(finished.code, Some(0), "{line}\n{}{}", finished.stdout, finished.stderr);
    }
}

#[test]
fn its_two_commands_are_there() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    let first = &blocks(&readme, "sh")[0];
    assert!(first.contains("cargo run -q --bin tandem -- run sales"), "{first}");
    assert!(first.contains(".ci/test"), "{first}");
}
