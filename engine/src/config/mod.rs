//! Settings of the command line: which there are, where each comes from, what it is.
//!
//! A setting is looked up in this order: flag, `TANDEM_*` variable, the file given with `--config`, the user's file, default.

mod file;
mod settings;

pub(crate) use settings::{GlobalArgs, Settings, SettingsError};
