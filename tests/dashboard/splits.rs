//! What a dataset lacks for training and evaluation, and the button that splits it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    browser::Browser,
    common::{
        process::{Process, photos},
        tar,
    },
};

/// The numbers of cats in the three splits.
async fn cats(server: &Process) -> [u64; 3] {
    let counts = server.get("/datasets/pets").await["counts"].clone();
    ["train", "validation", "test"].map(|split| counts[split]["cat"].as_u64().unwrap())
}

/// Pushes the button and confirms.
async fn split(browser: &Browser) {
    browser.push("Split automatically").await;
    browser.see("//dialog//p[contains(., 'Reassign all 20 images of pets')]").await;
    browser.click("//dialog//button[.='Split automatically']").await;
    browser.see("//div[contains(@class, 'advice')][@hidden]").await;
}

#[tokio::test]
async fn a_dataset_that_lacks_images_is_split_on_the_train_page_and_on_its_own() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::start(data.path());
    let Some(browser) = Browser::open(&server).await else { return };
    server.post("/datasets", json!({ "name": "pets", "classes": ["cat", "dog"] })).await;
    let train: Vec<_> =
        photos(10).into_iter().filter(|(name, _)| name.starts_with("train")).collect();
    let request = server.request(Method::POST, "/datasets/pets/archive").body(tar(&train));
    assert!(request.send().await.unwrap().status().is_success());

    browser.page("#/train?dataset=pets").await;
    browser.read("Not ready for training.").await;
    browser.read("cat has 10 training, no validation and no test images; dog has 10").await;
    browser.push("Start training").await;
    browser.read("but `cat` has 10 training").await;
    split(&browser).await;
    assert!(cats(&server).await.iter().all(|cats| *cats > 0));

    let images = server.get("/datasets/pets/images?split=test&label=cat").await;
    for image in images["items"].as_array().unwrap() {
        let path = format!("/datasets/pets/images/{}", image["id"].as_str().unwrap());
        let to: Value = json!({ "split": "train" });
        assert_eq!(server.ask(Method::PATCH, &path, Some(to)).await.0, 200);
    }
    browser.page("#/datasets/pets").await;
    browser.read("Test images are missing.").await;
    split(&browser).await;
    let test = server.get("/datasets/pets").await["counts"]["test"].clone();
    let test: u64 = test.as_object().unwrap().values().map(|it| it.as_u64().unwrap()).sum();
    browser.read(&format!(" {test} test.")).await;
    assert!(cats(&server).await.iter().all(|cats| *cats > 0));
    browser.close().await;
}
