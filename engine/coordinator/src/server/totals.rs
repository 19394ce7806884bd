//! What ended jobs counted, by source and sink, for metrics: it stays when the jobs are forgotten.

use std::collections::BTreeMap;

use tandem_scheduler::{CountKind, RowCount};

/// Sources and sinks with a series of their own; job files name them, so there is no bound but this one.
const MAX_NAMES: usize = 200;
const OTHER: &str = "other";

/// Rows and bytes by kind and name. Only ever grows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Totals {
    counts: BTreeMap<(CountKind, String), (u64, u64)>,
}

impl Totals {
    /// Adds what a job counted. Steps are left to its report.
    pub(super) fn add(&mut self, counts: &[RowCount]) {
        let of_report =
            |kind| matches!(kind, CountKind::Step | CountKind::Warned | CountKind::Worked | CountKind::Timed);
        for count in counts.iter().filter(|count| !of_report(count.kind)) {
            let own = (count.kind, count.name.clone());
            let known = self.counts.contains_key(&own);
            let key = if known || self.counts.len() < MAX_NAMES { own } else { (count.kind, OTHER.to_owned()) };
            let (rows, bytes) = self.counts.entry(key).or_default();
            *rows += count.rows;
            *bytes += count.bytes;
        }
    }

    /// Kind, name, rows and bytes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (CountKind, &str, u64, u64)> {
        self.counts.iter().map(|((kind, name), (rows, bytes))| (*kind, name.as_str(), *rows, *bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_the_limit_share_a_series() {
        let mut totals = Totals::default();
        for i in 0..MAX_NAMES + 5 {
            totals.add(&[RowCount { name: format!("sink{i}"), kind: CountKind::Written, rows: 1, bytes: 2 }]);
        }
        totals.add(&[RowCount { name: "sink0".to_owned(), kind: CountKind::Written, rows: 1, bytes: 2 }]);
        let found: BTreeMap<_, _> = totals.iter().map(|(_, name, rows, bytes)| (name, (rows, bytes))).collect();
        assert_eq!((found[OTHER], found["sink0"]), ((5, 10), (2, 4)));
    }
}
