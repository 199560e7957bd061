//! Which model is in service: the best, or the one that a person pinned.
//!
//! Called by `http::models` and `http::predict`, and by the scheduler when a job has made a model.
//! Owns the engines; a swap is one pointer, so a request ends on the model it began with.

pub mod embedded;

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
    domain::{ModelId, Timestamp, excerpt::Excerpt, model::Model},
    inference::{Engine, engine::Settings, network::Unusable, tuning::Tunings},
    storage::{self, Storage, models},
};

/// Models that are kept loaded beside the one in service, for requests that name one.
const KEPT: usize = 2;

/// What the registry refuses, and why.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No model has that name or id.
    #[error("there is no model `{}`", Excerpt(.0))]
    NoSuchModel(String),
    /// No model answers yet.
    #[error("no model is in service yet: train one first")]
    NoModel,
    /// The model can't answer.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// The model answers predictions now.
    #[error("`{0}` is in service; put another model in service before you delete it")]
    InService(String),
    /// The model is the one in the binary.
    #[error(
        "`{}` is part of the program, and would be there again at the next start",
        embedded::NAME
    )]
    Embedded,
    /// The database's own.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

/// How the model in service is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ServiceMode)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The best by validation accuracy, also as jobs make better ones.
    Best,
    /// The one that a person chose.
    Pinned,
}

/// Models by id, each in its place from when it begins to be loaded.
type Named = VecDeque<(ModelId, Arc<OnceCell<Arc<Engine>>>)>;

/// The engine that answers.
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
    /// How it was chosen.
    pub mode: Mode,
    /// Since when it answers; a start of the server begins anew.
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
    /// Models that requests named, newest last; each is loaded by the first of its requests, while the
    /// others of that model wait.
    others: std::sync::Mutex<Named>,
    /// A place for each model that may be loaded at a time.
    loading: Semaphore,
    /// Held while the model in service is chosen.
    choosing: Mutex<()>,
}

impl Registry {
    /// A registry over the models of this data directory; none is loaded yet.
    #[must_use]
    pub fn new(config: &ServeConfig, data_dir: Arc<DataDir>, storage: Storage) -> Self {
        Self(Arc::new(Inner {
            data_dir,
            storage,
            settings: Settings {
                tunings: Tunings::new(config.tuning_overrides()),
                capacity: config.queue_capacity.get(),
                deadline: Duration::from_secs(config.predict_seconds.get().into()),
            },
            current: RwLock::default(),
            others: std::sync::Mutex::default(),
            loading: Semaphore::new(processors().get().max(2)),
            choosing: Mutex::default(),
        }))
    }

    /// Puts the model in service that should be: the pinned one, or the best that can be used.
    /// Where none can, the one that was stays.
    ///
    /// # Errors
    /// The pinned model can't be used, or the database's own.
    pub async fn refresh(&self) -> Result<(), Error> {
        let _turn = self.0.choosing.lock().await;
        let (pinned, best_first) = {
            let mut connection = self.0.storage.read().await?;
            (
                models::pinned(&mut connection).await?,
                models::best_first(&mut connection, embedded::NAME).await?,
            )
        };
        if let Some(id) = pinned {
            match self.put_in_service(id).await {
                // Better another model than none.
                Err(Error::Unusable(error)) if self.in_service().is_none() => {
                    tracing::error!(model.id = %id, %error, "the pinned model can't serve; the best one does");
                }
                other => return other,
            }
        }
        for id in best_first {
            match self.put_in_service(id).await {
                Err(Error::Unusable(error)) => {
                    tracing::warn!(model.id = %id, %error, "passing over a model");
                }
                other => return other,
            }
        }
        Ok(())
    }

    /// Pins a model.
    ///
    /// # Errors
    /// No such model, or one that can't be used; then nothing changes.
    pub async fn pin(&self, reference: &str) -> Result<Model, Error> {
        let _turn = self.0.choosing.lock().await;
        let model = self.find(reference).await?;
        self.put_in_service(model.id).await?;
        self.set_pin(Some(model.id)).await?;
        self.find(reference).await
    }

    /// Follows the best model again.
    ///
    /// # Errors
    /// The database's own.
    pub async fn follow_best(&self) -> Result<(), Error> {
        self.set_pin(None).await?;
        self.refresh().await
    }

    async fn set_pin(&self, id: Option<ModelId>) -> Result<(), Error> {
        let mut transaction = self.0.storage.write().await?;
        models::pin(&mut transaction, id).await?;
        transaction.commit().await.map_err(storage::Error::from)?;
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

    /// Forgets a model and removes its file.
    ///
    /// # Errors
    /// No such model, or the one in service.
    pub async fn delete(&self, reference: &str) -> Result<(), Error> {
        let _turn = self.0.choosing.lock().await;
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
        self.others().retain(|(id, _)| *id != model.id);
        if let Err(error) = tokio::fs::remove_file(self.0.data_dir.model(model.id)).await {
            tracing::warn!(model.id = %model.id, %error, "a model's file can't be removed");
        }
        Ok(())
    }

    /// The engine of the model of that name or id, loaded if need be; of the one in service
    /// where none is named.
    ///
    /// # Errors
    /// No such model, none in service, or one that can't be used.
    pub async fn engine(&self, reference: Option<&str>) -> Result<Arc<Engine>, Error> {
        let Some(reference) = reference.filter(|&reference| reference != "current") else {
            return self.engine_in_service().ok_or(Error::NoModel);
        };
        let model = self.find(reference).await?;
        if let Some(engine) = self.engine_in_service().filter(|engine| engine.card().id == model.id)
        {
            return Ok(engine);
        }
        let other = self.other(model.id);
        let load = async {
            let _place = self.0.loading.acquire().await;
            self.load(model.id).await
        };
        other.get_or_try_init(|| load).await.cloned()
    }

    /// The place of a model among those that requests named.
    fn other(&self, id: ModelId) -> Arc<OnceCell<Arc<Engine>>> {
        let mut others = self.others();
        if let Some((_, other)) = others.iter().find(|(known, _)| *known == id) {
            return Arc::clone(other);
        }
        let other = Arc::new(OnceCell::new());
        others.push_back((id, Arc::clone(&other)));
        if others.len() > KEPT {
            others.pop_front();
        }
        other
    }

    fn others(&self) -> MutexGuard<'_, Named> {
        self.0.others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn put_in_service(&self, id: ModelId) -> Result<(), Error> {
        if self.in_service() == Some(id) {
            return Ok(());
        }
        let engine = self.load(id).await?;
        tracing::info!(model.id = %id, model.name = %engine.card().name, "model in service");
        let serving = Serving { engine, since: Timestamp::now() };
        *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = Some(serving);
        Ok(())
    }

    async fn load(&self, id: ModelId) -> Result<Arc<Engine>, Error> {
        let path = self.0.data_dir.model(id);
        let engine = Engine::start(path, self.0.settings.clone()).await?;
        let card = engine.card();
        if card.id != id {
            return Err(
                Unusable(format!("the file contains another model, `{}`", card.name)).into()
            );
        }
        Ok(Arc::new(engine))
    }

    /// The engine of the model in service.
    #[must_use]
    pub fn engine_in_service(&self) -> Option<Arc<Engine>> {
        let serving = self.0.current.read().unwrap_or_else(PoisonError::into_inner);
        serving.as_ref().map(|serving| Arc::clone(&serving.engine))
    }
}
