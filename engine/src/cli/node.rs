//! `tandem node list | get | drain`.

use clap::Subcommand;

use super::{Exit, Failure, session::Session};
use crate::output::{NodeView, print_list, print_one};

#[derive(Debug, Subcommand)]
pub(super) enum NodeCommand {
    /// All workers
    List,
    /// One worker
    Get {
        /// Its name or id
        node: String,
    },
    /// Give a worker no more tasks and let it leave
    Drain {
        /// Its name or id
        node: String,
    },
}

pub(super) async fn execute(command: NodeCommand, session: &Session) -> Result<(), Failure> {
    let client = session.connect().await?;
    match command {
        NodeCommand::List => {
            let mut nodes = client.nodes().await?;
            nodes.sort_by(|left, right| (&left.name, left.worker).cmp(&(&right.name, right.worker)));
            let nodes: Vec<NodeView> = nodes.into_iter().map(NodeView::from).collect();
            print_list(session.format(), &nodes)
        }
        NodeCommand::Get { node } => {
            let mut nodes = client.nodes().await?.into_iter().map(NodeView::from);
            let found = nodes.find(|view| view.is_called(&node));
            let found = found.ok_or_else(|| Failure::new(Exit::NotFound, format!("no such node: {node}")))?;
            print_one(session.format(), &found)
        }
        NodeCommand::Drain { node } => print_one(session.format(), &NodeView::from(client.drain(&node).await?)),
    }
}
