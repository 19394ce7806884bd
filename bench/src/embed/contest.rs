//! Who embeds the texts, in which precision and on how many cores; rounds in turns; what came of them.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use tandem_kernels::encoder::Precision;

use super::parity::Vectors;
use super::{Answer, PRECISIONS, Question};
use crate::cores::Cores;
use crate::floats;
use crate::peers::{Peer, Peers};
use crate::report::{Floor, Line, Report, TANDEM, Unit};
use crate::rounds::{self, Rounds};

/// Who is compared in which precision, and how many times its speed Tandem's must be.
const PEERS: [(Precision, Peer, f64); 4] = [
    (Precision::F32, Peer::OnnxRuntime, 1.4),
    (Precision::F32, Peer::SentenceTransformers, 2.8),
    (Precision::Bf16, Peer::SentenceTransformers, 1.9),
    (Precision::Int8, Peer::OnnxRuntime, 1.9),
];
/// How many times the speed of one core that of two must be.
const TWO_CORES: f64 = 1.85;
/// The most memory that Tandem may have resident.
const MEMORY_MIB: f64 = 250.0;
/// How many tokens a second the tokenizer must make.
const TOKENS_PER_SECOND: f64 = 5e6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    Embed { precision: Precision, cores: usize },
    Tokenise,
}

/// All programs, those to be compared one after the other.
pub(super) struct Contest(Rounds<Task, Answer>);

/// Where the programs find what they work with.
pub(super) struct Inputs<'a> {
    pub(super) model: &'a Path,
    pub(super) texts: &'a Path,
}

impl Inputs<'_> {
    fn told_to(&self, mut command: Command) -> Command {
        command.arg("--model").arg(self.model).arg("--texts").arg(self.texts);
        command
    }
}

fn peers_in(precision: Precision) -> impl Iterator<Item = &'static (Precision, Peer, f64)> {
    PEERS.iter().filter(move |(of, ..)| *of == precision)
}

/// Tokens a second of time on the processor, so that a busy machine counts less.
fn by_processor(answer: &Answer) -> f64 {
    answer.tokens as f64 / answer.took.busy_s
}

fn by_clock(answer: &Answer) -> f64 {
    answer.tokens as f64 / answer.took.wall_s
}

impl Contest {
    pub(super) fn start(peers: &Peers, inputs: &Inputs, report: &mut Report) -> anyhow::Result<Self> {
        let cores = Cores::all()?;
        let one = cores.first(1).context("there is no core")?;
        let two = cores.first(2);
        if two.is_none() {
            report.note("skipped: two cores");
        }
        let mut rounds = Rounds::new();
        let tandem = |more: &[&str]| {
            let mut command = rounds::tandem("embed-rounds")?;
            command.args(more);
            anyhow::Ok(inputs.told_to(command))
        };
        for precision in PRECISIONS {
            if let Some(missing) = precision.missing() {
                report.note(format!("skipped: {precision}, which needs {missing}"));
                continue;
            }
            let name = precision.to_string();
            let task = |cores| Task::Embed { precision, cores };
            rounds.enter(TANDEM, task(1), &tandem(&["--precision", &name])?, &one)?;
            for (_, peer, _) in peers_in(precision).filter(|(_, peer, _)| peers.found().contains(peer)) {
                let mut command = inputs.told_to(peers.command(*peer, "embed", 1));
                rounds.enter(peer.name(), task(1), command.args(["--precision", &name]), &one)?;
            }
            if let Some(two) = &two {
                rounds.enter(TANDEM, task(2), &tandem(&["--precision", &name, "--threads", "2"])?, two)?;
            }
        }
        rounds.enter(TANDEM, Task::Tokenise, &tandem(&["--tokens-only"])?, &one)?;
        Ok(Self(rounds))
    }

    /// Refuses to measure programs that do not compute the same. These answers do not count: what is done for the first time takes
    /// longer.
    pub(super) fn compare(&mut self, folder: &Path, report: &mut Report) -> anyhow::Result<()> {
        let path = folder.join("embed-vectors");
        let (mut all, mut tokens) = (Vectors::default(), None);
        for entry in &mut self.0.entries {
            let answer: Answer = entry.ask(&Question { vectors: Some(path.clone()) })?;
            let expected = *tokens.get_or_insert(answer.tokens);
            ensure!(answer.tokens == expected, "{} makes {} tokens, not {expected}", entry.who, answer.tokens);
            if let Task::Embed { precision, cores } = entry.task {
                all.add(entry.who, precision, cores, floats::read(&path)?);
            }
        }
        all.compare(report)
    }

    pub(super) fn round(&mut self) -> anyhow::Result<()> {
        for entry in &mut self.0.entries {
            let answer = entry.ask(&Question::default())?;
            eprintln!("{}, {:?}: {:.0} tokens/s", entry.who, entry.task, by_clock(&answer));
            entry.answers.push(answer);
        }
        Ok(())
    }

    pub(super) fn lines(&self) -> anyhow::Result<Vec<Line>> {
        let Self(rounds) = self;
        let mut lines = Vec::new();
        for precision in PRECISIONS {
            let task = |cores| Task::Embed { precision, cores };
            if rounds.with(task(1)).next().is_none() {
                continue;
            }
            let speed =
                rounds.line(&format!("{precision}, one core: tokens"), Unit::PerSecond, task(1), by_processor)?;
            let times = peers_in(precision).filter_map(|(_, peer, times)| speed.times(peer.name(), *times));
            lines.extend([speed.clone()].into_iter().chain(times));
            let per_second = |answer: &Answer| answer.operations / answer.took.busy_s / 1e9;
            let operations = rounds.line("… operations", Unit::GflopPerSecond, task(1), per_second)?;
            lines.push(Line::of(operations.name, operations.unit, operations.tandem));
            if rounds.with(task(2)).next().is_some() {
                let on = |cores| rounds.line("", Unit::PerSecond, task(cores), by_clock);
                let times = Line::of("… two cores, times one", Unit::Times, on(2)?.tandem / on(1)?.tandem);
                lines.push(times.with_floor(Floor::AtLeast(TWO_CORES)));
            }
            let memory = rounds.memory("… most memory resident", task(1))?;
            lines.push(memory.with_floor(Floor::AtMost(MEMORY_MIB)));
        }
        let tokens = rounds.line("texts to tokens alone, one core", Unit::PerSecond, Task::Tokenise, by_processor)?;
        lines.push(tokens.with_floor(Floor::AtLeast(TOKENS_PER_SECOND)));
        Ok(lines)
    }
}
