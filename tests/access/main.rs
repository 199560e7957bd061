//! API tokens: who may do what, for every route; how tokens are created, used and revoked; and the
//! audit log.
#![expect(clippy::unwrap_used, reason = "a test that can't go on may stop there")]

mod audit;
#[path = "../common/mod.rs"]
mod common;
mod routes;
mod tokens;

use axum::{
    body::Body,
    http::{Request, header},
};
use common::{Answer, Server};
use serde_json::json;

const OPERATOR: &str = "token-of-the-settings";

async fn guarded() -> Server {
    Server::with(|config| config.api_token = vec![OPERATOR.to_owned()]).await
}

async fn ask(server: &Server, token: Option<&str>, method: &str, uri: &str, body: Body) -> Answer {
    let mut request = Request::builder().method(method).uri(uri);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    if method == "POST" {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    server.send(request.body(body).unwrap()).await
}

/// Creates a token and gives its secret.
async fn create(server: &Server, name: &str, scopes: &[&str]) -> String {
    let body = Body::from(json!({ "name": name, "scopes": scopes }).to_string());
    let created = ask(server, Some(OPERATOR), "POST", "/tokens", body).await;
    assert_eq!(created.status, 201);
    assert_eq!(created.headers[header::CACHE_CONTROL], "no-store");
    let created = created.json();
    assert_eq!((&created["name"], &created["scopes"]), (&json!(name), &json!(scopes)));
    created["secret"].as_str().unwrap().to_owned()
}
