//! API tokens: who may do what, for every route; how tokens are created, used and revoked; and the
//! audit log.
#![expect(clippy::unwrap_used, reason = "a test that can't go on may stop there")]

mod common;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
};

use axum::{
    body::Body,
    http::{Request, header},
};
use common::{Answer, Server, app, config, photo, process::Process};
use pawprint::http::router::router;
use serde_json::{Value, json};

const OPERATOR: &str = "token-of-the-settings";

/// What each operation needs: `settings` is a token of the settings. A new route must be added here.
const REQUIRED: &str = "
    predict   POST    /predict
    predict   POST    /explain
    predict   GET     /v2
    predict   GET     /v2/health/live
    predict   GET     /v2/health/ready
    predict   GET     /v2/models/{model}
    predict   GET     /v2/models/{model}/ready
    predict   POST    /v2/models/{model}/infer
    read      GET     /system
    read      GET     /recipes
    read      GET     /metrics
    read      GET     /datasets
    write     POST    /datasets
    read      GET     /datasets/{dataset}
    write     DELETE  /datasets/{dataset}
    write     POST    /datasets/{dataset}/classes
    write     PATCH   /datasets/{dataset}/classes/{class}
    write     DELETE  /datasets/{dataset}/classes/{class}
    write     POST    /datasets/{dataset}/split
    read      GET     /datasets/{dataset}/statistics
    read      GET     /datasets/{dataset}/charts/{chart}
    read      GET     /datasets/{dataset}/augmentations
    read      GET     /datasets/{dataset}/images
    write     POST    /datasets/{dataset}/images
    read      POST    /datasets/{dataset}/layout
    write     POST    /datasets/{dataset}/archive
    write     PATCH   /datasets/{dataset}/images/{image}
    write     DELETE  /datasets/{dataset}/images/{image}
    read      GET     /images/{image}
    read      GET     /images/{image}/thumbnail
    read      GET     /jobs
    write     POST    /jobs
    read      GET     /jobs/{job}
    write     DELETE  /jobs/{job}
    read      GET     /jobs/{job}/metrics
    read      GET     /jobs/{job}/events
    read      GET     /jobs/{job}/log
    read      GET     /jobs/{job}/evaluation
    read      GET     /jobs/{job}/charts/{chart}
    write     POST    /jobs/{job}/cancel
    write     POST    /jobs/{job}/stop
    write     POST    /jobs/{job}/resume
    read      GET     /models
    read      GET     /models/current
    write     PUT     /models/current
    read      GET     /models/{model}
    write     PATCH   /models/{model}
    write     DELETE  /models/{model}
    read      GET     /models/{model}/coverage
    read      GET     /models/{model}/download
    read      GET     /weights
    read      GET     /weights/{base}
    write     PUT     /weights/{base}
    write     POST    /weights/{base}/download
    settings  GET     /tokens
    settings  POST    /tokens
    settings  DELETE  /tokens/{token}
";

/// Routes that are not in the document: they are others by a longer path.
const UNDOCUMENTED: [(&str, &str); 3] = [
    ("GET", "/v2/models/{model}/versions/{version}"),
    ("GET", "/v2/models/{model}/versions/{version}/ready"),
    ("POST", "/v2/models/{model}/versions/{version}/infer"),
];

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

async fn tokens(server: &Server) -> Vec<Value> {
    let listed = ask(server, Some(OPERATOR), "GET", "/tokens", Body::empty()).await.ok();
    listed["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn every_route_has_a_scope_and_lets_nobody_in_without_it() {
    let server = guarded().await;
    let required: BTreeMap<_, _> = REQUIRED
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let [scope, method, path] = line.split_whitespace().collect::<Vec<_>>()[..] else {
                panic!("{line}")
            };
            ((method.to_owned(), path.to_owned()), scope)
        })
        .collect();
    let mut documented = BTreeMap::new();
    let document = server.get("/openapi.json").await.ok();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Some(security) = operation["security"].as_array() else {
                let public = ["/", "/healthz", "/readyz", "/docs", "/openapi.json"];
                assert!(public.contains(&path.as_str()), "{method} {path} needs no token");
                continue;
            };
            let scope = security[0]["token"][0].as_str().unwrap_or("settings").to_owned();
            documented.insert((method.to_uppercase(), path.clone()), scope);
        }
    }
    let table: BTreeMap<_, _> = required
        .iter()
        .map(|(operation, scope)| (operation.clone(), (*scope).to_owned()))
        .collect();
    assert_eq!(documented, table, "the documented scopes are those of the table");

    let mut callers = vec![("settings", OPERATOR.to_owned())];
    for scope in ["predict", "read", "write"] {
        callers.push((scope, create(&server, scope, &[scope]).await));
    }
    let undocumented =
        UNDOCUMENTED.map(|(method, path)| ((method.to_owned(), path.to_owned()), "predict"));
    for ((method, path), scope) in required.into_iter().chain(undocumented) {
        let uri = path.replace(['{', '}'], "");
        let answer = ask(&server, None, &method, &uri, Body::empty()).await;
        answer.problem(401, "unauthorized");
        ask(&server, Some("wrong"), &method, &uri, Body::empty())
            .await
            .problem(401, "unauthorized");
        for (caller, secret) in &callers {
            let answer = ask(&server, Some(secret), &method, &uri, Body::empty()).await;
            if *caller == scope || *caller == "settings" {
                let text = String::from_utf8_lossy(&answer.body);
                assert!(
                    ![401, 403].contains(&answer.status.as_u16()),
                    "{caller} {method} {path}: {text}"
                );
            } else {
                let problem = answer.problem(403, "forbidden");
                let detail = problem["detail"].as_str().unwrap();
                let named = if scope == "settings" { "settings" } else { scope };
                assert!(detail.contains(named), "{detail}");
            }
        }
    }
    // What does not exist is nothing to keep from somebody with a token.
    ask(&server, None, "GET", "/nope", Body::empty()).await.problem(401, "unauthorized");
    let answer = ask(&server, Some(&callers[1].1), "GET", "/nope", Body::empty()).await;
    answer.problem(404, "not_found");
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
    while !saved().await {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
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
    server.app.storage.close().await;
    drop(server);
    let server = start().await;
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
async fn who_changed_what_is_in_the_audit_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let server = Server::with(|config| {
        config.api_token = vec![OPERATOR.to_owned()];
        config.audit_log = Some(log.clone());
    })
    .await;
    let lines = || -> Vec<Value> {
        let text = fs::read_to_string(&log).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    // The server makes the file at its start, so that a path that can't be used is found then.
    assert!(lines().is_empty());
    assert_eq!(fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o600);
    let writer = create(&server, "importer", &["write"]).await;
    let body = json!({ "name": "pets" }).to_string();
    let created = ask(&server, Some(&writer), "POST", "/datasets", body.into()).await.ok();
    ask(&server, Some(&writer), "GET", "/datasets", Body::empty()).await.problem(403, "forbidden");
    let reader = create(&server, "reader", &["read"]).await;
    ask(&server, Some(&reader), "GET", "/datasets", Body::empty()).await.ok();
    let refused =
        ask(&server, Some(&reader), "DELETE", "/datasets/pets?force=1", Body::empty()).await;
    refused.problem(403, "forbidden");
    ask(&server, Some("wrong"), "DELETE", "/datasets/pets", Body::empty()).await;
    let lines = lines();
    let told: Vec<_> = lines
        .iter()
        .map(|line| {
            json!([line["token"], line["operator"], line["method"], line["path"], line["status"]])
        })
        .collect();
    assert_eq!(
        told,
        [
            json!([null, true, "POST", "/tokens", 201]),
            json!(["importer", false, "POST", "/datasets", 201]),
            json!([null, true, "POST", "/tokens", 201]),
            json!(["reader", false, "DELETE", "/datasets/pets", 403]),
        ]
    );
    assert_eq!(lines[1]["created"], format!("/datasets/{}", created["id"].as_str().unwrap()));
    assert_eq!(lines[3]["query"], "force=1");
    assert!(lines.iter().all(|line| line["time"].is_string() && line["request_id"].is_string()));
    assert!(!fs::read_to_string(&log).unwrap().contains(&writer));

    // Moved away, it is begun again.
    fs::rename(&log, folder.path().join("audit.1")).unwrap();
    ask(&server, Some(&writer), "DELETE", "/datasets/pets", Body::empty()).await;
    assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 1);
}

#[tokio::test]
async fn a_log_that_can_not_be_written_is_an_error_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config();
    config.audit_log = Some(folder.path().join("none/audit.jsonl"));
    config.data_dir = folder.path().join("data");
    let error = pawprint::app::compose(config).await.unwrap_err();
    assert!(error.to_string().contains("can't write the audit log"), "{error}");
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
