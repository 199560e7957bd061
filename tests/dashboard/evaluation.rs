//! How results are told and compared.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{browser::Browser, common::process::Process};

/// What the page says of a confusion matrix of test images.
async fn in_words(browser: &Browser, labels: &[&str], matrix: Value) -> String {
    let script = "const result = arguments[0];
        return import(new URL('static/sentence.js', location)).then(({ inWords }) => inWords(result))";
    let result =
        json!({ "split": "test", "confusion_matrix": { "labels": labels, "matrix": matrix } });
    let said = browser.client.execute(script, vec![result]).await.unwrap();
    said.as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_evaluation_begins_with_a_sentence() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::start(data.path());
    let Some(browser) = Browser::open(&server).await else { return };
    for (matrix, expected) in [
        (
            json!([[985, 15], [8, 992]]),
            "Right for 1,977 of 2,000 test images. It mistakes cat for dog more often than the other way round (15 and 8 times).",
        ),
        (
            json!([[1, 4], [1, 2]]),
            "Right for 3 of 8 test images. It mistakes cat for dog more often than the other way round (4 times and once).",
        ),
        (
            json!([[3, 2], [2, 3]]),
            "Right for 6 of 10 test images. It mistakes cat for dog as often as dog for cat (twice each).",
        ),
        (
            json!([[3, 0], [3, 0]]),
            "Right for 3 of 6 test images. It mistakes dog for cat (3 times), but never the other way round.",
        ),
        (
            json!([[3, 0], [1, 2]]),
            "Right for 5 of 6 test images. Its only error: it mistook dog for cat.",
        ),
        (json!([[3, 0], [0, 3]]), "Right for all 6 test images."),
        (json!([[1, 0], [0, 1]]), "Right for both test images."),
        (
            json!([[0, 3], [4, 0]]),
            "Right for none of the 7 test images. It mistakes dog for cat more often than the other way round (4 and 3 times).",
        ),
    ] {
        assert_eq!(in_words(&browser, &["cat", "dog"], matrix).await, expected);
    }
    for (matrix, expected) in [
        (json!([[9, 0, 0], [0, 9, 0], [0, 0, 9]]), "Right for all 27 test images."),
        (
            json!([[8, 1, 0], [0, 9, 0], [0, 0, 9]]),
            "Right for 26 of 27 test images. Its only error: it mistook glass for metal.",
        ),
        (
            json!([[8, 1, 0], [0, 8, 1], [0, 0, 9]]),
            "Right for 25 of 27 test images. It made 2 different errors, each only once.",
        ),
        (
            json!([[6, 3, 0], [0, 9, 0], [0, 0, 9]]),
            "Right for 24 of 27 test images. All 3 errors are the same: it mistook glass for metal.",
        ),
        (
            json!([[5, 3, 1], [0, 9, 0], [0, 0, 9]]),
            "Right for 23 of 27 test images. Most often it mistakes glass for metal (3 of 4 errors).",
        ),
        (
            json!([[6, 3, 0], [3, 6, 0], [0, 1, 8]]),
            "Right for 20 of 27 test images. Most often it confuses glass and metal (3 times each way).",
        ),
        (
            json!([[6, 3, 0], [0, 6, 3], [0, 1, 8]]),
            "Right for 20 of 27 test images. Most often it mistakes glass for metal and metal for paper (3 times each).",
        ),
        (
            json!([[7, 2, 0], [0, 7, 2], [0, 2, 7]]),
            "Right for 21 of 27 test images. Several errors are equally frequent (twice each), such as mistaking glass for metal.",
        ),
    ] {
        assert_eq!(in_words(&browser, &["glass", "metal", "paper"], matrix).await, expected);
    }
    browser.close().await;
}

#[tokio::test]
async fn no_two_of_many_compared_jobs_look_alike() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::start(data.path());
    let Some(browser) = Browser::open(&server).await else { return };
    // Of each series, its line and its marker in the legend.
    let script = "return import(new URL('static/chart.js', location)).then(({ lineChart }) => {
        const series = Array.from({ length: 30 }, (_, marker) => ({ name: `job ${marker}`, marker, points: [[1, marker], [2, marker]] }));
        const { node } = lineChart({ title: 'Loss', x: 'epoch', y: 'loss', series });
        document.querySelector('main').append(node);
        return Array.from(node.querySelectorAll('.legend li'), (item) => {
            const marker = item.querySelector('.marker');
            const colour = getComputedStyle(item.querySelector('.line')).stroke;
            return [colour, marker.getAttribute('d'), item.querySelector('.line').getAttribute('class')];
        });
    })";
    let looks = browser.client.execute(script, vec![]).await.unwrap();
    let looks: Vec<[String; 3]> = serde_json::from_value(looks).unwrap();
    let different =
        |of: &dyn Fn(&[String; 3]) -> String| looks.iter().map(of).collect::<BTreeSet<_>>().len();
    assert_eq!(looks.len(), 30);
    assert_eq!(different(&|[colour, shape, _]| format!("{colour} {shape}")), 30);
    assert_eq!(different(&|[colour, ..]| colour.clone()), 7);
    let first: BTreeSet<_> = looks[..7].iter().map(|[colour, shape, _]| (colour, shape)).collect();
    assert_eq!(first.iter().map(|(colour, _)| colour).collect::<BTreeSet<_>>().len(), 7);
    assert_eq!(first.iter().map(|(_, shape)| shape).collect::<BTreeSet<_>>().len(), 7);
    // They are drawn with the lines too.
    browser.see("//figure[figcaption='Loss']//*[name()='svg'][@role='img']/*[contains(@class, 'marker')][60]").await;
    browser.close().await;
}
