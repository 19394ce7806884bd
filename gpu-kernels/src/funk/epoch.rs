//! Runs the blocks of one epoch on threads. Invariant: every user bin and every item bin sees its blocks in the order
//! of the strata, so the result does not depend on the number of threads or on how they are scheduled.
//!
//! There is no barrier between strata. Threads claim blocks in the order (stratum, user bin) from one counter. A block
//! starts when its user bin and its item bin have each finished as many blocks as there are strata before it. The
//! earliest claimed block that is not done can always run, so threads never wait for each other in a circle.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{Batches, Bins, Grid, RowShape, SgdParams, Strata, update_block, update_block_batched};
use crate::parallel::check_threads;
use crate::{Cpu, KernelError};

/// How often a waiting thread looks again before it lets others run.
const SPINS: usize = 200;

/// Runs one epoch over the rows of all user bins and all item bins, each bin after bin; answers the sum of the squared
/// errors that ratings had just before their updates, the same for any number of threads.
///
/// # Errors
/// [`KernelError::Length`] if the slices do not hold the grid's rows, [`KernelError::Parameter`] for a bad parameter, 0
/// threads, or a grid that is not square or has other strata.
#[allow(clippy::too_many_arguments, reason = "a kernel's inputs, each of its own kind")]
pub fn run_epoch(
    cpu: Cpu,
    params: &SgdParams,
    shape: RowShape,
    grid: &Grid,
    strata: &Strata,
    users: &mut [f32],
    items: &mut [f32],
    threads: usize,
) -> Result<f64, KernelError> {
    run_blocks(params, shape, grid, strata, users, items, threads, |block, users, items| {
        update_block(cpu, params, shape, &grid.blocks()[block], users, items)
    })
}

/// As [`run_epoch`], with [`update_block_batched`] for each block; `batches` has an entry for each block of the grid.
///
/// # Errors
/// As [`run_epoch`].
#[allow(clippy::too_many_arguments, reason = "a kernel's inputs, each of its own kind")]
pub fn run_epoch_batched(
    cpu: Cpu,
    params: &SgdParams,
    shape: RowShape,
    grid: &Grid,
    batches: &[Batches],
    strata: &Strata,
    users: &mut [f32],
    items: &mut [f32],
    threads: usize,
) -> Result<f64, KernelError> {
    KernelError::check_length("batches", batches.len(), grid.blocks().len())?;
    for (batches, block) in batches.iter().zip(grid.blocks()) {
        KernelError::check_length("batches", batches.ratings(), block.ratings().len())?;
    }
    run_blocks(params, shape, grid, strata, users, items, threads, |block, users, items| {
        update_block_batched(cpu, params, shape, &grid.blocks()[block], &batches[block], users, items)
    })
}

#[allow(clippy::too_many_arguments, reason = "a kernel's inputs, each of its own kind")]
fn run_blocks(
    params: &SgdParams,
    shape: RowShape,
    grid: &Grid,
    strata: &Strata,
    users: &mut [f32],
    items: &mut [f32],
    threads: usize,
    run_block: impl Fn(usize, &mut [f32], &mut [f32]) -> Result<f64, KernelError> + Sync,
) -> Result<f64, KernelError> {
    params.validate()?;
    check_threads(threads)?;
    let bins = strata.bins();
    if bins != grid.users().bins() || bins != grid.items().bins() {
        let expected = "those of both sides of the grid";
        return Err(KernelError::Parameter { name: "bins", value: bins as f64, expected });
    }
    KernelError::check_length("users", users.len(), grid.users().ids() * shape.stride())?;
    KernelError::check_length("items", items.len(), grid.items().ids() * shape.stride())?;

    let epoch = Epoch {
        users: split(users, grid.users(), shape),
        items: split(items, grid.items(), shape),
        next: AtomicUsize::new(0),
        squares: (0..bins * bins).map(|_| Mutex::new(0.0)).collect(),
        abandoned: AtomicBool::new(false),
    };
    let work = || {
        while let Some((stratum, user_bin)) = epoch.claim(bins) {
            let item_bin = strata.item_bin(stratum, user_bin);
            let block = user_bin * bins + item_bin;
            epoch.run(stratum, user_bin, item_bin, |users, items| {
                run_block(block, users, items).expect("checked above")
            });
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(bins) {
            scope.spawn(work);
        }
        work();
    });
    Ok(epoch.squares.iter().map(|squares| *squares.lock().expect("no thread panicked")).sum())
}

/// The rows of one bin, and how many blocks of the epoch they have been through.
struct Bin<'a> {
    rows: Mutex<&'a mut [f32]>,
    done: AtomicUsize,
}

impl Bin<'_> {
    fn finish(&self) {
        self.done.fetch_add(1, Ordering::Release);
    }
}

/// Cuts the rows of a side into bins.
fn split<'a>(mut rows: &'a mut [f32], bins: &Bins, shape: RowShape) -> Vec<Bin<'a>> {
    let cut = |bin| {
        let (of_bin, rest) = std::mem::take(&mut rows).split_at_mut(bins.rows(bin).len() * shape.stride());
        rows = rest;
        Bin { rows: Mutex::new(of_bin), done: AtomicUsize::new(0) }
    };
    (0..bins.bins()).map(cut).collect()
}

/// What the threads of an epoch share.
struct Epoch<'a> {
    users: Vec<Bin<'a>>,
    items: Vec<Bin<'a>>,
    next: AtomicUsize,
    /// Squared errors of each block, in the order of claiming.
    squares: Vec<Mutex<f64>>,
    /// A thread panicked: what it was to finish will never be done.
    abandoned: AtomicBool,
}

impl Epoch<'_> {
    /// The next block in order: its stratum and user bin.
    fn claim(&self, bins: usize) -> Option<(usize, usize)> {
        let at = self.next.fetch_add(1, Ordering::Relaxed);
        (at < bins * bins).then(|| (at / bins, at % bins))
    }

    /// Runs a block once it is its turn.
    fn run(&self, stratum: usize, user_bin: usize, item_bin: usize, block: impl Fn(&mut [f32], &mut [f32]) -> f64) {
        let (users, items) = (&self.users[user_bin], &self.items[item_bin]);
        if !self.wait(&users.done, stratum) || !self.wait(&items.done, stratum) {
            return;
        }
        let alarm = Alarm(&self.abandoned);
        // Both locks are free: whoever held them before has counted its block as done.
        let mut user_rows = users.rows.lock().expect("no thread panicked");
        let mut item_rows = items.rows.lock().expect("no thread panicked");
        let squares = block(&mut user_rows, &mut item_rows);
        *self.squares[stratum * self.users.len() + user_bin].lock().expect("no thread panicked") = squares;
        drop((user_rows, item_rows));
        users.finish();
        items.finish();
        std::mem::forget(alarm);
    }

    /// Waits until `done` has come to `stratum`; false if it never will.
    fn wait(&self, done: &AtomicUsize, stratum: usize) -> bool {
        for look in 0.. {
            if done.load(Ordering::Acquire) == stratum {
                break;
            }
            if self.abandoned.load(Ordering::Relaxed) {
                return false;
            }
            if look % SPINS == SPINS - 1 { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
        true
    }
}

/// Tells the other threads when this one panics in a block.
struct Alarm<'a>(&'a AtomicBool);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
