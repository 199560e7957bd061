//! What a job needs, before it is queued: a trainer runs a few of its steps on a few of its images, in a
//! temporary folder with caches of its own, and is measured.
//!
//! One probe runs at a time, for seconds; it is killed if its client leaves. What it found is remembered for
//! a while, so that the same job is refused if it can't fit.

mod needs;
mod remembered;
mod room;
mod sample;
mod timeline;

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::OwnedSemaphorePermit,
    time::{sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

pub(super) use self::{needs::shortage, remembered::Probes};
use self::{
    needs::{
        Disk, Needs, Sizes, disk_of, lacking, least_disk, least_memory, memory_of_data, missing,
    },
    remembered::key,
    sample::{images, small},
    timeline::Timeline,
};
use super::{Error, NewJob, Scheduler, blocking::blocking, commands::Draft, weights::link};
use crate::{
    domain::{
        dataset::Sample,
        estimate::{
            Images, Target,
            probe::{Durations, JobEstimate, Need, Probe, durations},
        },
        job::JobError,
        model::Architecture,
    },
    executors::{End, Run},
    memory_budget::usable_memory,
    pretrained::State,
    storage::jobs,
    training::{control::Command, events::Event, spec},
};

/// How long a probe may take. If there was no step by then, an estimate follows from the forward passes so far.
const LONGEST: Duration = Duration::from_secs(20);
/// A probe that took less is repeated with so many times the images: the first steps on a GPU are slow.
const QUICK: f64 = 3.0;
const MORE_IMAGES: usize = 8;
/// How long its trainer may take to end after that.
const EXIT_TIMEOUT: Duration = Duration::from_secs(5);

/// How a probe ended.
struct Outcome {
    timeline: Timeline,
    /// Why its trainer did not finish.
    error: Option<JobError>,
    seconds: f64,
    sizes: Sizes,
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
        let mut few = sample::few(&draft.samples, &draft.spec, 1);
        let mut outcome = self.run_probe(&draft, &few, &left).await?;
        let more = sample::few(&draft.samples, &draft.spec, MORE_IMAGES);
        if outcome.error.is_none() && outcome.seconds < QUICK && more.len() > few.len() {
            let repeated = self.run_probe(&draft, &more, &left).await?;
            if repeated.error.is_none() {
                (few, outcome) = (more, repeated);
            }
        }
        drop(permit);
        let images = images(&draft.samples);
        let target = self.target(&draft, images);
        let Draft { spec, samples, warnings, .. } = draft;
        let probed = self::images(&few);
        let measured = outcome.timeline.measured(
            spec.params.head_from.is_some(),
            spec.params.batch_size.into(),
            probed.train,
            probed.validation,
        );
        let missing = missing(&outcome.sizes.caches);
        let time = durations(spec.recipe, &spec.params, &target, missing, &measured, probed);
        let complete = outcome.error.is_none();
        // A trainer that failed before its first step has measured too little.
        let late = outcome.error.as_ref().is_some_and(|error| error.code == TOO_SLOW);
        let time = time.filter(|_| complete || late || measured.step.is_some());
        let needs = Needs {
            memory: outcome.timeline.peak.map(|peak| peak + memory_of_data(&spec, images)),
            disk: complete.then(|| disk_of(outcome.sizes, &spec, images, few.len(), samples.len())),
        };
        let memory = Need { needed: needs.memory, available: memory };
        let needed = needs.disk.as_ref().map(Disk::bytes);
        let disk = Need { needed, available: room::disk(self.0.data_dir.root()) };
        self.0.probes.remember(key(&spec), needs);
        let remote = self.0.executor.is_remote();
        let mut problems: Vec<_> =
            outcome.error.filter(|error| error.code != TOO_SLOW).into_iter().collect();
        if !remote {
            problems.extend(lacking("memory", memory));
        }
        problems.extend(lacking("disk", disk));
        let mut warnings = warnings;
        warnings.extend(caveats(busy, remote));
        warnings.extend(doubts(time.is_some(), complete, measured.step.is_some(), &problems));
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
        let known = self.0.probes.recall(&key(&draft.spec)).unwrap_or_default();
        let (spec, samples) = (draft.spec.clone(), draft.samples.clone());
        let cache = self.0.data_dir.cache();
        let found = tokio::task::spawn_blocking(move || {
            let memory = match known.memory {
                Some(needed) => Need { needed: Some(needed), available: room::memory(waits) },
                None => Need { needed: least_memory(&spec, &samples), available: usable_memory() },
            };
            let needed = match known.disk {
                Some(disk) => disk.bytes_now(&cache, &samples),
                None => least_disk(spec.recipe, &cache, &samples),
            };
            (memory, Need { needed: needed.ok(), available: room::disk(&cache) })
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

/// What to know about an estimate of the time, or about that there is none, if the job fits.
fn doubts(
    estimated: bool,
    complete: bool,
    has_steps: bool,
    problems: &[JobError],
) -> Option<JobError> {
    match (estimated, complete) {
        _ if !problems.is_empty() => None,
        (false, false) => Some(too_slow()),
        (false, true) => Some(not_measured()),
        (true, false) if !has_steps => Some(rough()),
        (true, _) => None,
    }
}

fn rough() -> JobError {
    let seconds = LONGEST.as_secs();
    let detail = format!(
        "a rough estimate from forward passes alone: the first steps take more than {seconds} s"
    );
    JobError { code: "rough_estimate".to_owned(), detail }
}

fn not_measured() -> JobError {
    let detail = "no estimate of the time: the probe had too few steps to measure".to_owned();
    JobError { code: "not_measured".to_owned(), detail }
}

/// Kills a trainer that nobody waits for any more.
async fn end<T>(run: Run) -> Result<T, Error> {
    run.kill.cancel();
    drop(run.reports);
    let _ = timeout(EXIT_TIMEOUT, run.ended).await;
    Err(Error::ShuttingDown)
}

/// What to know about an estimate.
fn caveats(busy: usize, remote: bool) -> Vec<JobError> {
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
    caveats
}
