//! `pawprint doctor`: what is wrong in a data directory or a backup, and what was done about it.

use std::collections::HashMap;

use clap::Args;

use super::{
    Ending,
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
    pub(super) async fn run(&self, out: Output) -> anyhow::Result<Ending> {
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
        Ok(if report.is_healthy() { Ending::Success } else { Ending::Failed })
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
    findings.sort_by_key(|finding| finding.severity);
    let mut seen: HashMap<_, usize> = HashMap::new();
    for finding in findings {
        let seen = seen.entry(finding.code).or_default();
        *seen += 1;
        if *seen <= SHOWN {
            show(out, finding)?;
        }
    }
    for (code, count) in seen.into_iter().filter(|(_, count)| *count > SHOWN) {
        let code = serde_json::to_value(code)?;
        let more = count - SHOWN;
        out.line(format_args!("{more} more of the kind {code} (--json lists all)"))?;
    }
    conclude(out, report)
}

fn show(out: Output, finding: &Finding) -> anyhow::Result<()> {
    let severity = match finding.severity {
        _ if finding.repaired => "repaired",
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    out.line(format_args!("{severity:<8}  {}", finding.detail))?;
    if let Some(done) = &finding.done {
        out.line(format_args!("{:<8}  {done}", ""))?;
    }
    if !finding.repaired {
        out.line(format_args!("{:<8}  → {}", "", finding.advice))?;
    }
    Ok(())
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
