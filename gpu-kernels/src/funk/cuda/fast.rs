//! The fast mode: `update.cu`.

use super::lanes;
use super::resident::{DeviceRows, Resident, Storage, narrow};
use crate::device::{Argument, Buffer, Device, DeviceError, Kernel, Program, Source, Threads};
use crate::funk::{Rating, RowShape, Rule, SgdParams};

const SOURCE: Source = Source { path: "funk/update.cu", text: include_str!("../update.cu"), kernels: &["funk_update"] };
const SOURCE_OF_HALVES: Source = Source { kernels: &["funk_update", "rows_to_halves", "rows_of_halves"], ..SOURCE };

/// Threads of a block of every kernel here, and ratings that a group takes at a time: as in the source.
const BLOCK: usize = 256;
const RUN: usize = 8;
/// Sums of squared errors that blocks of threads add to: as in the source.
const PLACES: usize = 64;

/// Most updates in flight: beyond it, errors start to grow even where no row is frequent.
pub const MOST_IN_FLIGHT: usize = 32_768;

/// How many updates may be in flight so that the model is as good as a sequential one: the steps that a row gets from one
/// state add up to less than a quarter of it. `most` is the number of ratings of the most frequent row among `ratings`.
///
/// Source: measured in simulation on data of MovieLens' shape; within 0.1 % of the sequential error.
pub fn in_flight(learning_rate: f32, most: usize, ratings: usize) -> usize {
    let share = most.max(1) as f64 / ratings.max(1) as f64;
    let limit = 0.25 / (f64::from(learning_rate) * share);
    (limit as usize).clamp(1, MOST_IN_FLIGHT)
}

/// Numbers from one row to the next on the device. Rows of fp16 start on 32 bytes, as those of floats do.
fn stride(shape: RowShape, storage: Storage) -> usize {
    match storage {
        Storage::F32 => shape.stride(),
        Storage::F16 => shape.stride().next_multiple_of(16),
    }
}

fn group(shape: RowShape, storage: Storage) -> usize {
    let width = if storage == Storage::F16 { 8 } else { 4 };
    lanes(stride(shape, storage) / width)
}

/// What a shape of rows needs.
pub(super) fn program(shape: RowShape, rule: Rule, storage: Storage) -> Program {
    let half = storage == Storage::F16;
    let defines = [
        ("STRIDE", stride(shape, storage) as u32),
        ("LANES", group(shape, storage) as u32),
        ("HALF", u32::from(half)),
        ("R2", u32::from(rule == Rule::R2)),
    ];
    Program::new(if half { SOURCE_OF_HALVES } else { SOURCE }, &defines)
}

/// The kernel and what is fixed for a training.
pub(super) struct Fast {
    kernel: Kernel,
    /// Updates in flight.
    groups: usize,
    /// Threads of a group.
    lanes: usize,
}

impl Fast {
    pub(super) fn new(
        device: &Device,
        params: &SgdParams,
        shape: RowShape,
        ratings: &[Rating],
        bins: usize,
        in_flight: Option<usize>,
        storage: Storage,
    ) -> Result<Self, DeviceError> {
        let groups = in_flight.unwrap_or_else(|| self::in_flight(params.learning_rate, most(ratings), ratings.len()));
        let groups = groups.clamp(1, MOST_IN_FLIGHT);
        // As many on each block of a stratum.
        let groups = if groups < bins { groups } else { groups / bins * bins };
        let kernel = device.kernel(&program(shape, params.rule, storage), "funk_update", 0)?;
        Ok(Self { kernel, groups, lanes: group(shape, storage) })
    }

    /// Runs an epoch; answers the sum of squared errors.
    pub(super) fn epoch(&self, device: &Device, params: &SgdParams, resident: &Resident) -> Result<f64, DeviceError> {
        let bins = resident.bins;
        let squares = device.zeros::<f64>(PLACES)?;
        let (users, items): (Argument, Argument) = match &resident.rows {
            DeviceRows::F32 { users, items } => (users.into(), items.into()),
            DeviceRows::F16 { users, items } => (users.into(), items.into()),
        };
        let most = resident.starts_here.windows(2).map(|ends| ends[1] - ends[0]).max().unwrap_or(0);
        let side_by_side = self.groups / self.groups.min(bins);
        let rounds = narrow("ratings of a block", (most as usize).div_ceil(side_by_side * RUN))?;
        let blocks = (self.groups * self.lanes).div_ceil(BLOCK) as u32;
        let threads = Threads { blocks: [blocks, 1, 1], per_block: BLOCK as u32, shared_bytes: 0 };
        for stratum in 0..bins as u32 {
            let arguments = [
                (&resident.ratings).into(),
                (&resident.starts).into(),
                (&resident.columns).into(),
                (bins as u32).into(),
                stratum.into(),
                (self.groups as u32).into(),
                rounds.into(),
                users,
                items,
                params.mean.into(),
                params.learning_rate.into(),
                (params.learning_rate * params.regularization).into(),
                u32::from(params.biases).into(),
                (&squares).into(),
            ];
            // SAFETY: the parameters of `funk_update`; ratings lie within the rows (checked by their blocks), blocks within
            // the ratings, columns are a permutation of the bins, and there are PLACES sums.
            unsafe { device.launch(self.kernel, threads, &arguments)? };
        }
        Ok(device.download(&squares)?.iter().sum())
    }
}

/// How many ratings the most frequent row of either side has.
fn most(ratings: &[Rating]) -> usize {
    let of = |row: fn(&Rating) -> u32| {
        let mut counts = vec![0_usize; ratings.iter().map(|rating| row(rating) as usize + 1).max().unwrap_or(0)];
        ratings.iter().for_each(|rating| counts[row(rating) as usize] += 1);
        counts.into_iter().max().unwrap_or(0)
    };
    of(|rating| rating.user).max(of(|rating| rating.item))
}

/// Brings rows to a device as fp16 numbers.
pub(super) fn to_halves(
    device: &Device,
    shape: RowShape,
    rule: Rule,
    rows: &[f32],
) -> Result<Buffer<u16>, DeviceError> {
    let stride = stride(shape, Storage::F16);
    let count = rows.len() / shape.stride();
    let kernel = device.kernel(&program(shape, rule, Storage::F16), "rows_to_halves", 0)?;
    let wide = device.upload(rows)?;
    let halves = device.zeros::<u16>(count * stride)?;
    let arguments = [(&wide).into(), (count as u64).into(), (shape.stride() as u32).into(), (&halves).into()];
    // SAFETY: the parameters of `rows_to_halves`: `count` rows of either stride.
    unsafe { device.launch(kernel, pairs(count, stride)?, &arguments)? };
    Ok(halves)
}

/// Copies rows of fp16 numbers to the host.
pub(super) fn of_halves(
    device: &Device,
    shape: RowShape,
    rule: Rule,
    halves: &Buffer<u16>,
    rows: &mut [f32],
) -> Result<(), DeviceError> {
    let stride = stride(shape, Storage::F16);
    let count = rows.len() / shape.stride();
    let kernel = device.kernel(&program(shape, rule, Storage::F16), "rows_of_halves", 0)?;
    let wide = device.zeros::<f32>(rows.len())?;
    let arguments = [halves.into(), (count as u64).into(), (shape.stride() as u32).into(), (&wide).into()];
    // SAFETY: the parameters of `rows_of_halves`: `count` rows of either stride.
    unsafe { device.launch(kernel, pairs(count, stride)?, &arguments)? };
    device.read(&wide, rows)
}

/// One thread for each pair of numbers.
fn pairs(rows: usize, stride: usize) -> Result<Threads, DeviceError> {
    let blocks = narrow("rows", (rows * stride / 2).div_ceil(BLOCK))?;
    Ok(Threads { blocks: [blocks, 1, 1], per_block: BLOCK as u32, shared_bytes: 0 })
}
