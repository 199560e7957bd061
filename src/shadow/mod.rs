//! Shadow: a challenger that answers the requests to the model in service as well, unseen by clients.
//!
//! `http` offers it what it has answered ([`Shadows::ticket`], before images are decoded, then
//! [`Ticket::send`]). Both never wait: what doesn't fit into the queue or into the budget of processor time is dropped. The
//! model lives on one thread of the lowest priority (`worker`); results are saved once a second.

mod worker;

use std::{
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use tokio::sync::mpsc::{self, OwnedPermit};
use tokio_util::sync::CancellationToken;

use crate::{
    config::ServeConfig,
    data_dir::DataDir,
    device::processors,
    domain::{
        ModelId,
        excerpt::Excerpt,
        model::{Model, ModelCard},
        prediction::Prediction,
        shadow::{CpuBudget, Difference, Shadow, Totals},
    },
    error_chain::chain,
    memory_budget::MemoryBudget,
    registry::{self, Registry},
    storage::{self, Page, Storage, shadow},
    vision,
};

/// Requests that wait for the shadow.
const QUEUE: usize = 8;
/// Bytes of the images of a request at most: they are copied.
pub const MAX_BYTES: usize = 8 << 20;
/// How often results are saved.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// Differences that wait to be saved; more are only counted.
const MAX_UNSAVED: usize = 200;

/// Why there is no shadow.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The model has different classes than the one in service.
    #[error("`{}` has different classes than the model in service", Excerpt(.0))]
    OtherClasses(String),
    /// The model is in service.
    #[error("`{}` is in service itself", Excerpt(.0))]
    InService(String),
    /// The model is unknown or can't be used.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

/// A handle on the shadow.
#[derive(Debug, Clone)]
pub struct Shadows(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    data_dir: Arc<DataDir>,
    storage: Storage,
    registry: Registry,
    memory: MemoryBudget,
    limits: vision::Limits,
    shutdown: CancellationToken,
    running: RwLock<Option<Arc<Running>>>,
    /// Why the shadow of an earlier server does not run.
    failure: Mutex<Option<String>>,
    /// Held while the shadow is changed or saved.
    change: tokio::sync::Mutex<()>,
}

/// The shadow that runs. Its thread ends when the last handle is dropped.
#[derive(Debug)]
struct Running {
    model: ModelId,
    queue: mpsc::Sender<Work>,
    results: Arc<Results>,
}

/// What the thread of a shadow shares with the rest.
#[derive(Debug)]
struct Results {
    budget: Mutex<CpuBudget>,
    unsaved: Mutex<(Totals, Vec<Difference>)>,
}

/// A request that was answered.
#[derive(Debug)]
struct Work {
    answered_by: ModelCard,
    images: Vec<Answered>,
}

/// An image, and what the model in service predicted.
#[derive(Debug)]
struct Answered {
    bytes: Vec<u8>,
    prediction: Prediction,
}

/// A place in the queue of the shadow.
#[derive(Debug)]
pub struct Ticket {
    place: OwnedPermit<Work>,
    results: Arc<Results>,
}

impl Ticket {
    /// Has the shadow classify images that the model of `card` has answered with `predictions`; `copies`
    /// is `None` if they are too large.
    pub fn send(self, card: &ModelCard, copies: Option<Vec<Vec<u8>>>, predictions: &[Prediction]) {
        let Some(copies) = copies else { return self.results.dropped() };
        let images = copies.into_iter().zip(predictions);
        let images =
            images.map(|(bytes, prediction)| Answered { bytes, prediction: prediction.clone() });
        self.place.send(Work { answered_by: card.clone(), images: images.collect() });
    }
}

impl Results {
    fn is_within_budget(&self) -> bool {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        budget.is_available(Instant::now())
    }

    fn set_budget(&self, budget: CpuBudget) {
        *self.budget.lock().unwrap_or_else(PoisonError::into_inner) = budget;
    }

    /// Counts a request that was skipped.
    fn dropped(&self) {
        self.change(|totals, _| totals.dropped += 1);
    }

    fn change(&self, change: impl FnOnce(&mut Totals, &mut Vec<Difference>)) {
        let mut unsaved = self.unsaved.lock().unwrap_or_else(PoisonError::into_inner);
        let (totals, differences) = &mut *unsaved;
        change(totals, differences);
    }
}

impl Shadows {
    /// The shadow of this server; none runs yet.
    #[must_use]
    pub fn new(
        config: &ServeConfig,
        data_dir: Arc<DataDir>,
        storage: Storage,
        registry: Registry,
        memory: MemoryBudget,
        shutdown: CancellationToken,
    ) -> Self {
        Self(Arc::new(Inner {
            data_dir,
            storage,
            registry,
            memory,
            limits: vision::Limits { max_pixels: config.max_image_pixels },
            shutdown,
            running: RwLock::default(),
            failure: Mutex::default(),
            change: tokio::sync::Mutex::default(),
        }))
    }

    /// Goes on with the shadow of an earlier server, then saves results now and then until the server
    /// shuts down.
    pub async fn run(self) {
        if let Err(error) = self.resume().await {
            tracing::error!(error = chain(&error), "can't go on with the shadow");
        }
        loop {
            let stops = tokio::time::timeout(SAVE_EVERY, self.0.shutdown.cancelled()).await.is_ok();
            if let Err(error) = self.save().await {
                tracing::warn!(error = chain(&error), "can't save what the shadow has done");
            }
            if stops {
                return;
            }
        }
    }

    async fn resume(&self) -> Result<(), Error> {
        let _guard = self.0.change.lock().await;
        let known = shadow::get(&mut *self.0.storage.read().await?).await?;
        let Some(known) = known else { return Ok(()) };
        let started = self.start(known.model_id, known.cpu_fraction).await;
        if let Err(error) = &started {
            self.set_failure(Some(chain(error)));
        }
        self.replace(Some(started?));
        Ok(())
    }

    /// Has a model answer the requests to the model in service, with that share of the processor time.
    ///
    /// # Errors
    /// Unknown model, one that can't be used, that is in service, or that has different classes than the model
    /// in service; then nothing changes.
    pub async fn set(&self, reference: &str, cpu_fraction: f64) -> Result<(), Error> {
        let _guard = self.0.change.lock().await;
        let model = self.0.registry.find(reference).await?;
        let current = self.0.registry.current().await?.model;
        if current.id == model.id {
            return Err(Error::InService(model.name.to_string()));
        }
        if !current.classes.has_names_of(&model.classes) {
            return Err(Error::OtherClasses(model.name.to_string()));
        }
        let same = self.running().filter(|it| it.model == model.id && !it.queue.is_closed());
        let started = match same {
            // It goes on: nothing that it has counted, or has yet to do, is lost.
            Some(_) => None,
            None => Some(self.start(model.id, cpu_fraction).await?),
        };
        let mut transaction = self.0.storage.write().await?;
        shadow::set(&mut transaction, model.id, cpu_fraction).await?;
        transaction.commit().await.map_err(storage::Error::from)?;
        match same {
            Some(same) => same.results.set_budget(budget(cpu_fraction)),
            None => self.replace(started),
        }
        let Model { id, name, .. } = model;
        tracing::info!(model.id = %id, model.name = %name, cpu_fraction, "a shadow answers requests");
        Ok(())
    }

    /// Ends the shadow, and forgets what it has done.
    ///
    /// # Errors
    /// The database failed; then nothing changes.
    pub async fn remove(&self) -> Result<(), Error> {
        let _guard = self.0.change.lock().await;
        let mut transaction = self.0.storage.write().await?;
        shadow::remove(&mut transaction).await?;
        transaction.commit().await.map_err(storage::Error::from)?;
        self.replace(None);
        Ok(())
    }

    /// The shadow and what it has done, if there is one.
    ///
    /// # Errors
    /// The database failed.
    pub async fn get(&self) -> Result<Option<Shadow>, storage::Error> {
        self.save_quietly().await;
        let known = shadow::get(&mut *self.0.storage.read().await?).await?;
        Ok(known.map(|known| Shadow { error: self.failure(), ..known }))
    }

    /// Images for which the shadow predicted another class, newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn differences(
        &self,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Page<Difference>, storage::Error> {
        self.save_quietly().await;
        shadow::differences(&mut *self.0.storage.read().await?, before, limit).await
    }

    /// A place for a request that the model `answering` is about to answer, if it is in service, and the
    /// shadow has time.
    #[must_use]
    pub fn ticket(&self, answering: ModelId) -> Option<Ticket> {
        let running = self.running()?;
        let is_in_service = self.0.registry.in_service() == Some(answering);
        if !is_in_service || running.model == answering {
            return None;
        }
        let results = Arc::clone(&running.results);
        let place = results.is_within_budget().then(|| running.queue.clone().try_reserve_owned());
        match place {
            Some(Ok(place)) => Some(Ticket { place, results }),
            _ => {
                results.dropped();
                None
            }
        }
    }

    fn running(&self) -> Option<Arc<Running>> {
        self.0.running.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why there is a shadow that doesn't run, if that is so.
    fn failure(&self) -> Option<String> {
        if self.running().is_some_and(|running| running.queue.is_closed()) {
            return Some("its thread ended unexpectedly".to_owned());
        }
        self.0.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_failure(&self, why: Option<String>) {
        *self.0.failure.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    fn replace(&self, running: Option<Running>) {
        self.set_failure(None);
        *self.0.running.write().unwrap_or_else(PoisonError::into_inner) = running.map(Arc::new);
    }

    /// Starts the thread of a model, which gets no work yet.
    async fn start(&self, model: ModelId, cpu_fraction: f64) -> Result<Running, Error> {
        let (queue, work) = mpsc::channel(QUEUE);
        let results = Arc::new(Results {
            budget: Mutex::new(budget(cpu_fraction)),
            unsaved: Mutex::default(),
        });
        let worker = worker::Worker {
            path: self.0.data_dir.model(model),
            work,
            results: Arc::clone(&results),
            memory: self.0.memory.clone(),
            limits: self.0.limits,
        };
        worker.start().await.map_err(registry::Error::from)?;
        Ok(Running { model, queue, results })
    }

    /// Saves what the shadow has done. One whose model was deleted ends.
    async fn save(&self) -> Result<(), storage::Error> {
        let _guard = self.0.change.lock().await;
        self.flush().await
    }

    /// As [`Self::save`], for reading what can be read.
    async fn save_quietly(&self) {
        if let Err(error) = self.save().await {
            tracing::debug!(error = chain(&error), "reading without the shadow's last results");
        }
    }

    async fn flush(&self) -> Result<(), storage::Error> {
        let Some(running) = self.running() else { return Ok(()) };
        let mut taken = (Totals::default(), Vec::new());
        running.results.change(|totals, differences| {
            taken = (std::mem::take(totals), std::mem::take(differences));
        });
        let (totals, differences) = taken;
        if totals == Totals::default() {
            return Ok(());
        }
        let saved = self.add(running.model, totals, &differences).await;
        match saved {
            Ok(true) => {}
            Ok(false) => {
                tracing::info!(model.id = %running.model, "the model of the shadow was deleted");
                self.replace(None);
            }
            // Saved with what comes next.
            Err(_) => running.results.change(|all, listed| {
                all.add(totals);
                listed.splice(..0, differences);
                listed.truncate(MAX_UNSAVED);
            }),
        }
        saved.map(drop)
    }

    /// Returns whether the model still is the shadow.
    async fn add(
        &self,
        model: ModelId,
        totals: Totals,
        differences: &[Difference],
    ) -> Result<bool, storage::Error> {
        let mut transaction = self.0.storage.write().await?;
        let is_shadow = shadow::add(&mut transaction, model, totals, differences).await?;
        transaction.commit().await?;
        Ok(is_shadow)
    }
}

/// That share of the processor time, from now on.
fn budget(cpu_fraction: f64) -> CpuBudget {
    CpuBudget::new(cpu_fraction, processors().get(), Instant::now())
}
