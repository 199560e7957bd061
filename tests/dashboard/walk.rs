//! What a newcomer does, from an empty data directory to a pinned model.

use std::{fs, path::PathBuf};

use fantoccini::key::Key;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    browser::Browser,
    common::{
        process::{PATIENCE, Process, photos},
        tar,
    },
};

/// A file in `folder`.
fn file(folder: &tempfile::TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

#[tokio::test]
async fn a_newcomer_walks_from_photos_to_a_pinned_model() {
    let (data, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Process::start(data.path());
    let Some(browser) = Browser::open(&server).await else { return };

    browser.page("#/predict").await;
    predict(&browser, &files, "default").await;
    fill_a_dataset(&browser, &server, &files).await;
    put_an_image_right(&browser, &server).await;
    train(&browser).await;
    read_the_evaluation(&browser).await;
    pin(&browser, &server).await;
    browser.page("#/predict").await;
    browser.read("first:").await;

    browser.assert_clean(&server).await;
    browser.close().await;
}

async fn predict(browser: &Browser, files: &tempfile::TempDir, model: &str) {
    let photo = file(files, "whiskers.png", &photos(2)[0].1);
    browser.pick("input[type=file]", &[&photo]).await;
    let label = browser.see(".verdict .label").await.text().await.unwrap();
    assert!(["cat", "dog"].contains(&&*label), "{label}");
    browser.read(&format!("{model}:")).await;
    browser.click(&format!("button[aria-label='Explain {label}']")).await;
    browser.see("button[aria-pressed=true]").await;
    browser.see("//img[contains(@alt, 'heat map')]").await;
    let script = "return document.querySelector('img[alt*=\"heat map\"]').naturalWidth";
    let width = browser.client.execute(script, vec![]).await.unwrap();
    assert_eq!(width, 60);
}

#[tokio::test]
async fn whoever_has_no_photo_tries_a_sample() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::start(data.path());
    let Some(browser) = Browser::open(&server).await else { return };
    browser.page("#/predict").await;
    browser.read("No photo at hand? Try one of these:").await;
    browser.click("button[aria-label='Sample photo 6']").await;
    browser.see(".verdict .label").await;
    browser.see("//section[@aria-label='Sample photos'][@hidden]").await;
    // The result stays while another page is open.
    browser.push("Models").await;
    browser.see("//h1[.='Models']").await;
    browser.push("Predict").await;
    browser.see(".verdict .label").await;
    browser.push("Clear all").await;
    browser.see("//section[@aria-label='Sample photos'][not(@hidden)]").await;
    browser.assert_clean(&server).await;
    browser.close().await;
}

async fn fill_a_dataset(browser: &Browser, server: &Process, files: &tempfile::TempDir) {
    browser.push("Datasets").await;
    browser.read("No datasets yet").await;
    browser.unfold("Create an empty dataset").await;
    browser.write("Name", "pets").await;
    browser.push("Create").await;
    // The list of datasets has a place for folders, too.
    browser.read("Drop a folder, images").await;

    let archive = file(files, "pets.tar", &tar(&photos(8)));
    let broken = file(files, "cat.999.jpg", b"no photo");
    let input = "input[accept*='.tar']";
    let litter = file(files, "Thumbs.db", b"x");
    browser.pick(input, &[&archive, &broken, &litter]).await;
    browser.read("2 classes with 33 images").await;
    browser.read("All classes are new.").await;
    assert_eq!(server.get("/datasets/pets").await["images"], 0);
    browser.push("Upload 33 images").await;
    browser.read("32 added, 0 duplicates, 1 rejected").await;
    browser.read("cat.999.jpg").await;
    browser.read("1 file ignored: Thumbs.db").await;
    browser.read("32 images: 16 train, 8 validation, 8 test").await;
    // The same again adds nothing.
    browser.pick(input, &[&archive]).await;
    browser.push("Upload 32 images").await;
    browser.read("0 added, 32 duplicates, 0 rejected").await;
    browser.see("//figcaption[.='Images by split and class']").await;
    browser.see("//img[contains(@alt, 'Nine augmented')]").await;
    assert_eq!(server.get("/datasets/pets").await["images"], 32);
}

/// Relabels, moves and deletes by keyboard alone.
async fn put_an_image_right(browser: &Browser, server: &Process) {
    let shown = || async {
        let page = server.get("/datasets/pets/images?split=train&label=cat").await;
        page["items"].as_array().unwrap().len()
    };
    let before = shown().await;
    let filter = |label: &str, value: &str| {
        let path = format!(
            "//section[@aria-label='Images']//label[.='{label}']/following-sibling::select/option[@value='{value}']"
        );
        async move { browser.click(&path).await }
    };
    filter("Split", "train").await;
    filter("Class", "cat").await;
    let first = browser.see(&format!("//ul[@role='listbox'][count(li)={before}]/li[1]")).await;
    // Its label becomes dog and it leaves the cats; the next one has the focus then and is moved;
    // the third is deleted.
    first.send_keys("2").await.unwrap();
    browser.see(&format!("//ul[@role='listbox'][count(li)={}]", before - 1)).await;
    browser.client.active_element().await.unwrap().send_keys("v").await.unwrap();
    browser.see(&format!("//ul[@role='listbox'][count(li)={}]", before - 2)).await;
    let third = browser.client.active_element().await.unwrap();
    third.send_keys(&Key::Delete.to_string()).await.unwrap();
    browser.click("//dialog//button[.='Delete']").await;
    browser.see(&format!("//ul[@role='listbox'][count(li)={}]", before - 3)).await;
    browser.read("31 images: 14 train, 9 validation, 8 test").await;
    assert_eq!(shown().await, before - 3);
    // Large, the arrows walk and the same keys act; what is relabelled gives way to the next.
    browser
        .client
        .active_element()
        .await
        .unwrap()
        .send_keys(&Key::Enter.to_string())
        .await
        .unwrap();
    let name = || async {
        let dialog = browser.see("//dialog[.//img]").await;
        dialog.attr("aria-label").await.unwrap().unwrap()
    };
    let press = |key: String| async move {
        browser.client.active_element().await.unwrap().send_keys(&key).await.unwrap();
    };
    let first = name().await;
    press(Key::Right.to_string()).await;
    browser.see(&format!("//dialog[@aria-label!='{first}']")).await;
    let second = name().await;
    press("2".to_owned()).await;
    browser.see(&format!("//dialog[@aria-label!='{second}']")).await;
    assert_ne!(name().await, first);
    press(Key::Escape.to_string()).await;
    browser.see("//body[not(dialog)]").await;
    assert_eq!(shown().await, before - 4);
}

async fn train(browser: &Browser) {
    browser.push("Train a model").await;
    browser.click("input[value=scratch_cnn]").await;
    browser.write("Name", "first").await;
    assert!(!browser.field("Epochs").await.is_displayed().await.unwrap());
    browser.unfold("Advanced").await;
    browser.write("Epochs", "2").await;
    browser.write("Batch size", "8").await;
    // It learns nothing, so its model does not go into service.
    browser.write("Learning rate", "0.000001").await;
    browser.push("Start training").await;
    browser.see("//article[@aria-label='first']//span[contains(@class, 'badge')]").await;
    browser.click("//a[.='first']").await;
    browser.see("//h1[.='first']").await;
    browser.see("//section[@aria-label='Status']//span[.='succeeded']").await;
}

async fn read_the_evaluation(browser: &Browser) {
    browser.read("Evaluation on 8 test images").await;
    browser
        .see("//p[@class='lead'][starts-with(., 'Right for ')][contains(., '8 test images.')]")
        .await;
    browser.see("//caption[contains(., 'Confusion matrix')]").await;
    for chart in ["Accuracy", "Loss", "Precision–recall curve", "ROC curve", "Reliability diagram"]
    {
        browser
            .see(&format!("//figure[figcaption='{chart}']//*[name()='svg']/*[name()='polyline']"))
            .await;
    }
    browser.read("misclassified").await;
    browser.page("#/evaluate").await;
    browser.click("input[aria-label='Compare first']").await;
    browser.see("//figure[figcaption='Validation loss']//*[name()='polyline']").await;
    browser
        .see("//figure[figcaption='Validation loss']//*[name()='path'][contains(@class, 'marker')]")
        .await;
}

async fn pin(browser: &Browser, server: &Process) {
    browser.page("#/jobs/first").await;
    browser.read("which did not go into service: it can't be told from guessing").await;
    browser.read("It is not in service; default is.").await;
    browser.push("Use this model").await;
    browser.read("It is in service (pinned).").await;
    browser.push("Models").await;
    browser.see("//h2[.='In service: first']").await;
    browser.click("button[aria-label='Pin default']").await;
    browser.see("//h2[.='In service: default']").await;
    browser.push("Unpin").await;
    browser.click("//dialog//button[.='Unpin']").await;
    browser.read("A new model replaces it if it beats guessing").await;
    browser.click("button[aria-label='Pin first']").await;
    browser.read("Pinned: a better model will not replace it").await;
    let current = server.get("/models/current").await;
    assert_eq!((&current["name"], &current["mode"]), (&json!("first"), &json!("pinned")));
}

#[tokio::test]
async fn a_folder_is_shown_before_it_is_uploaded() {
    let (data, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Process::start(data.path());
    let Some(browser) = Browser::open(&server).await else { return };
    for (number, (_, bytes)) in photos(2).iter().enumerate() {
        let class = ["rose", "tulip", "daisy"][number % 3];
        file(&files, &format!("flowers/{class}/{number}.png"), bytes);
    }
    file(&files, "flowers/read me.txt", b"x");
    browser.page("#/datasets").await;
    browser.unfold("Create an empty dataset").await;
    browser.write("Name", "garden").await;
    browser.push("Create").await;
    browser.read("No classes yet").await;
    let folder = files.path().join("flowers");
    browser.pick("input[webkitdirectory]", &[&folder]).await;
    browser.read("3 classes with 8 images").await;
    browser.read(": 8 to be split automatically (70/15/15).").await;
    browser.read("Rejected files (1)").await;
    browser.see("//th[@scope='row'][starts-with(., 'daisy')]/following-sibling::td[.='2']").await;
    browser.click("//button[.='Cancel'][not(@hidden)]").await;
    browser.see("//main[not(.//div[contains(@class, 'upload')])]").await;
    assert_eq!(server.get("/datasets/garden").await["classes"], json!([]));

    browser.pick("input[webkitdirectory]", &[&folder]).await;
    browser.push("Upload 8 images").await;
    browser.read("8 added, 0 duplicates, 1 rejected").await;
    browser.see("//section[@aria-label='Classes']//h2[.='3 classes']").await;
    let garden = server.get("/datasets/garden").await;
    assert_eq!(garden["classes"], json!(["daisy", "rose", "tulip"]));
    browser.assert_clean(&server).await;
    browser.close().await;
}

#[tokio::test]
async fn a_first_load_is_small() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::start(data.path());
    let Some(browser) = Browser::open(&server).await else { return };
    browser.read("Add photos to each class.").await;
    let script = "return performance.getEntriesByType('resource')
        .concat(performance.getEntriesByType('navigation'))
        .reduce((sum, entry) => sum + entry.encodedBodySize, 0)";
    let bytes: Value = browser.client.execute(script, vec![]).await.unwrap();
    let bytes = bytes.as_u64().unwrap();
    assert!((10_000..80_000).contains(&bytes), "{bytes} bytes");
    browser.close().await;
}

#[tokio::test]
async fn the_page_allows_nothing_from_elsewhere_and_nothing_inline() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::start(data.path());
    let page = server.request(Method::GET, "/").send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    let tag = page.headers()["etag"].clone();
    let again = server.request(Method::GET, "/").header("if-none-match", tag);
    assert_eq!(again.timeout(PATIENCE).send().await.unwrap().status(), 304);
    for missing in
        ["nothing.js", "samples/nothing.jpg", "..%2fCargo.toml", "samples%2f..%2fapp.js%2f.."]
    {
        let answer =
            server.request(Method::GET, &format!("/static/{missing}")).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{missing}");
    }
    let sample = server.request(Method::GET, "/static/samples/cat-1.jpg").send().await.unwrap();
    assert_eq!(sample.headers()["content-type"], "image/jpeg");
}
