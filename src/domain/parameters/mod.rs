//! Training parameters, each declared once: field, kind, default, range and description.
//!
//! The [`table`] defines what a job can set, `GET /recipes` and the dashboard's form, the flags of
//! `pawprint train` and their help, and the schemas of the API.

pub mod overrides;
pub mod parameter;
mod schema;
pub mod table;

pub use self::{
    overrides::{InvalidParam, ParamOverrides},
    parameter::{Kind, Parameter},
    table::{PARAMETERS, Params},
};
