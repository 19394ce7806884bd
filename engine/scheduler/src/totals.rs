//! Sums of what the accepted attempts of one stage counted.
//! Owned by its [`Stage`](super::stage::Stage).
//! Invariant: each task adds at most one attempt; what it added can be taken back exactly.

use crate::report::{CountKind, OperatorMetrics, RowCount, TaskMetrics};

/// What one line of the sums is about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Series {
    Count { kind: CountKind, name: String },
    Operator { node: u32, name: String },
}

/// Rows and bytes of a count; rows, nanoseconds and spilled bytes of an operator.
type Values = [u64; 3];

/// The sums. A name is kept once per stage, so that a task's part is a few numbers.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    series: Vec<(Series, Values)>,
    /// Rows and bytes put out.
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

/// What one task added.
#[derive(Debug, Default)]
pub(crate) enum Contribution {
    /// Nothing.
    #[default]
    None,
    /// It is part of sums that were restored as a whole, so another attempt adds nothing.
    Restored,
    /// This, and can be taken back.
    Own(Box<Added>),
}

/// The numbers one task added: indices into the stage's series, and its output.
#[derive(Debug)]
pub(crate) struct Added {
    values: Box<[(u16, Values)]>,
    rows: u64,
    bytes: u64,
}

impl Totals {
    /// Adds what an accepted attempt counted, in place of what the task had added before.
    pub(crate) fn replace(&mut self, contribution: &mut Contribution, metrics: &TaskMetrics) {
        if matches!(contribution, Contribution::Restored) {
            return;
        }
        self.take_back(contribution);
        let counts = metrics.counts.iter().map(|count| (as_series(count), [count.rows, count.bytes, 0]));
        let operators = metrics.operators.iter().map(|operator| {
            let series = Series::Operator { node: operator.node, name: operator.name.clone() };
            (series, [operator.output_rows, operator.elapsed_ns, operator.spilled_bytes])
        });
        let mut values = Vec::with_capacity(metrics.counts.len() + metrics.operators.len());
        for (place, (series, added)) in counts.chain(operators).enumerate() {
            let index = self.index_of(series, place);
            sum(&mut self.series[index].1, added);
            // A stage plan has far fewer operators and steps than this; beyond it a sum cannot be taken back.
            if let Ok(index) = u16::try_from(index) {
                values.push((index, added));
            }
        }
        let (rows, bytes) = (metrics.output_rows, metrics.output_bytes);
        self.rows = self.rows.saturating_add(rows);
        self.bytes = self.bytes.saturating_add(bytes);
        *contribution = Contribution::Own(Box::new(Added { values: values.into(), rows, bytes }));
    }

    /// Takes back what a task had added, unless it is part of restored sums.
    pub(crate) fn take_back(&mut self, contribution: &mut Contribution) {
        let Contribution::Own(added) = std::mem::take(contribution) else { return };
        for (index, values) in added.values.iter() {
            let total = &mut self.series[usize::from(*index)].1;
            for (total, value) in total.iter_mut().zip(values) {
                *total = total.saturating_sub(*value);
            }
        }
        self.rows = self.rows.saturating_sub(added.rows);
        self.bytes = self.bytes.saturating_sub(added.bytes);
    }

    /// Sums as a fact of the journal has them.
    pub(crate) fn restored(counts: Vec<RowCount>, operators: Vec<OperatorMetrics>, rows: u64, bytes: u64) -> Self {
        let counts = counts.into_iter().map(|count| (as_series(&count), [count.rows, count.bytes, 0]));
        let operators = operators.into_iter().map(|operator| {
            let values = [operator.output_rows, operator.elapsed_ns, operator.spilled_bytes];
            (Series::Operator { node: operator.node, name: operator.name }, values)
        });
        Self { series: counts.chain(operators).collect(), rows, bytes }
    }

    /// The sums by source, step and sink.
    pub(crate) fn counts(&self) -> impl Iterator<Item = RowCount> {
        self.series.iter().filter_map(|(series, [rows, bytes, _])| match series {
            Series::Count { kind, name } => {
                Some(RowCount { name: name.clone(), kind: *kind, rows: *rows, bytes: *bytes })
            }
            Series::Operator { .. } => None,
        })
    }

    /// The sums by operator, in the order of the plan.
    pub(crate) fn operators(&self) -> Vec<OperatorMetrics> {
        let mut operators: Vec<_> = self
            .series
            .iter()
            .filter_map(|(series, [output_rows, elapsed_ns, spilled_bytes])| match series {
                Series::Operator { node, name } => Some(OperatorMetrics {
                    node: *node,
                    name: name.clone(),
                    output_rows: *output_rows,
                    elapsed_ns: *elapsed_ns,
                    spilled_bytes: *spilled_bytes,
                }),
                Series::Count { .. } => None,
            })
            .collect();
        operators.sort_by_key(|operator| operator.node);
        operators
    }

    /// Tasks of a stage report the same series in the same order, so the place in the report is tried first.
    fn index_of(&mut self, series: Series, place: usize) -> usize {
        if self.series.get(place).is_some_and(|(known, _)| *known == series) {
            return place;
        }
        self.series.iter().position(|(known, _)| *known == series).unwrap_or_else(|| {
            self.series.push((series, [0; 3]));
            self.series.len() - 1
        })
    }
}

fn as_series(count: &RowCount) -> Series {
    Series::Count { kind: count.kind, name: count.name.clone() }
}

fn sum(total: &mut Values, added: Values) {
    for (total, value) in total.iter_mut().zip(added) {
        *total = total.saturating_add(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(rows: u64) -> TaskMetrics {
        TaskMetrics {
            counts: vec![RowCount { name: "clean".into(), kind: CountKind::Step, rows, bytes: 0 }],
            operators: vec![OperatorMetrics {
                node: 1,
                name: "FilterExec".into(),
                output_rows: rows,
                elapsed_ns: 5,
                spilled_bytes: 0,
            }],
            output_rows: rows,
            output_bytes: 10 * rows,
            ..TaskMetrics::default()
        }
    }

    #[test]
    fn a_task_that_ran_again_counts_once() {
        let mut totals = Totals::default();
        let (mut first, mut second) = (Contribution::None, Contribution::None);
        totals.replace(&mut first, &metrics(3));
        totals.replace(&mut second, &metrics(4));
        totals.replace(&mut first, &metrics(2));
        assert_eq!(totals.counts().map(|count| count.rows).collect::<Vec<_>>(), [6]);
        assert_eq!(totals.operators()[0].output_rows, 6);
        assert_eq!((totals.rows, totals.bytes), (6, 60));
    }

    #[test]
    fn a_restored_task_that_runs_again_adds_nothing() {
        let mut totals = Totals::restored(metrics(7).counts, Vec::new(), 7, 70);
        totals.replace(&mut Contribution::Restored, &metrics(7));
        assert_eq!((totals.rows, totals.bytes), (7, 70));
    }
}
