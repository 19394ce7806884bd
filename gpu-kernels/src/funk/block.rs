//! Ratings that are known to be good: the unit of work of training.

use super::{RowShape, SgdParams, Side};
use crate::KernelError;

/// One rating. In a [`Block`] `user` and `item` are rows of the block's two slices.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C)]
pub struct Rating {
    /// The user, or the user's row.
    pub user: u32,
    /// The item, or the item's row.
    pub item: u32,
    /// The rating, in whatever scale.
    pub value: f32,
}

/// Ratings over a slice of user rows and a slice of item rows, in the order of their updates.
/// Invariant: every value is finite, and every rating lies within the two slices.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    ratings: Vec<Rating>,
    users: usize,
    items: usize,
}

impl Block {
    /// Takes ratings over `users` and `items` rows.
    ///
    /// # Errors
    /// [`KernelError::UnknownId`] or [`KernelError::NotFinite`] naming the first bad rating.
    pub fn new(ratings: Vec<Rating>, users: usize, items: usize) -> Result<Self, KernelError> {
        check_ratings(&ratings, users, items)?;
        Ok(Self { ratings, users, items })
    }

    /// The ratings, in the order of their updates.
    pub fn ratings(&self) -> &[Rating] {
        &self.ratings
    }

    /// The sum of all ratings, in their order.
    pub fn sum(&self) -> f64 {
        self.ratings.iter().map(|rating| f64::from(rating.value)).sum()
    }

    /// How many rows the slice of a side has.
    pub fn rows(&self, side: Side) -> usize {
        match side {
            Side::User => self.users,
            Side::Item => self.items,
        }
    }

    /// Checks what the block is to be run with: parameters, and slices that have its rows.
    ///
    /// # Errors
    /// [`KernelError::Parameter`] or [`KernelError::Length`].
    pub(super) fn check_run(
        &self,
        params: &SgdParams,
        shape: RowShape,
        users: &[f32],
        items: &[f32],
    ) -> Result<(), KernelError> {
        params.validate()?;
        KernelError::check_length("users", users.len(), self.rows(Side::User) * shape.stride())?;
        KernelError::check_length("items", items.len(), self.rows(Side::Item) * shape.stride())
    }
}

/// Checks that ids are below the numbers of rows and values are finite.
pub(crate) fn check_ratings(ratings: &[Rating], users: usize, items: usize) -> Result<(), KernelError> {
    let bad =
        |rating: &Rating| rating.user as usize >= users || rating.item as usize >= items || !rating.value.is_finite();
    let Some(entry) = ratings.iter().position(bad) else { return Ok(()) };
    let Rating { user, item, value } = ratings[entry];
    Err(if user as usize >= users {
        KernelError::UnknownId { what: Side::User.name(), entry, id: user, rows: users }
    } else if item as usize >= items {
        KernelError::UnknownId { what: Side::Item.name(), entry, id: item, rows: items }
    } else {
        KernelError::NotFinite { what: "rating", entry, value }
    })
}
