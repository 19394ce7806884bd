//! Tokens a second of the sentence encoder on one core, by precision and length of sentences: attention grows with the length, all
//! else does not. The shape is that of MiniLM-L6, the weights are drawn by lot. What is told is the best of some rounds, by
//! processor time, so that other programs count less.
//!
//! `cargo run --release -p tandem-kernels --example encoder_throughput -- [ROUNDS]`

use std::error::Error;

use tandem_kernels::Cpu;
use tandem_kernels::encoder::{
    EmbeddingWeights, Encoder, EncoderShape, LayerWeights, LinearWeights, NormWeights, Pooling, Precision,
};

const SHAPE: EncoderShape = EncoderShape {
    layers: 6,
    hidden: 384,
    heads: 12,
    feed_forward: 1536,
    vocabulary: 1000,
    positions: 512,
    epsilon: 1e-12,
    pooling: Pooling::Mean,
    normalise: true,
};
/// Tokens of sentences.
const LENGTHS: [usize; 5] = [16, 64, 128, 182, 256];
/// About as many tokens are encoded each time.
const TOKENS: usize = 4096;

fn main() -> Result<(), Box<dyn Error>> {
    let rounds: usize = std::env::args().nth(1).map_or(Ok(5), |rounds| rounds.parse())?;
    for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
        if let Some(missing) = precision.missing() {
            println!("{precision}: this processor has no {missing}");
            continue;
        }
        let encoder = encoder(precision)?;
        for length in LENGTHS {
            let sentences = TOKENS / length;
            let tokens: Vec<u32> = (0..sentences * length).map(|token| (token * 7 % SHAPE.vocabulary) as u32).collect();
            let starts: Vec<usize> = (0..=sentences).map(|sentence| sentence * length).collect();
            let mut vectors = vec![0.0; sentences * SHAPE.hidden];
            let mut best = f64::INFINITY;
            for _ in 0..rounds {
                let before = busy_seconds()?;
                encoder.encode(&tokens, &starts, 1, &mut vectors)?;
                best = best.min(busy_seconds()? - before);
            }
            let operations = encoder.operations(length) * sentences as f64;
            let (rate, giga) = (tokens.len() as f64 / best, operations / best / 1e9);
            println!("{precision}, sentences of {length} tokens: {rate:.0} tokens/s, {giga:.0} G operations/s");
        }
    }
    Ok(())
}

/// Seconds that this thread has spent on a processor.
fn busy_seconds() -> Result<f64, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds: f64 = stat.split(' ').next().unwrap_or_default().parse()?;
    Ok(nanoseconds / 1e9)
}

fn encoder(precision: Precision) -> Result<Encoder, Box<dyn Error>> {
    let EncoderShape { layers, hidden, feed_forward, vocabulary, positions, .. } = SHAPE;
    let mut state = 1_u64;
    let mut some = |count: usize, scale: f32| -> Vec<f32> {
        let mut one = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / (1_u32 << 23) as f32 - 1.0) * scale
        };
        (0..count).map(|_| one()).collect()
    };
    let (scale, shift) = (vec![1.0; hidden], vec![0.0; hidden]);
    let norm = NormWeights { scale: &scale, shift: &shift };
    let (words, places, token_type) =
        (some(vocabulary * hidden, 1.0), some(positions * hidden, 0.5), some(hidden, 0.5));
    let weights = EmbeddingWeights { words, positions: &places, token_type: &token_type, norm };
    let mut encoder = Encoder::new(Cpu::best(), precision, SHAPE, weights)?;
    for _ in 0..layers {
        let mut map = |from: usize, to: usize| (some(from * to, 2.0 / (from as f32).sqrt()), some(to, 0.5));
        let sizes = [(hidden, hidden); 4].into_iter().chain([(hidden, feed_forward), (feed_forward, hidden)]);
        let maps: Vec<_> = sizes.map(|(from, to)| map(from, to)).collect();
        let [query, key, value, attention_output, up, down] =
            std::array::from_fn(|at| LinearWeights { weight: &maps[at].0, bias: &maps[at].1 });
        encoder.push_layer(&LayerWeights {
            query,
            key,
            value,
            attention_output,
            attention_norm: norm,
            up,
            down,
            output_norm: norm,
        })?;
    }
    Ok(encoder)
}
