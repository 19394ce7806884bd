//! What is asked and answered: a line with the path of a query, a line with the number of its rows or with what went wrong.

use std::path::Path;

use anyhow::{anyhow, ensure};
use datafusion::prelude::SessionContext;
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::signal::unix::{SignalKind, signal};

/// Answers until standard input is closed or the program is told to end.
pub async fn answer_all(context: &SessionContext) -> anyhow::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        end = converse(context) => end,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

async fn converse(context: &SessionContext) -> anyhow::Result<()> {
    let mut questions = BufReader::new(stdin()).lines();
    println!("ready");
    while let Some(path) = questions.next_line().await? {
        tokio::select! {
            rows = rows(context, Path::new(&path)) => println!("{}", said(rows)),
            // Nobody waits for the answer any more.
            next = questions.next_line() => {
                ensure!(next?.is_none(), "a question came before the answer to the one before it");
                return Ok(());
            }
        }
    }
    Ok(())
}

async fn rows(context: &SessionContext, query: &Path) -> anyhow::Result<usize> {
    let sql = std::fs::read_to_string(query).map_err(|error| anyhow!("{}: {error}", query.display()))?;
    let batches = context.sql(&sql).await?.collect().await?;
    Ok(batches.iter().map(|batch| batch.num_rows()).sum())
}

/// The answer, on one line.
fn said(rows: anyhow::Result<usize>) -> String {
    match rows {
        Ok(rows) => rows.to_string(),
        // An engine's error says itself what it comes from.
        Err(error) => error.to_string().lines().collect::<Vec<_>>().join(" "),
    }
}
