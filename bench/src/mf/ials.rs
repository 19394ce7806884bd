//! iALS: iterations a second beside implicit's, and how good the recommendations are.

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
use crate::report::{Report, Unit};
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
/// Recommendations for each user.
const BEST: usize = 10;

pub(super) fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let mut rounds = bench.start(Model::Ials, &SMALL, [Peer::Implicit])?;
    let judge = Judge::new(bench)?;
    for round in 0..bench.rounds {
        for entry in &mut rounds.entries {
            let question = Question {
                factors: FACTORS,
                iterations: ITERATIONS,
                alpha: 1.0,
                regularization: 0.01,
                spread: 0.01,
                seed: round as u64,
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
    let quality =
        rounds.line(&format!("… NDCG@{BEST} of what is held out"), Unit::Score, 1, |trained| trained.ndcg)?;
    report.line(quality.clone());
    quality.times(Peer::Implicit.name(), 1.0).into_iter().for_each(|line| report.line(line));
    Ok(())
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
