//! The only writer of the client commands: results to standard output, the rest to standard error.
//!
//! Standard output may be a pipe whose reader has left (`| head`); that is [`StdoutClosed`], on
//! which a command stops and ends quietly.

use std::{
    fmt::Display,
    io::{self, Write as _},
};

use comfy_table::{Table, presets};
use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::client;

/// Nobody reads standard output any more.
#[derive(Debug, thiserror::Error)]
#[error("standard output is closed")]
pub(super) struct StdoutClosed;

/// Writes text or, with `--json`, JSON.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    json: bool,
}

impl Output {
    pub(super) const fn new(json: bool) -> Self {
        Self { json }
    }

    pub(super) const fn is_json(self) -> bool {
        self.json
    }

    /// A line of the result.
    pub(super) fn line(self, text: impl Display) -> anyhow::Result<()> {
        match writeln!(io::stdout().lock(), "{text}") {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(StdoutClosed.into()),
            Err(error) => Err(anyhow::Error::new(error).context("can't write to standard output")),
        }
    }

    /// A line of the result that is a JSON document.
    pub(super) fn document(self, value: &impl Serialize) -> anyhow::Result<()> {
        self.line(serde_json::to_string(value)?)
    }

    /// A list: a table with a row for each item, or a note if there are none.
    pub(super) fn list<T: DeserializeOwned>(
        self,
        items: &[Value],
        none: &str,
        heading: &[&str],
        row: impl Fn(T, Timestamp) -> Vec<String>,
    ) -> anyhow::Result<()> {
        if self.json {
            return self.document(&items);
        }
        if items.is_empty() {
            self.note(none);
            return Ok(());
        }
        let now = Timestamp::now();
        let rows: anyhow::Result<Vec<_>> =
            items.iter().map(|item| Ok(row(client::read(item)?, now))).collect();
        self.table(heading, rows?)
    }

    /// A table with aligned columns and a heading.
    pub(super) fn table(self, heading: &[&str], rows: Vec<Vec<String>>) -> anyhow::Result<()> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(heading).add_rows(rows);
        table.column_iter_mut().for_each(|column| {
            column.set_padding((0, 2));
        });
        table.lines().try_for_each(|line| self.line(line.trim_end()))
    }

    /// A note on the progress of the command; nothing with `--json`.
    pub(super) fn note(self, text: impl Display) {
        if !self.json {
            to_stderr(text);
        }
    }

    /// An error, as text.
    pub(super) fn error(self, text: impl Display) {
        to_stderr(format_args!("error: {text}"));
    }

    /// An error, as JSON.
    pub(super) fn problem(self, problem: &impl Serialize) {
        if let Ok(text) = serde_json::to_string(problem) {
            to_stderr(text);
        }
    }
}

/// If standard error is closed too, the message is lost.
fn to_stderr(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// How long ago that was, in its largest unit: `40s`, `5m`, `3h`, `12d`.
pub(super) fn age(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A time span in its two largest units: `40s`, `1m 30s`, `2h 5m`.
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m {}s", seconds / 60, seconds % 60),
        _ => format!("{}h {}m", seconds / 3_600, seconds % 3_600 / 60),
    }
}

/// A number of things: `1 image`, `2 images`.
pub(super) fn counted(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// A number if there is one, otherwise a dash.
pub(super) fn decimals(number: Option<f64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| format!("{number:.4}"))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn spans_are_told_in_two_units() {
        assert_eq!([span(59), span(90), span(7_500)], ["59s", "1m 30s", "2h 5m"]);
    }

    #[test]
    fn ages_are_told_in_one_unit() {
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1_000);
        let ago = |seconds| age(now - SignedDuration::from_secs(seconds), now);
        assert_eq!(
            [ago(-5), ago(59), ago(60), ago(3_599), ago(7_200), ago(90_000)],
            ["0s", "59s", "1m", "59m", "2h", "1d"]
        );
    }
}
