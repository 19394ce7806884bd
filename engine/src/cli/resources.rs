//! What workers have and give besides processors and memory, as flags.

use std::collections::BTreeMap;

use tandem_proto::resources::{GPUS, is_name, milli};

use super::Failure;
use super::job_spec::parse_pair;

#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct AmountArgs {
    /// GPUs of each worker
    #[arg(long, value_name = "N")]
    gpus: Option<u32>,
    /// How much each worker has of something that tasks may ask for; may be repeated
    #[arg(long, value_name = "NAME=AMOUNT", value_parser = parse_resource)]
    resource: Vec<(String, u64)>,
}

#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct ResourceArgs {
    #[command(flatten)]
    amounts: AmountArgs,
    /// Variable of every program on these workers, unless its job says otherwise; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    env: Vec<(String, String)>,
}

impl ResourceArgs {
    /// Values by name.
    pub(super) fn environment(&self) -> BTreeMap<String, String> {
        self.env.iter().cloned().collect()
    }

    /// Thousandths by name.
    pub(super) fn amounts(self) -> Result<BTreeMap<String, u64>, Failure> {
        self.amounts.amounts()
    }
}

impl AmountArgs {
    /// Thousandths by name.
    pub(super) fn amounts(self) -> Result<BTreeMap<String, u64>, Failure> {
        let mut amounts = BTreeMap::new();
        let gpus = self.gpus.filter(|gpus| *gpus > 0).map(|gpus| (GPUS.to_owned(), u64::from(gpus) * 1_000));
        for (name, amount) in gpus.into_iter().chain(self.resource) {
            if amounts.insert(name.clone(), amount).is_some() {
                return Err(Failure::usage(format!("the resource `{name}` is given twice")));
            }
        }
        Ok(amounts)
    }
}

fn parse_resource(text: &str) -> Result<(String, u64), String> {
    let (name, amount) = text.split_once('=').ok_or("it looks like license=2")?;
    if !is_name(name) {
        return Err(format!("`{name}` is not a name of a resource"));
    }
    if name == "cpus" || name == "memory" {
        return Err(format!("it is given with --{name}"));
    }
    match amount.parse::<f64>().ok().and_then(milli) {
        Some(milli @ 1..) => Ok((name.to_owned(), milli)),
        Some(0) | None => Err("the amount is a number above 0, such as 2 or 0.5".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_thousandths() {
        for (text, milli) in [("a=2", 2_000), ("a=0.5", 500), ("a=0.001", 1)] {
            assert_eq!(parse_resource(text), Ok(("a".to_owned(), milli)));
        }
        for text in ["a", "=1", "a=0", "a=-1", "a=many", "a=1e99", "a b=1", "cpus=2", "memory=1"] {
            assert!(parse_resource(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_given_twice_is_refused() {
        let args = |gpus, resource: &[(&str, u64)]| AmountArgs {
            gpus,
            resource: resource.iter().map(|(name, amount)| ((*name).to_owned(), *amount)).collect(),
        };
        assert_eq!(args(Some(1), &[("b", 7)]).amounts().unwrap()["gpus"], 1_000);
        assert!(args(Some(1), &[("gpus", 7)]).amounts().is_err());
    }
}
