//! FunkSVD on a device.

use tandem_kernels::KernelError;
use tandem_kernels::device::DeviceError;
use tandem_kernels::funk::cuda::{self, DeviceTrainer, MOST_IN_FLIGHT, Mode, Storage, in_flight};
use tandem_kernels::funk::{
    Batches, Block, Model, Rating, RowShape, Rule, Side, TrainOptions, Trainer, rmse, train, update_block_batched,
};
use tandem_kernels::{Cpu, device::Device};

use super::{devices, two_devices};
use crate::generate::{Numbers, bits, params, ratings, rows, tastes};

#[test]
fn a_block_in_batches_has_the_bits_of_the_cpu() {
    // Rows with and without an odd eight, with one vector a thread and with more.
    let cases = [
        (0, Rule::Surprise, true, 5),
        (20, Rule::R2, true, 40),
        (20, Rule::Surprise, false, 300),
        (70, Rule::R2, false, 64),
    ];
    for device in devices() {
        for (k, rule, biases, size) in cases {
            let (shape, mut numbers) = (RowShape::new(k), Numbers(k as u64 + 1));
            let block = Block::new(ratings(&mut numbers, 300, 40, 25), 40, 25).expect("good ratings");
            let batches = Batches::new(&block, size).expect("a good size");
            let (p, q) = (rows(&mut numbers, Side::User, shape, 40), rows(&mut numbers, Side::Item, shape, 25));
            let params = params(rule, biases);
            let (mut cpu_p, mut cpu_q) = (p.clone(), q.clone());
            let squares = update_block_batched(Cpu::best(), &params, shape, &block, &batches, &mut cpu_p, &mut cpu_q);
            let (mut p, mut q) = (p, q);
            let got = cuda::update_block_batched(&device, &params, shape, &block, &batches, &mut p, &mut q);
            assert_eq!(got.map(f64::to_bits), Ok(squares.expect("good input").to_bits()), "k = {k}, {rule:?}");
            assert_eq!((bits(&p), bits(&q)), (bits(&cpu_p), bits(&cpu_q)), "k = {k}, {rule:?}");
        }
    }
}

#[test]
fn a_training_in_batches_has_the_bits_of_the_cpu() {
    let all = tastes(&mut Numbers(5), 1500, 90, 40);
    let options = TrainOptions { learning_rate: 0.01, bins: 3, ..TrainOptions::surprise(6) };
    let cpu = Trainer::new(Cpu::best(), &all, 90, 40, &options).expect("good input");
    let mut cpu = cpu.batched(20).expect("a good size");
    let errors: Vec<_> = (0..3).map(|_| cpu.epoch(2).expect("it converges").to_bits()).collect();
    for device in two_devices() {
        let mut trainer =
            DeviceTrainer::new(&device, &all, 90, 40, &options, Mode::Batches { size: 20 }).expect("good input");
        let got: Vec<_> = (0..3).map(|_| trainer.epoch().expect("it converges").to_bits()).collect();
        assert_eq!((trainer.model().expect("rows").checksum(), &got), (cpu.model().checksum(), &errors));
        // The CPU goes on where the device stopped.
        let (mut there, mut here) = (trainer.into_trainer().expect("rows"), cpu.clone());
        assert_eq!(there.epoch(1), here.epoch(3));
        assert_eq!(there.model().checksum(), here.model().checksum());
    }
}

/// The constants that no update may change.
fn check_constants(model: &Model) {
    for (side, rows) in [(Side::User, &model.users), (Side::Item, &model.items)] {
        for row in rows.chunks(model.shape.stride()) {
            assert_eq!(row[side.one_slot()], 1.0);
            assert!(row[model.shape.factors() + 2..].iter().all(|pad| *pad == 0.0), "padding stays zero: {row:?}");
        }
    }
}

fn check_fast(device: &Device, options: &TrainOptions, in_flight: Option<usize>, storage: Storage, tolerance: f64) {
    let (users, items) = (150, 60);
    let mut all = tastes(&mut Numbers(6), 2800, users, items);
    let held_out = all.split_off(2500);
    let mode = Mode::Fast { in_flight, storage };
    let mut trainer = DeviceTrainer::new(device, &all, users, items, options, mode).expect("good input");
    let errors: Vec<f64> = (0..options.epochs).map(|_| trainer.epoch().expect("it converges")).collect();
    let model = trainer.model().expect("rows");
    check_constants(&model);
    let sequential = train(Cpu::best(), &all, users, items, options, 1).expect("good input");
    let error = |model| rmse(Cpu::best(), model, &held_out, None).expect("good input");
    let (fast, sequential) = (error(&model), error(&sequential));
    assert!((fast / sequential - 1.0).abs() < tolerance, "{options:?} {storage:?}: {fast} and {sequential}");
    assert!(errors[errors.len() - 1] < errors[0], "it learns: {errors:?}");
}

#[test]
fn the_fast_mode_is_as_good_as_the_sequential_order() {
    let surprise = TrainOptions { learning_rate: 0.01, epochs: 4, bins: 5, ..TrainOptions::surprise(6) };
    let r2 = TrainOptions { learning_rate: 0.02, epochs: 4, bins: 5, spread: 0.3, ..TrainOptions::r2(6) };
    let wide = TrainOptions { epochs: 2, bins: 2, ..TrainOptions { factors: 70, ..surprise.clone() } };
    for device in two_devices() {
        // Another order of the same updates, some from a state a few updates old: half a percent on so small a set.
        check_fast(&device, &surprise, None, Storage::F32, 0.005);
        check_fast(&device, &surprise, Some(3), Storage::F32, 0.005);
        check_fast(&device, &r2, None, Storage::F32, 0.005);
        check_fast(&device, &wide, None, Storage::F32, 0.005);
        // Each addition rounds to 11 bits.
        check_fast(&device, &surprise, None, Storage::F16, 0.01);
        check_fast(&device, &r2, None, Storage::F16, 0.01);
        check_fast(&device, &wide, None, Storage::F16, 0.01);
    }
}

#[test]
fn one_update_in_flight_is_the_sequential_step() {
    for device in two_devices() {
        for rule in [Rule::Surprise, Rule::R2] {
            let (shape, mut numbers) = (RowShape::new(6), Numbers(9));
            let block = Block::new(ratings(&mut numbers, 1, 4, 3), 4, 3).expect("a good rating");
            let (p, q) = (rows(&mut numbers, Side::User, shape, 4), rows(&mut numbers, Side::Item, shape, 3));
            let (mut cpu_p, mut cpu_q) = (p.clone(), q.clone());
            let params = params(rule, true);
            let cpu = tandem_kernels::funk::update_block(Cpu::best(), &params, shape, &block, &mut cpu_p, &mut cpu_q);
            let (mut p, mut q) = (p, q);
            let got = cuda::update_block(&device, &params, shape, &block, &mut p, &mut q).expect("good input");
            // The delta is rounded by itself and then added, the dot product has another order: some last bits.
            let close = |a: f64, b: f64| (a - b).abs() <= 1e-6 * (1.0 + b.abs());
            assert!(close(got, cpu.expect("good input")));
            let pairs = p.iter().chain(q.iter()).zip(cpu_p.iter().chain(cpu_q.iter()));
            pairs.for_each(|(got, cpu)| assert!(close((*got).into(), (*cpu).into()), "{got} and {cpu}"));
        }
    }
}

#[test]
fn rows_that_are_not_finite_show_in_the_sum_as_on_the_cpu() {
    let shape = RowShape::new(4);
    let block = Block::new(vec![Rating { user: 0, item: 0, value: 1.0 }; 2], 1, 1).expect("good ratings");
    let batches = Batches::new(&block, 1).expect("a good size");
    for device in two_devices() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for rule in [Rule::Surprise, Rule::R2] {
                let start = || {
                    let (mut p, q) = (vec![0.5; 8], vec![0.5; 8]);
                    p[3] = bad;
                    (p, q)
                };
                let params = params(rule, true);
                let (mut cpu_p, mut cpu_q) = start();
                let cpu = update_block_batched(Cpu::best(), &params, shape, &block, &batches, &mut cpu_p, &mut cpu_q);
                let (mut p, mut q) = start();
                let got = cuda::update_block_batched(&device, &params, shape, &block, &batches, &mut p, &mut q);
                let (cpu, got) = (cpu.expect("good shapes"), got.expect("good shapes"));
                assert!(got == cpu || got.is_nan() && cpu.is_nan(), "{bad} {rule:?}: {got} and {cpu}");
                assert_eq!((bits(&p), bits(&q)), (bits(&cpu_p), bits(&cpu_q)), "{bad} {rule:?}");
                let (mut p, mut q) = start();
                let fast = cuda::update_block(&device, &params, shape, &block, &mut p, &mut q).expect("good shapes");
                assert!(!fast.is_finite() || rule == Rule::R2, "{bad} {rule:?}: {fast}");
            }
        }
        let seen: Vec<Rating> = (0..100).map(|at| Rating { user: at % 3, item: at % 2, value: 1e6 }).collect();
        let options = TrainOptions { learning_rate: 0.9, biases: false, bins: 2, ..TrainOptions::surprise(2) };
        let mut trainer =
            DeviceTrainer::new(&device, &seen, 3, 2, &options, Mode::Batches { size: 4 }).expect("good input");
        let diverged = (0..9).find_map(|_| trainer.epoch().err()).expect("far too long steps");
        assert!(matches!(diverged, DeviceError::Input(KernelError::Diverged { .. })), "{diverged}");
    }
}

#[test]
fn bad_input_is_refused_by_name_and_empty_input_is_not() {
    let good = Rating { user: 0, item: 0, value: 1.0 };
    for device in two_devices() {
        let of = |rating, mode| {
            let options = TrainOptions { bins: 2, ..TrainOptions::surprise(2) };
            DeviceTrainer::new(&device, &[rating], 1, 1, &options, mode).map(|_| ())
        };
        let fast = Mode::Fast { in_flight: None, storage: Storage::F32 };
        let bad = Rating { value: f32::NAN, ..good };
        assert!(matches!(of(bad, fast), Err(DeviceError::Input(KernelError::NotFinite { entry: 0, .. }))));
        let error = of(good, Mode::Batches { size: 0 });
        assert!(matches!(error, Err(DeviceError::Input(KernelError::Parameter { name: "batch", .. }))), "{error:?}");
        for mode in [fast, Mode::Batches { size: 3 }, Mode::Fast { in_flight: Some(9), storage: Storage::F16 }] {
            let options = TrainOptions { bins: 2, ..TrainOptions::surprise(2) };
            let mut trainer = DeviceTrainer::new(&device, &[], 0, 0, &options, mode).expect("no ratings are no error");
            assert_eq!(trainer.epoch(), Ok(0.0));
        }
        let block = Block::new(vec![good], 1, 1).expect("a good rating");
        let error = cuda::update_block(
            &device,
            &params(Rule::R2, true),
            RowShape::new(2),
            &block,
            &mut [0.0; 7],
            &mut [0.0; 8],
        );
        assert_eq!(error, Err(KernelError::Length { what: "users", got: 7, expected: 8 }.into()));
    }
    assert_eq!(in_flight(0.01, 3000, 1_000_000), 8333);
    assert_eq!(in_flight(0.005, 1, 1_000_000), MOST_IN_FLIGHT);
    assert_eq!(in_flight(0.5, 10, 10), 1);
}
