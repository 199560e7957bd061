//! `pawprint embed`: builds the built-in default model from a trained model.

use std::path::PathBuf;

use clap::Args;

use super::{ExitStatus, output::Output};
use crate::registry::embedded;

#[derive(Debug, Args)]
pub(super) struct Embed {
    /// Model file downloaded from `GET /models/{m}/download`
    model: PathBuf,
    /// Output file: assets/default.safetensors
    out: PathBuf,
}

impl Embed {
    pub(super) fn run(&self, out: Output) -> anyhow::Result<ExitStatus> {
        let card = embedded::make(&self.model, &self.out)?;
        let test =
            card.test.map_or_else(String::new, |test| format!(", test {:.4}", test.accuracy));
        out.line(format_args!(
            "{}: {} trained on {}, epoch {}, validation {:.4}{test}",
            self.out.display(),
            card.recipe,
            card.dataset,
            card.epoch,
            card.validation.accuracy
        ))?;
        Ok(ExitStatus::Success)
    }
}
