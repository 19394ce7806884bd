//! What workers have and work takes of them: names, and amounts in thousandths, so that halves can be given.

/// The name of processors.
pub const CPUS: &str = "cpus";
/// The name of GPUs.
pub const GPUS: &str = "gpus";
/// What a slot is of processors.
pub const SLOT_MILLI: u64 = 1_000;

/// Why so many thousandths of GPUs can be nobody's: whole ones are had alone, and a part is of one.
pub fn refuse_gpus(milli: u64) -> Option<String> {
    let whole = milli.is_multiple_of(1_000);
    (milli > 1_000 && !whole)
        .then(|| format!("{} GPUs cannot be had: either whole ones, or a part of one", milli as f64 / 1_000.0))
}

/// Whether something that workers have can be called so.
pub fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !name.is_empty() && name.chars().all(plain)
}

/// The thousandths next to an amount; none if it is below zero, no number, or more than any worker has.
pub fn milli(amount: f64) -> Option<u64> {
    const MOST: f64 = 1e15;
    let milli = (amount * 1_000.0).round();
    (0.0..MOST).contains(&milli).then_some(milli as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_rounded_to_thousandths() {
        for (amount, thousandths) in [(0.0, 0), (2.0, 2_000), (0.5, 500), (0.000_6, 1), (0.000_4, 0)] {
            assert_eq!(milli(amount), Some(thousandths), "{amount}");
        }
        for amount in [-1.0, f64::NAN, f64::INFINITY, 1e99] {
            assert_eq!(milli(amount), None, "{amount}");
        }
    }

    #[test]
    fn gpus_are_whole_or_a_part_of_one() {
        for milli in [0, 1, 600, 1_000, 8_000] {
            assert_eq!(refuse_gpus(milli), None, "{milli}");
        }
        assert!(refuse_gpus(1_500).is_some_and(|why| why.starts_with("1.5 GPUs cannot be had")));
    }

    #[test]
    fn names_are_plain() {
        assert!(is_name("fake_gpu-2.x") && !is_name("") && !is_name("a b") && !is_name("a=b"));
    }
}
