//! Programs that do the same work, each run from start to end, in turn.

use std::collections::BTreeMap;

use anyhow::Context;

use crate::process::Ran;
use crate::report::{Line, Unit, mib};

/// How each program's runs went.
#[derive(Debug, Default)]
pub(crate) struct Contest {
    runs: BTreeMap<String, Vec<Ran>>,
}

impl Contest {
    pub(crate) fn ran(&mut self, who: &str, ran: Ran) {
        eprintln!("{who}: {:.2} s, {:.0} MiB", ran.seconds, mib(ran.peak_bytes));
        self.runs.entry(who.to_owned()).or_default().push(ran);
    }

    /// What a program wrote to standard output in its last run.
    pub(crate) fn said(&self, who: &str) -> anyhow::Result<&str> {
        let ran = self.runs.get(who).and_then(|runs| runs.last()).with_context(|| format!("{who} did not run"))?;
        Ok(&ran.stdout)
    }

    /// The median time of each.
    pub(crate) fn time(&self, name: &str) -> anyhow::Result<Line> {
        self.line(name, Unit::Seconds, |ran| ran.seconds)
    }

    /// How much of `amount` each did per second, in the median.
    pub(crate) fn rate(&self, name: &str, unit: Unit, amount: f64) -> anyhow::Result<Line> {
        self.line(name, unit, |ran| amount / ran.seconds)
    }

    /// The median of the most memory that all processes of each held at once.
    pub(crate) fn memory(&self, name: &str) -> anyhow::Result<Line> {
        self.line(name, Unit::MiB, |ran| mib(ran.peak_bytes))
    }

    fn line(&self, name: &str, unit: Unit, number: impl Fn(&Ran) -> f64) -> anyhow::Result<Line> {
        Line::of_medians(name, unit, self.runs.iter().map(|(who, runs)| (who, runs.iter().map(&number).collect())))
    }
}
