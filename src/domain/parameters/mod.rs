//! The training parameters, each declared once: its field, kind, default, range and description.
//!
//! From the [`table`] follow what a job may ask for, `GET /recipes` and the dashboard's form, the
//! flags of `pawprint train` and their help, and the API's description.

pub mod overrides;
pub mod parameter;
mod schema;
pub mod table;

pub use self::{
    overrides::{InvalidParam, ParamOverrides},
    parameter::{Kind, Parameter},
    table::{PARAMETERS, Params},
};
