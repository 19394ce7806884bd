//! Tandem's part: embeds texts when it is asked.

use std::path::PathBuf;

use anyhow::Context;
use tandem_kernels::encoder::Precision;
use tandem_text::model::{Model, ModelPrecision};

use super::texts;
use super::{Answer, Question};
use crate::floats;
use crate::rounds::{answer_each, timed};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[arg(long)]
    model: PathBuf,
    #[arg(long)]
    texts: PathBuf,
    #[arg(long, default_value_t = 1)]
    threads: usize,
    #[arg(long, default_value_t = ModelPrecision::Only(Precision::F32))]
    precision: ModelPrecision,
    /// Texts are cut into tokens, and that is all
    #[arg(long)]
    tokens_only: bool,
}

/// How often all texts are cut into tokens, so that a clock that ticks in milliseconds can tell.
const REPEATS: u32 = 50;

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let model = Model::load(&arguments.model, arguments.precision)?;
    let texts = texts::read(&arguments.texts)?;
    answer_each(|Question { vectors }| {
        if arguments.tokens_only {
            let (tokens, took) = timed(|| Ok((0..REPEATS).map(|_| tokens(&model, &texts)).fold(0, usize::max)))?;
            return Ok(Answer { took: took.part(REPEATS), tokens, operations: 0.0 });
        }
        let (embeddings, took) = timed(|| Ok(model.embed(&texts, arguments.threads)?))?;
        if let Some(path) = vectors {
            floats::write(&path, embeddings.vectors().iter().copied())?;
        }
        let encoder = model.encoder().context("the model is on a device")?;
        let operations = (0..texts.len()).map(|text| encoder.operations(embeddings.tokens_of(text))).sum();
        Ok(Answer { took, tokens: embeddings.tokens(), operations })
    })
}

/// How many tokens texts have, cut where the model cuts them.
fn tokens(model: &Model, texts: &[String]) -> usize {
    let mut ids = Vec::new();
    for text in texts {
        model.tokenizer().encode(text, model.longest(), &mut ids);
    }
    ids.len()
}
