//! The command line together with the settings file, and where each setting of the server comes from.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches as _, parser::ValueSource};

use super::Cli;
use crate::config::file::{FileError, SettingsFile, command};

/// The option of commands that read the settings file.
#[derive(Debug, Args)]
pub(super) struct SettingsFileArg {
    /// TOML file with settings, under the names of these options (listen = "0.0.0.0:8080"); options
    /// and environment variables take precedence
    #[arg(long, env = "PAWPRINT_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What the process was asked to do.
#[derive(Debug)]
pub(super) struct Invocation {
    pub(super) cli: Cli,
    /// By the setting's name.
    pub(super) origins: BTreeMap<String, Resolved>,
}

/// A setting's value and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resolved {
    /// As given; empty if there is none, and more than one only in a list.
    pub(super) values: Vec<String>,
    pub(super) origin: SettingSource,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SettingSource {
    Flag,
    /// The variable's name.
    Environment(String),
    /// Path and line.
    File(PathBuf, usize),
    Default,
}

impl Invocation {
    /// Reads the arguments of this process, its environment, and the settings file that they name.
    /// Wrong arguments end the process, with a message, as does `--help`.
    ///
    /// # Errors
    /// The settings file can't be used.
    pub(super) fn parse() -> Result<Self, FileError> {
        let arguments: Vec<OsString> = std::env::args_os().collect();
        let mut matches = Cli::command().get_matches_from(&arguments);
        let named = matches.subcommand().and_then(|(name, matches)| {
            let path: &PathBuf = matches.try_get_one("config").ok().flatten()?;
            Some((name.to_owned(), path.clone()))
        });
        let mut file = None;
        if let Some((name, path)) = named {
            let read = SettingsFile::read(&path)?;
            // Once more, with its values as defaults.
            let command = Cli::command().mut_subcommand(name, |command| read.apply(command));
            matches = command.get_matches_from(&arguments);
            file = Some(read);
        }
        let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        let origins = matches.subcommand().map(|(_, matches)| origins(matches, file.as_ref()));
        Ok(Self { cli, origins: origins.unwrap_or_default() })
    }
}

/// Each setting of the server that a command has.
fn origins(matches: &ArgMatches, file: Option<&SettingsFile>) -> BTreeMap<String, Resolved> {
    let command = command();
    let known = command.get_arguments().filter_map(|flag| {
        let id = flag.get_id().as_str();
        let values = matches.try_get_raw(id).ok()?;
        let values = values.into_iter().flatten().map(|it| it.to_string_lossy().into_owned());
        let origin = match (matches.value_source(id), file.and_then(|file| file.origin(id))) {
            (Some(ValueSource::CommandLine), _) => SettingSource::Flag,
            (Some(ValueSource::EnvVariable), _) => {
                let variable = flag.get_env().unwrap_or_default();
                SettingSource::Environment(variable.to_string_lossy().into_owned())
            }
            (_, Some((path, line))) => SettingSource::File(Path::to_owned(path), line),
            _ => SettingSource::Default,
        };
        let name = flag.get_long()?.to_owned();
        Some((name, Resolved { values: values.collect(), origin }))
    });
    known.collect()
}
