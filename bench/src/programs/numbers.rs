//! Numbers of several rounds, in the order in which they came first.

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::report::{Line, Unit, median};

#[derive(Debug, Default)]
pub(super) struct Numbers(Vec<Rounds>);

#[derive(Debug)]
struct Rounds {
    name: String,
    unit: Unit,
    values: Vec<f64>,
}

/// A line that a program prints.
#[derive(Deserialize)]
struct Printed {
    name: String,
    value: f64,
    unit: String,
}

impl Numbers {
    pub(super) fn add(&mut self, name: String, unit: Unit, value: f64) {
        match self.0.iter_mut().find(|rounds| rounds.name == name) {
            Some(rounds) => rounds.values.push(value),
            None => self.0.push(Rounds { name, unit, values: vec![value] }),
        }
    }

    /// Adds what a program printed, under names that begin with `prefix`.
    pub(super) fn add_printed(&mut self, prefix: &str, text: &str) -> anyhow::Result<()> {
        for line in text.lines() {
            let Printed { name, value, unit } =
                serde_json::from_str(line).with_context(|| format!("a program prints `{line}`"))?;
            eprintln!("{prefix}{name}: {value:.1} {unit}");
            self.add(format!("{prefix}{name}"), unit_of(&unit)?, value);
        }
        Ok(())
    }

    /// Their medians.
    pub(super) fn lines(self) -> anyhow::Result<Vec<Line>> {
        self.0.into_iter().map(|rounds| Ok(Line::of(rounds.name, rounds.unit, median(rounds.values)?))).collect()
    }
}

fn unit_of(text: &str) -> anyhow::Result<Unit> {
    Ok(match text {
        "us" => Unit::Us,
        "s" => Unit::Seconds,
        "/s" => Unit::PerSecond,
        "MB/s" => Unit::MbPerSecond,
        "%" => Unit::Percent,
        "bytes" => Unit::Bytes,
        "KiB" => Unit::KiB,
        _ => bail!("a program prints the unit `{text}`"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_the_median_of_what_was_printed_under_its_name() {
        let mut numbers = Numbers::default();
        for value in [3, 1, 2] {
            let printed = format!(r#"{{ "name": "call", "value": {value}, "unit": "us" }}"#);
            numbers.add_printed("outside: ", &printed).unwrap();
        }
        let lines = numbers.lines().unwrap();
        assert_eq!((lines[0].name.as_str(), lines[0].unit, lines[0].tandem), ("outside: call", Unit::Us, 2.0));
        assert!(Numbers::default().add_printed("", "no JSON").is_err());
    }
}
