//! Decisions on new models.

use super::*;

fn score(hits: u64, count: u64) -> Score {
    Score {
        split: Split::Test,
        count,
        accuracy: hits as f64 / count as f64,
        accuracy_interval: Interval::wilson(hits, count),
        guessing_accuracy: 0.5,
    }
}

fn rival(hits: u64, count: u64) -> Rival {
    let metrics = |hits| SplitMetrics { count, loss: 0.5, accuracy: hits as f64 / count as f64 };
    let result = Ok(ComparisonMetrics {
        validation: metrics(0),
        test: Some(metrics(hits)),
        test_misclassified: None,
    });
    let name = "default".parse().unwrap();
    Rival::Compared(name, Comparison { model: ModelId::new(), result })
}

const DEFAULT: Promotion = Promotion { rule: PromotionRule::NotLessAccurate, margin: 0.02 };

fn decide(score: Score, rival: Rival) -> (Decision, String, bool) {
    let (service, selected) = Service::decide(DEFAULT, score, None, rival, None);
    (service.decision, service.reason, selected)
}

fn images(count: usize) -> Vec<ImageId> {
    (0..count).map(|_| ImageId::new()).collect()
}

/// A model and its rival by the rule of proof: how many images only they misclassify, and both.
fn decide_by_proof(ours: usize, theirs: usize, both: usize, split: Split) -> Service {
    let (both, count) = (images(both), 1000);
    let wrong = |only| [both.clone(), images(only)].concat();
    let (ours, theirs) = (wrong(ours), wrong(theirs));
    let mut rival = rival(count - theirs.len() as u64, count);
    if let Rival::Compared(_, Comparison { result: Ok(metrics), .. }) = &mut rival {
        metrics.test_misclassified = Some(theirs);
    }
    let score = Score { split, ..score(count - ours.len() as u64, count) };
    let proof = Promotion { rule: PromotionRule::NotWorse, margin: 0.02 };
    Service::decide(proof, score, Some(&ours), rival, None).0
}

#[test]
fn by_the_rule_of_proof_a_model_is_paired_with_the_one_in_service() {
    let service = decide_by_proof(10, 14, 30, Split::Test);
    assert_eq!(service.decision, Decision::InService);
    let reason = "it is not more than 2.0 points less accurate than default (difference +0.4 points, 95% CI −0.6 to +1.5, 1000 test images)";
    assert_eq!(service.reason, reason);
    let paired = service.compared_with.unwrap().paired.unwrap();
    let expected = Pairs { both_correct: 946, only_first: 14, only_second: 10, both_wrong: 30 };
    assert_eq!(paired.pairs, expected);
    let worse = decide_by_proof(60, 40, 0, Split::Test);
    assert_eq!(worse.decision, Decision::Kept);
    assert!(worse.reason.starts_with("it is not shown to be at most 2.0 points less"), "{worse:?}");
}

#[test]
fn by_the_rule_of_proof_validation_images_prove_nothing() {
    let service = decide_by_proof(0, 300, 0, Split::Validation);
    assert_eq!(service.decision, Decision::Kept);
    let reason = "it is not shown not to be worse than default: there are no test images of each class on which both were evaluated";
    assert_eq!(service.reason, reason);
}

#[test]
fn a_model_replaces_another_that_is_not_more_accurate() {
    let better = decide(score(95, 100), rival(94, 100));
    let reason =
        "it is at least as accurate as default (95.0% vs. 94.0%; 95 vs. 94 of 100 test images)";
    assert_eq!(better, (Decision::InService, reason.to_owned(), true));
    assert_eq!(decide(score(94, 100), rival(94, 100)).0, Decision::InService);
    let worse = decide(score(93, 100), rival(94, 100));
    let reason = "it is less accurate than default (93.0% vs. 94.0%; 93 vs. 94 of 100 test images)";
    assert_eq!(worse, (Decision::Kept, reason.to_owned(), false));
}

#[test]
fn the_accuracies_of_both_are_told() {
    let (service, _) = Service::decide(DEFAULT, score(93, 100), None, rival(94, 100), None);
    let other = service.compared_with.unwrap();
    assert_eq!(other.name.to_string(), "default");
    assert_eq!((other.accuracy, other.val_accuracy), (0.94, 0.0));
    assert_eq!((other.test_accuracy, service.score.accuracy), (Some(0.94), 0.93));
}

#[test]
fn a_model_that_can_not_be_told_from_guessing_is_not_selected() {
    let guessing = decide(score(19, 36), rival(0, 36));
    let reason = "it can't be told from guessing (52.8% of 36 test images, 95% CI 37.0–68.0%; guessing: 50.0%)";
    assert_eq!(guessing, (Decision::Guessing, reason.to_owned(), false));
    assert_eq!(decide(score(19, 36), Rival::None).0, Decision::Guessing);
    // Below chance, all of the interval: no better.
    assert_eq!(decide(score(2, 36), Rival::None).0, Decision::Guessing);
    let unbalanced = Score { guessing_accuracy: 0.9, ..score(92, 100) };
    assert_eq!(decide(unbalanced, Rival::None).0, Decision::Guessing);
}

#[test]
fn without_a_comparison_it_only_has_to_beat_guessing() {
    assert!(decide(score(60, 60), Rival::None).2);
    let (decision, reason, selected) =
        decide(score(40, 60), Rival::OtherClasses("parts".parse().unwrap()));
    assert_eq!((decision, selected), (Decision::InService, true));
    assert!(
        reason.ends_with("guessing: 50.0%), and parts, which it replaces, has different classes"),
        "{reason}"
    );
}

#[test]
fn a_comparison_that_failed_keeps_the_model_in_service() {
    let comparison = Comparison { model: ModelId::new(), result: Err("no memory".to_owned()) };
    let rival = Rival::Compared("default".parse().unwrap(), comparison);
    let reason = "it could not be compared with default: no memory";
    assert_eq!(decide(score(60, 60), rival), (Decision::Kept, reason.to_owned(), false));
}

#[test]
fn a_pinned_model_stays_and_the_decision_is_made_for_later() {
    let pinned = "tabby".parse().unwrap();
    for (hits, would, selects) in [(95, "would be", true), (93, "would not be", false)] {
        let (service, selected) =
            Service::decide(DEFAULT, score(hits, 100), None, rival(94, 100), Some(&pinned));
        assert_eq!((service.decision, selected), (Decision::Pinned, selects));
        let start =
            format!("tabby is pinned; without the pin this model {would} in service: it is ");
        assert!(service.reason.starts_with(&start), "{}", service.reason);
    }
}

#[test]
fn a_decision_survives_its_json() {
    let (service, _) = Service::decide(DEFAULT, score(93, 100), None, rival(94, 100), None);
    let json = serde_json::to_value(&service).unwrap();
    assert_eq!((&json["decision"], &json["split"]), (&"kept".into(), &"test".into()));
    assert_eq!(serde_json::from_value::<Service>(json).unwrap(), service);
}
