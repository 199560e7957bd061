//! The built-in model: in service until a job has trained one, and kept under the name `default`.
//!
//! It is a model like the others, with a row and a file; only the ranking of models and the check
//! against its deletion treat it specially.

use std::path::Path;

use tch::{Device, Kind, Tensor};

use super::changes::{save, target};
use crate::{
    architectures::Network,
    bases::BaseWeights,
    data_dir::DataDir,
    device::ComputeConfig,
    domain::{
        ModelId, Name,
        model::{Architecture, ModelCard},
        model_history::{Actor, Change, Event, Target},
        objective::Objective,
    },
    error_chain::chain,
    inference::{LoadedModel, network::ModelLoadError},
    model_file::{self, canary},
    neighbours::Neighbours,
    storage::{self, Storage, aliases, models},
    weights::{
        self,
        tensors::{self, Tensors},
    },
};

/// The file, float16, built from a trained model with `pawprint embed`: without the weights of a base
/// network that are embedded anyway.
const MODEL: &[u8] = include_bytes!("../../assets/default.safetensors");

/// Maximum size of the file.
const MAX_BYTES: usize = 2_100_000;
const _: () = assert!(MODEL.len() <= MAX_BYTES, "the built-in model is too large");

/// What errors call the file.
const PATH: &str = "the built-in model";

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
/// the program installed. If that one was pinned, this one is pinned; its aliases are this one's.
///
/// # Errors
/// For example a full disk.
pub async fn install(storage: &Storage, data_dir: &DataDir) -> Result<(), Error> {
    let models = data_dir.models();
    let write = move || {
        let (card, tensors) = model()?;
        let path = models.join(format!("{}.safetensors", card.id));
        let bytes = model_file::to_bytes(&path, &card, &tensors)?;
        // Compared as a whole: a damaged file is repaired.
        if std::fs::read(&path).is_ok_and(|existing| existing == bytes) {
            return Ok((card, bytes.len()));
        }
        model_file::write(&path, &bytes).map(|()| (card, bytes.len()))
    };
    let (card, bytes) =
        tokio::task::spawn_blocking(write).await.map_err(std::io::Error::other)??;
    let mut transaction = storage.write().await?;
    let older = models::find(&mut transaction, NAME, None).await?;
    let older = older.filter(|model| model.id != card.id);
    let pinned = models::pinned(&mut transaction).await?;
    if let Some(older) = &older {
        for alias in aliases::of_model(&mut transaction, older.id).await? {
            aliases::put(&mut transaction, &alias, card.id).await?;
            let from = Target { id: older.id, name: older.name.clone(), pinned: false };
            let change = Change {
                event: Event::AliasSet,
                alias: Some(alias),
                from: Some(from),
                to: Some(target(&card, false)),
                by: Actor::Server,
            };
            save(&mut transaction, &change).await?;
        }
        models::delete(&mut transaction, older.id).await?;
    }
    models::insert(&mut transaction, &card, bytes as u64).await?;
    if pinned.is_some() && pinned == older.map(|older| older.id) {
        models::pin(&mut transaction, Some(card.id)).await?;
    }
    // The next round of housekeeping removes the older one's file.
    transaction.commit().await.map_err(storage::Error::from)?;
    Ok(())
}

/// The built-in model: its card and all its weights.
///
/// # Errors
/// The binary was built with a damaged file.
pub fn model() -> Result<(ModelCard, Tensors), weights::Error> {
    let path = Path::new(PATH);
    let (card, own) = model_file::parse(path, MODEL)?;
    let invalid = |reason| weights::Error::Content { path: path.to_owned(), reason };
    let mut tensors = shipped(card.architecture).map_err(invalid)?;
    tensors.extend(own);
    Ok((card, tensors))
}

/// The weights of an architecture's base network that are embedded in the binary, if any.
fn shipped(architecture: Architecture) -> Result<Tensors, String> {
    let Architecture::Base(base) = architecture else { return Ok(Tensors::new()) };
    let Some(weights) = base.shipped() else { return Ok(Tensors::new()) };
    Ok(BaseWeights::shipped(base, weights)?.tensors)
}

/// Builds a built-in model from the model at `from`: float16, without the weights of a base network
/// that are embedded anyway, with its fixed name, a new id, and recomputed canaries.
///
/// # Errors
/// A message: `from` can't be read, `to` can't be written, or it would be too large.
pub fn make(from: &Path, to: &Path) -> Result<ModelCard, ModelLoadError> {
    if from.canonicalize().is_ok_and(|from| to.canonicalize().is_ok_and(|to| from == to)) {
        return Err(ModelLoadError("the output file is the input file".to_owned()));
    }
    // With all the checks of a model that is to serve.
    LoadedModel::open(from, ComputeConfig::cpu())?;
    let unusable = |error: weights::Error| ModelLoadError(chain(&error));
    let (mut card, mut tensors) = model_file::load(from).map_err(unusable)?;
    for tensor in tensors.values_mut().filter(|tensor| tensor.kind() != Kind::Int8) {
        *tensor = tensor.to_kind(Kind::Half);
    }
    let mut weights = tensors::share(&tensors);
    Neighbours::take_from(&mut weights, &card, Device::Cpu).map_err(ModelLoadError)?;
    let network = Network::from_tensors(
        card.architecture,
        Objective::of(&card.classes),
        weights,
        Device::Cpu,
    )
    .map_err(ModelLoadError)?;
    card.canaries = canary::logits(&network, &card.preprocessing).map_err(ModelLoadError)?;
    // Another model than the one it is built from, which may be in the same data directory.
    card.id = ModelId::new();
    card.name = NAME.parse::<Name>().map_err(|error| ModelLoadError(error.to_string()))?;
    let shipped = shipped(card.architecture).map_err(ModelLoadError)?;
    tensors.retain(|name, tensor| shipped.get(name) != Some(tensor));
    let size = |tensor: &Tensor| tensor.numel() * tensor.kind().elt_size_in_bytes();
    let bytes = tensors.values().map(size).sum::<usize>();
    if bytes > MAX_BYTES {
        return Err(ModelLoadError(format!(
            "its weights take {bytes} bytes; the limit is {MAX_BYTES}"
        )));
    }
    model_file::save(to, &card, &tensors).map_err(unusable)?;
    Ok(card)
}
