//! Predicted ratings, and how far off they are.
//!
//!   r̂ = μ + user · item, kept within a range of ratings if there is one (rows hold their biases, see `rows.rs`)

use super::{Model, Rating, check_ratings};
use crate::KernelError;
use crate::simd::{Cpu, Kernel, Lanes, dot};

/// Predicts a rating for each pair of a user and an item, into `out`, which has as many values as there are `pairs`.
///
/// `range` is the least and the highest rating. A model that is not finite predicts NaN or infinity.
///
/// # Errors
/// [`KernelError::UnknownId`] for a pair outside of the model, [`KernelError::Length`], or [`KernelError::Parameter`]
/// for a range that is none.
pub fn predict(
    cpu: Cpu,
    model: &Model,
    pairs: &[(u32, u32)],
    range: Option<(f32, f32)>,
    out: &mut [f32],
) -> Result<(), KernelError> {
    KernelError::check_length("out", out.len(), pairs.len())?;
    let (low, high) = range.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
    if low.is_nan() || high.is_nan() || low > high {
        return Err(KernelError::Parameter { name: "range", value: low.into(), expected: "low up to high" });
    }
    let stride = model.shape.stride();
    let users = model.shape.rows_in("users", &model.users)?;
    let items = model.shape.rows_in("items", &model.items)?;
    for (entry, &(user, item)) in pairs.iter().enumerate() {
        for (what, id, rows) in [("user", user, users), ("item", item, items)] {
            if id as usize >= rows {
                return Err(KernelError::UnknownId { what, entry, id, rows });
            }
        }
    }
    cpu.run(Predict { model, stride, pairs, out });
    out.iter_mut().for_each(|value| *value = value.clamp(low, high));
    Ok(())
}

struct Predict<'a> {
    model: &'a Model,
    stride: usize,
    pairs: &'a [(u32, u32)],
    out: &'a mut [f32],
}

impl Kernel for Predict<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Self { model, stride, pairs, out } = self;
        for (&(user, item), out) in pairs.iter().zip(out) {
            let user = &model.users[user as usize * stride..][..stride];
            let item = &model.items[item as usize * stride..][..stride];
            *out = model.mean + lanes.first(dot(lanes, user, item));
        }
    }
}

/// The root of the mean squared error of the model's predictions, summed in the order of `ratings`; 0 without ratings.
///
/// # Errors
/// As [`predict()`], and [`KernelError::NotFinite`] for a rating that is not a number.
pub fn rmse(cpu: Cpu, model: &Model, ratings: &[Rating], range: Option<(f32, f32)>) -> Result<f64, KernelError> {
    let users = model.shape.rows_in("users", &model.users)?;
    check_ratings(ratings, users, model.shape.rows_in("items", &model.items)?)?;
    let pairs: Vec<(u32, u32)> = ratings.iter().map(|rating| (rating.user, rating.item)).collect();
    let mut predicted = vec![0.0; pairs.len()];
    predict(cpu, model, &pairs, range, &mut predicted)?;
    let square = |(rating, predicted): (&Rating, &f32)| (f64::from(rating.value) - f64::from(*predicted)).powi(2);
    let squares: f64 = ratings.iter().zip(&predicted).map(square).sum();
    Ok((squares / ratings.len().max(1) as f64).sqrt())
}
