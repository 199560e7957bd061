//! `pawprint doctor`: what is wrong in a data directory or a backup, and what was done about it.

use clap::Args;

use super::{
    ExitStatus,
    args::DataArgs,
    backup::summary,
    output::{Output, counted},
    progress,
};
use crate::maintenance::doctor::{self, Finding, Report, Severity};

/// Findings of a kind that are shown; the others are counted.
const SHOWN: usize = 20;

/// Options of `pawprint doctor`.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Repair what can be repaired without losing anything; no server may be running
    #[arg(long)]
    repair: bool,

    #[command(flatten)]
    pub(super) data: DataArgs,
}

impl Doctor {
    pub(super) async fn run(&self, out: Output) -> anyhow::Result<ExitStatus> {
        let bar = progress::files(out);
        let mut advance = |done, total| {
            bar.set_length(total);
            bar.set_position(done);
        };
        let checked = doctor::run(&self.data.data_dir, self.repair, &mut advance).await;
        bar.finish_and_clear();
        let report = checked?;
        if out.is_json() {
            out.document(&report)?;
        } else {
            tell(out, &report)?;
        }
        Ok(if report.is_healthy() { ExitStatus::Success } else { ExitStatus::Failed })
    }
}

fn tell(out: Output, report: &Report) -> anyhow::Result<()> {
    let kind = match (report.is_backup, report.server_runs) {
        (true, _) => " (a backup)",
        (false, true) => " (in use by a server)",
        (false, false) => "",
    };
    let totals = report.totals.as_ref().map_or_else(String::new, |it| format!(": {}", summary(it)));
    out.line(format_args!("{}{kind}{totals}", report.data_dir.display()))?;
    let mut findings: Vec<&Finding> = report.findings.iter().collect();
    // Those of a kind together, in the order of the checks.
    findings.sort_by_key(|finding| (finding.severity, finding.code as u8));
    for kind in findings.chunk_by(|a, b| a.code == b.code && a.advice == b.advice) {
        show(out, kind)?;
    }
    conclude(out, report)
}

/// Shows findings of one kind, and once what to do about them.
fn show(out: Output, kind: &[&Finding]) -> anyhow::Result<()> {
    for finding in kind.iter().take(SHOWN) {
        let severity = match finding.severity {
            Severity::Note => "note",
            _ if finding.repaired => "repaired",
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        out.line(format_args!("{severity:<8}  {}", finding.detail))?;
        if let Some(done) = &finding.done {
            out.line(format_args!("{:<8}  {done}", ""))?;
        }
    }
    if kind.len() > SHOWN {
        out.line(format_args!("{:<8}  and {} more (--json lists all)", "", kind.len() - SHOWN))?;
    }
    match kind.iter().find(|finding| !finding.repaired) {
        Some(left) => out.line(format_args!("{:<8}  → {}", "", left.advice)),
        None => Ok(()),
    }
}

fn conclude(out: Output, report: &Report) -> anyhow::Result<()> {
    let count = |severity, thing| counted(report.count(severity) as u64, thing);
    if report.is_healthy() {
        return out.line("no problems found");
    }
    out.line(format_args!(
        "{} and {}",
        count(Severity::Error, "error"),
        count(Severity::Warning, "warning")
    ))?;
    let repairable = |it: &&Finding| it.repairable && !it.repaired && it.severity != Severity::Note;
    let repairable = report.findings.iter().filter(repairable).count();
    if repairable > 0 {
        let stop = if report.server_runs { "stop the server, then " } else { "" };
        out.line(format_args!("{stop}`pawprint doctor --repair` repairs {repairable} of them"))?;
    }
    Ok(())
}
