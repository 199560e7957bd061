//! The addresses of the pages: those that lead somewhere, older ones, and those that lead nowhere.

use serde_json::json;

use crate::{browser::Browser, common::process::Process};

/// Opens an address, waits for a heading, and gives the address that the browser shows then.
async fn visit(browser: &Browser, address: &str, heading: &str) -> String {
    browser.page(address).await;
    browser.see(&format!("//main//h1[.={heading:?}]")).await;
    let hash = browser.client.execute("return location.hash", vec![]).await.unwrap();
    hash.as_str().unwrap().to_owned()
}

#[tokio::test]
async fn each_thing_has_an_address_and_the_older_ones_lead_to_it() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::start(data.path());
    let Some(browser) = Browser::open(&server).await else { return };
    server.pets(8).await;
    let id = server.job(json!({ "epochs": 1 })).await;
    let job = server.ended(&id).await;
    let name = job["name"].as_str().unwrap();

    for (address, heading, canonical) in [
        ("#/datasets/pets".to_owned(), "pets", "#/datasets/pets".to_owned()),
        ("#/dataset/pets".to_owned(), "pets", "#/datasets/pets".to_owned()),
        (format!("#/jobs/{name}"), name, format!("#/jobs/{name}")),
        (format!("#/job/{name}"), name, format!("#/jobs/{name}")),
        (format!("#/models/{name}"), name, format!("#/models/{name}")),
        (format!("#/models?model={name}"), name, format!("#/models/{name}")),
        ("#/datasets/".to_owned(), "Datasets", "#/datasets/".to_owned()),
        ("#/jobs".to_owned(), "Evaluate", "#/evaluate".to_owned()),
    ] {
        browser.page("#/train").await;
        browser.see("//h1[.='Train']").await;
        assert_eq!(visit(&browser, &address, heading).await, canonical);
    }

    // A model's page has its facts and puts it in service.
    browser.page("#/models").await;
    browser.push(name).await;
    browser.see("//dt[.='Classes']/following-sibling::dd[.='cat, dog']").await;
    browser.see("//dt[.='Dataset']/following-sibling::dd/a[@href='#/datasets/pets']").await;
    browser.see(&format!("//dt[.='Job']/following-sibling::dd/a[@href='#/jobs/{id}']")).await;
    browser.see(&format!("//h2[.='When is {name} unsure?']")).await;
    if server.get("/models/current").await["name"] == name {
        browser.push("Pin this model").await;
    } else {
        browser.push("Use this model").await;
    }
    browser.read("It is in service (pinned).").await;
    assert_eq!(server.get("/models/current").await["name"], name);
    browser.assert_clean(&server).await;
    browser.close().await;
}

#[tokio::test]
async fn an_address_that_leads_nowhere_says_so() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::start(data.path());
    let Some(browser) = Browser::open(&server).await else { return };
    for address in ["#/nowhere", "#/constructor", "#/predict/x", "#/a b/ä%"] {
        let hash = visit(&browser, address, "Page not found").await;
        browser.read(&format!("There is no page {hash}.")).await;
        browser.see("//main//li/a[@href='#/datasets']").await;
    }
    for (list, noun, back) in [
        ("datasets", "dataset", "#/datasets"),
        ("jobs", "job", "#/evaluate"),
        ("models", "model", "#/models"),
    ] {
        for (written, name) in [
            ("a%20b%2Fc", "a b/c"),
            ("a/b", "a/b"),
            ("100%", "100%"),
            ("%C3%A4%25", "ä%"),
            ("..", ".."),
        ] {
            let heading = format!("No such {noun}");
            visit(&browser, &format!("#/{list}/{written}"), &heading).await;
            browser.read(&format!("There is no {noun} named “{name}”.")).await;
            browser.see(&format!("//main//a[@href='{back}'][.='All {noun}s']")).await;
        }
    }
    browser.close().await;
}
