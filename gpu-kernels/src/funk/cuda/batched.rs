//! The deterministic mode: `batch.cu`.

use super::lanes;
use super::resident::{DeviceRows, Resident, Square, narrow};
use crate::KernelError;
use crate::device::{Buffer, Device, DeviceError, Kernel, Program, Source, Threads};
use crate::funk::batch::Segments;
use crate::funk::{Batches, RowShape, Rule, SgdParams};

const SOURCE: Source = Source {
    path: "funk/batch.cu",
    text: include_str!("../batch.cu"),
    kernels: &["funk_batch_errors", "funk_batch_rows", "funk_batch_store", "funk_batch_squares"],
};

/// Threads of a block of every kernel here: as in the source.
const BLOCK: usize = 256;
/// Threads for a rating, and for a block's sum of squared errors.
const ERROR_LANES: usize = 4;
const SQUARE_LANES: usize = 32;

/// What a shape of rows needs.
pub(super) fn program(shape: RowShape, rule: Rule) -> Program {
    let stride = shape.stride();
    let defines = [("STRIDE", stride as u32), ("LANES", lanes(stride / 4) as u32), ("R2", u32::from(rule == Rule::R2))];
    Program::new(SOURCE, &defines)
}

/// The segments of one side, of all blocks, with places and rows counted over all blocks and bins.
struct Side {
    order: Buffer<u32>,
    rows: Buffer<u32>,
    starts: Buffer<u32>,
    batches: Buffer<u32>,
}

impl Side {
    fn new(device: &Device, segments: impl Iterator<Item = (u64, usize, Segments)>) -> Result<Self, DeviceError> {
        let (mut order, mut rows, mut starts, mut batches) = (Vec::new(), Vec::new(), Vec::new(), vec![0]);
        for (first, first_row, of_block) in segments {
            let (first, segment) = (first as u32, rows.len() as u32);
            order.extend(of_block.order.iter().map(|place| place + first));
            // The end of a block's last segment is the start of the next block's first.
            starts.extend(of_block.starts[..of_block.rows.len()].iter().map(|start| start + first));
            batches.extend(of_block.batches[1..].iter().map(|end| end + segment));
            rows.extend(of_block.rows.iter().map(|row| row + first_row as u32));
        }
        starts.push(order.len() as u32);
        Ok(Self {
            order: device.upload(&order)?,
            rows: device.upload(&rows)?,
            starts: device.upload(&starts)?,
            batches: device.upload(&batches)?,
        })
    }
}

/// Kernels, and who moves which row when.
pub(super) struct Batched {
    errors: Kernel,
    rows: Kernel,
    store: Kernel,
    squares: Kernel,
    size: usize,
    users: Side,
    items: Side,
    /// The first batch of each block, and their number.
    slices: Buffer<u32>,
    slices_here: Vec<u32>,
    /// The error of each rating in this epoch.
    error_of: Buffer<f32>,
    /// The new rows of a batch: `size` for each user bin.
    new_users: Buffer<f32>,
    new_items: Buffer<f32>,
    /// The sum of squared errors of each block.
    square_of: Buffer<f64>,
}

impl Batched {
    pub(super) fn new(
        device: &Device,
        params: &SgdParams,
        shape: RowShape,
        square: &Square<'_>,
        batches: &[&Batches],
        starts: &[u64],
    ) -> Result<Self, DeviceError> {
        KernelError::check_length("batches", batches.len(), square.blocks.len())?;
        let bins = square.bins();
        let ratings = starts.last().copied().unwrap_or(0) as usize;
        narrow("ratings", ratings)?;
        let size = batches.first().map_or(1, |batches| batches.size());
        if let Some(other) = batches.iter().find(|batches| batches.size() != size) {
            let expected = "the same for every block";
            return Err(KernelError::Parameter { name: "batch", value: other.size() as f64, expected }.into());
        }
        let side = |first_rows: &dyn Fn(usize) -> usize, of: fn(&Batches) -> &Segments| {
            let blocks = batches.iter().enumerate();
            Side::new(device, blocks.map(|(at, batches)| (starts[at], first_rows(at), of(batches).clone())))
        };
        let mut slices_here = vec![0];
        for batches in batches {
            slices_here.push(slices_here[slices_here.len() - 1] + batches.batches() as u32);
        }
        let program = program(shape, params.rule);
        let kernel = |name| device.kernel(&program, name, 0);
        Ok(Self {
            errors: kernel("funk_batch_errors")?,
            rows: kernel("funk_batch_rows")?,
            store: kernel("funk_batch_store")?,
            squares: kernel("funk_batch_squares")?,
            size,
            users: side(&|at| square.user_starts[at / bins], |batches| &batches.users)?,
            items: side(&|at| square.item_starts[at % bins], |batches| &batches.items)?,
            slices: device.upload(&slices_here)?,
            slices_here,
            error_of: device.zeros(ratings)?,
            new_users: device.allocate(bins * size * shape.stride())?,
            new_items: device.allocate(bins * size * shape.stride())?,
            square_of: device.zeros(bins * bins)?,
        })
    }

    /// Runs an epoch; answers the sum of squared errors, added up as [`crate::funk::run_epoch_batched`] does.
    pub(super) fn epoch(
        &self,
        device: &Device,
        params: &SgdParams,
        resident: &Resident,
        columns: &[u32],
    ) -> Result<f64, DeviceError> {
        let bins = resident.bins;
        let block = |stratum: usize, user_bin: usize| user_bin * bins + columns[(user_bin + stratum) % bins] as usize;
        for stratum in 0..bins {
            let batches = |user_bin| {
                let block = block(stratum, user_bin);
                self.slices_here[block + 1] - self.slices_here[block]
            };
            let turns = (0..bins).map(batches).max().unwrap_or(0);
            for turn in 0..turns {
                self.batch(device, params, resident, stratum as u32, turn)?;
            }
        }
        let blocks = bins * bins;
        let threads = self.threads(blocks, SQUARE_LANES, [1, 1]);
        let arguments =
            [(&self.error_of).into(), (&resident.starts).into(), (blocks as u32).into(), (&self.square_of).into()];
        // SAFETY: the parameters of `funk_batch_squares`; blocks lie within the ratings, each has one sum.
        unsafe { device.launch(self.squares, threads, &arguments)? };
        let squares = device.download(&self.square_of)?;
        let order = (0..bins).flat_map(|stratum| (0..bins).map(move |user_bin| (stratum, user_bin)));
        Ok(order.map(|(stratum, user_bin)| squares[block(stratum, user_bin)]).sum())
    }

    /// Runs one batch of each block of a stratum.
    fn batch(
        &self,
        device: &Device,
        params: &SgdParams,
        resident: &Resident,
        stratum: u32,
        turn: u32,
    ) -> Result<(), DeviceError> {
        let DeviceRows::F32 { users, items } = &resident.rows else {
            return Err(DeviceError::Unsupported { what: "bits of a number in batches", got: 16, limit: 32 });
        };
        let (bins, size) = (resident.bins as u32, self.size as u32);
        let decay = params.learning_rate * params.regularization;
        let lanes = lanes(resident.shape.stride() / 4);
        let errors = [
            (&resident.ratings).into(),
            (&resident.starts).into(),
            (&resident.columns).into(),
            bins.into(),
            stratum.into(),
            turn.into(),
            size.into(),
            users.into(),
            items.into(),
            params.mean.into(),
            (&self.error_of).into(),
        ];
        let rows = [
            (&resident.ratings).into(),
            (&self.error_of).into(),
            (&resident.columns).into(),
            bins.into(),
            stratum.into(),
            turn.into(),
            size.into(),
            (&self.slices).into(),
            users.into(),
            items.into(),
            (&self.users.order).into(),
            (&self.users.rows).into(),
            (&self.users.starts).into(),
            (&self.users.batches).into(),
            (&self.items.order).into(),
            (&self.items.rows).into(),
            (&self.items.starts).into(),
            (&self.items.batches).into(),
            params.learning_rate.into(),
            decay.into(),
            u32::from(params.biases).into(),
            (&self.new_users).into(),
            (&self.new_items).into(),
        ];
        let store = [
            (&resident.columns).into(),
            bins.into(),
            stratum.into(),
            turn.into(),
            size.into(),
            (&self.slices).into(),
            (&self.users.rows).into(),
            (&self.users.batches).into(),
            (&self.items.rows).into(),
            (&self.items.batches).into(),
            (&self.new_users).into(),
            (&self.new_items).into(),
            users.into(),
            items.into(),
        ];
        // SAFETY: the parameters of the three kernels, in turn. Ratings lie within the rows, places of a segment within
        // the ratings (both checked when blocks and batches were made), a batch has at most `size` segments a side.
        unsafe {
            device.launch(self.errors, self.threads(self.size, ERROR_LANES, [bins, 1]), &errors)?;
            device.launch(self.rows, self.threads(self.size, lanes, [bins, 2]), &rows)?;
            device.launch(self.store, self.threads(self.size, lanes, [bins, 2]), &store)
        }
    }

    /// Groups of `lanes` threads, `count` of them for each of the other dimensions.
    fn threads(&self, count: usize, lanes: usize, others: [u32; 2]) -> Threads {
        let blocks = [(count * lanes).div_ceil(BLOCK) as u32, others[0], others[1]];
        Threads { blocks, per_block: BLOCK as u32, shared_bytes: 0 }
    }
}
