//! Texts to vectors by an encoder of the shape of MiniLM-L6 with weights drawn by lot: Tandem beside ONNX Runtime and
//! sentence-transformers in each precision, one core each, and what a second core brings.

mod contest;
mod parity;
pub(crate) mod tandem;
mod texts;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tandem_kernels::encoder::Precision;

use crate::data;
use crate::peers::{Peer, Peers};
use crate::report::Report;
use crate::rounds::Took;
use contest::{Contest, Inputs};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Texts of a round
    #[arg(long, default_value_t = 256)]
    texts: usize,
    /// Rounds that count
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// What to compare with
    #[arg(long, value_delimiter = ',', default_value = "onnxruntime,sentence-transformers")]
    peers: Vec<Peer>,
    /// Where data and results are kept
    #[arg(long, default_value = "target/bench")]
    folder: PathBuf,
}

/// Embed all texts.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Question {
    /// Where the vectors are kept, as raw `f32` in the order of texts.
    vectors: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Answer {
    #[serde(flatten)]
    took: Took,
    /// Of all texts, with the first and the last one of each.
    tokens: usize,
    /// Additions and multiplications that they need; nobody else counts them.
    #[serde(default)]
    operations: f64,
}

const PRECISIONS: [Precision; 3] = [Precision::F32, Precision::Bf16, Precision::Int8];
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let folder = data::folder(&arguments.folder)?;
    let mut report = Report::new("embed");
    let peers = Peers::prepare("embed", &arguments.peers, &mut report)?;
    let model = model(&peers, &folder)?;
    let texts = folder.join("embed-texts");
    let vocabulary = std::fs::read_to_string(model.join("vocab.txt"))?;
    texts::write(&texts, &texts::generate(&vocabulary, arguments.texts)?)?;
    let mut contest = Contest::start(&peers, &Inputs { model: &model, texts: &texts }, &mut report)?;
    contest.compare(&folder, &mut report)?;
    for _ in 0..arguments.rounds {
        contest.round()?;
    }
    contest.lines()?.into_iter().for_each(|line| report.line(line));
    report.publish(&folder)
}

/// The folder of the model, and in it the graphs for ONNX Runtime if that takes part.
fn model(peers: &Peers, folder: &Path) -> anyhow::Result<PathBuf> {
    let model = data::made_once(folder.join("embed-model"), |part| data::run(peers.maker("embed_model")?.arg(part)))?;
    if peers.found().contains(&Peer::OnnxRuntime) {
        data::made_once(model.join("onnx"), |part| data::run(peers.maker("embed_onnx")?.arg(&model).arg(part)))?;
    }
    Ok(model)
}
