//! A dataset that is made by dropping a folder on the page of the datasets.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{
    browser::Browser,
    common::process::{Process, photos},
};

/// A folder with four images of each class, and a file that is none.
fn flowers(folder: &Path) {
    let classes = ["rose", "tulip", "daisy", "dahlia"];
    for (number, (_, bytes)) in photos(4).into_iter().enumerate() {
        let class = folder.join(classes[number % 4]);
        fs::create_dir_all(&class).unwrap();
        fs::write(class.join(format!("{number}.png")), bytes).unwrap();
    }
    fs::write(folder.join("read me.txt"), "x").unwrap();
}

async fn names(server: &Process) -> Vec<Value> {
    let datasets = server.get("/datasets").await;
    datasets["items"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect()
}

/// The images of each class, in all splits.
async fn images(server: &Process, dataset: &str) -> Value {
    let dataset = server.get(&format!("/datasets/{dataset}")).await;
    let all = |class: &Value| {
        let of = |split: &str| dataset["counts"][split][class.as_str().unwrap()].as_u64().unwrap();
        ["train", "validation", "test"].map(of).iter().sum::<u64>()
    };
    dataset["classes"].as_array().unwrap().iter().map(|class| json!([class, all(class)])).collect()
}

async fn name_class(browser: &Browser, class: &str, to: &str) {
    let input = browser.see(&format!("input[aria-label='Name of class {class}']")).await;
    input.clear().await.unwrap();
    input.send_keys(to).await.unwrap();
}

#[tokio::test]
async fn a_dropped_folder_becomes_a_dataset_once_it_is_confirmed() {
    let (data, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Process::start(data.path());
    let Some(browser) = Browser::open(&server).await else { return };
    let folder = files.path().join("Garden: flowers!");
    flowers(&folder);
    browser.page("#/datasets").await;
    browser.read("No datasets yet").await;

    browser.drop_on("section[aria-label='New dataset']", &folder).await;
    browser.read("4 classes with 16 images").await;
    browser.read("Rejected files (1)").await;
    assert_eq!(
        browser.field("Name of the dataset").await.prop("value").await.unwrap().unwrap(),
        "Garden-flowers"
    );
    assert_eq!(names(&server).await, [] as [Value; 0]);

    // Nothing is left of what is cancelled.
    browser.click("//form//button[.='Cancel']").await;
    browser.see("//main[not(.//h2[.='New dataset'])]").await;
    assert_eq!(names(&server).await, [] as [Value; 0]);

    // Names are corrected before the upload: two are swapped, and two classes become one. What was
    // typed stays while other pages are open.
    browser.drop_on("section[aria-label='New dataset']", &folder).await;
    browser.write("Name of the dataset", "garden").await;
    name_class(&browser, "rose", "tulip").await;
    name_class(&browser, "tulip", "rose").await;
    name_class(&browser, "dahlia", "Daisy").await;
    browser.read("dahlia and daisy become one class: Daisy.").await;
    browser.page("#/train").await;
    browser.see("//h1[.='Train']").await;
    browser.page("#/datasets").await;
    browser.push("Create and upload 16 images").await;
    browser.see("//h1[.='garden']").await;
    browser.read("16 added, 0 duplicates, 1 rejected").await;
    browser.see("//section[@aria-label='Classes']//h2[.='3 classes']").await;
    let expected = json!([["daisy", 8], ["rose", 4], ["tulip", 4]]);
    assert_eq!(images(&server, "garden").await, expected);
    let page = server.get("/datasets/garden/images?label=tulip").await;
    let first = page["items"][0]["file_name"].as_str().unwrap();
    assert!(first.contains("rose/"), "{first}");

    // A name that is taken gets a number.
    let again = files.path().join("garden");
    flowers(&again);
    browser.page("#/datasets").await;
    browser.drop_on("section[aria-label='New dataset']", &again).await;
    browser.see("//form//button[.='Create and upload 16 images']").await;
    assert_eq!(
        browser.field("Name of the dataset").await.prop("value").await.unwrap().unwrap(),
        "garden-2"
    );
    browser.write("Name of the dataset", "garden").await;
    browser.push("Create and upload 16 images").await;
    browser.see("//*[@role='alert'][contains(., 'garden')]").await;
    assert_eq!(names(&server).await, ["garden"]);
    browser.close().await;
}

#[tokio::test]
async fn an_upload_goes_on_elsewhere_and_leaves_no_dataset_if_it_is_cancelled() {
    let (data, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Process::start(data.path());
    let Some(browser) = Browser::open(&server).await else { return };
    let folder = files.path().join("flowers");
    flowers(&folder);
    fs::write(folder.join("rose/large.jpg"), vec![0; 4 << 20]).unwrap();
    browser.page("#/datasets").await;
    browser.upload_at(50_000).await;
    browser.drop_on("section[aria-label='New dataset']", &folder).await;
    browser.push("Create and upload 17 images").await;
    browser.see("//h1[.='flowers']").await;
    browser.read("Keep this tab open").await;
    // It goes on while other pages are open; the list of the datasets shows how far it is.
    browser.page("#/datasets").await;
    browser.see("//th[a='flowers']/span[starts-with(., 'Upload: ')]").await;
    browser.push("flowers").await;
    browser.click("//div[contains(@class, 'upload')]//button[.='Cancel']").await;
    browser.see("//h1[.='Datasets']").await;
    browser.read("No datasets yet").await;
    assert_eq!(names(&server).await, [] as [Value; 0]);
    browser.close().await;
}
