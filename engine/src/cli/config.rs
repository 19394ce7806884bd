//! `tandem config view`.

use clap::Subcommand;
use serde::Serialize;

use super::{Failure, session::Session};
use crate::output::{Record, print_list};

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Show every setting, its value and where that comes from
    View,
}

#[derive(Debug, Serialize)]
struct SettingView {
    setting: &'static str,
    value: Option<String>,
    origin: String,
}

impl Record for SettingView {
    const COLUMNS: &'static [&'static str] = &["setting", "value", "origin"];

    fn cells(&self) -> Vec<String> {
        vec![self.setting.to_owned(), self.value.clone().unwrap_or_default(), self.origin.clone()]
    }
}

pub(super) fn execute(command: &ConfigCommand, session: &Session) -> Result<(), Failure> {
    let ConfigCommand::View = command;
    let views: Vec<SettingView> = session
        .settings
        .all()
        .map(|(setting, value, origin)| SettingView {
            setting,
            value: value.map(ToOwned::to_owned),
            origin: origin.to_string(),
        })
        .collect();
    print_list(session.format(), &views)
}
