//! Which cgroup a worker is in, and whether it may be divided.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::{CONTROLLERS, OF_CHILDREN, PROCESSES};

/// Why executors get no cgroups of their own.
#[derive(Debug, thiserror::Error)]
pub enum NoCgroups {
    /// There is none of version 2, or not where it can be seen.
    #[error("no cgroup v2 of this process is to be seen")]
    Unseen,
    /// It does not have what it takes.
    #[error("the cgroup {} has no `{controller}` controller", path.display())]
    NoController {
        /// Which.
        path: PathBuf,
        /// What is missing.
        controller: &'static str,
    },
    /// It is not this user's to divide.
    #[error("the cgroup {} is not delegated: {source}", path.display())]
    NotDelegated {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Only one that has no processes itself can be divided, and others cannot be moved.
    #[error("the cgroup {} is not the worker's alone: other processes in it: {others}", path.display())]
    Shared {
        /// Which.
        path: PathBuf,
        /// How many.
        others: usize,
    },
    /// The system would not do it.
    #[error("the cgroup {} cannot be divided: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// The cgroup of this process, if executors could have cgroups of their own below it. Changes nothing.
///
/// # Errors
/// Why they could not.
pub fn divisible_cgroup() -> Result<PathBuf, NoCgroups> {
    let of_process = |file: &str| fs::read_to_string(Path::new("/proc/self").join(file));
    let (Ok(cgroup), Ok(mounts)) = (of_process("cgroup"), of_process("mountinfo")) else {
        return Err(NoCgroups::Unseen);
    };
    let path = place(&cgroup, &mounts).ok_or(NoCgroups::Unseen)?;
    check(&path)?;
    Ok(path)
}

/// The folder of a process of which `/proc` says these two things.
fn place(cgroup: &str, mounts: &str) -> Option<PathBuf> {
    let own = Path::new(cgroup.lines().find_map(|line| line.strip_prefix("0::"))?);
    mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, at) = (fields.next()?, fields.next()?);
        let is_version_2 = kind.split(' ').next() == Some("cgroup2");
        // What lies beyond a namespace has `..` in it.
        let below = own.strip_prefix(root).ok().filter(|below| !below.starts_with(".."));
        below.filter(|_| is_version_2).map(|below| Path::new(at).join(below).components().collect())
    })
}

fn check(path: &Path) -> Result<(), NoCgroups> {
    let io = |source| NoCgroups::Io { path: path.to_owned(), source };
    let given = fs::read_to_string(path.join("cgroup.controllers")).map_err(io)?;
    let missing = CONTROLLERS.iter().find(|wanted| !given.split_whitespace().any(|found| found == **wanted));
    if let Some(controller) = missing {
        return Err(NoCgroups::NoController { path: path.to_owned(), controller });
    }
    for file in [".", PROCESSES, OF_CHILDREN] {
        let allowed = access(path.join(file), Access::WRITE_OK);
        allowed.map_err(|error| NoCgroups::NotDelegated { path: path.to_owned(), source: error.into() })?;
    }
    // Only the root of all has no kind, and is divided whoever is in it.
    if path.join("cgroup.type").exists() {
        let processes = fs::read_to_string(path.join(PROCESSES)).map_err(io)?;
        let own = std::process::id().to_string();
        let others = processes.lines().filter(|pid| *pid != own).count();
        if others > 0 {
            return Err(NoCgroups::Shared { path: path.to_owned(), others });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_where_its_mounts_show_its_cgroup() {
        let mount = |root: &str, at: &str| {
            format!(
                "25 24 0:22 / /proc rw - proc proc rw\n36 35 0:29 {root} {at} rw,nosuid shared:4 - cgroup2 none rw\n"
            )
        };
        let old = "30 24 0:22 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let cases = [
            ("0::/\n", mount("/", "/sys/fs/cgroup"), Some("/sys/fs/cgroup/")),
            ("0::/user.slice/a.scope\n", mount("/", "/sys/fs/cgroup"), Some("/sys/fs/cgroup/user.slice/a.scope")),
            ("4:memory:/x\n0::/\n", format!("{old}{}", mount("/", "/unified")), Some("/unified/")),
            ("0::/docker/1/app\n", mount("/docker/1", "/sys/fs/cgroup"), Some("/sys/fs/cgroup/app")),
            ("0::/docker/2\n", mount("/docker/1", "/sys/fs/cgroup"), None),
            ("0::/../other\n", mount("/", "/sys/fs/cgroup"), None),
            ("0::/\n", old.to_owned(), None),
            ("4:memory:/\n", mount("/", "/sys/fs/cgroup"), None),
        ];
        for (cgroup, mounts, expected) in cases {
            assert_eq!(place(cgroup, &mounts), expected.map(PathBuf::from), "{cgroup} and {mounts}");
        }
    }

    #[test]
    fn why_a_cgroup_cannot_be_divided_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let said = || check(folder.path()).map_err(|error| error.to_string());
        let write = |file: &str, text: &str| fs::write(folder.path().join(file), text).expect("a file");
        let at = folder.path().display();
        let told = said().expect_err("there is nothing");
        assert!(told.starts_with(&format!("the cgroup {at} cannot be divided: No such file")), "{told}");
        write("cgroup.controllers", "cpuset cpu io pids hugetlb\n");
        assert_eq!(said(), Err(format!("the cgroup {at} has no `memory` controller")));
        write("cgroup.controllers", "cpuset cpu io memory pids\n");
        let told = said().expect_err("there is nothing to write to");
        assert!(told.starts_with(&format!("the cgroup {at} is not delegated: ")), "{told}");
        write(OF_CHILDREN, "");
        write(PROCESSES, &format!("{}\n1\n0\n", std::process::id()));
        assert_eq!(said(), Ok(()), "the root of all is divided whoever is in it");
        write("cgroup.type", "domain\n");
        assert_eq!(said(), Err(format!("the cgroup {at} is not the worker's alone: other processes in it: 2")));
        write(PROCESSES, &format!("{}\n", std::process::id()));
        assert_eq!(said(), Ok(()));
    }
}
