//! Products of bytes: a scale per column of weights, a range per row of activations.
//!
//!   weight ≈ sᶜ·w,  w from -127 to 127         activation ≈ least + sʳ·q,  q from 0 to 255
//!   Σ activation·weight ≈ sʳ·sᶜ·Σ q·w + least·sᶜ·Σ w
//!
//! Layout: a word of 32 bits is four neighbours in a row, or in depth of a column; a step of depth takes all four.
//! Attention is that of bfloat16 where the processor has it, else that of `f32`.

use super::EncoderShape;
use super::arithmetic::{Arithmetic, Heads};
use super::attention;
use super::bf16::AnyScratch;
use super::lines::Lines;
use super::panels::{biases, columns, for_columns};
use super::shape::PANEL;
use super::store::Store;
use super::tiles::{Finish, Left, Right, Step, multiply};
use super::weights::LinearWeights;
use crate::Cpu;
use crate::simd::{Bf16, Lanes, Vnni, VnniKernel};

/// The smallest range of a row, so that a row of equal values has a scale.
const LEAST_RANGE: f32 = 1e-12;

/// Bytes in products, and what else there is in attention.
pub(super) struct Int8 {
    vnni: Vnni,
    bf16: Option<Bf16>,
}

/// Panels of four bytes each.
pub(super) struct Panels {
    depth: usize,
    values: Lines<u32>,
    /// Of each column: the scale.
    scales: Vec<f32>,
    /// Of each column: the sum of its weights.
    sums: Vec<f32>,
    biases: Vec<f32>,
}

/// Rows of four bytes each.
pub(super) struct Rows {
    stride: usize,
    values: Lines<u32>,
    /// Of each row: what a step of a byte stands for.
    scales: Vec<f32>,
    /// Of each row: what byte 0 stands for.
    leasts: Vec<f32>,
    /// Floats before they are rounded; made when first needed.
    exact: Lines<f32>,
}

impl Int8 {
    /// If the processor has the instructions.
    pub(super) fn detect() -> Option<Self> {
        Vnni::detect().map(|vnni| Self { vnni, bf16: Bf16::detect() })
    }
}

impl Step for Vnni {
    const WIDE: bool = true;
    type Element = u32;
    type Elements = std::arch::x86_64::__m512i;
    type Sums = std::arch::x86_64::__m512i;

    #[inline(always)]
    fn start(self, _: &[f32; 16]) -> Self::Sums {
        self.zero()
    }

    #[inline(always)]
    fn load(self, from: &[u32; 16]) -> Self::Elements {
        self.load(from)
    }

    #[inline(always)]
    fn spread(self, element: u32) -> Self::Elements {
        self.spread(element)
    }

    #[inline(always)]
    fn add(self, a: Self::Elements, b: Self::Elements, sums: Self::Sums) -> Self::Sums {
        self.add_products(a, b, sums)
    }
}

/// Turns sums of bytes into what they stand for.
struct Rescale<'a, const GELU: bool> {
    rows: &'a Rows,
    scales: &'a [f32],
    sums: &'a [f32],
    biases: &'a [f32],
    store: Store<'a, GELU>,
}

impl<const GELU: bool> Finish<Vnni> for Rescale<'_, GELU> {
    #[inline(always)]
    fn take(&mut self, step: Vnni, row: usize, column: usize, sums: <Vnni as Step>::Sums) {
        let lanes = step.lanes();
        let scale = lanes.mul16(lanes.splat16(self.rows.scales[row]), lanes.load16(sixteen(self.scales, column)));
        let least = lanes.splat16(self.rows.leasts[row]);
        let offset =
            lanes.fma16(least, lanes.load16(sixteen(self.sums, column)), lanes.load16(sixteen(self.biases, column)));
        self.store.write::<_, true>(lanes, row, column, lanes.fma16(step.to_floats(sums), scale, offset));
    }
}

#[inline(always)]
fn sixteen(values: &[f32], from: usize) -> &[f32; 16] {
    values[from..].first_chunk().expect("columns of whole panels")
}

impl Arithmetic for Int8 {
    type Panels = Panels;
    type Rows = Rows;
    type Scratch = AnyScratch;

    fn pack(&self, maps: &[LinearWeights], stride: usize) -> Panels {
        let (columns, depth) = (columns(maps), stride / 4);
        let (mut scales, mut sums, mut values) =
            (vec![0.0; columns], vec![0.0; columns], Lines::zeros(columns * depth));
        for_columns(maps, |column, weights| {
            let most = weights.iter().fold(0.0_f32, |most, weight| most.max(weight.abs()));
            let scale = if most > 0.0 { most / 127.0 } else { 1.0 };
            let panel = column / PANEL * depth;
            let mut sum = 0.0;
            for (at, weight) in weights.iter().enumerate() {
                let byte = (weight / scale).round_ties_even() as i8;
                sum += f32::from(byte);
                let word: &mut u32 = &mut values[(panel + at / 4) * PANEL + column % PANEL];
                *word |= u32::from(byte.cast_unsigned()) << (8 * (at % 4));
            }
            (scales[column], sums[column]) = (scale, scale * sum);
        });
        Panels { depth, values, scales, sums, biases: biases(maps) }
    }

    fn rows(&self, count: usize, stride: usize) -> Rows {
        let (scales, leasts) = (vec![0.0; count], vec![0.0; count]);
        Rows { stride: stride / 4, values: Lines::zeros(count * stride / 4), scales, leasts, exact: Lines::zeros(0) }
    }

    fn scratch(&self, shape: &EncoderShape, longest: usize) -> AnyScratch {
        match self.bf16 {
            Some(bf16) => bf16.scratch(shape, longest),
            None => AnyScratch::F32(attention::Scratch::new(shape, longest)),
        }
    }

    fn convert(&self, values: &[f32], rows: &mut Rows) {
        self.vnni.run(Quantise { values, rows });
    }

    fn multiply(&self, rows: &Rows, count: usize, panels: &Panels, out: &mut [f32]) {
        self.vnni.run(Product::<false> { rows, count, panels, out });
    }

    fn multiply_gelu(&self, rows: &Rows, count: usize, panels: &Panels, out: &mut Rows) {
        let columns = panels.biases.len();
        let mut exact = std::mem::take(&mut out.exact);
        if exact.len() < count * columns {
            exact = Lines::zeros(out.scales.len() * columns);
        }
        self.vnni.run(Product::<true> { rows, count, panels, out: &mut exact });
        self.convert(&exact[..count * columns], out);
        out.exact = exact;
    }

    fn attend(&self, heads: Heads, scratch: &mut AnyScratch) {
        match (self.bf16, scratch) {
            (Some(bf16), scratch) => bf16.attend(heads, scratch),
            (None, AnyScratch::F32(scratch)) => Cpu::best().run(attention::Attend { heads, scratch }),
            (None, AnyScratch::Bf16(_)) => unreachable!("made without bfloat16"),
        }
    }
}

/// Rounds floats to bytes, by the range of each row.
struct Quantise<'a> {
    values: &'a [f32],
    rows: &'a mut Rows,
}

impl VnniKernel for Quantise<'_> {
    #[inline(always)]
    fn run(self, vnni: Vnni) {
        let (lanes, Rows { stride, values, scales, leasts, .. }) = (vnni.lanes(), self.rows);
        let rows = self.values.chunks_exact(4 * *stride).zip(values.chunks_exact_mut(*stride));
        for ((row, bytes), (scale, least)) in rows.zip(scales.iter_mut().zip(leasts)) {
            let row = row.as_chunks::<16>().0;
            let (low, high) = vnni.range(row);
            let range = (high - low).max(LEAST_RANGE);
            (*scale, *least) = (range / 255.0, low);
            let (factor, low) = (lanes.splat16(255.0 / range), lanes.splat16(low));
            for (values, bytes) in row.iter().zip(bytes.as_chunks_mut::<4>().0) {
                vnni.store_bytes(lanes.mul16(lanes.sub16(lanes.load16(values), low), factor), bytes);
            }
        }
    }
}

/// Rows times panels.
struct Product<'a, const GELU: bool> {
    rows: &'a Rows,
    count: usize,
    panels: &'a Panels,
    out: &'a mut [f32],
}

impl<const GELU: bool> VnniKernel for Product<'_, GELU> {
    #[inline(always)]
    fn run(self, vnni: Vnni) {
        let Panels { depth, values, scales, sums, biases } = self.panels;
        let left = Left { rows: &self.rows.values[..], stride: self.rows.stride, count: self.count };
        for panel in 0..biases.len() / PANEL {
            let columns = panel * PANEL..(panel + 1) * PANEL;
            let values = &values[panel * depth * PANEL..][..depth * PANEL];
            let start = &biases[columns.clone()];
            let mut finish = Rescale {
                rows: self.rows,
                scales: &scales[columns.clone()],
                sums: &sums[columns],
                biases: start,
                store: Store::<GELU> { out: &mut self.out[panel * PANEL..], stride: biases.len() },
            };
            multiply(vnni, left, Right { values, stride: PANEL, depth: *depth, start }, &mut finish);
        }
    }
}
