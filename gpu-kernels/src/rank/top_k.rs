//! The items with the highest scores for each of some users, over all items.
//!
//!   score(u, i) = user row · item row
//!   best first; of equal scores the lower id; never an item that is left out, or whose score is NaN
//!
//! ```text
//!            items, a tile at a time (a tile of rows stays in the first cache while every user of a group passes it)
//!           ┌──────┬──────┬───
//! group of  │      │      │ …     scores of a tile ─► those above the worst kept score ─► heap of k, worst on top
//! 16 users  │      │      │
//! ```
//!
//! Exact: the answer is that of sorting all scores. A mean that all scores share changes no order, so it is left out.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::simd::{Kernel, Lanes, dot, products};
use crate::sparse::Sparse;
use crate::{Cpu, KernelError};

/// Floats of item rows scored before the next user's turn: 32 KiB.
const TILE: usize = 8192;
/// Item rows of a tile of the shortest rows; no tile has more.
const TILE_ROWS: usize = TILE / 8;
/// Users that share a tile.
const GROUP: usize = 16;

/// An item and its score for some user.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// The item.
    pub item: u32,
    /// Its score.
    pub score: f32,
}

/// The `k` best items for each row of `users`, best first; fewer if there are fewer.
///
/// `users` and `items` hold rows of `stride` floats, a multiple of eight. `left_out` has a row for each row of `users`:
/// items not to answer, such as those seen in training. Items whose score is NaN are left out too.
///
/// # Errors
/// [`KernelError::Length`] or [`KernelError::Parameter`] if the slices are no rows of that stride or `left_out` is of
/// another shape.
pub fn top_k(
    cpu: Cpu,
    users: &[f32],
    items: &[f32],
    stride: usize,
    left_out: &Sparse,
    k: usize,
) -> Result<Vec<Vec<Scored>>, KernelError> {
    let (user_rows, item_rows) = (rows("users", users, stride)?, rows("items", items, stride)?);
    KernelError::check_length("rows of left_out", left_out.rows(), user_rows)?;
    KernelError::check_length("width of left_out", left_out.width(), item_rows)?;
    let mut answers = Vec::with_capacity(user_rows);
    for (group, users) in users.chunks(GROUP * stride).enumerate() {
        let first = group * GROUP;
        let mut lists: Vec<List> = users
            .chunks(stride)
            .enumerate()
            .map(|(at, _)| List { best: BinaryHeap::new(), k, left_out: left_out.columns(first + at) })
            .collect();
        match stride {
            8 => cpu.run(Score::<8> { users, items, stride, lists: &mut lists }),
            16 => cpu.run(Score::<16> { users, items, stride, lists: &mut lists }),
            24 => cpu.run(Score::<24> { users, items, stride, lists: &mut lists }),
            _ => cpu.run(Score::<0> { users, items, stride, lists: &mut lists }),
        }
        answers.extend(lists.into_iter().map(List::sorted));
    }
    Ok(answers)
}

/// How many rows a slice holds.
pub(super) fn rows(what: &'static str, values: &[f32], stride: usize) -> Result<usize, KernelError> {
    if stride == 0 || !stride.is_multiple_of(8) {
        return Err(KernelError::Parameter { name: "stride", value: stride as f64, expected: "a multiple of 8" });
    }
    KernelError::check_length(what, values.len(), values.len() / stride * stride)?;
    Ok(values.len() / stride)
}

/// Scores all items for a group of users; `FIXED` is the stride, or 0 for any.
struct Score<'a, 'b, const FIXED: usize> {
    users: &'a [f32],
    items: &'a [f32],
    stride: usize,
    lists: &'a mut [List<'b>],
}

impl<const FIXED: usize> Kernel for Score<'_, '_, FIXED> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let stride = if FIXED == 0 { self.stride } else { FIXED };
        let rows = (TILE / stride).max(1).next_multiple_of(8);
        let mut scores = [0.0; TILE_ROWS];
        for (tile, items) in self.items.chunks(rows * stride).enumerate() {
            let scores = &mut scores[..items.len() / stride];
            for (user, list) in self.users.chunks_exact(stride).zip(self.lists.iter_mut()) {
                let (eights, rest) = scores.as_chunks_mut::<8>();
                let (of_eights, of_rest) = items.split_at(eights.len() * 8 * stride);
                for (items, scores) in of_eights.chunks_exact(8 * stride).zip(eights) {
                    let mut sums = [lanes.splat8(0.0); 8];
                    for (item, sum) in items.chunks_exact(stride).zip(&mut sums) {
                        *sum = products(lanes, user, item);
                    }
                    lanes.store8(lanes.sums8(sums), scores);
                }
                for (item, score) in of_rest.chunks_exact(stride).zip(rest) {
                    *score = lanes.first(dot(lanes, user, item));
                }
                list.offer((tile * rows) as u32, scores);
            }
        }
    }
}

/// The best items so far of one user.
struct List<'a> {
    best: BinaryHeap<Worst>,
    k: usize,
    left_out: &'a [u32],
}

impl List<'_> {
    /// Takes the scores of the items from `first` on, none of which has been offered and all of which have higher ids
    /// than those that have.
    fn offer(&mut self, first: u32, scores: &[f32]) {
        let mut at = 0;
        while self.best.len() < self.k && at < scores.len() {
            if !scores[at].is_nan() {
                self.take(Scored { item: first + at as u32, score: scores[at] });
            }
            at += 1;
        }
        let Some(mut bar) = self.best.peek().map(|worst| worst.0.score) else { return };
        for (item, score) in (first + at as u32..).zip(&scores[at..]) {
            // An equal score has the higher id, so it is worse; NaN is above nothing.
            if *score > bar {
                self.take(Scored { item, score: *score });
                bar = self.best.peek().expect("a full heap").0.score;
            }
        }
    }

    fn take(&mut self, scored: Scored) {
        if self.left_out.binary_search(&scored.item).is_ok() {
            return;
        }
        if self.best.len() == self.k {
            self.best.pop();
        }
        self.best.push(Worst(scored));
    }

    fn sorted(self) -> Vec<Scored> {
        self.best.into_sorted_vec().into_iter().map(|worst| worst.0).collect()
    }
}

/// Orders by how bad a score is. Scores are numbers.
#[derive(Debug, PartialEq)]
struct Worst(Scored);

impl Eq for Worst {}

impl PartialOrd for Worst {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Worst {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = other.0.score.partial_cmp(&self.0.score).unwrap_or(Ordering::Equal);
        by_score.then(self.0.item.cmp(&other.0.item))
    }
}
