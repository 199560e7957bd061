//! `pawprint restore`: a data directory out of a backup.

use std::path::PathBuf;

use clap::Args;

use super::{
    ExitStatus,
    args::DataArgs,
    backup::{note, summary},
    output::{Output, counted},
    progress,
};
use crate::maintenance::restore;

/// Options of `pawprint restore`.
#[derive(Debug, Args)]
pub(super) struct Restore {
    /// Directory that holds the backup
    #[arg(value_name = "DIR")]
    from: PathBuf,

    #[command(flatten)]
    pub(super) data: DataArgs,
}

impl Restore {
    pub(super) async fn run(&self, out: Output) -> anyhow::Result<ExitStatus> {
        let bar = progress::files(out);
        let mut advance = |done, total| {
            bar.set_length(total);
            bar.set_position(done);
        };
        let restored = restore::run(&self.from, &self.data.data_dir, &mut advance).await;
        bar.finish_and_clear();
        let report = restored?;
        let is_whole = [&report.damaged, &report.missing, &report.unverified]
            .iter()
            .all(|files| files.is_empty());
        if out.is_json() {
            out.document(&report)?;
        } else {
            let made = report.backup.created_at.strftime("%Y-%m-%d %H:%M UTC");
            let data_dir = report.data_dir.display();
            let totals = summary(&report.backup.totals);
            out.line(format_args!("{data_dir}: {totals}, as they were on {made}"))?;
            if report.unfinished_jobs > 0 {
                let jobs = counted(report.unfinished_jobs, "job");
                out.line(format_args!("{jobs} will continue when the server starts"))?;
            }
            out.line(format_args!("start the server with `pawprint serve --data-dir {data_dir}`"))?;
        }
        note(out, &report.damaged, "damaged in the backup, and not restored");
        note(out, &report.missing, "missing in the backup");
        note(
            out,
            &report.unverified,
            "restored unchecked: the backup's SHA256SUMS does not list them",
        );
        if !is_whole {
            out.note("everything else was restored; `pawprint doctor` says what is affected");
        }
        Ok(if is_whole { ExitStatus::Success } else { ExitStatus::Failed })
    }
}
