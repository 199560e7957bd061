//! What may go wrong while a page is open.

use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    browser::Browser,
    common::{disk::Disk, form, photo, process::Process, skip::skip},
};

#[tokio::test]
async fn a_page_goes_on_after_the_server_was_restarted_in_the_middle_of_a_job() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Process::start(data.path());
    let Some(browser) = Browser::open(&server).await else { return };
    server.pets(8).await;
    let id = server.job(json!({ "epochs": 12, "batch_size": 4 })).await;
    browser.page(&format!("#/jobs/{id}")).await;
    server.epoch(&id, 2).await;
    browser.see("//figure[figcaption='Loss']//*[name()='polyline']").await;

    let address = server.address().to_owned();
    assert!(!server.end(Signal::KILL));
    browser.see("//p[@class='connection'][contains(., 'reach the server')]").await;
    let server = Process::start_at(data.path(), &address);
    browser.see("//p[@class='connection'][not(text())]").await;
    browser.see("//section[@aria-label='Status']//span[.='succeeded']").await;

    // Each epoch appears once, whether it was reported before or after the restart.
    browser.click("//summary[.='Metrics per epoch']").await;
    let script = "return [...document.querySelectorAll('details table tbody tr td:first-child')].map((cell) => Number(cell.textContent))";
    browser.see("//details[@open]//tbody/tr[12]").await;
    let epochs = browser.client.execute(script, vec![]).await.unwrap();
    assert_eq!(epochs, json!((1..=12).collect::<Vec<_>>()));
    drop(server);
    browser.close().await;
}

#[tokio::test]
async fn a_hostile_file_name_is_shown_as_text() {
    const NAME: &str = "cat.<img src=x onerror=document.title='hacked'>.jpg";
    let data = tempfile::tempdir().unwrap();
    let server = Process::start(data.path());
    let Some(browser) = Browser::open(&server).await else { return };
    let (status, _) =
        server.post("/datasets", json!({ "name": "pets", "classes": ["cat", "dog"] })).await;
    assert_eq!(status, 201);
    let request = server.request(Method::POST, "/datasets/pets/images?label=cat");
    let request = request.header("content-type", "multipart/form-data; boundary=a-form");
    let sent = request.body(form(&[(NAME, photo(1))])).send().await.unwrap();
    assert!(sent.status().is_success());

    browser.page("#/datasets/pets").await;
    let image = browser.see("ul[role=listbox] li").await;
    let shown = image.attr("aria-label").await.unwrap().unwrap();
    assert!(shown.contains("onerror"), "{shown}");
    image.click().await.unwrap();
    image.send_keys("\u{e007}").await.unwrap();
    browser.see("//dialog//p[contains(., 'onerror')]").await;
    let script = "return [document.title, document.querySelectorAll('img[src=\"x\"]').length]";
    let seen = browser.client.execute(script, vec![]).await.unwrap();
    assert_eq!(seen, json!(["pets · Pawprint", 0]));
    browser.assert_clean(&server).await;
    browser.close().await;
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_kept_for_the_tab() {
    let data = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_pawprint"));
    let server = Process::spawn(command.env("PAWPRINT_API_TOKEN", "secret"), data.path());
    let Some(browser) = Browser::open(&server).await else { return };
    let answer = async |token: &str| {
        let input = browser.see("dialog input[type=password]").await;
        input.send_keys(token).await.unwrap();
        browser.click("//dialog//button[.='Continue']").await;
    };
    answer("guess").await;
    browser.see("//dialog//label[contains(., 'Invalid API token')]").await;
    let request = server.request(Method::POST, "/tokens").bearer_auth("secret");
    let request = request.json(&json!({ "name": "phone", "scopes": ["predict"] }));
    let phone: Value = request.send().await.unwrap().json().await.unwrap();
    answer(phone["secret"].as_str().unwrap()).await;
    browser.see("//dialog//label[contains(., 'lacks the scope')]").await;
    answer("secret").await;
    browser.see("//h1[.='Teach']").await;
    browser.page("#/predict").await;
    browser.see("//select/option[contains(., 'In service: default')]").await;
    browser.client.refresh().await.unwrap();
    browser.see("//select/option[contains(., 'In service: default')]").await;
    assert!(browser.client.find(fantoccini::Locator::Css("dialog")).await.is_err());
    browser.close().await;
}

#[tokio::test]
async fn an_error_says_what_happened_and_loses_nothing_that_was_typed() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::start(data.path());
    let Some(browser) = Browser::open(&server).await else { return };
    let (status, _) =
        server.post("/datasets", json!({ "name": "pets", "classes": ["cat", "dog"] })).await;
    assert_eq!(status, 201);
    browser.page("#/datasets").await;
    browser.unfold("Create an empty dataset").await;
    browser.write("Name", "pets").await;
    browser.push("Create").await;
    browser.see("//*[@role='alert'][contains(., 'pets')]").await;
    assert_eq!(browser.field("Name").await.prop("value").await.unwrap().unwrap(), "pets");

    // Without images nothing can be trained; what was chosen stays.
    browser.page("#/train").await;
    browser.see("//fieldset/label[1]/input[@name='recipe']").await;
    let chosen =
        "return [...document.querySelectorAll('[name=recipe]')].findIndex((one) => one.checked)";
    assert_eq!(browser.client.execute(chosen, vec![]).await.unwrap(), 0);
    browser.unfold("Advanced").await;
    browser.write("Epochs", "0").await;
    browser.click("//summary[.='Advanced']").await;
    browser.push("Start training").await;
    // What must be put right is unfolded again.
    browser.see("//details[@open]/summary[.='Advanced']").await;
    browser.see("input:user-invalid").await;
    browser.write("Epochs", "3").await;
    browser.push("Start training").await;
    browser.see("//*[@role='alert']").await;
    browser.page("#/models").await;
    browser.see("//h1[.='Models']").await;
    browser.page("#/train").await;
    assert_eq!(browser.field("Epochs").await.prop("value").await.unwrap().unwrap(), "3");
    browser.close().await;
}

#[tokio::test]
async fn an_upload_of_weights_goes_on_while_other_pages_are_open() {
    let (data, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Process::start(data.path());
    let Some(browser) = Browser::open(&server).await else { return };
    server.pets(8).await;
    let file = files.path().join("weights.h5");
    std::fs::write(&file, vec![0; 4 << 20]).unwrap();
    browser.page("#/train").await;
    browser.click("input[value=vgg16_features]").await;
    browser.upload_at(50_000).await;
    browser.pick("input[accept*='.h5']", &[&file]).await;
    browser.read("Uploading weights.h5: ").await;
    browser.page("#/models").await;
    browser.see("//h1[.='Models']").await;
    browser.page("#/train").await;
    browser.read("Uploading weights.h5: ").await;
    browser.click("//section[@aria-label='VGG16 weights']//button[.='Cancel']").await;
    browser.see("//section[@aria-label='VGG16 weights'][not(.//button[.='Cancel'])]").await;
    assert_eq!(server.get("/weights/vgg16").await["state"], "absent");
    browser.close().await;
}

#[tokio::test]
async fn a_job_that_does_not_fit_starts_only_if_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let _disk = match Disk::mount(&data, 40_000_000) {
        Ok(disk) => disk,
        Err(why) => return skip(why),
    };
    let server = Process::start(&data);
    server.pets(150).await;
    let free = rustix::fs::statvfs(&data).map(|it| it.f_bavail * it.f_frsize).unwrap();
    std::fs::write(data.join("filler"), vec![0; free as usize - 8_000_000]).unwrap();
    let Some(browser) = Browser::open(&server).await else { return };
    browser.page("#/train").await;
    let anyway = "//button[.='Start anyway']";
    browser.see(&format!("{anyway}[@hidden]")).await;
    browser.push("Start training").await;
    browser.see("//*[@role='alert'][contains(., 'This job does not fit. It needs about')]").await;
    browser.see("//*[@role='alert'][contains(., 'of disk space')]").await;
    assert_eq!(server.get("/jobs").await["items"], json!([]));
    // Another job may fit.
    browser.write("Name", "other").await;
    browser.see(&format!("{anyway}[@hidden]")).await;
    browser.push("Start training").await;
    browser.see(&format!("{anyway}[not(@hidden)]")).await;
    browser.push("Start anyway").await;
    browser.see(&format!("{anyway}[@hidden]")).await;
    assert_eq!(server.get("/jobs/other").await["name"], "other");
    browser.close().await;
}
