//! The best items on a device: `top_k.cu`.

use super::top_k::{Scored, rows};
use crate::KernelError;
use crate::device::{Device, DeviceError, Program, Source, Threads};
use crate::sparse::Sparse;

const SOURCE: Source = Source { path: "rank/top_k.cu", text: include_str!("top_k.cu"), kernels: &["top_k"] };

/// Threads of a block, as in the source.
const BLOCK: usize = 256;
/// Most items a user that the device finds: their keys are sorted in shared memory.
pub const MOST: usize = 4096;
/// Bytes of answers that are on the device at a time.
const ANSWER_BYTES: usize = 256 << 20;

/// Places for keys of a user, and users of a block.
fn sizes(k: usize) -> (usize, usize) {
    let capacity = (k + 2 * BLOCK).next_power_of_two().max(1024);
    (capacity, if capacity <= 1024 { 4 } else { 1 })
}

fn program(k: usize) -> Program {
    let (capacity, users) = sizes(k);
    Program::new(SOURCE, &[("CAPACITY", capacity as u32), ("USERS", users as u32)])
}

/// What the usual inputs need.
pub(crate) fn programs() -> Vec<Program> {
    [10, 1000, MOST].map(program).to_vec()
}

/// The twin of [`super::top_k()`]: the same items with the same scores, except that a score of −0 comes back as 0.
///
/// # Errors
/// [`DeviceError::Input`] as on the CPU; [`DeviceError::Unsupported`] for `k` beyond [`MOST`]; whatever the device says.
pub fn top_k(
    device: &Device,
    users: &[f32],
    items: &[f32],
    stride: usize,
    left_out: &Sparse,
    k: usize,
) -> Result<Vec<Vec<Scored>>, DeviceError> {
    let (user_rows, item_rows) = (rows("users", users, stride)?, rows("items", items, stride)?);
    KernelError::check_length("rows of left_out", left_out.rows(), user_rows)?;
    KernelError::check_length("width of left_out", left_out.width(), item_rows)?;
    for (what, got, limit) in [("k", k, MOST), ("items", item_rows, u32::MAX as usize - BLOCK)] {
        if got > limit {
            return Err(DeviceError::Unsupported { what, got, limit });
        }
    }
    if user_rows == 0 || item_rows == 0 || k == 0 {
        return Ok(vec![Vec::new(); user_rows]);
    }
    let (capacity, per_block) = sizes(k);
    let shared_bytes = (capacity * per_block * 8) as u32;
    let kernel = device.kernel(&program(k), "top_k", shared_bytes)?;
    let items = device.upload(items)?;
    let piece = (ANSWER_BYTES / (k * 8)).clamp(1, 1 << 20);
    let mut answers = Vec::with_capacity(user_rows);
    for (number, users) in users.chunks(piece * stride).enumerate() {
        let (first, count) = (number * piece, users.len() / stride);
        let (starts, columns) = left_out.part(first..first + count);
        let users = device.upload(users)?;
        let (starts, columns) = (device.upload(&starts)?, device.upload(columns)?);
        let best = device.allocate::<u64>(count * k)?;
        let threads =
            Threads { blocks: [count.div_ceil(per_block) as u32, 1, 1], per_block: BLOCK as u32, shared_bytes };
        let arguments = [
            (&users).into(),
            (count as u32).into(),
            (&items).into(),
            (item_rows as u32).into(),
            (stride as u32).into(),
            (&starts).into(),
            (&columns).into(),
            (k as u32).into(),
            (&best).into(),
        ];
        // SAFETY: the parameters of `top_k`: rows of `stride` floats, a list of columns for each user, `k` keys for each.
        unsafe { device.launch(kernel, threads, &arguments)? };
        let best = device.download(&best)?;
        answers.extend(best.chunks(k).map(|keys| keys.iter().map_while(|key| scored(*key)).collect::<Vec<_>>()));
    }
    Ok(answers)
}

/// The item and score of a key; none for the key 0.
fn scored(key: u64) -> Option<Scored> {
    let order = (key >> 32) as u32;
    let bits = if order & 1 << 31 == 0 { !order } else { order & !(1 << 31) };
    (key != 0).then(|| Scored { item: u32::MAX - key as u32, score: f32::from_bits(bits) })
}
