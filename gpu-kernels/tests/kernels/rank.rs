//! The best items, and how good they are.

use proptest::prelude::*;
use tandem_kernels::funk::{Rating, Side};
use tandem_kernels::rank::{RankingMetrics, Scored, evaluate, measure, top_k};
use tandem_kernels::{Cpu, KernelError, Sparse};

use crate::generate::{Numbers, ratings};
use crate::reference;

/// Rows whose dot products are small whole numbers, exact in any order of additions, so that ties are common.
fn whole_rows(numbers: &mut Numbers, rows: usize, stride: usize) -> Vec<f32> {
    (0..rows * stride).map(|_| numbers.within(2.0).round()).collect()
}

fn scores(user: &[f32], items: &[f32], stride: usize) -> Vec<f32> {
    items.chunks(stride).map(|item| user.iter().zip(item).map(|(a, b)| a * b).sum()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn top_k_is_brute_force_and_metrics_follow(
        users in 0usize..40, items in 0usize..600, eights in prop_oneof![9 => 1usize..5, 1 => Just(1025)],
        k in 0usize..30, seed in any::<u64>(), threads in 1usize..4,
    ) {
        let (mut numbers, stride) = (Numbers(seed), eights * 8);
        let items = if eights > 1000 { items % 20 } else { items };
        let p = whole_rows(&mut numbers, users, stride);
        let q = whole_rows(&mut numbers, items, stride);
        let mut some = |count: usize| {
            let pairs = if users * items == 0 { vec![] } else { ratings(&mut numbers, count, users, items) };
            Sparse::new(&pairs, users, items, Side::User).expect("good ratings")
        };
        let (seen, relevant) = (some(users * 10), some(users * 2));

        let ranked: Vec<Vec<u32>> = (0..users)
            .map(|user| reference::ranking(&scores(&p[user * stride..][..stride], &q, stride), seen.columns(user)))
            .collect();
        let mut lists = Vec::new();
        for cpu in Cpu::all() {
            lists = top_k(cpu, &p, &q, stride, &seen, k).expect("good input");
            for (list, ranked) in lists.iter().zip(&ranked) {
                let got: Vec<u32> = list.iter().map(|scored| scored.item).collect();
                prop_assert_eq!(&got, &ranked[..k.min(ranked.len())], "{:?}", cpu);
            }
        }
        prop_assert_eq!(lists.len(), users);

        if k == 0 {
            prop_assert!(measure(&lists, &relevant, k).is_err());
            return Ok(());
        }
        let got = measure(&lists, &relevant, k).expect("good input");
        let all = evaluate(Cpu::best(), &p, &q, stride, &seen, &relevant, k, threads).expect("good input");
        prop_assert_eq!(got, all);
        let asked: Vec<usize> = (0..users).filter(|user| !relevant.columns(*user).is_empty()).collect();
        let mut means = [0.0; 4];
        for user in &asked {
            let metrics = reference::metrics(&ranked[*user], relevant.columns(*user), k);
            means.iter_mut().zip(metrics).for_each(|(mean, metric)| *mean += metric / asked.len() as f64);
        }
        let got = [got.precision, got.recall, got.ndcg, got.hit_rate];
        prop_assert!(got.iter().zip(means).all(|(got, mean)| (got - mean).abs() < 1e-12), "{:?} {:?}", got, means);
    }

    #[test]
    fn every_path_gives_the_same_scores(eights in 1usize..18, items in 1usize..300, seed in any::<u64>()) {
        let (mut numbers, stride) = (Numbers(seed), eights * 8);
        let p: Vec<f32> = (0..stride).map(|_| numbers.within(1.0)).collect();
        let q: Vec<f32> = (0..items * stride).map(|_| numbers.within(1.0)).collect();
        let none = Sparse::empty(1, items);
        let scalar = top_k(Cpu::all()[0], &p, &q, stride, &none, items).expect("good input");
        for cpu in Cpu::all() {
            prop_assert_eq!(&top_k(cpu, &p, &q, stride, &none, items).expect("good input"), &scalar, "{:?}", cpu);
        }
        let wide = |values: &[f32]| values.iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
        for Scored { item, score } in &scalar[0] {
            let exact = reference::dot(&wide(&p), &wide(&q[*item as usize * stride..][..stride]));
            // A sum of up to 136 products of numbers up to 1, each step rounded to 24 bits.
            prop_assert!((f64::from(*score) - exact).abs() < 1e-5, "{} and {}", score, exact);
        }
    }
}

#[test]
fn scores_that_are_no_numbers_are_left_out_and_infinity_is_a_number() {
    let user = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let firsts = [f32::NAN, 1.0, f32::NEG_INFINITY, 2.0, f32::NAN, f32::MAX];
    let items: Vec<f32> = firsts.iter().flat_map(|first| [*first, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]).collect();
    for k in [1, 3, 6] {
        let lists = top_k(Cpu::best(), &user, &items, 8, &Sparse::empty(1, 6), k).expect("good shapes");
        let ids: Vec<u32> = lists[0].iter().map(|scored| scored.item).collect();
        assert_eq!(ids, [5, 3, 1, 2][..k.min(4)]);
    }
}

#[test]
fn a_known_ranking_has_the_metrics_of_the_textbook() {
    let list = [7, 3, 9, 1].map(|item| Scored { item, score: 0.0 }).to_vec();
    let relevant = [3, 1, 8].map(|item| Rating { user: 0, item, value: 1.0 });
    let relevant = Sparse::new(&relevant, 2, 10, Side::User).expect("good ratings");
    let metrics = measure(&[list, vec![]], &relevant, 4).expect("good input");
    let ndcg = (1.0 / 3f64.log2() + 1.0 / 5f64.log2()) / (1.0 + 1.0 / 3f64.log2() + 0.5);
    let expected = RankingMetrics { users: 1, precision: 0.5, recall: 2.0 / 3.0, ndcg, hit_rate: 1.0 };
    assert!((metrics.ndcg - ndcg).abs() < 1e-15);
    assert_eq!(RankingMetrics { ndcg, ..metrics }, expected);
    assert_eq!(measure(&[], &Sparse::empty(0, 10), 4), Ok(RankingMetrics::default()));
}

#[test]
fn bad_shapes_are_refused_by_name() {
    let (row, none) = ([0.0; 8], Sparse::empty(1, 1));
    let of = |users: &[f32], stride, left_out: &Sparse| top_k(Cpu::best(), users, &row, stride, left_out, 1);
    for stride in [0, 7, 12] {
        assert!(matches!(of(&row, stride, &none), Err(KernelError::Parameter { name: "stride", .. })));
    }
    assert!(matches!(of(&[0.0; 9], 8, &none), Err(KernelError::Length { what: "users", got: 9, expected: 8 })));
    assert!(matches!(of(&row, 8, &Sparse::empty(2, 1)), Err(KernelError::Length { what: "rows of left_out", .. })));
    assert!(matches!(of(&row, 8, &Sparse::empty(1, 2)), Err(KernelError::Length { what: "width of left_out", .. })));
    let evaluate = |k, threads| evaluate(Cpu::best(), &row, &row, 8, &none, &none, k, threads);
    assert!(matches!(evaluate(0, 1), Err(KernelError::Parameter { name: "k", .. })));
    assert!(matches!(evaluate(1, 0), Err(KernelError::Parameter { name: "threads", .. })));
    assert_eq!(evaluate(1, 1), Ok(RankingMetrics::default()));
}
