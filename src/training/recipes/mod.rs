//! The recipes: a page each, on the learner.

mod scratch_cnn;

use super::{
    control::Control,
    device::Compute,
    events::{Event, Events},
    failure::{End, Failure},
    pixels::{Pixels, Size},
    spec::Job,
};
use crate::{
    datasets::blobs,
    domain::{
        dataset::{Sample, Split},
        job::{Phase, Progress},
        model::Preprocessing,
        recipe::Recipe,
    },
    vision,
    weights::checkpoint::Checkpoints,
};

/// Trains `job` by its recipe, to a model in its folder.
///
/// # Errors
/// Whatever ended it before that.
pub fn train(job: &Job, control: &Control, events: &Events) -> Result<(), End> {
    match job.spec.recipe {
        Recipe::ScratchCnn => scratch_cnn::train(job, control, events),
    }
}

/// What every recipe begins with: the job's splits decoded, and its state where it left off.
struct Prepared {
    compute: Compute,
    pixels: Pixels,
    train: Vec<Sample>,
    validation: Vec<Sample>,
    test: Vec<Sample>,
    checkpoints: Checkpoints,
    checkpoint: Option<crate::weights::Checkpoint>,
}

fn prepare(
    job: &Job,
    preprocessing: &Preprocessing,
    control: &Control,
    events: &Events,
) -> Result<Prepared, End> {
    let compute = Compute::choose(&job.spec.params)?;
    let checkpoints =
        Checkpoints::open(&job.folder).map_err(|error| Failure::io(&job.folder, &error))?;
    let checkpoint = checkpoints.load(|path, error| {
        tracing::warn!(
            path = %path.display(),
            error = crate::telemetry::chain(error),
            "a checkpoint can't be read; using the one before it"
        );
    });
    let completed_epochs = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.position.epoch);
    events.send(&Event::Started {
        device: compute.device_name().to_owned(),
        precision: compute.precision,
        completed_epochs,
    });
    let [train, validation, test] = Split::ALL.map(|split| job.split(split));
    let pixels = decode(job, preprocessing, completed_epochs, control, events)?;
    tracing::info!(
        device = compute.device_name(),
        precision = compute.precision.as_str(),
        threads = job.spec.threads,
        train = train.len(),
        validation = validation.len(),
        test = test.len(),
        completed_epochs,
        "ready to train"
    );
    Ok(Prepared { compute, pixels, train, validation, test, checkpoints, checkpoint })
}

/// Decodes what the cache lacks, telling of it once a second.
fn decode(
    job: &Job,
    preprocessing: &Preprocessing,
    completed_epochs: u32,
    control: &Control,
    events: &Events,
) -> Result<Pixels, End> {
    let spec = &job.spec;
    let limits = vision::Limits { max_pixels: spec.max_image_pixels };
    let size = Size { width: preprocessing.width, height: preprocessing.height };
    let mut reported = None;
    Pixels::prepare(
        &spec.cache,
        size,
        &job.samples,
        spec.threads,
        |sample, image| {
            let bytes =
                blobs::read(&spec.blobs, &sample.sha256).map_err(|error| error.to_string())?;
            vision::prepare_into(&bytes, &limits, preprocessing, image)
                .map_err(|error| error.to_string())
        },
        |ready| {
            control.check_unless_stopped()?;
            let due = reported.is_none_or(|at: std::time::Instant| at.elapsed().as_secs() >= 1);
            if due || ready == job.samples.len() {
                reported = Some(std::time::Instant::now());
                events.send(&Event::Progress(Progress {
                    phase: Phase::Preparing,
                    epoch: completed_epochs,
                    epochs: spec.params.epochs,
                    step: ready as u64,
                    steps: job.samples.len() as u64,
                    eta_seconds: None,
                }));
            }
            Ok(())
        },
    )
}
