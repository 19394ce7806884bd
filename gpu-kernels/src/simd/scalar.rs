//! The path without vector instructions: what the others must equal bit for bit.

use std::array::from_fn;

use super::Lanes;
use super::pair::sixteen_as_two_eights;

/// Runs on every processor.
#[derive(Clone, Copy)]
pub(crate) struct Scalar;

impl Scalar {
    #[inline(always)]
    fn max8(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        from_fn(|lane| if a[lane] > b[lane] { a[lane] } else { b[lane] })
    }

    #[inline(always)]
    fn round8(self, value: [f32; 8]) -> [f32; 8] {
        value.map(f32::round_ties_even)
    }

    #[inline(always)]
    fn scale8(self, value: [f32; 8], exponent: [f32; 8]) -> [f32; 8] {
        from_fn(|lane| value[lane] * f32::from_bits((exponent[lane] as i32).wrapping_add(127).wrapping_shl(23) as u32))
    }
}

impl Lanes for Scalar {
    type F8 = [f32; 8];
    type F16 = ([f32; 8], [f32; 8]);

    #[inline(always)]
    fn load8(self, from: &[f32; 8]) -> Self::F8 {
        *from
    }

    #[inline(always)]
    fn store8(self, value: Self::F8, to: &mut [f32; 8]) {
        *to = value;
    }

    #[inline(always)]
    fn splat8(self, value: f32) -> Self::F8 {
        [value; 8]
    }

    #[inline(always)]
    fn add8(self, a: Self::F8, b: Self::F8) -> Self::F8 {
        from_fn(|lane| a[lane] + b[lane])
    }

    #[inline(always)]
    fn sub8(self, a: Self::F8, b: Self::F8) -> Self::F8 {
        from_fn(|lane| a[lane] - b[lane])
    }

    #[inline(always)]
    fn mul8(self, a: Self::F8, b: Self::F8) -> Self::F8 {
        from_fn(|lane| a[lane] * b[lane])
    }

    #[inline(always)]
    fn div8(self, a: Self::F8, b: Self::F8) -> Self::F8 {
        from_fn(|lane| a[lane] / b[lane])
    }

    #[inline(always)]
    fn sqrt8(self, value: Self::F8) -> Self::F8 {
        value.map(f32::sqrt)
    }

    #[inline(always)]
    fn fma8(self, a: Self::F8, b: Self::F8, c: Self::F8) -> Self::F8 {
        from_fn(|lane| a[lane].mul_add(b[lane], c[lane]))
    }

    #[inline(always)]
    fn clamp8(self, value: Self::F8, bound: Self::F8) -> Self::F8 {
        from_fn(|lane| {
            let (value, bound) = (value[lane], bound[lane]);
            if value < -bound {
                -bound
            } else if value > bound {
                bound
            } else {
                value
            }
        })
    }

    #[inline(always)]
    fn sum8(self, t: Self::F8) -> Self::F8 {
        [((t[0] + t[4]) + (t[2] + t[6])) + ((t[1] + t[5]) + (t[3] + t[7])); 8]
    }

    #[inline(always)]
    fn first(self, value: Self::F8) -> f32 {
        value[0]
    }

    #[inline(always)]
    fn prefetch(self, _: &[f32], _: usize) {}

    sixteen_as_two_eights!();
}
