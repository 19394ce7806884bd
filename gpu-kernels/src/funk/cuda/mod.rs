//! FunkSVD on a device, in two modes that share rows, blocks and strata with the CPU, so that workers with and without a
//! device can take part in one training.
//!
//! * [`Mode::Fast`]: many updates in flight, added atomically. As good as the sequential order, not the same bits.
//! * [`Mode::Batches`]: the bits of [`super::update_block_batched`], on every device, every time.
//!
//! A whole training is a [`DeviceTrainer`]; one whose rows lie on several machines calls [`update_block`] or
//! [`update_block_batched`] for a block at a time.

mod batched;
mod fast;
mod resident;
mod trainer;

pub use fast::{MOST_IN_FLIGHT, in_flight};
pub use resident::{Mode, Storage, update_block, update_block_batched};
pub use trainer::DeviceTrainer;

use crate::device::Program;

/// What the usual inputs need.
pub(crate) fn programs() -> Vec<Program> {
    let mut programs = Vec::new();
    for factors in [20, 128] {
        let shape = super::RowShape::new(factors);
        for rule in [super::Rule::Surprise, super::Rule::R2] {
            programs.push(fast::program(shape, rule, Storage::F32));
            programs.push(fast::program(shape, rule, Storage::F16));
            programs.push(batched::program(shape, rule));
        }
    }
    programs
}

/// Threads of a group for rows of so many 16-byte vectors: few enough that most of them have one to work on.
fn lanes(vectors: usize) -> usize {
    match vectors {
        0..=16 => 8,
        17..=48 => 16,
        _ => 32,
    }
}
