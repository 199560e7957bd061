//! Predictions that are not written yet: bounded, since the disk may be slower than the model.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;

use super::Journal;
use crate::{
    domain::{
        Name, PredictionId, Timestamp,
        dataset::Digest,
        prediction::{ModelOutput, Prediction, Timing},
    },
    inference::Engine,
    memory_budget::MemoryBudget,
    storage::predictions::NewPrediction,
};

/// Predictions that may wait.
const CAPACITY: usize = 10_000;
/// Bytes of photos that may wait, at most.
const PHOTO_BYTES: u64 = 64 << 20;
/// And at most this part of the memory that requests share.
const MEMORY_PART: u64 = 8;
/// Classes of which all probabilities are kept.
const MAX_CLASSES: usize = 50;
/// Characters of a file name that are kept.
const MAX_NAME: usize = 255;

/// What is kept of an image of a request.
#[derive(Debug, Clone)]
pub struct RecordedImage {
    /// Its hash.
    pub sha256: Digest,
    /// Its encoded bytes, if photos are kept.
    pub bytes: Option<Bytes>,
}

/// The predictions of a request, to be recorded.
#[derive(Debug)]
pub struct Recorded<'a> {
    /// The model.
    pub engine: &'a Arc<Engine>,
    /// Name of the API token.
    pub token: Option<Name>,
    /// Timing of the request.
    pub timing: Timing,
    /// What the model computed for each image.
    pub outputs: &'a [ModelOutput],
    /// Each image.
    pub images: Vec<RecordedImage>,
}

/// A prediction that waits to be written.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) engine: Arc<Engine>,
    pub(super) prediction: NewPrediction,
    pub(super) photo: Option<Bytes>,
}

impl Entry {
    fn photo_bytes(&self) -> u64 {
        self.photo.as_ref().map_or(0, |photo| photo.len() as u64)
    }
}

/// What became of recorded predictions since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Predictions that wait.
    pub queued: u64,
    /// Predictions that were written.
    pub written: u64,
    /// Predictions that were dropped because too many were waiting.
    pub dropped: u64,
    /// Photos that could not be kept.
    pub photos_dropped: u64,
}

#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    max_photo_bytes: u64,
    pub(super) written: AtomicU64,
    dropped: AtomicU64,
    pub(super) photos_dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    entries: VecDeque<Entry>,
    photo_bytes: u64,
}

impl Queue {
    pub(super) fn new(memory: &MemoryBudget) -> Self {
        Self {
            waiting: Mutex::default(),
            max_photo_bytes: PHOTO_BYTES.min(memory.total() / MEMORY_PART),
            written: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            photos_dropped: AtomicU64::new(0),
        }
    }

    /// The next entries, at most `limit`.
    pub(super) fn take(&self, limit: usize) -> Vec<Entry> {
        let mut waiting = self.waiting();
        let count = waiting.entries.len().min(limit);
        let taken: Vec<_> = waiting.entries.drain(..count).collect();
        waiting.photo_bytes -= taken.iter().map(Entry::photo_bytes).sum::<u64>();
        taken
    }

    /// Puts entries back that could not be written.
    pub(super) fn put_back(&self, entries: Vec<Entry>) {
        let mut waiting = self.waiting();
        for entry in entries.into_iter().rev() {
            waiting.photo_bytes += entry.photo_bytes();
            waiting.entries.push_front(entry);
        }
    }

    /// Adds entries; returns whether there was room for all of them.
    fn push(&self, entries: Vec<Entry>) -> bool {
        let mut waiting = self.waiting();
        if waiting.entries.len() + entries.len() > CAPACITY {
            self.dropped.fetch_add(entries.len() as u64, Relaxed);
            return false;
        }
        for mut entry in entries {
            if waiting.photo_bytes + entry.photo_bytes() > self.max_photo_bytes {
                entry.photo = None;
                self.photos_dropped.fetch_add(1, Relaxed);
            }
            waiting.photo_bytes += entry.photo_bytes();
            waiting.entries.push_back(entry);
        }
        true
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal {
    /// What is to be recorded of an image; `None` if predictions are not logged. Hashes it: for a thread
    /// that may block.
    #[must_use]
    pub fn image(&self, bytes: &Bytes) -> Option<RecordedImage> {
        self.is_on().then(|| RecordedImage {
            sha256: Digest::of(bytes),
            bytes: self.0.config.prediction_log_photos.then(|| bytes.clone()),
        })
    }

    /// Records predictions, without waiting for the disk, and gives each its id. If too many are waiting to
    /// be written, they are not recorded and get none.
    pub fn record(&self, recorded: Recorded<'_>, predictions: &mut [Prediction]) {
        let Recorded { engine, token, timing, outputs, images } = recorded;
        if !self.is_on() || images.len() != predictions.len() {
            return;
        }
        let now = Timestamp::now();
        let of_image = predictions.iter().zip(outputs).zip(images);
        let entries: Vec<_> = of_image
            .map(|((prediction, output), image)| Entry {
                engine: Arc::clone(engine),
                photo: image.bytes,
                prediction: NewPrediction {
                    id: PredictionId::new(),
                    created_at: now,
                    sha256: image.sha256,
                    file_name: prediction
                        .file_name
                        .as_ref()
                        .map(|name| name.chars().take(MAX_NAME).collect()),
                    label: prediction.label.clone(),
                    probability: prediction.probability,
                    probabilities: in_order(engine, prediction),
                    reason: prediction.reason,
                    distance: output.distance,
                    token: token.clone(),
                    timing,
                },
            })
            .collect();
        let ids: Vec<_> = entries.iter().map(|entry| entry.prediction.id).collect();
        if !self.0.queue.push(entries) {
            return;
        }
        for (prediction, id) in predictions.iter_mut().zip(ids) {
            prediction.id = Some(id);
        }
        self.0.arrived.notify_one();
    }

    /// What became of recorded predictions since the start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let queue = &self.0.queue;
        Counts {
            queued: queue.waiting().entries.len() as u64,
            written: queue.written.load(Relaxed),
            dropped: queue.dropped.load(Relaxed),
            photos_dropped: queue.photos_dropped.load(Relaxed),
        }
    }
}

/// The probabilities in the order of the classes, unless there are many.
#[expect(clippy::cast_possible_truncation, reason = "seven digits are enough")]
fn in_order(engine: &Engine, prediction: &Prediction) -> Option<Vec<f32>> {
    let names = engine.card().classes.names();
    let probabilities = names.iter().map(|name| prediction.probabilities.get(name));
    (names.len() <= MAX_CLASSES)
        .then(|| probabilities.map(|it| it.copied().unwrap_or(0.0) as f32).collect())
}
