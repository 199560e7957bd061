//! Settings in a TOML file, under the names of the flags.
//!
//! Which settings there are, and what their values may be, is read from the flags themselves: a new
//! flag is a new setting without a line here. The values become the flags' defaults, so that the
//! command line and the environment go before them.

use std::{
    any::TypeId,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use clap::{
    Arg, ArgAction, Args as _, Command,
    error::{ContextKind, ContextValue, ErrorKind},
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::ServeConfig;

/// Maximum bytes of a file: what is longer is another file.
const MAX_BYTES: u64 = 1 << 20;

/// The settings of a file.
#[derive(Debug, Clone)]
pub struct SettingsFile {
    path: PathBuf,
    settings: Vec<Setting>,
}

/// A line of a file.
#[derive(Debug, Clone)]
struct Setting {
    /// The flag's id in clap.
    id: String,
    /// As the flag would be given; one for each item of a list.
    values: Vec<String>,
    /// From 1.
    line: usize,
}

/// Why a file can't be used: names the file, the line and the setting.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system does not let it be read.
    #[error("can't read the settings file {path}: {source} (--config, PAWPRINT_CONFIG)", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is not a file of settings at all.
    #[error("the settings file {path} {reason}", path = .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        reason: String,
    },
    /// A line of it is wrong.
    #[error("{path}:{line}: {reason}", path = .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, with the setting's name.
        reason: String,
    },
}

impl SettingsFile {
    /// Reads a file and checks every setting in it.
    ///
    /// # Errors
    /// It can't be read, is not TOML, or has an unknown setting or an invalid value.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let unreadable = |source| FileError::Unreadable { path: path.to_owned(), source };
        let unusable =
            |reason: &str| FileError::Unusable { path: path.to_owned(), reason: reason.to_owned() };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(unreadable)?;
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(unusable("is larger than 1 MiB: it is not a file of settings"));
        }
        let text = str::from_utf8(&bytes).map_err(|_| unusable("is not text in UTF-8"))?;
        if text.trim().is_empty() {
            return Err(unusable("is empty: write settings into it, or leave out --config"));
        }
        Self::parse(path, text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, FileError> {
        let wrong = |position: usize, reason: String| {
            let before = text.as_bytes().get(..position).unwrap_or(text.as_bytes());
            let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
            FileError::Line { path: path.to_owned(), line, reason }
        };
        let table = DeTable::parse(text).map_err(|error| {
            let position = error.span().map_or(0, |span| span.start);
            wrong(position, format!("not valid TOML: {}", error.message()))
        })?;
        let mut entries: Vec<_> = table.into_inner().into_iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let command = command();
        let mut settings: Vec<Setting> = Vec::new();
        for (key, value) in entries {
            let start = key.span().start;
            let name = key.get_ref().replace('_', "-");
            let wrong = |reason: String| wrong(start, reason);
            let Some(flag) = find(&command, &name) else {
                return Err(wrong(unknown(&command, &name)));
            };
            let id = flag.get_id().to_string();
            if settings.iter().any(|setting| setting.id == id) {
                return Err(wrong(format!("`{name}` is set twice")));
            }
            let values = values(flag, &value)
                .and_then(|values| {
                    values.iter().try_for_each(|value| check(flag, &name, value))?;
                    Ok(values)
                })
                .map_err(|reason| wrong(format!("`{name}`: {reason}")))?;
            let FileError::Line { line, .. } = wrong(String::new()) else { continue };
            settings.push(Setting { id, values, line });
        }
        Ok(Self { path: path.to_owned(), settings })
    }

    /// Makes the values of the file the defaults of those flags that `command` has.
    #[must_use]
    pub fn apply(&self, command: Command) -> Command {
        command.mut_args(|flag| match self.find(flag.get_id().as_str()) {
            Some(setting) => flag.default_values(setting.values.clone()),
            None => flag,
        })
    }

    /// The file and the line that the flag `id` is set in.
    #[must_use]
    pub fn origin(&self, id: &str) -> Option<(&Path, usize)> {
        self.find(id).map(|setting| (&*self.path, setting.line))
    }

    fn find(&self, id: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.id == id)
    }
}

/// The flags of all settings, and no other.
#[must_use]
pub fn command() -> Command {
    let bare = Command::new("settings").no_binary_name(true);
    ServeConfig::augment_args(bare).disable_help_flag(true).disable_version_flag(true)
}

fn find<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|flag| flag.get_long() == Some(name))
}

/// What to say of a name that no setting has.
fn unknown(command: &Command, name: &str) -> String {
    let reason = format!("unknown setting `{name}`");
    // clap knows which flag is like it.
    let error = command.clone().try_get_matches_from([format!("--{name}")]).err();
    let similar = error.as_ref().and_then(|error| match error.get(ContextKind::SuggestedArg) {
        Some(ContextValue::String(similar)) => similar.strip_prefix("--"),
        _ => None,
    });
    match similar {
        Some(similar) => format!("{reason}; did you mean `{similar}`?"),
        None => format!("{reason}; see `pawprint serve --help` for all of them"),
    }
}

/// A value of the file as the flag would be given.
fn values(flag: &Arg, value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, String> {
    let value = value.get_ref();
    match (flag.get_action(), value) {
        (ArgAction::SetTrue, DeValue::Boolean(value)) => Ok(vec![value.to_string()]),
        (ArgAction::SetTrue, _) => Err(expected("true or false", value)),
        (ArgAction::Append, DeValue::Array(items)) => {
            items.iter().map(|item| single(flag, item.get_ref())).collect()
        }
        (ArgAction::Append, DeValue::String(_)) => single(flag, value).map(|value| vec![value]),
        (ArgAction::Append, _) => Err(expected("an array, such as [\"a\", \"b\"]", value)),
        _ => single(flag, value).map(|value| vec![value]),
    }
}

fn single(flag: &Arg, value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.clone().into_owned()),
        _ if is_text(flag) => Err(expected("a string in quotes", value)),
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
            .map(|number| number.to_string())
            .map_err(|_| format!("the number {number} is too large")),
        DeValue::Float(number) => Ok(number.to_string()),
        _ => Err(expected("a string or a number", value)),
    }
}

/// Whether any characters are a value of the flag, so that a number is probably a mistake.
#[must_use]
pub fn is_text(flag: &Arg) -> bool {
    let kind = flag.get_value_parser().type_id();
    kind == TypeId::of::<String>() || kind == TypeId::of::<PathBuf>()
}

fn expected(what: &str, found: &DeValue<'_>) -> String {
    format!("expected {what}, not a value of type {}", found.type_str())
}

/// Parses a value as its flag does.
fn check(flag: &Arg, name: &str, value: &str) -> Result<(), String> {
    // Without its environment variable, which would take precedence.
    let alone = Command::new("setting").no_binary_name(true).arg(flag.clone().env(None::<&str>));
    let given = match flag.get_action() {
        ArgAction::SetTrue => return Ok(()),
        _ => format!("--{name}={value}"),
    };
    let Err(error) = alone.try_get_matches_from([given]) else { return Ok(()) };
    let shown = if flag.is_hide_env_values_set() { "the value" } else { &format!("`{value}`") };
    let reason = match (error.kind(), error.get(ContextKind::ValidValue)) {
        (ErrorKind::InvalidValue, Some(ContextValue::Strings(valid))) if !valid.is_empty() => {
            format!("use {}", valid.join(" or "))
        }
        _ => std::error::Error::source(&error)
            .map_or_else(|| "it can't be empty".to_owned(), ToString::to_string),
    };
    Err(format!("{shown} is not valid: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<SettingsFile, String> {
        SettingsFile::parse(Path::new("p.toml"), text).map_err(|error| error.to_string())
    }

    fn config(text: &str, arguments: &[&str]) -> ServeConfig {
        let command = parse(text).unwrap().apply(command());
        let matches = command.try_get_matches_from(arguments).unwrap();
        clap::FromArgMatches::from_arg_matches(&matches).unwrap()
    }

    #[test]
    fn a_file_sets_what_the_flags_do_not() {
        let text = "# ours\nlisten = \"localhost:9\"\nmax-running-jobs = 3\nallow-anonymous = true\n\
            allowed_hosts = [\"a.example\", \"b.example\"]\nlog-format = 'json'\n\
            memory-budget = 0x1000_0000\n";
        let config = config(text, &["--max-running-jobs", "2"]);
        assert_eq!(config.listen.to_string(), "localhost:9");
        assert_eq!(config.max_running_jobs.get(), 2);
        assert!(config.allow_anonymous);
        assert_eq!(config.allowed_hosts, ["a.example", "b.example"]);
        assert_eq!(config.memory_budget, Some(0x1000_0000));
        assert_eq!(config.queue_capacity.get(), 64, "the default");
    }

    #[test]
    fn every_setting_may_stand_in_a_file() {
        for flag in command().get_arguments() {
            let name = flag.get_long().unwrap();
            let possible = flag.get_value_parser().possible_values();
            let value = match (flag.get_action(), possible) {
                (ArgAction::SetTrue, _) => "true".to_owned(),
                (_, Some(mut values)) => format!("{:?}", values.next().unwrap().get_name()),
                _ => {
                    let samples =
                        ["1000000000", "7", "\"127.0.0.1:80\"", "\"https://a.example\"", "\"x\""];
                    let list = matches!(flag.get_action(), ArgAction::Append);
                    let sample =
                        |text: &str| if list { format!("[{text}]") } else { text.to_owned() };
                    let fits = |text: &String| parse(&format!("{name} = {text}")).is_ok();
                    samples.iter().map(|text| sample(text)).find(fits).unwrap()
                }
            };
            let file = parse(&format!("\n{name} = {value}")).unwrap();
            assert_eq!(file.origin(flag.get_id().as_str()), Some((Path::new("p.toml"), 2)));
            assert!(file.apply(command()).try_get_matches_from([""; 0]).is_ok(), "{name} {value}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, message) in [
            (
                "\nmax-runing-jobs = 2",
                "p.toml:2: unknown setting `max-runing-jobs`; did you mean `max-running-jobs`?",
            ),
            (
                "config = \"x\"",
                "p.toml:1: unknown setting `config`; see `pawprint serve --help` for all of them",
            ),
            ("[general]\nlisten = \"a:1\"", "p.toml:1: unknown setting `general`; see"),
            ("listen = 8080", "p.toml:1: `listen`: `8080` is not valid: the port is missing"),
            (
                "data-dir = 5",
                "p.toml:1: `data-dir`: expected a string in quotes, not a value of type integer",
            ),
            ("data-dir = \"\"", "p.toml:1: `data-dir`: `` is not valid: it can't be empty"),
            (
                "max-running-jobs = 0",
                "p.toml:1: `max-running-jobs`: `0` is not valid: number would be zero",
            ),
            (
                "max-running-jobs = true",
                "p.toml:1: `max-running-jobs`: expected a string or a number, not a value of type boolean",
            ),
            (
                "max-running-jobs = 1.5",
                "p.toml:1: `max-running-jobs`: `1.5` is not valid: invalid digit",
            ),
            ("max-image-bytes = -1", "p.toml:1: `max-image-bytes`: `-1` is not valid: "),
            (
                "allow-anonymous = \"yes\"",
                "p.toml:1: `allow-anonymous`: expected true or false, not a value of type string",
            ),
            (
                "allowed-hosts = 3",
                "p.toml:1: `allowed-hosts`: expected an array, such as [\"a\", \"b\"], not a value of type integer",
            ),
            ("allowed-hosts = [1]", "p.toml:1: `allowed-hosts`: expected a string in quotes"),
            (
                "log-format = \"xml\"",
                "p.toml:1: `log-format`: `xml` is not valid: use text or json",
            ),
            ("memory-budget = 1", "p.toml:1: `memory-budget`: `1` is not valid: 1 is not in "),
            ("data-dir = \"a\"\ndata_dir = \"b\"", "p.toml:2: `data-dir` is set twice"),
            ("a = 1\nlisten 8080", "p.toml:2: not valid TOML: "),
            ("listen = \"a:1\"\nlisten = \"b:2\"", "p.toml:2: not valid TOML: duplicate key"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(message), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_secret_is_not_repeated_in_an_error() {
        for flag in command().get_arguments().filter(|flag| flag.is_hide_env_values_set()) {
            let name = flag.get_long().unwrap();
            let error = parse(&format!("{name} = {{ s3cret = 1 }}")).unwrap_err();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn files_that_are_none_of_settings_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.toml");
        let error = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            SettingsFile::read(&path).map(|_| ()).map_err(|error| error.to_string())
        };
        assert!(error(b"# all by default\n").is_ok());
        assert!(error(b" \n").unwrap_err().contains("p.toml is empty"));
        assert!(error(b"\xFF\xFE").unwrap_err().contains("UTF-8"));
        assert!(error(&vec![b'#'; 2 << 20]).unwrap_err().contains("larger than 1 MiB"));
        let error = SettingsFile::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("directory"), "{error}");
        let error = SettingsFile::read(&folder.path().join("missing")).unwrap_err().to_string();
        assert!(error.contains("No such file"), "{error}");
    }
}
