//! Which bytes of an output pipe were printed by whom. The link says when a task begins and ends, the pipe has the bytes; what
//! is in the pipe when the link says so was printed before.
//! Shared by the reader of the link and that of the pipe, under a lock of a few lines.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::ioctl_fionread;
use tokio::net::unix::pipe;
use tokio::sync::watch;

use super::lines::Tag;

/// One output pipe of a process.
#[derive(Debug)]
pub(crate) struct Printed {
    pipe: pipe::Receiver,
    state: Mutex<State>,
    /// Bytes that were passed on.
    passed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes read so far.
    read: u64,
    /// Who prints what is read now.
    tag: Tag,
    /// From which byte on who prints.
    changes: VecDeque<(u64, Tag)>,
}

impl Printed {
    pub(crate) fn new(pipe: pipe::Receiver) -> Self {
        Self { pipe, state: Mutex::default(), passed: watch::Sender::new(0) }
    }

    /// What is printed since the last change, and not read yet, is of `tag`: it has begun meanwhile.
    pub(crate) fn began(&self, tag: Tag) {
        let mut state = self.lock();
        let from = state.changes.back().map_or(state.read, |(from, _)| (*from).max(state.read));
        state.change(from, tag);
    }

    /// What is printed from now on is of `tag`.
    pub(crate) fn change(&self, tag: Tag) {
        let mut state = self.lock();
        let from = state.read + self.waiting();
        state.change(from, tag);
    }

    /// What was read so far is passed on.
    pub(crate) fn passed_on(&self) {
        self.passed.send_replace(self.lock().read);
    }

    /// Nothing more will be read.
    pub(crate) fn closed(&self) {
        self.passed.send_replace(u64::MAX);
    }

    /// Waits until all that is printed by now is passed on.
    pub(crate) async fn flushed(&self) {
        let printed = self.lock().read + self.waiting();
        // The sender lives as long as this.
        let _ = self.passed.subscribe().wait_for(|passed| *passed >= printed).await;
    }

    fn waiting(&self) -> u64 {
        ioctl_fionread(&self.pipe).unwrap_or(0)
    }

    /// Reads what is there, as parts of `buffer` and who printed them; none at the end.
    pub(crate) async fn read(&self, buffer: &mut [u8]) -> io::Result<Vec<(Range<usize>, Tag)>> {
        loop {
            self.pipe.readable().await?;
            // The link may have just said whose it is.
            tokio::task::yield_now().await;
            let mut state = self.lock();
            match self.pipe.try_read(buffer) {
                Ok(bytes) => return Ok(state.advance(bytes)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn change(&mut self, from: u64, tag: Tag) {
        // Nothing was printed in between, so nobody misses the earlier one.
        self.changes.pop_back_if(|(before, _)| *before == from);
        self.changes.push_back((from, tag));
    }

    fn advance(&mut self, bytes: usize) -> Vec<(Range<usize>, Tag)> {
        let (start, end) = (self.read, self.read + bytes as u64);
        let mut parts = Vec::new();
        while self.read < end {
            while let Some((_, tag)) = self.changes.pop_front_if(|(from, _)| *from <= self.read) {
                self.tag = tag;
            }
            let to = self.changes.front().map_or(end, |(from, _)| (*from).min(end));
            parts.push(((self.read - start) as usize..(to - start) as usize, self.tag.clone()));
            self.read = to;
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(task: &str) -> Tag {
        Tag { task: task.into(), name: "".into() }
    }

    fn parts(state: &mut State, bytes: usize) -> Vec<(Range<usize>, String)> {
        state.advance(bytes).into_iter().map(|(range, tag)| (range, tag.task.to_string())).collect()
    }

    #[test]
    fn bytes_go_to_who_printed_them() {
        let mut state = State::default();
        assert_eq!(parts(&mut state, 3), [(0..3, String::new())]);
        state.change(5, tag("skipped"));
        state.change(5, tag("a"));
        state.change(8, tag("b"));
        state.change(20, tag("c"));
        assert_eq!(parts(&mut state, 7), [(0..2, String::new()), (2..5, "a".into()), (5..7, "b".into())]);
        assert_eq!(parts(&mut state, 10), [(0..10, "b".into())]);
        assert_eq!(parts(&mut state, 1), [(0..1, "c".into())]);
        assert_eq!(parts(&mut state, 0), []);
    }
}
