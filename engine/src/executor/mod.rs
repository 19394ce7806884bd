//! This binary as an executor: workers start it for the functions and programs that come with it, as they start a user's own
//! executable.

mod self_test;

use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use rustix::fs::{FileType, fstat};
use tandem::__private::{CallOutcome, Code, Function, Inputs, Outputs, inventory, returned};
use tandem::{Args, Batches, Context};
use tandem_exec::function::WorkDone;
use tandem_functions::{Amount, Work};

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
    let mut work = Work::default();
    let given = function.call(args, rows, &mut work)?;
    let columns = match given.first() {
        Some(batch) => batch.schema(),
        None => function.output(args, rows.schema())?,
    };
    // What was done goes with the rows.
    let columns = Arc::new(Schema::clone(&columns).with_metadata(WorkDone::to_metadata(&done(&work))));
    let given = given.into_iter().map(|batch| batch.with_schema(Arc::clone(&columns)));
    let given: Vec<RecordBatch> = given.collect::<Result<_, _>>()?;
    Ok(Batches::try_new(columns, given)?)
}

fn done(work: &Work) -> Vec<WorkDone> {
    let done = |(unit, device, amount): (&str, &str, Amount)| WorkDone {
        unit: unit.to_owned(),
        device: device.to_owned(),
        count: amount.count,
        elapsed_us: amount.time.as_micros() as u64,
    };
    work.iter().map(done).collect()
}
