//! `pawprint backup`: a copy of the data directory.

use std::{collections::BTreeSet, path::PathBuf};

use clap::Args;
use indicatif::HumanBytes;

use super::{
    ExitStatus,
    args::DataArgs,
    output::{Output, counted},
    progress,
};
use crate::{maintenance::backup, storage::upkeep::Totals};

/// Files that are named; the others are counted.
const NAMED: usize = 10;

/// Options of `pawprint backup`.
#[derive(Debug, Args)]
pub(super) struct Backup {
    /// Directory to hold the backup: new, empty, or with an earlier backup, which is replaced once
    /// the new one is complete
    #[arg(value_name = "DIR")]
    to: PathBuf,

    #[command(flatten)]
    pub(super) data: DataArgs,
}

impl Backup {
    pub(super) async fn run(&self, out: Output) -> anyhow::Result<ExitStatus> {
        let bar = progress::files(out);
        let mut advance = |done, total| {
            bar.set_length(total);
            bar.set_position(done);
        };
        let made = backup::run(&self.data.data_dir, &self.to, &mut advance).await;
        bar.finish_and_clear();
        let report = made?;
        let is_whole = report.damaged.is_empty() && report.missing.is_empty();
        if out.is_json() {
            out.document(&report)?;
        } else {
            out.line(format_args!(
                "{}: {} in {}, {} ({} copied)",
                report.backup.display(),
                summary(&report.about.totals),
                counted(report.about.files, "file"),
                HumanBytes(report.about.bytes),
                HumanBytes(report.copied_bytes),
            ))?;
        }
        let lost = "in the data directory, and not in the backup";
        note(out, &report.missing, &format!("missing {lost}"));
        note(out, &report.damaged, &format!("damaged {lost}"));
        note(
            out,
            &report.kept,
            "damaged or missing in the data directory; the earlier backup had them",
        );
        if !is_whole || !report.kept.is_empty() {
            out.note("`pawprint doctor` says what they belong to");
        }
        Ok(if is_whole { ExitStatus::Success } else { ExitStatus::Failed })
    }
}

/// What a data directory holds.
pub(super) fn summary(totals: &Totals) -> String {
    format!(
        "{}, {}, {} and {}",
        counted(totals.datasets, "dataset"),
        counted(totals.images, "image"),
        counted(totals.jobs, "job"),
        counted(totals.models, "model")
    )
}

/// Names files of which something has to be said.
pub(super) fn note(out: Output, files: &BTreeSet<String>, what: &str) {
    if files.is_empty() {
        return;
    }
    out.note(format_args!("warning: {} {what}:", counted(files.len() as u64, "file")));
    for file in files.iter().take(NAMED) {
        out.note(format_args!("  {file}"));
    }
    if files.len() > NAMED {
        out.note(format_args!("  and {} more (--json names all)", files.len() - NAMED));
    }
}
