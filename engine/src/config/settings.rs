//! The settings, resolved. Built once at start and passed to whoever needs it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::{self, FileValues};
use crate::output::{OutputFormat, units};

/// Options that every command takes.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// Coordinator to talk to; default: the local cluster
    #[arg(long, global = true, value_name = "HOST:PORT")]
    address: Option<String>,
    /// File with the cluster's token
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<String>,
    /// Certificates that the cluster's certificate is checked against; with it connections use TLS
    #[arg(long, global = true, value_name = "FILE")]
    tls_ca: Option<String>,
    /// Form of the data on standard output: table, json, csv, jsonl, arrow
    #[arg(short = 'o', long, global = true, value_name = "FORMAT")]
    output_format: Option<String>,
    /// Give up after this time, such as 90s or 5m
    #[arg(long, global = true, value_name = "TIME")]
    timeout: Option<String>,
    /// Settings file
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Log more to standard error; twice for even more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// No colours
    #[arg(long, global = true)]
    no_color: bool,
}

/// One setting as it can be given.
pub(crate) struct Key {
    /// In files, and with `TANDEM_` before it as a variable.
    pub(crate) name: &'static str,
    default: Option<&'static str>,
    flag: fn(&GlobalArgs) -> Option<String>,
    check: fn(&str) -> Result<(), String>,
}

/// All settings.
pub(crate) const KEYS: [Key; 9] = [
    Key { name: "address", default: None, flag: |args| args.address.clone(), check: |_| Ok(()) },
    Key { name: "token_file", default: None, flag: |args| args.token_file.clone(), check: |_| Ok(()) },
    Key { name: "tls_ca", default: None, flag: |args| args.tls_ca.clone(), check: |_| Ok(()) },
    Key {
        name: "output_format",
        default: Some("table"),
        flag: |args| args.output_format.clone(),
        check: |text| text.parse::<OutputFormat>().map(drop),
    },
    Key {
        name: "timeout",
        default: None,
        flag: |args| args.timeout.clone(),
        check: |text| units::parse_duration(text).map(drop),
    },
    Key {
        name: "color",
        default: Some("true"),
        flag: |args| args.no_color.then(|| "false".to_owned()),
        check: |text| text.parse::<bool>().map(drop).map_err(|_| format!("`{text}` is neither true nor false")),
    },
    Key { name: "workers", default: Some("3"), flag: |_| None, check: check_count },
    Key { name: "cpus", default: Some("1"), flag: |_| None, check: check_count },
    Key { name: "memory", default: None, flag: |_| None, check: |text| units::parse_bytes(text).map(drop) },
];

fn check_count(text: &str) -> Result<(), String> {
    match text.parse::<u32>() {
        Ok(1..) => Ok(()),
        _ => Err(format!("`{text}` is not a number above 0")),
    }
}

/// Where a value was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag(String),
    Variable(String),
    File(PathBuf),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A setting that cannot be used.
#[derive(Debug)]
pub(crate) struct SettingsError {
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl SettingsError {
    pub(crate) fn new(message: String) -> Self {
        Self { message, help: None }
    }

    pub(crate) fn with_help(self, help: String) -> Self {
        Self { help: Some(help), ..self }
    }
}

/// All settings with their origins.
#[derive(Debug)]
pub(crate) struct Settings {
    values: BTreeMap<&'static str, (Option<String>, Origin)>,
}

impl Settings {
    /// Looks every setting up. `variable` reads the environment, in which what is empty is not set.
    pub(crate) fn resolve(args: &GlobalArgs, variable: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let variable = |name: &str| variable(name).filter(|text| !text.is_empty());
        let given_path = args.config.clone().or_else(|| variable("TANDEM_CONFIG").map(PathBuf::from));
        let given = given_path.map(|path| Ok((file::read(&path)?, path))).transpose()?;
        let user = user_file(variable).filter(|path| path.exists());
        let user = user.map(|path| Ok((file::read(&path)?, path))).transpose()?;
        let files: Vec<(FileValues, PathBuf)> = given.into_iter().chain(user).collect();
        let mut values = BTreeMap::new();
        for key in &KEYS {
            let (value, origin) = look_up(key, args, variable, &files);
            if let Some(text) = &value {
                (key.check)(text)
                    .map_err(|error| SettingsError::new(format!("setting `{}`: {error}: {origin}", key.name)))?;
            }
            values.insert(key.name, (value, origin));
        }
        Ok(Self { values })
    }

    /// Name, value and origin of every setting, in the order of [`KEYS`].
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, Option<&str>, &Origin)> {
        KEYS.iter().filter_map(|key| self.values.get(key.name).map(|(value, from)| (key.name, value.as_deref(), from)))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).and_then(|(value, _)| value.as_deref())
    }

    pub(crate) fn address(&self) -> Option<&str> {
        self.get("address")
    }

    pub(crate) fn token_file(&self) -> Option<&Path> {
        self.get("token_file").map(Path::new)
    }

    pub(crate) fn tls_ca(&self) -> Option<&Path> {
        self.get("tls_ca").map(Path::new)
    }

    /// Checked when resolved.
    pub(crate) fn output_format(&self) -> OutputFormat {
        self.get("output_format").and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.get("timeout").and_then(|text| units::parse_duration(text).ok())
    }

    pub(crate) fn color(&self) -> bool {
        self.get("color") != Some("false")
    }

    /// Workers of a local cluster.
    pub(crate) fn workers(&self) -> u32 {
        self.get("workers").and_then(|text| text.parse().ok()).unwrap_or(1)
    }

    /// Slots of each worker of a local cluster.
    pub(crate) fn cpus(&self) -> u32 {
        self.get("cpus").and_then(|text| text.parse().ok()).unwrap_or(1)
    }

    /// Memory of each worker of a local cluster; none: a share of the machine's.
    pub(crate) fn memory_bytes(&self) -> Option<u64> {
        self.get("memory").and_then(|text| units::parse_bytes(text).ok())
    }
}

fn look_up(
    key: &Key,
    args: &GlobalArgs,
    variable: impl Fn(&str) -> Option<String>,
    files: &[(FileValues, PathBuf)],
) -> (Option<String>, Origin) {
    if let Some(text) = (key.flag)(args) {
        let flag =
            if key.name == "color" { "--no-color".to_owned() } else { format!("--{}", key.name.replace('_', "-")) };
        return (Some(text), Origin::Flag(flag));
    }
    let name = format!("TANDEM_{}", key.name.to_uppercase());
    if let Some(text) = variable(&name) {
        return (Some(text), Origin::Variable(name));
    }
    if key.name == "color" && variable("NO_COLOR").is_some() {
        return (Some("false".to_owned()), Origin::Variable("NO_COLOR".to_owned()));
    }
    for (values, path) in files {
        if let Some(text) = values.get(key.name) {
            return (Some(text.clone()), Origin::File(path.clone()));
        }
    }
    (key.default.map(ToOwned::to_owned), Origin::Default)
}

fn user_file(variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let base = variable("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".config")))?;
    Some(base.join("tandem/config.toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin_of(args: &GlobalArgs, variables: &[(&str, &str)]) -> (Option<String>, Origin) {
        let read = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let settings = Settings::resolve(args, read).unwrap();
        settings.values["address"].clone()
    }

    #[test]
    fn a_flag_wins_over_a_variable_over_files() {
        let folder = tempfile::tempdir().unwrap();
        let given = folder.path().join("given.toml");
        std::fs::write(&given, "address = \"given:1\"").unwrap();
        let user = folder.path().join("tandem/config.toml");
        std::fs::create_dir(user.parent().unwrap()).unwrap();
        std::fs::write(&user, "address = \"user:1\"").unwrap();
        let home = ("XDG_CONFIG_HOME", folder.path().to_str().unwrap());
        let variable = ("TANDEM_ADDRESS", "variable:1");
        let mut args = GlobalArgs { config: Some(given.clone()), ..GlobalArgs::default() };

        assert_eq!(origin_of(&GlobalArgs::default(), &[]), (None, Origin::Default));
        let from_user = (Some("user:1".to_owned()), Origin::File(user));
        assert_eq!(origin_of(&GlobalArgs::default(), &[home]), from_user);
        assert_eq!(origin_of(&args, &[home]), (Some("given:1".to_owned()), Origin::File(given)));
        let from_variable = (Some("variable:1".to_owned()), Origin::Variable("TANDEM_ADDRESS".to_owned()));
        assert_eq!(origin_of(&args, &[home, variable]), from_variable);
        args.address = Some("flag:1".to_owned());
        let from_flag = (Some("flag:1".to_owned()), Origin::Flag("--address".to_owned()));
        assert_eq!(origin_of(&args, &[home, variable]), from_flag);
    }

    #[test]
    fn a_value_that_cannot_be_used_names_itself_and_its_origin() {
        let variable = |name: &str| (name == "TANDEM_TIMEOUT").then(|| "soon".to_owned());
        let error = Settings::resolve(&GlobalArgs::default(), variable).unwrap_err();
        assert!(error.message.contains("`soon`") && error.message.contains("TANDEM_TIMEOUT"), "{}", error.message);
    }
}
