//! This binary as an executor: workers start it for the functions and programs that come with it, as they start a user's own
//! executable.

mod self_test;

use arrow::record_batch::RecordBatch;
use rustix::fs::{FileType, fstat};
use tandem::__private::{CallOutcome, Code, Function, Inputs, Outputs, inventory, returned};
use tandem::{Args, Batches, Context};

/// The first argument of the driver that tests the cluster; tasks and samples of each follow.
pub(crate) const SELF_TEST: &str = "self-test";

/// Set by a worker for the processes that it starts.
const EXECUTOR: &str = "TANDEM_EXECUTOR";

/// Whether a worker has started this process, with the link to it as its standard input. A command that a user's own function types has
/// the variable too.
pub(crate) fn is_one() -> bool {
    let linked =
        || fstat(std::io::stdin()).is_ok_and(|stdin| FileType::from_raw_mode(stdin.st_mode) == FileType::Socket);
    std::env::var_os(EXECUTOR).is_some() && linked()
}

/// Runs functions until the worker ends this process.
#[tandem::main]
pub(crate) async fn main(ctx: Context, args: Args) -> tandem::Result<()> {
    match args.parse::<String>(0) {
        Ok(program) if program == SELF_TEST => self_test::run(&ctx, &args).await,
        Ok(_) | Err(_) => tandem::bail!("the binary of the cluster is not a program to submit"),
    }
}

inventory::submit! {
    Function { name: tandem_functions::ENTRY, code: Code::Plain(run) }
}

fn run(mut inputs: Inputs, ctx: Context) -> CallOutcome {
    let rows: Batches = inputs.next("rows")?;
    let args: serde_json::Value = inputs.next("args")?;
    let name: String = inputs.next("name")?;
    inputs.end()?;
    let given = call(&name, &args.to_string(), &rows).map_err(returned)?;
    Outputs::one(&ctx, &given)
}

fn call(name: &str, args: &str, rows: &Batches) -> tandem::Result<Batches> {
    let function = tandem_functions::find(name);
    let function = function.ok_or_else(|| tandem::anyhow::anyhow!("this version has no function `{name}`"))?;
    let columns = function.output(args, rows.schema())?;
    let given: Vec<RecordBatch> = function.call(args, rows)?;
    Ok(Batches::try_new(columns, given)?)
}
