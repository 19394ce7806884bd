//! The cores that programs are kept on, so that all have the same ones.

use std::process::Command;

use anyhow::{Context, ensure};

/// Some of the machine's cores, each by the number of one of its processors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cores(Vec<u32>);

impl Cores {
    /// Those that this program may use.
    pub(crate) fn all() -> anyhow::Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        let allowed = numbers(allowed.context("/proc/self/status has no Cpus_allowed_list")?)?;
        let is_first = |processor: &u32| {
            let file = format!("/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list");
            // Without the file every processor is taken for a core.
            let siblings = std::fs::read_to_string(file).ok().and_then(|text| numbers(&text).ok()).unwrap_or_default();
            siblings.iter().find(|sibling| allowed.contains(sibling)).is_none_or(|first| first == processor)
        };
        Ok(Self(allowed.iter().copied().filter(is_first).collect()))
    }

    /// The first `count` of them; none if there are fewer.
    pub(crate) fn first(&self, count: usize) -> Option<Self> {
        self.0.get(..count).map(|cores| Self(cores.to_vec()))
    }

    /// The same command, kept on these cores.
    pub(crate) fn keep(&self, command: &Command) -> anyhow::Result<Command> {
        ensure!(!self.0.is_empty(), "there is no core to run {command:?} on");
        let list: Vec<String> = self.0.iter().map(u32::to_string).collect();
        let mut kept = Command::new("taskset");
        kept.arg("--cpu-list").arg(list.join(",")).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => kept.env(name, value),
                None => kept.env_remove(name),
            };
        }
        Ok(kept)
    }
}

/// The numbers of a list as the kernel writes it, such as `0-2,8`.
fn numbers(list: &str) -> anyhow::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.parse::<u32>().with_context(|| format!("`{list}` is no list of processors"));
        numbers.extend(number(first)?..=number(last)?);
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_processors_may_have_ranges() {
        assert_eq!(numbers("0-2,8\n").unwrap(), [0, 1, 2, 8]);
        assert!(numbers("0-x").is_err());
    }

    #[test]
    fn a_program_is_kept_on_its_cores() {
        let all = Cores::all().unwrap();
        let one = all.first(1).unwrap();
        let mut command = Command::new("grep");
        command.args(["Cpus_allowed_list", "/proc/self/status"]);
        let said = one.keep(&command).unwrap().output().unwrap();
        assert_eq!(String::from_utf8(said.stdout).unwrap(), format!("Cpus_allowed_list:\t{}\n", one.0[0]));
        assert_eq!(all.first(all.0.len() + 1), None);
    }
}
