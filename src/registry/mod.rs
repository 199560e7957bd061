//! Which model is in service: the best, or the pinned one.
//!
//! Called by `http::models` and `http::predict`, and by the scheduler when a job has created a
//! model: then `admission` decides whether that is the best now. Owns the engines; a swap is one pointer, so a request finishes on the model it began
//! with.

pub mod admission;
pub mod embedded;
pub mod import;

use std::{
    collections::VecDeque,
    sync::{Arc, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use serde::Serialize;
use tokio::sync::{Mutex, OnceCell, Semaphore};
use utoipa::ToSchema;

use crate::{
    config::ServeConfig,
    data_dir::DataDir,
    device::processors,
    domain::{ModelId, Timestamp, excerpt::Excerpt, model::Model, selective::AnswerThresholds},
    inference::{Engine, engine::Settings, network::ModelLoadError, tuning::TuningCache},
    storage::{self, Storage, models, webhooks},
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
    /// The best model: each new one replaces it unless it is less accurate or can't be told from
    /// guessing.
    Best,
    /// A pinned model.
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
    /// Held while the model in service is selected.
    selection_lock: Mutex<()>,
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
                tuning_cache: TuningCache::new(config.tuning_overrides()),
                capacity: config.queue_capacity(),
                deadline: Duration::from_secs(config.predict_seconds.get().into()),
                decoders,
            },
            current: RwLock::default(),
            cached: std::sync::Mutex::default(),
            load_permits: Semaphore::new(processors().get().max(2)),
            selection_lock: Mutex::default(),
        }))
    }

    /// Puts the pinned model in service, or the best that can be used. If none can, the current one
    /// stays.
    ///
    /// # Errors
    /// The pinned model can't be used, or the database failed.
    pub async fn refresh(&self) -> Result<(), Error> {
        let _guard = self.0.selection_lock.lock().await;
        let (pinned, best_first) = {
            let mut connection = self.0.storage.read().await?;
            (
                models::pinned(&mut connection).await?,
                models::best_first(&mut connection, embedded::NAME).await?,
            )
        };
        if let Some(id) = pinned {
            match self.put_in_service(id).await {
                // Another model is better than none.
                Err(Error::Unusable(error)) if self.in_service().is_none() => {
                    tracing::error!(model.id = %id, %error, "can't load the pinned model; using the best model");
                }
                other => return other,
            }
        }
        for id in best_first {
            match self.put_in_service(id).await {
                Err(Error::Unusable(error)) => {
                    tracing::warn!(model.id = %id, %error, "skipping a model that can't be loaded");
                }
                other => return other,
            }
        }
        Ok(())
    }

    /// Pins a model.
    ///
    /// # Errors
    /// Unknown model, or one that can't be used; then nothing changes.
    pub async fn pin(&self, reference: &str) -> Result<Model, Error> {
        let _guard = self.0.selection_lock.lock().await;
        let model = self.find(reference).await?;
        let previous = self.in_service();
        self.put_in_service(model.id).await?;
        let mut transaction = self.0.storage.write().await?;
        models::pin(&mut transaction, Some(model.id)).await?;
        webhooks::model_in_service(&mut transaction, previous, model.id).await?;
        transaction.commit().await.map_err(storage::Error::from)?;
        self.find(reference).await
    }

    /// Selects the best model automatically again.
    ///
    /// # Errors
    /// The database failed.
    pub async fn follow_best(&self) -> Result<(), Error> {
        let previous = self.in_service();
        let mut transaction = self.0.storage.write().await?;
        models::pin(&mut transaction, None).await?;
        transaction.commit().await.map_err(storage::Error::from)?;
        self.refresh().await?;
        if let Some(now) = self.in_service().filter(|now| previous != Some(*now)) {
            let mut transaction = self.0.storage.write().await?;
            webhooks::model_in_service(&mut transaction, previous, now).await?;
            transaction.commit().await.map_err(storage::Error::from)?;
        }
        Ok(())
    }

    /// The model of that name or id.
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
        let mut connection = self.0.storage.read().await?;
        let pinned = models::pinned(&mut connection).await?.is_some();
        drop(connection);
        let mode = if pinned { Mode::Pinned } else { Mode::Best };
        Ok(Current { model: self.find(&id.to_string()).await?, mode, since })
    }

    /// The id of the model in service.
    #[must_use]
    pub fn in_service(&self) -> Option<ModelId> {
        self.engine_in_service().map(|engine| engine.card().id)
    }

    /// Deletes a model and its file.
    ///
    /// # Errors
    /// Unknown model, the one in service, or the built-in one.
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
        models::delete(&mut transaction, model.id).await?;
        transaction.commit().await.map_err(storage::Error::from)?;
        self.cached().retain(|(id, _)| *id != model.id);
        if let Err(error) = tokio::fs::remove_file(self.0.data_dir.model(model.id)).await {
            tracing::warn!(model.id = %model.id, %error, "can't remove a model's file");
        }
        Ok(())
    }

    /// The engine of the model of that name or id, loaded if needed; of the one in service if none
    /// is named.
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

    async fn put_in_service(&self, id: ModelId) -> Result<(), Error> {
        if self.in_service() == Some(id) {
            return Ok(());
        }
        let engine = self.load(id).await?;
        self.serve(engine);
        Ok(())
    }

    fn serve(&self, engine: Arc<Engine>) {
        let card = engine.card();
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

    /// Sets when a model is unsure, for the requests from now on.
    ///
    /// # Errors
    /// Unknown model, or the database failed; then nothing changes.
    pub async fn set_thresholds(
        &self,
        id: ModelId,
        thresholds: AnswerThresholds,
    ) -> Result<(), Error> {
        let _guard = self.0.selection_lock.lock().await;
        let mut transaction = self.0.storage.write().await?;
        if !models::set_thresholds(&mut transaction, id, thresholds).await? {
            return Err(Error::NoSuchModel(id.to_string()));
        }
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
