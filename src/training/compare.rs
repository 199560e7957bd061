//! Evaluates another model on the validation and test images of a job: the model in service, which
//! the job's own may replace. Run as `pawprint trainer <folder> --compare <model>` after training.

use std::{path::Path, time::Instant};

use super::{
    control::Control,
    evaluate,
    events::{Event, Events},
    failure::{Failure, StopReason},
    image_cache,
    input_pipeline::InputPipeline,
    record_store::RecordStore,
    spec::Job,
};
use crate::{
    architectures::Network,
    device::ComputeConfig,
    domain::{
        dataset::{Classes, Sample, Split},
        evaluation::{self, ScoredSample},
        objective::Objective,
        preprocessing::Preprocessing,
        service::ComparisonMetrics,
    },
    error_chain::chain,
    model_file,
    neighbours::Neighbours,
};

/// Evaluates the model in the file `model` with the device and precision of the job; returns the
/// event that reports its metrics.
///
/// # Errors
/// Cancelled, suspended, or failed with `model_unusable` or `bad_dataset`.
pub(super) fn compare(
    job: &Job,
    model: &Path,
    control: &Control,
    events: &Events,
) -> Result<Event, StopReason> {
    let params = &job.spec.params;
    let compute = ComputeConfig::choose(params).map_err(Failure::from)?;
    let unusable =
        |why: String| Failure::new("model_unusable", format!("the model can't be loaded: {why}"));
    let (card, mut tensors) = model_file::load(model).map_err(|error| unusable(chain(&error)))?;
    Neighbours::take_from(&mut tensors, &card, compute.device).map_err(unusable)?;
    let network = Network::from_tensors(
        card.architecture,
        Objective::of(&card.classes),
        tensors,
        compute.device,
    )
    .map_err(unusable)?
    .for_inference(compute.kind());
    let samples: Vec<Sample> = job
        .samples
        .iter()
        .filter(|sample| sample.split != Split::Train)
        .map(|sample| relabel(*sample, &job.spec.classes, &card.classes))
        .collect::<Option<_>>()
        .ok_or_else(|| unusable("it has different classes".to_owned()))?;
    // Decoded as for a prediction now, whatever the model was trained on.
    let preprocessing = Preprocessing { version: Preprocessing::VERSION, ..card.preprocessing };
    let check = |_| control.check_unless_stopped();
    let pixels = image_cache::of_job(job, &preprocessing, check)?;
    let inputs = InputPipeline {
        pixels: RecordStore::new(pixels, &samples, compute),
        normalise: preprocessing.normalise,
        compute,
    };
    let mut reported: Option<Instant> = None;
    let progress = |step, steps| {
        if reported.is_none_or(|at| at.elapsed() >= events.report_every()) {
            reported = Some(Instant::now());
            events.send(&Event::Comparing { step, steps });
        }
        control.check_unless_stopped()
    };
    let predict = |batch: &[Sample]| network.forward(&inputs.plain(batch));
    let logits = evaluate::logits(predict, &samples, compute, params.batch_size, progress)?;
    let logits = logits.iter().map(|logits| logits.scaled(card.scale())).collect();
    let scored = evaluate::scored_samples(&samples, logits);
    let of_split = |split| -> Vec<ScoredSample> {
        let pairs = samples.iter().zip(&scored).filter(|(sample, _)| sample.split == split);
        pairs.map(|(_, scored)| scored.clone()).collect()
    };
    let metrics = |of: &[ScoredSample]| (!of.is_empty()).then(|| evaluation::split_metrics(of));
    let validation = metrics(&of_split(Split::Validation))
        .ok_or_else(|| Failure::new("bad_dataset", "the job has no validation images"))?;
    let test = of_split(Split::Test);
    let metrics = ComparisonMetrics {
        validation,
        test: metrics(&test),
        test_misclassified: Some(evaluation::misclassified_ids(&test)),
    };
    let ComparisonMetrics { validation, test, .. } = &metrics;
    tracing::info!(model = %card.name, ?validation, ?test, "evaluated the model in service");
    Ok(Event::Compared { model: card.id, metrics })
}

/// The sample with its label as an index into `to` instead of `from`; nothing if `to` lacks it.
fn relabel(sample: Sample, from: &Classes, to: &Classes) -> Option<Sample> {
    let label = to.index_of(from.name(sample.label)?)?;
    Some(Sample { label, ..sample })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ImageId, dataset::Digest};

    #[test]
    fn labels_are_those_of_the_models_own_order() {
        let classes = |names: [&str; 2]| {
            Classes::new(names.map(|name| name.parse().unwrap()).to_vec()).unwrap()
        };
        let sample = Sample {
            image_id: ImageId::new(),
            sha256: Digest::of(b"x"),
            label: 1,
            split: Split::Test,
        };
        let pets = classes(["cat", "dog"]);
        let label = |to: &Classes| relabel(sample, &pets, to).map(|sample| sample.label);
        assert_eq!(label(&pets), Some(1));
        assert_eq!(label(&classes(["Dog", "Cat"])), Some(0));
        assert_eq!(label(&classes(["cat", "bird"])), None);
    }
}
