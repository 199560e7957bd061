//! Predictions without a server: `pawprint predict --model`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::network::{LoadedModel, ModelLoadError};
use crate::{device::ComputeConfig, domain::prediction::Prediction, vision};

/// An image's path and its prediction, or why it can't be read.
pub type FilePrediction = (PathBuf, Result<Prediction, String>);

/// Classifies each of `images` with the model in the file `model`, one at a time.
///
/// # Errors
/// The model can't be used. An unreadable image fails alone.
pub fn predict(model: &Path, images: &[PathBuf]) -> Result<Vec<FilePrediction>, ModelLoadError> {
    let model = LoadedModel::open(model, ComputeConfig::cpu())?;
    let predict_file = |path: &PathBuf| -> Result<Prediction, String> {
        let bytes = fs::read(path).map_err(|error| error.to_string())?;
        let pixels =
            vision::prepare(&bytes, &vision::Limits::default(), &model.card().preprocessing)
                .map_err(|error| error.to_string())?;
        let outputs = model.forward(&[pixels]).map_err(|error| error.to_string())?;
        let output = outputs.first().ok_or("the model returned no output")?;
        let card = model.card();
        Prediction::new(Some(path.display().to_string()), card, card.thresholds, output)
            .map_err(|error| error.to_string())
    };
    Ok(images.iter().map(|path| (path.clone(), predict_file(path))).collect())
}
