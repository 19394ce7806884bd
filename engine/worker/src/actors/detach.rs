//! Starts an actor as a job of its own, which is that actor and nothing else, on behalf of the program that made it.

use std::time::Duration;

use tandem_actor_protocol::call::ActorSpec;
use tandem_actor_protocol::{JobId, encode};
use tandem_client::{ClientError, Submission, ended};
use tandem_node::Found;
use tandem_proto::transport::ClientSecurity;
use tandem_proto::v1::job_spec::Work;
use tandem_proto::v1::{FindNameRequest, JobSpec, Program};

use super::names::found;
use super::submit;
use crate::coordinator::CoordinatorCalls;

/// How often it is looked whether the actor has its name.
const POLL: Duration = Duration::from_millis(20);

/// Starts it, and waits until it can be found.
///
/// # Errors
/// Why it cannot, in words.
pub(super) async fn detach(coordinator: &CoordinatorCalls, job: JobId, spec: ActorSpec) -> Result<Found, String> {
    let (namespace, name) = (spec.options.namespace.clone(), spec.options.name.clone());
    // It connects to no worker.
    let client = submit::client(coordinator, ClientSecurity { token: None, ca_pem: None }).await?;
    let submission = Submission {
        // One that is asked for again is the same.
        submission_id: format!("detached-{}", spec.actor),
        spec: job_spec(coordinator, job, spec).await?,
        attached: false,
    };
    let own = JobId(client.submit(submission).await.map_err(|error| error.to_string())?.job);
    let mut follow = client.follow(own).await.map_err(|error| error.to_string())?;
    loop {
        let request = FindNameRequest { job: job.0, namespace: namespace.clone(), name: name.clone() };
        let named = coordinator.find_name(request).await.map_err(|status| status.message().to_owned())?;
        if named.job == own.0
            && let Some(found) = found(named)
        {
            return Ok(found);
        }
        let Ok(status) = tokio::time::timeout(POLL, follow.next_status()).await else { continue };
        match status.map_err(|error| error.to_string())?.map(ended) {
            Some(Err(ClientError::JobFailed { failure, .. })) => return Err(failure.cause),
            Some(Err(ClientError::JobStopped { reason, .. })) => return Err(reason),
            Some(Ok(_)) | None => return Err("it has ended before it was found".to_owned()),
            // It has not ended.
            Some(Err(_)) => {}
        }
    }
}

/// The job that is this actor, with the package, its files and the variables of the one that makes it.
async fn job_spec(coordinator: &CoordinatorCalls, job: JobId, spec: ActorSpec) -> Result<JobSpec, String> {
    let mut made_by = coordinator.program(job).await.map_err(|status| status.message().to_owned())?;
    let Program { package, path, files, .. } = made_by.program.take().unwrap_or_default();
    let name = format!("{}/{}", spec.options.namespace, spec.options.name);
    let program = Program { package, path, files, actor: encode(&spec), ..Program::default() };
    Ok(submit::spec(made_by, name, Work::Program(program)))
}
