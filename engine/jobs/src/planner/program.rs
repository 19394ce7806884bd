//! Plans a program: one stage of one task, the driver. What it does is its own business.

use tandem_exec::error::PlanError;
use tandem_graph::{Stage, StageGraph};
use tandem_proto::v1;

use crate::planned::{PlannedJob, PlannedProgram};

/// Length of a SHA-256 in hexadecimal.
const HASH_DIGITS: usize = 64;

pub(super) fn plan(spec: &v1::JobSpec, program: &v1::Program) -> Result<PlannedJob, PlanError> {
    let driver = match program.driver() {
        v1::DriverPlace::Unspecified => Stage::driver(),
        v1::DriverPlace::Client => Stage::client_driver(),
    };
    Ok(PlannedJob {
        name: if spec.name.is_empty() { "program".to_owned() } else { spec.name.clone() },
        graph: StageGraph { stages: vec![driver] },
        environment: spec.environment.clone().into_iter().collect(),
        secrets: spec.secrets.clone().into_iter().collect(),
        retries: spec.retries,
        timeout_ms: (spec.timeout_ms > 0).then_some(spec.timeout_ms),
        program: Some(checked(program)?),
        ..PlannedJob::default()
    })
}

/// The program, if its package can be one.
///
/// # Errors
/// When the package is named by something other than its hash.
pub(super) fn checked(program: &v1::Program) -> Result<PlannedProgram, PlanError> {
    let hash = &program.package;
    let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let is_hash = hash.len() == HASH_DIGITS && hash.bytes().all(lower);
    if hash.is_empty() || is_hash {
        Ok(program.clone().into())
    } else {
        Err(PlanError::invalid(format!("`{hash}` is not the SHA-256 of a package")))
    }
}

#[cfg(test)]
mod tests {
    use tandem_graph::StageRole;

    use super::*;

    #[test]
    fn a_program_is_one_task_with_the_variables_of_its_job() {
        let spec = v1::JobSpec {
            name: "pi".to_owned(),
            environment: [("MODE".to_owned(), "full".to_owned())].into(),
            secrets: [("KEY".to_owned(), "hunter2".to_owned())].into(),
            retries: 2,
            timeout_ms: 5,
            ..v1::JobSpec::default()
        };
        let mut program = v1::Program {
            package: "0a".repeat(32),
            args: vec!["-n".to_owned()],
            path: "/pi".to_owned(),
            ..v1::Program::default()
        };
        let planned = plan(&spec, &program).unwrap();
        assert_eq!((planned.name.as_str(), planned.retries, planned.timeout_ms), ("pi", 2, Some(5)));
        assert_eq!((planned.environment["MODE"].as_str(), planned.secrets["KEY"].as_str()), ("full", "hunter2"));
        assert_eq!(planned.graph.stages.len(), 1);
        assert_eq!(planned.graph.stages[0].role, StageRole::Driver);
        assert_eq!(planned.program.map(v1::Program::from), Some(program.clone()));
        program.set_driver(v1::DriverPlace::Client);
        assert_eq!(plan(&spec, &program).unwrap().graph.stages[0].role, StageRole::ClientDriver);
    }

    #[test]
    fn a_package_is_named_by_its_hash() {
        for package in ["../../etc/passwd".to_owned(), "0A".repeat(32), "0a".repeat(31)] {
            let program = v1::Program { package, ..v1::Program::default() };
            assert!(plan(&v1::JobSpec::default(), &program).is_err(), "{program:?}");
        }
    }
}
