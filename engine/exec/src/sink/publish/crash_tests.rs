//! Publishing on a filesystem, cut off after each of its steps and then repeated.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::disk::{Disk, RealDisk};
use super::{SinkCommit, local, open};
use crate::sink::error::SinkError;
use crate::sink::target::{LocalTarget, Target};
use crate::sink::tests::{Job, folder_sink, rows, scratch, tree, visible};
use crate::sink::{SinkFormat, SinkMode, SinkSpec};

/// A disk whose process dies in the middle of its `steps_left`-th step from now.
struct DyingDisk {
    steps_left: Cell<usize>,
    can_exchange: bool,
}

impl DyingDisk {
    /// Does a step; the last one is done by `partly`, and is all that is seen of the rest.
    fn step<T>(&self, whole: impl FnOnce() -> io::Result<T>, partly: impl FnOnce()) -> io::Result<T> {
        match self.steps_left.get() {
            0 => Err(io::Error::other("the process is dead")),
            1 => {
                self.steps_left.set(0);
                partly();
                Err(io::Error::other("the process has died"))
            }
            left => {
                self.steps_left.set(left - 1);
                whole()
            }
        }
    }
}

impl Disk for DyingDisk {
    fn create_folders(&self, path: &Path) -> io::Result<()> {
        self.step(|| RealDisk.create_folders(path), || RealDisk.create_folders(path).unwrap())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(|| RealDisk.rename(from, to), || RealDisk.rename(from, to).unwrap())
    }

    fn exchange(&self, a: &Path, b: &Path) -> io::Result<bool> {
        if !self.can_exchange {
            return Ok(false);
        }
        self.step(|| RealDisk.exchange(a, b), || assert!(RealDisk.exchange(a, b).unwrap()))
    }

    fn write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        self.step(|| RealDisk.write(path, data), || RealDisk.write(path, &data[..data.len() / 2]).unwrap())
    }

    fn copy_permissions(&self, model: &Path, path: &Path) -> io::Result<()> {
        self.step(|| RealDisk.copy_permissions(model, path), || ())
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.step(|| RealDisk.sync_folder(path), || ())
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        let one_file = || {
            let first = tree(path).into_keys().next();
            first.into_iter().for_each(|file| fs::remove_file(path.join(file)).unwrap());
        };
        self.step(|| RealDisk.remove_folder(path), one_file)
    }
}

/// A folder in which job 2 is about to publish, maybe over what job 1 published.
struct Scene {
    folder: tempfile::TempDir,
    commit: SinkCommit,
}

#[derive(Debug, Clone, Copy)]
struct Case {
    name: &'static str,
    mode: SinkMode,
    old_data: bool,
    can_exchange: bool,
}

const CASES: [Case; 7] = [
    Case { name: "out", mode: SinkMode::Overwrite, old_data: true, can_exchange: true },
    Case { name: "out", mode: SinkMode::Overwrite, old_data: true, can_exchange: false },
    Case { name: "out", mode: SinkMode::Overwrite, old_data: false, can_exchange: true },
    Case { name: "out", mode: SinkMode::Error, old_data: false, can_exchange: true },
    Case { name: "out", mode: SinkMode::Append, old_data: true, can_exchange: true },
    Case { name: "out", mode: SinkMode::Append, old_data: false, can_exchange: true },
    Case { name: "out.csv", mode: SinkMode::Overwrite, old_data: true, can_exchange: true },
];

impl Case {
    fn spec(&self, folder: &Path) -> SinkSpec {
        let mut spec = folder_sink(&folder.join(self.name), SinkFormat::Csv, self.mode);
        if !spec.is_single_file() {
            spec.partition_by = vec!["day".to_owned()];
        }
        spec
    }

    async fn scene(&self) -> Scene {
        let folder = scratch();
        if self.old_data {
            let mut first = Job::new(self.spec(folder.path()), 1);
            first.write(0, 0, vec![rows(1_000, 20)]).await.unwrap();
            first.publish().await;
        }
        let mut second = Job::new(self.spec(folder.path()), 2);
        second.attempt(0, 0, vec![rows(0, 30)]).await.unwrap().files();
        second.write(0, 1, vec![rows(0, 30)]).await.unwrap();
        if !second.spec.is_single_file() {
            second.write(1, 0, vec![rows(30, 30)]).await.unwrap();
        }
        Scene { commit: second.commit(), folder }
    }
}

impl Scene {
    fn target(&self) -> LocalTarget {
        let storage = crate::storage::Storage::new(BTreeMap::new());
        match open(&self.commit.spec, &storage).unwrap() {
            Target::Local(target) => target,
            Target::Object(_) => unreachable!("the scene is a local folder"),
        }
    }

    fn publish(&self, disk: &impl Disk) -> Result<(), SinkError> {
        local::publish(disk, &self.target(), &self.commit)
    }

    /// Whether it can be published, which must change nothing.
    fn check(&self) -> Result<(), SinkError> {
        let before = self.everything();
        let checked = local::check(&RealDisk, &self.target(), &self.commit);
        assert_eq!(self.everything(), before);
        checked
    }

    /// What plain readers see.
    fn seen(&self) -> BTreeMap<String, Vec<u8>> {
        let files = tree(self.folder.path());
        visible(&files).into_iter().map(|path| (path.clone(), files[&path].clone())).collect()
    }

    fn everything(&self) -> BTreeMap<String, Vec<u8>> {
        tree(self.folder.path())
    }
}

/// What readers may see when publishing was cut off.
fn check_cut_off(case: Case, scene: &Scene, old: &BTreeMap<String, Vec<u8>>, new: &BTreeMap<String, Vec<u8>>) {
    let seen = scene.seen();
    if case.mode == SinkMode::Append {
        assert!(seen.iter().all(|(path, data)| new.get(path) == Some(data)), "{case:?}");
        assert!(old.keys().all(|path| seen.contains_key(path)), "{case:?}: old data is missing");
        return;
    }
    let between_renames = !case.can_exchange && seen.is_empty();
    assert!(seen == *old || seen == *new || between_renames, "{case:?}: a reader sees {:?}", seen.keys());
    if between_renames {
        let kept: Vec<_> = scene.everything().into_values().collect();
        assert!(old.values().all(|data| kept.contains(data)), "{case:?}: old data is lost");
    }
}

#[tokio::test]
async fn publishing_ends_in_the_same_state_wherever_it_was_cut_off() {
    for case in CASES {
        let whole = case.scene().await;
        let old = whole.seen();
        whole.publish(&RealDisk).unwrap();
        let (new, everything) = (whole.seen(), whole.everything());
        assert_ne!(old, new);
        for steps in 1.. {
            let scene = case.scene().await;
            assert_eq!(scene.seen(), old);
            scene.check().unwrap();
            let disk = DyingDisk { steps_left: Cell::new(steps), can_exchange: case.can_exchange };
            let died = scene.publish(&disk).is_err();
            check_cut_off(case, &scene, &old, &new);
            scene.check().unwrap();
            let disk = DyingDisk { steps_left: Cell::new(usize::MAX), can_exchange: case.can_exchange };
            scene.publish(&disk).unwrap();
            scene.check().unwrap();
            assert_eq!(scene.everything(), everything, "{case:?}, cut off in step {steps}");
            assert!(steps > 3 || died);
            if !died {
                break;
            }
        }
    }
}

#[tokio::test]
async fn publishing_survives_being_cut_off_again_and_again() {
    for case in CASES {
        let whole = case.scene().await;
        let old = whole.seen();
        whole.publish(&RealDisk).unwrap();
        let scene = case.scene().await;
        for steps in 1.. {
            let disk = DyingDisk { steps_left: Cell::new(steps), can_exchange: case.can_exchange };
            let died = scene.publish(&disk).is_err();
            check_cut_off(case, &scene, &old, &whole.seen());
            if !died {
                break;
            }
        }
        assert_eq!(scene.everything(), whole.everything(), "{case:?}");
    }
}

#[tokio::test]
async fn aborting_between_two_renames_gives_the_old_data_back() {
    let case = CASES[1];
    let old = case.scene().await.seen();
    let mut gaps = 0;
    for steps in 1.. {
        let scene = case.scene().await;
        let disk = DyingDisk { steps_left: Cell::new(steps), can_exchange: false };
        if scene.publish(&disk).is_ok() {
            break;
        }
        if scene.seen().is_empty() {
            gaps += 1;
            local::abort(&RealDisk, &scene.target(), scene.commit.job).unwrap();
            assert_eq!(scene.seen(), old);
            assert_eq!(fs::read_dir(scene.folder.path()).unwrap().count(), 1);
        }
    }
    assert_eq!(gaps, 1);
}

#[tokio::test]
async fn files_that_are_gone_or_foreign_are_refused() {
    let scene = CASES[0].scene().await;
    let refused = |expected: &str, change: &dyn Fn(&mut SinkCommit)| {
        let mut commit = scene.commit.clone();
        change(&mut commit);
        let commit = commit.own_files()?;
        let checked = local::check(&RealDisk, &scene.target(), &commit).unwrap_err();
        assert!(checked.to_string().contains(expected), "{checked}");
        local::publish(&RealDisk, &scene.target(), &commit)
    };
    let outside = scene.folder.path().join("secret");
    fs::write(&outside, "x").unwrap();
    let cases: [(&str, Box<dyn Fn(&mut SinkCommit)>); 4] = [
        ("leaves the sink's folder", Box::new(|commit| commit.files[0].final_path = "../escape".to_owned())),
        ("is not in the staging folder", {
            let outside: PathBuf = outside.clone();
            Box::new(move |commit| commit.files[0].staged_path = outside.to_str().unwrap().to_owned())
        }),
        ("its size has changed", Box::new(|commit| commit.files[0].bytes += 1)),
        ("is gone", Box::new(|commit| commit.files[0].staged_path += "x")),
    ];
    for (expected, change) in cases {
        let error = refused(expected, change.as_ref()).unwrap_err();
        assert!(error.to_string().contains(expected) && !error.retryable(), "{error}");
    }
    assert_eq!(scene.seen().len(), CASES[0].scene().await.seen().len() + 1, "nothing was published");
}

#[tokio::test]
async fn data_that_came_while_the_job_ran_is_not_replaced() {
    let scene = CASES[3].scene().await;
    let target = scene.folder.path().join("out");
    fs::create_dir(&target).unwrap();
    fs::write(target.join("other.csv"), "x").unwrap();
    assert!(matches!(scene.check(), Err(SinkError::Occupied { .. })));
    assert!(matches!(scene.publish(&RealDisk), Err(SinkError::Occupied { .. })));
    assert_eq!(fs::read_to_string(target.join("other.csv")).unwrap(), "x");
}
