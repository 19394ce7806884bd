//! The stochastic gradient step of biased matrix factorisation, over the ratings of one block, one after another.
//!
//!   e = r − μ − user · item                    (rows hold their biases, see `rows.rs`)
//!   surprise   user ← κ·user + γe·item         κ = 1 − γλ, both from the old rows
//!              item ← κ·item + γe·user
//!   r2         e ← clamp(e); user′ = κ·user + γe·item; item ← clamp(κ·item + γe·user′); user ← clamp(user′)
//!
//! Every product-and-sum is one fused operation. In the first lanes of a row κ and γe are vectors: the constant 1 (and
//! each bias that is not learnt) has κ = 1 and γe = 0, which keeps it exactly. Zeros of the padding stay zero.
//! Rows of the rating [`AHEAD`] further on are prefetched.
//!
//! Source: S. Funk, "Netflix update: try this at home" (2006); the rule `surprise` is the one of scikit-surprise's SVD.

use super::{Block, R2_BOUND, Rating, RowShape, Rule, SgdParams, Side};
use crate::KernelError;
use crate::simd::{Cpu, Kernel, Lanes, dot};

/// How many ratings ahead rows are prefetched.
const AHEAD: usize = 6;

/// Updates the rows of a block's users and items by its ratings, in their order.
///
/// `users` and `items` hold [`RowShape::stride`] floats for each row of the block. Answers the sum of the squared
/// errors that the ratings had just before their updates (after clamping, for [`Rule::R2`]). A diverging model shows as
/// a sum that is not finite. All paths of `cpu` give the same bits.
///
/// # Errors
/// [`KernelError::Length`] or [`KernelError::Parameter`]; the rows are then as they were.
pub fn update_block(
    cpu: Cpu,
    params: &SgdParams,
    shape: RowShape,
    block: &Block,
    users: &mut [f32],
    items: &mut [f32],
) -> Result<f64, KernelError> {
    block.check_run(params, shape, users, items)?;
    let stride = shape.stride();
    Ok(match params.rule {
        Rule::Surprise => of_stride::<false>(cpu, params, stride, block.ratings(), users, items),
        Rule::R2 => of_stride::<true>(cpu, params, stride, block.ratings(), users, items),
    })
}

/// Fixes the usual strides at compile time, which is worth a fifth of the time and more.
fn of_stride<const R2: bool>(
    cpu: Cpu,
    params: &SgdParams,
    stride: usize,
    ratings: &[Rating],
    users: &mut [f32],
    items: &mut [f32],
) -> f64 {
    macro_rules! run {
        ($fixed:literal) => {
            cpu.for_rows(stride).run(Sweep::<R2, $fixed> { params, stride, ratings, users, items })
        };
    }
    match stride {
        8 => run!(8),
        16 => run!(16),
        24 => run!(24),
        40 => run!(40),
        72 => run!(72),
        104 => run!(104),
        136 => run!(136),
        _ => run!(0),
    }
}

/// One pass over ratings; `FIXED` is the stride, or 0 for any.
struct Sweep<'a, const R2: bool, const FIXED: usize> {
    params: &'a SgdParams,
    stride: usize,
    ratings: &'a [Rating],
    users: &'a mut [f32],
    items: &'a mut [f32],
}

impl<const R2: bool, const FIXED: usize> Kernel for Sweep<'_, R2, FIXED> {
    type Output = f64;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> f64 {
        let Self { params, ratings, users, items, .. } = self;
        let stride = if FIXED == 0 { self.stride } else { FIXED };
        let step = Step::<L, R2>::new(lanes, params);
        let mut squares = 0.0;
        for (at, rating) in ratings.iter().enumerate() {
            if let Some(next) = ratings.get(at + AHEAD) {
                for line in (0..stride).step_by(16) {
                    lanes.prefetch(users, next.user as usize * stride + line);
                    lanes.prefetch(items, next.item as usize * stride + line);
                }
            }
            let user = &mut users[rating.user as usize * stride..][..stride];
            let item = &mut items[rating.item as usize * stride..][..stride];
            let error = f64::from(step.apply(user, item, rating.value - params.mean));
            squares += error * error;
        }
        squares
    }
}

/// The constants of a pass, in registers.
struct Step<L: Lanes, const R2: bool> {
    lanes: L,
    rate: L::F8,
    keep: L::F16,
    bound: L::F8,
    user: Head,
    item: Head,
}

/// What the first lanes of a side do: κ, and which of them move.
struct Head {
    keep: [f32; 16],
    moves: [f32; 16],
}

impl Head {
    fn new(side: Side, keep: f32, biases: bool) -> Self {
        let mut head = Self { keep: [keep; 16], moves: [1.0; 16] };
        for slot in [side.one_slot(), side.bias_slot()] {
            if slot == side.one_slot() || !biases {
                (head.keep[slot], head.moves[slot]) = (1.0, 0.0);
            }
        }
        head
    }
}

impl<L: Lanes, const R2: bool> Step<L, R2> {
    #[inline(always)]
    fn new(lanes: L, params: &SgdParams) -> Self {
        let keep = 1.0 - params.learning_rate * params.regularization;
        Self {
            lanes,
            rate: lanes.splat8(params.learning_rate),
            keep: lanes.splat16(keep),
            bound: lanes.splat8(R2_BOUND),
            user: Head::new(Side::User, keep, params.biases),
            item: Head::new(Side::Item, keep, params.biases),
        }
    }

    /// Updates two rows by one rating of which the mean is taken off; answers the error.
    #[inline(always)]
    fn apply(&self, user: &mut [f32], item: &mut [f32], rating: f32) -> f32 {
        let lanes = self.lanes;
        let mut error = lanes.sub8(lanes.splat8(rating), dot(lanes, user, item));
        if R2 {
            error = lanes.clamp8(error, self.bound);
        }
        let step = lanes.mul8(self.rate, error);
        let wide = lanes.twice(step);
        let (users, users_rest) = user.as_chunks_mut::<16>();
        let (items, items_rest) = item.as_chunks_mut::<16>();
        let last = (users_rest.as_chunks_mut::<8>().0.first_mut(), items_rest.as_chunks_mut::<8>().0.first_mut());
        if let ([first_user, users @ ..], [first_item, items @ ..]) = (users, items) {
            let user_step = lanes.mul16(wide, lanes.load16(&self.user.moves));
            let item_step = lanes.mul16(wide, lanes.load16(&self.item.moves));
            let (user_keep, item_keep) = (lanes.load16(&self.user.keep), lanes.load16(&self.item.keep));
            self.move16(first_user, first_item, (user_keep, user_step), (item_keep, item_step));
            for (user, item) in users.iter_mut().zip(items) {
                self.move16(user, item, (self.keep, wide), (self.keep, wide));
            }
            if let (Some(user), Some(item)) = last {
                let keep = lanes.halves(self.keep).0;
                self.move8(user, item, (keep, step), (keep, step));
            }
        } else if let (Some(user), Some(item)) = last {
            let half = |head: &[f32; 16]| lanes.halves(lanes.load16(head)).0;
            let user_step = lanes.mul8(step, half(&self.user.moves));
            let item_step = lanes.mul8(step, half(&self.item.moves));
            self.move8(user, item, (half(&self.user.keep), user_step), (half(&self.item.keep), item_step));
        }
        lanes.first(error)
    }

    /// Moves sixteen lanes of both rows; each side has its κ and its γe.
    #[inline(always)]
    fn move16(&self, p: &mut [f32; 16], q: &mut [f32; 16], user: (L::F16, L::F16), item: (L::F16, L::F16)) {
        let lanes = self.lanes;
        let (old_p, old_q) = (lanes.load16(p), lanes.load16(q));
        let mut new_p = lanes.fma16(old_p, user.0, lanes.mul16(user.1, old_q));
        let seen = if R2 { new_p } else { old_p };
        let mut new_q = lanes.fma16(old_q, item.0, lanes.mul16(item.1, seen));
        if R2 {
            let bound = lanes.twice(self.bound);
            (new_p, new_q) = (lanes.clamp16(new_p, bound), lanes.clamp16(new_q, bound));
        }
        lanes.store16(new_p, p);
        lanes.store16(new_q, q);
    }

    /// As [`Step::move16`], for eight lanes.
    #[inline(always)]
    fn move8(&self, p: &mut [f32; 8], q: &mut [f32; 8], user: (L::F8, L::F8), item: (L::F8, L::F8)) {
        let lanes = self.lanes;
        let (old_p, old_q) = (lanes.load8(p), lanes.load8(q));
        let mut new_p = lanes.fma8(old_p, user.0, lanes.mul8(user.1, old_q));
        let seen = if R2 { new_p } else { old_p };
        let mut new_q = lanes.fma8(old_q, item.0, lanes.mul8(item.1, seen));
        if R2 {
            (new_p, new_q) = (lanes.clamp8(new_p, self.bound), lanes.clamp8(new_q, self.bound));
        }
        lanes.store8(new_p, p);
        lanes.store8(new_q, q);
    }
}
