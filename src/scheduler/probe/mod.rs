//! What a job needs, before it is queued: a trainer runs a few of its steps on a few of its images, in a
//! temporary folder with caches of its own, and is measured.
//!
//! One probe runs at a time, for seconds; it is killed if its client leaves. What it found is remembered for
//! a while, so that the same job is refused if it can't fit.

mod room;
mod timeline;

use std::{
    collections::{HashMap, VecDeque},
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use self::{
    room::{Cache, CacheKind},
    timeline::Timeline,
};
use super::{Error, NewJob, Scheduler, blocking::blocking, commands::Draft, weights::link};
use crate::{
    device::cuda_is_available,
    domain::{
        base::Base,
        dataset::{Sample, Split},
        estimate::{
            Images, Target,
            probe::{Durations, JobEstimate, Missing, Need, Probe, durations},
        },
        job::JobError,
        model::Architecture,
        parameters::Params,
        preprocessing::Preprocessing,
        recipe::{DeviceChoice, PrecisionChoice, Recipe},
    },
    executors::{End, Run},
    memory_budget::usable_memory,
    neighbours,
    pretrained::State,
    storage::jobs,
    training::{
        control::Command,
        events::Event,
        finish::MODEL,
        spec::{self, MANIFEST, Spec},
    },
    weights::checkpoint,
};

/// How long a probe may take. If there was no step by then, there is no estimate of the time.
const LONGEST: Duration = Duration::from_secs(20);
/// How long its trainer may take to end after that.
const EXIT_TIMEOUT: Duration = Duration::from_secs(5);
/// Training images of a probe of small batches, and steps of one of large batches.
const TRAIN: usize = 128;
const MIN_STEPS: usize = 2;
/// Its other images.
const VALIDATION: usize = 32;
const TEST: usize = 16;
/// Probes that are remembered.
const REMEMBERED: usize = 32;
/// Of the bytes of the regression's features, as fp32: they are gathered, and converted.
const REGRESSION_COPIES: f64 = 1.5;
/// Bytes of an image in the lists of a trainer: its sample, and its place in the caches.
const SAMPLE_BYTES: f64 = 250.0;

/// The probe in progress, and what earlier ones found.
#[derive(Debug)]
pub(super) struct Probes {
    running: Arc<Semaphore>,
    /// Needs of jobs, newest last.
    remembered: Mutex<VecDeque<(String, Needs)>>,
}

impl Default for Probes {
    fn default() -> Self {
        Self { running: Arc::new(Semaphore::new(1)), remembered: Mutex::default() }
    }
}

/// Bytes that a job needs.
#[derive(Debug, Clone, Copy, Default)]
struct Needs {
    memory: Option<u64>,
    disk: Option<u64>,
}

impl Probes {
    fn remember(&self, job: String, needs: Needs) {
        let mut all = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(other, _)| *other != job);
        all.push_back((job, needs));
        if all.len() > REMEMBERED {
            all.pop_front();
        }
    }

    fn recall(&self, job: &str) -> Option<Needs> {
        let all = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().find(|(other, _)| other == job).map(|(_, needs)| *needs)
    }
}

/// What makes two jobs need the same.
fn key(spec: &Spec) -> String {
    let Spec { recipe, params, dataset_version, .. } = spec;
    serde_json::to_string(&(recipe, params, dataset_version)).unwrap_or_default()
}

/// Says what is lacking.
pub(super) fn shortage(resource: &str, needed: u64, available: u64) -> String {
    let (what, remedy) = match resource {
        "memory" => ("memory", "use a smaller batch_size, or free memory"),
        _ => ("disk space", "free disk space in the data directory"),
    };
    format!(
        "the job needs about {} of {what}, and {} are available: {remedy}, or set `force` to queue it anyway",
        bytes(needed),
        bytes(available)
    )
}

fn bytes(count: u64) -> String {
    let count = count as f64;
    if count >= 1e9 { format!("{:.1} GB", count / 1e9) } else { format!("{:.0} MB", count / 1e6) }
}

/// How a probe ended.
struct Outcome {
    timeline: Timeline,
    /// Why its trainer did not finish.
    error: Option<JobError>,
    seconds: f64,
    sizes: Sizes,
}

/// Bytes of what a probe left in its folder.
#[derive(Debug, Default)]
struct Sizes {
    manifest: u64,
    checkpoint: u64,
    head_checkpoint: u64,
    model: u64,
    caches: Vec<Cache>,
}

impl Scheduler {
    /// Measures a few steps of a job, and estimates what all of it needs. Nothing is queued.
    ///
    /// # Errors
    /// As [`Scheduler::submit`]; or another job is being probed, the weights of its base network are missing,
    /// or its trainer can't be started.
    pub async fn probe(&self, new: NewJob) -> Result<JobEstimate, Error> {
        let name = new.name.clone();
        let running = Arc::clone(&self.0.probes.running);
        let permit = running.try_acquire_owned().map_err(|_| Error::ProbeRunning)?;
        let draft = {
            let _snapshot = self.0.snapshot_lock.lock().await;
            self.draft(new).await?
        };
        if let Some(name) = name {
            self.check_name(&name).await?;
        }
        // The task ends the trainer and removes its folder, even if this request is dropped.
        let left = CancellationToken::new();
        let _client = left.clone().drop_guard();
        let scheduler = self.clone();
        let work = async move { scheduler.measure(draft, left, permit).await };
        tokio::spawn(work).await.map_err(|error| Error::Folder(io::Error::other(error)))?
    }

    async fn check_name(&self, name: &crate::domain::Name) -> Result<(), Error> {
        let mut connection = self.0.storage.read().await?;
        let taken = jobs::find(&mut connection, name).await?.is_some()
            || crate::storage::models::name_is_taken(&mut connection, name).await?;
        if taken { Err(crate::storage::Error::NameTaken(name.to_string()).into()) } else { Ok(()) }
    }

    async fn measure(
        &self,
        mut draft: Draft,
        left: CancellationToken,
        permit: OwnedSemaphorePermit,
    ) -> Result<JobEstimate, Error> {
        self.link_base_weights(&mut draft)?;
        let waits = self.running().len() >= self.0.config.max_running_jobs.get();
        let busy = self.running().len();
        let memory = tokio::task::spawn_blocking(move || room::memory(waits)).await.ok().flatten();
        let few = few(&draft.samples, &draft.spec);
        let outcome = self.run_probe(&draft, &few, &left).await?;
        drop(permit);
        let images = images(&draft.samples);
        let target = self.target(&draft, images);
        let Draft { spec, samples, warnings, .. } = draft;
        let probed = self::images(&few);
        let measured = outcome.timeline.measured(
            spec.recipe,
            spec.params.batch_size.into(),
            probed.train,
            probed.validation,
        );
        let missing = missing(&outcome.sizes.caches);
        let time = durations(spec.recipe, &spec.params, &target, missing, &measured, probed);
        // What an unfinished probe has measured so far is too little.
        let complete = outcome.error.is_none();
        let time = time.filter(|_| complete || measured.step.is_some());
        let needs = Needs {
            memory: outcome.timeline.peak.map(|peak| peak + memory_of_data(&spec, images)),
            disk: complete
                .then(|| disk_of(&outcome.sizes, &spec, images, few.len(), samples.len())),
        };
        self.0.probes.remember(key(&spec), needs);
        let memory = Need { needed: needs.memory, available: memory };
        let disk = Need { needed: needs.disk, available: room::disk(self.0.data_dir.root()) };
        let remote = self.0.executor.is_remote();
        let mut problems: Vec<_> =
            outcome.error.filter(|error| error.code != TOO_SLOW).into_iter().collect();
        if !remote {
            problems.extend(lacking("memory", memory));
        }
        problems.extend(lacking("disk", disk));
        let mut warnings = warnings;
        warnings.extend(caveats(busy, remote, time.is_none() && problems.is_empty()));
        let queue_seconds = self.queue_seconds().await?;
        let seconds = time.map(|Durations { job, .. }| job);
        let ends_at = seconds.zip(queue_seconds).and_then(|(job, queue)| {
            let wait = jiff::SignedDuration::try_from_secs_f64(job + queue).ok()?;
            jiff::Timestamp::now().checked_add(wait).ok()
        });
        Ok(JobEstimate {
            fits: problems.is_empty(),
            problems,
            warnings,
            seconds_per_epoch: time.map(|Durations { epoch, .. }| epoch),
            epochs: spec.params.epochs,
            seconds,
            queue_seconds,
            ends_at,
            memory,
            disk,
            probe: Probe {
                device: outcome.timeline.device.clone(),
                precision: outcome.timeline.precision,
                images: probed.train as u64,
                steps: outcome.timeline.steps(),
                seconds: outcome.seconds,
            },
        })
    }

    /// Adds the published weights of the job's base network to what is linked into its folder.
    fn link_base_weights(&self, draft: &mut Draft) -> Result<(), Error> {
        let published = draft.spec.recipe.base().filter(|base| base.shipped().is_none());
        let Some(base) = published else { return Ok(()) };
        let file = base.weights_file();
        // Those below the head of another job come from that job.
        if draft.files.iter().any(|(_, name)| *name == file) {
            return Ok(());
        }
        if self.0.pretrained.status().state != State::Ready {
            return Err(Error::WeightsMissing(base.title));
        }
        draft.files.push((self.0.pretrained.file(), file));
        Ok(())
    }

    fn target(&self, draft: &Draft, images: Images) -> Target {
        let engine = self.0.registry.engine_in_service();
        let card = engine.as_ref().map(|engine| engine.card());
        let rival = card.filter(|card| card.classes.has_names_of(&draft.spec.classes));
        let rival: Option<Architecture> = rival.map(|card| card.architecture);
        let classes = draft.spec.classes.names().len();
        Target { dataset: Some(draft.dataset_id), classes, images, bytes: 0.0, rival }
    }

    async fn run_probe(
        &self,
        draft: &Draft,
        few: &[Sample],
        left: &CancellationToken,
    ) -> Result<Outcome, Error> {
        let Draft { spec, samples, files, .. } = draft;
        let tmp = self.0.data_dir.tmp();
        let (server_cache, spec, files) = (self.0.data_dir.cache(), spec.clone(), files.clone());
        let (few, samples) = (few.to_vec(), samples.clone());
        let prepared = few.clone();
        let folder = blocking(move || {
            let folder = tempfile::Builder::new().prefix("probe-").tempdir_in(tmp)?;
            let cache = folder.path().join("cache");
            std::fs::create_dir(&cache)?;
            let spec = small(spec, &prepared, &cache);
            spec::Job::create(folder.path(), &spec, &prepared)?;
            files.iter().try_for_each(|(file, name)| link(file, &folder.path().join(name)))?;
            Ok(folder)
        });
        let folder = folder.await.map_err(Error::Folder)?;
        let started = Instant::now();
        let run = self.0.executor.probe(folder.path()).map_err(Error::Folder)?;
        let (timeline, error) = self.watch(run, started, left).await?;
        let seconds = started.elapsed().as_secs_f64();
        let sizes = blocking(move || {
            let sizes = Sizes::of(folder.path(), &server_cache, &few, &samples);
            folder.close()?;
            sizes
        });
        let sizes = sizes.await.map_err(Error::Folder)?;
        Ok(Outcome { timeline, error, seconds, sizes })
    }

    /// Reads what the trainer reports until it has ended.
    async fn watch(
        &self,
        mut run: Run,
        started: Instant,
        left: &CancellationToken,
    ) -> Result<(Timeline, Option<JobError>), Error> {
        let mut timeline = Timeline::default();
        let mut error = None;
        let mut deadline = started + LONGEST;
        let mut late = false;
        loop {
            tokio::select! {
                report = run.reports.recv() => {
                    let Some(report) = report else { break };
                    timeline.note(started.elapsed().as_secs_f64(), &report.event);
                    if let Event::Failed { code, detail } = report.event {
                        error = Some(JobError { code, detail });
                    }
                }
                () = left.cancelled() => return end(run).await,
                () = self.0.shutdown.cancelled() => return end(run).await,
                () = sleep_until(deadline.into()) => {
                    if late {
                        run.kill.cancel();
                    }
                    late = true;
                    deadline += EXIT_TIMEOUT;
                    error = Some(too_slow());
                    // It reports its memory before it ends.
                    let _ = run.commands.send(Command::Cancel);
                }
            }
        }
        let ended = run.ended.await;
        let complete = timeline.is_complete();
        Ok((
            timeline,
            match ended {
                _ if complete => None,
                Ok(End::Died(died) | End::NotStarted(died)) => error.or(Some(died)),
                Err(panicked) => return Err(Error::Folder(io::Error::other(panicked))),
            },
        ))
    }

    /// Refuses a job that needs more than there is, as far as that is known: from a probe of the same job, or
    /// from what its recipe needs at the very least.
    pub(super) async fn check_room(&self, draft: &Draft) -> Result<(), Error> {
        if self.0.executor.is_remote() {
            return Ok(());
        }
        let waits = self.running().len() >= self.0.config.max_running_jobs.get();
        let known = self.0.probes.recall(&key(&draft.spec));
        let (spec, samples) = (draft.spec.clone(), draft.samples.clone());
        let cache = self.0.data_dir.cache();
        let found = tokio::task::spawn_blocking(move || {
            let memory = match known.and_then(|needs| needs.memory) {
                Some(needed) => Need { needed: Some(needed), available: room::memory(waits) },
                None => Need { needed: least_memory(&spec, &samples), available: usable_memory() },
            };
            let needed = match known.and_then(|needs| needs.disk) {
                Some(needed) => Some(needed),
                None => least_disk(spec.recipe, &cache, &samples).ok(),
            };
            (memory, Need { needed, available: room::disk(&cache) })
        });
        let Ok((memory, disk)) = found.await else { return Ok(()) };
        for (resource, need) in [("memory", memory), ("disk", disk)] {
            if let Some((needed, available)) = need.exceeds() {
                return Err(Error::DoesNotFit { resource, needed, available });
            }
        }
        Ok(())
    }
}

const TOO_SLOW: &str = "too_slow";

fn too_slow() -> JobError {
    let seconds = LONGEST.as_secs();
    let detail = format!("no estimate of the time: the first steps took more than {seconds} s");
    JobError { code: TOO_SLOW.to_owned(), detail }
}

/// Kills a trainer that nobody waits for any more.
async fn end<T>(run: Run) -> Result<T, Error> {
    run.kill.cancel();
    drop(run.reports);
    let _ = timeout(EXIT_TIMEOUT, run.ended).await;
    Err(Error::ShuttingDown)
}

fn lacking(resource: &'static str, need: Need) -> Option<JobError> {
    let (needed, available) = need.exceeds()?;
    let detail = shortage(resource, needed, available);
    Some(JobError { code: format!("not_enough_{resource}"), detail })
}

/// What to know about an estimate.
fn caveats(busy: usize, remote: bool, unknown: bool) -> Vec<JobError> {
    let warning = |code: &str, detail: String| JobError { code: code.to_owned(), detail };
    let mut caveats = Vec::new();
    if busy > 0 {
        let jobs =
            if busy == 1 { "another job ran".to_owned() } else { format!("{busy} other jobs ran") };
        caveats.push(warning("busy", format!("{jobs} meanwhile: alone, this one is faster")));
    }
    if remote {
        caveats.push(warning(
            "other_machine",
            "measured on the server's machine; the job will run on the cluster".to_owned(),
        ));
    }
    if unknown {
        caveats.push(too_slow());
    }
    caveats
}

/// The images of a probe: of each split a few of each class.
fn few(samples: &[Sample], spec: &Spec) -> Vec<Sample> {
    let batch = spec.params.batch_size as usize;
    let classes = spec.classes.names().len();
    let train = (TRAIN / batch).max(MIN_STEPS) * batch;
    let of = |split, count: usize| {
        let of_split: Vec<_> = samples.iter().filter(|it| it.split == split).copied().collect();
        evenly(&of_split, count.max(classes))
    };
    let mut few = of(Split::Train, train);
    few.extend(of(Split::Validation, VALIDATION));
    few.extend(of(Split::Test, TEST));
    few.sort_by_key(|sample| sample.sha256);
    few
}

/// `count` of `samples`: the first of each class, then the second, and so on.
fn evenly(samples: &[Sample], count: usize) -> Vec<Sample> {
    let mut ranks = HashMap::new();
    let mut ranked: Vec<_> = samples
        .iter()
        .map(|sample| {
            let rank = ranks.entry(sample.label).or_insert(0_usize);
            *rank += 1;
            (*rank, *sample)
        })
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().take(count).map(|(_, sample)| sample).collect()
}

fn images(samples: &[Sample]) -> Images {
    let of = |split| samples.iter().filter(|sample| sample.split == split).count() as f64;
    let [train, validation, test] = Split::ALL.map(of);
    Images { train, validation, test }
}

/// The spec of a probe: one epoch on these images, with a cache of its own.
fn small(spec: Spec, few: &[Sample], cache: &Path) -> Spec {
    let head_epochs = spec.params.head_epochs.map(|_| 1);
    let params = Params { epochs: 1, head_epochs, ..spec.params.clone() };
    let dataset_version = spec.version_of(few);
    Spec { params, dataset_version, cache: cache.to_owned(), ..spec }
}

impl Sizes {
    fn of(
        folder: &Path,
        server_cache: &Path,
        few: &[Sample],
        samples: &[Sample],
    ) -> io::Result<Self> {
        Ok(Self {
            manifest: room::size(&folder.join(MANIFEST)),
            checkpoint: room::largest(&folder.join(checkpoint::FOLDER)),
            head_checkpoint: room::largest(&folder.join(checkpoint::HEAD_FOLDER)),
            model: room::size(&folder.join(MODEL)),
            caches: room::caches(&folder.join("cache"), server_cache, few, samples)?,
        })
    }
}

fn missing(caches: &[Cache]) -> Missing {
    let of = |kind| -> f64 {
        let of_kind = caches.iter().filter(|cache| cache.kind == kind);
        of_kind.map(|cache| cache.missing as f64).sum()
    };
    Missing {
        pixels: of(CacheKind::Pixels),
        features: of(CacheKind::Features),
        maps: of(CacheKind::Maps),
    }
}

/// Bytes of memory of a job beyond those of its probe, which had few images.
fn memory_of_data(spec: &Spec, images: Images) -> u64 {
    let regression = match spec.recipe {
        Recipe::Features(base) if base.head.hidden.is_none() => {
            images.train * base.features as f64 * 4.0 * REGRESSION_COPIES
        }
        _ => 0.0,
    };
    (regression + images.total() * SAMPLE_BYTES) as u64
}

/// Bytes of disk space of a job with these images, of which a probe with `few` left those sizes: two
/// checkpoints, the model with features of up to 1000 training images, and what the caches lack.
fn disk_of(sizes: &Sizes, spec: &Spec, images: Images, few: usize, all: usize) -> u64 {
    let caches: u64 = sizes.caches.iter().map(|cache| cache.missing * cache.record).sum();
    let manifest = sizes.manifest * all as u64 / few.max(1) as u64;
    let width = spec.recipe.base().map_or(0, Base::channels) as u64;
    let neighbours = (images.train as u64).min(neighbours::MAX_IMAGES as u64) * width;
    caches + manifest + 2 * (sizes.checkpoint + sizes.head_checkpoint) + sizes.model + neighbours
}

/// Bytes of memory that any job with this recipe and batch size takes on the CPU, as measured; half of
/// them if its numbers may have half the size.
fn least_memory(spec: &Spec, samples: &[Sample]) -> Option<u64> {
    let Params { device, precision, batch_size, .. } = spec.params;
    if device != DeviceChoice::Cpu && cuda_is_available() {
        return None;
    }
    let train = images(samples).train as u32;
    // The recipe says half as much again as trainers took.
    let taken = spec.recipe.trainer_memory(batch_size.min(train)) / 3 * 2;
    Some(if precision == PrecisionChoice::Fp32 { taken } else { taken / 2 })
}

/// Bytes of the images that a job has to decode into the cache.
fn least_disk(recipe: Recipe, cache: &Path, samples: &[Sample]) -> io::Result<u64> {
    let side = recipe.base().map_or(crate::domain::estimate::CNN_SIDE, |base| base.side);
    let index = cache.join(format!("{side}x{side}-v{}.index", Preprocessing::VERSION));
    Ok(room::missing(&index, samples)? * u64::from(side) * u64::from(side) * 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ImageId, dataset::Digest};

    #[test]
    fn a_probe_has_images_of_each_class() {
        let sample = |label| Sample {
            image_id: ImageId::new(),
            sha256: Digest::of(b"x"),
            label,
            split: Split::Train,
        };
        let samples: Vec<_> = [0, 0, 0, 0, 1, 2].map(sample).to_vec();
        let labels: Vec<_> = evenly(&samples, 4).iter().map(|sample| sample.label).collect();
        assert_eq!(labels, [0, 1, 2, 0]);
    }

    #[test]
    fn the_least_memory_grows_with_the_batch_and_ends_with_the_images() {
        let sample = || Sample {
            image_id: ImageId::new(),
            sha256: Digest::of(b"x"),
            label: 0,
            split: Split::Train,
        };
        let samples: Vec<_> = std::iter::repeat_with(sample).take(2000).collect();
        let spec = |batch_size, precision| Spec {
            job_id: crate::domain::JobId::new(),
            model_id: crate::domain::ModelId::new(),
            name: "job".parse().unwrap(),
            recipe: Recipe::ScratchCnn,
            params: Params {
                batch_size,
                precision,
                device: DeviceChoice::Cpu,
                ..Params::defaults(Recipe::ScratchCnn)
            },
            dataset: "pets".parse().unwrap(),
            dataset_version: Digest::of(b""),
            named_version: false,
            classes: ["cat", "dog"].map(|name| name.parse().unwrap()).to_vec().try_into().unwrap(),
            threads: 1,
            max_image_pixels: 1,
            blobs: "blobs".into(),
            cache: "cache".into(),
        };
        let least = |batch, precision, images: &[Sample]| {
            least_memory(&spec(batch, precision), images).unwrap() as f64
        };
        let fp32 = PrecisionChoice::Fp32;
        // 230 MB, and 17 MB of each image.
        assert!((least(1024, fp32, &samples) / 17.638e9 - 1.0).abs() < 0.01);
        assert!((least(1024, fp32, &samples[..4]) / 298e6 - 1.0).abs() < 0.01);
        assert!((least(32, PrecisionChoice::Auto, &samples) / 387e6 - 1.0).abs() < 0.01);
    }

    #[test]
    fn the_newest_probes_are_remembered() {
        let probes = Probes::default();
        for number in 0..REMEMBERED as u64 + 1 {
            let needs = Needs { memory: Some(number), disk: None };
            probes.remember(number.to_string(), needs);
        }
        assert!(probes.recall("0").is_none());
        probes.remember("1".to_owned(), Needs { memory: Some(7), disk: None });
        assert_eq!(probes.recall("1").and_then(|needs| needs.memory), Some(7));
        probes.remember("new".to_owned(), Needs::default());
        assert!(probes.recall("2").is_none(), "the oldest");
        assert!(probes.recall("1").is_some());
    }

    #[test]
    fn a_shortage_is_said_in_figures() {
        let words = shortage("memory", 9_120_000_000, 400_000_000);
        assert!(words.contains("9.1 GB of memory, and 400 MB are available"), "{words}");
        assert!(shortage("disk", 1, 0).contains("disk space"));
    }
}
