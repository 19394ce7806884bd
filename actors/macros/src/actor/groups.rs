//! The concurrency groups of an actor's type.

use syn::{Error, LitStr, Result};

use crate::options::{GROUPS, Options};

/// All of them, in the order in which they were written.
pub(super) struct Groups(Vec<Group>);

/// One.
#[derive(Clone)]
pub(super) struct Group {
    pub(super) name: String,
    /// Which of the type's.
    pub(super) index: usize,
    /// Calls of it that are worked on at once.
    pub(super) concurrency: u32,
}

impl Groups {
    pub(super) fn of(options: &Options) -> Result<Self> {
        let mut groups: Vec<Group> = Vec::new();
        for (index, (name, concurrency)) in options.numbers(GROUPS)?.iter().enumerate() {
            let group = Group { name: name.to_string(), index, concurrency: concurrency.base10_parse()? };
            if group.concurrency == 0 {
                return Err(Error::new(concurrency.span(), "a concurrency group works on one call at least"));
            }
            if groups.iter().any(|other| other.name == group.name) {
                return Err(Error::new(name.span(), format!("there are two concurrency groups `{name}`")));
            }
            groups.push(group);
        }
        Ok(Self(groups))
    }

    /// The one that a method says it is in.
    pub(super) fn find(&self, name: &LitStr) -> Result<Group> {
        let text = name.value();
        let found = self.0.iter().find(|group| group.name == text).cloned();
        found.ok_or_else(|| {
            let names: Vec<_> = self.0.iter().map(|group| group.name.as_str()).collect();
            let others = match names.is_empty() {
                true => format!("an actor has those that it is given by `{GROUPS}({text} = 2)`"),
                false => format!("there are `{}`", names.join("`, `")),
            };
            Error::new(name.span(), format!("there is no concurrency group `{text}`; {others}"))
        })
    }

    /// How many calls of each are worked on at once.
    pub(super) fn concurrency(&self) -> impl Iterator<Item = u32> {
        self.0.iter().map(|group| group.concurrency)
    }
}
