//! A BERT encoder as a textbook has it, in `f64` and one sentence at a time, and random weights for one.

use tandem_kernels::encoder::{EncoderShape, Pooling};

use crate::generate::Numbers;

/// All weights.
#[derive(Clone)]
pub(crate) struct Model {
    pub(crate) shape: EncoderShape,
    pub(crate) words: Vec<f32>,
    pub(crate) positions: Vec<f32>,
    pub(crate) token_type: Vec<f32>,
    pub(crate) norm: (Vec<f32>, Vec<f32>),
    pub(crate) layers: Vec<Layer>,
}

/// The weights of a layer.
#[derive(Clone)]
pub(crate) struct Layer {
    /// Weights and biases: query, key, value, attention output, up, down.
    pub(crate) maps: [(Vec<f32>, Vec<f32>); 6],
    /// Scales and shifts: after the attention, at the end.
    pub(crate) norms: [(Vec<f32>, Vec<f32>); 2],
}

impl Model {
    /// Random weights that make scores, and what goes into GELU, neither all small nor all large.
    pub(crate) fn new(numbers: &mut Numbers, shape: EncoderShape) -> Self {
        let (hidden, inner) = (shape.hidden, shape.feed_forward);
        let mut some = |count: usize, scale: f64| (0..count).map(|_| numbers.within(scale)).collect::<Vec<f32>>();
        let words = some(shape.vocabulary * hidden, 1.0);
        let positions = some(shape.positions * hidden, 0.5);
        let token_type = some(hidden, 0.5);
        let mut norm = || {
            let scale = some(hidden, 0.3).iter().map(|value| 1.0 + value).collect();
            (scale, some(hidden, 0.3))
        };
        let norms: Vec<_> = (0..=2 * shape.layers).map(|_| norm()).collect();
        let mut map = |from: usize, to: usize| (some(from * to, 2.0 / (from as f64).sqrt()), some(to, 0.5));
        let layer = |at: usize| Layer {
            maps: [
                map(hidden, hidden),
                map(hidden, hidden),
                map(hidden, hidden),
                map(hidden, hidden),
                map(hidden, inner),
                map(inner, hidden),
            ],
            norms: [norms[2 * at].clone(), norms[2 * at + 1].clone()],
        };
        let layers = (0..shape.layers).map(layer).collect();
        Self { shape, words, positions, token_type, norm: norms[2 * shape.layers].clone(), layers }
    }
}

type Rows = Vec<Vec<f64>>;

/// The vector of one sentence.
pub(crate) fn vector(model: &Model, tokens: &[u32]) -> Vec<f64> {
    let hidden = model.shape.hidden;
    let embed = |(position, token): (usize, &u32)| {
        let (word, position) = (&model.words[*token as usize * hidden..], &model.positions[position * hidden..]);
        (0..hidden).map(|at| f64::from(word[at]) + f64::from(position[at]) + f64::from(model.token_type[at])).collect()
    };
    let mut rows = norm(model, tokens.iter().enumerate().map(embed).collect(), &model.norm);
    for layer in &model.layers {
        let [query, key, value] = [0, 1, 2].map(|at| linear(&rows, &layer.maps[at]));
        let context = attention(model.shape.heads, &query, &key, &value);
        rows = norm(model, add(&rows, &linear(&context, &layer.maps[3])), &layer.norms[0]);
        let mut inner = linear(&rows, &layer.maps[4]);
        inner.iter_mut().flatten().for_each(|value| *value *= 0.5 * (1.0 + error_function(*value / 2f64.sqrt())));
        rows = norm(model, add(&rows, &linear(&inner, &layer.maps[5])), &layer.norms[1]);
    }
    let mut vector = match model.shape.pooling {
        Pooling::First => rows[0].clone(),
        Pooling::Mean => {
            (0..hidden).map(|at| rows.iter().map(|row| row[at]).sum::<f64>() / rows.len() as f64).collect()
        }
    };
    if model.shape.normalise {
        let length = vector.iter().map(|value| value * value).sum::<f64>().sqrt();
        vector.iter_mut().for_each(|value| *value /= length);
    }
    vector
}

fn linear(rows: &Rows, (weight, bias): &(Vec<f32>, Vec<f32>)) -> Rows {
    let one = |row: &Vec<f64>| {
        let of = weight.chunks(row.len()).zip(bias);
        of.map(|(weights, bias)| {
            row.iter().zip(weights).map(|(value, weight)| value * f64::from(*weight)).sum::<f64>() + f64::from(*bias)
        })
        .collect()
    };
    rows.iter().map(one).collect()
}

fn add(a: &Rows, b: &Rows) -> Rows {
    a.iter().zip(b).map(|(a, b)| a.iter().zip(b).map(|(a, b)| a + b).collect()).collect()
}

fn norm(model: &Model, mut rows: Rows, (scale, shift): &(Vec<f32>, Vec<f32>)) -> Rows {
    for row in &mut rows {
        let count = row.len() as f64;
        let mean = row.iter().sum::<f64>() / count;
        let variance = row.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        for (value, (scale, shift)) in row.iter_mut().zip(scale.iter().zip(shift)) {
            let normal = (*value - mean) / (variance + f64::from(model.shape.epsilon)).sqrt();
            *value = normal * f64::from(*scale) + f64::from(*shift);
        }
    }
    rows
}

fn attention(heads: usize, query: &Rows, key: &Rows, value: &Rows) -> Rows {
    let width = query[0].len() / heads;
    let mut context = vec![vec![0.0; query[0].len()]; query.len()];
    for head in (0..heads).map(|head| head * width..(head + 1) * width) {
        for (query, context) in query.iter().zip(&mut context) {
            let score = |key: &Vec<f64>| {
                let product: f64 = query[head.clone()].iter().zip(&key[head.clone()]).map(|(q, k)| q * k).sum();
                product / (width as f64).sqrt()
            };
            let scores: Vec<f64> = key.iter().map(score).collect();
            let largest = scores.iter().fold(f64::MIN, |most, score| most.max(*score));
            let powers: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
            let sum: f64 = powers.iter().sum();
            for (power, value) in powers.iter().zip(value) {
                let values = &value[head.clone()];
                context[head.clone()].iter_mut().zip(values).for_each(|(out, value)| *out += power / sum * value);
            }
        }
    }
    context
}

/// By its series, which is exact enough up to 5 and 1 beyond.
fn error_function(x: f64) -> f64 {
    if x.abs() > 5.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}
