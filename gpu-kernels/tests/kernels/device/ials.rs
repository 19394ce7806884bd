//! Weighted alternating least squares on a device.

use tandem_kernels::device::DeviceError;
use tandem_kernels::funk::{Rating, Rows, Side};
use tandem_kernels::ials::{IalsOptions, IalsParams, cuda, gram, solve, stride, train};
use tandem_kernels::{Cpu, KernelError, Sparse};

use super::{devices, two_devices};
use crate::generate::{Numbers, bits, ratings};

fn plain_rows(numbers: &mut Numbers, rows: usize, factors: usize) -> Rows {
    let mut out = Rows::zeros(rows * stride(factors));
    out.chunks_mut(stride(factors)).for_each(|row| row[..factors].fill_with(|| numbers.within(0.5)));
    out
}

/// The lower triangle.
fn lower(gram: &[f32], factors: usize) -> Vec<u32> {
    let entries = (0..factors).flat_map(|r| (0..=r).map(move |c| r * stride(factors) + c));
    bits(&entries.map(|at| gram[at]).collect::<Vec<_>>())
}

#[test]
fn gram_matrices_and_rows_have_the_bits_of_the_cpu() {
    for device in devices() {
        for (factors, items, users, count) in [(1, 3, 4, 9), (20, 1100, 12, 400), (37, 30, 9, 200), (70, 20, 3, 60)] {
            let mut numbers = Numbers(factors as u64);
            let others = plain_rows(&mut numbers, items, factors);
            let products = gram(Cpu::best(), &others, factors, 1).expect("good shapes");
            let got = cuda::gram(&device, &others, factors).expect("good shapes");
            assert_eq!(lower(&got, factors), lower(&products, factors), "{factors} factors");

            let mut pairs = ratings(&mut numbers, count, users, items);
            // Strengths of 0 count for nothing, and the last user has nothing else.
            pairs.iter_mut().step_by(7).for_each(|pair| pair.value = 0.0);
            pairs.retain(|pair| pair.user as usize + 1 != users);
            pairs.push(Rating { user: users as u32 - 1, item: 0, value: 0.0 });
            let strengths = Sparse::new(&pairs, users, items, Side::User).expect("good ratings");
            let params = IalsParams { factors, alpha: 3.0, regularization: 0.5 };
            let rows = solve(Cpu::best(), &params, &others, &products, &strengths, 1).expect("a solution");
            let got = cuda::solve(&device, &params, &others, &products, &strengths).expect("a solution");
            assert_eq!(bits(&got), bits(&rows), "{factors} factors");
        }
    }
}

#[test]
fn a_training_has_the_bits_of_the_cpu() {
    let pairs = ratings(&mut Numbers(4), 300, 30, 20);
    let options = IalsOptions { iterations: 2, ..IalsOptions::new(9) };
    let model = train(Cpu::best(), &pairs, 30, 20, &options, 1).expect("good input");
    for device in two_devices() {
        let got = cuda::train(&device, &pairs, 30, 20, &options).expect("good input");
        assert_eq!((bits(&got.users), bits(&got.items)), (bits(&model.users), bits(&model.items)));
        for (users, items, factors) in [(0, 0, 3), (0, 4, 3), (4, 0, 3), (3, 3, 0)] {
            let options = IalsOptions::new(factors);
            let got = cuda::train(&device, &[], users, items, &options).expect("good input");
            assert_eq!(got, train(Cpu::best(), &[], users, items, &options, 1).expect("good input"));
        }
    }
}

#[test]
fn equations_without_a_solution_and_bad_input_are_named() {
    let good = Rating { user: 0, item: 0, value: 1.0 };
    let pairs: Vec<Rating> = (1..17).map(|user| Rating { user, ..good }).collect();
    let strengths = Sparse::new(&pairs, 18, 1, Side::User).expect("good ratings");
    let params = IalsOptions::new(2).params;
    for device in devices() {
        for bad in [f32::NAN, f32::INFINITY, f32::MAX] {
            let others = [bad, bad, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
            let products = gram(Cpu::best(), &others, 2, 1).expect("good shapes");
            let error = cuda::solve(&device, &params, &others, &products, &strengths);
            assert_eq!(error, Err(KernelError::Singular { row: 1 }.into()));
        }
        let error = cuda::solve(&device, &params, &[0.0; 8], &[0.0; 8], &strengths);
        assert_eq!(error, Err(KernelError::Length { what: "gram", got: 8, expected: 64 }.into()));
        let negative = Sparse::new(&[Rating { value: -1.0, ..good }], 1, 1, Side::User).expect("good ratings");
        let error = cuda::solve(&device, &params, &[0.0; 8], &[0.0; 64], &negative);
        assert!(matches!(error, Err(DeviceError::Input(KernelError::Parameter { name: "strength", .. }))));
        let many = IalsParams { factors: 232, ..params };
        let error = cuda::solve(&device, &many, &[0.0; 232], &[0.0; 232 * 232], &negative_free());
        assert_eq!(error, Err(DeviceError::Unsupported { what: "factors", got: 232, limit: cuda::MOST_FACTORS }));
    }
}

fn negative_free() -> Sparse {
    Sparse::new(&[Rating { user: 0, item: 0, value: 1.0 }], 1, 1, Side::User).expect("good ratings")
}
