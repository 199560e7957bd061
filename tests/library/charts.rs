//! Titles, labels and tooltips of the SVG charts.

use pawprint::{
    charts,
    domain::{
        ImageId,
        dataset::{Classes, Counts, Split},
        evaluation::{Evaluation, ScoredSample, evaluate},
        metrics::EpochMetrics,
        objective::Logits,
    },
};

fn epochs(count: u32) -> Vec<EpochMetrics> {
    (1..=count)
        .map(|epoch| EpochMetrics {
            epoch,
            train_loss: 0.7 / f64::from(epoch),
            train_accuracy: 0.5 + 0.4 * f64::from(epoch) / f64::from(count),
            val_loss: 0.8 / f64::from(epoch),
            val_accuracy: 0.5 + 0.3 * f64::from(epoch) / f64::from(count),
            learning_rate: 1e-3,
            seconds: 1.0,
            images_per_second: 1.0,
        })
        .collect()
}

fn evaluation(first: &str) -> Evaluation {
    let judged: Vec<ScoredSample> = (0..100_u32)
        .map(|number| ScoredSample {
            image_id: ImageId::new(),
            label: (number % 2) as usize,
            logits: Logits(vec![
                f64::from(number % 2) * 2.0 - 1.0 + f64::from(number * 37 % 100) / 40.0 - 1.25,
            ]),
        })
        .collect();
    let names = [first, "dog"].map(|name| name.parse().unwrap());
    let classes = Classes::try_from(names.to_vec()).unwrap();
    evaluate(Split::Test, &classes, &judged, &judged, 1.0)
}

fn all() -> Vec<(&'static str, String)> {
    let evaluation = evaluation("cat");
    let counts = Counts::from([(
        Split::Train,
        [("cat".parse().unwrap(), 1000), ("dog".parse().unwrap(), 990)].into(),
    )]);
    let formats = [("image/jpeg".to_owned(), 1990)].into();
    vec![
        ("accuracy", charts::accuracy(&epochs(30), Some(12)).unwrap()),
        ("loss", charts::loss(&epochs(30), Some(30)).unwrap()),
        ("confusion", charts::confusion(&evaluation).unwrap()),
        ("pr", charts::pr(&evaluation).unwrap()),
        ("roc", charts::roc(&evaluation).unwrap()),
        ("reliability", charts::reliability(&evaluation).unwrap()),
        ("classes", charts::classes(&counts).unwrap()),
        ("formats", charts::formats(&formats).unwrap()),
        ("width", charts::histogram("width", &[100, 200, 300], &[4, 9]).unwrap()),
    ]
}

#[test]
fn every_chart_has_a_title_tooltips_and_colours_for_the_dark() {
    for (name, svg) in all() {
        if let Some(folder) = std::env::var_os("PAWPRINT_SHOW_CHARTS") {
            std::fs::write(std::path::Path::new(&folder).join(format!("{name}.svg")), &svg)
                .unwrap();
        }
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{name}");
        assert!(svg.contains(r#"role="img" aria-label=""#), "{name}");
        assert!(svg.matches("<title>").count() >= 2, "{name} says no value");
        assert!(svg.contains("prefers-color-scheme:dark"), "{name}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{name}");
    }
}

#[test]
fn training_is_points_validation_a_line_and_the_best_epoch_marked() {
    let svg = charts::accuracy(&epochs(7), Some(3)).unwrap();
    assert!(svg.contains("epoch 3, validation: 0.6286"), "{svg}");
    assert!(svg.contains("best epoch (3)"));
    assert!(svg.matches("<polyline").count() >= 1);
    assert!(!charts::accuracy(&epochs(7), None).unwrap().contains("best epoch"));
}

#[test]
fn curves_are_drawn_of_no_epoch_of_one_and_of_thousands() {
    let none = charts::loss(&[], None).unwrap();
    assert!(none.contains("no completed epochs yet"));
    assert!(charts::loss(&epochs(1), Some(1)).unwrap().contains("epoch 1, training: 0.7000"));
    let many = charts::loss(&epochs(10_000), Some(9_999)).unwrap();
    assert!(many.contains("epoch 9999, validation"), "the best epoch is always drawn");
    assert!(many.len() < 500_000, "{} bytes", many.len());
}

#[test]
fn the_matrix_shows_counts_and_names_are_text_whatever_is_in_them() {
    let evaluation = evaluation("cat");
    let svg = charts::confusion(&evaluation).unwrap();
    for (row, label) in evaluation.confusion_matrix.matrix.iter().zip(["cat", "dog"]) {
        for (count, predicted) in row.iter().zip(["cat", "dog"]) {
            assert!(svg.contains(&format!("true {label}, predicted {predicted}: {count}")));
        }
    }
    let formats = [("<img onerror=\"x\">&".to_owned(), 3)].into();
    let svg = charts::formats(&formats).unwrap();
    assert!(!svg.contains("<img") && svg.contains("&lt;img onerror"), "{svg}");
}

#[test]
fn an_empty_dataset_has_charts_too() {
    assert!(charts::classes(&Counts::new()).unwrap().contains("no images yet"));
    assert!(charts::histogram("height", &[], &[]).unwrap().contains("Images by height"));
}
