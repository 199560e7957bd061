//! The model in the binary: it answers until a job has made one, and stays under the name
//! `default`.
//!
//! It is a model like the others, with a row and a file, so that whatever works on a model works
//! on it; only the order of the best and the refusal to delete it know of it.

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

/// The file, float16; `pawprint embed` made it out of a job's model.
const MODEL: &[u8] = include_bytes!("../../assets/default.safetensors");

/// What the file may take of the binary.
const MAX_BYTES: usize = 2_100_000;
const _: () = assert!(MODEL.len() <= MAX_BYTES, "the model in the binary is too large");

/// Name of the model.
pub const NAME: &str = "default";

/// Why the model in the binary can't be laid beside the others.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its file can't be written, or is none.
    #[error(transparent)]
    File(#[from] weights::Error),
    /// The thread that writes it ended early.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The database's own.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

/// Lays the model in the binary beside those of the data directory, in place of the one that
/// another version of the program laid there. A person who pinned that one has this one pinned.
///
/// # Errors
/// The disk is full, say.
pub async fn install(storage: &Storage, data_dir: &DataDir) -> Result<(), Error> {
    let card = model_file::card_in(Path::new("the model in the binary"), MODEL)?;
    let path = data_dir.model(card.id);
    let write = move || match std::fs::read(&path) {
        // Compared whole: a file that the disk has damaged is made good.
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
    // The older one's file goes with the next round of housekeeping.
    transaction.commit().await.map_err(storage::Error::from)?;
    Ok(())
}

/// Makes a model that can stand in the binary out of the one at `from`: float16, with its name
/// there and an id of its own, its canaries computed anew.
///
/// # Errors
/// A sentence: `from` can't be read, `to` can't be written, or it would be too large.
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
    // Another model than the one that it is made of, which may lie in the same data directory.
    card.id = ModelId::new();
    card.name = NAME.parse::<Name>().map_err(|error| ModelLoadError(error.to_string()))?;
    let bytes = tensors.values().map(|tensor| tensor.numel() * 2).sum::<usize>();
    if bytes > MAX_BYTES {
        return Err(ModelLoadError(format!(
            "its weights take {bytes} bytes, and {MAX_BYTES} may be"
        )));
    }
    model_file::save(to, &card, &tensors).map_err(unusable)?;
    Ok(card)
}
