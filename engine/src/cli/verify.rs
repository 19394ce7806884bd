//! `tandem verify`: the cluster has its workers, they can be reached, and a query that shuffles answers right.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use tandem_client::Client;
use tandem_proto::{JobId, v1};

use super::session::Session;
use super::{Failure, attached};
use crate::output::units::format_counted;
use crate::output::{ClusterView, OutputFormat, print_one, tell};

#[derive(Debug, clap::Args)]
pub(super) struct VerifyArgs {
    /// Fail with fewer workers than this
    #[arg(long, value_name = "N", default_value_t = 1)]
    min_nodes: u32,
}

/// Three groups, so that rows move between tasks; the sums are 12, 15 and 18.
const STATEMENT: &str = "SELECT k, sum(v) AS total FROM (VALUES (1, 1), (2, 2), (3, 3), (1, 4), (2, 5), (3, 6), (1, 7), \
                         (2, 8), (3, 9)) AS t(k, v) GROUP BY k ORDER BY k";
const TOTALS: [i64; 3] = [12, 15, 18];

pub(super) async fn execute(args: &VerifyArgs, session: &Session) -> Result<(), Failure> {
    let client = session.connect().await?;
    let cluster = check_cluster(&client, args.min_nodes).await?;
    let totals = totals(&client).await?;
    if totals != TOTALS {
        return Err(Failure::failed(format!("a query answered {totals:?} instead of {TOTALS:?}")));
    }
    tell!("ok: a query over all stages gives the right answer");
    match session.format() {
        OutputFormat::Table => Ok(()),
        format => print_one(format, &ClusterView::new(client.address(), cluster)),
    }
}

/// The cluster is of this version and has so many workers.
pub(super) async fn check_cluster(client: &Client, min_nodes: u32) -> Result<v1::ClusterStatus, Failure> {
    let cluster = client.cluster().await?;
    if cluster.version != tandem_proto::VERSION {
        let message = format!("the cluster is version {}, this is {}", cluster.version, tandem_proto::VERSION);
        return Err(Failure::failed(message));
    }
    let workers = format_counted(cluster.nodes_ready, "worker");
    if cluster.nodes_ready < min_nodes {
        let message = format!("{workers} ready, {min_nodes} needed");
        return Err(Failure::failed(message).with_help("`tandem node list` shows the workers"));
    }
    tell!("ok: {workers} with {} ready", format_counted(cluster.slots, "slot"));
    Ok(cluster)
}

async fn totals(client: &Client) -> Result<Vec<i64>, Failure> {
    let query = v1::Query { sql: STATEMENT.to_owned(), base_dir: "/".to_owned(), ..Default::default() };
    let work = Some(v1::job_spec::Work::Query(query));
    let spec = v1::JobSpec { name: "verify".to_owned(), work, ..Default::default() };
    let submitted = client.submit(attached::submission(spec, true)).await?;
    let mut results = client.results(JobId(submitted.job)).await?;
    let mut totals = Vec::new();
    while let Some(batch) = results.next_batch().await? {
        totals.extend(sums(&batch)?);
    }
    Ok(totals)
}

fn sums(batch: &RecordBatch) -> Result<Vec<i64>, Failure> {
    let column = batch.column_by_name("total").and_then(|column| column.as_primitive_opt::<Int64Type>().cloned());
    let column = column.ok_or_else(|| Failure::failed("a query answered with other columns than it asked for"))?;
    Ok(column.values().to_vec())
}
