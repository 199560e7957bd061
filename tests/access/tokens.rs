//! How tokens are created, used and revoked.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use axum::{
    body::Body,
    http::{Request, header},
};
use pawprint::http::router::router;
use serde_json::{Value, json};

use super::{
    OPERATOR, ask,
    common::{Server, app, config, photo, process::Process},
    create, guarded,
};

async fn tokens(server: &Server) -> Vec<Value> {
    let listed = ask(server, Some(OPERATOR), "GET", "/tokens", Body::empty()).await.ok();
    listed["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_key_for_predictions_predicts_and_deletes_nothing() {
    let server = guarded().await;
    let phone = create(&server, "phone", &["predict"]).await;
    let body = json!({ "name": "pets" }).to_string();
    ask(&server, Some(OPERATOR), "POST", "/datasets", body.into()).await.ok();
    let predicted = ask(&server, Some(&phone), "POST", "/predict", photo(1).into()).await;
    // It was sent as JSON, which is not an image; the token was fine.
    assert_ne!(predicted.status, 403);
    let request =
        Request::post("/predict").header(header::AUTHORIZATION, format!("Bearer {phone}"));
    server.send(request.body(Body::from(photo(1))).unwrap()).await.ok();
    let deleted = ask(&server, Some(&phone), "DELETE", "/datasets/pets", Body::empty()).await;
    deleted.problem(403, "forbidden");
    ask(&server, Some(OPERATOR), "GET", "/datasets/pets", Body::empty()).await.ok();
}

#[tokio::test]
async fn a_token_is_stored_as_a_hash_survives_a_restart_and_is_revoked_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let start = async || {
        let mut config = config();
        config.api_token = vec![OPERATOR.to_owned()];
        let app = app(config, folder.path()).await;
        // Its folder is not the server's: that one stays.
        Server { router: router(app.clone()), app, folder: tempfile::tempdir().unwrap() }
    };
    let server = start().await;
    let secret = create(&server, "phone", &["predict", "read"]).await;
    assert!(secret.starts_with("pawprint_") && secret.len() > 40);
    assert_ne!(secret, create(&server, "other", &["read"]).await);
    assert!(tokens(&server).await[0]["last_used_at"].is_null());
    ask(&server, Some(&secret), "GET", "/datasets", Body::empty()).await.ok();
    let listed = tokens(&server).await;
    assert!(listed[0]["last_used_at"].is_string() && listed[1]["last_used_at"].is_null());
    assert!(listed.iter().all(|token| token["secret"].is_null()));

    // The use is saved in the background.
    let saved = async || {
        let row =
            sqlx_text(folder.path(), "SELECT last_used_at FROM tokens WHERE name = 'phone'").await;
        row.is_some()
    };
    let is_saved = async {
        while !saved().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), is_saved).await.unwrap();
    server.app.storage.close().await;
    drop(server);
    for file in fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path()) {
        if file.is_file() {
            let bytes = fs::read(&file).unwrap();
            let random = secret.trim_start_matches("pawprint_").as_bytes();
            assert!(!bytes.windows(random.len()).any(|it| it == random), "{}", file.display());
        }
    }

    let server = start().await;
    assert_eq!(tokens(&server).await[0]["name"], "phone");
    assert!(tokens(&server).await[0]["last_used_at"].is_string());
    ask(&server, Some(&secret), "GET", "/datasets", Body::empty()).await.ok();
    let revoked = ask(&server, Some(OPERATOR), "DELETE", "/tokens/phone", Body::empty()).await;
    assert_eq!(revoked.status, 204);
    ask(&server, Some(&secret), "GET", "/datasets", Body::empty())
        .await
        .problem(401, "unauthorized");
    let again = ask(&server, Some(OPERATOR), "DELETE", "/tokens/phone", Body::empty()).await;
    again.problem(404, "not_found");
    let id = tokens(&server).await[0]["id"].as_str().unwrap().to_owned();
    let by_id =
        ask(&server, Some(OPERATOR), "DELETE", &format!("/tokens/{id}"), Body::empty()).await;
    assert_eq!(by_id.status, 204);
    create(&server, "last", &["read"]).await;
    server.app.storage.close().await;
    drop(server);
    // Without a token of the settings, nobody would need the created one.
    let mut open = config();
    open.data_dir = folder.path().to_owned();
    let refused = pawprint::app::compose(open).await.unwrap_err().to_string();
    assert!(refused.contains("set PAWPRINT_API_TOKEN"), "{refused}");
    let server = start().await;
    let revoked = ask(&server, Some(OPERATOR), "DELETE", "/tokens/last", Body::empty()).await;
    assert_eq!(revoked.status, 204);
    assert!(tokens(&server).await.is_empty());
    ask(&server, Some(&secret), "GET", "/datasets", Body::empty())
        .await
        .problem(401, "unauthorized");
}

/// The first column of the first row, from a connection of its own.
async fn sqlx_text(folder: &Path, query: &'static str) -> Option<String> {
    use sqlx::Connection as _;
    let url = format!("sqlite://{}/pawprint.sqlite", folder.display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap()
}

#[tokio::test]
async fn what_makes_no_token_is_refused() {
    let server = guarded().await;
    let send = async |body: Value| {
        ask(&server, Some(OPERATOR), "POST", "/tokens", body.to_string().into()).await
    };
    let refused = send(json!({ "name": "x", "scopes": [] })).await;
    assert_eq!(refused.problem(422, "invalid_value")["field"], "scopes");
    for body in [
        json!({ "name": "x", "scopes": ["admin"] }),
        json!({ "name": "a b", "scopes": ["read"] }),
        json!({ "name": "x" }),
        json!({ "name": "x", "scopes": ["read"], "more": 1 }),
    ] {
        send(body).await.problem(422, "invalid_value");
    }
    create(&server, "x", &["read"]).await;
    send(json!({ "name": "x", "scopes": ["read"] })).await.problem(409, "name_taken");
    // A token that protects nothing would look as if it did.
    let open = Server::start().await;
    let body = json!({ "name": "x", "scopes": ["read"] });
    open.json("POST", "/tokens", body).await.problem(409, "no_token_required");
    assert_eq!(open.get("/tokens").await.ok()["items"], json!([]));
}

#[tokio::test]
async fn several_tokens_are_valid_while_one_replaces_another() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens");
    fs::write(&file, "\nnew-token\r\n\n  newest-token  \n").unwrap();
    let server = Server::with(|config| {
        config.api_token = vec!["old-token".to_owned(), "older-token".to_owned()];
        config.api_token_file = Some(file);
    })
    .await;
    for token in ["old-token", "older-token", "new-token", "newest-token"] {
        ask(&server, Some(token), "GET", "/system", Body::empty()).await.ok();
    }
    for token in ["old", "new-token ", "", "new-token\nnewest-token"].map(|it| it.replace('\n', ""))
    {
        let answer = ask(&server, Some(token.trim_end()), "GET", "/system", Body::empty()).await;
        assert_eq!(answer.status == 200, token.trim_end() == "new-token", "{token:?}");
    }
}

#[test]
fn a_file_without_tokens_is_an_error_that_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let write = |bytes: &[u8]| {
        let file = folder.path().join("tokens");
        fs::write(&file, bytes).unwrap();
        file
    };
    let refused = |file: &Path| {
        let mut config = config();
        config.api_token_file = Some(file.to_owned());
        config.validate(&[]).unwrap_err().to_string()
    };
    assert!(refused(&folder.path().join("none")).contains("No such file"));
    assert!(refused(folder.path()).contains("directory"));
    for empty in [&b""[..], b"\n \n"] {
        assert!(refused(&write(empty)).contains("is empty; write one token per line"));
    }
    assert!(refused(&write(b"good\ntwo words\n")).starts_with("line 2 of the API token file"));
    assert!(refused(&write("na\u{ef}ve".as_bytes())).starts_with("line 1"));
    assert!(refused(&write(b"\xff\xfe")).contains("UTF-8"));
    assert!(refused(&write(&vec![b'a'; 2 << 20])).contains("too large"));
}

#[tokio::test]
async fn the_command_line_creates_lists_and_revokes() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pawprint"));
    let server = Process::spawn(command.env("PAWPRINT_API_TOKEN", OPERATOR), folder.path());
    let pawprint = |token: &str, arguments: &[&str]| -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pawprint"));
        command.env("PAWPRINT_SERVER", format!("http://{}", server.address()));
        command.env("PAWPRINT_API_TOKEN", token).args(arguments).output().unwrap()
    };
    let text = |output: &Output| {
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        String::from_utf8(output.stdout.clone()).unwrap()
    };
    let create = ["tokens", "create", "phone", "--scope", "read,predict"];
    let secret = text(&pawprint(OPERATOR, &create));
    let secret = secret.trim();
    text(&pawprint(secret, &["datasets"]));
    let refused = pawprint(secret, &["tokens"]);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && error.contains("server's settings"), "{error}");
    let listed = text(&pawprint(OPERATOR, &["tokens"]));
    assert!(listed.contains("phone  predict,read"), "{listed}");
    assert!(!listed.contains("never") && !listed.contains(secret), "{listed}");
    assert_eq!(text(&pawprint(OPERATOR, &["tokens", "revoke", "phone"])), "revoked phone\n");
    assert!(!pawprint(secret, &["datasets"]).status.success());
    let file = folder.path().join("token");
    fs::write(&file, format!("{OPERATOR}\nanother\n")).unwrap();
    let file = file.to_str().unwrap();
    text(&pawprint("", &["datasets", "--api-token-file", file]));
    let missing = pawprint("", &["datasets", "--api-token-file", "/none"]);
    let error = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(error.contains("can't use the API token file /none"), "{error}");
    let without = pawprint(OPERATOR, &["tokens", "create", "phone"]);
    assert_eq!(without.status.code(), Some(2));
}
