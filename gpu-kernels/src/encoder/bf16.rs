//! Products of bfloat16, with sums, biases, softmax, GELU and norms in `f32`.
//!
//! Layout: a word of 32 bits is a pair of neighbours in a row, or of neighbours in depth of a column; a step of depth takes
//! both.

use super::EncoderShape;
use super::arithmetic::{Arithmetic, Heads};
use super::attention;
use super::bf16_attention::{Attend, Scratch, suits};
use super::lines::Lines;
use super::math::{gelu, round_to_bf16};
use super::panels::{biases, columns, for_weights};
use super::shape::PANEL;
use super::store::Store;
use super::tiles::{Finish, Left, Right, Step, multiply};
use super::weights::LinearWeights;
use crate::Cpu;
use crate::simd::{Bf16, Bf16Kernel, Lanes};

/// Panels of pairs.
pub(super) struct Panels {
    depth: usize,
    values: Lines<u32>,
    biases: Vec<f32>,
}

/// Rows of pairs.
pub(super) struct Rows {
    stride: usize,
    values: Lines<u32>,
}

/// What attention needs: that of bfloat16 if heads suit it.
pub(super) enum AnyScratch {
    Bf16(Scratch),
    F32(attention::Scratch),
}

impl Step for Bf16 {
    const WIDE: bool = true;
    type Element = u32;
    type Elements = std::arch::x86_64::__m512bh;
    type Sums = std::arch::x86_64::__m512;

    #[inline(always)]
    fn start(self, biases: &[f32; 16]) -> Self::Sums {
        self.lanes().load16(biases)
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

impl<const GELU: bool> Finish<Bf16> for Store<'_, GELU> {
    #[inline(always)]
    fn take(&mut self, step: Bf16, row: usize, column: usize, sums: <Bf16 as Step>::Sums) {
        self.write::<_, true>(step.lanes(), row, column, sums);
    }
}

/// Rows of pairs that take the GELU of sums.
struct StorePairs<'a> {
    out: &'a mut [u32],
    stride: usize,
}

impl Finish<Bf16> for StorePairs<'_> {
    #[inline(always)]
    fn take(&mut self, step: Bf16, row: usize, column: usize, sums: <Bf16 as Step>::Sums) {
        let out = self.out[row * self.stride + column / 2..].first_chunk_mut().expect("rows of whole panels");
        step.store_neighbours(gelu::<_, true>(step.lanes(), sums), out);
    }
}

impl Arithmetic for Bf16 {
    type Panels = Panels;
    type Rows = Rows;
    type Scratch = AnyScratch;

    fn pack(&self, maps: &[LinearWeights], stride: usize) -> Panels {
        let depth = stride / 2;
        let mut values = Lines::zeros(columns(maps) * depth);
        for_weights(maps, |place, weight| {
            let word: &mut u32 = &mut values[(place.panel * depth + place.depth / 2) * PANEL + place.column];
            *word |= u32::from(round_to_bf16(weight)) << (16 * (place.depth % 2));
        });
        Panels { depth, values, biases: biases(maps) }
    }

    fn rows(&self, count: usize, stride: usize) -> Rows {
        Rows { stride: stride / 2, values: Lines::zeros(count * stride / 2) }
    }

    fn scratch(&self, shape: &EncoderShape, longest: usize) -> AnyScratch {
        match suits(shape) {
            true => AnyScratch::Bf16(Scratch::new(shape, longest)),
            false => AnyScratch::F32(attention::Scratch::new(shape, longest)),
        }
    }

    fn convert(&self, values: &[f32], rows: &mut Rows) {
        self.run(Convert { values, pairs: &mut rows.values });
    }

    fn multiply(&self, rows: &Rows, count: usize, panels: &Panels, out: &mut [f32]) {
        self.run(Product { rows, count, panels, out });
    }

    fn multiply_gelu(&self, rows: &Rows, count: usize, panels: &Panels, out: &mut Rows) {
        self.run(ProductGelu { rows, count, panels, out });
    }

    fn attend(&self, heads: Heads, scratch: &mut AnyScratch) {
        match scratch {
            AnyScratch::Bf16(scratch) => self.run(Attend { heads, scratch }),
            AnyScratch::F32(scratch) => Cpu::best().run(attention::Attend { heads, scratch }),
        }
    }
}

/// Rounds floats.
struct Convert<'a> {
    values: &'a [f32],
    pairs: &'a mut [u32],
}

impl Bf16Kernel for Convert<'_> {
    #[inline(always)]
    fn run(self, bf16: Bf16) {
        for (values, pairs) in self.values.as_chunks::<16>().0.iter().zip(self.pairs.as_chunks_mut::<8>().0) {
            bf16.store_neighbours(bf16.lanes().load16(values), pairs);
        }
    }
}

/// Rows times panels.
struct Product<'a> {
    rows: &'a Rows,
    count: usize,
    panels: &'a Panels,
    out: &'a mut [f32],
}

impl Bf16Kernel for Product<'_> {
    #[inline(always)]
    fn run(self, bf16: Bf16) {
        let stride = self.panels.biases.len();
        for panel in 0..stride / PANEL {
            let mut store = Store::<false> { out: &mut self.out[panel * PANEL..], stride };
            multiply(bf16, self.rows.left(self.count), self.panels.right(panel), &mut store);
        }
    }
}

/// GELU of rows times panels.
struct ProductGelu<'a> {
    rows: &'a Rows,
    count: usize,
    panels: &'a Panels,
    out: &'a mut Rows,
}

impl Bf16Kernel for ProductGelu<'_> {
    #[inline(always)]
    fn run(self, bf16: Bf16) {
        let stride = self.out.stride;
        for panel in 0..self.panels.biases.len() / PANEL {
            let mut store = StorePairs { out: &mut self.out.values[panel * PANEL / 2..], stride };
            multiply(bf16, self.rows.left(self.count), self.panels.right(panel), &mut store);
        }
    }
}

impl Rows {
    #[inline(always)]
    fn left(&self, count: usize) -> Left<'_, u32> {
        Left { rows: &self.values, stride: self.stride, count }
    }
}

impl Panels {
    #[inline(always)]
    fn right(&self, panel: usize) -> Right<'_, u32> {
        let values = &self.values[panel * self.depth * PANEL..][..self.depth * PANEL];
        Right { values, stride: PANEL, depth: self.depth, start: &self.biases[panel * PANEL..][..PANEL] }
    }
}
