//! `tandem self-test`: tasks on all workers estimate pi, and it is shown which worker ran how many.

use tandem_proto::{JobId, v1};

use super::attached::{self, Interrupts, OnInterrupt};
use super::job::logs;
use super::session::Session;
use super::{Failure, verify};
use crate::executor::SELF_TEST;
use crate::output::tell;

#[derive(Debug, clap::Args)]
pub(super) struct SelfTestArgs {
    /// Tasks to run
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    tasks: u64,
    /// Random points that each of them throws
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    samples: u64,
    /// Fail with fewer workers than this
    #[arg(long, value_name = "N", default_value_t = 1)]
    min_nodes: u32,
}

pub(super) async fn execute(args: &SelfTestArgs, session: &Session) -> Result<(), Failure> {
    let client = session.connect().await?;
    verify::check_cluster(&client, args.min_nodes).await?;
    let program = v1::Program {
        args: vec![SELF_TEST.to_owned(), args.tasks.to_string(), args.samples.to_string()],
        ..v1::Program::default()
    };
    let work = Some(v1::job_spec::Work::Program(program));
    let spec = v1::JobSpec { name: SELF_TEST.to_owned(), work, ..v1::JobSpec::default() };
    let submitted = client.submit(attached::submission(spec, true)).await?;
    let id = JobId(submitted.job);
    let mut interrupts = Interrupts::new()?;
    logs::beside(&client, id, attached::follow(&client, id, &mut interrupts, OnInterrupt::Stop)).await?;
    tell!("ok: {} tasks ran and gave the right answer", args.tasks);
    Ok(())
}
