//! Drift: whether new images are still like those that a model was validated on.
//!
//! Three standard measures, each with the amount that chance alone gives with so few images:
//! the population stability index of the predicted classes and of the distances to the training
//! images, and a two-proportion test of how often the model is unsure.

mod statistics;

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use self::statistics::{Z, noise, psi, z};
use super::{
    ClassName,
    baseline::{Baseline, DistanceBins},
    dataset::Classes,
    selective::AnswerThresholds,
};

/// Predictions that a verdict needs.
pub const MIN_PREDICTIONS: u64 = 30;
/// Population stability index from which on a change is moderate, and from which on it is drift: the
/// usual limits (Siddiqi, 2006).
const PSI_LIMITS: [f64; 2] = [0.1, 0.25];
/// How much more of the predictions must be unsure.
const UNSURE_LIMITS: [f64; 2] = [0.05, 0.1];

/// Whether new images are like the validation images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[schema(as = DriftVerdict)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Too few predictions to say.
    TooFew,
    /// They are.
    Stable,
    /// They differ a little.
    Moderate,
    /// They are not.
    Drift,
}

/// Predictions of a model, counted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counted {
    /// Predictions of each class, by its name.
    pub classes: BTreeMap<ClassName, u64>,
    /// Predictions that the model is unsure of at its current thresholds.
    pub unsure: u64,
    /// Predictions in each bin of [`Baseline::distances`].
    pub distances: Vec<u64>,
    /// Sum of the distances.
    pub distance_sum: f64,
}

impl Counted {
    /// All of them.
    #[must_use]
    pub fn predictions(&self) -> u64 {
        self.classes.values().sum()
    }

    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        for (class, count) in &other.classes {
            *self.classes.entry(class.clone()).or_default() += count;
        }
        self.unsure += other.unsure;
        self.distances.resize(self.distances.len().max(other.distances.len()), 0);
        for (sum, count) in self.distances.iter_mut().zip(&other.distances) {
            *sum += count;
        }
        self.distance_sum += other.distance_sum;
    }
}

/// How often a model is unsure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct UnsureDrift {
    /// Fraction of the predictions that it is unsure of at its current thresholds.
    pub fraction: f64,
    /// The same of the validation images; null if it is never unsure. An upper bound for models of older
    /// versions and changed thresholds.
    pub reference: Option<f64>,
    /// Statistic of the two-proportion test: above 2.33, chance explains less than one in a hundred of
    /// such increases.
    pub z: Option<f64>,
    /// Drift if it is at least 10 percentage points more, moderate from 5 on; null without a reference.
    pub verdict: Option<Verdict>,
}

/// Mix of the predicted classes.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ClassDrift {
    /// Fraction of the predictions of each class.
    pub fractions: BTreeMap<ClassName, f64>,
    /// The same of the validation images; null for models of older versions.
    pub reference: Option<BTreeMap<ClassName, f64>>,
    /// Population stability index between both.
    pub psi: Option<f64>,
    /// What the index is at most in 99 of 100 cases where nothing has changed.
    pub noise: Option<f64>,
    /// Drift from 0.25 on, moderate from 0.1 on, if it is above the noise; null without a reference.
    pub verdict: Option<Verdict>,
}

/// Distance to the training images, 0 to 2.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct DistanceDrift {
    /// Mean distance.
    pub mean: f64,
    /// Fraction of the predictions above the last edge of the bins: the ninth decile of the validation
    /// images, or the model's threshold if it is of an older version.
    pub far: f64,
    /// The same of the validation images.
    pub far_reference: f64,
    /// Population stability index over the deciles of the validation images.
    pub psi: f64,
    /// What the index is at most in 99 of 100 cases where nothing has changed.
    pub noise: f64,
    /// Drift from 0.25 on, moderate from 0.1 on, if it is above the noise and the images are farther away.
    pub verdict: Verdict,
}

/// The predictions of some time against the validation split.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = DriftFigures)]
pub struct Figures {
    /// Number of predictions.
    pub predictions: u64,
    /// The worst of the verdicts.
    pub verdict: Verdict,
    /// How often the model is unsure; null without predictions.
    pub unsure: Option<UnsureDrift>,
    /// Which classes it predicts; null without predictions.
    pub classes: Option<ClassDrift>,
    /// How far the images are from the training images; null without predictions, and if the model can't
    /// compare images.
    pub distance: Option<DistanceDrift>,
}

impl Figures {
    /// Those of the predictions of a model of these classes, which is unsure by `thresholds`.
    #[must_use]
    pub fn new(
        baseline: &Baseline,
        classes: &Classes,
        thresholds: AnswerThresholds,
        counted: &Counted,
    ) -> Self {
        let predictions = counted.predictions();
        let some = predictions > 0;
        let unsure = some.then(|| unsure(baseline, thresholds, counted.unsure, predictions));
        let class = some.then(|| of_classes(baseline, classes, counted));
        let distance = baseline.distances().and_then(|bins| of_distances(baseline, &bins, counted));
        let verdicts = [
            unsure.and_then(|it| it.verdict),
            class.as_ref().and_then(|it| it.verdict),
            distance.map(|it| it.verdict),
        ];
        let verdict = verdicts.into_iter().flatten().max().unwrap_or(Verdict::TooFew);
        Self { predictions, verdict, unsure, classes: class, distance }
    }

    /// What the verdict says, in one sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let mut changes = Vec::new();
        let is_change = |verdict: Verdict| verdict >= Verdict::Moderate;
        if let Some(it) = self.unsure.filter(|it| it.verdict.is_some_and(is_change)) {
            let reference = it.reference.unwrap_or_default() * 100.0;
            changes.push(format!(
                "the model is unsure of {:.1}% of the images (validation: {reference:.1}%)",
                it.fraction * 100.0
            ));
        }
        if let Some(it) = self.distance.filter(|it| is_change(it.verdict)) {
            changes.push(format!(
                "the images are farther from the training images (PSI {:.2}; {:.1}% are far, validation: {:.1}%)",
                it.psi,
                it.far * 100.0,
                it.far_reference * 100.0
            ));
        }
        if let Some(it) = self.classes.as_ref().filter(|it| it.verdict.is_some_and(is_change)) {
            changes.push(format!(
                "the mix of predicted classes has changed (PSI {:.2})",
                it.psi.unwrap_or_default()
            ));
        }
        let opening = match self.verdict {
            Verdict::TooFew if self.predictions < MIN_PREDICTIONS => {
                return format!(
                    "Too few predictions to say: {} of at least {MIN_PREDICTIONS}.",
                    self.predictions
                );
            }
            Verdict::TooFew => {
                return "The model says nothing about its validation images to compare with."
                    .to_owned();
            }
            Verdict::Stable => return "The images are like the validation images.".to_owned(),
            Verdict::Moderate => "A moderate change",
            Verdict::Drift => "Drift",
        };
        format!("{opening}: {}.", changes.join("; "))
    }
}

fn unsure(
    baseline: &Baseline,
    thresholds: AnswerThresholds,
    unsure: u64,
    predictions: u64,
) -> UnsureDrift {
    let fraction = unsure as f64 / predictions as f64;
    let reference = baseline.unsure(thresholds);
    let z = reference.map(|it| z(fraction, predictions as f64, it, baseline.images as f64));
    let verdict = reference.zip(z).map(|(reference, z)| {
        if predictions < MIN_PREDICTIONS {
            return Verdict::TooFew;
        }
        let more = if z > Z { fraction - reference } else { 0.0 };
        verdict(more, UNSURE_LIMITS)
    });
    UnsureDrift { fraction, reference, z, verdict }
}

fn of_classes(baseline: &Baseline, classes: &Classes, counted: &Counted) -> ClassDrift {
    let names = classes.names();
    let observed: Vec<_> =
        names.iter().map(|name| counted.classes.get(name).copied().unwrap_or(0) as f64).collect();
    let fractions = |counts: &[f64]| {
        let all = counts.iter().sum::<f64>().max(1.0);
        names.iter().cloned().zip(counts.iter().map(|count| count / all)).collect()
    };
    let expected: Option<Vec<_>> = baseline
        .answers
        .as_ref()
        .map(|answers| answers.predicted.iter().map(|count| *count as f64).collect::<Vec<_>>())
        .filter(|expected| expected.len() == names.len() && expected.iter().sum::<f64>() > 0.0);
    let compared = expected.as_ref().map(|expected| {
        let index = psi(expected, &observed);
        let noise = noise(expected, &observed);
        (index, noise, of_index(index, noise, &observed))
    });
    ClassDrift {
        fractions: fractions(&observed),
        reference: expected.as_deref().map(fractions),
        psi: compared.map(|it| it.0),
        noise: compared.map(|it| it.1),
        verdict: compared.map(|it| it.2),
    }
}

fn of_distances(
    baseline: &Baseline,
    bins: &DistanceBins,
    counted: &Counted,
) -> Option<DistanceDrift> {
    let mut observed: Vec<_> = counted.distances.iter().map(|count| *count as f64).collect();
    observed.resize(bins.shares.len(), 0.0);
    let all = observed.iter().sum::<f64>();
    if all == 0.0 {
        return None;
    }
    let expected: Vec<_> = bins.shares.iter().map(|it| it * baseline.images as f64).collect();
    let (index, noise) = (psi(&expected, &observed), noise(&expected, &observed));
    let mean_bin = |shares: &mut dyn Iterator<Item = f64>| {
        shares.enumerate().map(|(bin, share)| bin as f64 * share).sum::<f64>()
    };
    let farther = mean_bin(&mut observed.iter().map(|it| it / all))
        > mean_bin(&mut bins.shares.iter().copied());
    let verdict = match of_index(index, noise, &observed) {
        Verdict::Moderate | Verdict::Drift if !farther => Verdict::Stable,
        verdict => verdict,
    };
    Some(DistanceDrift {
        mean: counted.distance_sum / all,
        far: observed.last().map_or(0.0, |it| it / all),
        far_reference: bins.shares.last().copied().unwrap_or(0.0),
        psi: index,
        noise,
        verdict,
    })
}

fn of_index(index: f64, noise: f64, observed: &[f64]) -> Verdict {
    if observed.iter().sum::<f64>() < MIN_PREDICTIONS as f64 {
        return Verdict::TooFew;
    }
    verdict(if index > noise { index } else { 0.0 }, PSI_LIMITS)
}

fn verdict(value: f64, [moderate, drift]: [f64; 2]) -> Verdict {
    match value {
        _ if value >= drift => Verdict::Drift,
        _ if value >= moderate => Verdict::Moderate,
        _ => Verdict::Stable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{baseline::ValidationAnswers, selective::Coverage};

    const THRESHOLDS: AnswerThresholds =
        AnswerThresholds { answer_above: Some(0.8), unlike_above: Some(0.5) };

    fn classes() -> Classes {
        Classes::new(["cat", "dog"].map(|name| name.parse().unwrap()).to_vec()).unwrap()
    }

    fn baseline() -> Baseline {
        Baseline {
            images: 1000,
            thresholds: THRESHOLDS,
            coverage: Coverage::default(),
            answers: Some(ValidationAnswers {
                predicted: vec![500, 500],
                unsure: 100,
                distance_deciles: (1..10).map(|tenth| f64::from(tenth) / 20.0).collect(),
            }),
        }
    }

    fn counted(cats: u64, dogs: u64, unsure: u64, distances: [u64; 10]) -> Counted {
        let names = classes();
        let classes = names.names().iter().cloned().zip([cats, dogs]).collect();
        Counted { classes, unsure, distances: distances.to_vec(), distance_sum: 100.0 }
    }

    fn figures(counted: &Counted) -> Figures {
        Figures::new(&baseline(), &classes(), THRESHOLDS, counted)
    }

    #[test]
    fn like_the_validation_images_is_stable() {
        let same = figures(&counted(255, 245, 55, [50; 10]));
        assert_eq!(same.verdict, Verdict::Stable, "{same:?}");
        assert!(same.sentence().contains("like the validation images"));
    }

    #[test]
    fn each_measure_can_say_drift() {
        let unsure = figures(&counted(250, 250, 150, [50; 10]));
        assert_eq!(unsure.unsure.unwrap().verdict, Some(Verdict::Drift));
        assert!(unsure.sentence().starts_with("Drift: the model is unsure of 30.0%"));
        let classes = figures(&counted(60, 440, 50, [50; 10]));
        assert_eq!(classes.classes.as_ref().unwrap().verdict, Some(Verdict::Drift));
        let far = figures(&counted(250, 250, 50, [0, 0, 0, 0, 0, 0, 0, 50, 50, 400]));
        assert_eq!(far.distance.unwrap().verdict, Verdict::Drift);
        assert!((far.distance.unwrap().far - 0.8).abs() < 1e-9);
        for figures in [unsure, classes, far] {
            assert_eq!(figures.verdict, Verdict::Drift);
        }
    }

    #[test]
    fn fewer_unsure_answers_and_nearer_images_are_no_drift() {
        let better = figures(&counted(250, 250, 0, [400, 50, 50, 0, 0, 0, 0, 0, 0, 0]));
        assert_eq!(better.verdict, Verdict::Stable, "{better:?}");
    }

    #[test]
    fn chance_is_no_drift() {
        // With 40 predictions, an index of 0.15 is within what chance gives.
        let few = figures(&counted(27, 13, 7, [4; 10]));
        let index = few.classes.as_ref().unwrap();
        assert!(index.psi.unwrap() > 0.1 && index.psi < index.noise, "{index:?}");
        assert_eq!(few.verdict, Verdict::Stable);
    }

    #[test]
    fn few_predictions_have_no_verdict() {
        let few = figures(&counted(0, 29, 29, [0, 0, 0, 0, 0, 0, 0, 0, 0, 29]));
        assert_eq!(few.verdict, Verdict::TooFew);
        assert_eq!(few.sentence(), "Too few predictions to say: 29 of at least 30.");
        let none = figures(&Counted::default());
        assert_eq!((none.verdict, none.unsure), (Verdict::TooFew, None));
    }

    #[test]
    fn an_older_model_is_compared_by_what_it_knows() {
        let old = Baseline { answers: None, ..baseline() };
        let counted = counted(250, 250, 400, [100, 400, 0, 0, 0, 0, 0, 0, 0, 0]);
        let figures = Figures::new(&old, &classes(), THRESHOLDS, &counted);
        assert_eq!(figures.classes.as_ref().unwrap().verdict, None);
        assert_eq!(figures.distance.unwrap().verdict, Verdict::Drift);
        assert_eq!(figures.verdict, Verdict::Drift);
        let cnn = Baseline { thresholds: AnswerThresholds::default(), ..old };
        let figures = Figures::new(&cnn, &classes(), AnswerThresholds::default(), &counted);
        assert_eq!((figures.verdict, figures.distance), (Verdict::TooFew, None));
        assert!(figures.sentence().contains("nothing about its validation images"));
    }
}
