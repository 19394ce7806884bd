//! What programs are started with.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Either what to answer questions about, or which part of the cluster to be.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub struct Arguments<Part: Subcommand> {
    #[command(flatten)]
    pub given: Option<Given>,
    #[command(subcommand)]
    pub part: Option<Part>,
}

/// As the scripts in the folder above take it.
#[derive(Debug, Args)]
pub struct Given {
    /// Folder of Parquet files, one of each table
    #[arg(long)]
    pub data: PathBuf,
    /// Slots of all workers together
    #[arg(long)]
    pub threads: usize,
}

impl Given {
    /// How many slots each worker gets: there are two of them if there is something to do for two.
    pub fn slots(&self) -> impl Iterator<Item = usize> {
        [self.threads.div_ceil(2), self.threads / 2].into_iter().filter(|slots| *slots > 0)
    }

    /// Names and paths of the tables.
    pub fn tables(&self) -> anyhow::Result<Vec<(String, String)>> {
        let mut tables = Vec::new();
        for entry in std::fs::read_dir(&self.data)? {
            let path = entry?.path();
            if let (Some(name), Some("parquet")) = (stem(&path), path.extension().and_then(|text| text.to_str())) {
                tables.push((name, path.display().to_string()));
            }
        }
        Ok(tables)
    }
}

fn stem(path: &std::path::Path) -> Option<String> {
    Some(path.file_stem()?.to_str()?.to_owned())
}
