//! What lies on a device during a training: ratings and rows of a square of blocks. See `update.cu` and `batch.cu` for
//! the layout.

use super::batched::Batched;
use super::fast::Fast;
use crate::device::{Buffer, Device, DeviceError};
use crate::funk::{Batches, Block, Grid, Rating, RowShape, SgdParams};
use crate::{KernelError, device};

/// How rows are held on the device in [`Mode::Fast`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Storage {
    /// As on the CPU.
    #[default]
    F32,
    /// Half the bytes: for rows that are larger than the device's cache (k = 128). Arithmetic is the same; each addition
    /// rounds to 11 bits.
    F16,
}

/// How updates that touch the same row are brought together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Atomic additions.
    Fast {
        /// Most updates in flight; none: what [`super::in_flight`] says.
        in_flight: Option<usize>,
        /// How rows are held.
        storage: Storage,
    },
    /// Sums over batches, in a fixed order.
    Batches {
        /// Ratings of a block that are in a batch: part of the model's definition.
        size: usize,
    },
}

/// Ratings and rows on a device.
pub(super) struct Resident {
    pub(super) shape: RowShape,
    /// Bins of each side.
    pub(super) bins: usize,
    pub(super) ratings: Buffer<Rating>,
    /// First rating of each block, and their number.
    pub(super) starts: Buffer<u64>,
    /// The same on the host.
    pub(super) starts_here: Vec<u64>,
    /// The order of item bins in this epoch.
    pub(super) columns: Buffer<u32>,
    pub(super) rows: DeviceRows,
    work: Work,
}

/// The rows of both sides.
pub(super) enum DeviceRows {
    F32 { users: Buffer<f32>, items: Buffer<f32> },
    F16 { users: Buffer<u16>, items: Buffer<u16> },
}

enum Work {
    Fast(Fast),
    Batched(Box<Batched>),
}

/// A square of blocks and where their rows start.
pub(super) struct Square<'a> {
    pub(super) blocks: Vec<&'a Block>,
    pub(super) user_starts: Vec<usize>,
    pub(super) item_starts: Vec<usize>,
}

impl<'a> Square<'a> {
    /// All blocks of a grid, which is square.
    pub(super) fn of_grid(grid: &'a Grid) -> Result<Self, KernelError> {
        let (users, items) = (grid.users(), grid.items());
        if users.bins() != items.bins() {
            let expected = "as many for items as for users";
            return Err(KernelError::Parameter { name: "bins", value: items.bins() as f64, expected });
        }
        Ok(Self {
            blocks: grid.blocks().iter().collect(),
            user_starts: (0..users.bins()).map(|bin| users.rows(bin).start).collect(),
            item_starts: (0..items.bins()).map(|bin| items.rows(bin).start).collect(),
        })
    }

    fn of_block(block: &'a Block) -> Self {
        Self { blocks: vec![block], user_starts: vec![0], item_starts: vec![0] }
    }

    pub(super) fn bins(&self) -> usize {
        self.user_starts.len()
    }

    /// The ratings of all blocks with rows counted over all bins.
    pub(super) fn ratings(&self) -> impl Iterator<Item = Rating> {
        self.blocks.iter().enumerate().flat_map(|(at, block)| {
            let (user, item) = (self.user_starts[at / self.bins()], self.item_starts[at % self.bins()]);
            block.ratings().iter().map(move |rating| Rating {
                user: rating.user + user as u32,
                item: rating.item + item as u32,
                value: rating.value,
            })
        })
    }

    /// First rating of each block, and their number.
    pub(super) fn starts(&self) -> Vec<u64> {
        let mut starts = vec![0];
        starts.extend(self.blocks.iter().scan(0, |sum, block| {
            *sum += block.ratings().len() as u64;
            Some(*sum)
        }));
        starts
    }
}

impl Resident {
    /// Brings ratings and rows to a device. `batches` has one entry a block in [`Mode::Batches`], else none.
    #[allow(clippy::too_many_arguments, reason = "a training's inputs, each of its own kind")]
    pub(super) fn new(
        device: &Device,
        params: &SgdParams,
        shape: RowShape,
        square: &Square<'_>,
        batches: &[&Batches],
        mode: Mode,
        users: &[f32],
        items: &[f32],
    ) -> Result<Self, DeviceError> {
        params.validate()?;
        let ratings: Vec<Rating> = square.ratings().collect();
        let (starts_here, bins) = (square.starts(), square.bins());
        let work = match mode {
            Mode::Fast { in_flight, storage } => {
                Work::Fast(Fast::new(device, params, shape, &ratings, bins, in_flight, storage)?)
            }
            Mode::Batches { .. } => {
                let batched = Batched::new(device, params, shape, square, batches, &starts_here)?;
                Work::Batched(Box::new(batched))
            }
        };
        let rows = match mode {
            Mode::Fast { storage: Storage::F16, .. } => {
                let users = super::fast::to_halves(device, shape, params.rule, users)?;
                DeviceRows::F16 { users, items: super::fast::to_halves(device, shape, params.rule, items)? }
            }
            _ => DeviceRows::F32 { users: device.upload(users)?, items: device.upload(items)? },
        };
        Ok(Self {
            shape,
            bins,
            ratings: device.upload(&ratings)?,
            starts: device.upload(&starts_here)?,
            starts_here,
            columns: device.zeros(bins)?,
            rows,
            work,
        })
    }

    /// Runs all strata of an epoch, in which stratum s has user bin b meet item bin `columns[(b + s) mod bins]`. Answers
    /// the sum of squared errors before their updates.
    pub(super) fn epoch(&mut self, device: &Device, params: &SgdParams, columns: &[u32]) -> Result<f64, DeviceError> {
        device.write(columns, &mut self.columns)?;
        match &self.work {
            Work::Fast(fast) => fast.epoch(device, params, self),
            Work::Batched(batched) => batched.epoch(device, params, self, columns),
        }
    }

    /// Copies the rows to the host.
    pub(super) fn download(
        &self,
        device: &Device,
        params: &SgdParams,
        users: &mut [f32],
        items: &mut [f32],
    ) -> Result<(), DeviceError> {
        match &self.rows {
            DeviceRows::F32 { users: from_users, items: from_items } => {
                device.read(from_users, users)?;
                device.read(from_items, items)
            }
            DeviceRows::F16 { users: from_users, items: from_items } => {
                super::fast::of_halves(device, self.shape, params.rule, from_users, users)?;
                super::fast::of_halves(device, self.shape, params.rule, from_items, items)
            }
        }
    }
}

/// The twin of [`crate::funk::update_block`] in [`Mode::Fast`]: updates the rows of a block's users and items by its
/// ratings, in no particular order. The answer is that of the CPU's function; bits differ from run to run.
///
/// A block of few rows allows few updates in flight: a device is for blocks that are a good part of all ratings. They are
/// to be shuffled ([`crate::funk::Order::Shuffled`]), so that a user's ratings are not all in flight together.
///
/// # Errors
/// [`DeviceError::Input`] as on the CPU, and whatever the device says; the rows are then as they were.
pub fn update_block(
    device: &Device,
    params: &SgdParams,
    shape: RowShape,
    block: &Block,
    users: &mut [f32],
    items: &mut [f32],
) -> Result<f64, DeviceError> {
    let mode = Mode::Fast { in_flight: None, storage: Storage::F32 };
    run_block(device, params, shape, block, &[], mode, users, items)
}

/// The twin of [`crate::funk::update_block_batched`]: the same bits in rows and answer. `batches` is of this block.
///
/// # Errors
/// As [`update_block`].
pub fn update_block_batched(
    device: &Device,
    params: &SgdParams,
    shape: RowShape,
    block: &Block,
    batches: &Batches,
    users: &mut [f32],
    items: &mut [f32],
) -> Result<f64, DeviceError> {
    KernelError::check_length("batches", batches.ratings(), block.ratings().len())?;
    run_block(device, params, shape, block, &[batches], Mode::Batches { size: batches.size() }, users, items)
}

#[allow(clippy::too_many_arguments, reason = "a kernel's inputs, each of its own kind")]
fn run_block(
    device: &Device,
    params: &SgdParams,
    shape: RowShape,
    block: &Block,
    batches: &[&Batches],
    mode: Mode,
    users: &mut [f32],
    items: &mut [f32],
) -> Result<f64, DeviceError> {
    block.check_run(params, shape, users, items)?;
    let square = Square::of_block(block);
    let mut resident = Resident::new(device, params, shape, &square, batches, mode, users, items)?;
    let squares = resident.epoch(device, params, &[0])?;
    let (mut new_users, mut new_items) = (vec![0.0; users.len()], vec![0.0; items.len()]);
    resident.download(device, params, &mut new_users, &mut new_items)?;
    users.copy_from_slice(&new_users);
    items.copy_from_slice(&new_items);
    Ok(squares)
}

/// A number as a kernel's parameter; an error where it has more than 32 bits.
pub(super) fn narrow(what: &'static str, value: usize) -> Result<u32, DeviceError> {
    u32::try_from(value).map_err(|_| device::DeviceError::Unsupported { what, got: value, limit: u32::MAX as usize })
}
