//! Progress of a command: a bar if standard error is a terminal, otherwise a line now and then.

use std::{
    io::{IsTerminal as _, stderr, stdout},
    sync::Mutex,
    time::{Duration, Instant},
};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use super::output::Output;

/// Interval between two lines without a terminal.
const PAUSE: Duration = Duration::from_secs(10);

const TRANSFER: &str =
    "{bar:30} {binary_bytes}/{binary_total_bytes}, {binary_bytes_per_sec}, {eta} remaining {msg}";
const IMAGES: &str = "{bar:30} {pos}/{len} images, {eta} remaining";
const FILES: &str = "{bar:30} {pos}/{len} files, {eta} remaining";
const JOB: &str = "{bar:30} {msg}";

/// A bar that is drawn only on a terminal.
fn bar(out: Output, total: u64, template: &str) -> ProgressBar {
    if out.is_json() || !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸ ");
    ProgressBar::new(total).with_style(style)
}

/// The bar of a job.
pub(super) fn job(out: Output) -> ProgressBar {
    bar(out, 0, JOB)
}

/// The bar of files that are copied or checked.
pub(super) fn files(out: Output) -> ProgressBar {
    bar(out, 0, FILES)
}

/// The bar of classified images; none if the predictions themselves are printed on the terminal.
pub(super) fn images(out: Output, total: u64) -> ProgressBar {
    if stdout().is_terminal() { ProgressBar::hidden() } else { bar(out, total, IMAGES) }
}

/// Bytes on their way to the server.
pub(super) struct Transfer {
    bar: ProgressBar,
    out: Output,
    total: u64,
    lines: Mutex<Lines>,
}

struct Lines {
    sent: u64,
    last: Instant,
}

impl Transfer {
    pub(super) fn new(out: Output, total: u64) -> Self {
        let lines = Mutex::new(Lines { sent: 0, last: Instant::now() });
        Self { bar: bar(out, total, TRANSFER), out, total, lines }
    }

    /// Counts bytes that were sent.
    pub(super) fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
        let Ok(mut lines) = self.lines.lock() else { return };
        lines.sent += bytes;
        if self.bar.is_hidden() && lines.last.elapsed() >= PAUSE {
            lines.last = Instant::now();
            let (sent, total) = (HumanBytes(lines.sent), HumanBytes(self.total));
            self.out.note(format_args!("sent {sent} of {total}"));
        }
    }

    /// Everything was sent; the server is still processing it.
    pub(super) fn sent(&self) {
        self.bar.set_message("(processing on the server)");
    }

    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
