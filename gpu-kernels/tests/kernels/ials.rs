//! Weighted alternating least squares.

use proptest::prelude::*;
use tandem_kernels::funk::{Rating, Rows, Side};
use tandem_kernels::ials::{IalsModel, IalsOptions, IalsParams, gram, solve, stride, train};
use tandem_kernels::rank::evaluate;
use tandem_kernels::{Cpu, KernelError, Sparse};

use crate::generate::{Numbers, bits, digest, ratings};
use crate::reference;

fn plain_rows(numbers: &mut Numbers, rows: usize, factors: usize) -> Rows {
    let mut out = Rows::zeros(rows * stride(factors));
    if factors > 0 {
        out.chunks_mut(stride(factors)).for_each(|row| row[..factors].fill_with(|| numbers.within(0.5)));
    }
    out
}

fn wide(rows: &[f32], factors: usize) -> Vec<Vec<f64>> {
    rows.chunks(stride(factors)).map(|row| row[..factors].iter().map(|x| f64::from(*x)).collect()).collect()
}

/// Numbers of factors with and without an odd eight, and with rows left over by blocks of four.
fn factors() -> impl Strategy<Value = usize> {
    prop_oneof![1usize..36, Just(64), Just(67)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn rows_solve_their_equations_with_the_same_bits_everywhere(
        factors in factors(), users in 0usize..40, items in 1usize..60, count in 0usize..300, seed in any::<u64>(),
        alpha in prop_oneof![Just(0.0f32), 0.1f32..20.0], threads in 1usize..4,
    ) {
        let mut numbers = Numbers(seed);
        let pairs = if users == 0 { vec![] } else { ratings(&mut numbers, count, users, items) };
        let strengths = Sparse::new(&pairs, users, items, Side::User).expect("good ratings");
        let others = plain_rows(&mut numbers, items, factors);
        let params = IalsParams { factors, alpha, regularization: 0.5 };
        let run = |cpu, threads| {
            let products = gram(cpu, &others, factors, threads).expect("good shapes");
            solve(cpu, &params, &others, &products, &strengths, threads).expect("equations with a solution")
        };
        let rows = run(Cpu::best(), threads);
        for cpu in Cpu::all() {
            prop_assert_eq!(bits(&run(cpu, 1)), bits(&rows), "{:?}", cpu);
        }

        let wide_others = wide(&others, factors);
        for (user, row) in rows.chunks(stride(factors)).enumerate() {
            let seen = strengths.columns(user).iter().zip(strengths.values(user));
            let seen: Vec<_> = seen.map(|(item, strength)| (*item as usize, f64::from(*strength))).collect();
            let exact = reference::ials_row(&wide_others, &seen, alpha.into(), 0.5);
            // The equations lose up to their condition number of the 2⁻²⁴ of a float, and that is at most the sum of their
            // eigenvalues over the smallest one. Pairs that come again make it large.
            let square = |item: usize| wide_others[item].iter().map(|x| x * x).sum::<f64>();
            let weighted = seen.iter().map(|(item, strength)| f64::from(alpha) * strength * square(*item));
            let trace = weighted.chain((0..items).map(square)).sum::<f64>();
            let tolerance = f64::from(f32::EPSILON) * (1e3 + trace / 0.5);
            for (got, want) in row.iter().zip(&exact) {
                prop_assert!((f64::from(*got) - want).abs() < tolerance * (1.0 + want.abs()), "{} and {}", got, want);
            }
            prop_assert!(row[factors..].iter().all(|pad| *pad == 0.0));
            prop_assert!(!seen.is_empty() || row.iter().all(|factor| *factor == 0.0));
        }
    }

    #[test]
    fn a_gram_matrix_is_the_sum_of_products(factors in factors(), rows in 0usize..1300, seed in any::<u64>()) {
        let values = plain_rows(&mut Numbers(seed), rows, factors);
        let one = gram(Cpu::best(), &values, factors, 1).expect("good shapes");
        for threads in [2, 3, 8] {
            prop_assert_eq!(bits(&gram(Cpu::best(), &values, factors, threads).expect("good shapes")), bits(&one));
        }
        prop_assert_eq!(bits(&gram(Cpu::all()[0], &values, factors, 1).expect("good shapes")), bits(&one));
        let values = wide(&values, factors);
        for r in 0..factors {
            for c in 0..=r {
                let exact: f64 = values.iter().map(|row| row[r] * row[c]).sum();
                let got = f64::from(one[r * stride(factors) + c]);
                // Up to 512 additions in 24 bits.
                prop_assert!((got - exact).abs() < 1e-4 * (1.0 + exact.abs()), "{} and {}", got, exact);
            }
        }
    }
}

/// Users of four kinds, each with a quarter of the items, and a few slips.
fn kinds(numbers: &mut Numbers, count: usize, users: usize, items: usize) -> Vec<Rating> {
    let rating = |_| {
        let user = numbers.id(users, 1);
        let item = numbers.id(items, 1);
        let liked = if numbers.unit() < 0.9 { item / 4 * 4 + user % 4 } else { item };
        Rating { user, item: liked.min(items as u32 - 1), value: 1.0 + numbers.id(3, 1) as f32 }
    };
    (0..count).map(rating).collect()
}

#[test]
fn learns_what_kinds_of_users_like() {
    let (users, items) = (300, 200);
    let mut all = kinds(&mut Numbers(2), 9000, users, items);
    let held_out = all.split_off(8000);
    let seen = Sparse::new(&all, users, items, Side::User).expect("good ratings");
    let new: Vec<Rating> =
        held_out.into_iter().filter(|r| seen.columns(r.user as usize).binary_search(&r.item).is_err()).collect();
    let relevant = Sparse::new(&new, users, items, Side::User).expect("good ratings");
    let metrics = |model: &IalsModel| {
        evaluate(Cpu::best(), &model.users, &model.items, 8, &seen, &relevant, 10, 2).expect("good shapes")
    };
    let options = IalsOptions { iterations: 0, ..IalsOptions::new(6) };
    let start = train(Cpu::best(), &all, users, items, &options, 2).expect("good input");
    let options = IalsOptions { iterations: 8, ..options };
    let model = train(Cpu::best(), &all, users, items, &options, 2).expect("good input");
    let (before, after) = (metrics(&start), metrics(&model));
    // Of 50 liked items some 20 are seen, so ten of the other 30 hold a third of the relevant ones; chance is 1 in 18.
    assert!(after.recall > 0.25 && after.recall > 3.0 * before.recall, "{before:?} {after:?}");
}

#[test]
fn the_model_is_that_of_every_other_machine_and_of_any_number_of_threads() {
    let mut pairs = kinds(&mut Numbers(4), 2000, 70, 50);
    let options = IalsOptions { iterations: 3, ..IalsOptions::new(21) };
    for threads in [1, 2, 3, 8] {
        pairs.rotate_left(777);
        let model = train(Cpu::best(), &pairs, 70, 50, &options, threads).expect("good input");
        assert_eq!(digest(&[&model.users, &model.items]), 0x95fe8650c723bb27, "{threads} threads");
    }
}

#[test]
fn empty_sides_and_no_factors_are_no_error() {
    for (users, items, factors) in [(0, 0, 3), (0, 4, 3), (4, 0, 3), (3, 3, 3), (3, 3, 0)] {
        let model = train(Cpu::best(), &[], users, items, &IalsOptions::new(factors), 2).expect("good input");
        assert_eq!((model.users.len(), model.items.len()), (users * stride(factors), items * stride(factors)));
        assert!(model.users.iter().chain(model.items.iter()).all(|factor| *factor == 0.0));
    }
}

#[test]
fn bad_input_is_refused_by_name() {
    let good = Rating { user: 0, item: 0, value: 1.0 };
    let of = |value, params| {
        let options = IalsOptions { params, ..IalsOptions::new(2) };
        train(Cpu::best(), &[Rating { value, ..good }], 1, 1, &options, 1).map(|_| ())
    };
    let params = IalsOptions::new(2).params;
    assert_eq!(of(1.0, params), Ok(()));
    assert!(matches!(of(f32::NAN, params), Err(KernelError::NotFinite { what: "rating", .. })));
    assert!(matches!(of(-1.0, params), Err(KernelError::Parameter { name: "strength", .. })));
    for bad in [f32::NAN, f32::INFINITY, -1.0] {
        let error = of(1.0, IalsParams { alpha: bad, ..params });
        assert!(matches!(error, Err(KernelError::Parameter { name: "alpha", .. })));
        let error = of(1.0, IalsParams { regularization: bad, ..params });
        assert!(matches!(error, Err(KernelError::Parameter { name: "regularization", .. })));
    }

    // Rows 0 to 16 have the same entries, so the first of them is named; row 17 has none and needs no equations.
    let pairs: Vec<Rating> = (0..17).map(|user| Rating { user, ..good }).collect();
    let strengths = Sparse::new(&pairs, 18, 1, Side::User).expect("good ratings");
    for bad in [f32::NAN, f32::INFINITY, f32::MAX] {
        let others = [bad, bad, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let products = gram(Cpu::best(), &others, 2, 1).expect("good shapes");
        let error = solve(Cpu::best(), &params, &others, &products, &strengths, 2);
        assert_eq!(error, Err(KernelError::Singular { row: 0 }));
    }
    let error = solve(Cpu::best(), &params, &[0.0; 8], &[0.0; 8], &strengths, 1);
    assert_eq!(error, Err(KernelError::Length { what: "gram", got: 8, expected: 64 }));
}
