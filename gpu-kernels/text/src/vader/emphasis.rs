//! What concerns a whole text: "but", and signs of emphasis.

use std::collections::BTreeSet;

/// Weighs the valences before "but" (at `but`) half, those behind it half as much again.
///
/// Each weighs the first valence that is equal to it at its turn, as the reference does: itself, unless an earlier one is
/// equal, which is then weighed again.
pub(super) fn weigh_but(valences: &mut [f64], but: usize) {
    // Valences up to now, for finding the first of those that are equal.
    let mut seen: BTreeSet<(u64, usize)> = BTreeSet::new();
    for at in 0..valences.len() {
        let valence = valences[at];
        if valence == 0.0 {
            continue;
        }
        let bits = valence.to_bits();
        let first = seen.range((bits, 0)..=(bits, at)).next().copied();
        if let Some((bits, first)) = first {
            seen.remove(&(bits, first));
            seen.insert((bits, at));
        }
        let changed = first.map_or(at, |(_, first)| first);
        valences[changed] *= if changed < but { 0.5 } else { 1.5 };
        seen.insert((valences[changed].to_bits(), changed));
    }
}

/// What exclamation and question marks add to a sum.
pub(super) fn punctuation(text: &str) -> f64 {
    let (mut exclamations, mut questions) = (0_usize, 0_usize);
    for byte in text.bytes() {
        exclamations += usize::from(byte == b'!');
        questions += usize::from(byte == b'?');
    }
    let of_questions = match questions {
        0 | 1 => 0.0,
        2 | 3 => questions as f64 * 0.18,
        _ => 0.96,
    };
    exclamations.min(4) as f64 * 0.292 + of_questions
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rule as it reads: always the first that is equal.
    fn plain(valences: &mut [f64], but: usize) {
        for at in 0..valences.len() {
            let first = valences.iter().position(|valence| *valence == valences[at]).expect("itself at least");
            if first != but {
                valences[first] *= if first < but { 0.5 } else { 1.5 };
            }
        }
    }

    #[test]
    fn the_first_of_equal_valences_is_weighed() {
        for case in 0..3000_u64 {
            let digit = |at: u64| (case.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (at * 5)) % 7;
            let choices = [0.0, 1.0, 0.5, 2.0, -1.0, 1.5, 3.0];
            let mut valences: Vec<f64> = (0..9).map(|at| choices[digit(at) as usize]).collect();
            let but = digit(9) as usize;
            valences[but] = 0.0;
            let mut expected = valences.clone();
            plain(&mut expected, but);
            weigh_but(&mut valences, but);
            assert_eq!(valences, expected, "case {case}, but at {but}");
        }
    }
}
