//! One model, its threads and their queues.

use std::{
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::sync::{
    Semaphore,
    mpsc::{self, error::TrySendError},
    oneshot,
};
use utoipa::ToSchema;

use super::{
    convolutions::Convolutions,
    gradcam::Heatmap,
    network::{LoadedModel, ModelLoadError},
    overrides::InferenceEngine,
    queue::{Command, InferenceRequest, InferenceResult, QueueSlot},
    second_engine::SecondEngine,
    tuning::{InferenceConfig, TuningCache},
    worker,
};
use crate::{
    device::{ComputeConfig, processors},
    domain::{
        model::ModelCard,
        prediction::{ModelOutput, Prediction, WrongOutputs},
        selective::AnswerThresholds,
    },
    memory_budget::usable_memory,
};

/// Memory of the machine or container, in bytes, below which OpenVINO is not used by itself: it takes up
/// to 115 MB more for each loaded model.
const MIN_MEMORY_FOR_OPENVINO: u64 = 2 << 30;

/// Settings of every model's engine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The tuned inference settings.
    pub tuning_cache: TuningCache,
    /// Maximum requests in the queue.
    pub capacity: usize,
    /// Timeout of a request.
    pub deadline: Duration,
    /// A permit for each image that may be decoded at the same time, as many as there are processors.
    pub decoders: Arc<Semaphore>,
}

/// A handle on a model's threads. They end when the last handle is dropped and the queue is empty,
/// so a request finishes on the model it began with.
#[derive(Debug)]
pub struct Engine {
    card: ModelCard,
    thresholds: RwLock<AnswerThresholds>,
    config: InferenceConfig,
    convolutions: Convolutions,
    deadline: Duration,
    waiting: Arc<AtomicUsize>,
    queue: mpsc::Sender<Command>,
    /// The queue of the thread whose passes may use all processors, for a request that has them to
    /// itself; `None` if the number of threads is set.
    alone: Option<mpsc::Sender<Command>>,
    decoders: Arc<Semaphore>,
}

/// What computes a model's convolutions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ComputedBy {
    /// libtorch, as in training.
    Libtorch,
    /// OpenVINO, at least for those requests for which it is faster: lone ones, those under load, or both.
    Openvino,
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
        let Settings { tuning_cache, capacity, deadline, decoders } = settings;
        let (queue, commands) = mpsc::channel(capacity);
        let (alone, commands_alone) = mpsc::channel(1);
        let (ready, started) = oneshot::channel();
        let load_and_run = move || match worker::open(&path, ComputeConfig::cpu(), &tuning_cache) {
            Ok((model, config)) => {
                let commands = Arc::new(Mutex::new(commands));
                let &InferenceConfig { threads_under_load, batch, batch_alone, workers, .. } =
                    &config;
                let share = worker::Share { threads: threads_under_load, batch, workers };
                let spawn_worker = |_| {
                    let (model, commands) = (model.share(), Arc::clone(&commands));
                    spawn(move || worker::run(&model, share, &commands))
                };
                let mut others: Result<Vec<_>, _> = (1..workers).map(spawn_worker).collect();
                let choice = config.thread_choice.clone();
                if choice.candidates().count() > 1 && others.is_ok() {
                    let (model, commands) = (model.share(), Mutex::new(commands_alone));
                    let run = move || worker::run_alone(&model, choice, batch_alone, &commands);
                    others = spawn(run).map(|()| Vec::new());
                }
                // If not all could be started, the queue closes, and the others end.
                let convolutions = model.convolutions().clone();
                let answer = others.map(|_| (model.card().clone(), config.clone(), convolutions));
                let started = answer.is_ok();
                if ready.send(answer).is_ok() && started {
                    let wanted = tuning_cache.engine();
                    if wanted != InferenceEngine::Libtorch {
                        let model = model.share();
                        drop(spawn(move || accelerate(&model, &path, &config, wanted)));
                    }
                    worker::run(&model, share, &commands);
                }
            }
            Err(error) => drop(ready.send(Err(error))),
        };
        spawn(load_and_run)?;
        let (card, config, convolutions) = started.await.unwrap_or_else(|_| {
            Err(ModelLoadError("the loading thread ended unexpectedly".to_owned()))
        })?;
        let alone = (config.thread_choice.candidates().count() > 1).then_some(alone);
        let thresholds = RwLock::new(card.thresholds);
        let waiting = Arc::default();
        Ok(Self {
            card,
            thresholds,
            config,
            convolutions,
            deadline,
            waiting,
            queue,
            alone,
            decoders,
        })
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
    pub const fn config(&self) -> &InferenceConfig {
        &self.config
    }

    /// What computes the convolutions at present.
    #[must_use]
    pub fn computed_by(&self) -> ComputedBy {
        match self.convolutions.thread_choice() {
            Some(_) => ComputedBy::Openvino,
            None => ComputedBy::Libtorch,
        }
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
        if let Some(alone) = self.alone.as_ref().filter(|_| others == 0 && self.none_is_decoded()) {
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

    /// Whether no image is being decoded for the next request, which also takes a processor.
    fn none_is_decoded(&self) -> bool {
        self.decoders.available_permits() >= processors().get()
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

/// Lets OpenVINO compute the convolutions from now on, if it is installed and agrees, where it is faster.
fn accelerate(model: &LoadedModel, path: &Path, config: &InferenceConfig, wanted: InferenceEngine) {
    /// Compiling takes all processors and much memory: one model at a time.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if model.convolutions().is_abandoned() {
        return;
    }
    let name = &model.card().name;
    let prepare = || {
        let auto = wanted == InferenceEngine::Auto;
        if auto && usable_memory().is_some_and(|bytes| bytes < MIN_MEMORY_FOR_OPENVINO) {
            return Err("OpenVINO needs more memory than libtorch".to_owned());
        }
        let prepared = SecondEngine::prepare(model, path, config)?;
        model.convolutions().set(if auto {
            prepared.ready_where_faster()?
        } else {
            prepared.ready()
        })
    };
    let prepared = panic::catch_unwind(AssertUnwindSafe(prepare));
    match prepared.unwrap_or_else(|_| Err("it panicked".to_owned())) {
        Ok(()) => tracing::info!(%name, "OpenVINO computes the convolutions"),
        Err(reason) => tracing::info!(%name, reason, "libtorch computes the convolutions"),
    }
}

fn spawn(work: impl FnOnce() + Send + 'static) -> Result<(), ModelLoadError> {
    let thread = thread::Builder::new().name("model".to_owned()).spawn(work);
    thread.map(drop).map_err(|error| ModelLoadError(format!("can't start a thread: {error}")))
}
