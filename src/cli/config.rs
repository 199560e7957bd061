//! `pawprint config`: the settings that `pawprint serve` would have, and where each comes from.

use std::collections::BTreeMap;

use clap::{Arg, ArgAction, Args};
use serde_json::{Map, Value, json};

use super::{
    ExitStatus,
    output::Output,
    serve,
    settings::{Resolved, SettingSource, SettingsFileArg},
};
use crate::config::{
    ServeConfig,
    file::{command, is_text},
};

/// What stands in place of a secret.
const MASK: &str = "********";

/// Options of `pawprint config`.
#[derive(Debug, Args)]
pub(super) struct Config {
    #[command(flatten)]
    file: SettingsFileArg,

    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,

    #[command(flatten)]
    settings: ServeConfig,
}

impl Config {
    /// Prints the settings; then fails if a server would not start with them.
    pub(super) fn run(
        &self,
        resolved: &BTreeMap<String, Resolved>,
        out: Output,
    ) -> anyhow::Result<ExitStatus> {
        serve::note_unknown_variables(out);
        // In the order of `pawprint serve --help`.
        let command = command();
        let settings = command.get_arguments().filter_map(|flag| {
            let name = flag.get_long()?;
            Some((name, flag, resolved.get(name)?))
        });
        if out.is_json() {
            let settings: Vec<_> =
                settings.map(|(name, flag, resolved)| document(name, flag, resolved)).collect();
            out.document(&json!({ "settings": settings }))?;
        } else {
            let rows = settings.map(|(name, flag, resolved)| {
                let values: Vec<_> = shown(flag, resolved).collect();
                let value = if values.is_empty() { "-".to_owned() } else { values.join(", ") };
                vec![name.to_owned(), value, origin(&resolved.origin)]
            });
            out.table(&["SETTING", "VALUE", "FROM"], rows.collect())?;
        }
        Ok(match serve::check(&self.settings) {
            Ok(_) => ExitStatus::Success,
            Err((status, reason)) => {
                if out.is_json() {
                    out.problem(&json!({ "code": "invalid_settings", "detail": reason }));
                } else {
                    out.error(reason);
                }
                status
            }
        })
    }
}

/// The values of a setting, without secrets.
fn shown<'a>(flag: &Arg, resolved: &'a Resolved) -> impl Iterator<Item = &'a str> {
    let secret = flag.is_hide_env_values_set();
    resolved.values.iter().map(move |value| if secret { MASK } else { value })
}

fn origin(origin: &SettingSource) -> String {
    match origin {
        SettingSource::Flag => "flag".to_owned(),
        SettingSource::Environment(variable) => variable.clone(),
        SettingSource::File(path, line) => format!("{}:{line}", path.display()),
        SettingSource::Default => "default".to_owned(),
    }
}

fn document(name: &str, flag: &Arg, resolved: &Resolved) -> Value {
    let mut values = shown(flag, resolved).map(Value::from);
    let value = match flag.get_action() {
        ArgAction::Append => Value::Array(values.collect()),
        ArgAction::SetTrue => Value::Bool(resolved.values.iter().any(|value| value == "true")),
        _ => match resolved.values.first().map(|value| value.parse::<u64>()) {
            Some(Ok(number)) if !is_text(flag) => number.into(),
            _ => values.next().unwrap_or_default(),
        },
    };
    let mut document =
        Map::from_iter([("name".to_owned(), name.into()), ("value".to_owned(), value)]);
    let mut add = |name: &str, value: Value| document.insert(name.to_owned(), value);
    match &resolved.origin {
        SettingSource::Flag => add("origin", "flag".into()),
        SettingSource::Environment(variable) => {
            add("variable", variable.as_str().into());
            add("origin", "environment".into())
        }
        SettingSource::File(path, line) => {
            add("file", path.display().to_string().into());
            add("line", (*line).into());
            add("origin", "file".into())
        }
        SettingSource::Default => add("origin", "default".into()),
    };
    document.into()
}
