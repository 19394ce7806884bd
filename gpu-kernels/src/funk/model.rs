//! A trained model, and the values that training starts from.

use super::{RowShape, Rows, Side};
use crate::random::Random;

/// Rows by id, as training left them.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// How rows are laid out.
    pub shape: RowShape,
    /// The rating that a pair without ratings predicts.
    pub mean: f32,
    /// One row for each user.
    pub users: Rows,
    /// One row for each item.
    pub items: Rows,
}

impl Model {
    /// The row of a user. Panics if there is no such user.
    pub fn user(&self, id: u32) -> &[f32] {
        &self.users[id as usize * self.shape.stride()..][..self.shape.stride()]
    }

    /// The row of an item. Panics if there is no such item.
    pub fn item(&self, id: u32) -> &[f32] {
        &self.items[id as usize * self.shape.stride()..][..self.shape.stride()]
    }

    /// A number that differs whenever any bit of the model does (FNV-1a over 32-bit words, collisions aside).
    pub fn checksum(&self) -> u64 {
        let words = self.users.iter().chain(self.items.iter()).chain([&self.mean]);
        words.fold(0xCBF2_9CE4_8422_2325, |hash, word| {
            (hash ^ u64::from(word.to_bits())).wrapping_mul(0x0000_0100_0000_01B3)
        })
    }
}

/// Writes the row that training starts from: factors of mean 0 and standard deviation `spread`, bias 0. An id without
/// ratings gets factors of 0, so that nothing but the mean and the other side's bias is predicted for it.
///
/// Follows from `seed`, `side` and `id` alone, so that whoever holds a row can start it. `row` has
/// [`RowShape::stride`] floats.
pub fn start_row(shape: RowShape, side: Side, id: u32, rated: bool, spread: f32, seed: u64, row: &mut [f32]) {
    row.fill(0.0);
    row[side.one_slot()] = 1.0;
    if rated {
        let purpose = START + ((side as u64) << 8) + (u64::from(id) << 16);
        let mut random = Random::new(seed, purpose);
        row[2..2 + shape.factors()].fill_with(|| spread * random.normal());
    }
}

/// The purpose of the random numbers used here.
const START: u64 = 4;
