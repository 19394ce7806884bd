//! Files that are attached to the job.

use std::env;
use std::path::{Path, PathBuf};

use tandem_actor_protocol::failure::{Failure, FailureKind};

use crate::context::Context;

/// Set by the worker: the folder that has them.
const FILES: &str = "TANDEM_FILES";

impl Context {
    /// Where a file or folder is that was attached to the job under this name, or an archive was unpacked to, on whichever worker this is. It is
    /// to be read only.
    ///
    /// ```no_run
    /// use tandem::prelude::*;
    ///
    /// #[tandem::task]
    /// fn is_stop_word(ctx: Context, word: String) -> Result<bool> {
    ///     let words = std::fs::read_to_string(ctx.attached("stop-words.txt")?)?;
    ///     Ok(words.lines().any(|line| line == word))
    /// }
    /// ```
    ///
    /// # Errors
    /// When there is none.
    pub fn attached(&self, name: &str) -> Result<PathBuf, Failure> {
        let folder = env::var_os(FILES);
        let found = folder.as_ref().map(|folder| Path::new(folder).join(name)).filter(|path| path.exists());
        found.ok_or_else(|| {
            let none = if folder.is_none() {
                ", nor is any other: `tandem job submit --attach PATH` attaches files"
            } else {
                ""
            };
            Failure::new(FailureKind::NotFound, "", format!("no file `{name}` is attached to this job{none}"))
        })
    }
}
