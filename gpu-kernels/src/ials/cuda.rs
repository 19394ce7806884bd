//! Weighted alternating least squares on a device: `gram.cu` and `solve.cu`, with the bits of the CPU.

use super::params::{IalsParams, stride};
use super::train::{IalsModel, IalsOptions, start};
use crate::KernelError;
use crate::device::{Buffer, Device, DeviceError, Program, Source, Threads};
use crate::funk::{Rating, Rows, Side};
use crate::sparse::Sparse;

const GRAM: Source =
    Source { path: "ials/gram.cu", text: include_str!("gram.cu"), kernels: &["gram_chunks", "gram_sum", "gram_round"] };
const SOLVE: Source = Source { path: "ials/solve.cu", text: include_str!("solve.cu"), kernels: &["ials_solve"] };

/// As in the sources.
const CHUNK: usize = 512;
const TILE: usize = 32;
const PANEL: usize = 16;
const SOLVE_BLOCK: u32 = 128;
/// Most factors of a row that the device solves for: a triangle of them fits the shared memory of a block.
pub const MOST_FACTORS: usize = 224;
/// Chunks that are summed between two additions to the total.
const CHUNKS_AT_ONCE: usize = 1024;
/// Rows of a launch.
const ROWS_AT_ONCE: usize = 1 << 20;

/// What the usual inputs need.
pub(crate) fn programs() -> Vec<Program> {
    vec![Program::new(GRAM, &[]), Program::new(SOLVE, &[])]
}

fn check_factors(device: &Device, factors: usize) -> Result<u32, DeviceError> {
    if factors > MOST_FACTORS {
        return Err(DeviceError::Unsupported { what: "factors", got: factors, limit: MOST_FACTORS });
    }
    let floats = factors * (factors + 1) / 2 + 2 * factors + 2 * PANEL * factors;
    let (got, limit) = (floats * 4, device.info().shared_bytes as usize);
    if got > limit {
        return Err(DeviceError::Unsupported { what: "shared memory for a row", got, limit });
    }
    Ok(got as u32)
}

/// The twin of [`super::gram()`]: the same bits in the lower triangle, zeros above it.
///
/// # Errors
/// [`DeviceError::Input`] as on the CPU; whatever the device says.
pub fn gram(device: &Device, rows: &[f32], factors: usize) -> Result<Vec<f32>, DeviceError> {
    if factors == 0 {
        KernelError::check_length("rows", rows.len(), 0)?;
        return Ok(Vec::new());
    }
    let stride = stride(factors);
    KernelError::check_length("rows", rows.len(), rows.len() / stride * stride)?;
    let rows = device.upload(rows)?;
    device.download(&gram_of(device, &rows, stride)?)
}

/// The Gram matrix of rows on the device.
fn gram_of(device: &Device, rows: &Buffer<f32>, stride: usize) -> Result<Buffer<f32>, DeviceError> {
    let program = Program::new(GRAM, &[]);
    let (count, size) = (rows.len() / stride, stride * stride);
    let total = device.zeros::<f64>(size)?;
    let gram = device.allocate::<f32>(size)?;
    let chunks = count.div_ceil(CHUNK);
    let parts = device.allocate::<f32>(chunks.min(CHUNKS_AT_ONCE) * size)?;
    let tiles = stride.div_ceil(TILE);
    let entries = Threads { blocks: [size.div_ceil(256) as u32, 1, 1], per_block: 256, shared_bytes: 0 };
    for first in (0..chunks).step_by(CHUNKS_AT_ONCE) {
        let here = CHUNKS_AT_ONCE.min(chunks - first) as u32;
        let blocks = [(tiles * (tiles + 1) / 2) as u32, here, 1];
        let threads = Threads { blocks, per_block: 256, shared_bytes: 0 };
        let of_chunks =
            [rows.into(), (count as u64).into(), (stride as u32).into(), (first as u32).into(), (&parts).into()];
        let of_sum = [(&parts).into(), here.into(), (stride as u32).into(), (&total).into()];
        // SAFETY: the parameters of the two kernels: `count` rows, a square for each chunk, a square of sums.
        unsafe {
            device.launch(device.kernel(&program, "gram_chunks", 0)?, threads, &of_chunks)?;
            device.launch(device.kernel(&program, "gram_sum", 0)?, entries, &of_sum)?;
        }
    }
    // SAFETY: the parameters of `gram_round`: two squares.
    unsafe {
        let arguments = [(&total).into(), (stride as u32).into(), (&gram).into()];
        device.launch(device.kernel(&program, "gram_round", 0)?, entries, &arguments)?;
    }
    Ok(gram)
}

/// The entries above 0 of a sparse matrix, on the device.
struct Strengths {
    rows: usize,
    starts: Buffer<u64>,
    columns: Buffer<u32>,
    values: Buffer<f32>,
}

impl Strengths {
    fn new(device: &Device, strengths: &Sparse) -> Result<Self, DeviceError> {
        if let Some(strength) = strengths.all_values().iter().find(|strength| **strength < 0.0) {
            let value = f64::from(*strength);
            return Err(KernelError::Parameter { name: "strength", value, expected: "0 or more" }.into());
        }
        let (mut starts, mut columns, mut values) = (vec![0_u64], Vec::new(), Vec::new());
        for row in 0..strengths.rows() {
            let entries = strengths.columns(row).iter().zip(strengths.values(row));
            for (column, strength) in entries.filter(|(_, strength)| **strength > 0.0) {
                columns.push(*column);
                values.push(*strength);
            }
            starts.push(columns.len() as u64);
        }
        Ok(Self {
            rows: strengths.rows(),
            starts: device.upload(&starts)?,
            columns: device.upload(&columns)?,
            values: device.upload(&values)?,
        })
    }
}

/// The twin of [`super::solve()`]: the same bits.
///
/// # Errors
/// [`DeviceError::Input`] as on the CPU; [`DeviceError::Unsupported`] for more than [`MOST_FACTORS`]; whatever the device
/// says.
pub fn solve(
    device: &Device,
    params: &IalsParams,
    others: &[f32],
    gram: &[f32],
    strengths: &Sparse,
) -> Result<Rows, DeviceError> {
    params.validate()?;
    let stride = stride(params.factors);
    KernelError::check_length("others", others.len(), strengths.width() * stride)?;
    KernelError::check_length("gram", gram.len(), stride * stride)?;
    let strengths = Strengths::new(device, strengths)?;
    let mut rows = Rows::zeros(strengths.rows * stride);
    if params.factors == 0 {
        return Ok(rows);
    }
    let solved = solve_on(device, params, &device.upload(others)?, &device.upload(gram)?, &strengths)?;
    device.read(&solved, &mut rows)?;
    Ok(rows)
}

/// The rows of one side from what lies on the device.
fn solve_on(
    device: &Device,
    params: &IalsParams,
    others: &Buffer<f32>,
    gram: &Buffer<f32>,
    strengths: &Strengths,
) -> Result<Buffer<f32>, DeviceError> {
    let shared_bytes = check_factors(device, params.factors)?;
    let kernel = device.kernel(&Program::new(SOLVE, &[]), "ials_solve", shared_bytes)?;
    let stride = stride(params.factors);
    let rows = device.allocate::<f32>(strengths.rows * stride)?;
    let singular = device.upload(&[u32::MAX])?;
    for first in (0..strengths.rows).step_by(ROWS_AT_ONCE) {
        let here = ROWS_AT_ONCE.min(strengths.rows - first) as u32;
        let threads = Threads { blocks: [here, 1, 1], per_block: SOLVE_BLOCK, shared_bytes };
        let arguments = [
            others.into(),
            gram.into(),
            (&strengths.starts).into(),
            (&strengths.columns).into(),
            (&strengths.values).into(),
            (params.factors as u32).into(),
            (stride as u32).into(),
            params.alpha.into(),
            params.regularization.into(),
            (first as u32).into(),
            (&rows).into(),
            (&singular).into(),
        ];
        // SAFETY: the parameters of `ials_solve`: entries name rows of `others`, there is a row for each block.
        unsafe { device.launch(kernel, threads, &arguments)? };
    }
    match device.download(&singular)?[0] {
        u32::MAX => Ok(rows),
        row => Err(KernelError::Singular { row: row as usize }.into()),
    }
}

/// The twin of [`super::train()`]: the same bits. Ratings and rows stay on the device between iterations.
///
/// # Errors
/// As [`super::train()`] and [`solve`].
pub fn train(
    device: &Device,
    ratings: &[Rating],
    users: usize,
    items: usize,
    options: &IalsOptions,
) -> Result<IalsModel, DeviceError> {
    let by_user = Sparse::new(ratings, users, items, Side::User)?;
    let by_item = Sparse::new(ratings, users, items, Side::Item)?;
    let mut model = start(users, items, options)?;
    let params = &options.params;
    if params.factors == 0 || options.iterations == 0 {
        return Ok(model);
    }
    params.validate()?;
    let stride = stride(params.factors);
    let (by_user, by_item) = (Strengths::new(device, &by_user)?, Strengths::new(device, &by_item)?);
    let mut item_rows = device.upload(&model.items)?;
    let mut user_rows = None;
    for _ in 0..options.iterations {
        let gram = gram_of(device, &item_rows, stride)?;
        let solved = solve_on(device, params, &item_rows, &gram, &by_user)?;
        let gram = gram_of(device, &solved, stride)?;
        item_rows = solve_on(device, params, &solved, &gram, &by_item)?;
        user_rows = Some(solved);
    }
    if let Some(user_rows) = user_rows {
        device.read(&user_rows, &mut model.users)?;
    }
    device.read(&item_rows, &mut model.items)?;
    Ok(model)
}
