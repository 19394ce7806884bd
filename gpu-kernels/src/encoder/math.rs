//! Powers of two and GELU on sixteen lanes, each as exact as `f32` allows or as exact as bfloat16 can show (`ROUGH`).
//!
//!   2^x = 2^n · p(x - n),  n the nearest whole number          p: degree 6, relative error 2e-9; rough: 3, 8e-5
//!   gelu(x) = x·(½ + c·r(c²)),  c = x kept within a bound      r: a fraction of degrees 5 and 5, error of gelu 1e-8 within
//!                                                              ±5.25; rough: a polynomial of degree 7, 1.3e-4 within ±4
//!
//! Beyond the bound Φ is 0 or 1 to within what `f32` can add to ½. Source: our own fits, by least squares whose weights
//! are moved to where the error is largest until it is largest in many places (Lawson's method).

use crate::simd::Lanes;

/// The nearest bfloat16, of two equally near the even one; beyond the largest, infinity.
pub(super) fn round_to_bf16(value: f32) -> u16 {
    const NAN: u16 = 0x7FC0;
    let bits = value.to_bits();
    if value.is_nan() { NAN } else { ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16) as u16 }
}

const POWER: [f32; 7] =
    [1.535_114_6e-4, 1.339_993_1e-3, 9.618_489e-3, 5.550_328_8e-2, 2.402_264_7e-1, 6.931_472e-1, 1.0];
const ROUGH_POWER: [f32; 4] = [5.517_167e-2, 2.426_111_4e-1, 6.932_61e-1, 9.999_281e-1];

/// 2 to the power of each lane, for lanes from -126 up to 127.
#[inline(always)]
pub(super) fn exp2<L: Lanes, const ROUGH: bool>(lanes: L, value: L::F16) -> L::F16 {
    let whole = lanes.round16(value);
    let part = lanes.sub16(value, whole);
    let power = if ROUGH { polynomial(lanes, &ROUGH_POWER, part) } else { polynomial(lanes, &POWER, part) };
    lanes.scale16(power, whole)
}

const BOUND: f32 = 5.25;
const OVER: [f32; 6] = [2.370_859_8e-8, 6.463_405e-6, 1.676_752e-4, 4.672_084e-3, 3.362_002e-2, 3.989_421_4e-1];
const UNDER: [f32; 6] = [1.233_546_8e-6, 7.389_911e-5, 1.877_458_6e-3, 2.853_646_5e-2, 2.509_379_8e-1, 1.0];
const ROUGH_BOUND: f32 = 4.0;
const ROUGH_RATIO: [f32; 8] = [
    -1.111_977_3e-9,
    9.269_79e-8,
    -3.374_685_6e-6,
    7.126_377e-5,
    -9.814_171e-4,
    9.411_766e-3,
    -6.572_166e-2,
    3.985_727_4e-1,
];

/// x·Φ(x) of each lane, Φ being the share of a normal distribution below x.
#[inline(always)]
pub(super) fn gelu<L: Lanes, const ROUGH: bool>(lanes: L, value: L::F16) -> L::F16 {
    let near = lanes.clamp16(value, lanes.splat16(if ROUGH { ROUGH_BOUND } else { BOUND }));
    let square = lanes.mul16(near, near);
    let ratio = if ROUGH {
        polynomial(lanes, &ROUGH_RATIO, square)
    } else {
        lanes.div16(polynomial(lanes, &OVER, square), polynomial(lanes, &UNDER, square))
    };
    lanes.mul16(value, lanes.fma16(near, ratio, lanes.splat16(0.5)))
}

/// The polynomial with these coefficients, that of the highest power first.
#[inline(always)]
fn polynomial<L: Lanes, const N: usize>(lanes: L, coefficients: &[f32; N], value: L::F16) -> L::F16 {
    let mut sum = lanes.splat16(coefficients[0]);
    for coefficient in &coefficients[1..] {
        sum = lanes.fma16(sum, value, lanes.splat16(*coefficient));
    }
    sum
}

/// The sum of sixteen lanes, in the one order of all paths.
#[inline(always)]
pub(super) fn total<L: Lanes>(lanes: L, value: L::F16) -> f32 {
    let (low, high) = lanes.halves(value);
    lanes.first(lanes.sum8(lanes.add8(low, high)))
}

/// The largest of sixteen lanes.
#[inline(always)]
pub(super) fn largest<L: Lanes>(lanes: L, value: L::F16) -> f32 {
    let mut values = [0.0; 16];
    lanes.store16(value, &mut values);
    let mut width = 8;
    while width > 0 {
        for lane in 0..width {
            let other = values[lane + width];
            values[lane] = if values[lane] > other { values[lane] } else { other };
        }
        width /= 2;
    }
    values[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cpu;
    use crate::simd::Kernel;

    struct Both<'a, const ROUGH: bool>(&'a [f32], &'a mut Vec<[f32; 2]>);

    impl<const ROUGH: bool> Kernel for Both<'_, ROUGH> {
        type Output = ();

        #[inline(always)]
        fn run<L: Lanes>(self, lanes: L) {
            for values in self.0.as_chunks::<16>().0 {
                let (mut power, mut gelu_of) = ([0.0; 16], [0.0; 16]);
                let loaded = lanes.load16(values);
                lanes.store16(exp2::<L, ROUGH>(lanes, lanes.max16(loaded, lanes.splat16(-126.0))), &mut power);
                lanes.store16(gelu::<L, ROUGH>(lanes, loaded), &mut gelu_of);
                self.1.extend(power.into_iter().zip(gelu_of).map(|(power, gelu)| [power, gelu]));
            }
        }
    }

    /// Φ by Simpson's rule from 0.
    fn normal_share(x: f64) -> f64 {
        let (steps, density) = (2000, |t: f64| (-t * t / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt());
        let width = x / f64::from(steps);
        let inner: f64 =
            (1..steps).map(|at| density(f64::from(at) * width) * if at % 2 == 1 { 4.0 } else { 2.0 }).sum();
        0.5 + (density(0.0) + inner + density(x)) * width / 3.0
    }

    fn check<const ROUGH: bool>(power_error: f64, gelu_error: f64) {
        let values: Vec<f32> = (-1600..1600).map(|at| at as f32 / 100.0).collect();
        let mut scalar = Vec::new();
        Cpu::all()[0].run(Both::<ROUGH>(&values, &mut scalar));
        for (value, [power, gelu]) in values.iter().zip(&scalar) {
            let x = f64::from(*value);
            assert!((f64::from(*power) / x.exp2() - 1.0).abs() < power_error, "2^{x} is {power}");
            let expected = x * normal_share(x);
            let error = (f64::from(*gelu) - expected).abs();
            assert!(error < gelu_error * expected.abs().max(1.0), "gelu({x}) is {gelu}, expected {expected}");
        }
        for cpu in Cpu::all() {
            let mut same = Vec::new();
            cpu.run(Both::<ROUGH>(&values, &mut same));
            assert_eq!(same, scalar, "{cpu:?}");
        }
    }

    #[test]
    fn powers_and_gelu_are_exact_and_the_same_on_all_paths() {
        check::<false>(3e-7, 1e-6);
    }

    #[test]
    fn rough_powers_and_gelu_are_as_exact_as_said() {
        check::<true>(1e-4, 5e-4);
    }
}
