//! What changed when and who did it, and the way back.

use axum::{
    body::Body,
    http::{Request, header},
};
use pawprint::{domain::ModelId, http::router::router, registry::embedded};
use serde_json::{Value, json};

use super::{
    assert_described,
    common::{self, Answer, Server, config},
    model, server,
};

const OPERATOR: &str = "s3cret";

async fn pin(server: &Server, model: &str) {
    server.json("PUT", "/models/current", json!({ "model": model })).await.ok();
}

async fn roll_back(server: &Server) -> Answer {
    server.post("/models/rollback", Body::empty()).await
}

async fn serving(server: &Server) -> String {
    let current = server.get("/models/current").await.ok();
    format!("{} {}", current["mode"].as_str().unwrap(), current["name"].as_str().unwrap())
}

/// The history in short, oldest first.
async fn history(server: &Server, query: &str) -> Vec<String> {
    let page = server.get(&format!("/models/history?limit=500{query}")).await.ok();
    assert_described(server, "Page_ModelHistoryEntry", &page).await;
    let model = |target: &Value| match target["name"].as_str() {
        Some(name) if target["pinned"] == true => format!("{name}!"),
        Some(name) => name.to_owned(),
        None => "-".to_owned(),
    };
    let text = |entry: &Value| {
        let (event, by) = (entry["event"].as_str().unwrap(), entry["by"]["kind"].as_str().unwrap());
        let alias = entry["alias"].as_str().map_or_else(String::new, |alias| format!("{alias}: "));
        format!("{alias}{event} {} {} {by}", model(&entry["from"]), model(&entry["to"]))
    };
    page["items"].as_array().unwrap().iter().rev().map(text).collect()
}

#[tokio::test]
async fn a_change_is_taken_back_and_that_too() {
    let server = server().await;
    model(&server, "first", "pets", |_| {}).await;
    model(&server, "second", "pets", |_| {}).await;
    roll_back(&server).await.problem(409, "no_previous");
    pin(&server, "first").await;
    // Nothing changes.
    pin(&server, "first").await;
    pin(&server, "second").await;
    let current = roll_back(&server).await.ok();
    assert_eq!((&current["name"], &current["mode"]), (&json!("first"), &json!("pinned")));
    roll_back(&server).await.ok();
    assert_eq!(serving(&server).await, "pinned second");
    pin(&server, "best").await;
    assert_eq!(serving(&server).await, "best default");
    roll_back(&server).await.ok();
    assert_eq!(serving(&server).await, "pinned second");
    roll_back(&server).await.ok();
    assert_eq!(serving(&server).await, "best default");
    assert_eq!(
        history(&server, "").await,
        [
            "selected - default server",
            "pinned default first! anonymous",
            "pinned first! second! anonymous",
            "rolled_back second! first! anonymous",
            "rolled_back first! second! anonymous",
            "unpinned second! default anonymous",
            "rolled_back default second! anonymous",
            "rolled_back second! default anonymous",
        ]
    );
    // As it was after a restart, with nothing added.
    let before = history(&server, "").await;
    server.app.registry.refresh().await.unwrap();
    assert_eq!(
        (serving(&server).await, history(&server, "").await),
        ("best default".to_owned(), before)
    );

    pin(&server, "first").await;
    pin(&server, "second").await;
    server.delete("/models/first").await;
    let problem = roll_back(&server).await.problem(409, "no_previous");
    assert_eq!(problem["detail"], "`first`, which was in service before, has been deleted");
    assert_eq!(serving(&server).await, "pinned second");
}

#[tokio::test]
async fn a_model_that_can_not_be_loaded_is_not_gone_back_to() {
    let server = server().await;
    let first = model(&server, "first", "pets", |_| {}).await;
    model(&server, "second", "pets", |_| {}).await;
    pin(&server, "first").await;
    pin(&server, "second").await;
    std::fs::remove_file(server.app.data_dir.model(first)).unwrap();
    roll_back(&server).await.problem(422, "model_unusable");
    assert_eq!(serving(&server).await, "pinned second");
    assert_eq!(history(&server, "").await.last().unwrap(), "pinned first! second! anonymous");
}

#[tokio::test]
async fn a_pinned_model_that_can_not_be_loaded_is_not_taken_for_the_one_in_service() {
    let server = server().await;
    let first = model(&server, "first", "pets", |_| {}).await;
    let current = async |server: &Server| {
        let current = server.get("/models/current").await.ok();
        ["name", "mode", "pinned_model"].map(|member| current[member].clone())
    };
    assert_eq!(current(&server).await, [json!("default"), json!("best"), Value::Null]);
    pin(&server, "first").await;
    assert_eq!(current(&server).await, [json!("first"), json!("pinned"), json!("first")]);
    let path = server.app.data_dir.model(first);
    let folder = common::data::close(server).await;
    std::fs::write(path, "no model").unwrap();
    let app = common::app(config(), folder.path()).await;
    let server = Server { router: router(app.clone()), app, folder };
    assert_eq!(current(&server).await, [json!("default"), json!("pinned"), json!("first")]);
    pin(&server, "best").await;
    assert_eq!(current(&server).await, [json!("default"), json!("best"), Value::Null]);
}

/// The built-in model of another version takes the place of this one's, also behind aliases.
#[tokio::test]
async fn a_new_built_in_model_is_in_the_history_of_its_aliases() {
    let server = server().await;
    let webhook = json!({ "url": "https://example.org/hook", "events": ["alias.changed"] });
    let webhook = server.json("POST", "/webhooks", webhook).await.ok();
    let default = json!({ "model": "default" });
    let alias = server.json("PUT", "/aliases/champion", default).await.ok();
    let older = ModelId::new().to_string();
    let mut transaction = server.app.storage.write().await.unwrap();
    for sql in ["UPDATE aliases SET model_id = ?", "UPDATE models SET id = ?"] {
        sqlx::query(sql).bind(&older).execute(&mut *transaction).await.unwrap();
    }
    transaction.commit().await.unwrap();
    assert_eq!(server.get("/models/champion").await.ok()["id"], json!(older));

    embedded::install(&server.app.storage, &server.app.data_dir).await.unwrap();
    assert_eq!(server.get("/models/champion").await.ok()["id"], alias["model_id"]);
    assert_eq!(
        history(&server, "&alias=champion").await,
        ["champion: alias_set - default anonymous", "champion: alias_set default default server"]
    );
    let last = server.get("/models/history?alias=champion&limit=1").await.ok();
    let last = &last["items"][0];
    assert_eq!((&last["from"]["id"], &last["to"]["id"]), (&json!(older), &alias["model_id"]));
    let path = format!("/webhooks/{}/deliveries", webhook["id"].as_str().unwrap());
    let told = server.get(&path).await.ok();
    assert_eq!(told["items"].as_array().unwrap().len(), 2, "{told}");
    // Another start changes nothing.
    embedded::install(&server.app.storage, &server.app.data_dir).await.unwrap();
    assert_eq!(history(&server, "&alias=champion").await.len(), 2);
}

#[tokio::test]
async fn aliases_have_a_history_of_their_own() {
    let server = server().await;
    model(&server, "first", "pets", |_| {}).await;
    model(&server, "second", "pets", |_| {}).await;
    let set = async |alias: &str, model: &str| {
        server.json("PUT", &format!("/aliases/{alias}"), json!({ "model": model })).await.ok();
    };
    let back = async || server.post("/aliases/champion/rollback", Body::empty()).await;
    back().await.problem(404, "not_found");
    set("champion", "first").await;
    set("champion", "first").await;
    set("other", "second").await;
    set("champion", "second").await;
    let aliases = back().await.ok();
    assert_eq!(aliases["items"][0]["model"], "first");
    assert_eq!(back().await.ok()["items"][0]["model"], "second");
    assert_eq!(server.delete("/aliases/champion").await.status, 204);
    assert_eq!(back().await.ok()["items"][0]["model"], "second");
    assert_eq!(back().await.ok()["items"][0]["name"], "other", "removed again");
    assert_eq!(
        history(&server, "&alias=champion").await,
        [
            "champion: alias_set - first anonymous",
            "champion: alias_set first second anonymous",
            "champion: rolled_back second first anonymous",
            "champion: rolled_back first second anonymous",
            "champion: alias_removed second - anonymous",
            "champion: rolled_back - second anonymous",
            "champion: rolled_back second - anonymous",
        ]
    );
    // The model in service has not changed.
    roll_back(&server).await.problem(409, "no_previous");
    assert_eq!(history(&server, "").await.len(), 9);

    // Back to nothing, and a model in the way.
    set("fresh", "first").await;
    assert_eq!(server.post("/aliases/fresh/rollback", Body::empty()).await.status, 200);
    model(&server, "fresh", "pets", |_| {}).await;
    server.post("/aliases/fresh/rollback", Body::empty()).await.problem(409, "name_taken");
}

#[tokio::test]
async fn the_history_names_who_did_it_page_by_page() {
    let server = Server::with(|config| config.api_token.push(OPERATOR.to_owned())).await;
    let ask = async |token: &str, method: &str, path: &str, body: Value| {
        let request = Request::builder().method(method).uri(path);
        let request = request.header(header::CONTENT_TYPE, "application/json");
        let request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        server.send(request.body(Body::from(body.to_string())).unwrap()).await
    };
    let token = json!({ "name": "deploy", "scopes": ["read", "write"] });
    let token = ask(OPERATOR, "POST", "/tokens", token).await.ok();
    let deploy = token["secret"].as_str().unwrap();
    let default = json!({ "model": "default" });
    ask(deploy, "PUT", "/aliases/champion", default.clone()).await.ok();
    ask(OPERATOR, "PUT", "/models/current", default).await.ok();
    ask(deploy, "POST", "/models/rollback", json!(null)).await.ok();
    let (mut by, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/models/history?limit=2{cursor}");
        let page = ask(OPERATOR, "GET", &path, json!(null)).await.ok();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2);
        by.extend(items.iter().map(|entry| entry["by"].clone()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let deploy = json!({ "kind": "token", "name": "deploy" });
    assert_eq!(
        by,
        [deploy.clone(), json!({ "kind": "operator" }), deploy, json!({ "kind": "server" })]
    );
    ask(OPERATOR, "GET", "/models/history?cursor=x", json!(null))
        .await
        .problem(422, "invalid_value");
}
