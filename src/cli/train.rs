//! `pawprint train`: starts a job and, with `--follow`, watches it; with `--dry-run`, says what it would need.

mod dry_run;

use clap::{
    Arg, ArgMatches, Args, Command, FromArgMatches, builder::PossibleValuesParser, value_parser,
};
use reqwest::Method;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    ExitStatus, Session,
    args::{ClientArgs, reference},
    client,
    responses::{Job, Warnings},
    watch,
};
use crate::domain::{
    parameters::{Kind, PARAMETERS, Parameter},
    recipe::Recipe,
};

/// Options of `pawprint train`.
#[derive(Debug, Args)]
pub(super) struct Train {
    /// Follow the job until it finishes, like `pawprint watch`
    #[arg(long)]
    follow: bool,

    /// Queue no job, but run a few of its steps on the server, and print how long it would take, how much
    /// memory and disk space it would need, and whether it fits; exit code 1 if it does not
    #[arg(long, conflicts_with = "follow")]
    dry_run: bool,

    #[command(flatten)]
    job: NewJob,

    #[command(flatten)]
    pub(super) client: ClientArgs,
}

/// The body of `POST /jobs`.
#[derive(Debug, Args, Serialize)]
struct NewJob {
    /// Dataset to train on
    #[arg(long, value_name = "NAME", value_parser = reference)]
    dataset: String,

    #[arg(long, help = recipes(), default_value = Recipe::DEFAULT.as_str(), value_name = "RECIPE")]
    recipe: String,

    /// Name of the job and its model [default: generated]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,

    /// Queue the job even if it needs more memory or disk space than the server has
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    force: bool,

    #[command(flatten)]
    params: Params,
}

fn recipes() -> String {
    format!("Training recipe: {}", Recipe::ALL.map(Recipe::as_str).join(", "))
}

/// Omitted parameters use the recipe's defaults. The flags are those of [`PARAMETERS`].
#[derive(Debug, Serialize)]
struct Params(Map<String, Value>);

const HEADING: &str = "Training parameters (defaults depend on the recipe)";

impl Args for Params {
    fn augment_args(command: Command) -> Command {
        command.args(PARAMETERS.iter().map(flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Params {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = PARAMETERS.iter().filter_map(|parameter| {
            let value = match parameter.kind {
                Kind::Integer { .. } => matches.get_one::<u64>(parameter.name).map(|it| json!(it)),
                Kind::Number { .. } => matches.get_one::<f64>(parameter.name).map(|it| json!(it)),
                Kind::Choice { .. } | Kind::Job => {
                    matches.get_one::<String>(parameter.name).map(|it| json!(it))
                }
            };
            Some((parameter.name.to_owned(), value?))
        });
        Ok(Self(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn flag(parameter: &Parameter) -> Arg {
    let Parameter { name, kind, excluded_by, .. } = *parameter;
    let last_word = name.rsplit('_').next().unwrap_or(name).to_uppercase();
    let flag =
        Arg::new(name).long(name.replace('_', "-")).help(parameter.help()).help_heading(HEADING);
    let flag = match kind {
        Kind::Integer { .. } => flag.value_name("N").value_parser(value_parser!(u64)),
        Kind::Number { .. } => flag.value_name(last_word).value_parser(value_parser!(f64)),
        Kind::Choice { choices } => {
            flag.value_name(last_word).value_parser(PossibleValuesParser::new(choices))
        }
        Kind::Job => flag.value_name("JOB").value_parser(reference),
    };
    match excluded_by {
        Some(other) => flag.conflicts_with(other),
        None => flag,
    }
}

impl Train {
    pub(super) async fn run(&self, session: &Session) -> anyhow::Result<ExitStatus> {
        let client = &session.client;
        if self.dry_run {
            return dry_run::run(&self.job, session).await;
        }
        let request = client.request(Method::POST, &["jobs"]).json(&self.job);
        let response: Value = client.json(request).await?;
        let job: Job = client::read(&response)?;
        let Warnings { warnings } = client::read(&response)?;
        for warning in warnings {
            session.out.note(format_args!("warning: {}", warning.detail));
        }
        if self.follow {
            session.out.note(format_args!("job {} ({})", job.name, job.id));
            return watch::follow(session, &job.id, &job.name).await;
        }
        if session.out.is_json() {
            session.out.document(&response)?;
        } else {
            let Job { name, id, status, .. } = &job;
            session.out.line(format_args!("job {name} ({id}) is {status}"))?;
            session.out.note(format_args!("follow it with `pawprint watch {name}`"));
        }
        Ok(ExitStatus::Success)
    }
}
