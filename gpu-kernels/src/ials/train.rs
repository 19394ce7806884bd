//! Trains on implicit feedback in one process.
//!
//!   ratings ─► strengths by user and by item ─► random rows ─► (users from items, items from users) × iterations

use super::{IalsParams, gram, solve, stride};
use crate::funk::{Rating, Rows, Side};
use crate::random::Random;
use crate::sparse::Sparse;
use crate::{Cpu, KernelError};

/// What to train and how.
#[derive(Debug, Clone, PartialEq)]
pub struct IalsOptions {
    /// The parameters of the equations.
    pub params: IalsParams,
    /// How often both sides are solved.
    pub iterations: u32,
    /// Standard deviation of the items' factors at the start.
    pub spread: f32,
    /// All that is random follows from it.
    pub seed: u64,
}

impl IalsOptions {
    /// The usual parameters.
    pub fn new(factors: usize) -> Self {
        let params = IalsParams { factors, alpha: 1.0, regularization: 0.01 };
        Self { params, iterations: 15, spread: 0.1, seed: 42 }
    }
}

/// Rows of factors by id, at the stride of [`super::stride`]. The score of a pair is the dot product of its rows.
#[derive(Debug, Clone, PartialEq)]
pub struct IalsModel {
    /// Factors of each row.
    pub factors: usize,
    /// One row for each user.
    pub users: Rows,
    /// One row for each item.
    pub items: Rows,
}

/// Trains a model on `threads` threads, whose number does not change it. The value of a rating is the strength of its
/// pair, 0 or above; those of a pair that comes up more than once are added. The order of ratings does not matter.
///
/// # Errors
/// [`KernelError::UnknownId`] or [`KernelError::NotFinite`] naming a bad rating; as [`solve()`].
pub fn train(
    cpu: Cpu,
    ratings: &[Rating],
    users: usize,
    items: usize,
    options: &IalsOptions,
    threads: usize,
) -> Result<IalsModel, KernelError> {
    let by_user = Sparse::new(ratings, users, items, Side::User)?;
    let by_item = Sparse::new(ratings, users, items, Side::Item)?;
    let mut model = start(users, items, options)?;
    let IalsOptions { params, iterations, .. } = options;
    for _ in 0..*iterations {
        let products = gram(cpu, &model.items, params.factors, threads)?;
        model.users = solve(cpu, params, &model.items, &products, &by_user, threads)?;
        let products = gram(cpu, &model.users, params.factors, threads)?;
        model.items = solve(cpu, params, &model.users, &products, &by_item, threads)?;
    }
    Ok(model)
}

/// The model that training starts from: random items, and users of zeros.
pub(super) fn start(users: usize, items: usize, options: &IalsOptions) -> Result<IalsModel, KernelError> {
    let IalsOptions { params, spread, seed, .. } = options;
    KernelError::check_finite("spread", &[*spread])?;
    let stride = stride(params.factors);
    let mut model =
        IalsModel { factors: params.factors, users: Rows::zeros(users * stride), items: Rows::zeros(items * stride) };
    if params.factors > 0 {
        for (id, row) in model.items.chunks_mut(stride).enumerate() {
            let mut random = Random::new(*seed, START + ((id as u64) << 8));
            row[..params.factors].fill_with(|| spread * random.normal());
        }
    }
    Ok(model)
}

/// The purpose of the random numbers used here.
const START: u64 = 5;
