//! The built-in model: in service until a job has trained one, and kept under the name `default`.
//!
//! It is a model like the others, with a row and a file; only the ranking of models and the check
//! against its deletion treat it specially.

use std::path::Path;

use tch::{Device, Kind};

use crate::{
    architectures::Network,
    data_dir::DataDir,
    domain::{ModelId, Name, model::ModelCard},
    error_chain::chain,
    inference::network::ModelLoadError,
    model_file::{self, canary},
    storage::{self, Storage, models},
    weights,
};

/// The file, float16, built from a trained model with `pawprint embed`.
const MODEL: &[u8] = include_bytes!("../../assets/default.safetensors");

/// Maximum size of the file.
const MAX_BYTES: usize = 2_100_000;
const _: () = assert!(MODEL.len() <= MAX_BYTES, "the built-in model is too large");

/// Name of the model.
pub const NAME: &str = "default";

/// Why the built-in model can't be installed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its file can't be written, or is invalid.
    #[error(transparent)]
    File(#[from] weights::Error),
    /// The thread that writes it ended unexpectedly.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

/// Installs the built-in model in the data directory, in place of the one that another version of
/// the program installed. If that one was pinned, this one is pinned.
///
/// # Errors
/// For example a full disk.
pub async fn install(storage: &Storage, data_dir: &DataDir) -> Result<(), Error> {
    let card = model_file::card_in(Path::new("the built-in model"), MODEL)?;
    let path = data_dir.model(card.id);
    let write = move || match std::fs::read(&path) {
        // Compared as a whole: a damaged file is repaired.
        Ok(bytes) if bytes == MODEL => Ok(()),
        _ => model_file::write(&path, MODEL),
    };
    tokio::task::spawn_blocking(write).await.map_err(std::io::Error::other)??;
    let mut transaction = storage.write().await?;
    let older = models::find(&mut transaction, NAME, None).await?;
    let older = older.map(|model| model.id).filter(|&id| id != card.id);
    let pinned = models::pinned(&mut transaction).await?;
    if let Some(older) = older {
        models::delete(&mut transaction, older).await?;
    }
    models::insert(&mut transaction, &card, MODEL.len() as u64).await?;
    if pinned.is_some() && pinned == older {
        models::pin(&mut transaction, Some(card.id)).await?;
    }
    // The next round of housekeeping removes the older one's file.
    transaction.commit().await.map_err(storage::Error::from)?;
    Ok(())
}

/// Builds a built-in model from the model at `from`: float16, with its fixed name, a new id, and
/// recomputed canaries.
///
/// # Errors
/// A message: `from` can't be read, `to` can't be written, or it would be too large.
pub fn make(from: &Path, to: &Path) -> Result<ModelCard, ModelLoadError> {
    let unusable = |error: weights::Error| ModelLoadError(chain(&error));
    let (mut card, mut tensors) = model_file::load(from).map_err(unusable)?;
    for tensor in tensors.values_mut() {
        *tensor = tensor.to_kind(Kind::Half);
    }
    let weights = weights::tensors::share(&tensors);
    let network =
        Network::from_tensors(card.architecture, weights, Device::Cpu).map_err(ModelLoadError)?;
    card.canaries = canary::logits(&network, &card.preprocessing).map_err(ModelLoadError)?;
    // Another model than the one it is built from, which may be in the same data directory.
    card.id = ModelId::new();
    card.name = NAME.parse::<Name>().map_err(|error| ModelLoadError(error.to_string()))?;
    let bytes = tensors.values().map(|tensor| tensor.numel() * 2).sum::<usize>();
    if bytes > MAX_BYTES {
        return Err(ModelLoadError(format!(
            "its weights take {bytes} bytes; the limit is {MAX_BYTES}"
        )));
    }
    model_file::save(to, &card, &tensors).map_err(unusable)?;
    Ok(card)
}
