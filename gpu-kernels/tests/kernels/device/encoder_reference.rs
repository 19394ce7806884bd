//! A sentence encoder written as plainly as possible, with random weights of a given shape. Also used by the example
//! `device_check`.

use tandem_kernels::encoder::cuda::{EncoderConfig, EncoderWeights};
use tandem_kernels::encoder::{LayerWeights, LinearWeights, NormWeights};

/// A product's weights (outputs × inputs) and biases.
struct Product(Vec<f32>, Vec<f32>);

struct Layer {
    products: [Product; 6],
    norms: [(Vec<f32>, Vec<f32>); 2],
}

/// A model with random weights.
pub(crate) struct Model {
    pub(crate) config: EncoderConfig,
    words: Vec<f32>,
    positions: Vec<f32>,
    token_type: Vec<f32>,
    norm: (Vec<f32>, Vec<f32>),
    layers: Vec<Layer>,
}

impl Model {
    /// Weights from a source of numbers between -1 and 1. Activations keep their size from layer to layer.
    pub(crate) fn new(config: EncoderConfig, layers: usize, mut number: impl FnMut() -> f32) -> Self {
        let EncoderConfig { hidden, intermediate, vocabulary, positions, .. } = config;
        let mut many = |count: usize, scale: f32| -> Vec<f32> { (0..count).map(|_| scale * number()).collect() };
        let words = many(vocabulary * hidden, 1.0);
        let (positions, token_type) = (many(positions * hidden, 0.5), many(hidden, 0.5));
        let mut norm = || {
            let gain = many(hidden, 0.2).iter().map(|gain| 1.0 + gain).collect();
            (gain, many(hidden, 0.2))
        };
        let norms: Vec<_> = (0..2 * layers + 1).map(|_| norm()).collect();
        let mut product = |outputs: usize, inputs: usize, gain: f32| {
            let scale = gain * (3.0 / inputs as f32).sqrt();
            Product(many(outputs * inputs, scale), many(outputs, 0.1))
        };
        let layer = |at: usize| Layer {
            products: [
                product(hidden, hidden, 1.5),
                product(hidden, hidden, 1.5),
                product(hidden, hidden, 1.0),
                product(hidden, hidden, 1.0),
                product(intermediate, hidden, 1.0),
                product(hidden, intermediate, 1.0),
            ],
            norms: [norms[2 * at + 1].clone(), norms[2 * at + 2].clone()],
        };
        let layers = (0..layers).map(layer).collect();
        Self { config, words, positions, token_type, norm: norms[0].clone(), layers }
    }

    /// The weights as a device takes them.
    pub(crate) fn weights(&self) -> EncoderWeights<'_> {
        fn norm((scale, shift): &(Vec<f32>, Vec<f32>)) -> NormWeights<'_> {
            NormWeights { scale, shift }
        }
        fn linear(Product(weight, bias): &Product) -> LinearWeights<'_> {
            LinearWeights { weight, bias }
        }
        EncoderWeights {
            words: &self.words,
            positions: &self.positions,
            token_type: &self.token_type,
            norm: norm(&self.norm),
            layers: self
                .layers
                .iter()
                .map(|Layer { products: [query, key, value, attention, inner, outer], norms: [after, end] }| {
                    LayerWeights {
                        query: linear(query),
                        key: linear(key),
                        value: linear(value),
                        attention_output: linear(attention),
                        attention_norm: norm(after),
                        up: linear(inner),
                        down: linear(outer),
                        output_norm: norm(end),
                    }
                })
                .collect(),
        }
    }

    /// The vector of one sequence.
    pub(crate) fn encode(&self, ids: &[u32]) -> Vec<f64> {
        let EncoderConfig { hidden, heads, epsilon, .. } = self.config;
        let of = |values: &[f32], row: usize, at: usize| f64::from(values[row * hidden + at]);
        let embed = |(place, id): (usize, &u32)| -> Vec<f64> {
            let sum =
                |at| of(&self.words, *id as usize, at) + of(&self.positions, place, at) + of(&self.token_type, 0, at);
            (0..hidden).map(sum).collect()
        };
        let mut rows: Vec<Vec<f64>> =
            ids.iter().enumerate().map(embed).map(|row| normalise(&row, &self.norm, epsilon)).collect();
        for Layer { products: [query, key, value, attention, inner, outer], norms: [after, end] } in &self.layers {
            let all = |product: &Product| -> Vec<Vec<f64>> { rows.iter().map(|row| multiply(product, row)).collect() };
            let attended = attend(&all(query), &all(key), &all(value), hidden / heads);
            rows = rows
                .iter()
                .zip(&attended)
                .map(|(row, attended)| {
                    let row = normalise(&add(row, &multiply(attention, attended)), after, epsilon);
                    let inner: Vec<f64> = multiply(inner, &row).into_iter().map(gelu).collect();
                    normalise(&add(&row, &multiply(outer, &inner)), end, epsilon)
                })
                .collect();
        }
        let mean = (0..hidden).map(|at| rows.iter().map(|row| row[at]).sum::<f64>() / rows.len() as f64);
        let mean: Vec<f64> = mean.collect();
        let length = mean.iter().map(|x| x * x).sum::<f64>().sqrt();
        mean.iter().map(|x| x / length).collect()
    }
}

fn add(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

fn multiply(Product(weight, bias): &Product, row: &[f64]) -> Vec<f64> {
    let rows = weight.chunks(row.len()).zip(bias);
    rows.map(|(weight, bias)| f64::from(*bias) + weight.iter().zip(row).map(|(w, x)| f64::from(*w) * x).sum::<f64>())
        .collect()
}

fn normalise(row: &[f64], (gain, shift): &(Vec<f32>, Vec<f32>), epsilon: f32) -> Vec<f64> {
    let count = row.len() as f64;
    let mean = row.iter().sum::<f64>() / count;
    let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
    let scale = 1.0 / (variance + f64::from(epsilon)).sqrt();
    let affine = gain.iter().zip(shift);
    row.iter().zip(affine).map(|(x, (gain, shift))| (x - mean) * scale * f64::from(*gain) + f64::from(*shift)).collect()
}

fn attend(queries: &[Vec<f64>], keys: &[Vec<f64>], values: &[Vec<f64>], head: usize) -> Vec<Vec<f64>> {
    let heads = queries.first().map_or(0, |row| row.len() / head);
    let of = |query: &Vec<f64>| {
        (0..heads)
            .flat_map(|at| {
                let part = at * head..(at + 1) * head;
                let score = |key: &Vec<f64>| -> f64 {
                    query[part.clone()].iter().zip(&key[part.clone()]).map(|(a, b)| a * b).sum::<f64>()
                        / (head as f64).sqrt()
                };
                let scores: Vec<f64> = keys.iter().map(score).collect();
                let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
                let total: f64 = weights.iter().sum();
                let sum =
                    |place: usize| values.iter().zip(&weights).map(|(value, w)| value[place] * w).sum::<f64>() / total;
                part.map(sum).collect::<Vec<f64>>()
            })
            .collect()
    };
    queries.iter().map(of).collect()
}

fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2))
}

/// The error function by its series near 0 and by its continued fraction beyond, to some 12 digits.
fn erf(x: f64) -> f64 {
    let size = x.abs();
    if size < 2.5 {
        let (mut term, mut sum) = (size, size);
        for n in 1..60 {
            term *= -size * size / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        return sum * std::f64::consts::FRAC_2_SQRT_PI * x.signum();
    }
    let mut fraction = size;
    for n in (1..80).rev() {
        fraction = size + f64::from(n) / 2.0 / fraction;
    }
    (1.0 - (-size * size).exp() / (fraction * std::f64::consts::PI.sqrt())) * x.signum()
}

/// The cosine of the angle between two vectors.
pub(crate) fn cosine(a: &[f32], b: &[f64]) -> f64 {
    let dot: f64 = a.iter().zip(b).map(|(a, b)| f64::from(*a) * b).sum();
    let (of_a, of_b): (f64, f64) = (a.iter().map(|x| f64::from(x * x)).sum(), b.iter().map(|x| x * x).sum());
    dot / (of_a * of_b).sqrt()
}
