//! Trains a model in one process: deals ids, cuts ratings into blocks, and runs epoch after epoch.
//!
//!   ratings ─► counts ─► bins ─► grid ─► epoch 0, 1, … ─► rows by id
//!
//! Each step is a function of its own, for trainers whose rows lie on several machines.

use super::{
    Batches, Bins, Grid, Model, Order, Rating, RowShape, Rows, Rule, SgdParams, Side, Strata, run_epoch,
    run_epoch_batched, start_row,
};
use crate::{Cpu, KernelError};

/// What to train and how.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainOptions {
    /// Factors of each row.
    pub factors: usize,
    /// Passes over all ratings, for [`train()`].
    pub epochs: u32,
    /// How a rating changes its rows.
    pub rule: Rule,
    /// Step per update.
    pub learning_rate: f32,
    /// Pull of every factor and bias towards 0.
    pub regularization: f32,
    /// Whether the mean rating is taken off first, and biases are learnt.
    pub biases: bool,
    /// Standard deviation of the factors at the start.
    pub spread: f32,
    /// All that is random follows from it.
    pub seed: u64,
    /// Bins of each side of the grid; part of the model's definition, unlike the number of threads.
    pub bins: usize,
    /// The order of ratings inside a block; none: by the model's size.
    pub order: Option<Order>,
}

impl TrainOptions {
    /// [`Rule::Surprise`] with its usual parameters.
    pub fn surprise(factors: usize) -> Self {
        Self {
            factors,
            epochs: 20,
            rule: Rule::Surprise,
            learning_rate: 0.005,
            regularization: 0.02,
            biases: true,
            spread: 0.1,
            seed: 42,
            bins: 32,
            order: None,
        }
    }

    /// [`Rule::R2`] with its usual parameters.
    pub fn r2(factors: usize) -> Self {
        let (learning_rate, regularization, spread) = (0.01, 0.1, 0.01);
        Self { rule: Rule::R2, learning_rate, regularization, biases: false, spread, ..Self::surprise(factors) }
    }
}

/// A training between two epochs.
#[derive(Debug, Clone)]
pub struct Trainer {
    cpu: Cpu,
    pub(super) params: SgdParams,
    pub(super) shape: RowShape,
    pub(super) grid: Grid,
    /// One entry a block; none: one rating after another.
    pub(super) batches: Option<Vec<Batches>>,
    pub(super) users: Rows,
    pub(super) items: Rows,
    pub(super) seed: u64,
    pub(super) epoch: u32,
}

impl Trainer {
    /// Prepares to train on `ratings` of the users `0..users` and the items `0..items`, in any order.
    ///
    /// # Errors
    /// [`KernelError::UnknownId`] or [`KernelError::NotFinite`] naming a bad rating, [`KernelError::Parameter`].
    pub fn new(
        cpu: Cpu,
        ratings: &[Rating],
        users: usize,
        items: usize,
        options: &TrainOptions,
    ) -> Result<Self, KernelError> {
        super::check_ratings(ratings, users, items)?;
        let (mut user_counts, mut item_counts) = (vec![0; users], vec![0; items]);
        for rating in ratings {
            user_counts[rating.user as usize] += 1;
            item_counts[rating.item as usize] += 1;
        }
        let shape = RowShape::new(options.factors);
        let seed = options.seed;
        let user_bins = Bins::deal(&user_counts, options.bins, seed)?;
        let item_bins = Bins::deal(&item_counts, options.bins, !seed)?;
        let order = options.order.unwrap_or(Order::for_model(shape, users + items));
        let start = |side, counts: &[u64], bins: &Bins| {
            let mut rows = Rows::zeros(counts.len() * shape.stride());
            for (id, count) in (0..).zip(counts) {
                let row = &mut rows[bins.row(id) * shape.stride()..][..shape.stride()];
                start_row(shape, side, id, *count > 0, options.spread, seed, row);
            }
            rows
        };
        let user_rows = start(Side::User, &user_counts, &user_bins);
        let item_rows = start(Side::Item, &item_counts, &item_bins);
        let grid = Grid::new(ratings, user_bins, item_bins, order, seed)?;
        let params = SgdParams {
            rule: options.rule,
            mean: if options.biases { grid.mean() as f32 } else { 0.0 },
            learning_rate: options.learning_rate,
            regularization: options.regularization,
            biases: options.biases,
        };
        params.validate()?;
        KernelError::check_finite("spread", &[options.spread])?;
        Ok(Self { cpu, params, shape, grid, batches: None, users: user_rows, items: item_rows, seed, epoch: 0 })
    }

    /// Lets all further epochs work in batches of `size` ratings of a block, as the deterministic mode of devices does
    /// with the same bits. The size is part of the model's definition; good sizes times the number of bins are what
    /// [`super::cuda::in_flight`] says, for blocks that are shuffled ([`Order::Shuffled`]): sorted by user, a batch has too
    /// many ratings of one user.
    ///
    /// # Errors
    /// [`KernelError::Parameter`] for a bad size.
    pub fn batched(mut self, size: usize) -> Result<Self, KernelError> {
        let batches = self.grid.blocks().iter().map(|block| Batches::new(block, size));
        self.batches = Some(batches.collect::<Result<_, _>>()?);
        Ok(self)
    }

    /// Runs the next epoch on `threads` threads; answers the root of the mean squared error that ratings had just
    /// before their updates (0 without ratings). The result is the same for any number of threads.
    ///
    /// # Errors
    /// [`KernelError::Diverged`], after which the model is of no use; [`KernelError::Parameter`] for 0 threads.
    pub fn epoch(&mut self, threads: usize) -> Result<f64, KernelError> {
        let Self { cpu, params, shape, grid, batches, users, items, seed, epoch } = self;
        let strata = Strata::of_epoch(grid.users().bins(), *seed, *epoch);
        let squares = match batches {
            None => run_epoch(*cpu, params, *shape, grid, &strata, users, items, threads)?,
            Some(batches) => run_epoch_batched(*cpu, params, *shape, grid, batches, &strata, users, items, threads)?,
        };
        if !squares.is_finite() {
            return Err(KernelError::Diverged { epoch: *epoch });
        }
        *epoch += 1;
        Ok((squares / grid.ratings().max(1) as f64).sqrt())
    }

    /// The model as it is now, by id.
    pub fn model(&self) -> Model {
        let stride = self.shape.stride();
        let by_id = |rows: &Rows, bins: &Bins| {
            let mut model = Rows::zeros(rows.len());
            for (id, row) in model.chunks_mut(stride).enumerate() {
                row.copy_from_slice(&rows[bins.row(id as u32) * stride..][..stride]);
            }
            model
        };
        let users = by_id(&self.users, self.grid.users());
        let items = by_id(&self.items, self.grid.items());
        Model { shape: self.shape, mean: self.params.mean, users, items }
    }
}

/// Trains a model on `threads` threads, whose number does not change it.
///
/// # Errors
/// As [`Trainer::new`] and [`Trainer::epoch`].
pub fn train(
    cpu: Cpu,
    ratings: &[Rating],
    users: usize,
    items: usize,
    options: &TrainOptions,
    threads: usize,
) -> Result<Model, KernelError> {
    let mut trainer = Trainer::new(cpu, ratings, users, items, options)?;
    for _ in 0..options.epochs {
        trainer.epoch(threads)?;
    }
    Ok(trainer.model())
}
