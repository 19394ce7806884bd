//! The ratings of a training, cut into blocks that can be worked on side by side.
//!
//! ```text
//!              item bin 0   1   …   G-1
//! user bin 0     block  block     block      a block has the ratings of the users of its row's bin
//!          1     block  block     block      for the items of its column's bin, with ids that are
//!          …                                 rows within the two bins
//! ```
//!
//! Two blocks that share neither row nor column touch no factor in common. The grid is virtual: G is fixed for a
//! training, whatever the number of threads and workers, and so is the order of ratings within a block, whatever order
//! they arrived in. A worker that holds some user bins builds the same blocks from its ratings alone.

use super::block::check_ratings;
use super::{Bins, Block, Rating, RowShape};
use crate::KernelError;
use crate::random::{Random, mix};

/// The order of the ratings inside a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// At random: two updates of a row are far apart, so that the second need not wait for the first. The faster one as
    /// long as rows come from a cache.
    Shuffled,
    /// User by user, at random for a user: a user's row stays in the first cache. The faster one for a model beyond it.
    ByUser,
}

impl Order {
    /// Factor bytes up to which blocks are shuffled.
    pub const SHUFFLED_BYTES: usize = 16 << 20;

    /// The order for a model of that many rows on both sides. A fixed bound and not this machine's cache, so that
    /// machines agree on it.
    pub fn for_model(shape: RowShape, rows: usize) -> Self {
        if rows * shape.stride() * 4 <= Self::SHUFFLED_BYTES { Self::Shuffled } else { Self::ByUser }
    }
}

/// The blocks of a training.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    users: Bins,
    items: Bins,
    blocks: Vec<Block>,
}

impl Grid {
    /// Cuts `ratings`, whose ids are those dealt to `users` and `items`, into `users.bins()` × `items.bins()` blocks.
    ///
    /// # Errors
    /// [`KernelError::UnknownId`] or [`KernelError::NotFinite`] naming the first bad rating.
    pub fn new(ratings: &[Rating], users: Bins, items: Bins, order: Order, seed: u64) -> Result<Self, KernelError> {
        check_ratings(ratings, users.ids(), items.ids())?;
        let columns = items.bins();
        let block_of =
            |rating: &Rating| users.place(rating.user).bin as usize * columns + items.place(rating.item).bin as usize;
        let mut sizes = vec![0; users.bins() * columns];
        ratings.iter().for_each(|rating| sizes[block_of(rating)] += 1);
        let mut blocks: Vec<Vec<Rating>> = sizes.into_iter().map(Vec::with_capacity).collect();
        for rating in ratings {
            blocks[block_of(rating)].push(Rating {
                user: users.place(rating.user).row,
                item: items.place(rating.item).row,
                value: rating.value,
            });
        }
        let salt = Random::new(seed, ORDER).next();
        let finish = |(at, mut ratings): (usize, Vec<Rating>)| {
            sort(&mut ratings, order, salt);
            Block::new(ratings, users.rows(at / columns).len(), items.rows(at % columns).len())
        };
        let blocks = blocks.into_iter().enumerate().map(finish).collect::<Result<_, _>>()?;
        Ok(Self { users, items, blocks })
    }

    /// How users are dealt to the grid's rows.
    pub fn users(&self) -> &Bins {
        &self.users
    }

    /// How items are dealt to the grid's columns.
    pub fn items(&self) -> &Bins {
        &self.items
    }

    /// The block where a row and a column meet.
    pub fn block(&self, user_bin: usize, item_bin: usize) -> &Block {
        &self.blocks[user_bin * self.items.bins() + item_bin]
    }

    /// All blocks, row by row.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// How many ratings all blocks have.
    pub fn ratings(&self) -> usize {
        self.blocks.iter().map(|block| block.ratings().len()).sum()
    }

    /// The mean rating, summed block by block; 0 if there are no ratings.
    pub fn mean(&self) -> f64 {
        let sum: f64 = self.blocks.iter().map(Block::sum).sum();
        if self.ratings() == 0 { 0.0 } else { sum / self.ratings() as f64 }
    }
}

/// Puts the ratings of a block into the order that follows from the seed. Pairs have keys of their own, and a pair's
/// ratings go by their value, so that nothing is left to the order of arrival.
fn sort(ratings: &mut [Rating], order: Order, salt: u64) {
    ratings.sort_unstable_by_key(|rating| {
        let user = if order == Order::ByUser { rating.user } else { 0 };
        (user, mix((u64::from(rating.user) << 32 | u64::from(rating.item)) ^ salt), rating.value.to_bits())
    });
}

/// The purpose of the random numbers used here.
const ORDER: u64 = 2;
