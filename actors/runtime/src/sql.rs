//! Statements of executors: their object tables are copied out of the arena, their rows copied into it.

use std::sync::Arc;

use bytes::Bytes;
use tandem_actor_protocol::node::SqlRequest;
use tandem_actor_protocol::value::{Format, Value};
use tandem_actor_protocol::{ExecutorId, JobId};
use tandem_node::Event;
use tokio::sync::mpsc;

use crate::handle::Access;
use crate::inbox::Inbound;
use crate::outside::{Outside, SqlQuery};
use crate::room::{Room, Source};

/// A statement and where its tables are.
pub(crate) struct Statement {
    pub(crate) executor: ExecutorId,
    pub(crate) job: JobId,
    pub(crate) request: SqlRequest,
    pub(crate) tables: Vec<(String, Vec<Source>)>,
}

/// Runs a statement and tells the node.
pub(crate) async fn run(outside: Arc<dyn Outside>, access: Access, statement: Statement) {
    let (executor, request) = (statement.executor, statement.request.request);
    let rows = rows(&*outside, &access, statement).await;
    // The rooms are given back when the node knows what is in them.
    let (rooms, outcome) = match rows {
        Ok(rows) => {
            let (rooms, values): (Vec<Room>, Vec<(u64, Value)>) = rows
                .into_iter()
                .map(|(room, value)| {
                    let ticket = room.ticket();
                    (room, (ticket, value))
                })
                .unzip();
            (rooms, Ok(values))
        }
        Err(reason) => (Vec::new(), Err(reason)),
    };
    access.send(Inbound::Event(Event::SqlDone { executor, request, outcome }));
    drop(rooms);
}

async fn rows(outside: &dyn Outside, access: &Access, statement: Statement) -> Result<Vec<(Room, Value)>, String> {
    let Statement { job, request, tables, .. } = statement;
    let tables = read(tables).await.map_err(|error| format!("an object cannot be read: {error}"))?;
    // While one part is written, the next may be made.
    let (sender, streams) = mpsc::channel(1);
    let ((), rows) =
        tokio::try_join!(outside.sql(job, SqlQuery { request, tables }, sender), keep(access, job, streams))?;
    Ok(rows)
}

/// Writes each stream to the arena of a job, until there are no more.
async fn keep(
    access: &Access,
    job: JobId,
    mut streams: mpsc::Receiver<Vec<Bytes>>,
) -> Result<Vec<(Room, Value)>, String> {
    let mut rows = Vec::new();
    while let Some(parts) = streams.recv().await {
        let bytes = parts.iter().map(|part| part.len() as u64).sum();
        let room = access.space(job, bytes).await.map_err(|failure| failure.to_string())?;
        let value = room.write(Format::Arrow, parts).await;
        rows.push((room, value.map_err(|error| format!("rows cannot be kept: {error}"))?));
    }
    Ok(rows)
}

async fn read(tables: Vec<(String, Vec<Source>)>) -> std::io::Result<Vec<(String, Vec<Bytes>)>> {
    let mut copied = Vec::with_capacity(tables.len());
    for (name, sources) in tables {
        let mut streams = Vec::with_capacity(sources.len());
        for source in sources {
            streams.push(source.read().await?.bytes);
        }
        copied.push((name, streams));
    }
    Ok(copied)
}
