//! Statements of executors. One over files alone is a query of the cluster; one that reads objects too runs on this worker, where
//! they are. Either way its rows become objects here.

mod alone;
mod cluster;
mod objects;

use bytes::Bytes;
use tandem_proto::v1;
use tandem_runtime::SqlQuery;
use tokio::sync::mpsc;

use objects::Objects;

pub(crate) use alone::Alone;
pub(crate) use cluster::Queries;

/// Why a statement has no rows, in words.
type Refused = String;

/// How statements are run.
#[derive(Debug)]
pub(crate) struct Statements {
    alone: Alone,
    queries: Queries,
}

impl Statements {
    /// By `queries` if they can be.
    pub(crate) fn new(alone: Alone, queries: Queries) -> Self {
        Self { alone, queries }
    }

    /// Runs a statement of `program`, whose variables have the credentials of storage. The rows go to `rows`, as
    /// [`Outside::sql`](tandem_runtime::Outside::sql) says.
    pub(super) async fn run(
        &self,
        program: v1::JobProgram,
        query: SqlQuery,
        rows: mpsc::Sender<Vec<Bytes>>,
    ) -> Result<(), Refused> {
        for (name, path) in &query.request.tables {
            // Where a program was written or submitted is not where its worker is.
            if !path.contains("://") && !path.starts_with('/') {
                return Err(format!("the path of table `{name}` is not absolute: {path}"));
            }
        }
        let objects = Objects::new(rows);
        if query.tables.is_empty() {
            self.queries.run(program, query.request, objects).await
        } else {
            self.alone.run(program.environment.into_iter().collect(), query, objects).await
        }
    }
}
