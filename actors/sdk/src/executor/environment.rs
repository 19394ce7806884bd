//! Variables of one task, in a process that runs one at a time.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;

/// Variables that are set until this is dropped.
pub(crate) struct Variables(Vec<(String, Option<OsString>)>);

impl Variables {
    /// Sets them, beside those of the process. What cannot be a variable is left out.
    pub(crate) fn set(variables: BTreeMap<String, String>) -> Self {
        let possible =
            |(name, value): &(String, String)| !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0');
        let set = variables.into_iter().filter(possible).map(|(name, value)| {
            let before = env::var_os(&name);
            change(&name, Some(value.into()));
            (name, before)
        });
        Self(set.collect())
    }
}

impl Drop for Variables {
    fn drop(&mut self) {
        self.0.drain(..).for_each(|(name, before)| change(&name, before));
    }
}

#[expect(unsafe_code, reason = "C code that reads variables has no lock to take")]
fn change(name: &str, value: Option<OsString>) {
    // SAFETY: no task runs now, and the threads of this crate and of its runtime read no variables through C. A thread that a
    // user's task has left behind might, as it might in any program that sets variables for a part of its work.
    unsafe {
        match value {
            Some(value) => env::set_var(name, value),
            None => env::remove_var(name),
        }
    }
}
