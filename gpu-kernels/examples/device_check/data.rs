//! Inputs that follow from a seed.

use tandem_kernels::encoder::cuda::EncoderConfig;
use tandem_kernels::funk::Rating;

use super::encoder_reference::Model;

/// A stream of random numbers (SplitMix64).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 up to 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// From -1 to 1.
    pub(crate) fn signed(&mut self) -> f32 {
        (self.unit() * 2.0 - 1.0) as f32
    }

    /// Below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.unit() * limit as f64) as usize
    }
}

/// The shape of a log of ratings.
pub(crate) struct Shape {
    pub(crate) users: usize,
    pub(crate) items: usize,
    pub(crate) ratings: usize,
    /// Weight of the item of rank r: (r + shift) ^ -exponent.
    pub(crate) exponent: f64,
    pub(crate) shift: f64,
}

pub(crate) const SMALL: Shape = Shape { users: 6_040, items: 3_706, ratings: 900_000, exponent: 1.35, shift: 14.8 };
/// MovieLens-25M.
pub(crate) const LARGE: Shape =
    Shape { users: 162_541, items: 59_047, ratings: 25_000_000, exponent: 2.0, shift: 300.0 };
/// Rows of k = 128 that are far larger than any cache.
pub(crate) const WIDE: Shape =
    Shape { users: 1_000_000, items: 200_000, ratings: 20_000_000, exponent: 1.0, shift: 3000.0 };

/// Ratings with hidden tastes: popularity by a power law, activity log-normal with a floor, generated on all cores.
pub(crate) fn ratings(shape: &Shape) -> Vec<Rating> {
    let mut numbers = Numbers(42);
    let items = sums((0..shape.items).map(|rank| (rank as f64 + shape.shift).powf(-shape.exponent)));
    let mut active = || 0.2 + (1.25 * ((0..12).map(|_| numbers.unit()).sum::<f64>() - 6.0)).exp();
    let users = sums((0..shape.users).map(|_| active()));
    let draw =
        |sums: &[f64], unit: f64| sums.partition_point(|sum| *sum < unit * sums[sums.len() - 1]).min(sums.len() - 1);
    let mut ratings = vec![Rating { user: 0, item: 0, value: 0.0 }; shape.ratings];
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let piece = shape.ratings.div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        for (number, ratings) in ratings.chunks_mut(piece).enumerate() {
            let (users, items) = (&users, &items);
            scope.spawn(move || {
                let mut numbers = Numbers(1000 + number as u64);
                for rating in ratings {
                    let (user, item) = (draw(users, numbers.unit()), draw(items, numbers.unit()));
                    let taste = (user as f64 * 0.7).sin() * (item as f64 * 1.3).sin()
                        + (user as f64).cos() * (item as f64).cos();
                    let biases = 0.4 * (user as f64).sin() + 0.4 * (item as f64).sin();
                    let value = 3.3 + biases + 0.6 * taste + 1.4 * (numbers.unit() - 0.5);
                    let value = (value * 2.0).round().clamp(1.0, 10.0) / 2.0;
                    *rating = Rating { user: user as u32, item: item as u32, value: value as f32 };
                }
            });
        }
    });
    ratings
}

/// The sum up to and with each weight.
fn sums(weights: impl Iterator<Item = f64>) -> Vec<f64> {
    let add = |sum: &mut f64, weight| {
        *sum += weight;
        Some(*sum)
    };
    weights.scan(0.0, add).collect()
}

/// Rows of `stride` floats of which `used` are not zero.
pub(crate) fn rows(count: usize, stride: usize, used: usize, seed: u64) -> Vec<f32> {
    let mut numbers = Numbers(seed);
    let mut rows = vec![0.0; count * stride];
    rows.chunks_mut(stride).for_each(|row| row[..used].fill_with(|| 0.5 * numbers.signed()));
    rows
}

/// A model of MiniLM-L6's shape with random weights.
pub(crate) fn mini_lm() -> Model {
    let config = EncoderConfig {
        hidden: 384,
        heads: 12,
        intermediate: 1536,
        vocabulary: 30_522,
        positions: 512,
        epsilon: 1e-12,
    };
    let mut numbers = Numbers(7);
    Model::new(config, 6, || numbers.signed())
}

/// Tokens and offsets of texts with the lengths of news: quartiles of some 61, 111 and 207, cut at `most`.
pub(crate) fn texts(count: usize, most: usize) -> (Vec<u32>, Vec<u32>) {
    let mut numbers = Numbers(9);
    let (mut ids, mut offsets) = (Vec::new(), vec![0]);
    for _ in 0..count {
        let normal = (0..12).map(|_| numbers.unit()).sum::<f64>() - 6.0;
        let length = (111.0 * (0.9 * normal).exp()).clamp(11.0, most as f64) as usize;
        ids.extend((0..length).map(|_| numbers.below(30_522) as u32));
        offsets.push(ids.len() as u32);
    }
    (ids, offsets)
}
