//! `f32` throughout, on every path of the processor with the same bits.

use super::EncoderShape;
use super::arithmetic::{Arithmetic, Heads};
use super::attention::{Attend, Scratch};
use super::lines::Lines;
use super::panels::{biases, columns, for_weights};
use super::shape::PANEL;
use super::store::Store;
use super::tiles::{FullStep, Left, Right, multiply};
use super::weights::LinearWeights;
use crate::Cpu;
use crate::simd::{Kernel, Lanes};

/// `f32` on one path.
pub(super) struct Full {
    pub(super) cpu: Cpu,
}

/// Panels of `depth` times 32 floats.
pub(super) struct Panels {
    depth: usize,
    values: Lines<f32>,
    biases: Vec<f32>,
}

/// Rows of floats.
pub(super) struct Rows {
    stride: usize,
    values: Lines<f32>,
}

impl Arithmetic for Full {
    type Panels = Panels;
    type Rows = Rows;
    type Scratch = Scratch;

    fn pack(&self, maps: &[LinearWeights], stride: usize) -> Panels {
        let mut values = Lines::zeros(columns(maps) * stride);
        for_weights(maps, |place, weight| {
            values[(place.panel * stride + place.depth) * PANEL + place.column] = weight;
        });
        Panels { depth: stride, values, biases: biases(maps) }
    }

    fn rows(&self, count: usize, stride: usize) -> Rows {
        Rows { stride, values: Lines::zeros(count * stride) }
    }

    fn scratch(&self, shape: &EncoderShape, longest: usize) -> Scratch {
        Scratch::new(shape, longest)
    }

    fn convert(&self, values: &[f32], rows: &mut Rows) {
        rows.values[..values.len()].copy_from_slice(values);
    }

    fn multiply(&self, rows: &Rows, count: usize, panels: &Panels, out: &mut [f32]) {
        self.cpu.run(Product::<false> { rows, count, panels, out });
    }

    fn multiply_gelu(&self, rows: &Rows, count: usize, panels: &Panels, out: &mut Rows) {
        self.cpu.run(Product::<true> { rows, count, panels, out: &mut out.values });
    }

    fn attend(&self, heads: Heads, scratch: &mut Scratch) {
        self.cpu.run(Attend { heads, scratch });
    }
}

/// Rows times panels.
struct Product<'a, const GELU: bool> {
    rows: &'a Rows,
    count: usize,
    panels: &'a Panels,
    out: &'a mut [f32],
}

impl<const GELU: bool> Kernel for Product<'_, GELU> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Panels { depth, values, biases } = self.panels;
        let left = Left { rows: &self.rows.values, stride: self.rows.stride, count: self.count };
        for (panel, start) in biases.chunks_exact(PANEL).enumerate() {
            let values = &values[panel * depth * PANEL..][..depth * PANEL];
            let right = Right { values, stride: PANEL, depth: *depth, start };
            let mut store = Store::<GELU> { out: &mut self.out[panel * PANEL..], stride: biases.len() };
            multiply(FullStep(lanes), left, right, &mut store);
        }
    }
}
