//! A user's executable as a program to be submitted.

use std::path::Path;

use tandem_package::{AttachedFile, Package};
use tandem_proto::v1;

/// Variables of object storage: a client's own go with its jobs, as secrets.
const STORAGE_PREFIX: &str = "AWS_";

/// The program of a package that lies at `path`.
///
/// # Errors
/// When the path cannot be made absolute.
pub fn program(path: &Path, package: &Package, args: Vec<String>) -> std::io::Result<v1::Program> {
    let place = std::path::absolute(path)?;
    // A path that is not UTF-8 only means that no worker can use the file in place.
    let path = place.to_str().unwrap_or_default().to_owned();
    Ok(v1::Program { package: package.hash.to_string(), args, path, ..v1::Program::default() })
}

/// Files as they are named in a program that they are attached to.
///
/// # Errors
/// When a path cannot be made absolute.
pub fn attached_files(files: &[AttachedFile]) -> std::io::Result<Vec<v1::AttachedFile>> {
    let file = |file: &AttachedFile| {
        let place = std::path::absolute(&file.path)?;
        Ok(v1::AttachedFile {
            name: file.name.clone(),
            hash: file.hash.to_string(),
            bytes: file.bytes,
            path: place.to_str().unwrap_or_default().to_owned(),
        })
    };
    files.iter().map(file).collect()
}

/// The name of the job of a program that lies at `path`.
pub fn program_name(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Variables of this process that go with its jobs as secrets.
pub fn storage_secrets() -> impl Iterator<Item = (String, String)> {
    std::env::vars().filter(|(name, _)| name.starts_with(STORAGE_PREFIX))
}
