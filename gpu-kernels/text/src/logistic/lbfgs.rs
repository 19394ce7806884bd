//! Finds the minimum of a smooth convex function: L-BFGS, with a line search that trusts slopes more than values.
//!
//!   direction = -H g       H from the last 16 pairs (step s, change of gradient y), by the two-loop recursion
//!   step                   where the slope along the direction has fallen to between 0.9 and -0.1 of that at its start
//!
//! Near the minimum the values of a function differ by less than a float resolves, long before its gradient is 0. A convex
//! function's slope along a line only rises, so the step can be found by the slope alone; the value has to agree only as
//! far as it is precise (the "approximate Wolfe conditions" of Hager and Zhang, SIAM J. Optim. 16, 2005).
//!
//! Source of L-BFGS: Nocedal and Wright, "Numerical Optimization" (2006), algorithms 7.4 and 7.5.

use std::collections::VecDeque;

/// Pairs kept.
const PAIRS: usize = 16;
/// Points tried along one direction.
const TRIES: u32 = 50;
/// By how much of itself a value may seem to rise for lack of precision.
const NOISE: f64 = 1e-10;

/// Where the search ended.
#[derive(Debug)]
pub(super) struct Minimum {
    pub(super) point: Vec<f64>,
    pub(super) iterations: u32,
    /// The gradient's number farthest from 0.
    pub(super) slope: f64,
}

struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
    /// 1 / (step · change).
    inverse: f64,
}

/// Searches from `point` on until no number of the gradient is farther from 0 than `tolerance`, for `limit` iterations, or
/// until there is no progress. `evaluate` writes the gradient at a point and answers the value.
pub(super) fn minimize(
    mut point: Vec<f64>,
    tolerance: f64,
    limit: u32,
    mut evaluate: impl FnMut(&[f64], &mut [f64]) -> f64,
) -> Minimum {
    let mut gradient = vec![0.0; point.len()];
    let mut value = evaluate(&point, &mut gradient);
    let mut pairs: VecDeque<Pair> = VecDeque::with_capacity(PAIRS);
    let (mut next, mut next_gradient) = (point.clone(), gradient.clone());
    let mut iterations = 0;
    while farthest(&gradient) > tolerance && iterations < limit {
        let direction = descend(&gradient, &pairs);
        let first = if pairs.is_empty() { (1.0 / farthest(&gradient)).min(1.0) } else { 1.0 };
        let mut search = Search::new(value, dot(&gradient, &direction), first);
        let found = (0..TRIES).find_map(|_| {
            next.iter_mut().zip(&point).zip(&direction).for_each(|((next, at), way)| *next = at + search.step * way);
            let value = evaluate(&next, &mut next_gradient);
            search.accepts(value, dot(&next_gradient, &direction)).then_some(value)
        });
        let Some(found) = found else {
            if pairs.is_empty() {
                break;
            }
            // What was learned of the curvature leads nowhere: start again from the gradient.
            pairs.clear();
            continue;
        };
        value = found;
        iterations += 1;
        if pairs.len() == PAIRS {
            pairs.pop_front();
        }
        let step: Vec<f64> = next.iter().zip(&point).map(|(next, at)| next - at).collect();
        let change: Vec<f64> = next_gradient.iter().zip(&gradient).map(|(next, at)| next - at).collect();
        let product = dot(&step, &change);
        if product > 0.0 {
            pairs.push_back(Pair { step, change, inverse: 1.0 / product });
        }
        std::mem::swap(&mut point, &mut next);
        std::mem::swap(&mut gradient, &mut next_gradient);
    }
    Minimum { slope: farthest(&gradient), point, iterations }
}

/// The direction to go.
fn descend(gradient: &[f64], pairs: &VecDeque<Pair>) -> Vec<f64> {
    let mut way: Vec<f64> = gradient.iter().map(|slope| -slope).collect();
    let mut shares = Vec::with_capacity(pairs.len());
    for pair in pairs.iter().rev() {
        let share = pair.inverse * dot(&pair.step, &way);
        way.iter_mut().zip(&pair.change).for_each(|(way, change)| *way -= share * change);
        shares.push(share);
    }
    if let Some(last) = pairs.back() {
        let scale = 1.0 / (last.inverse * dot(&last.change, &last.change));
        way.iter_mut().for_each(|way| *way *= scale);
    }
    for (pair, share) in pairs.iter().zip(shares.into_iter().rev()) {
        let correction = share - pair.inverse * dot(&pair.change, &way);
        way.iter_mut().zip(&pair.step).for_each(|(way, step)| *way += correction * step);
    }
    way
}

/// The search for a step along one direction: between a step that is too short and one that is too long.
struct Search {
    value: f64,
    slope: f64,
    step: f64,
    /// A step that is too short, and the slope there.
    low: (f64, f64),
    /// A step that is too long, and the slope there.
    high: Option<(f64, f64)>,
}

impl Search {
    fn new(value: f64, slope: f64, step: f64) -> Self {
        Self { value, slope, step, low: (0.0, slope), high: None }
    }

    /// Whether the step is good, given value and slope at its end; else chooses another.
    fn accepts(&mut self, value: f64, slope: f64) -> bool {
        let risen = value > self.value + NOISE * self.value.abs();
        if !value.is_finite() || !slope.is_finite() || risen || slope > -0.1 * self.slope {
            self.high = Some((self.step, slope));
        } else if slope < 0.9 * self.slope {
            self.low = (self.step, slope);
        } else {
            return true;
        }
        let (low, low_slope) = self.low;
        self.step = match self.high {
            None => low * 2.0,
            Some((high, high_slope)) => {
                // Where a straight line through both slopes is 0, but not too near to either.
                let share = -low_slope / (high_slope - low_slope);
                low + (high - low) * if share.is_finite() { share.clamp(0.1, 0.9) } else { 0.5 }
            }
        };
        false
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn farthest(gradient: &[f64]) -> f64 {
    gradient.iter().fold(0.0, |most, slope| f64::max(most, slope.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_minimum_of_steep_and_of_flat_valleys() {
        // Σ scale (ln cosh (x - at)): flat far away, curved as `scale` at its minimum.
        let scales: Vec<f64> = (0..40).map(|n| 10f64.powf(n as f64 / 16.0 - 1.0)).collect();
        let found = minimize(vec![0.0; 40], 1e-11, 500, |point, gradient| {
            let mut value = 0.0;
            for (n, x) in point.iter().enumerate() {
                let off = x - n as f64 / 10.0;
                gradient[n] = scales[n] * off.tanh();
                value += scales[n] * (off.abs() + (-2.0 * off.abs()).exp().ln_1p());
            }
            value
        });
        assert!(found.slope <= 1e-11, "{found:?}");
        for (n, x) in found.point.iter().enumerate() {
            assert!((x - n as f64 / 10.0).abs() < 1e-9, "{found:?}");
        }
    }

    #[test]
    fn ends_at_once_at_a_minimum_and_gives_up_where_there_is_none() {
        let at = minimize(vec![0.0; 3], 1e-9, 10, |_, _| 1.0);
        assert_eq!((at.iterations, at.slope), (0, 0.0));
        let endless = minimize(vec![0.0], 1e-9, 10, |point, gradient| {
            gradient[0] = -1.0;
            -point[0]
        });
        assert!(endless.slope == 1.0);
    }
}
