//! The thread of a shadow: decodes and classifies one image after the other, and counts the processor
//! time that it takes.

use std::{
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    sync::{Arc, PoisonError},
    thread,
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{mpsc, oneshot};

use super::{Answered, MAX_UNSAVED, Results, Work};
use crate::{
    device::ComputeConfig,
    domain::{
        Timestamp, dataset::Digest, model::ModelCard, prediction::Prediction, shadow::Difference,
    },
    inference::{LoadedModel, network::ModelLoadError, tuning::set_threads},
    memory_budget::MemoryBudget,
    vision,
};

/// What the thread of a shadow works with.
pub(super) struct Worker {
    pub(super) path: PathBuf,
    pub(super) work: mpsc::Receiver<Work>,
    pub(super) results: Arc<Results>,
    pub(super) memory: MemoryBudget,
    pub(super) limits: vision::Limits,
}

impl Worker {
    /// Starts the thread, which ends when the queue is closed and empty.
    ///
    /// # Errors
    /// The model can't be used.
    pub(super) async fn start(self) -> Result<(), ModelLoadError> {
        let (ready, started) = oneshot::channel();
        let run = move || {
            set_threads(1);
            let open = || LoadedModel::open(&self.path, ComputeConfig::cpu());
            let opened = panic::catch_unwind(AssertUnwindSafe(open))
                .unwrap_or_else(|_| Err(ModelLoadError("libtorch failed to load it".to_owned())));
            match opened {
                Ok(model) => {
                    if ready.send(Ok(())).is_ok() {
                        lower_priority();
                        self.run(&model);
                    }
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        };
        let thread = thread::Builder::new().name("shadow".to_owned()).spawn(run);
        thread.map_err(|error| ModelLoadError(format!("can't start a thread: {error}")))?;
        started.await.unwrap_or_else(|_| {
            Err(ModelLoadError("the loading thread ended unexpectedly".to_owned()))
        })
    }

    fn run(mut self, model: &LoadedModel) {
        while let Some(work) = self.work.blocking_recv() {
            // A model with other classes may have gone into service since.
            let comparable = work.answered_by.classes.has_names_of(&model.card().classes);
            if !comparable || !self.results.is_within_budget() {
                self.results.dropped();
                continue;
            }
            for image in &work.images {
                let before = processor_time();
                let predict = || self.predict(model, &image.bytes);
                // libtorch's errors are panics too.
                let predicted = panic::catch_unwind(AssertUnwindSafe(predict))
                    .unwrap_or_else(|_| Err("it panicked".to_owned()));
                let time = processor_time().saturating_sub(before);
                self.spend(time);
                self.record(image, &work.answered_by, predicted);
            }
        }
    }

    fn spend(&self, time: Duration) {
        let mut budget = self.results.budget.lock().unwrap_or_else(PoisonError::into_inner);
        budget.spend(time);
        drop(budget);
        self.results.change(|totals, _| totals.cpu_seconds += time.as_secs_f64());
    }

    fn predict(&self, model: &LoadedModel, bytes: &[u8]) -> Result<Prediction, String> {
        let preprocessing = &model.card().preprocessing;
        let needed = vision::decoding_memory(bytes, &self.limits, Some(preprocessing))
            .map_err(|error| error.to_string())?;
        let memory = self.memory.try_image(needed).map_err(|error| error.to_string())?;
        let pixels = vision::prepare(bytes, &self.limits, preprocessing);
        drop(memory);
        let pixels = pixels.map_err(|error| error.to_string())?;
        let outputs = model.forward(&[pixels]).map_err(|error| error.to_string())?;
        let output = outputs.first().ok_or("it has no output")?;
        if !output.logits.are_numbers() {
            return Err("its output is NaN".to_owned());
        }
        let card = model.card();
        Prediction::new(None, card, card.thresholds, output).map_err(|error| error.to_string())
    }

    fn record(&self, image: &Answered, by: &ModelCard, predicted: Result<Prediction, String>) {
        let shadow = match predicted {
            Ok(shadow) => shadow,
            Err(why) => {
                tracing::warn!(why, "the shadow can't classify an image");
                return self.results.change(|totals, _| totals.failed += 1);
            }
        };
        let Answered { bytes, prediction } = image;
        // Classes that differ in case are the same.
        let agrees = shadow.label.folded() == prediction.label.folded();
        self.results.change(|totals, differences| {
            totals.images += 1;
            totals.agreed += u64::from(agrees);
            if !agrees && differences.len() < MAX_UNSAVED {
                differences.push(Difference {
                    id: 0,
                    at: Timestamp::now(),
                    sha256: Digest::of(bytes),
                    model_id: by.id,
                    model: by.name.clone(),
                    label: prediction.label.clone(),
                    probability: prediction.probability,
                    shadow_label: shadow.label,
                    shadow_probability: shadow.probability,
                });
            }
        });
    }
}

/// Processor time of this thread, which computes alone.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Requests come first. On Linux this is the priority of the calling thread alone.
fn lower_priority() {
    if cfg!(target_os = "linux") {
        let _ = rustix::process::nice(19);
    }
}
