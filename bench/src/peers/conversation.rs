//! A peer's program that is asked one line after another. One that fails is ended, and started again when it is asked next.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5 * 60);
/// How long a program may take to end by itself.
const FAREWELL: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(10);

/// With one peer.
#[derive(Debug)]
pub(crate) struct Conversation {
    command: Command,
    /// None after a failure.
    program: Option<Program>,
}

impl Conversation {
    /// Starts the program and waits until it says `ready`.
    pub(crate) fn start(mut command: Command) -> anyhow::Result<Self> {
        let program = Program::start(&mut command)?;
        Ok(Self { command, program: Some(program) })
    }

    /// The program that runs now.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.program.as_ref().map(Program::pid)
    }

    /// How many rows a query has, by its file.
    pub(crate) fn rows(&mut self, query: &Path) -> anyhow::Result<usize> {
        let mut program = match self.program.take() {
            Some(program) => program,
            None => Program::start(&mut self.command)?,
        };
        let said = program.ask(&query.display().to_string())?;
        let rows = said.parse().map_err(|_| anyhow!("{said}"))?;
        self.program = Some(program);
        Ok(rows)
    }
}

/// A program that answers one line per line it is given. Ended when dropped.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    /// None when it is told to end.
    questions: Option<ChildStdin>,
    answers: Receiver<String>,
}

impl Program {
    /// Starts it and waits until it says `ready`.
    pub(crate) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let questions = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().context("a child without standard output")?).lines();
        let (sender, answers) = mpsc::channel();
        // It ends with the program.
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let program = Self { child, questions, answers };
        let hello = program.answer()?;
        ensure!(hello == "ready", "{command:?} says `{hello}`");
        Ok(program)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn ask(&mut self, question: &str) -> anyhow::Result<String> {
        let questions = self.questions.as_mut().context("a child without standard input")?;
        writeln!(questions, "{question}").context("the program ended, see above")?;
        self.answer()
    }

    fn answer(&self) -> anyhow::Result<String> {
        match self.answers.recv_timeout(PATIENCE) {
            Ok(line) => Ok(line),
            Err(RecvTimeoutError::Timeout) => bail!("no answer in {} s", PATIENCE.as_secs()),
            Err(RecvTimeoutError::Disconnected) => bail!("the program ended, see above"),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Nothing more is asked, so it ends, and can take with it what it has started and written.
        self.questions = None;
        let deadline = Instant::now() + FAREWELL;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(POLL);
        }
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that answers the number of rows that a query's name says, fails at anything else, and ends at `end`.
    fn peer() -> Conversation {
        let script = "echo ready; while read line; do case $line in end) exit;; *) echo $line;; esac; done";
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Conversation::start(command).unwrap()
    }

    #[test]
    fn what_fails_is_said_and_the_next_question_is_answered() {
        let mut peer = peer();
        assert_eq!(peer.rows(Path::new("5")).unwrap(), 5);
        let first = peer.pid();
        assert_eq!(peer.rows(Path::new("no such table")).unwrap_err().to_string(), "no such table");
        assert_eq!(peer.pid(), None);
        assert_eq!(peer.rows(Path::new("end")).unwrap_err().to_string(), "the program ended, see above");
        assert_eq!(peer.rows(Path::new("7")).unwrap(), 7);
        assert_ne!(peer.pid(), first);
    }

    #[test]
    fn a_program_that_says_something_else_first_is_refused() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo good morning"]);
        let error = Conversation::start(command).unwrap_err();
        assert!(error.to_string().ends_with("says `good morning`"), "{error}");
    }
}
