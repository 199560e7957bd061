//! Tunes the inference settings of a model on this machine by measurement.
//!
//! Neither the number of CPUs nor a rule of thumb gives the best number of threads for a network,
//! or whether a batch costs less per image than single images: on some CPUs a batch of one is the
//! cheapest, because its feature maps stay in the cache.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

use super::{
    network::{LoadedModel, ModelLoadError},
    overrides::{InferenceEngine, TuningOverrides},
    thread_choice::ThreadChoice,
};
use crate::{device::processors, domain::model::Architecture};

/// Passes of which the fastest counts: other work on the machine only adds time.
const PASSES: u32 = 3;

/// When passes take longer, fewer are made: several threads on a busy machine may need a hundred times
/// the time of one.
const LONGEST: Duration = Duration::from_millis(200);

/// Minimum reduction of the processor time per image by a larger batch, which delays the requests in it.
const MIN_BATCH_SPEEDUP: f64 = 1.05;

/// How a model is run.
#[derive(Debug, Clone)]
pub struct InferenceConfig {
    /// Threads of a forward pass while no other request is waiting or in progress, by the times before
    /// the first request.
    pub threads: usize,
    /// How many it gets later.
    pub(super) thread_choice: ThreadChoice,
    /// Threads of each of several forward passes at a time.
    pub threads_under_load: usize,
    /// Maximum images of one forward pass.
    pub batch: usize,
    /// The same while no other request is waiting or in progress.
    pub batch_alone: usize,
    /// Forward passes at a time under load, each with threads of its own.
    pub workers: usize,
    /// Time of a single image.
    pub single: Duration,
}

/// The tuned settings of each architecture: measured once, so that a swap is fast, and measures
/// nothing while predictions compete with it.
#[derive(Debug, Clone, Default)]
pub struct TuningCache {
    overrides: TuningOverrides,
    known: Arc<Mutex<HashMap<Architecture, InferenceConfig>>>,
}

impl TuningCache {
    /// Nothing is tuned yet.
    #[must_use]
    pub fn new(overrides: TuningOverrides) -> Self {
        Self { overrides, known: Arc::default() }
    }

    /// Runs `model` on this thread until it is warm; returns its tuned settings.
    ///
    /// # Errors
    /// libtorch failed.
    pub fn warm_up(&self, model: &LoadedModel) -> Result<InferenceConfig, ModelLoadError> {
        let architecture = model.card().architecture;
        let known = self.known().get(&architecture).cloned();
        if let Some(config) = known {
            time(model, config.threads_under_load, config.batch)?;
            for threads in config.thread_choice.candidates() {
                time(model, threads, 1)?;
            }
            return Ok(config);
        }
        let config = measure(model, self.overrides)?;
        let &InferenceConfig { threads, threads_under_load, batch, workers, single, .. } = &config;
        tracing::info!(
            ?architecture,
            threads,
            threads_under_load,
            batch,
            workers,
            ?single,
            "tuned inference settings"
        );
        self.known().insert(architecture, config.clone());
        Ok(config)
    }

    /// What computes the convolutions.
    pub(super) const fn engine(&self) -> InferenceEngine {
        self.overrides.engine
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<Architecture, InferenceConfig>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn measure(
    model: &LoadedModel,
    overrides: TuningOverrides,
) -> Result<InferenceConfig, ModelLoadError> {
    let processors = processors().get();
    // Passes on one thread each, as many as there are processors, do the most work in a given time.
    let threads_under_load = overrides.threads.map_or(1, NonZeroUsize::get);
    let single = time(model, threads_under_load, 1)?;
    let mut batch = overrides.batch.map_or(1, NonZeroUsize::get);
    if overrides.batch.is_none() {
        let mut cheapest = single.processor;
        for images in [2, 4, 8, 16] {
            let each = time(model, threads_under_load, images)?.processor / images as u32;
            if each.mul_f64(MIN_BATCH_SPEEDUP) > cheapest {
                break;
            }
            (batch, cheapest) = (images, each);
        }
    }
    let mut singles = vec![(threads_under_load, single.elapsed)];
    if overrides.threads.is_none() {
        for threads in candidates(processors) {
            singles.push((threads, time(model, threads, 1)?.elapsed));
        }
    }
    let thread_choice = ThreadChoice::new(singles.iter().copied());
    let threads = thread_choice.best();
    let single = singles.iter().find(|it| it.0 == threads).map_or(single.elapsed, |it| it.1);
    let workers = (processors / threads_under_load).max(1);
    // Threads share the images of a pass.
    let batch_alone = overrides.batch.map_or(batch * processors, NonZeroUsize::get);
    Ok(InferenceConfig {
        threads,
        thread_choice,
        threads_under_load,
        batch,
        batch_alone,
        workers,
        single,
    })
}

/// Sets the threads of the forward passes that this thread makes from now on.
pub(super) fn set_threads(threads: usize) {
    // At the first use of a thread, libtorch gives it the number that any thread has set last.
    let _ = tch::get_num_threads();
    tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
}

/// Numbers of threads to try after one: the powers of two below `processors`, and `processors`.
fn candidates(processors: usize) -> impl Iterator<Item = usize> {
    let powers = std::iter::successors(Some(2), |threads| Some(threads * 2));
    let below = powers.take_while(move |&threads| threads < processors);
    below.chain((processors > 1).then_some(processors))
}

/// Time of a forward pass.
#[derive(Debug, Clone, Copy)]
struct PassTime {
    elapsed: Duration,
    /// Of this thread: other work on the machine does not add to it.
    processor: Duration,
}

fn time(model: &LoadedModel, threads: usize, images: usize) -> Result<PassTime, ModelLoadError> {
    set_threads(threads);
    let grey = vec![vec![127; model.card().preprocessing.bytes()]; images];
    let pass = || -> Result<PassTime, ModelLoadError> {
        let (started, processor_before) = (Instant::now(), processor_time());
        model.forward(&grey).map_err(|error| ModelLoadError(error.to_string()))?;
        let processor = processor_time().saturating_sub(processor_before);
        Ok(PassTime { elapsed: started.elapsed(), processor })
    };
    // The first pass of a shape warms up the others.
    pass()?;
    let begun = Instant::now();
    let mut fastest = pass()?;
    for _ in 1..PASSES {
        if begun.elapsed() > LONGEST {
            break;
        }
        let PassTime { elapsed, processor } = pass()?;
        fastest.elapsed = fastest.elapsed.min(elapsed);
        fastest.processor = fastest.processor.min(processor);
    }
    Ok(fastest)
}

/// Processor time of this thread so far.
fn processor_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(now).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::{sync::Barrier, thread};

    use super::*;

    #[test]
    fn each_thread_keeps_its_own_number() {
        let (first, second) = (Barrier::new(2), Barrier::new(2));
        thread::scope(|scope| {
            let one = scope.spawn(|| {
                set_threads(1);
                first.wait();
                second.wait();
                tch::get_num_threads()
            });
            scope.spawn(|| {
                first.wait();
                set_threads(2);
                second.wait();
            });
            assert_eq!(one.join().unwrap(), 1);
        });
    }

    #[test]
    fn all_processors_and_the_powers_of_two_below_are_tried() {
        let tried = |processors| candidates(processors).collect::<Vec<_>>();
        assert!(tried(1).is_empty());
        assert_eq!(tried(2), [2]);
        assert_eq!(tried(6), [2, 4, 6]);
        assert_eq!(tried(8), [2, 4, 8]);
    }
}
