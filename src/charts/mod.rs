//! Charts as SVG: the same picture in the dashboard, in a saved report and by itself in a browser.
//!
//! Called by `http::charts`; pure functions of domain types. `plotters` draws; `canvas` adds what
//! it lacks: colours that follow the reader's light or dark scheme, and tooltips.

mod bars;
mod canvas;
mod curves;
mod evaluation;

pub use self::{
    bars::{classes, formats, histogram},
    curves::{accuracy, loss},
    evaluation::{confusion, pr, reliability, roc},
};

/// A chart that can't be drawn: a fault of this program's.
#[derive(Debug, thiserror::Error)]
#[error("a chart can't be drawn: {0}")]
pub struct Error(String);

type Result<T = String> = std::result::Result<T, Error>;
