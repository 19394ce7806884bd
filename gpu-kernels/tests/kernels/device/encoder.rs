//! The encoder on a device against plain code.

use tandem_kernels::KernelError;
use tandem_kernels::device::DeviceError;
use tandem_kernels::encoder::cuda::{DeviceEncoder, EncoderConfig};

use super::encoder_reference::{Model, cosine};
use super::{devices, two_devices};
use crate::generate::{Numbers, bits};

fn config(hidden: usize, heads: usize, intermediate: usize) -> EncoderConfig {
    EncoderConfig { hidden, heads, intermediate, vocabulary: 50, positions: 80, epsilon: 1e-12 }
}

fn model(config: EncoderConfig, layers: usize) -> Model {
    let mut numbers = Numbers(3);
    Model::new(config, layers, || numbers.within(1.0))
}

/// Random sequences of these lengths.
fn texts(lengths: &[usize]) -> Vec<Vec<u32>> {
    let mut numbers = Numbers(8);
    lengths.iter().map(|length| (0..*length).map(|_| numbers.id(50, 1)).collect()).collect()
}

fn packed(texts: &[Vec<u32>]) -> (Vec<u32>, Vec<u32>) {
    let mut offsets = vec![0];
    offsets.extend(texts.iter().scan(0, |sum, text| {
        *sum += text.len() as u32;
        Some(*sum)
    }));
    (texts.concat(), offsets)
}

#[test]
fn vectors_are_those_of_plain_code_whatever_their_company() {
    // Heads of 32 and 64; products narrower and wider than a tile; lengths about multiples of 16.
    let cases = [(config(64, 2, 96), &[1, 16, 17, 40][..]), (config(128, 2, 160), &[31, 80][..])];
    for (config, lengths) in cases {
        let (model, texts) = (model(config, 2), texts(lengths));
        let (ids, offsets) = packed(&texts);
        let expected: Vec<Vec<f64>> = texts.iter().map(|text| model.encode(text)).collect();
        for device in devices() {
            let mut encoder = DeviceEncoder::new(&device, &config, &model.weights()).expect("a good model");
            let vectors = encoder.encode(&ids, &offsets).expect("good texts");
            for (vector, expected) in vectors.chunks(config.hidden).zip(&expected) {
                let length: f32 = vector.iter().map(|x| x * x).sum();
                assert!((length - 1.0).abs() < 1e-5, "length {length}");
                // Weights and activations have 8 bits, so each is off by up to 1/512, and sums are of random signs: published
                // for a trained model of six layers are 0.99997; random weights weaken nothing, so give them some room.
                let cosine = cosine(vector, expected);
                assert!(cosine > 0.9995, "cosine {cosine}");
            }
            let (alone, offsets) = packed(&texts[1..2]);
            let alone = encoder.encode(&alone, &offsets).expect("a good text");
            assert_eq!(bits(&alone), bits(&vectors[config.hidden..2 * config.hidden]), "the same bits in any company");
        }
    }
}

#[test]
fn texts_beyond_one_pass_come_in_order() {
    let config = EncoderConfig { positions: 512, ..config(64, 1, 32) };
    let model = model(config, 0);
    let texts = texts(&[500; 20]);
    let (ids, offsets) = packed(&texts);
    for device in two_devices() {
        let mut encoder = DeviceEncoder::new(&device, &config, &model.weights()).expect("a good model");
        let vectors = encoder.encode(&ids, &offsets).expect("good texts");
        assert_eq!(vectors.len(), 20 * 64);
        for (text, vector) in texts.iter().zip(vectors.chunks(64)).skip(15) {
            assert!(cosine(vector, &model.encode(text)) > 0.9995);
        }
        assert_eq!(encoder.encode(&[], &[0]), Ok(vec![]));
        assert_eq!(encoder.encode(&[], &[]), Ok(vec![]));
    }
}

#[test]
fn weights_that_are_not_finite_show_in_the_vectors() {
    let config = config(64, 2, 32);
    for bad in [f32::NAN, f32::INFINITY] {
        let model = model(config, 1);
        let mut weights = model.weights();
        let mut bias = weights.layers[0].value.bias.to_vec();
        bias[5] = bad;
        weights.layers[0].value.bias = &bias;
        for device in two_devices() {
            let mut encoder = DeviceEncoder::new(&device, &config, &weights).expect("a good shape");
            let vector = encoder.encode(&[1, 2, 3], &[0, 3]).expect("good texts");
            assert!(vector.iter().all(|x| x.is_nan()), "{vector:?}");
        }
    }
}

#[test]
fn bad_models_and_texts_are_refused_by_name() {
    let good = config(64, 2, 32);
    let model = model(good, 1);
    for device in devices().into_iter().take(1) {
        for (bad, name) in [
            (EncoderConfig { hidden: 96, ..good }, "hidden"),
            (EncoderConfig { heads: 4, ..good }, "heads"),
            (EncoderConfig { intermediate: 40, ..good }, "intermediate"),
            (EncoderConfig { epsilon: f32::NAN, ..good }, "epsilon"),
        ] {
            let error = DeviceEncoder::new(&device, &bad, &model.weights()).map(|_| ()).expect_err("a bad shape");
            let DeviceError::Input(KernelError::Parameter { name: got, .. }) = error else { panic!("{error}") };
            assert_eq!(got, name);
        }
        let short = EncoderConfig { vocabulary: 51, ..good };
        let error = DeviceEncoder::new(&device, &short, &model.weights()).map(|_| ()).expect_err("too few words");
        assert_eq!(error.to_string(), "words has 3200 values, expected 3264");

        let mut encoder = DeviceEncoder::new(&device, &good, &model.weights()).expect("a good model");
        let error = encoder.encode(&[1, 50], &[0, 2]).expect_err("an unknown token");
        assert_eq!(error, KernelError::UnknownId { what: "token", entry: 1, id: 50, rows: 50 }.into());
        for (ids, offsets) in [(vec![1; 3], vec![0, 2]), (vec![], vec![0, 1])] {
            assert!(matches!(encoder.encode(&ids, &offsets), Err(DeviceError::Input(KernelError::Length { .. }))));
        }
        for (ids, offsets) in [
            (vec![1; 2], vec![0, 0, 2]),
            (vec![1; 81], vec![0, 81]),
            (vec![1; 2], vec![1, 2]),
            (vec![1], vec![0, 2, 1]),
        ] {
            assert!(matches!(encoder.encode(&ids, &offsets), Err(DeviceError::Input(KernelError::Parameter { .. }))));
        }
    }
}
