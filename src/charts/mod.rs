//! Charts as SVG, for export from the dashboard, for reports, and for direct use in a browser.
//!
//! Called by `http::charts`; pure functions of domain types. `plotters` draws; `canvas` adds
//! colours that follow the light or dark scheme, and tooltips.

mod bars;
mod canvas;
mod confusion;
mod curves;
mod evaluation;

pub use self::{
    bars::{classes, formats, histogram},
    confusion::confusion,
    curves::{accuracy, loss},
    evaluation::{pr, reliability, roc},
};

/// A chart that can't be drawn, which is a bug.
#[derive(Debug, thiserror::Error)]
#[error("a chart can't be drawn: {0}")]
pub struct Error(String);

type Result<T = String> = std::result::Result<T, Error>;
