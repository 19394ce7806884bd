//! The gradient step in batches: the deterministic mode of devices, and what the CPU replays bit for bit.
//!
//! A block's ratings are cut into batches of a fixed size, in their order. All errors of a batch come from the rows as
//! they were before it; then each row moves once, by all of its n ratings in the batch, in their order:
//!
//!   surprise   user ← κₙ·user + Σ γeᵢ·itemᵢ          κₙ = 1 − n·γλ, items and users from before the batch
//!              item ← κₙ·item + Σ γeᵢ·userᵢ
//!   r2         the same with eᵢ kept within ±10, user′ᵢ = κ₁·userᵢ + γeᵢ·item in place of userᵢ, and rows kept within ±10
//!
//! The first product of a sum is rounded, every further one is fused with its addition; κₙ·row is fused with the sum. So
//! a batch of one rating is the step of `update.rs`, with the same bits. The dot product has the order of `simd`.
//!
//! ```text
//! ratings of a batch    0:(u3,i1) 1:(u0,i1) 2:(u3,i7)
//! segments of users     u0: 1   u3: 0 2        each is summed by one group of threads, and written once
//! segments of items     i1: 0 1   i7: 2
//! ```
//!
//! Blocks that share no row may run side by side, as ever. Squared errors are added up in 32 sums (rating n of the block
//! to sum n mod 32) that are added in order.
//!
//! Source: mini-batch gradient descent with summed steps; it stays close to the sequential order as long as
//! size · γ · (share of the most frequent row) is well below 1.

use std::mem::take;

use super::{Block, R2_BOUND, Rating, RowShape, Rule, SgdParams, Side};
use crate::KernelError;
use crate::simd::{Cpu, Kernel, Lanes, dot};

/// Sums of squared errors that are kept side by side.
pub(super) const SUMS: usize = 32;

/// How a block is cut into batches, and which ratings of a batch move which row. Follows from block and size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batches {
    pub(super) size: usize,
    pub(super) users: Segments,
    pub(super) items: Segments,
}

/// For one side the ratings of each row in each batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segments {
    /// Places of ratings in the block: batch by batch, row by row, ascending.
    pub(super) order: Vec<u32>,
    /// The row of each segment.
    pub(super) rows: Vec<u32>,
    /// Where each segment starts in `order`, and at the end its length.
    pub(super) starts: Vec<u32>,
    /// The first segment of each batch, and at the end their number.
    pub(super) batches: Vec<u32>,
}

impl Batches {
    /// Cuts a block into batches of `size` ratings; the last may be shorter.
    ///
    /// # Errors
    /// [`KernelError::Parameter`] for a size of 0 or of 2¹⁶ and more, or a block of 2³² ratings and more.
    pub fn new(block: &Block, size: usize) -> Result<Self, KernelError> {
        let check = |name, value: usize, good, expected| {
            if good { Ok(()) } else { Err(KernelError::Parameter { name, value: value as f64, expected }) }
        };
        check("batch", size, (1..1 << 16).contains(&size), "1 to 65535")?;
        let ratings = block.ratings();
        check("ratings of a block", ratings.len(), u32::try_from(ratings.len()).is_ok(), "fewer than 2^32")?;
        let of = |row: fn(&Rating) -> u32| Segments::new(ratings, size, row);
        Ok(Self { size, users: of(|rating| rating.user), items: of(|rating| rating.item) })
    }

    /// Ratings of a batch.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Ratings of the block.
    pub(super) fn ratings(&self) -> usize {
        self.users.order.len()
    }

    /// How many batches there are.
    pub fn batches(&self) -> usize {
        self.users.batches.len() - 1
    }
}

impl Segments {
    fn new(ratings: &[Rating], size: usize, row: fn(&Rating) -> u32) -> Self {
        let mut order: Vec<u32> = (0..ratings.len() as u32).collect();
        let (mut rows, mut starts, mut batches) = (Vec::new(), Vec::new(), vec![0]);
        for (batch, places) in order.chunks_mut(size).enumerate() {
            // Places are distinct, so this is as good as stable.
            places.sort_unstable_by_key(|place| (row(&ratings[*place as usize]), *place));
            for (at, place) in places.iter().enumerate() {
                let of = row(&ratings[*place as usize]);
                if at == 0 || rows.last() != Some(&of) {
                    rows.push(of);
                    starts.push((batch * size + at) as u32);
                }
            }
            batches.push(rows.len() as u32);
        }
        starts.push(ratings.len() as u32);
        Self { order, rows, starts, batches }
    }

    /// Row and places of the segments of a batch.
    fn of(&self, batch: usize) -> impl Iterator<Item = (usize, &[u32])> {
        let segments = self.batches[batch] as usize..self.batches[batch + 1] as usize;
        segments.map(|at| (self.rows[at] as usize, &self.order[self.starts[at] as usize..self.starts[at + 1] as usize]))
    }
}

/// Updates the rows of a block's users and items batch by batch; `batches` is of this block.
///
/// Slices and answer are those of [`super::update_block`]. All paths of `cpu`, and [`super::cuda::update_block_batched`], give
/// the same bits.
///
/// # Errors
/// [`KernelError::Length`] or [`KernelError::Parameter`]; the rows are then as they were.
pub fn update_block_batched(
    cpu: Cpu,
    params: &SgdParams,
    shape: RowShape,
    block: &Block,
    batches: &Batches,
    users: &mut [f32],
    items: &mut [f32],
) -> Result<f64, KernelError> {
    block.check_run(params, shape, users, items)?;
    let stride = shape.stride();
    KernelError::check_length("batches", batches.ratings(), block.ratings().len())?;
    let ratings = block.ratings();
    let cpu = cpu.for_rows(stride);
    Ok(match params.rule {
        Rule::Surprise => cpu.run(Sweep::<false> { params, stride, ratings, batches, users, items }),
        Rule::R2 => cpu.run(Sweep::<true> { params, stride, ratings, batches, users, items }),
    })
}

/// One pass over the batches of a block.
struct Sweep<'a, const R2: bool> {
    params: &'a SgdParams,
    stride: usize,
    ratings: &'a [Rating],
    batches: &'a Batches,
    users: &'a mut [f32],
    items: &'a mut [f32],
}

impl<const R2: bool> Kernel for Sweep<'_, R2> {
    type Output = f64;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> f64 {
        let Self { params, stride, ratings, batches, users, items } = self;
        let mut squares = [0.0; SUMS];
        let (mut errors, mut new_users, mut new_items) = (Vec::new(), Vec::new(), Vec::new());
        for batch in 0..batches.batches() {
            let first = batch * batches.size;
            let of_batch = &ratings[first..ratings.len().min(first + batches.size)];
            errors.clear();
            for (at, rating) in of_batch.iter().enumerate() {
                let user = &users[rating.user as usize * stride..][..stride];
                let item = &items[rating.item as usize * stride..][..stride];
                let mut error = lanes.sub8(lanes.splat8(rating.value - params.mean), dot(lanes, user, item));
                if R2 {
                    error = lanes.clamp8(error, lanes.splat8(R2_BOUND));
                }
                let error = lanes.first(error);
                squares[(first + at) % SUMS] += f64::from(error) * f64::from(error);
                errors.push(error);
            }
            let sums = Sums::<L, R2> { lanes, params, stride, ratings, errors: &errors, first };
            sums.of_users(&batches.users, batch, users, items, &mut new_users);
            sums.of_items(&batches.items, batch, users, items, &mut new_items);
            store(&batches.users, batch, stride, users, &mut new_users);
            store(&batches.items, batch, stride, items, &mut new_items);
        }
        squares.iter().sum()
    }
}

/// Writes the new rows of a batch.
fn store(segments: &Segments, batch: usize, stride: usize, rows: &mut [f32], new: &mut Vec<f32>) {
    let new = take(new);
    for ((row, _), new) in segments.of(batch).zip(new.chunks_exact(stride)) {
        rows[row * stride..][..stride].copy_from_slice(new);
    }
}

/// What the sums of a batch are made of.
struct Sums<'a, L: Lanes, const R2: bool> {
    lanes: L,
    params: &'a SgdParams,
    stride: usize,
    ratings: &'a [Rating],
    /// The errors of the batch.
    errors: &'a [f32],
    /// The first rating of the batch.
    first: usize,
}

/// κ, and which slots move (1) or not (0), of the eight slots from `start` on.
fn slots(side: Side, biases: bool, keep: f32, start: usize) -> ([f32; 8], [f32; 8]) {
    let (mut keeps, mut moves) = ([keep; 8], [1.0; 8]);
    if start == 0 {
        for slot in [side.one_slot(), side.bias_slot()] {
            if slot == side.one_slot() || !biases {
                (keeps[slot], moves[slot]) = (1.0, 0.0);
            }
        }
    }
    (keeps, moves)
}

impl<L: Lanes, const R2: bool> Sums<'_, L, R2> {
    /// κₙ for a row with n ratings.
    fn keep(&self, ratings: usize) -> f32 {
        1.0 - ratings as f32 * (self.params.learning_rate * self.params.regularization)
    }

    /// The new rows of the users of a batch.
    #[inline(always)]
    fn of_users(&self, segments: &Segments, batch: usize, users: &[f32], items: &[f32], new: &mut Vec<f32>) {
        let lanes = self.lanes;
        for (row, places) in segments.of(batch) {
            for start in (0..self.stride).step_by(8) {
                let (keeps, moves) = slots(Side::User, self.params.biases, self.keep(places.len()), start);
                let mut sum = lanes.splat8(0.0);
                for (at, place) in places.iter().enumerate() {
                    let item = eight(items, self.ratings[*place as usize].item as usize * self.stride + start);
                    let step = lanes.mul8(lanes.splat8(self.step(*place)), lanes.load8(&moves));
                    let item = lanes.load8(item);
                    sum = if at == 0 { lanes.mul8(step, item) } else { lanes.fma8(step, item, sum) };
                }
                self.push(eight(users, row * self.stride + start), &keeps, sum, new);
            }
        }
    }

    /// The new rows of the items of a batch.
    #[inline(always)]
    fn of_items(&self, segments: &Segments, batch: usize, users: &[f32], items: &[f32], new: &mut Vec<f32>) {
        let lanes = self.lanes;
        for (row, places) in segments.of(batch) {
            for start in (0..self.stride).step_by(8) {
                let (keeps, moves) = slots(Side::Item, self.params.biases, self.keep(places.len()), start);
                let (user_keeps, user_moves) = slots(Side::User, self.params.biases, self.keep(1), start);
                let item = eight(items, row * self.stride + start);
                let mut sum = lanes.splat8(0.0);
                for (at, place) in places.iter().enumerate() {
                    let user = eight(users, self.ratings[*place as usize].user as usize * self.stride + start);
                    let (rate, mut user) = (lanes.splat8(self.step(*place)), lanes.load8(user));
                    if R2 {
                        let step = lanes.mul8(rate, lanes.load8(&user_moves));
                        user = lanes.fma8(user, lanes.load8(&user_keeps), lanes.mul8(step, lanes.load8(item)));
                    }
                    let step = lanes.mul8(rate, lanes.load8(&moves));
                    sum = if at == 0 { lanes.mul8(step, user) } else { lanes.fma8(step, user, sum) };
                }
                self.push(item, &keeps, sum, new);
            }
        }
    }

    /// γe of a rating.
    #[inline(always)]
    fn step(&self, place: u32) -> f32 {
        self.params.learning_rate * self.errors[place as usize - self.first]
    }

    /// Appends eight slots of a new row.
    #[inline(always)]
    fn push(&self, old: &[f32; 8], keeps: &[f32; 8], sum: L::F8, new: &mut Vec<f32>) {
        let lanes = self.lanes;
        let mut moved = lanes.fma8(lanes.load8(old), lanes.load8(keeps), sum);
        if R2 {
            moved = lanes.clamp8(moved, lanes.splat8(R2_BOUND));
        }
        let mut values = [0.0; 8];
        lanes.store8(moved, &mut values);
        new.extend_from_slice(&values);
    }
}

/// Eight values of a slice from `start` on.
#[inline(always)]
fn eight(values: &[f32], start: usize) -> &[f32; 8] {
    values[start..].first_chunk().expect("rows are whole eights")
}
