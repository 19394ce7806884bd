//! FunkSVD: matrix factorisation with biases by stochastic gradient descent.
//!
//! A trainer in one process calls [`train()`], or a [`Trainer`] epoch by epoch. One whose rows lie on several machines
//! deals ids ([`Bins`]), cuts its ratings ([`Grid`]), starts its rows ([`start_row`]) and runs one block at a time
//! ([`update_block`]) in the order of [`Strata`]: it gets the same bits.

mod batch;
mod bins;
mod block;
pub mod cuda;
mod epoch;
mod grid;
mod model;
mod params;
mod predict;
mod rows;
mod strata;
mod train;
mod update;

pub use batch::{Batches, update_block_batched};
pub use bins::{Bins, Place};
pub(crate) use block::check_ratings;
pub use block::{Block, Rating};
pub use epoch::{run_epoch, run_epoch_batched};
pub use grid::{Grid, Order};
pub use model::{Model, start_row};
pub use params::{R2_BOUND, Rule, SgdParams};
pub use predict::{predict, rmse};
pub use rows::{RowShape, Rows, Side};
pub use strata::Strata;
pub use train::{TrainOptions, Trainer, train};
pub use update::update_block;
