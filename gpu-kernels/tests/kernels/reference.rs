//! What the kernels compute, written as plainly as possible in `f64`.

use proptest::prelude::*;
use tandem_kernels::funk::{R2_BOUND, Rating, RowShape, Rule, SgdParams, Side};

/// One side of a model: factors and a bias for each row.
#[derive(Debug, Clone)]
pub(crate) struct Matrix {
    /// Factors of each row.
    pub(crate) factors: Vec<Vec<f64>>,
    /// Bias of each row.
    pub(crate) biases: Vec<f64>,
}

/// `a · b`.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The gradient steps of `ratings`, one after another; answers the sum of squared errors.
pub(crate) fn sgd(params: &SgdParams, ratings: &[Rating], users: &mut Matrix, items: &mut Matrix) -> f64 {
    let (rate, pull) = (f64::from(params.learning_rate), f64::from(params.regularization));
    let bound = f64::from(R2_BOUND);
    let mut squares = 0.0;
    for rating in ratings {
        let (u, i) = (rating.user as usize, rating.item as usize);
        let (p, q) = (users.factors[u].clone(), items.factors[i].clone());
        let predicted = f64::from(params.mean) + users.biases[u] + items.biases[i] + dot(&p, &q);
        let mut error = f64::from(rating.value) - predicted;
        if params.rule == Rule::R2 {
            error = error.clamp(-bound, bound);
        }
        squares += error * error;
        if params.biases {
            users.biases[u] += rate * (error - pull * users.biases[u]);
            items.biases[i] += rate * (error - pull * items.biases[i]);
        }
        for f in 0..p.len() {
            let new_p = p[f] + rate * (error * q[f] - pull * p[f]);
            let seen = if params.rule == Rule::R2 { new_p } else { p[f] };
            let new_q = q[f] + rate * (error * seen - pull * q[f]);
            users.factors[u][f] = if params.rule == Rule::R2 { new_p.clamp(-bound, bound) } else { new_p };
            items.factors[i][f] = if params.rule == Rule::R2 { new_q.clamp(-bound, bound) } else { new_q };
        }
    }
    squares
}

/// Whether a number is what some hundred updates of the same few rows make of it, each rounded to 24 bits: 300 × 2⁻²⁴ is 2e-5,
/// with room to spare.
pub(crate) fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-4 * (1.0 + b.abs())
}

/// Compares the rows of one side after updates with plain code's.
pub(crate) fn check_rows(side: Side, shape: RowShape, rows: &[f32], wide: &Matrix) -> Result<(), TestCaseError> {
    for (at, row) in rows.chunks(shape.stride()).enumerate() {
        let factors = shape.factors_of(row);
        prop_assert!(close(row[side.bias_slot()].into(), wide.biases[at]));
        prop_assert_eq!(row[side.one_slot()], 1.0);
        prop_assert!(row[factors.len() + 2..].iter().all(|pad| *pad == 0.0));
        for (got, want) in factors.iter().zip(&wide.factors[at]) {
            prop_assert!(close((*got).into(), *want), "{} and {}", got, want);
        }
    }
    Ok(())
}

/// The predicted rating.
pub(crate) fn predict(mean: f64, user: u32, item: u32, users: &Matrix, items: &Matrix) -> f64 {
    let (u, i) = (user as usize, item as usize);
    mean + users.biases[u] + items.biases[i] + dot(&users.factors[u], &items.factors[i])
}

/// All items that are not left out, best first: by score, then by id.
pub(crate) fn ranking(scores: &[f32], left_out: &[u32]) -> Vec<u32> {
    let candidates = 0..scores.len() as u32;
    let mut ids: Vec<u32> = candidates.filter(|id| !left_out.contains(id) && !scores[*id as usize].is_nan()).collect();
    ids.sort_by(|a, b| scores[*b as usize].partial_cmp(&scores[*a as usize]).expect("numbers").then(a.cmp(b)));
    ids
}

/// Precision, recall, NDCG and hit rate at `k` of one user's list.
pub(crate) fn metrics(list: &[u32], relevant: &[u32], k: usize) -> [f64; 4] {
    let (mut hits, mut gain, mut ideal) = (0.0, 0.0, 0.0);
    for (at, item) in list.iter().take(k).enumerate() {
        if relevant.contains(item) {
            hits += 1.0;
            gain += 1.0 / (at as f64 + 2.0).log2();
        }
    }
    for at in 0..relevant.len().min(k) {
        ideal += 1.0 / (at as f64 + 2.0).log2();
    }
    [hits / k as f64, hits / relevant.len() as f64, gain / ideal, if hits > 0.0 { 1.0 } else { 0.0 }]
}

/// The row that solves the weighted least squares of one user: `seen` has items and strengths, `items` all rows.
pub(crate) fn ials_row(items: &[Vec<f64>], seen: &[(usize, f64)], alpha: f64, pull: f64) -> Vec<f64> {
    let n = items.first().map_or(0, Vec::len);
    let mut matrix = vec![vec![0.0; n + 1]; n];
    for (at, item) in items.iter().enumerate() {
        let strength = seen.iter().find(|(id, _)| *id == at).map_or(0.0, |(_, strength)| *strength);
        for r in 0..n {
            (0..n).for_each(|c| matrix[r][c] += (1.0 + alpha * strength) * item[r] * item[c]);
            if strength > 0.0 {
                matrix[r][n] += (1.0 + alpha * strength) * item[r];
            }
        }
    }
    (0..n).for_each(|r| matrix[r][r] += pull);
    eliminate(matrix)
}

/// Gauss's elimination with the largest pivot; the last column is the right side.
fn eliminate(mut matrix: Vec<Vec<f64>>) -> Vec<f64> {
    let n = matrix.len();
    for pivot in 0..n {
        let largest = (pivot..n).max_by(|a, b| matrix[*a][pivot].abs().total_cmp(&matrix[*b][pivot].abs()));
        matrix.swap(pivot, largest.expect("a row is left"));
        let row = matrix[pivot].clone();
        for (_, other) in matrix.iter_mut().enumerate().filter(|(at, _)| *at != pivot) {
            let factor = other[pivot] / row[pivot];
            other.iter_mut().zip(&row).for_each(|(value, above)| *value -= factor * above);
        }
    }
    (0..n).map(|r| matrix[r][n] / matrix[r][r]).collect()
}

/// The gradient steps of `ratings` in batches of `size`, all of a batch from one state; answers the sum of squared
/// errors.
pub(crate) fn sgd_batched(
    params: &SgdParams,
    ratings: &[Rating],
    size: usize,
    users: &mut Matrix,
    items: &mut Matrix,
) -> f64 {
    let mut squares = 0.0;
    let limited = |x: f64| if params.rule == Rule::R2 { x.clamp(-f64::from(R2_BOUND), R2_BOUND.into()) } else { x };
    for batch in ratings.chunks(size) {
        // What each rating by itself would change; with no bound on rows, which goes on the sums.
        let (old_users, old_items) = (users.clone(), items.clone());
        let (mut new_users, mut new_items) = (users.clone(), items.clone());
        for rating in batch {
            let (u, i) = (rating.user as usize, rating.item as usize);
            let (mut user, mut item) = (old_users.clone(), old_items.clone());
            let unbound = SgdParams { rule: Rule::Surprise, ..*params };
            let predicted = predict(params.mean.into(), rating.user, rating.item, &user, &item);
            let error = limited(f64::from(rating.value) - predicted);
            squares += error * error;
            // A rating with which the plain rule sees the error that counts here.
            let value = (error + predicted) as f32;
            sgd(&unbound, &[Rating { value, ..*rating }], &mut user, &mut item);
            new_users.biases[u] += user.biases[u] - old_users.biases[u];
            new_items.biases[i] += item.biases[i] - old_items.biases[i];
            let (rate, pull) = (f64::from(params.learning_rate), f64::from(params.regularization));
            for f in 0..user.factors[u].len() {
                new_users.factors[u][f] += user.factors[u][f] - old_users.factors[u][f];
                let (old, seen) = (old_items.factors[i][f], user.factors[u][f]);
                let seen = if params.rule == Rule::R2 { seen } else { old_users.factors[u][f] };
                new_items.factors[i][f] += rate * (error * seen - pull * old);
            }
        }
        for side in [&mut new_users, &mut new_items] {
            side.factors.iter_mut().flatten().for_each(|x| *x = limited(*x));
        }
        (*users, *items) = (new_users, new_items);
    }
    squares
}
