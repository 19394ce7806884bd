//! The arguments of a call as it reads them, and its results as it writes them.

use std::sync::Arc;

use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::value::Value;

use crate::context::Context;
use crate::process::Process;
use crate::value::{Data, Fetched, Kept, adopting, build};

/// Arguments that were not read yet.
pub struct Inputs {
    process: Arc<Process>,
    left: std::vec::IntoIter<Fetched>,
    taken: usize,
}

impl Inputs {
    pub(crate) fn new(process: Arc<Process>, values: Vec<Fetched>) -> Self {
        Self { process, left: values.into_iter(), taken: 0 }
    }

    /// The next argument, called `name`.
    ///
    /// # Errors
    /// When there is none, or it is of another type.
    pub fn next<T: Data>(&mut self, name: &str) -> Result<T, Failure> {
        let mismatch = |message| Failure::new(FailureKind::Mismatch, "", message);
        let number = self.taken;
        let value = self.left.next().ok_or_else(|| mismatch(format!("argument `{name}` is missing: {number} came")))?;
        self.taken += 1;
        let read = adopting(&self.process, || T::read(value));
        read.map_err(|error| mismatch(format!("argument `{name}`: {error}")))
    }

    /// Makes sure that there are no more.
    ///
    /// # Errors
    /// When there are.
    pub fn end(self) -> Result<(), Failure> {
        match self.left.len() {
            0 => Ok(()),
            more => {
                let (came, taken) = (self.taken + more, self.taken);
                let message = format!("{came} arguments came where {taken} are expected");
                Err(Failure::new(FailureKind::Mismatch, "", message))
            }
        }
    }
}

/// How a call ends: with its results, or why there are none.
pub type CallOutcome = Result<Outputs, Failure>;

/// Results as they were written, to be sent once all of them are.
#[derive(Default)]
pub struct Outputs {
    pub(crate) values: Vec<Value>,
    /// What the values need until they are sent.
    pub(crate) kept: Kept,
}

impl Outputs {
    /// The one result of a call.
    ///
    /// # Errors
    /// When it cannot be written, or there is no room for it.
    pub fn one<T: Data>(ctx: &Context, value: &T) -> CallOutcome {
        Self::default().and(ctx, value)
    }

    /// These and another one.
    ///
    /// # Errors
    /// As for [`Self::one`].
    pub fn and<T: Data>(mut self, ctx: &Context, value: &T) -> CallOutcome {
        let built = build(ctx.process(), value)?;
        self.values.push(built.value);
        self.kept.and(built.kept);
        Ok(self)
    }
}
