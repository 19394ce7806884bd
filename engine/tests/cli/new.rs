//! `tandem new`.

use crate::support::Sandbox;

#[test]
fn a_new_package_has_all_it_needs() {
    let sandbox = Sandbox::new();
    let made = sandbox.run(&["new", "my-app"]).succeeded();
    let said = format!("{}{}", made.stdout, made.stderr);
    assert!(said.contains("my-app") && said.contains("cargo test"), "{said}");
    let file = |name: &str| sandbox.read(&format!("my-app/{name}"));
    let manifest: toml::Table = file("Cargo.toml").parse().expect("a manifest");
    assert_eq!(manifest["package"]["name"].as_str(), Some("my-app"));
    assert_eq!(manifest["dependencies"]["tandem"]["default-features"].as_bool(), Some(false));
    let source = manifest["dependencies"]["tandem"]["path"].as_str().expect("the tree that this test was built from");
    assert_eq!(source, env!("CARGO_MANIFEST_DIR"));
    assert!(file("src/main.rs").contains("#[tandem::main]"));
    assert!(file("README.md").contains("tandem job submit ./target/debug/my-app"));
    assert_eq!(file(".gitignore"), "/target\n");
}

#[test]
fn what_is_there_stays_and_bad_names_are_refused() {
    let sandbox = Sandbox::new();
    sandbox.write("there/notes.txt", "mine");
    sandbox.run(&["new", "there"]).ended_with(2).tells(&["`there` exists already"]);
    assert_eq!(sandbox.read("there/notes.txt"), "mine");
    for name in ["My App", "9lives", "test", "fn"] {
        sandbox.run(&["new", name]).ended_with(2).tells(&[name, "help: "]);
        assert!(!sandbox.work().join(name).exists(), "{name}");
    }
}
