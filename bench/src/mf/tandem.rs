//! Tandem's part: trains when it is asked.

use std::path::PathBuf;

use clap::ValueEnum;
use tandem_kernels::Cpu;
use tandem_kernels::funk::{TrainOptions, Trainer, rmse};
use tandem_kernels::ials::{IalsOptions, IalsParams, stride, train};

use super::ratings::{Files, RANGE};
use super::{funk, ials};
use crate::floats;
use crate::rounds::{answer_each, timed};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[arg(long, value_enum)]
    model: Model,
    #[arg(long)]
    ratings: PathBuf,
    #[arg(long)]
    users: usize,
    #[arg(long)]
    items: usize,
    #[arg(long)]
    threads: usize,
}

/// What is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Model {
    Funk,
    Ials,
}

impl Model {
    /// As the command line calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Funk => "funk",
            Self::Ials => "ials",
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    match arguments.model {
        Model::Funk => answer_about_ratings(arguments),
        Model::Ials => answer_about_likes(arguments),
    }
}

fn answer_about_ratings(arguments: &Arguments) -> anyhow::Result<()> {
    let files = Files::at(arguments.ratings.clone());
    let (ratings, held_out) = (files.train()?, files.test()?);
    answer_each(|question: funk::Question| {
        let options = TrainOptions {
            learning_rate: question.learning_rate,
            regularization: question.regularization,
            spread: question.spread,
            seed: question.seed,
            ..TrainOptions::surprise(question.factors)
        };
        let mut trainer = Trainer::new(Cpu::best(), &ratings, arguments.users, arguments.items, &options)?;
        let (_, took) = timed(|| {
            for _ in 0..question.epochs {
                trainer.epoch(arguments.threads)?;
            }
            Ok(())
        })?;
        let model = trainer.model();
        let rmse = question.held_out.then(|| rmse(Cpu::best(), &model, &held_out, Some(RANGE))).transpose()?;
        Ok(funk::Answer { epoch: took.part(question.epochs), rmse, checksum: Some(model.checksum()) })
    })
}

fn answer_about_likes(arguments: &Arguments) -> anyhow::Result<()> {
    let liked = Files::at(arguments.ratings.clone()).liked()?;
    answer_each(|question: ials::Question| {
        let ials::Question { factors, iterations, alpha, regularization, spread, seed, .. } = question;
        let params = IalsParams { factors, alpha, regularization };
        let fit = |iterations| {
            let options = IalsOptions { params, iterations, spread, seed };
            Ok(train(Cpu::best(), &liked, arguments.users, arguments.items, &options, arguments.threads)?)
        };
        // What is done before the first iteration is in both.
        let (_, one) = timed(|| fit(1))?;
        let (model, all) = timed(|| fit(iterations))?;
        for (path, rows) in [(&question.users, &model.users), (&question.items, &model.items)] {
            floats::write(path, rows.chunks(stride(factors)).flat_map(|row| &row[..factors]).copied())?;
        }
        Ok(all.beyond(one).part(iterations - 1))
    })
}
