//! ARCHITECTURE.md names real places.

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
