//! A model: one safetensors file whose header contains its card, and in it what the model said of
//! the [`canary`] images.
//!
//! Written by the trainer; read by the server, by `predict --model`, and by trainers that take a
//! head.

pub mod canary;

use std::{collections::HashMap, path::Path};

use crate::{
    domain::{model::ModelCard, selective::AnswerThresholds},
    weights::{
        Error, files,
        tensors::{self, Tensors},
    },
};

/// The format of card that this program writes and reads.
pub const FORMAT: u32 = 1;
const METADATA_KEY: &str = "model_card";

/// Writes a model to `path` atomically.
///
/// # Errors
/// The file system failed.
pub fn save(path: &Path, card: &ModelCard, weights: &Tensors) -> Result<(), Error> {
    tensors::save(path, metadata(path, card)?, weights)
}

/// The bytes of the file that [`save`] writes; errors name it as `path`.
///
/// # Errors
/// The card can't be written as JSON.
pub fn to_bytes(path: &Path, card: &ModelCard, weights: &Tensors) -> Result<Vec<u8>, Error> {
    tensors::to_bytes(path, metadata(path, card)?, weights)
}

fn metadata(path: &Path, card: &ModelCard) -> Result<HashMap<String, String>, Error> {
    let text = serde_json::to_string(card)
        .map_err(|error| Error::Content { path: path.to_owned(), reason: error.to_string() })?;
    Ok(HashMap::from([(METADATA_KEY.to_owned(), text)]))
}

/// Writes the `bytes` of a model to `path` atomically.
///
/// # Errors
/// The file system failed.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    files::write(path, bytes).map_err(|source| Error::Io { path: path.to_owned(), source })
}

/// Reads the card and the weights of the model at `path`.
///
/// # Errors
/// It is missing, truncated, not a model of Pawprint, or has a newer format.
pub fn load(path: &Path) -> Result<(ModelCard, Tensors), Error> {
    let (metadata, weights) = tensors::load(path)?;
    Ok((card(path, &metadata)?, weights))
}

/// Reads the card alone.
///
/// # Errors
/// As [`load`], except for the weights.
pub fn load_card(path: &Path) -> Result<ModelCard, Error> {
    card(path, &tensors::load_metadata(path)?)
}

/// Reads the card and the weights of the model whose bytes these are; errors name it as `path`.
///
/// # Errors
/// As [`load`].
pub fn parse(path: &Path, bytes: &[u8]) -> Result<(ModelCard, Tensors), Error> {
    let (metadata, weights) = tensors::parse(path, bytes)?;
    Ok((card(path, &metadata)?, weights))
}

/// The beginning of the file at `path` with these thresholds in its card, and where the weights begin
/// that follow it; `None` if the file has them.
///
/// # Errors
/// As [`load_card`].
pub fn head_with_thresholds(
    path: &Path,
    thresholds: AnswerThresholds,
) -> Result<Option<(Vec<u8>, u64)>, Error> {
    head_with_card(path, &ModelCard { thresholds, ..load_card(path)? })
}

/// As [`head_with_thresholds`], with this card.
///
/// # Errors
/// As [`load_card`].
pub fn head_with_card(path: &Path, card: &ModelCard) -> Result<Option<(Vec<u8>, u64)>, Error> {
    if load_card(path)? == *card {
        return Ok(None);
    }
    tensors::head_with_metadata(path, &metadata(path, card)?).map(Some)
}

fn card(path: &Path, metadata: &HashMap<String, String>) -> Result<ModelCard, Error> {
    let content = |reason| Error::Content { path: path.to_owned(), reason };
    let text = metadata.get(METADATA_KEY).ok_or_else(|| {
        content("its header has no model card; it was not created by Pawprint".to_owned())
    })?;
    let value: serde_json::Value = serde_json::from_str(text)
        .map_err(|error| content(format!("invalid model card: {error}")))?;
    // Checked first: the card of a newer format may not parse as ours.
    if let Some(format) = value["format"].as_u64().filter(|&format| format > u64::from(FORMAT)) {
        return Err(content(format!(
            "model card format {format} is newer than the supported {FORMAT}"
        )));
    }
    serde_json::from_value(value).map_err(|error| content(format!("invalid model card: {error}")))
}
