//! What a package needs of a machine, and what the machine has that this process runs on.

use std::path::{Path, PathBuf};

use tandem_proto::v1;

use crate::elf;
use crate::unfit::Unfit;
use crate::version::Version;

/// The C library, by its name in every glibc system.
const LIBC: &str = "libc.so.6";

/// What a package needs to be started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// The processors it is built for, as Rust calls them.
    pub machine: String,
    /// Its dynamic loader; none when it is linked statically.
    pub loader: Option<String>,
    /// The oldest glibc that has all its symbols; none when it needs none.
    pub glibc: Option<Version>,
}

impl From<Needs> for v1::PackageNeeds {
    fn from(needs: Needs) -> Self {
        Self {
            machine: needs.machine,
            loader: needs.loader.unwrap_or_default(),
            glibc: needs.glibc.map(|version| version.to_string()).unwrap_or_default(),
        }
    }
}

impl From<v1::PackageNeeds> for Needs {
    fn from(message: v1::PackageNeeds) -> Self {
        let v1::PackageNeeds { machine, loader, glibc } = message;
        Self { machine, loader: Some(loader).filter(|loader| !loader.is_empty()), glibc: glibc.parse().ok() }
    }
}

/// A machine that packages run on.
#[derive(Debug, Clone)]
pub struct Platform {
    machine: String,
    /// None where there is no glibc, or it cannot be told.
    glibc: Option<Version>,
}

impl Platform {
    /// The one that this process runs on.
    pub fn current() -> Self {
        let glibc = libc_path().and_then(|path| elf::defined_glibc(&path));
        Self { machine: std::env::consts::ARCH.to_owned(), glibc }
    }

    /// Whether a package can be started here.
    ///
    /// # Errors
    /// What it needs and is not here.
    pub fn check(&self, needs: &Needs) -> Result<(), Unfit> {
        if needs.machine != self.machine {
            return Err(Unfit::Machine { built: needs.machine.clone(), cluster: self.machine.clone() });
        }
        if let Some(loader) = needs.loader.as_ref().filter(|loader| !Path::new(loader).exists()) {
            return Err(Unfit::Loader(loader.clone()));
        }
        match (needs.glibc, self.glibc) {
            (Some(needed), Some(present)) if needed > present => Err(Unfit::Glibc { needed, present }),
            _ => Ok(()),
        }
    }
}

/// The C library that this process runs with, else the one that programs would find.
fn libc_path() -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let mapped = maps.lines().filter_map(|line| line.split_whitespace().nth(5)).map(PathBuf::from);
    let ours = mapped.into_iter().find(|path| path.file_name().is_some_and(|name| name == LIBC));
    let usual = ["/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/lib64", "/usr/lib"];
    let usual = usual.into_iter().map(|folder| Path::new(folder).join(LIBC)).find(|path| path.exists());
    ours.or(usual)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform() -> Platform {
        Platform { machine: "x86_64".to_owned(), glibc: Some(Version { major: 2, minor: 36 }) }
    }

    fn needs(machine: &str, loader: Option<&str>, minor: Option<u32>) -> Needs {
        let glibc = minor.map(|minor| Version { major: 2, minor });
        Needs { machine: machine.to_owned(), loader: loader.map(str::to_owned), glibc }
    }

    #[test]
    fn what_is_missing_is_named() {
        let check = |needs: Needs| platform().check(&needs).map_err(|unfit| unfit.to_string());
        assert_eq!(check(needs("x86_64", None, None)), Ok(()));
        assert_eq!(check(needs("x86_64", Some("/proc/self/exe"), Some(36))), Ok(()));
        let cases = [
            (needs("aarch64", None, None), "built for aarch64, and the cluster runs x86_64"),
            (needs("x86_64", Some("/nowhere/ld.so"), None), "the dynamic loader /nowhere/ld.so"),
            (needs("x86_64", None, Some(39)), "needs glibc 2.39, and the cluster has 2.36"),
        ];
        for (needs, text) in cases {
            let error = check(needs).unwrap_err();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn this_machine_is_what_the_standard_library_says() {
        let here = Platform::current();
        assert_eq!(here.machine, std::env::consts::ARCH);
        if libc_path().is_some() {
            assert!(here.glibc.is_some_and(|version| version >= Version { major: 2, minor: 17 }), "{here:?}");
        }
    }

    #[test]
    fn needs_read_back_from_the_wire() {
        for needs in [needs("x86_64", Some("/lib/ld.so"), Some(34)), needs("aarch64", None, None)] {
            assert_eq!(Needs::from(v1::PackageNeeds::from(needs.clone())), needs);
        }
    }
}
