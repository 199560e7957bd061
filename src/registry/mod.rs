//! Which model is in service: the best, or the pinned one.
//!
//! Called by `http::models` and `http::predict`, and by the scheduler when a job has created a
//! model: then `admission` decides whether that is the best now. Owns the engines; a swap is one pointer, so a request finishes on the model it began
//! with.

pub mod admission;
mod aliases;
mod changes;
pub mod embedded;
pub mod import;
mod rollback;
mod selection;

use std::{
    collections::VecDeque,
    sync::{Arc, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use serde::Serialize;
use tokio::sync::{Mutex, OnceCell, Semaphore, watch};
use utoipa::ToSchema;

use crate::{
    config::ServeConfig,
    data_dir::DataDir,
    device::processors,
    domain::{
        ModelId, Name, Timestamp, excerpt::Excerpt, model::Model, promotion::Promotion,
        selective::AnswerThresholds,
    },
    inference::{Engine, engine::Settings, network::ModelLoadError, tuning::TuningCache},
    storage::{self, Storage, aliases as alias_rows, models},
};

/// Maximum models kept loaded beside the one in service, for requests that name one.
const MAX_CACHED: usize = 2;

/// Errors of the registry.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No model has that name or id.
    #[error("there is no model `{}`", Excerpt(.0))]
    NoSuchModel(String),
    /// No model is in service.
    #[error("no model is in service; train one first")]
    NoModel,
    /// The model can't be used.
    #[error(transparent)]
    Unusable(#[from] ModelLoadError),
    /// The model is in service.
    #[error("`{0}` is in service; put another model in service before deleting it")]
    InService(String),
    /// Aliases point to the model.
    #[error(
        "the alias `{1}` points to `{0}`; set it to another model or remove it before deleting this one"
    )]
    HasAlias(Name, Name),
    /// No alias has that name.
    #[error("there is no alias `{0}`")]
    NoSuchAlias(Name),
    /// An alias can't have that name.
    #[error("an alias can't be called `{0}`: a model, a job or a path of the API has that name")]
    NotAnAlias(Name),
    /// There is nothing to go back to.
    #[error("{0}")]
    NoPrevious(String),
    /// The model is the built-in one.
    #[error("`{}` is the built-in model and can't be deleted", embedded::NAME)]
    Embedded,
    /// A model with the id of an imported one is another one.
    #[error("`{0}` has the same id, but it is not the same model")]
    OtherModel(String),
    /// A model file can't be written.
    #[error("can't write the model file")]
    Disk(#[source] std::io::Error),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

/// Selection mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ServiceMode)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The best model: a new one replaces it if the promotion rule allows it.
    Best,
    /// A pinned model; if that can't be loaded, the best one.
    Pinned,
}

/// Models by id, each with a slot from when it begins to be loaded.
type EngineCache = VecDeque<(ModelId, Arc<OnceCell<Arc<Engine>>>)>;

/// The engine in service.
#[derive(Debug)]
struct Serving {
    engine: Arc<Engine>,
    since: Timestamp,
}

/// The model in service.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CurrentModel)]
pub struct Current {
    /// The model.
    #[serde(flatten)]
    pub model: Model,
    /// Selection mode.
    pub mode: Mode,
    /// Name of the pinned model; null in the mode `best`. If it is not this model, it could not be loaded when the
    /// server started.
    pub pinned_model: Option<Name>,
    /// In service since; reset at server start.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}

/// A handle on the registry.
#[derive(Debug, Clone)]
pub struct Registry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    data_dir: Arc<DataDir>,
    storage: Storage,
    settings: Settings,
    current: RwLock<Option<Serving>>,
    /// Models that requests named, newest last; the first request for a model loads it while its
    /// other requests wait.
    cached: std::sync::Mutex<EngineCache>,
    /// A permit for each model that may be loaded at the same time.
    load_permits: Semaphore,
    /// A permit for the imported model that is checked: its file may take gigabytes of memory.
    import_permit: Semaphore,
    /// Held while the model in service is selected or an alias is changed.
    selection_lock: Mutex<()>,
    /// When a new model replaces the one in service.
    promotion: Promotion,
    /// The number of the last change.
    changes: watch::Sender<i64>,
}

impl Registry {
    /// A registry over the models of this data directory; none is loaded yet. Decoding of images takes a
    /// permit of `decoders`.
    #[must_use]
    pub fn new(
        config: &ServeConfig,
        data_dir: Arc<DataDir>,
        storage: Storage,
        decoders: Arc<Semaphore>,
    ) -> Self {
        Self(Arc::new(Inner {
            data_dir,
            storage,
            settings: Settings {
                tuning_cache: TuningCache::new(config.inference.overrides()),
                capacity: config.queue_capacity(),
                deadline: Duration::from_secs(config.predict_seconds.get().into()),
                decoders,
            },
            current: RwLock::default(),
            cached: std::sync::Mutex::default(),
            load_permits: Semaphore::new(processors().get().max(2)),
            import_permit: Semaphore::new(1),
            selection_lock: Mutex::default(),
            promotion: config.promotion.promotion(),
            changes: watch::channel(0).0,
        }))
    }

    /// The model of that name, alias or id.
    ///
    /// # Errors
    /// There is none.
    pub async fn find(&self, reference: &str) -> Result<Model, Error> {
        let mut connection = self.0.storage.read().await?;
        let model = models::find(&mut connection, reference, self.in_service()).await?;
        model.ok_or_else(|| Error::NoSuchModel(reference.to_owned()))
    }

    /// The model in service.
    ///
    /// # Errors
    /// None is.
    pub async fn current(&self) -> Result<Current, Error> {
        let (id, since) = {
            let serving = self.0.current.read().unwrap_or_else(PoisonError::into_inner);
            let serving = serving.as_ref().ok_or(Error::NoModel)?;
            (serving.engine.card().id, serving.since)
        };
        let pinned_model = self.pinned().await?.map(|pinned| pinned.name);
        let mode = if pinned_model.is_some() { Mode::Pinned } else { Mode::Best };
        Ok(Current { model: self.find(&id.to_string()).await?, mode, pinned_model, since })
    }

    /// The id of the model in service.
    #[must_use]
    pub fn in_service(&self) -> Option<ModelId> {
        self.engine_in_service().map(|engine| engine.card().id)
    }

    /// Deletes a model and its file.
    ///
    /// # Errors
    /// Unknown model, the one in service, one with an alias, or the built-in one.
    pub async fn delete(&self, reference: &str) -> Result<(), Error> {
        let _guard = self.0.selection_lock.lock().await;
        let model = self.find(reference).await?;
        if model.in_service {
            return Err(Error::InService(model.name.to_string()));
        }
        if &*model.name == embedded::NAME {
            return Err(Error::Embedded);
        }
        let mut transaction = self.0.storage.write().await?;
        if let Some(alias) =
            alias_rows::of_model(&mut transaction, model.id).await?.into_iter().next()
        {
            return Err(Error::HasAlias(model.name, alias));
        }
        models::delete(&mut transaction, model.id).await?;
        transaction.commit().await.map_err(storage::Error::from)?;
        self.cached().retain(|(id, _)| *id != model.id);
        if let Err(error) = tokio::fs::remove_file(self.0.data_dir.model(model.id)).await {
            tracing::warn!(model.id = %model.id, %error, "can't remove a model's file");
        }
        Ok(())
    }

    /// The engine of the model of that name, alias or id, loaded if needed; of the one in service if
    /// none is named.
    ///
    /// # Errors
    /// Unknown model, none in service, or one that can't be used.
    pub async fn engine(&self, reference: Option<&str>) -> Result<Arc<Engine>, Error> {
        let Some(reference) = reference.filter(|&reference| reference != "current") else {
            return self.engine_in_service().ok_or(Error::NoModel);
        };
        let model = self.find(reference).await?;
        if let Some(engine) = self.engine_in_service().filter(|engine| engine.card().id == model.id)
        {
            return Ok(engine);
        }
        let slot = self.cache_slot(model.id);
        let load = async {
            let _permit = self.0.load_permits.acquire().await;
            self.load(model.id).await
        };
        slot.get_or_try_init(|| load).await.cloned()
    }

    /// The slot of a model among those that requests named.
    fn cache_slot(&self, id: ModelId) -> Arc<OnceCell<Arc<Engine>>> {
        let mut cached = self.cached();
        if let Some((_, slot)) = cached.iter().find(|(known, _)| *known == id) {
            return Arc::clone(slot);
        }
        let slot = Arc::new(OnceCell::new());
        cached.push_back((id, Arc::clone(&slot)));
        if cached.len() > MAX_CACHED {
            cached.pop_front();
        }
        slot
    }

    fn cached(&self) -> MutexGuard<'_, EngineCache> {
        self.0.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The engine of a model: that of the one in service if it is that one.
    async fn load_unless_served(&self, id: ModelId) -> Result<Arc<Engine>, Error> {
        match self.engine_in_service().filter(|engine| engine.card().id == id) {
            Some(engine) => Ok(engine),
            None => self.load(id).await,
        }
    }

    fn serve(&self, engine: Arc<Engine>) {
        let card = engine.card();
        if self.in_service() == Some(card.id) {
            return;
        }
        tracing::info!(model.id = %card.id, model.name = %card.name, "model in service");
        let serving = Serving { engine, since: Timestamp::now() };
        *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = Some(serving);
    }

    async fn load(&self, id: ModelId) -> Result<Arc<Engine>, Error> {
        let path = self.0.data_dir.model(id);
        let engine = Engine::start(path, self.0.settings.clone()).await?;
        let card = engine.card();
        if card.id != id {
            let reason = format!("the file contains another model, `{}`", card.name);
            return Err(ModelLoadError(reason).into());
        }
        // A new model has no row yet.
        let mut connection = self.0.storage.read().await?;
        if let Some(model) = models::find(&mut connection, &id.to_string(), None).await? {
            engine.set_thresholds(model.thresholds);
        }
        Ok(Arc::new(engine))
    }

    /// Changes when a model is unsure, for the requests from now on.
    ///
    /// # Errors
    /// Unknown model, or the database failed; then nothing changes.
    pub async fn change_thresholds(
        &self,
        id: ModelId,
        change: impl FnOnce(&mut AnswerThresholds) + Send,
    ) -> Result<(), Error> {
        let _guard = self.0.selection_lock.lock().await;
        let mut transaction = self.0.storage.write().await?;
        let model = models::find(&mut transaction, &id.to_string(), None).await?;
        let mut thresholds = model.ok_or_else(|| Error::NoSuchModel(id.to_string()))?.thresholds;
        change(&mut thresholds);
        models::set_thresholds(&mut transaction, id, thresholds).await?;
        transaction.commit().await.map_err(storage::Error::from)?;
        let slots: Vec<_> = self.cached().iter().map(|(_, slot)| Arc::clone(slot)).collect();
        let loaded = slots.iter().filter_map(|slot| slot.get().cloned());
        for engine in loaded.chain(self.engine_in_service()) {
            if engine.card().id == id {
                engine.set_thresholds(thresholds);
            }
        }
        Ok(())
    }

    /// The engine of the model in service.
    #[must_use]
    pub fn engine_in_service(&self) -> Option<Arc<Engine>> {
        let serving = self.0.current.read().unwrap_or_else(PoisonError::into_inner);
        serving.as_ref().map(|serving| Arc::clone(&serving.engine))
    }
}
