//! Jobs that this worker submits on behalf of programs.

use tandem_client::Client;
use tandem_proto::transport::ClientSecurity;
use tandem_proto::v1::job_spec::Work;
use tandem_proto::v1::{JobProgram, JobSpec};

use crate::coordinator::CoordinatorCalls;

/// A client over the connection that this worker has. With `security` it connects to other workers.
///
/// # Errors
/// When there will be no connection, in words.
pub(super) async fn client(coordinator: &CoordinatorCalls, security: ClientSecurity) -> Result<Client, String> {
    let channel = coordinator.connected().await.map_err(|status| status.message().to_owned())?;
    Ok(Client::over(channel, "the coordinator", security))
}

/// A job with the variables of the program that asks for it.
pub(super) fn spec(program: JobProgram, name: String, work: Work) -> JobSpec {
    let JobProgram { environment, secret_names, .. } = program;
    let (secrets, environment) = environment.into_iter().partition(|(name, _)| secret_names.contains(name));
    JobSpec { name, work: Some(work), environment, secrets, ..JobSpec::default() }
}
