//! One model, its threads and their queues.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot,
};

use super::{
    gradcam::Heatmap,
    network::ModelLoadError,
    queue::{Command, Commands, InferenceRequest, InferenceResult, QueueSlot},
    tuning::{InferenceConfig, TuningCache},
    worker,
};
use crate::{
    device::ComputeConfig,
    domain::{
        model::ModelCard,
        prediction::{ModelOutput, Prediction, WrongOutputs},
        selective::AnswerThresholds,
    },
};

/// Settings of every model's engine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The tuned inference settings.
    pub tuning_cache: TuningCache,
    /// Maximum requests in the queue.
    pub capacity: usize,
    /// Timeout of a request.
    pub deadline: Duration,
}

/// A handle on a model's threads. They end when the last handle is dropped and the queue is empty,
/// so a request finishes on the model it began with.
#[derive(Debug)]
pub struct Engine {
    card: ModelCard,
    thresholds: RwLock<AnswerThresholds>,
    config: InferenceConfig,
    deadline: Duration,
    waiting: Arc<AtomicUsize>,
    queue: mpsc::Sender<Command>,
    /// The queue of the thread whose passes use all processors, for a request that has the model to
    /// itself; `None` if one thread is as fast.
    alone: Option<mpsc::Sender<Command>>,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The queue is full.
    #[error("too many prediction requests are in progress")]
    QueueFull,
    /// The request timed out.
    #[error("the prediction timed out after {} s", .0.as_secs_f64())]
    DeadlineExceeded(Duration),
    /// The model failed on these images.
    #[error("the model failed: {0}")]
    Failed(String),
    /// The threads have ended.
    #[error("the model's threads have ended")]
    WorkerStopped,
}

impl Engine {
    /// Loads the model at `path` on threads of its own, checks it and warms it up.
    ///
    /// # Errors
    /// The model can't be used.
    pub async fn start(path: PathBuf, settings: Settings) -> Result<Self, ModelLoadError> {
        let Settings { tuning_cache, capacity, deadline } = settings;
        let (queue, commands) = mpsc::channel(capacity);
        let (alone, commands_alone) = mpsc::channel(1);
        let (ready, started) = oneshot::channel();
        let load_and_run = move || match worker::open(&path, ComputeConfig::cpu(), &tuning_cache) {
            Ok((model, config)) => {
                let commands = Arc::new(Mutex::new(commands));
                let InferenceConfig { threads, threads_under_load, workers, .. } = config;
                let spawn_worker = |share: worker::Share, commands: Arc<Commands>| {
                    let model = model.share();
                    spawn(move || worker::run(&model, share, &commands))
                };
                let share =
                    worker::Share { threads: threads_under_load, batch: config.batch, workers };
                let mut others: Result<Vec<_>, _> =
                    (1..workers).map(|_| spawn_worker(share, Arc::clone(&commands))).collect();
                if threads > threads_under_load && others.is_ok() {
                    let commands = Arc::new(Mutex::new(commands_alone));
                    let share = worker::Share { threads, batch: config.batch_alone, workers: 1 };
                    others = spawn_worker(share, commands).map(|()| Vec::new());
                }
                // If not all could be started, the queue closes, and the others end.
                let answer = others.map(|_| (model.card().clone(), config));
                let started = answer.is_ok();
                if ready.send(answer).is_ok() && started {
                    worker::run(&model, share, &commands);
                }
            }
            Err(error) => drop(ready.send(Err(error))),
        };
        spawn(load_and_run)?;
        let (card, config) = started.await.unwrap_or_else(|_| {
            Err(ModelLoadError("the loading thread ended unexpectedly".to_owned()))
        })?;
        let alone = (config.threads > config.threads_under_load).then_some(alone);
        let thresholds = RwLock::new(card.thresholds);
        Ok(Self { card, thresholds, config, deadline, waiting: Arc::default(), queue, alone })
    }

    /// The card of the model.
    #[must_use]
    pub const fn card(&self) -> &ModelCard {
        &self.card
    }

    /// When the model is unsure: as its card says, or as it was set.
    #[must_use]
    pub fn thresholds(&self) -> AnswerThresholds {
        *self.thresholds.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets when the model is unsure.
    pub fn set_thresholds(&self, thresholds: AnswerThresholds) {
        *self.thresholds.write().unwrap_or_else(PoisonError::into_inner) = thresholds;
    }

    /// The prediction that `output` is of the image of that name.
    ///
    /// # Errors
    /// The output is not one of this model's classes.
    pub fn prediction(
        &self,
        file_name: Option<String>,
        output: &ModelOutput,
    ) -> Result<Prediction, WrongOutputs> {
        Prediction::new(file_name, &self.card, self.thresholds(), output)
    }

    /// How the model is run.
    #[must_use]
    pub const fn config(&self) -> InferenceConfig {
        self.config
    }

    /// Requests in the queue or in progress.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// The outputs for images that are preprocessed as the card says.
    ///
    /// # Errors
    /// The queue is full, the deadline has passed, or the model failed.
    pub async fn predict(
        &self,
        images: Vec<Vec<u8>>,
    ) -> Result<InferenceResult<Vec<ModelOutput>>, EngineError> {
        self.submit(images, Command::Predict).await
    }

    /// The output for an image that is preprocessed as the card says, and its Grad-CAM heat map for
    /// the class of index `class`, or for the predicted one.
    ///
    /// # Errors
    /// As [`Engine::predict`].
    pub async fn explain(
        &self,
        image: Vec<u8>,
        class: Option<usize>,
    ) -> Result<InferenceResult<(ModelOutput, Heatmap)>, EngineError> {
        self.submit((image, class), Command::Explain).await
    }

    async fn submit<I, O>(
        &self,
        input: I,
        command: impl FnOnce(InferenceRequest<I, O>) -> Command,
    ) -> Result<InferenceResult<O>, EngineError> {
        let (reply, answer) = oneshot::channel();
        let (slot, others) = QueueSlot::occupy(&self.waiting);
        let request = InferenceRequest { input, reply, enqueued_at: Instant::now(), slot };
        let mut command = command(request);
        if let Some(alone) = self.alone.as_ref().filter(|_| others == 0) {
            match alone.try_send(command) {
                Ok(()) => return self.reply(answer).await,
                Err(TrySendError::Full(returned) | TrySendError::Closed(returned)) => {
                    command = returned;
                }
            }
        }
        self.queue.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => EngineError::QueueFull,
            TrySendError::Closed(_) => EngineError::WorkerStopped,
        })?;
        self.reply(answer).await
    }

    async fn reply<O>(
        &self,
        answer: oneshot::Receiver<Result<InferenceResult<O>, String>>,
    ) -> Result<InferenceResult<O>, EngineError> {
        // A caller that no longer waits drops the receiver, and the worker skips the request.
        tokio::time::timeout(self.deadline, answer)
            .await
            .map_err(|_| EngineError::DeadlineExceeded(self.deadline))?
            .map_err(|_| EngineError::WorkerStopped)?
            .map_err(EngineError::Failed)
    }
}

fn spawn(work: impl FnOnce() + Send + 'static) -> Result<(), ModelLoadError> {
    let thread = thread::Builder::new().name("model".to_owned()).spawn(work);
    thread.map(drop).map_err(|error| ModelLoadError(format!("can't start a thread: {error}")))
}
