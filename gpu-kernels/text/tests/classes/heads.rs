//! Naive Bayes and logistic regression, for any rows.

use proptest::prelude::*;
use tandem_text::logistic::{self, ClassWeights, Inputs, LogisticOptions};
use tandem_text::naive_bayes::{NaiveBayesOptions, Sums};
use tandem_text::{FitError, Row, SparseRows};

use crate::corpus::{Random, dense};
use crate::threads;

/// Rows of `width` columns, many of them empty.
fn rows(seed: u64, count: usize, width: usize) -> (SparseRows, Vec<&'static str>) {
    let mut random = Random(seed);
    let mut rows = SparseRows::new(width);
    for _ in 0..count {
        let columns: Vec<u32> = (0..width as u32).filter(|_| random.below(3) == 0).collect();
        let values: Vec<f64> = columns.iter().map(|_| random.unit() * 3.0).collect();
        rows.push(Row { columns: &columns, values: &values }).expect("a good row");
    }
    let labels = (0..count).map(|_| random.choose(&["yes", "no", "perhaps"])).collect();
    (rows, labels)
}

fn part(rows: &SparseRows, range: std::ops::Range<usize>) -> SparseRows {
    let mut part = SparseRows::new(rows.width());
    range.for_each(|row| part.push(rows.row(row)).expect("a good row"));
    part
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn sums_are_the_same_in_any_order(seed in any::<u64>(), count in 0usize..60, cuts in (0usize..60, 0usize..60)) {
        let (rows, labels) = rows(seed, count, 7);
        let mut all = Sums::new(7);
        all.add(&rows, &labels).expect("good rows");
        let (first, second) = (cuts.0.min(cuts.1).min(count), cuts.0.max(cuts.1).min(count));
        let parts: Vec<Sums> = [0..first, first..second, second..count].map(|range| {
            let mut sums = Sums::new(7);
            sums.add(&part(&rows, range.clone()), &labels[range]).expect("good rows");
            sums
        }).into();
        for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0], [2, 1, 0]] {
            let mut merged = Sums::new(7);
            order.iter().for_each(|at| merged.merge(&parts[*at]).expect("the same width"));
            prop_assert_eq!(&merged, &all);
            let read = Sums::from_bytes(&merged.to_bytes());
            prop_assert_eq!(read.as_ref(), Ok(&all));
        }
        if let Ok(model) = all.finish(&NaiveBayesOptions::default()) {
            let classes = model.labels().len();
            let mut scores = vec![0.0; classes];
            for row in rows.iter() {
                model.log_probabilities(row, &mut scores);
                prop_assert!((scores.iter().map(|score| score.exp()).sum::<f64>() - 1.0).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn regression_ends_at_the_minimum_for_any_number_of_threads(
        seed in any::<u64>(), count in 30usize..400, number in 2usize..5, balanced in any::<bool>(), c in 0.01f64..50.0,
    ) {
        let (rows, labels) = rows(seed, count, 70);
        let class_weights = if balanced { ClassWeights::Balanced } else { ClassWeights::Equal };
        let options = LogisticOptions { c, class_weights, ..LogisticOptions::default() };
        let train = |number| logistic::train(Inputs::Sparse(&rows), &labels, &options, threads(number));
        let trained = train(1).expect("good rows");
        prop_assert_eq!(&train(number).expect("good rows"), &trained);
        prop_assert!(trained.converged, "{} iterations, slope {}", trained.iterations, trained.slope);

        // The slope of every weight, by the plain formula.
        let model = &trained.model;
        let classes = model.labels().len();
        let mut slopes: Vec<f64> = model.coefficients().iter().map(|weight| weight / c).collect();
        if classes == 2 {
            slopes.iter_mut().for_each(|slope| *slope *= 2.0);
        }
        let mut scores = vec![0.0; classes];
        for (row, label) in rows.iter().zip(&labels) {
            model.log_probabilities(row, &mut scores);
            let members = labels.iter().filter(|other| *other == label).count();
            let weight = if balanced { count as f64 / (classes * members) as f64 } else { 1.0 };
            for (class, score) in scores.iter().enumerate() {
                let residual = weight * (score.exp() - f64::from(u8::from(model.labels()[class] == *label)));
                for (column, value) in row.columns.iter().zip(row.values) {
                    slopes[*column as usize * classes + class] += value * residual;
                }
            }
        }
        prop_assert!(slopes.iter().all(|slope| slope.abs() < 1e-6), "{:?}", slopes);
    }
}

#[test]
fn dense_rows_are_as_sparse_ones() {
    let (values, labels) = dense(3);
    let mut sparse = SparseRows::new(12);
    let columns: Vec<u32> = (0..12).collect();
    for row in values.chunks(12) {
        let values: Vec<f64> = row.iter().map(|value| f64::from(*value)).collect();
        sparse.push(Row { columns: &columns, values: &values }).expect("a good row");
    }
    let options = LogisticOptions::default();
    let train = |inputs, number| logistic::train(inputs, &labels, &options, threads(number)).expect("good rows");
    let of_dense = train(Inputs::Dense { values: &values, width: 12 }, 1);
    assert_eq!(of_dense, train(Inputs::Sparse(&sparse), 3));
    assert_eq!(of_dense, train(Inputs::Dense { values: &values, width: 12 }, 2));

    let probabilities = of_dense.model.dense_probabilities(&values).expect("good rows");
    let mut scores = [0.0; 3];
    for (row, probabilities) in sparse.iter().zip(probabilities.chunks(3)) {
        of_dense.model.log_probabilities(row, &mut scores);
        assert_eq!(scores.map(libm::exp), *probabilities);
    }
}

#[test]
fn rows_that_are_not_finite_are_refused_or_marked() {
    let (mut values, labels) = dense(2);
    let train = |values: &[f32]| {
        logistic::train(Inputs::Dense { values, width: 12 }, &labels, &LogisticOptions::default(), threads(1))
    };
    let model = train(&values).expect("good rows").model;
    for bad in [f32::NAN, f32::INFINITY] {
        values[12 * 3 + 5] = bad;
        let error = train(&values).expect_err("a bad row").to_string();
        assert!(error.starts_with("row 3 has ") && error.ends_with("in column 5, expected a finite number"), "{error}");
        let probabilities = model.dense_probabilities(&values).expect("rows of the right width");
        assert!(probabilities[6..8].iter().all(|probability| probability.is_nan()));
        assert!(probabilities[..6].iter().chain(&probabilities[8..]).all(|probability| probability.is_finite()));
    }
    assert!(matches!(model.dense_probabilities(&values[1..]), Err(FitError::Length { .. })));
    assert_eq!(model.dense_probabilities(&[]), Ok(vec![]));

    let mut rows = SparseRows::new(2);
    rows.push(Row { columns: &[1], values: &[-0.5] }).expect("a good row");
    let error = Sums::new(2).add(&rows, &["a"]).expect_err("a value below 0");
    assert_eq!(error.to_string(), "row 0 has -0.5 in column 1, expected a number from 0 to 2²⁰");
}

#[test]
fn one_class_or_none_is_too_few() {
    let (rows, _) = rows(1, 4, 3);
    let bayes = |rows: &SparseRows, labels: &[&str]| {
        let mut sums = Sums::new(3);
        sums.add(rows, labels).expect("good rows");
        sums.finish(&NaiveBayesOptions::default()).expect_err("too few classes")
    };
    let regression = |rows: &SparseRows, labels: &[&str]| {
        let options = LogisticOptions::default();
        logistic::train(Inputs::Sparse(rows), labels, &options, threads(1)).expect_err("too few classes")
    };
    let none = SparseRows::new(3);
    for error in [bayes(&none, &[]), regression(&none, &[])] {
        assert_eq!(error.to_string(), "there are 0 classes among the labels, expected 2 or more");
    }
    for error in [bayes(&rows, &["a"; 4]), regression(&rows, &["a"; 4])] {
        assert_eq!(error.to_string(), "there are 1 classes among the labels, expected 2 or more: all are \"a\"");
    }
    let error = regression(&rows, &["a"]);
    assert_eq!(error, FitError::Length { what: "labels", got: 1, expected: 4 });
}

#[test]
fn bytes_that_are_no_sums_are_refused() {
    let (rows, labels) = rows(1, 9, 3);
    let mut sums = Sums::new(3);
    sums.add(&rows, &labels).expect("good rows");
    let good = sums.to_bytes();
    let error = Sums::from_bytes(&good[..good.len() - 1]).expect_err("bytes are missing");
    assert!(error.to_string().starts_with("sums: bytes "), "{error}");
    let mut bytes = good.clone();
    *bytes.last_mut().expect("there are bytes") = 0xFF;
    let error = Sums::from_bytes(&bytes).expect_err("a sum beyond all rows");
    assert!(error.to_string().starts_with("sums: class 2 cannot have such sums over "), "{error}");
    let mut random = Random(9);
    for _ in 0..2000 {
        let mut bytes = good.clone();
        let at = random.below(bytes.len());
        bytes[at] = random.below(256) as u8;
        if let Ok(mut read) = Sums::from_bytes(&bytes) {
            let _ = read.merge(&sums);
            let _ = read.finish(&NaiveBayesOptions::default());
        }
    }
}

#[test]
fn bad_options_are_named() {
    let (rows, labels) = rows(1, 9, 3);
    let usual = LogisticOptions::default();
    for (options, name) in [
        (LogisticOptions { c: 0.0, ..usual }, "c"),
        (LogisticOptions { c: f64::NAN, ..usual }, "c"),
        (LogisticOptions { tolerance: f64::INFINITY, ..usual }, "tolerance"),
    ] {
        let error = logistic::train(Inputs::Sparse(&rows), &labels, &options, threads(1)).expect_err("a bad option");
        assert!(matches!(error, FitError::Parameter { name: found, .. } if found == name), "{error}");
    }
    let mut sums = Sums::new(3);
    sums.add(&rows, &labels).expect("good rows");
    let error = sums.finish(&NaiveBayesOptions { alpha: 0.0, fit_prior: true }).expect_err("a bad option");
    assert_eq!(error.to_string(), "alpha is 0, expected a finite number above 0");
    assert!(sums.merge(&Sums::new(4)).is_err());

    let stopped = LogisticOptions { max_iterations: 1, ..usual };
    let stopped = logistic::train(Inputs::Sparse(&rows), &labels, &stopped, threads(1)).expect("good rows");
    assert!(!stopped.converged && stopped.iterations == 1);
}
