//! Training: its schedule, what it does not depend on, and how well it learns.

use proptest::prelude::*;
use tandem_kernels::funk::{
    Bins, Block, Grid, Model, Order, Rating, RowShape, Rows, Rule, SgdParams, Side, Strata, TrainOptions, Trainer,
    predict, rmse, start_row, train, update_block,
};
use tandem_kernels::{Cpu, KernelError};

use crate::generate::{Numbers, matrix, ratings, tastes};
use crate::reference;

/// Small enough for many runs.
fn options() -> TrainOptions {
    TrainOptions { epochs: 2, bins: 8, learning_rate: 0.01, ..TrainOptions::surprise(6) }
}

fn orders() -> impl Strategy<Value = Order> {
    prop_oneof![Just(Order::Shuffled), Just(Order::ByUser)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_model_depends_neither_on_threads_nor_on_the_order_of_arrival_nor_on_the_processor(
        count in 0usize..1000, users in 1usize..100, items in 1usize..60, bins in 1usize..12, seed in any::<u64>(),
        order in orders(),
    ) {
        let mut ratings = ratings(&mut Numbers(seed), count, users, items);
        let options = TrainOptions { bins, seed, order: Some(order), ..options() };
        let one = train(Cpu::best(), &ratings, users, items, &options, 1).expect("good input");
        for cpu in Cpu::all() {
            let other = train(cpu, &ratings, users, items, &options, 1).expect("good input");
            prop_assert_eq!(other.checksum(), one.checksum(), "{:?}", cpu);
        }
        for threads in [2, 3, 8] {
            ratings.rotate_left(count / 3);
            ratings.reverse();
            let model = train(Cpu::best(), &ratings, users, items, &options, threads).expect("good input");
            prop_assert_eq!(model.checksum(), one.checksum(), "{} threads", threads);
        }
    }

    #[test]
    fn a_grid_has_every_rating_once(
        count in 0usize..500, users in 1usize..50, items in 1usize..50, bins in 1usize..10, seed in any::<u64>(),
        order in orders(),
    ) {
        let ratings = ratings(&mut Numbers(seed), count, users, items);
        let deal = |ids, seed| Bins::deal(&vec![1; ids], bins, seed).expect("good parameters");
        let grid = Grid::new(&ratings, deal(users, seed), deal(items, !seed), order, seed).expect("good ratings");
        let key = |user: usize, item: usize, value: f32| (user, item, value.to_bits());
        let mut expected: Vec<_> = ratings
            .iter()
            .map(|r| key(grid.users().row(r.user), grid.items().row(r.item), r.value))
            .collect();
        let mut found = Vec::new();
        for (at, block) in grid.blocks().iter().enumerate() {
            let (p, q) = (grid.users().rows(at / bins), grid.items().rows(at % bins));
            prop_assert_eq!((block.rows(Side::User), block.rows(Side::Item)), (p.len(), q.len()));
            prop_assert!(order == Order::Shuffled || block.ratings().is_sorted_by_key(|r| r.user));
            let by_row = |r: &Rating| key(p.start + r.user as usize, q.start + r.item as usize, r.value);
            found.extend(block.ratings().iter().map(by_row));
        }
        expected.sort_unstable();
        found.sort_unstable();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn the_model_is_that_of_every_other_machine() {
    let ratings = tastes(&mut Numbers(3), 5000, 200, 100);
    for (options, pinned) in
        [(options(), 0x4b4abf815ee3de4d), (TrainOptions { bins: 5, ..TrainOptions::r2(21) }, 0xfd82743d95543cb3)]
    {
        let model = train(Cpu::best(), &ratings, 200, 100, &options, 2).expect("good input");
        assert_eq!(model.checksum(), pinned, "{options:?}");
    }
}

/// Three workers that own user bins, each with its ratings only, pass item bins round.
#[test]
fn workers_that_run_single_blocks_get_the_bits_of_one_process() {
    let (users, items, options) = (120, 70, options());
    let (bins, seed, shape) = (options.bins, options.seed, RowShape::new(options.factors));
    let ratings = tastes(&mut Numbers(5), 4000, users, items);
    let mut counts = (vec![0; users], vec![0; items]);
    for rating in &ratings {
        counts.0[rating.user as usize] += 1;
        counts.1[rating.item as usize] += 1;
    }
    let user_bins = Bins::deal(&counts.0, bins, seed).expect("good parameters");
    let item_bins = Bins::deal(&counts.1, bins, !seed).expect("good parameters");
    let of_worker = |worker: u32| {
        let mine = ratings.iter().filter(|r| user_bins.place(r.user).bin % 3 == worker).copied().collect::<Vec<_>>();
        Grid::new(&mine, user_bins.clone(), item_bins.clone(), Order::Shuffled, seed).expect("good ratings")
    };
    let workers: Vec<Grid> = (0..3).map(of_worker).collect();
    let block = |user_bin: usize, item_bin| workers[user_bin % 3].block(user_bin, item_bin);

    let blocks: Vec<&Block> = (0..bins * bins).map(|at| block(at / bins, at % bins)).collect();
    let mean = blocks.iter().map(|block| block.sum()).sum::<f64>() / ratings.len() as f64;
    let (rule, learning_rate, regularization) = (options.rule, options.learning_rate, options.regularization);
    let params = SgdParams { rule, mean: mean as f32, learning_rate, regularization, biases: true };
    let start = |side, counts: &[u64], dealt: &Bins| -> Vec<Vec<f32>> {
        let mut rows: Vec<Vec<f32>> = (0..bins).map(|bin| vec![0.0; dealt.rows(bin).len() * shape.stride()]).collect();
        for (id, count) in (0..).zip(counts) {
            let place = dealt.place(id);
            let row = &mut rows[place.bin as usize][place.row as usize * shape.stride()..][..shape.stride()];
            start_row(shape, side, id, *count > 0, options.spread, seed, row);
        }
        rows
    };
    let mut p = start(Side::User, &counts.0, &user_bins);
    let mut q = start(Side::Item, &counts.1, &item_bins);
    for epoch in 0..options.epochs {
        let strata = Strata::of_epoch(bins, seed, epoch);
        for stratum in 0..bins {
            for user_bin in (0..bins).rev() {
                let item_bin = strata.item_bin(stratum, user_bin);
                let (users, items) = (&mut p[user_bin], &mut q[item_bin]);
                update_block(Cpu::best(), &params, shape, block(user_bin, item_bin), users, items).expect("good input");
            }
        }
    }

    let model = train(Cpu::best(), &ratings, users, items, &options, 2).expect("good input");
    assert_eq!(model.mean, mean as f32);
    for (rows, dealt, bins) in [(&model.users, &user_bins, &p), (&model.items, &item_bins, &q)] {
        for (id, row) in (0..).zip(rows.chunks(shape.stride())) {
            let place = dealt.place(id);
            assert_eq!(row, &bins[place.bin as usize][place.row as usize * shape.stride()..][..shape.stride()]);
        }
    }
}

/// The parallel order against plain sequential code over shuffled ratings, on ratings that neither has seen.
#[test]
fn learns_as_well_as_sequential_updates() {
    let (users, items, shape) = (1500, 600, RowShape::new(8));
    let (mut ours, mut sequential) = (0.0, 0.0);
    for seed in 0..3 {
        let mut numbers = Numbers(seed);
        let all = tastes(&mut numbers, 150_000, users, items);
        let (test, seen) = all.split_at(15_000);
        let options = TrainOptions { epochs: 10, learning_rate: 0.01, seed, ..TrainOptions::surprise(8) };
        let model = train(Cpu::best(), seen, users, items, &options, 2).expect("good input");
        ours += rmse(Cpu::best(), &model, test, None).expect("good input") / 3.0;

        let mut start = (Rows::zeros(users * 16), Rows::zeros(items * 16));
        for (side, rows) in [(Side::User, &mut start.0), (Side::Item, &mut start.1)] {
            (0..).zip(rows.chunks_mut(16)).for_each(|(id, row)| start_row(shape, side, id, true, 0.1, seed, row));
        }
        let (mut p, mut q) = (matrix(Side::User, shape, &start.0), matrix(Side::Item, shape, &start.1));
        let mean = seen.iter().map(|r| f64::from(r.value)).sum::<f64>() / seen.len() as f64;
        let params = SgdParams {
            rule: Rule::Surprise,
            mean: mean as f32,
            learning_rate: 0.01,
            regularization: 0.02,
            biases: true,
        };
        for _ in 0..10 {
            reference::sgd(&params, seen, &mut p, &mut q);
        }
        let square = |r: &Rating| (f64::from(r.value) - reference::predict(mean, r.user, r.item, &p, &q)).powi(2);
        sequential += (test.iter().map(square).sum::<f64>() / test.len() as f64).sqrt() / 3.0;
    }
    let change = ours / sequential - 1.0;
    println!("RMSE {ours:.5}, sequential {sequential:.5}, {:+.3} %", change * 100.0);
    assert!(change.abs() < 0.001, "RMSE {ours}, sequential {sequential}");
}

#[test]
fn ids_without_ratings_predict_mean_and_bias() {
    let seen: Vec<Rating> = (0..40).map(|at| Rating { user: at % 4, item: at % 5, value: (at % 3) as f32 }).collect();
    let model = train(Cpu::best(), &seen, 6, 7, &options(), 1).expect("good input");
    let mut out = [0.0; 3];
    predict(Cpu::best(), &model, &[(5, 6), (0, 6), (5, 0)], None, &mut out).expect("known ids");
    assert_eq!(out, [model.mean, model.mean + model.user(0)[0], model.mean + model.item(0)[1]]);
    predict(Cpu::best(), &model, &[(5, 6); 3], Some((4.0, 5.0)), &mut out).expect("known ids");
    assert_eq!(out, [4.0; 3]);
}

#[test]
fn nothing_to_train_on_is_no_error() {
    for (users, items) in [(0, 0), (0, 3), (3, 0), (2, 2)] {
        let model = train(Cpu::best(), &[], users, items, &options(), 3).expect("good input");
        assert_eq!((model.mean, model.users.len(), model.items.len()), (0.0, users * 8, items * 8));
        assert_eq!(rmse(Cpu::best(), &model, &[], None), Ok(0.0));
    }
}

#[test]
fn a_diverging_training_says_when() {
    let seen: Vec<Rating> = (0..100).map(|at| Rating { user: at % 3, item: at % 2, value: 1e6 }).collect();
    let options = TrainOptions { learning_rate: 0.9, biases: false, epochs: 9, ..options() };
    let error = train(Cpu::best(), &seen, 3, 2, &options, 2).expect_err("far too long steps");
    assert!(matches!(error, KernelError::Diverged { .. }), "{error}");
}

#[test]
fn bad_input_is_refused_by_name() {
    let good = Rating { user: 0, item: 0, value: 1.0 };
    let of = |rating, options: &TrainOptions, threads| train(Cpu::best(), &[rating], 1, 1, options, threads);
    let bad = Rating { value: f32::NAN, ..good };
    assert!(matches!(of(bad, &options(), 1), Err(KernelError::NotFinite { entry: 0, .. })));
    assert!(matches!(of(Rating { item: 1, ..good }, &options(), 1), Err(KernelError::UnknownId { what: "item", .. })));
    assert!(matches!(of(good, &options(), 0), Err(KernelError::Parameter { name: "threads", .. })));
    for bins in [0, 1 << 17] {
        let error = of(good, &TrainOptions { bins, ..options() }, 1).expect_err("a bad number");
        assert_eq!(error.to_string(), format!("bins is {bins}, expected 1 to 65536"));
    }
    for spread in [f32::NAN, f32::INFINITY] {
        assert!(of(good, &TrainOptions { spread, ..options() }, 1).is_err());
    }

    let model: Model = Trainer::new(Cpu::best(), &[good], 1, 1, &options()).expect("good input").model();
    let predict = |pair, range| predict(Cpu::best(), &model, &[pair], range, &mut [0.0]);
    assert!(matches!(predict((0, 1), None), Err(KernelError::UnknownId { what: "item", entry: 0, id: 1, rows: 1 })));
    assert!(matches!(predict((0, 0), Some((2.0, 1.0))), Err(KernelError::Parameter { name: "range", .. })));
    assert!(rmse(Cpu::best(), &model, &[bad], None).is_err());
}
