//! The gradient step in batches, on the CPU.

use proptest::prelude::*;
use tandem_kernels::funk::{
    Batches, Block, Order, Rating, RowShape, Rule, Side, TrainOptions, Trainer, rmse, train, update_block,
    update_block_batched,
};
use tandem_kernels::{Cpu, KernelError};

use crate::generate::{Numbers, bits, matrix, params, ratings, rows, rules, tastes};
use crate::reference::{self, check_rows, close};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn every_path_gives_the_same_bits_and_those_of_single_steps(
        k in 0usize..45, rule in rules(), biases in any::<bool>(), seed in any::<u64>(), size in 1usize..50,
        count in 0usize..200, users in 1usize..30, items in 1usize..20,
    ) {
        let (shape, mut numbers) = (RowShape::new(k), Numbers(seed));
        let block = Block::new(ratings(&mut numbers, count, users, items), users, items).expect("good ratings");
        let (p, q) = (rows(&mut numbers, Side::User, shape, users), rows(&mut numbers, Side::Item, shape, items));
        let params = params(rule, biases);
        let answer = |cpu, size| {
            let batches = Batches::new(&block, size).expect("a good size");
            let (mut p, mut q) = (p.clone(), q.clone());
            let squares = update_block_batched(cpu, &params, shape, &block, &batches, &mut p, &mut q).expect("good input");
            (squares, bits(&p), bits(&q))
        };
        let scalar = answer(Cpu::all()[0], size);
        for cpu in &Cpu::all()[1..] {
            prop_assert_eq!(&answer(*cpu, size), &scalar, "{:?} differs from scalar", cpu);
        }
        let (mut single_p, mut single_q) = (p.clone(), q.clone());
        let squares = update_block(Cpu::best(), &params, shape, &block, &mut single_p, &mut single_q).expect("good input");
        let ones = answer(Cpu::best(), 1);
        prop_assert_eq!((&ones.1, &ones.2), (&bits(&single_p), &bits(&single_q)), "batches of one rating");
        prop_assert!((ones.0 - squares).abs() <= 1e-9 * squares, "the same numbers in another order");
    }

    #[test]
    fn sums_are_what_plain_code_computes(
        k in 0usize..30, rule in rules(), biases in any::<bool>(), seed in any::<u64>(), size in 1usize..60,
        users in 5usize..30, items in 5usize..20,
    ) {
        let (shape, mut numbers) = (RowShape::new(k), Numbers(seed));
        let block = Block::new(ratings(&mut numbers, 150, users, items), users, items).expect("good ratings");
        let mut p = rows(&mut numbers, Side::User, shape, users);
        let mut q = rows(&mut numbers, Side::Item, shape, items);
        let (mut wide_p, mut wide_q) = (matrix(Side::User, shape, &p), matrix(Side::Item, shape, &q));
        let params = params(rule, biases);
        let squares = reference::sgd_batched(&params, block.ratings(), size, &mut wide_p, &mut wide_q);
        let batches = Batches::new(&block, size).expect("a good size");
        prop_assert_eq!(batches.batches(), 150usize.div_ceil(size));
        let got = update_block_batched(Cpu::best(), &params, shape, &block, &batches, &mut p, &mut q).expect("good input");
        prop_assert!(close(got, squares), "squared errors {} and {}", got, squares);
        check_rows(Side::User, shape, &p, &wide_p)?;
        check_rows(Side::Item, shape, &q, &wide_q)?;
    }
}

#[test]
fn a_training_in_batches_is_as_good_and_the_same_on_any_number_of_threads() {
    let (users, items) = (600, 250);
    let mut all = tastes(&mut Numbers(5), 22_000, users, items);
    let held_out = all.split_off(20_000);
    let options = TrainOptions { learning_rate: 0.01, epochs: 10, bins: 8, ..TrainOptions::surprise(8) };
    let run = |threads| {
        let trainer = Trainer::new(Cpu::best(), &all, users, items, &options).expect("good input");
        let mut trainer = trainer.batched(16).expect("a good size");
        let errors: Vec<u64> =
            (0..options.epochs).map(|_| trainer.epoch(threads).expect("it converges").to_bits()).collect();
        (trainer.model(), errors)
    };
    let (one, errors) = run(1);
    for threads in [2, 3, 7] {
        let (model, others) = run(threads);
        assert_eq!((model.checksum(), others), (one.checksum(), errors.clone()), "{threads} threads");
    }
    let sequential = train(Cpu::best(), &all, users, items, &options, 1).expect("good input");
    let error = |model| rmse(Cpu::best(), model, &held_out, None).expect("good input");
    let (batched, sequential) = (error(&one), error(&sequential));
    // 128 updates from one state, the most popular item has 6 % of all: 128 × 0.06 × 0.01 is 0.08, far below 1.
    assert!((batched / sequential - 1.0).abs() < 0.005, "{batched} and {sequential}");
}

#[test]
fn bad_sizes_and_batches_of_another_block_are_refused() {
    let good = Rating { user: 0, item: 0, value: 1.0 };
    let block = |count| Block::new(vec![good; count], 1, 1).expect("good ratings");
    for size in [0, 1 << 16] {
        assert!(matches!(Batches::new(&block(1), size), Err(KernelError::Parameter { name: "batch", .. })));
    }
    let batches = Batches::new(&block(2), 7).expect("a good size");
    let (mut p, mut q) = ([0.0; 8], [0.0; 8]);
    let params = params(Rule::Surprise, true);
    let shape = RowShape::new(2);
    let error = update_block_batched(Cpu::best(), &params, shape, &block(3), &batches, &mut p, &mut q);
    assert_eq!(error, Err(KernelError::Length { what: "batches", got: 2, expected: 3 }));
    let none = Batches::new(&block(0), 7).expect("a good size");
    let squares = update_block_batched(Cpu::best(), &params, shape, &block(0), &none, &mut p, &mut q);
    assert_eq!((none.batches(), squares), (0, Ok(0.0)));
    let options = TrainOptions { order: Some(Order::ByUser), ..TrainOptions::surprise(2) };
    assert!(Trainer::new(Cpu::best(), &[good], 1, 1, &options).expect("good input").batched(0).is_err());
}
