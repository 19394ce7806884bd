//! Programs that do the same work in turns: each is a process of its own, kept on some cores, and answers a question, one line of
//! JSON, with another. Tandem takes part in the same way, as this program with a command of its own.

use std::fmt;
use std::io::{BufRead, Write};
use std::process::Command;
use std::time::Instant;

use anyhow::Context;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::cores::Cores;
use crate::peers::Program;
use crate::process::peak_resident_bytes;
use crate::report::{Line, Unit, mib};

/// Programs that are compared: those with the same `task` are.
pub(crate) struct Rounds<Task, Answer> {
    pub(crate) entries: Vec<Entry<Task, Answer>>,
}

/// A program that takes part, and what it answered in the rounds that count.
pub(crate) struct Entry<Task, Answer> {
    pub(crate) who: &'static str,
    pub(crate) task: Task,
    contestant: Contestant,
    pub(crate) answers: Vec<Answer>,
}

impl<Task: PartialEq + fmt::Debug, Answer> Rounds<Task, Answer> {
    pub(crate) fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// Starts a program and waits until it is ready.
    pub(crate) fn enter(&mut self, who: &'static str, task: Task, command: &Command, on: &Cores) -> anyhow::Result<()> {
        eprintln!("starting {who}, {task:?}");
        let contestant = Contestant::start(format!("{who}, {task:?}"), command, on)?;
        self.entries.push(Entry { who, task, contestant, answers: Vec::new() });
        Ok(())
    }

    /// Those with a task.
    pub(crate) fn with(&self, task: Task) -> impl Iterator<Item = &Entry<Task, Answer>> {
        self.entries.iter().filter(move |entry| entry.task == task)
    }

    /// A line of the medians of a number of each answer.
    pub(crate) fn line(
        &self,
        name: &str,
        unit: Unit,
        task: Task,
        number: impl Fn(&Answer) -> f64,
    ) -> anyhow::Result<Line> {
        let numbers = self.with(task).map(|entry| (entry.who, entry.answers.iter().map(&number).collect()));
        Line::of_medians(name, unit, numbers)
    }

    /// The most memory that each program ever had resident.
    pub(crate) fn memory(&self, name: &str, task: Task) -> anyhow::Result<Line> {
        let peaks = self.with(task).map(|entry| Ok((entry.who.to_owned(), mib(entry.contestant.peak_bytes()?))));
        Line::among(name, Unit::MiB, peaks.collect::<anyhow::Result<_>>()?)
    }
}

impl<Task, Answer> Entry<Task, Answer> {
    /// Has it work, and gives its answer.
    pub(crate) fn ask<A: DeserializeOwned>(&mut self, question: &impl Serialize) -> anyhow::Result<A> {
        self.contestant.ask(question)
    }
}

/// A program that answers in JSON.
struct Contestant {
    /// For people.
    name: String,
    program: Program,
}

impl Contestant {
    fn start(name: String, command: &Command, on: &Cores) -> anyhow::Result<Self> {
        let program = Program::start(&mut on.keep(command)?).with_context(|| name.clone())?;
        Ok(Self { name, program })
    }

    fn ask<A: DeserializeOwned>(&mut self, question: &impl Serialize) -> anyhow::Result<A> {
        let said = self.program.ask(&serde_json::to_string(question)?).with_context(|| self.name.clone())?;
        serde_json::from_str(&said).with_context(|| format!("{} says `{said}`", self.name))
    }

    fn peak_bytes(&self) -> anyhow::Result<u64> {
        peak_resident_bytes(self.program.pid())
    }
}

/// This program with another command: Tandem's part in a contest.
pub(crate) fn tandem(command: &str) -> anyhow::Result<Command> {
    let mut tandem = Command::new(std::env::current_exe()?);
    tandem.arg(command);
    Ok(tandem)
}

/// What some work took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Took {
    pub(crate) wall_s: f64,
    /// On processors: less than wall time where other programs were in the way.
    pub(crate) busy_s: f64,
}

impl Took {
    /// One of so many equal parts of it.
    pub(crate) fn part(self, parts: u32) -> Self {
        Self { wall_s: self.wall_s / f64::from(parts), busy_s: self.busy_s / f64::from(parts) }
    }

    /// What it took more than `other`.
    pub(crate) fn beyond(self, other: Self) -> Self {
        Self { wall_s: self.wall_s - other.wall_s, busy_s: self.busy_s - other.busy_s }
    }
}

/// Runs some work; what it took on processors is that of the calling thread alone.
pub(crate) fn timed<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, Took)> {
    let (start, busy) = (Instant::now(), busy_seconds()?);
    let done = work()?;
    Ok((done, Took { wall_s: start.elapsed().as_secs_f64(), busy_s: busy_seconds()? - busy }))
}

/// Seconds that the calling thread has spent on a processor.
fn busy_seconds() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = stat.split(' ').next().and_then(|text| text.parse::<f64>().ok());
    Ok(nanoseconds.with_context(|| format!("/proc/thread-self/schedstat is `{stat}`"))? / 1e9)
}

/// Answers question after question, as a contestant does.
pub(crate) fn answer_each<Q: DeserializeOwned, A: Serialize>(
    mut answer: impl FnMut(Q) -> anyhow::Result<A>,
) -> anyhow::Result<()> {
    let mut answers = std::io::stdout().lock();
    writeln!(answers, "ready")?;
    for question in std::io::stdin().lock().lines() {
        let answer = answer(serde_json::from_str(&question?)?)?;
        writeln!(answers, "{}", serde_json::to_string(&answer)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::TANDEM;

    #[test]
    fn programs_are_asked_in_json_and_compared_by_task() {
        let mut command = Command::new("sh");
        command.args(["-c", r#"echo ready; while read line; do echo "[$line, 2]"; done"#]);
        let cores = Cores::all().unwrap().first(1).unwrap();
        let mut rounds = Rounds::new();
        for (who, task) in [(TANDEM, "add"), ("sh", "add"), ("sh", "multiply")] {
            rounds.enter(who, task, &command, &cores).unwrap();
        }
        for (number, entry) in (1..).zip(&mut rounds.entries) {
            let answer: Vec<u32> = entry.ask(&number).unwrap();
            entry.answers.push(answer);
        }
        let line = rounds.line("sums", Unit::Count, "add", |answer| answer.iter().sum::<u32>().into()).unwrap();
        assert_eq!((line.tandem, line.peers["sh"], line.peers.len()), (3.0, 4.0, 1));
        assert!(rounds.memory("memory", "add").unwrap().tandem > 0.0);
        let error = rounds.entries[1].ask::<u32>(&1).unwrap_err();
        assert_eq!(error.to_string(), r#"sh, "add" says `[1, 2]`"#);
    }

    #[test]
    fn waiting_takes_time_but_no_processor() {
        let wait = || {
            std::thread::sleep(std::time::Duration::from_millis(50));
            Ok(())
        };
        let ((), took) = timed(wait).unwrap();
        assert!(took.wall_s >= 0.05 && took.busy_s <= took.wall_s, "{took:?}");
    }
}
