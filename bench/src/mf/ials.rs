//! iALS: iterations a second beside implicit's, and how good the recommendations are.
//!
//! Where factors start decides more about a model's NDCG than who trains it: models of two seeds differ by about 0.002. So the means
//! of many seeds are compared, by the standard error of their difference.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tandem_kernels::funk::{Rating, Side};
use tandem_kernels::ials::stride;
use tandem_kernels::rank::evaluate;
use tandem_kernels::{Cpu, Sparse};

use super::ratings::{RELEVANT, SMALL};
use super::tandem::Model;
use super::{Bench, Speed};
use crate::floats;
use crate::peers::Peer;
use crate::report::{Floor, Line, Report, TANDEM, Unit};
use crate::rounds::Took;

/// Train a model.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Question {
    pub(super) factors: usize,
    /// More than one.
    pub(super) iterations: u32,
    /// What one like adds to the confidence of its pair, which is 1 for pairs that never occurred.
    pub(super) alpha: f32,
    pub(super) regularization: f32,
    /// Standard deviation of factors at the start.
    pub(super) spread: f32,
    pub(super) seed: u64,
    /// Where the users' rows are kept, as raw `f32`.
    pub(super) users: PathBuf,
    /// Where the items' rows are kept.
    pub(super) items: PathBuf,
}

/// What one training gave.
struct Trained {
    iteration: Took,
    /// NDCG@10.
    ndcg: f64,
}

const FACTORS: usize = 20;
const ITERATIONS: u32 = 15;
/// Rounds, each with a seed of its own, unless more are asked for.
const SEEDS: usize = 12;
/// Standard errors by which the mean may be below implicit's: seeds alone make it so once in forty times.
const ERRORS_BELOW: f64 = 2.0;
/// Recommendations for each user.
const BEST: usize = 10;

pub(super) fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let mut rounds = bench.start(Model::Ials, &SMALL, [Peer::Implicit])?;
    let judge = Judge::new(bench)?;
    let seeds = bench.rounds.max(SEEDS);
    for seed in 0..seeds {
        for entry in &mut rounds.entries {
            let question = Question {
                factors: FACTORS,
                iterations: ITERATIONS,
                alpha: 1.0,
                regularization: 0.01,
                spread: 0.01,
                seed: seed as u64,
                users: bench.folder.join("mf-users"),
                items: bench.folder.join("mf-items"),
            };
            let iteration: Took = entry.ask(&question)?;
            let ndcg = judge.ndcg(&floats::read(&question.users)?, &floats::read(&question.items)?)?;
            eprintln!("{}, {} cores: {iteration:?}, NDCG@{BEST} {ndcg:.4}", entry.who, entry.task);
            entry.answers.push(Trained { iteration, ndcg });
        }
    }
    let name = format!("iALS, {:.1} M likes, {FACTORS} factors: iterations", judge.likes as f64 / 1e6);
    let speed = Speed { name: &name, amount: 1.0, times: &[(Peer::Implicit, 1.0)], two_cores: None };
    speed.lines(&rounds, |trained| trained.iteration)?.into_iter().for_each(|line| report.line(line));
    let found = rounds.with(1).map(|entry| {
        let ndcg: Vec<f64> = entry.answers.iter().map(|trained| trained.ndcg).collect();
        (entry.who.to_owned(), Mean::of(&ndcg))
    });
    compare_quality(&found.collect(), seeds, report)
}

/// Tells the means of all, and how far Tandem's is from implicit's.
fn compare_quality(found: &BTreeMap<String, Mean>, seeds: usize, report: &mut Report) -> anyhow::Result<()> {
    let line = |name: &str, number: fn(&Mean) -> f64| {
        let numbers = found.iter().map(|(who, mean)| (who.clone(), number(mean)));
        Line::among(name, Unit::Score, numbers.collect())
    };
    report.line(line(&format!("… NDCG@{BEST} of what is held out, mean of {seeds} seeds"), |mean| mean.mean)?);
    report.line(line("… standard error of that mean", |mean| mean.error)?);
    let peer = Peer::Implicit.name();
    if let (Some(ours), Some(theirs)) = (found.get(TANDEM), found.get(peer)) {
        let errors = Line::of(format!("… above {peer}'s, in standard errors"), Unit::Score, ours.above(theirs));
        report.line(errors.with_floor(Floor::AtLeast(-ERRORS_BELOW)));
    }
    Ok(())
}

/// The mean of what seeds gave.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Mean {
    mean: f64,
    /// Its standard error.
    error: f64,
}

impl Mean {
    /// Of two numbers or more.
    fn of(numbers: &[f64]) -> Self {
        let count = numbers.len() as f64;
        let mean = numbers.iter().sum::<f64>() / count;
        let squares: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
        Self { mean, error: (squares / (count - 1.0) / count).sqrt() }
    }

    /// By how many standard errors of the difference it is above another.
    fn above(&self, other: &Self) -> f64 {
        (self.mean - other.mean) / self.error.hypot(other.error)
    }
}

/// Says how good recommendations are.
struct Judge {
    seen: Sparse,
    relevant: Sparse,
    likes: usize,
}

impl Judge {
    fn new(bench: &Bench) -> anyhow::Result<Self> {
        let files = bench.files(&SMALL)?;
        let relevant: Vec<Rating> = files.test()?.into_iter().filter(|rating| rating.value >= RELEVANT).collect();
        let matrix = |ratings: &[Rating]| Sparse::new(ratings, SMALL.users, SMALL.items, Side::User);
        Ok(Self { seen: matrix(&files.train()?)?, relevant: matrix(&relevant)?, likes: files.liked()?.len() })
    }

    /// NDCG@10 of the best items by these rows of factors, over all items but those rated in training.
    fn ndcg(&self, users: &[f32], items: &[f32]) -> anyhow::Result<f64> {
        let (users, items) = (padded(users), padded(items));
        let metrics = evaluate(Cpu::best(), &users, &items, stride(FACTORS), &self.seen, &self.relevant, BEST, 1)?;
        Ok(metrics.ndcg)
    }
}

/// Rows at the stride that ranking takes.
fn padded(rows: &[f32]) -> Vec<f32> {
    let zeros = vec![0.0; stride(FACTORS) - FACTORS];
    rows.chunks(FACTORS).flat_map(|row| row.iter().chain(&zeros)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_compared_by_what_seeds_make_of_them() {
        let mean = Mean::of(&[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(mean.mean, 2.5);
        assert!((mean.error - (5.0_f64 / 3.0).sqrt() / 2.0).abs() < 1e-12, "{mean:?}");
        let (ours, theirs) = (Mean { mean: 10.0, error: 3.0 }, Mean { mean: 20.0, error: 4.0 });
        assert_eq!((ours.above(&theirs), theirs.above(&ours)), (-2.0, 2.0));
    }
}
