//! How good recommendations are, measured over the full catalogue: every item competes, none is sampled.
//!
//! With the first k recommendations of a user, of which the ranks 1 … k that are relevant are the hits:
//!
//!   precision = hits / k              recall = hits / relevant items        hit rate = 1 if there is a hit, else 0
//!   NDCG = Σ over hits 1/log2(rank + 1), divided by the same sum over the ranks 1 … min(k, relevant items)
//!
//! Each is a mean over the users that have a relevant item, summed in the order of users. Whether an item is relevant
//! is a yes or a no.
//!
//! Source: K. Järvelin, J. Kekäläinen, "Cumulated gain-based evaluation of IR techniques" (2002), with binary gains.

use super::top_k::{Scored, rows, top_k};
use crate::parallel::for_pieces;
use crate::sparse::Sparse;
use crate::{Cpu, KernelError};

/// Users that a thread ranks at a time.
const PIECE: usize = 64;

/// Means over users; see the head of the file.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RankingMetrics {
    /// How many users had a relevant item, and so are in the means. Without any, all means are 0.
    pub users: usize,
    /// Share of the k recommendations that are relevant.
    pub precision: f64,
    /// Share of the relevant items that are recommended.
    pub recall: f64,
    /// Normalised discounted cumulative gain.
    pub ndcg: f64,
    /// Share of users with a relevant recommendation.
    pub hit_rate: f64,
}

/// Measures the first `k` entries of given recommendations: one list for each row of `relevant`.
///
/// # Errors
/// [`KernelError::Length`] for another number of lists, [`KernelError::Parameter`] for `k` = 0.
pub fn measure(lists: &[Vec<Scored>], relevant: &Sparse, k: usize) -> Result<RankingMetrics, KernelError> {
    KernelError::check_length("lists", lists.len(), relevant.rows())?;
    check_k(k)?;
    Ok(mean(lists.iter().enumerate().map(|(user, list)| of_user(list, relevant.columns(user), k))))
}

/// Ranks all items for every user that has a relevant one, and measures the first `k`.
///
/// `users` and `items` hold rows of `stride` floats; `seen` and `relevant` have a row for each user. Items seen are not
/// recommended. The result is the same for any number of threads.
///
/// # Errors
/// As [`top_k()`]; [`KernelError::Parameter`] for `k` = 0 or 0 threads.
#[allow(clippy::too_many_arguments, reason = "a kernel's inputs, each of its own kind")]
pub fn evaluate(
    cpu: Cpu,
    users: &[f32],
    items: &[f32],
    stride: usize,
    seen: &Sparse,
    relevant: &Sparse,
    k: usize,
    threads: usize,
) -> Result<RankingMetrics, KernelError> {
    check_k(k)?;
    KernelError::check_length("rows of relevant", relevant.rows(), rows("users", users, stride)?)?;
    KernelError::check_length("width of relevant", relevant.width(), rows("items", items, stride)?)?;
    KernelError::check_length("rows of seen", seen.rows(), relevant.rows())?;
    KernelError::check_length("width of seen", seen.width(), relevant.width())?;
    let asked: Vec<usize> = (0..relevant.rows()).filter(|user| !relevant.columns(*user).is_empty()).collect();
    let mut measured = vec![None; asked.len()];
    for_pieces(threads, &mut measured, PIECE, |piece, measured| {
        let asked = &asked[piece * PIECE..][..measured.len()];
        let rows: Vec<f32> = asked.iter().flat_map(|user| &users[user * stride..][..stride]).copied().collect();
        let lists = top_k(cpu, &rows, items, stride, &seen.select(asked), k)?;
        for ((user, list), measured) in asked.iter().zip(&lists).zip(measured) {
            *measured = of_user(list, relevant.columns(*user), k);
        }
        Ok(())
    })?;
    Ok(mean(measured.into_iter()))
}

fn check_k(k: usize) -> Result<(), KernelError> {
    if k == 0 {
        return Err(KernelError::Parameter { name: "k", value: 0.0, expected: "1 or more" });
    }
    Ok(())
}

/// The metrics of one user; none without a relevant item.
fn of_user(list: &[Scored], relevant: &[u32], k: usize) -> Option<RankingMetrics> {
    if relevant.is_empty() {
        return None;
    }
    let gain = |rank: usize| 1.0 / ((rank + 2) as f64).log2();
    let hits = list.iter().take(k).enumerate().filter(|(_, scored)| relevant.binary_search(&scored.item).is_ok());
    let (count, gained) = hits.fold((0, 0.0), |(count, gained), (rank, _)| (count + 1, gained + gain(rank)));
    let ideal: f64 = (0..k.min(relevant.len())).map(gain).sum();
    Some(RankingMetrics {
        users: 1,
        precision: f64::from(count) / k as f64,
        recall: f64::from(count) / relevant.len() as f64,
        ndcg: gained / ideal,
        hit_rate: f64::from(count.min(1)),
    })
}

fn mean(users: impl Iterator<Item = Option<RankingMetrics>>) -> RankingMetrics {
    let mut sum = RankingMetrics::default();
    for user in users.flatten() {
        sum.users += 1;
        sum.precision += user.precision;
        sum.recall += user.recall;
        sum.ndcg += user.ndcg;
        sum.hit_rate += user.hit_rate;
    }
    let share = 1.0 / sum.users.max(1) as f64;
    sum.precision *= share;
    sum.recall *= share;
    sum.ndcg *= share;
    sum.hit_rate *= share;
    sum
}
