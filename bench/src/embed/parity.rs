//! How far vectors are from others of the same texts, and how far they may be.

use std::fmt;

use anyhow::{Context, ensure};
use tandem_kernels::encoder::Precision;

use super::PRECISIONS;
use crate::report::{Report, TANDEM};

/// Values of a vector.
const WIDTH: usize = 384;

/// Between the vectors of one program and those of another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Distance {
    least_cosine: f64,
    mean_cosine: f64,
    /// Between two values.
    largest_difference: f64,
}

/// How near Tandem's vectors must be to those of others in `f32`.
struct Bounds {
    least_cosine: f64,
    mean_cosine: f64,
    largest_difference: f64,
}

impl Bounds {
    fn of(precision: Precision) -> Self {
        let any = f64::INFINITY;
        let (least_cosine, mean_cosine, largest_difference) = match precision {
            Precision::F32 => (0.999_999, 0.999_999, 1e-6),
            Precision::Bf16 => (0.9999, 0.999_98, any),
            Precision::Int8 => (0.99, 0.996, any),
        };
        Self { least_cosine, mean_cosine, largest_difference }
    }
}

impl Distance {
    /// Between vectors of `width` values each.
    pub(super) fn between(ours: &[f32], others: &[f32], width: usize) -> anyhow::Result<Self> {
        ensure!(ours.len() == others.len(), "{} values beside {}", ours.len(), others.len());
        let (mut least, mut sum, mut largest) = (f64::INFINITY, 0.0, 0.0_f64);
        for (one, other) in ours.chunks_exact(width).zip(others.chunks_exact(width)) {
            let cosine = dot(one, other) / (dot(one, one) * dot(other, other)).sqrt();
            ensure!(cosine.is_finite(), "a vector that is no number, or zero");
            least = least.min(cosine);
            sum += cosine;
            let differences = one.iter().zip(other).map(|(a, b)| f64::from((a - b).abs()));
            largest = differences.fold(largest, f64::max);
        }
        let vectors = ours.len() / width;
        ensure!(vectors > 0, "there are no vectors to compare");
        Ok(Self { least_cosine: least, mean_cosine: sum / vectors as f64, largest_difference: largest })
    }

    /// Refuses vectors in `precision` that are too far from others.
    pub(super) fn must_be_near(&self, precision: Precision) -> anyhow::Result<()> {
        let bounds = Bounds::of(precision);
        let near = self.least_cosine >= bounds.least_cosine
            && self.mean_cosine >= bounds.mean_cosine
            && self.largest_difference <= bounds.largest_difference;
        ensure!(near, "tandem's vectors in {precision} are too far away: {self}");
        Ok(())
    }

    /// Refuses to be farther away than `other`.
    pub(super) fn must_be_nearer(&self, other: &Self) -> anyhow::Result<()> {
        ensure!(self.mean_cosine >= other.mean_cosine, "tandem's vectors are farther away: {self}; theirs: {other}");
        Ok(())
    }
}

impl fmt::Display for Distance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { least_cosine, mean_cosine, largest_difference } = self;
        write!(
            f,
            "cosine at least {least_cosine:.7}, mean {mean_cosine:.7}; largest difference {largest_difference:.1e}"
        )
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// The vectors that programs made of the same texts.
#[derive(Debug, Default)]
pub(super) struct Vectors(Vec<Made>);

#[derive(Debug)]
struct Made {
    by: &'static str,
    precision: Precision,
    cores: usize,
    vectors: Vec<f32>,
}

impl Vectors {
    pub(super) fn add(&mut self, by: &'static str, precision: Precision, cores: usize, vectors: Vec<f32>) {
        self.0.push(Made { by, precision, cores, vectors });
    }

    /// Those that anybody made in `precision` on one core.
    fn in_precision(&self, precision: Precision) -> impl Iterator<Item = &Made> {
        self.0.iter().filter(move |made| made.precision == precision && made.cores == 1)
    }

    /// Notes how far all are from those that another program made in `f32`, and refuses Tandem's if they are too far.
    pub(super) fn compare(&self, report: &mut Report) -> anyhow::Result<()> {
        let exact = self.in_precision(Precision::F32).max_by_key(|made| made.by != TANDEM);
        let exact = exact.context("nobody made vectors in f32")?;
        for precision in PRECISIONS {
            let Some(ours) = self.in_precision(precision).find(|made| made.by == TANDEM) else { continue };
            let on_more = self.0.iter().filter(|made| made.by == TANDEM && made.precision == precision);
            for other in on_more {
                ensure!(other.vectors == ours.vectors, "{precision}: other vectors on {} cores", other.cores);
            }
            let distance = Distance::between(&ours.vectors, &exact.vectors, WIDTH)?;
            report.note(format!("{precision} beside {} in f32: {distance}", exact.by));
            distance.must_be_near(precision)?;
            for other in self.in_precision(precision).filter(|made| made.by != TANDEM && precision != Precision::F32) {
                let theirs = Distance::between(&other.vectors, &exact.vectors, WIDTH)?;
                report.note(format!("… {} in {precision}: {theirs}", other.by));
                distance.must_be_nearer(&theirs).context(precision)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_vectors_are_near_and_turned_ones_are_not() {
        let same = Distance::between(&[1.0, 0.0, 0.6, 0.8], &[1.0, 0.0, 0.6, 0.8], 2).unwrap();
        same.must_be_near(Precision::F32).unwrap();
        let turned = Distance::between(&[1.0, 0.0, 0.6, 0.8], &[1.0, 0.0, 0.8, 0.6], 2).unwrap();
        assert!((turned.least_cosine - 0.96).abs() < 1e-7 && (turned.mean_cosine - 0.98).abs() < 1e-7, "{turned}");
        assert!((turned.largest_difference - 0.2).abs() < 1e-7, "{turned}");
        assert!(turned.must_be_near(Precision::Int8).is_err());
        same.must_be_nearer(&turned).unwrap();
        assert!(turned.must_be_nearer(&same).is_err());
    }

    #[test]
    fn what_cannot_be_compared_is_an_error() {
        assert!(Distance::between(&[1.0], &[1.0, 2.0], 1).is_err());
        assert!(Distance::between(&[], &[], 1).is_err());
        assert!(Distance::between(&[0.0], &[1.0], 1).is_err());
    }
}
