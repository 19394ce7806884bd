//! The gradient step over one block.

use proptest::prelude::*;
use tandem_kernels::funk::{Block, Rating, RowShape, Rule, SgdParams, Side, update_block};
use tandem_kernels::{Cpu, KernelError};

use crate::generate::{Numbers, bits, digest, matrix, params, ratings, rows, rules};
use crate::reference::{self, check_rows, close};

/// Row lengths with and without an odd eight, those fixed in the binary and those that are not.
fn factors() -> impl Strategy<Value = usize> {
    prop_oneof![0usize..45, Just(70), Just(100), Just(101), Just(126), Just(128), Just(131)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn every_path_gives_the_same_bits(
        k in factors(), rule in rules(), biases in any::<bool>(), seed in any::<u64>(),
        count in 0usize..300, users in 1usize..40, items in 1usize..20, scale in prop_oneof![Just(1.0f32), Just(30.0)],
    ) {
        let (shape, mut numbers) = (RowShape::new(k), Numbers(seed));
        let mut ratings = ratings(&mut numbers, count, users, items);
        // At the large scale the rows may grow beyond all bounds; that too is the same everywhere.
        ratings.iter_mut().for_each(|rating| rating.value *= scale);
        let block = Block::new(ratings, users, items).expect("good ratings");
        let (p, q) = (rows(&mut numbers, Side::User, shape, users), rows(&mut numbers, Side::Item, shape, items));
        let params = params(rule, biases);
        let answer = |cpu| {
            let (mut p, mut q) = (p.clone(), q.clone());
            let squares = update_block(cpu, &params, shape, &block, &mut p, &mut q).expect("good input");
            (if squares.is_nan() { None } else { Some(squares.to_bits()) }, bits(&p), bits(&q))
        };
        let scalar = answer(Cpu::all()[0]);
        for cpu in &Cpu::all()[1..] {
            prop_assert_eq!(&answer(*cpu), &scalar, "{:?} differs from scalar", cpu);
        }
    }

    #[test]
    fn updates_are_what_plain_code_computes(
        k in factors(), rule in rules(), biases in any::<bool>(), seed in any::<u64>(),
        count in 0usize..300, users in 5usize..40, items in 5usize..20,
    ) {
        let (shape, mut numbers) = (RowShape::new(k), Numbers(seed));
        let block = Block::new(ratings(&mut numbers, count, users, items), users, items).expect("good ratings");
        let mut p = rows(&mut numbers, Side::User, shape, users);
        let mut q = rows(&mut numbers, Side::Item, shape, items);
        let (mut wide_p, mut wide_q) = (matrix(Side::User, shape, &p), matrix(Side::Item, shape, &q));
        let params = params(rule, biases);

        let squares = reference::sgd(&params, block.ratings(), &mut wide_p, &mut wide_q);
        let got = update_block(Cpu::best(), &params, shape, &block, &mut p, &mut q).expect("good input");
        prop_assert!(close(got, squares), "squared errors {} and {}", got, squares);
        check_rows(Side::User, shape, &p, &wide_p)?;
        check_rows(Side::Item, shape, &q, &wide_q)?;
    }
}

#[test]
fn the_bits_are_those_of_every_other_machine() {
    for (k, rule, pinned) in [
        (20, Rule::Surprise, 0x56040831c7695355),
        (101, Rule::Surprise, 0x14532bcd57b5b049),
        (20, Rule::R2, 0xd5871aa843b31f6a),
    ] {
        let (shape, mut numbers) = (RowShape::new(k), Numbers(7));
        let mut p = rows(&mut numbers, Side::User, shape, 30);
        let mut q = rows(&mut numbers, Side::Item, shape, 20);
        let block = Block::new(ratings(&mut numbers, 2000, 30, 20), 30, 20).expect("good ratings");
        update_block(Cpu::best(), &params(rule, true), shape, &block, &mut p, &mut q).expect("good input");
        assert_eq!(digest(&[&p, &q]), pinned, "k = {k}, {rule:?}");
    }
}

#[test]
fn biases_that_are_not_learnt_keep_their_bits() {
    let (shape, mut numbers) = (RowShape::new(5), Numbers(1));
    let (mut p, mut q) = (rows(&mut numbers, Side::User, shape, 3), rows(&mut numbers, Side::Item, shape, 3));
    let before: Vec<f32> = p.chunks(8).map(|row| row[0]).chain(q.chunks(8).map(|row| row[1])).collect();
    let block = Block::new(ratings(&mut numbers, 100, 3, 3), 3, 3).expect("good ratings");
    let params = params(Rule::Surprise, false);
    update_block(Cpu::best(), &params, shape, &block, &mut p, &mut q).expect("good input");
    let after: Vec<f32> = p.chunks(8).map(|row| row[0]).chain(q.chunks(8).map(|row| row[1])).collect();
    assert_eq!(bits(&before), bits(&after));
}

#[test]
fn r2_keeps_errors_and_factors_within_its_bound() {
    let shape = RowShape::new(3);
    let (mut p, mut q) = (vec![0.0; 8], vec![0.0; 8]);
    p[..5].copy_from_slice(&[0.0, 1.0, 9.9, -9.9, 0.0]);
    q[..5].copy_from_slice(&[1.0, 0.0, 9.0, 9.0, 0.0]);
    let block = Block::new(vec![Rating { user: 0, item: 0, value: 1e6 }], 1, 1).expect("a good rating");
    let params = SgdParams { learning_rate: 0.5, mean: 0.0, biases: false, ..params(Rule::R2, true) };
    let squares = update_block(Cpu::best(), &params, shape, &block, &mut p, &mut q).expect("good input");
    assert_eq!(squares, 100.0, "the error is kept at 10");
    assert_eq!((p[2], q[2], p[4]), (10.0, 10.0, 0.0));
    assert!(q[3] > 9.0 && p[3] == 10.0, "the item follows the new user row: {p:?} {q:?}");
}

#[test]
fn rows_that_are_not_finite_show_in_the_sum() {
    let shape = RowShape::new(4);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for rule in [Rule::Surprise, Rule::R2] {
            for cpu in Cpu::all() {
                let (mut p, mut q) = (vec![0.5; 8], vec![0.5; 8]);
                p[3] = bad;
                let block = Block::new(vec![Rating { user: 0, item: 0, value: 1.0 }; 2], 1, 1).expect("good ratings");
                let squares =
                    update_block(cpu, &params(rule, true), shape, &block, &mut p, &mut q).expect("good shapes");
                assert!(!squares.is_finite() || rule == Rule::R2, "{cpu:?} {rule:?} {bad} gave {squares}");
                assert!(!squares.is_nan() || rule == Rule::Surprise || bad.is_nan());
            }
        }
    }
}

#[test]
fn bad_input_is_refused_by_name() {
    let good = Rating { user: 0, item: 0, value: 1.0 };
    let block = |bad: Rating| Block::new(vec![good, bad], 2, 3).map(|_| ());
    let unknown = |what, id, rows| Err(KernelError::UnknownId { what, entry: 1, id, rows });
    assert_eq!(block(Rating { user: 2, ..good }), unknown("user", 2, 2));
    assert_eq!(block(Rating { item: 3, ..good }), unknown("item", 3, 3));
    for value in [f32::NAN, f32::INFINITY] {
        let error = block(Rating { value, ..good }).expect_err("not finite");
        assert!(error.to_string().starts_with("rating 1 is "), "{error}");
    }

    let block = Block::new(vec![good], 1, 1).expect("a good rating");
    let (mut row, mut short) = ([0.0; 8], [0.0; 7]);
    let shape = RowShape::new(2);
    let mut update = |params, users: &mut [f32]| update_block(Cpu::best(), &params, shape, &block, users, &mut row);
    let error = update(params(Rule::R2, true), &mut short).expect_err("too short");
    assert_eq!(error.to_string(), "users has 7 values, expected 8");
    for (rate, pull) in [(0.0, 0.1), (f32::NAN, 0.1), (f32::INFINITY, 0.0), (0.1, -1.0), (0.1, f32::NAN), (0.5, 2.0)] {
        let params = SgdParams { learning_rate: rate, regularization: pull, ..params(Rule::R2, true) };
        let error = update(params, &mut [0.0; 8]).expect_err("a bad parameter");
        assert!(matches!(error, KernelError::Parameter { .. }), "{error}");
    }
    let params = SgdParams { mean: f32::NAN, ..params(Rule::R2, true) };
    assert!(matches!(update(params, &mut [0.0; 8]), Err(KernelError::Parameter { name: "mean", .. })));
}
