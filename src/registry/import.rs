//! Models of other servers: a model file that was uploaded becomes a model of this one.
//!
//! It is checked as each model that is loaded: its header, its card, its weights, and what it says of the canary
//! images. It is never put into service by itself, since nothing here has been measured about it.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
    thread,
};

use sha2::{Digest as _, Sha256};
use tempfile::{NamedTempFile, TempPath};
use tokio::sync::oneshot;

use super::{Error, Registry};
use crate::{
    device::ComputeConfig,
    domain::{
        Name,
        dataset::Digest,
        model::{Model, ModelCard},
        selective::AnswerThresholds,
    },
    error_chain::chain,
    inference::network::{LoadedModel, ModelLoadError},
    model_file,
    storage::{self, models},
};

/// Bytes that are read at a time.
const CHUNK: usize = 1 << 20;
/// Names that are tried for a model whose own is taken: `name-2` to this number.
const MAX_NUMBER: u32 = 100;

/// An imported model.
#[derive(Debug)]
pub struct Imported {
    /// The model.
    pub model: Model,
    /// Whether it was there already; nothing has changed then.
    pub existed: bool,
}

/// A model file that has passed all checks.
struct Checked {
    card: ModelCard,
    /// Hash of its weights.
    weights: Digest,
}

impl Registry {
    /// Adds the model in `file`, which another server has trained, under `name`; without it under its own, or
    /// with a number after that if it is taken. The file is removed if it can't be used.
    ///
    /// # Errors
    /// It is not a model of Pawprint, it does not say the same of the canary images as where it was trained,
    /// its id is that of another model here, or `name` is taken.
    pub async fn import(&self, file: TempPath, name: Option<Name>) -> Result<Imported, Error> {
        let permit = self.0.import_permit.acquire().await;
        let (file, checked) = on_thread(move || {
            let checked = check(&file)?;
            Ok((file, checked))
        })
        .await?;
        drop(permit);
        let _guard = self.0.selection_lock.lock().await;
        if let Some(model) = self.known(&checked).await? {
            return Ok(Imported { model, existed: true });
        }
        let Checked { card, .. } = checked;
        let name = self.free_name(&card.name, name).await?;
        let card = ModelCard { name, ..card };
        let (id, target) = (card.id, self.0.data_dir.model(card.id));
        let written = card.clone();
        let placed = tokio::task::spawn_blocking(move || place(file, &written, &target));
        let bytes = placed.await.map_err(io::Error::other).and_then(|placed| placed);
        let bytes = bytes.map_err(Error::Disk)?;
        let insert = async {
            let mut transaction = self.0.storage.write().await?;
            if models::name_is_taken(&mut transaction, &card.name).await? {
                return Err(storage::Error::NameTaken(card.name.to_string()));
            }
            models::insert(&mut transaction, &card, bytes).await?;
            models::disown(&mut transaction, id).await?;
            models::decide(&mut transaction, id, false).await?;
            Ok(transaction.commit().await?)
        };
        if let Err(error) = insert.await {
            if let Err(error) = fs::remove_file(self.0.data_dir.model(id)) {
                tracing::warn!(model.id = %id, %error, "can't remove a model's file");
            }
            return Err(error.into());
        }
        tracing::info!(model.id = %id, model.name = %card.name, "imported a model");
        Ok(Imported { model: self.find(&id.to_string()).await?, existed: false })
    }

    /// The same model, if it is here already.
    async fn known(&self, Checked { card, weights }: &Checked) -> Result<Option<Model>, Error> {
        let model = match self.find(&card.id.to_string()).await {
            Err(Error::NoSuchModel(_)) => return Ok(None),
            found => found?,
        };
        let path = self.0.data_dir.model(model.id);
        let known = on_thread(move || {
            let damaged = |error: String| {
                ModelLoadError(format!("the file that the server has of it is damaged: {error}"))
            };
            let card = model_file::load_card(&path).map_err(|error| damaged(chain(&error)))?;
            let weights = hash_weights(&path).map_err(|error| damaged(error.to_string()))?;
            Ok(Checked { card, weights })
        });
        let known = known.await?;
        // Names and thresholds are what each server makes of them.
        let neutral = |card: &ModelCard| ModelCard {
            name: model.name.clone(),
            thresholds: AnswerThresholds::default(),
            ..card.clone()
        };
        if neutral(&known.card) == neutral(card) && known.weights == *weights {
            Ok(Some(model))
        } else {
            Err(Error::OtherModel(model.name.to_string()))
        }
    }

    /// `wanted`, if it is free; otherwise `own`, or the first free name that is made of it.
    async fn free_name(&self, own: &Name, wanted: Option<Name>) -> Result<Name, Error> {
        let mut connection = self.0.storage.read().await?;
        if let Some(name) = wanted {
            let taken = name.is_route() || models::name_is_taken(&mut connection, &name).await?;
            let error = || storage::Error::NameTaken(name.to_string()).into();
            return if taken { Err(error()) } else { Ok(name) };
        }
        let numbered = (2..=MAX_NUMBER).filter_map(|number| format!("{own}-{number}").parse().ok());
        for name in std::iter::once(own.clone()).chain(numbered) {
            if !name.is_route() && !models::name_is_taken(&mut connection, &name).await? {
                return Ok(name);
            }
        }
        Err(storage::Error::NameTaken(own.to_string()).into())
    }
}

/// Computes with libtorch, on a thread that ends with it.
async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ModelLoadError> + Send + 'static,
) -> Result<T, Error> {
    let (sender, receiver) = oneshot::channel();
    let run = move || {
        let _ = sender.send(work());
    };
    let started = thread::Builder::new().name("import".to_owned()).spawn(run);
    started.map_err(Error::Disk)?;
    let done = receiver.await;
    done.map_err(|_| ModelLoadError("it brought the check down".to_owned()))?.map_err(Error::from)
}

fn unusable(error: crate::weights::Error) -> ModelLoadError {
    // The path is that of a temporary file.
    ModelLoadError(match &error {
        crate::weights::Error::Content { reason, .. } => reason.clone(),
        crate::weights::Error::Format { source, .. } => {
            format!("it is not a whole safetensors file ({source})")
        }
        other => chain(other),
    })
}

fn check(path: &Path) -> Result<Checked, ModelLoadError> {
    let card = model_file::load_card(path).map_err(unusable)?;
    LoadedModel::open(path, ComputeConfig::cpu())?;
    let weights = hash_weights(path).map_err(|error| ModelLoadError(error.to_string()))?;
    Ok(Checked { card, weights })
}

/// The hash of what follows the header of a model file.
fn hash_weights(path: &Path) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    file.seek(SeekFrom::Current(i64::try_from(u64::from_le_bytes(length)).unwrap_or(i64::MAX)))?;
    let (mut hash, mut chunk) = (Sha256::new(), vec![0; CHUNK]);
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(Digest(hash.finalize().into())),
            read => hash.update(&chunk[..read]),
        }
    }
}

/// Moves a model file with this card to its place, whole and synced; returns its size.
fn place(file: TempPath, card: &ModelCard, target: &Path) -> io::Result<u64> {
    let other = |error: crate::weights::Error| io::Error::other(chain(&error));
    let file = match model_file::head_with_card(&file, card).map_err(other)? {
        None => file,
        Some((head, weights)) => {
            let folder = file.parent().unwrap_or(Path::new("."));
            let mut renamed = NamedTempFile::new_in(folder)?;
            let mut source = File::open(&file)?;
            source.seek(SeekFrom::Start(weights))?;
            renamed.write_all(&head)?;
            io::copy(&mut source, &mut renamed)?;
            renamed.into_temp_path()
        }
    };
    let opened = File::open(&file)?;
    opened.sync_all()?;
    let bytes = opened.metadata()?.len();
    file.persist(target).map_err(|error| error.error)?;
    target.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())?;
    Ok(bytes)
}
