//! The encoder against plain `f64` code, its paths against each other, and one text in any company.

use proptest::prelude::*;
use tandem_kernels::encoder::{
    EmbeddingWeights, Encoder, EncoderShape, LayerWeights, LinearWeights, NormWeights, Pooling, Precision,
};
use tandem_kernels::{Cpu, KernelError};

use crate::generate::{Numbers, bits};
use crate::reference_encoder::{Model, vector};

/// A shape with heads that are whole panels.
fn shape(hidden: usize, heads: usize) -> EncoderShape {
    EncoderShape {
        layers: 2,
        hidden,
        heads,
        feed_forward: 3 * hidden,
        vocabulary: 50,
        positions: 70,
        epsilon: 1e-12,
        pooling: Pooling::Mean,
        normalise: true,
    }
}

fn norm(values: &(Vec<f32>, Vec<f32>)) -> NormWeights<'_> {
    NormWeights { scale: &values.0, shift: &values.1 }
}

fn linear(values: &(Vec<f32>, Vec<f32>)) -> LinearWeights<'_> {
    LinearWeights { weight: &values.0, bias: &values.1 }
}

fn build(cpu: Cpu, precision: Precision, model: &Model) -> Result<Encoder, KernelError> {
    let (words, positions, token_type) = (model.words.clone(), &model.positions[..], &model.token_type[..]);
    let weights = EmbeddingWeights { words, positions, token_type, norm: norm(&model.norm) };
    let mut encoder = Encoder::new(cpu, precision, model.shape, weights)?;
    for layer in &model.layers {
        let [query, key, value, attention_output, up, down] = [0, 1, 2, 3, 4, 5].map(|at| linear(&layer.maps[at]));
        let [attention_norm, output_norm] = [0, 1].map(|at| norm(&layer.norms[at]));
        let weights = LayerWeights { query, key, value, attention_output, attention_norm, up, down, output_norm };
        encoder.push_layer(&weights)?;
    }
    Ok(encoder)
}

/// Sentences one behind the other, and where they start.
fn packed(sentences: &[Vec<u32>]) -> (Vec<u32>, Vec<usize>) {
    let mut starts = vec![0];
    starts.extend(sentences.iter().scan(0, |end, sentence| {
        *end += sentence.len();
        Some(*end)
    }));
    (sentences.concat(), starts)
}

fn encode(encoder: &Encoder, sentences: &[Vec<u32>], threads: usize) -> Vec<f32> {
    let (tokens, starts) = packed(sentences);
    let mut vectors = vec![0.0; sentences.len() * encoder.shape().hidden];
    encoder.encode(&tokens, &starts, threads, &mut vectors).expect("good input");
    vectors
}

fn sentences(numbers: &mut Numbers, lengths: &[usize]) -> Vec<Vec<u32>> {
    lengths.iter().map(|length| (0..*length).map(|_| numbers.id(50, 1)).collect()).collect()
}

/// Those that this processor has, with how far a value of a vector of length 1 may be from that in `f64`.
fn precisions() -> Vec<(Precision, f64)> {
    let all = [(Precision::F32, 2e-6), (Precision::Bf16, 0.02), (Precision::Int8, 0.05)];
    let here = |(precision, _): &(Precision, f64)| match precision.missing() {
        None => true,
        Some(missing) => {
            println!("skipped: {precision} needs {missing}");
            false
        }
    };
    all.into_iter().filter(here).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn vectors_are_those_of_plain_code(
        seed in any::<u64>(),
        (hidden, heads) in prop_oneof![Just((32, 4)), Just((64, 2)), Just((44, 2)), Just((7, 1)), Just((96, 3))],
        lengths in prop::collection::vec(prop_oneof![1_usize..20, Just(70)], 0..5),
        first in any::<bool>(), normalise in any::<bool>(), feed_forward in 1_usize..80,
    ) {
        let pooling = if first { Pooling::First } else { Pooling::Mean };
        let mut numbers = Numbers(seed);
        let model = Model::new(&mut numbers, EncoderShape { pooling, normalise, feed_forward, ..shape(hidden, heads) });
        let sentences = sentences(&mut numbers, &lengths);
        let exact: Vec<f64> = sentences.iter().flat_map(|sentence| vector(&model, sentence)).collect();
        let largest = exact.iter().fold(1.0_f64, |most, value| most.max(value.abs()));
        for (precision, error) in precisions() {
            let encoder = build(Cpu::best(), precision, &model).expect("good weights");
            prop_assert_eq!(encoder.precision(), precision);
            let got = encode(&encoder, &sentences, 2);
            prop_assert_eq!(got.len(), exact.len());
            for (got, exact) in got.iter().zip(&exact) {
                let close = (f64::from(*got) - exact).abs() < error * largest;
                prop_assert!(close, "{}: {} and {}", precision, got, exact);
            }
        }
    }

    #[test]
    fn every_path_gives_the_same_bits(
        seed in any::<u64>(), (hidden, heads) in prop_oneof![Just((32, 4)), Just((64, 2)), Just((44, 2))],
        lengths in prop::collection::vec(1_usize..70, 1..4),
    ) {
        let mut numbers = Numbers(seed);
        let model = Model::new(&mut numbers, shape(hidden, heads));
        let sentences = sentences(&mut numbers, &lengths);
        let on = |cpu| bits(&encode(&build(cpu, Precision::F32, &model).expect("good weights"), &sentences, 1));
        let scalar = on(Cpu::all()[0]);
        for cpu in Cpu::all() {
            prop_assert_eq!(&on(cpu), &scalar, "{:?}", cpu);
        }
    }
}

#[test]
fn company_order_and_threads_change_no_bit() {
    let mut numbers = Numbers(11);
    let model = Model::new(&mut numbers, shape(64, 2));
    let lengths: Vec<usize> = (0..60).map(|at| 1 + at * 37 % 70).collect();
    let sentences = sentences(&mut numbers, &lengths);
    for (precision, _) in precisions() {
        let encoder = build(Cpu::best(), precision, &model).expect("good weights");
        let alone: Vec<f32> =
            sentences.iter().flat_map(|sentence| encode(&encoder, std::slice::from_ref(sentence), 1)).collect();
        for threads in [1, 2, 3, 7] {
            assert_eq!(bits(&encode(&encoder, &sentences, threads)), bits(&alone), "{precision}, {threads} threads");
        }
        let turned: Vec<Vec<u32>> = sentences.iter().rev().cloned().collect();
        let vectors = encode(&encoder, &turned, 2);
        let turned: Vec<f32> = vectors.chunks(64).rev().flatten().copied().collect();
        assert_eq!(bits(&turned), bits(&alone), "{precision}");
    }
}

#[test]
fn a_vector_of_zeros_stays_one() {
    let mut model = Model::new(&mut Numbers(3), shape(32, 4));
    let last = &mut model.layers[1].norms[1];
    last.0.fill(0.0);
    last.1.fill(0.0);
    let encoder = build(Cpu::best(), Precision::F32, &model).expect("good weights");
    assert_eq!(encode(&encoder, &[vec![1, 2, 3]], 1), vec![0.0; 32]);
}

#[test]
fn operations_are_counted_as_others_do() {
    let shape = EncoderShape { layers: 6, feed_forward: 1536, vocabulary: 1, positions: 1, ..shape(384, 12) };
    let mut model = Model::new(&mut Numbers(3), EncoderShape { layers: 1, ..shape });
    model.shape = shape;
    model.layers.clear();
    let encoder = build(Cpu::best(), Precision::F32, &model).expect("good weights");
    // 21.23 million for each token, and 9216 for each token and each token that it attends to.
    assert_eq!(encoder.operations(182), 182.0 * (21_233_664.0 + 9216.0 * 182.0));
}

#[test]
fn bad_input_is_refused_by_name() {
    let model = Model::new(&mut Numbers(5), shape(32, 4));
    let encoder = build(Cpu::best(), Precision::F32, &model).expect("good weights");
    let with = |tokens: &[u32], starts: &[usize], threads, values| {
        encoder.encode(tokens, starts, threads, &mut vec![0.0; values]).expect_err("bad input")
    };
    assert!(matches!(with(&[1, 50], &[0, 2], 1, 32), KernelError::UnknownId { what: "token", entry: 1, id: 50, .. }));
    assert!(matches!(with(&[1], &[0, 1], 0, 32), KernelError::Parameter { name: "threads", .. }));
    assert!(matches!(with(&[1], &[0, 2], 1, 32), KernelError::Length { what: "tokens", .. }));
    assert!(matches!(with(&[1], &[0, 1], 1, 31), KernelError::Length { what: "vectors", .. }));
    assert!(matches!(with(&[1], &[1], 1, 0), KernelError::Parameter { name: "starts[0]", .. }));
    let tokens_of_a_sentence = |error| matches!(error, KernelError::Parameter { name: "tokens of a sentence", .. });
    assert!(tokens_of_a_sentence(with(&[1; 71], &[0, 71], 1, 32)));
    assert!(tokens_of_a_sentence(with(&[1], &[0, 0, 1], 1, 64)));
    assert!(tokens_of_a_sentence(with(&[1], &[0, 3, 1], 1, 64)));
    assert_eq!(encoder.encode(&[], &[0], 1, &mut []), Ok(()));
    assert_eq!(encoder.encode(&[], &[], 1, &mut []), Ok(()));
}

#[test]
fn bad_weights_are_refused_by_name() {
    let good = Model::new(&mut Numbers(5), shape(32, 4));
    let refused = |change: &dyn Fn(&mut Model)| {
        let mut model = good.clone();
        change(&mut model);
        build(Cpu::best(), Precision::F32, &model).err().expect("bad weights")
    };
    let parameter = |change: &dyn Fn(&mut EncoderShape)| match refused(&|model| change(&mut model.shape)) {
        KernelError::Parameter { name, .. } => name,
        other => panic!("{other}"),
    };
    assert_eq!(parameter(&|shape| shape.heads = 5), "heads");
    assert_eq!(parameter(&|shape| shape.hidden = 0), "hidden");
    assert_eq!(parameter(&|shape| shape.vocabulary = 1 << 30), "vocabulary");
    assert_eq!(parameter(&|shape| shape.epsilon = f32::NAN), "epsilon");
    assert_eq!(parameter(&|shape| shape.layers = 1), "layers");
    assert!(matches!(refused(&|model| model.words.truncate(9)), KernelError::Length { what: "words", got: 9, .. }));
    let weight = "weight of a linear map";
    let nan = refused(&|model| model.layers[1].maps[2].0[7] = f32::NAN);
    assert!(matches!(nan, KernelError::NotFinite { what, entry: 7, .. } if what == weight));
    let mut short = good.clone();
    short.layers.pop();
    let short = build(Cpu::best(), Precision::F32, &short).expect("as far as it goes");
    assert!(matches!(
        short.encode(&[1], &[0, 1], 1, &mut [0.0; 32]),
        Err(KernelError::Parameter { name: "layers", .. })
    ));
    let mut large = good.clone();
    large.layers[1].norms[1].0.fill(f32::MAX);
    let large = build(Cpu::best(), Precision::F32, &large).expect("finite weights");
    assert!(matches!(large.encode(&[1], &[0, 1], 1, &mut [0.0; 32]), Err(KernelError::NotFinite { .. })));
}
