//! Predictions without a server: `pawprint predict --model`.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use super::network::{LoadedModel, ModelLoadError};
use crate::{device::ComputeConfig, domain::prediction::Prediction, vision};

/// A larger file is not read.
const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;

/// An image's path and its prediction, or why it can't be read.
pub type FilePrediction = (PathBuf, Result<Prediction, String>);

/// Classifies each of `images` with the model in the file `model`, one at a time.
///
/// # Errors
/// The model can't be used. An unreadable image fails alone.
pub fn predict(model: &Path, images: &[PathBuf]) -> Result<Vec<FilePrediction>, ModelLoadError> {
    let model = LoadedModel::open(model, ComputeConfig::cpu())?;
    let predict_file = |path: &PathBuf| -> Result<Prediction, String> {
        let bytes = read(path).map_err(|error| error.to_string())?;
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

/// The bytes of a file, which may be a pipe or a device without end.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is larger than 256 MiB"));
    }
    Ok(bytes)
}
