//! What is checked about sinks before a job runs: that their columns fit, that their targets may be written and replaced,
//! and that no sink touches what another sink or a source of the job uses.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::Schema;
use futures::TryStreamExt;
use object_store::path::Path as Key;
use object_store::{Error as StoreError, ObjectStoreExt};

use super::encode::check_format;
use super::hive::partition_columns;
use super::spec::{SinkMode, SinkSpec};
use super::target::{LocalTarget, META_FOLDER, ObjectTarget, Target, is_marker};
use crate::error::PlanError;
use crate::storage::{Location, Storage, describe};

/// Extensions of data, and of checksums beside it, that an overwrite may remove.
const DATA_EXTENSIONS: [&str; 12] =
    ["parquet", "csv", "json", "jsonl", "ndjson", "arrow", "feather", "gz", "zst", "snappy", "lz4", "crc"];

/// Whether rows of `schema` can be written by `spec`.
pub fn check_schema(spec: &SinkSpec, schema: &Schema) -> Result<(), PlanError> {
    spec.validate()?;
    let left_out = partition_columns(spec, schema)?;
    let kept = schema.fields().iter().enumerate().filter(|(index, _)| !left_out.contains(index));
    check_format(spec, &Schema::new(kept.map(|(_, field)| field.clone()).collect::<Vec<_>>()))
}

/// Whether what one job writes keeps to itself, links resolved: no sink writes where another writes, none writes into or
/// replaces what a source reads, and the job's report is in no sink and no source. `sources` are names and paths as
/// [`SinkSpec::path`] has them, though a path may be a pattern; `report` are the paths of the report's files.
pub fn check_separate(
    sinks: &[SinkSpec],
    sources: &[(String, String)],
    report: &[String],
    storage: &Storage,
) -> Result<(), PlanError> {
    let resolve =
        |path: &str| -> Result<Location, PlanError> { Ok(storage.resolve(path, Path::new(""))?.without_links()) };
    let targets = sinks.iter().map(|sink| Ok((sink, Target::location(sink, storage)?)));
    let targets = targets.collect::<Result<Vec<_>, PlanError>>()?;
    let read = sources.iter().map(|(source, path)| Ok((source, path, resolve(path)?)));
    let read = read.collect::<Result<Vec<_>, PlanError>>()?;
    for (index, (sink, target)) in targets.iter().enumerate() {
        for (other, place) in &targets[..index] {
            if target.holds(place) || place.holds(target) {
                let what = format!("{} and {} of sink `{}` overlap", sink.path, other.path, other.name);
                return Err(sink.invalid(&what, "give each sink a folder of its own"));
            }
        }
        for (source, path, place) in &read {
            if target.holds(place) {
                let what = format!("{} would replace {path}, which source `{source}` reads", sink.path);
                return Err(sink.invalid(&what, "write to another folder"));
            }
            if place.holds(target) {
                let what = format!("{} is inside of {path}, which source `{source}` reads", sink.path);
                return Err(sink.invalid(&what, "write to another folder"));
            }
        }
    }
    for path in report {
        let file = resolve(path)?;
        let of_sink = targets.iter().find(|(_, target)| target.holds(&file));
        let of_source = read.iter().find(|(.., place)| place.holds(&file));
        let user = of_sink.map(|(sink, _)| format!("{}, which sink `{}` writes", sink.path, sink.name));
        let user = user.or_else(|| of_source.map(|(source, path, _)| format!("{path}, which source `{source}` reads")));
        if let Some(user) = user {
            return Err(PlanError::Invalid {
                message: format!("report: {path} would be inside of {user}"),
                help: Some("give the report a folder of its own".to_owned()),
            });
        }
    }
    Ok(())
}

/// Whether `spec`'s target can take what the job will write. Nothing has run when this is called, and nothing is left
/// behind by it.
pub async fn check_target(spec: &SinkSpec, storage: &Arc<Storage>) -> Result<(), PlanError> {
    spec.validate()?;
    match Target::open(spec, storage)? {
        Target::Local(target) => check_local(spec, &target),
        Target::Object(target) => check_object(spec, &target).await,
    }
}

fn check_local(spec: &SinkSpec, target: &LocalTarget) -> Result<(), PlanError> {
    let unreadable =
        |error: io::Error| PlanError::Storage(format!("sink `{}`: cannot read {}: {error}", spec.name, spec.path));
    let found = match fs::metadata(&target.path) {
        Ok(found) => Some(found),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(unreadable(error)),
    };
    match found {
        Some(found) if target.single_file && found.is_dir() => {
            let help = "end the path in / to write into the folder, or remove it";
            return Err(spec.invalid(&format!("{} is a folder, not a file", spec.path), help));
        }
        Some(found) if !target.single_file && !found.is_dir() => {
            return Err(
                spec.invalid(&format!("{} is a file, not a folder", spec.path), "remove it, or name another folder")
            );
        }
        Some(_) if target.single_file => refuse_existing(spec)?,
        Some(_) => check_folder(spec, target).map_err(|error| error.unwrap_or_else(unreadable))?,
        None => {}
    }
    check_writable(&format!("sink `{}`", spec.name), target.parent())
}

/// What is wrong with a folder: its content, or that it cannot be read.
enum FolderError {
    Plan(PlanError),
    Io(io::Error),
}

impl FolderError {
    fn unwrap_or_else(self, unreadable: impl FnOnce(io::Error) -> PlanError) -> PlanError {
        match self {
            Self::Plan(error) => error,
            Self::Io(error) => unreadable(error),
        }
    }
}

fn check_folder(spec: &SinkSpec, target: &LocalTarget) -> Result<(), FolderError> {
    let mut folders = vec![target.path.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(FolderError::Io)? {
            let entry = entry.map_err(FolderError::Io)?;
            let path = entry.path();
            let relative = path.strip_prefix(&target.path).unwrap_or(&path).to_string_lossy().into_owned();
            check_existing(spec, &relative).map_err(FolderError::Plan)?;
            if spec.mode == SinkMode::Append {
                return Ok(());
            }
            if entry.file_type().map_err(FolderError::Io)?.is_dir() && relative != META_FOLDER {
                folders.push(path);
            } else {
                check_replaceable(spec, &relative).map_err(FolderError::Plan)?;
            }
        }
    }
    check_mount(spec, target).map_err(FolderError::Plan)
}

/// What [`SinkMode::Error`] says about something at `relative` below the target.
fn check_existing(spec: &SinkSpec, relative: &str) -> Result<(), PlanError> {
    let top = relative.split('/').next().unwrap_or_default();
    if spec.mode == SinkMode::Error && !is_marker(top) { refuse_existing(spec) } else { Ok(()) }
}

fn refuse_existing(spec: &SinkSpec) -> Result<(), PlanError> {
    if spec.mode != SinkMode::Error {
        return Ok(());
    }
    let help = if spec.is_single_file() {
        "use mode = \"overwrite\", or another path"
    } else {
        "use mode = \"overwrite\" or \"append\", or another path"
    };
    Err(spec.invalid(&format!("{} holds data already", spec.path), help))
}

/// Whether an overwrite may remove the file at `relative`: it is data of a table, or a marker that goes with it. So
/// a mistyped path never costs what is not a table's.
fn check_replaceable(spec: &SinkSpec, relative: &str) -> Result<(), PlanError> {
    if spec.mode != SinkMode::Overwrite {
        return Ok(());
    }
    let mut parts: Vec<&str> = relative.split('/').collect();
    let Some(name) = parts.pop() else { return Ok(()) };
    if parts.first() == Some(&META_FOLDER) || (parts.is_empty() && name == META_FOLDER) {
        return Ok(());
    }
    if parts.contains(&META_FOLDER) || name == META_FOLDER {
        let help = "another table is in that folder: choose a folder that holds one table";
        return Err(spec.invalid(&format!("{} holds another table: {relative}", spec.path), help));
    }
    let hidden = parts.iter().find(|part| part.starts_with(['_', '.']) && !part.contains('='));
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    let known = is_marker(name) || extension.is_some_and(|extension| DATA_EXTENSIONS.contains(&extension.as_str()));
    if hidden.is_none() && known {
        return Ok(());
    }
    let help = "choose an empty folder, or remove the file if nobody needs it";
    Err(spec.invalid(&format!("overwriting {} would delete a file that is no data: {relative}", spec.path), help))
}

/// A mount point cannot be renamed, so it cannot be replaced in one step.
#[cfg(unix)]
fn check_mount(spec: &SinkSpec, target: &LocalTarget) -> Result<(), PlanError> {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev()).ok();
    if spec.mode != SinkMode::Append && device(&target.path) != device(target.parent()) {
        let what = format!("{} is the root of a filesystem and cannot be replaced", spec.path);
        return Err(spec.invalid(&what, "use a folder inside of it"));
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_mount(_spec: &SinkSpec, _target: &LocalTarget) -> Result<(), PlanError> {
    Ok(())
}

/// Whether this user may write to `folder`, for `what`: creates and removes a folder in it, or in the nearest one above that
/// exists.
pub fn check_writable(what: &str, folder: &Path) -> Result<(), PlanError> {
    let above = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let probe = above.join(format!(".tandem-check-{}-{what:p}", std::process::id()));
    let written = fs::create_dir(&probe).and_then(|()| fs::remove_dir(&probe));
    written.map_err(|error| PlanError::Invalid {
        message: format!("{what}: cannot write to {}: {error}", above.display()),
        help: Some("choose a folder that this user may write to".to_owned()),
    })
}

async fn check_object(spec: &SinkSpec, target: &ObjectTarget) -> Result<(), PlanError> {
    let refused =
        |error: StoreError| PlanError::Storage(format!("sink `{}`: {}", spec.name, describe(&error, &spec.path)));
    if target.single_file {
        match target.store.head(&target.key).await {
            Ok(_) => refuse_existing(spec)?,
            Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(refused(error)),
        }
    } else if spec.mode != SinkMode::Append {
        let mut listed = target.store.list(Some(&target.key));
        while let Some(object) = listed.try_next().await.map_err(refused)? {
            let relative = relative_key(&target.key, &object.location);
            check_existing(spec, &relative)?;
            check_replaceable(spec, &relative)?;
        }
    }
    // An upload that is begun and ended shows the right to write without leaving an object.
    let probe = target.meta_folder().join("check");
    let upload = target.uploads.create_multipart(&probe).await.map_err(refused)?;
    target.uploads.abort_multipart(&probe, &upload).await.map_err(refused)
}

fn relative_key(prefix: &Key, key: &Key) -> String {
    key.as_ref().strip_prefix(prefix.as_ref()).unwrap_or(key.as_ref()).trim_start_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow::datatypes::{DataType, Field, IntervalUnit};
    use object_store::memory::InMemory;
    use url::Url;

    use super::*;
    use crate::sink::SinkFormat;

    fn sink(path: &str, mode: SinkMode) -> SinkSpec {
        let format = SinkFormat::from_path(path).unwrap_or(SinkFormat::Parquet);
        SinkSpec { mode, ..SinkSpec::new("s", path, format) }
    }

    async fn check(path: &Path, mode: SinkMode) -> Result<(), String> {
        let spec = sink(path.to_str().unwrap(), mode);
        check_target(&spec, &Arc::new(Storage::new(BTreeMap::new()))).await.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn error_mode_refuses_what_is_there_but_markers() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        check(&target, SinkMode::Error).await.unwrap();
        fs::create_dir_all(target.join("_tandem")).unwrap();
        check(&target, SinkMode::Error).await.unwrap();
        fs::write(target.join(".hidden"), "x").unwrap();
        assert!(check(&target, SinkMode::Error).await.unwrap_err().contains("holds data already"));
        fs::remove_file(target.join(".hidden")).unwrap();
        fs::write(target.join("part.parquet"), "x").unwrap();
        assert!(check(&target, SinkMode::Error).await.unwrap_err().contains("holds data already"));
        check(&target, SinkMode::Append).await.unwrap();
        check(&target, SinkMode::Overwrite).await.unwrap();
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["out"], "a check leaves nothing");
    }

    #[tokio::test]
    async fn overwrite_refuses_folders_that_are_no_table() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        let refused = async |name: &str| {
            let path = target.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "x").unwrap();
            let result = check(&target, SinkMode::Overwrite).await;
            fs::remove_dir_all(&target).unwrap();
            result.err()
        };
        for name in ["notes.txt", "deep/Makefile", ".git/x.json", "_delta_log/0.json", ".bashrc"] {
            let error = refused(name).await.unwrap();
            assert!(error.contains("would delete a file that is no data") && error.contains(name), "{error}");
        }
        assert!(refused("rejects/_tandem/manifest-1.json").await.unwrap().contains("another table"));
        for name in ["_SUCCESS", "a.parquet", "day=1/.part.parquet.crc", "_tandem/manifest-1.json", "_x=1/a.csv.gz"] {
            assert_eq!(refused(name).await, None, "{name}");
        }
    }

    #[tokio::test]
    async fn files_and_folders_are_not_mistaken_for_each_other() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("plain"), "x").unwrap();
        fs::create_dir(folder.path().join("out.csv")).unwrap();
        let error = check(&folder.path().join("plain"), SinkMode::Overwrite).await.unwrap_err();
        assert!(error.contains("is a file, not a folder"), "{error}");
        let error = check(&folder.path().join("out.csv"), SinkMode::Overwrite).await.unwrap_err();
        assert!(error.contains("is a folder, not a file"), "{error}");
        let error = check(&folder.path().join("plain/below"), SinkMode::Overwrite).await.unwrap_err();
        assert!(error.contains("sink `s`"), "{error}");
    }

    #[tokio::test]
    async fn a_bucket_is_checked_in_the_same_way() {
        let url = Url::parse("s3://bucket/").unwrap();
        let storage = Arc::new(Storage::new(BTreeMap::new()));
        let bucket = Arc::new(InMemory::new());
        storage.register_bucket(&url, bucket.clone());
        let check =
            async |mode| check_target(&sink("s3://bucket/t", mode), &storage).await.map_err(|error| error.to_string());
        check(SinkMode::Error).await.unwrap();
        bucket.put(&Key::from("t/a.parquet"), "x".into()).await.unwrap();
        assert!(check(SinkMode::Error).await.unwrap_err().contains("holds data already"));
        check(SinkMode::Overwrite).await.unwrap();
        bucket.put(&Key::from("t/notes.txt"), "x".into()).await.unwrap();
        assert!(check(SinkMode::Overwrite).await.unwrap_err().contains("no data"));
        check(SinkMode::Append).await.unwrap();
    }

    #[test]
    fn sinks_keep_away_from_each_other_and_from_sources() {
        let sinks = |paths: &[&str]| paths.iter().map(|path| sink(path, SinkMode::Overwrite)).collect::<Vec<_>>();
        let source = |path: &str| vec![("events".to_owned(), path.to_owned())];
        let cases: [(&[&str], &str, Option<&str>); 14] = [
            (&["/o/curated", "/o/rejects"], "/d/x.csv", None),
            (&["/o/curated", "/o/curated2"], "/d/x.csv", None),
            (&["/o", "/o/rejects"], "/d/x.csv", Some("overlap")),
            (&["/o/", "/o"], "/d/x.csv", Some("overlap")),
            (&["/d"], "/d/x.csv", Some("would replace")),
            (&["/d/x.csv"], "/d/x.csv", Some("would replace")),
            (&["/d/out"], "/d/", Some("is inside of")),
            (&["/d/out"], "/d/**/*.csv", Some("is inside of")),
            (&["/d/out"], "/d/*.csv", None),
            (&["/d/out.csv"], "/d/*.csv", Some("is inside of")),
            (&["/d/out"], "/d/*/a.csv", Some("is inside of")),
            (&["/d/x[1]"], "/d/x[1]/*.csv", Some("would replace")),
            (&["/d/out"], "/d/[a]/x.csv", None),
            (&["s3://b/o"], "s3://b/in/*.csv", None),
        ];
        let storage = Storage::new(BTreeMap::new());
        for (paths, path, expected) in cases {
            let result = check_separate(&sinks(paths), &source(path), &[], &storage).map_err(|error| error.to_string());
            match expected {
                None => assert_eq!(result, Ok(()), "{paths:?} {path}"),
                Some(text) => assert!(result.clone().unwrap_err().contains(text), "{paths:?} {path}: {result:?}"),
            }
        }
    }

    #[test]
    fn links_do_not_hide_what_a_source_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        fs::create_dir_all(path("data/in")).unwrap();
        fs::write(path("data/in/a.csv"), "a\n1\n").unwrap();
        std::os::unix::fs::symlink(path("data"), path("link")).unwrap();
        std::os::unix::fs::symlink(path("data/in/a.csv"), path("latest.csv")).unwrap();
        let storage = Storage::new(BTreeMap::new());
        for (target, read, expected) in [
            ("link/in", "data/in/*.csv", Some("would replace")),
            ("data/in", "link/in/*.csv", Some("would replace")),
            ("data", "latest.csv", Some("would replace")),
            ("link/in/new", "data/in", Some("is inside of")),
            ("data/in/new.csv", "link/in/*.csv", Some("is inside of")),
            ("link/out", "data/in", None),
        ] {
            let sinks = [sink(&path(target), SinkMode::Overwrite)];
            let result = check_separate(&sinks, &[("events".to_owned(), path(read))], &[], &storage);
            let error = result.err().map(|error| error.to_string()).unwrap_or_default();
            assert_eq!(!error.is_empty(), expected.is_some(), "{target} {read}: {error}");
            assert!(error.contains(expected.unwrap_or_default()), "{target} {read}: {error}");
        }
        let report = [path("link/in/report/summary.json")];
        let sources = [("events".to_owned(), path("data/in"))];
        let error = check_separate(&[], &sources, &report, &storage).unwrap_err().to_string();
        assert!(error.starts_with("report: ") && error.contains("source `events`"), "{error}");
        let sinks = [sink(&path("data/in"), SinkMode::Overwrite)];
        let error = check_separate(&sinks, &[], &report, &storage).unwrap_err().to_string();
        assert!(error.starts_with("report: ") && error.contains("sink `s`"), "{error}");
        let sinks = [sink(&path("data/out.json"), SinkMode::Overwrite)];
        check_separate(&sinks, &[("events".to_owned(), path("data/*.csv"))], &[path("data/summary.json")], &storage)
            .unwrap();
    }

    #[test]
    fn columns_that_a_format_cannot_hold_are_named() {
        let list = DataType::List(Arc::new(Field::new("item", DataType::Int64, true)));
        let schema = Schema::new(vec![Field::new("a", DataType::Int64, true), Field::new("l", list, true)]);
        let error = check_schema(&sink("/o.csv", SinkMode::Error), &schema).unwrap_err().to_string();
        assert!(error.contains("csv cannot hold column `l`"), "{error}");
        check_schema(&sink("/o.parquet", SinkMode::Error), &schema).unwrap();

        let span = DataType::Interval(IntervalUnit::MonthDayNano);
        for interval in [span.clone(), DataType::new_list(span, true)] {
            let schema = Schema::new(vec![Field::new("age", interval.clone(), true)]);
            let error = check_schema(&sink("/o.parquet", SinkMode::Error), &schema).unwrap_err().to_string();
            assert!(error.contains(&format!("parquet cannot hold column `age` of type {interval}")), "{error}");
            check_schema(&sink("/o.arrow", SinkMode::Error), &schema).unwrap();
        }
    }
}
