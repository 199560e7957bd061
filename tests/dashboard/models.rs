//! The models page: comparison, aliases, history and the way back.

use reqwest::Method;
use serde_json::json;

use crate::{
    browser::Browser,
    common::{photo, process::Process},
};

#[tokio::test]
async fn models_are_compared_named_and_rolled_back() {
    let data = tempfile::tempdir().unwrap();
    let (server, names) = Process::with_models(data.path()).await;
    for name in &names {
        let pin = json!({ "model": name });
        assert_eq!(server.ask(Method::PUT, "/models/current", Some(pin)).await.0, 200);
    }
    let Some(browser) = Browser::open(&server).await else { return };
    let [first, second] = [&names[0], &names[1]];
    browser.page("#/models").await;
    browser.see(&format!("//h2[normalize-space()='In service: {second}']")).await;

    let compare = server.get(&format!("/models/{first}/compare?with={second}")).await;
    let select = |label: &str, value: &str| {
        format!(
            "//section[@aria-label='Compare two models']//label[.='{label}']/following-sibling::select/option[.='{value}']"
        )
    };
    browser.click(&select("Model", first)).await;
    browser.click(&select("With", second)).await;
    browser.push("Compare").await;
    browser.read(compare["summary"][0].as_str().unwrap()).await;
    let differing = compare["differing"].as_u64().unwrap();
    let cards = "//section[@aria-label='Compare two models']//li";
    match differing {
        0 => drop(browser.read("They predict the same class for every image").await),
        _ => drop(browser.see(cards).await),
    }

    let alias = browser.see("//section[@aria-label='Aliases']//input").await;
    alias.send_keys("champion").await.unwrap();
    browser.push("Set").await;
    browser.see("//section[@aria-label='Aliases']//th[.='champion']").await;
    browser.see("//span[@title='Alias' and .='champion']").await;
    assert_eq!(server.get("/aliases").await["items"][0]["name"], "champion");
    browser.see("//section[@aria-label='History']//td[.='Alias set: champion']").await;
    // The comparison is still there.
    browser.read(compare["summary"][0].as_str().unwrap()).await;

    shadow(&browser, &server, first, second).await;

    browser.push("Roll back").await;
    browser.click("//dialog//button[.='Cancel']").await;
    assert_eq!(server.get("/models/current").await["name"], **second);
    browser.push("Roll back").await;
    browser.click("//dialog//button[.='Roll back']").await;
    browser.see(&format!("//h2[normalize-space()='In service: {first}']")).await;
    browser.see("//section[@aria-label='History']//td[.='Rolled back']").await;
    assert_eq!(server.get("/models/current").await["name"], **first);

    browser.click("//button[@aria-label='Remove alias champion']").await;
    browser.click("//dialog//button[.='Remove']").await;
    browser.see("//section[@aria-label='History']//td[.='Alias removed: champion']").await;
    assert_eq!(server.get("/aliases").await["items"], json!([]));
    browser.width(390).await;
    let wide = "return document.documentElement.scrollWidth";
    assert!(browser.client.execute(wide, vec![]).await.unwrap().as_u64().unwrap() <= 390);
    browser.assert_clean(&server).await;
    browser.close().await;
}

/// A model that answers the same requests as the one in service is started, followed, paused and ended.
async fn shadow(browser: &Browser, server: &Process, model: &str, in_service: &str) {
    let panel = "//section[@aria-label='Shadow']";
    browser.click(&format!("{panel}//option[.='{model}']")).await;
    browser.click(&format!("{panel}//option[.='100%']")).await;
    browser.push("Start shadow").await;
    browser.see(&format!("{panel}//h2[normalize-space()='Shadow: {model}']")).await;
    browser.read("No images yet").await;
    assert_eq!(server.get("/models/shadow").await["cpu_fraction"], 1.0);
    let predict = server.request(Method::POST, "/predict").body(photo(1));
    assert_eq!(predict.send().await.unwrap().status(), 200);
    while server.get("/models/shadow").await["images"] != 1 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    browser.push("Refresh").await;
    let agreed = server.get("/models/shadow").await["agreed"] == 1;
    let same = if agreed { "1 of 1 image (100.0%)" } else { "0 of 1 image (0.0%)" };
    browser.read(&format!("Same prediction for {same}")).await;
    let rows = format!("{panel}//tbody/tr");
    let rows = browser.client.find_all(fantoccini::Locator::XPath(&rows)).await.unwrap();
    assert_eq!(rows.len(), usize::from(!agreed));
    let paused = format!("{panel}//p[.='Paused: it is in service itself.']");
    for (serving, found) in [(model, 1), (in_service, 0)] {
        let pin = json!({ "model": serving });
        assert_eq!(server.ask(Method::PUT, "/models/current", Some(pin)).await.0, 200);
        browser.push("Refresh").await;
        browser.see(&format!("//h2[normalize-space()='In service: {serving}']")).await;
        browser.see(&format!("{panel}[count({}) = {found}]", paused.replace(panel, "."))).await;
    }
    browser.push("End shadow").await;
    browser.click("//dialog//button[.='End shadow']").await;
    browser.see(&format!("{panel}//button[.='Start shadow']")).await;
    assert!(server.get("/models/shadow").await.is_null());
}
