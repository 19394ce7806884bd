//! ARCHITECTURE.md names real places, and the order of crates that it gives holds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

#[test]
fn every_path_in_the_map_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let map = std::fs::read_to_string(root.join("ARCHITECTURE.md")).expect("the map");
    let paths: Vec<&str> = map.split('`').skip(1).step_by(2).filter(|text| is_path(text)).collect();
    assert!(paths.len() > 20, "the map names only {paths:?}");
    let missing: Vec<&&str> = paths.iter().filter(|path| !exists(&root, path)).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names what is not there: {missing:?}");
}

/// Code spans with a slash and no spaces are paths.
fn is_path(text: &str) -> bool {
    text.contains('/') && !text.contains(' ') && !text.starts_with('/')
}

/// `*` stands for any file name; a path may be relative to the coordinator's crate as the text says.
fn exists(root: &Path, path: &str) -> bool {
    match path.split_once("/*") {
        Some((folder, _)) => root.join(folder).is_dir(),
        None => root.join(path).exists(),
    }
}

/// The chains in the line on dependencies: a crate may use those left of it, and what these may use.
#[test]
fn crates_depend_only_on_those_that_the_map_allows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let map = std::fs::read_to_string(root.join("ARCHITECTURE.md")).expect("the map");
    let line = map.lines().find(|line| line.starts_with("Dependencies go one way")).expect("the line on dependencies");
    let allowed = allowed_uses(line);
    assert!(allowed.len() >= 7, "the map orders only {allowed:?}");
    for (name, uses) in &allowed {
        let used = dependencies(&root, name);
        let ours: BTreeSet<String> =
            used.keys().filter_map(|used| used.strip_prefix("tandem-")).map(str::to_owned).collect();
        let wrong: Vec<_> = ours.difference(uses).collect();
        assert!(wrong.is_empty(), "{name} depends on {wrong:?}, the map allows only {uses:?}");
    }
}

/// What the crate `tandem-NAME` depends on, wherever it is.
fn dependencies(root: &Path, name: &str) -> toml::Table {
    let folders =
        ["engine", "actors", "gpu-kernels"].map(|folder| std::fs::read_dir(root.join(folder)).expect("a folder"));
    let folders = folders.into_iter().flatten().flatten().map(|entry| entry.path());
    let manifests = folders.chain(["proto", "gpu-kernels"].map(|folder| root.join(folder))).filter_map(|folder| {
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).ok()?;
        Some(manifest.parse::<toml::Table>().expect("a manifest"))
    });
    let crate_name = format!("tandem-{name}");
    let is_it = |manifest: &toml::Table| manifest["package"]["name"].as_str() == Some(&crate_name);
    let mut manifest = manifests.into_iter().find(is_it).unwrap_or_else(|| panic!("no crate is called {crate_name}"));
    match manifest.remove("dependencies") {
        Some(toml::Value::Table(dependencies)) => dependencies,
        _ => toml::Table::new(),
    }
}

/// Which crates each crate of the chains may use.
fn allowed_uses(line: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut allowed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let chains = line.split('`').skip(1).step_by(2).filter(|chain| !chain.starts_with('←'));
    for chain in chains {
        let mut left = BTreeSet::new();
        for names in chain.split('←') {
            let names: Vec<String> = names.split(',').map(|name| name.trim().to_owned()).collect();
            let beyond: Vec<String> =
                names.iter().flat_map(|name| allowed.get(name).into_iter().flatten().cloned()).collect();
            for name in &names {
                allowed.entry(name.clone()).or_default().extend(left.iter().cloned());
            }
            left.extend(names.into_iter().chain(beyond));
        }
    }
    allowed
}
