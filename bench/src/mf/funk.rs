//! FunkSVD: updates a second beside LIBMF and scikit-surprise, the error of held-out ratings beside the latter's, and the same bits
//! for any number of threads.

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use super::ratings::{LARGE, SMALL, Shape};
use super::tandem::Model;
use super::{Bench, Speed};
use crate::peers::Peer;
use crate::report::{Line, Report, TANDEM, Unit};
use crate::rounds::{Rounds, Took};

/// Train a model.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Question {
    pub(super) factors: usize,
    pub(super) epochs: u32,
    pub(super) learning_rate: f32,
    pub(super) regularization: f32,
    /// Standard deviation of factors at the start.
    pub(super) spread: f32,
    pub(super) seed: u64,
    /// Whether to predict the held-out ratings.
    pub(super) held_out: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Answer {
    /// What one epoch took.
    #[serde(flatten)]
    pub(super) epoch: Took,
    /// Of held-out ratings.
    pub(super) rmse: Option<f64>,
    /// Of the model.
    pub(super) checksum: Option<u64>,
}

/// A model of some size over some ratings.
struct Case {
    shape: &'static Shape,
    factors: usize,
    epochs: u32,
    /// How many times the speed of these Tandem's must be on one core.
    peers: &'static [(Peer, f64)],
    /// How many times the speed of one core that of two must be.
    two_cores: f64,
}

const CASES: [Case; 3] = [
    Case {
        shape: &SMALL,
        factors: 20,
        epochs: 10,
        peers: &[(Peer::Libmf, 2.4), (Peer::Surprise, 12.0)],
        two_cores: 1.5,
    },
    Case { shape: &LARGE, factors: 20, epochs: 3, peers: &[(Peer::Libmf, 2.0)], two_cores: 1.8 },
    Case { shape: &LARGE, factors: 100, epochs: 3, peers: &[(Peer::Libmf, 2.5)], two_cores: 1.8 },
];
/// How far from scikit-surprise's error Tandem's may be.
const RMSE_WITHIN: f64 = 0.002;
/// Numbers of threads that must give the same bits.
const THREADS: [usize; 4] = [1, 2, 3, 8];

/// The parameters of everybody, as far as they have them.
fn question(factors: usize, epochs: u32, seed: u64) -> Question {
    Question { factors, epochs, learning_rate: 0.01, regularization: 0.02, spread: 0.1, seed, held_out: false }
}

pub(super) fn measure(bench: &Bench, shape: &Shape, report: &mut Report) -> anyhow::Result<()> {
    CASES.iter().filter(|case| case.shape.name == shape.name).try_for_each(|case| case.measure(bench, report))
}

/// Refuses to measure a trainer whose model depends on the number of threads.
pub(super) fn same_bits(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let mut rounds: Rounds<usize, ()> = Rounds::new();
    for threads in THREADS {
        rounds.enter(TANDEM, threads, &bench.tandem(Model::Funk, &SMALL, threads)?, &bench.all)?;
    }
    let mut first = None;
    for entry in &mut rounds.entries {
        let answer: Answer = entry.ask(&question(20, 2, 1))?;
        let checksum = answer.checksum.context("tandem tells no checksum")?;
        let expected = *first.get_or_insert(checksum);
        ensure!(checksum == expected, "{} threads train another model than one", entry.task);
    }
    report.note(format!("FunkSVD: the same bits on {THREADS:?} threads"));
    Ok(())
}

impl Case {
    fn measure(&self, bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
        let Self { shape, factors, epochs, peers, two_cores } = self;
        let mut rounds = bench.start(Model::Funk, shape, peers.iter().map(|(peer, _)| *peer))?;
        for round in 0..bench.rounds {
            for entry in &mut rounds.entries {
                let asked = Question { held_out: true, ..question(*factors, *epochs, round as u64) };
                let answer: Answer = entry.ask(&asked)?;
                eprintln!("{}, {factors} factors, {} cores: {:?}", entry.who, entry.task, answer.epoch);
                entry.answers.push(answer);
            }
        }
        let ratings = bench.files(shape)?.train()?.len() as f64;
        let name = format!("FunkSVD, {:.1} M ratings, {factors} factors", ratings / 1e6);
        let speed =
            Speed { name: &format!("{name}: updates"), amount: ratings, times: peers, two_cores: Some(*two_cores) };
        speed.lines(&rounds, |answer| answer.epoch)?.into_iter().for_each(|line| report.line(line));
        compare_errors(&rounds, &name, report)
    }
}

/// Refuses an error that is another than scikit-surprise's, the mean of a seed a round.
fn compare_errors(rounds: &Rounds<usize, Answer>, name: &str, report: &mut Report) -> anyhow::Result<()> {
    let mean = |who: &str| {
        let entry = rounds.with(1).find(|entry| entry.who == who)?;
        let errors: Option<Vec<f64>> = entry.answers.iter().map(|answer| answer.rmse).collect();
        errors.map(|errors| errors.iter().sum::<f64>() / errors.len() as f64)
    };
    let Some((ours, theirs)) = mean(TANDEM).zip(mean(Peer::Surprise.name())) else { return Ok(()) };
    let peers = [(Peer::Surprise.name().to_owned(), theirs)].into();
    report.line(Line {
        peers,
        ..Line::of("… error of held-out ratings (RMSE), mean of a seed a round", Unit::Score, ours)
    });
    ensure!((ours / theirs - 1.0).abs() <= RMSE_WITHIN, "{name}: the error is {ours}, scikit-surprise's {theirs}");
    Ok(())
}
