//! The variables of a process: those that the worker gives all jobs, over these the job's, over these the task's, and few more.
//! Nothing of the worker's own environment gets through. Pure.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use tandem_actor_protocol::{ExecutorId, WorkerId};
use tandem_node::ExecutorNeeds;

use crate::outside::JobProgram;

/// Says that the process was started by a worker. Cannot be set by a job.
pub(crate) const EXECUTOR: &str = "TANDEM_EXECUTOR";
/// By which worker, and as which executor: what such a process starts has it too.
pub(crate) const EXECUTOR_OF: &str = "TANDEM_EXECUTOR_OF";
/// The folder with the files that are attached to the program.
const FILES: &str = "TANDEM_FILES";
const GPUS: &str = "CUDA_VISIBLE_DEVICES";
const PATH: &str = "PATH";
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// What [`EXECUTOR_OF`] says.
pub(crate) fn executor_of(worker: WorkerId, executor: ExecutorId) -> String {
    format!("{worker}/{}", executor.0)
}

/// All variables of a process that runs `program` in `folder` as `executor_of`.
pub(crate) fn environment(
    program: &JobProgram,
    needs: &ExecutorNeeds,
    of_worker: &BTreeMap<String, String>,
    folder: &Path,
    path: Option<OsString>,
    executor_of: &str,
) -> BTreeMap<OsString, OsString> {
    let mut all = BTreeMap::from([
        (PATH.into(), path.unwrap_or_else(|| DEFAULT_PATH.into())),
        ("HOME".into(), folder.into()),
        ("TMPDIR".into(), folder.into()),
    ]);
    let given = of_worker.iter().chain(&program.environment).chain(&needs.environment);
    // What no process can have must not keep it from starting.
    let given = given.filter(|(name, value)| !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0'));
    all.extend(given.map(|(name, value)| (name.into(), value.into())));
    let gpus: Vec<String> = needs.gpus.iter().map(u32::to_string).collect();
    all.extend([
        (GPUS.into(), gpus.join(",").into()),
        (EXECUTOR.into(), "1".into()),
        (EXECUTOR_OF.into(), executor_of.into()),
    ]);
    all.remove(OsStr::new(FILES));
    all.extend(program.files.iter().map(|folder| (FILES.into(), folder.into())));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_has_its_own_variables_and_cannot_set_those_of_the_worker() {
        let program = JobProgram {
            executable: "/bin/true".into(),
            files: Some("/files".into()),
            environment: [
                ("A", "job"),
                ("B", "job"),
                (EXECUTOR, "0"),
                (FILES, "/"),
                ("HOME", "/h"),
                ("X=Y", "1"),
                ("N", "\0"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
            secret_names: Vec::new(),
            job_name: String::new(),
        };
        let needs = ExecutorNeeds {
            environment: [("B".to_owned(), "task".to_owned())].into(),
            gpus: vec![2, 0],
            ..ExecutorNeeds::default()
        };
        let of_worker =
            [("A", "worker"), ("W", "worker")].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let all = environment(&program, &needs, &of_worker, Path::new("/folder"), Some("/p".into()), "w1/2");
        let all: Vec<(&str, &str)> =
            all.iter().map(|(name, value)| (name.to_str().expect("text"), value.to_str().expect("text"))).collect();
        let expected = [
            ("A", "job"),
            ("B", "task"),
            (GPUS, "2,0"),
            ("HOME", "/h"),
            ("PATH", "/p"),
            (EXECUTOR, "1"),
            (EXECUTOR_OF, "w1/2"),
            (FILES, "/files"),
            ("TMPDIR", "/folder"),
            ("W", "worker"),
        ];
        assert_eq!(all, expected);
    }
}
