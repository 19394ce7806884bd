//! The best items on a device.

use tandem_kernels::device::DeviceError;
use tandem_kernels::funk::Side;
use tandem_kernels::rank::{Scored, cuda, top_k};
use tandem_kernels::{Cpu, KernelError, Sparse};

use super::devices;
use crate::generate::{Numbers, ratings};

fn check(users: usize, items: usize, stride: usize, ks: &[usize], whole: bool) {
    let mut numbers = Numbers((users * items + stride) as u64);
    let mut rows = |rows: usize| -> Vec<f32> {
        let number = |_| if whole { numbers.within(2.0).round() } else { numbers.within(1.0) };
        (0..rows * stride).map(number).collect()
    };
    let (p, q) = (rows(users), rows(items));
    let seen = ratings(&mut Numbers(1), users * 10, users, items);
    let seen = Sparse::new(&seen, users, items, Side::User).expect("good ratings");
    for device in devices() {
        for k in ks {
            let cpu = top_k(Cpu::best(), &p, &q, stride, &seen, *k).expect("good input");
            let got = cuda::top_k(&device, &p, &q, stride, &seen, *k).expect("good input");
            assert_eq!(got, cpu, "{users} users, {items} items, stride {stride}, k {k}");
        }
    }
}

#[test]
fn items_and_scores_are_those_of_the_cpu() {
    // Scores are the same bits, so the same items whatever they are; whole numbers have many ties.
    check(6, 1300, 24, &[1, 10], false);
    check(5, 1100, 16, &[10, 1500], true);
    check(3, 40, 8, &[7, 100], true);
    check(1, 300, 136, &[300], false);
}

#[test]
fn scores_that_are_no_numbers_are_left_out_and_infinity_is_a_number() {
    let user = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let firsts = [f32::NAN, 1.0, f32::NEG_INFINITY, 2.0, f32::NAN, f32::MAX, f32::INFINITY, -0.0, 0.0];
    let items: Vec<f32> = firsts.iter().flat_map(|first| [*first, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]).collect();
    for device in devices() {
        for k in [1, 3, 9] {
            let none = Sparse::empty(1, firsts.len());
            let cpu = top_k(Cpu::best(), &user, &items, 8, &none, k).expect("good shapes");
            assert_eq!(cuda::top_k(&device, &user, &items, 8, &none, k), Ok(cpu));
        }
    }
}

#[test]
fn nothing_to_rank_is_no_error_and_bad_shapes_are() {
    let (row, none) = ([0.0; 8], Sparse::empty(1, 1));
    for device in devices().into_iter().take(1) {
        let of = |users: &[f32], stride, left_out: &Sparse, k| cuda::top_k(&device, users, &row, stride, left_out, k);
        assert_eq!(of(&row, 8, &none, 0), Ok(vec![vec![]]));
        assert_eq!(of(&row, 8, &none, 5), Ok(vec![vec![Scored { item: 0, score: 0.0 }]]));
        assert_eq!(of(&[], 8, &Sparse::empty(0, 1), 3), Ok(vec![]));
        assert_eq!(cuda::top_k(&device, &row, &[], 8, &Sparse::empty(1, 0), 3), Ok(vec![vec![]]));
        let error = of(&row, 12, &none, 1);
        assert!(matches!(error, Err(DeviceError::Input(KernelError::Parameter { name: "stride", .. }))));
        let error = of(&row, 8, &Sparse::empty(2, 1), 1);
        assert!(matches!(error, Err(DeviceError::Input(KernelError::Length { what: "rows of left_out", .. }))));
        let error = of(&row, 8, &none, cuda::MOST + 1);
        assert_eq!(error, Err(DeviceError::Unsupported { what: "k", got: 4097, limit: 4096 }));
    }
}
