//! `tandem new`: a package with a task and an actor to start from.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::Args;

use super::Failure;
use crate::output::tell;

#[derive(Debug, Args)]
pub(super) struct NewArgs {
    /// Name of the package, or the path of its folder, which must not exist
    #[arg(value_name = "NAME")]
    path: PathBuf,
}

/// The files of a package, with `NAME` and `DEPENDENCY` to be replaced.
const FILES: [(&str, &str); 4] = [
    ("Cargo.toml", include_str!("template/Cargo.toml.in")),
    ("src/main.rs", include_str!("template/main.rs")),
    ("README.md", include_str!("template/README.md")),
    (".gitignore", "/target\n"),
];

/// Names that Cargo or the compiler take for something else.
const TAKEN: [&str; 12] = [
    "alloc",
    "build",
    "core",
    "deps",
    "examples",
    "incremental",
    "proc_macro",
    "std",
    "tandem",
    "test",
    "self",
    "super",
];

pub(super) fn execute(args: NewArgs) -> Result<(), Failure> {
    let path = args.path;
    let name = package_name(&path)?;
    create_folder(&path)?;
    for (file, template) in FILES {
        let text = template.replace("DEPENDENCY", &dependency()).replace("NAME", name);
        write(&path.join(file), &text).map_err(|error| Failure::failed(format!("cannot write `{file}`: {error}")))?;
    }
    let folder = path.display();
    tell!("made `{folder}`: `cd {folder} && cargo test`, then see README.md");
    Ok(())
}

/// The last part of the path, if a package can have that name.
fn package_name(path: &Path) -> Result<&str, Failure> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let letters = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-_".contains(letter);
    if !name.starts_with(|letter: char| letter.is_ascii_lowercase()) || !name.chars().all(letters) {
        let message = format!("`{}` is no name for a package", path.display());
        return Err(Failure::usage(message).with_help("a name is like `my-app`: small letters, digits, `-` and `_`"));
    }
    if TAKEN.contains(&name) || is_keyword(name) {
        let help = format!("take another one, such as `my-{name}`");
        return Err(Failure::usage(format!("a package called `{name}` cannot be built")).with_help(help));
    }
    Ok(name)
}

/// Whether a crate of that name could not be written in a program.
fn is_keyword(name: &str) -> bool {
    const KEYWORDS: &str = "abstract as async await become box break const continue crate do dyn else enum extern false final \
                            fn for gen if impl in let loop macro match mod move mut override priv pub ref return static \
                            struct trait true try type typeof unsafe unsized use virtual where while yield";
    KEYWORDS.split(' ').any(|keyword| keyword == name)
}

fn create_folder(path: &Path) -> Result<(), Failure> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::create_dir(path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            Failure::usage(format!("`{}` exists already", path.display())).with_help("choose another name")
        }
        _ => Failure::failed(format!("cannot make `{}`: {error}", path.display())),
    })
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, text)
}

/// Where the package finds this version of Tandem: in the source tree that this binary was built from, if it is there.
fn dependency() -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    if source.join("Cargo.toml").is_file() {
        return format!("{{ path = {:?}, default-features = false }}", source.display().to_string());
    }
    let (repository, version) = (env!("CARGO_PKG_REPOSITORY"), env!("CARGO_PKG_VERSION"));
    format!("{{ git = \"{repository}\", version = \"{version}\", default-features = false }}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_packages() {
        for good in ["my-app", "a", "apps/my_app2", "/tmp/x/app"] {
            assert!(package_name(Path::new(good)).is_ok(), "{good}");
        }
        for bad in ["", "..", "My-App", "9lives", "-x", "a b", "añ", "test", "fn", "tandem", "x.rs"] {
            assert!(package_name(Path::new(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn files_have_no_gaps_left() {
        for (file, template) in FILES {
            let text = template.replace("DEPENDENCY", &dependency()).replace("NAME", "my-app");
            assert!(!text.contains("NAME") && !text.contains("DEPENDENCY"), "{file}: {text}");
        }
    }
}
