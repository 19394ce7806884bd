//! The functions and classes of this program. The macros add them before `main` runs.

use std::collections::HashMap;
use std::sync::LazyLock;

use futures::future::LocalBoxFuture;

use crate::actor::Class;
use crate::context::Context;
use crate::inputs::{CallOutcome, Inputs};

/// A task's function.
pub struct Function {
    /// Its name with its modules.
    pub name: &'static str,
    /// How to run it.
    pub code: Code,
}

/// How to run a function.
pub enum Code {
    /// On a thread that it may block.
    Plain(fn(Inputs, Context) -> CallOutcome),
    /// As a future.
    Async(fn(Inputs, Context) -> LocalBoxFuture<'static, CallOutcome>),
}

inventory::collect!(Function);
inventory::collect!(Class);

/// By name.
static FUNCTIONS: LazyLock<HashMap<&'static str, &'static Function>> =
    LazyLock::new(|| inventory::iter::<Function>().map(|function| (function.name, function)).collect());

/// The function of that name; without modules if only one has it.
pub(crate) fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS.get(name).copied().or_else(|| {
        let mut found = FUNCTIONS.values().filter(|function| function.name.rsplit("::").next() == Some(name));
        found.next().filter(|_| found.next().is_none()).copied()
    })
}

pub(crate) fn class(name: &str) -> Option<&'static Class> {
    inventory::iter::<Class>().find(|class| class.name == name)
}

/// All names, in order.
pub(crate) fn names() -> Vec<String> {
    let functions = inventory::iter::<Function>().map(|function| function.name.to_owned());
    let mut names: Vec<_> = functions.chain(inventory::iter::<Class>().map(|class| class.name.to_owned())).collect();
    names.sort();
    names
}
