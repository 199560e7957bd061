//! Pages of other sites change nothing, with and without a token, on every route that changes
//! something; and only named origins may use the API from a browser.

use crate::common::{Answer, Server};
use axum::{
    body::Body,
    http::{Request, header},
};
use serde_json::{Value, json};

const TOKEN: &str = "s3cret";
const APP: &str = "https://app.example";

/// Every route that changes something, with a path that leads to something where there is one.
async fn changing_routes(server: &Server) -> Vec<(String, String)> {
    let document = server.get("/openapi.json").await.ok();
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let path = path.replace("{dataset}", "pets").replace("{model}", "default");
        let path = path.replace("{class}", "cat").replace("{base}", "vgg16");
        let ids = ["{image}", "{job}", "{prediction}", "{webhook}"];
        let path = ids
            .iter()
            .fold(path, |path, name| path.replace(name, "0198c0de-0000-7000-8000-000000000001"));
        let path = path.replace("{token}", "phone").replace("{alias}", "champion");
        assert!(!path.contains('{') || path.contains("{chart}"), "{path}");
        for method in ["post", "put", "patch", "delete"] {
            if item.get(method).is_some() {
                routes.push((method.to_uppercase(), path.clone()));
            }
        }
    }
    assert!(routes.len() > 20, "{routes:?}");
    // One that the document does not have.
    routes.push(("POST".to_owned(), "/v2/models/default/versions/1/infer".to_owned()));
    routes
}

async fn send(server: &Server, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let request = Request::builder().method(method).uri(path);
    let request =
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    server.send(request.body(Body::from(r#"{"name": "theirs"}"#)).unwrap()).await
}

/// What a page of another site can send without asking: forms of each type, and scripts.
const ATTACKS: [&[(&str, &str)]; 7] = [
    &[("host", "localhost"), ("origin", "https://evil.example"), ("content-type", "text/plain")],
    &[
        ("host", "localhost"),
        ("origin", "null"),
        ("content-type", "multipart/form-data; boundary=a-form"),
    ],
    &[
        ("host", "localhost"),
        ("origin", "http://localhost:3000"),
        ("content-type", "application/x-www-form-urlencoded"),
    ],
    &[("host", "127.0.0.1:8080"), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")],
    &[("host", "127.0.0.1:8080"), ("sec-fetch-site", "same-site"), ("sec-fetch-mode", "no-cors")],
    // A name of its own that leads to this server.
    &[("host", "rebound.example"), ("origin", "http://rebound.example")],
    &[("host", "rebound.example:8080"), ("sec-fetch-site", "same-origin")],
];

#[tokio::test]
async fn pages_of_other_sites_change_nothing() {
    for (token, code, status) in [(None, "cross_site", 403), (Some(TOKEN), "unauthorized", 401)] {
        let server = Server::with(|config| {
            // With and without: it is about the network, not about browsers.
            config.allow_anonymous = token.is_none();
            config.api_token = token.map(str::to_owned).into_iter().collect();
        })
        .await;
        for (method, path) in changing_routes(&server).await {
            for attack in ATTACKS {
                let answer = send(&server, &method, &path, attack).await;
                assert_eq!(answer.status, status, "{method} {path} {attack:?}");
                assert_eq!(answer.json()["code"], code, "{method} {path} {attack:?}");
                assert!(!answer.headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
            }
            // Nobody answers the question whether more than that may be sent.
            let preflight = [
                ("host", "localhost"),
                ("origin", APP),
                ("access-control-request-method", &*method),
                ("access-control-request-headers", "authorization"),
            ];
            let answer = send(&server, "OPTIONS", &path, &preflight).await;
            assert!(answer.status.is_client_error(), "{method} {path}");
            assert!(!answer.headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
        }
        let bearer = format!("Bearer {TOKEN}");
        let headers = [("host", "localhost"), ("authorization", &*bearer)];
        let datasets = send(&server, "GET", "/datasets", &headers).await.ok();
        assert_eq!(datasets["items"], json!([]));
        // The same, by a page of its own.
        let headers = [
            ("host", "localhost"),
            ("origin", "http://localhost"),
            ("sec-fetch-site", "same-origin"),
            ("content-type", "application/json"),
            ("authorization", &*bearer),
        ];
        assert_eq!(send(&server, "POST", "/datasets", &headers).await.ok()["name"], "theirs");
    }
}

#[tokio::test]
async fn what_is_read_is_not_for_other_sites_either() {
    let server = Server::start().await;
    for (path, site, mode, status) in [
        ("/datasets", "cross-site", "no-cors", 403),
        ("/datasets", "cross-site", "navigate", 200),
        ("/datasets", "none", "navigate", 200),
        ("/datasets", "same-origin", "cors", 200),
        // No secrets, and a link may lead there.
        ("/", "cross-site", "navigate", 200),
        ("/healthz", "cross-site", "no-cors", 200),
    ] {
        let headers = [("host", "localhost"), ("sec-fetch-site", site), ("sec-fetch-mode", mode)];
        assert_eq!(
            send(&server, "GET", path, &headers).await.status,
            status,
            "{path} {site} {mode}"
        );
    }
}

fn words(answer: &Answer, name: &str) -> Vec<String> {
    let all = answer.headers.get_all(name).iter();
    all.flat_map(|it| it.to_str().unwrap().split(','))
        .map(|word| word.trim().to_ascii_lowercase())
        .collect()
}

#[tokio::test]
async fn a_named_origin_may_use_the_api_with_and_without_a_token() {
    for token in [None, Some(TOKEN)] {
        let server = Server::with(|config| {
            config.cors_origins =
                vec![APP.parse().unwrap(), "http://localhost:3000".parse().unwrap()];
            config.api_token = token.map(str::to_owned).into_iter().collect();
        })
        .await;
        for (method, path) in changing_routes(&server).await {
            let preflight = [
                ("host", "localhost"),
                ("origin", APP),
                ("access-control-request-method", &*method),
                ("access-control-request-headers", "authorization,content-type"),
            ];
            let answer = send(&server, "OPTIONS", &path, &preflight).await;
            assert_eq!(answer.status, 200, "{method} {path}");
            assert_eq!(answer.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], APP);
            assert!(
                words(&answer, "access-control-allow-methods").contains(&method.to_lowercase())
            );
            let allowed = words(&answer, "access-control-allow-headers");
            assert!(allowed.contains(&"authorization".to_owned()), "{allowed:?}");
            assert!(allowed.contains(&"content-type".to_owned()), "{allowed:?}");
            // The token is a header: nothing is sent on its own.
            assert!(!answer.headers.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS));
        }
        let bearer = format!("Bearer {TOKEN}");
        let with = |origin| {
            [
                ("host", "localhost"),
                ("origin", origin),
                ("sec-fetch-site", "cross-site"),
                ("content-type", "application/json"),
                ("authorization", &*bearer),
            ]
        };
        let answer = send(&server, "POST", "/datasets", &with(APP)).await;
        assert_eq!(answer.ok()["name"], "theirs");
        assert_eq!(answer.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], APP);
        let exposed = words(&answer, "access-control-expose-headers");
        for name in ["retry-after", "x-request-id", "server-timing", "location"] {
            assert!(exposed.contains(&name.to_owned()), "{exposed:?}");
        }
        // A cache must not give this answer to another origin.
        assert!(words(&answer, "vary").contains(&"origin".to_owned()));
        // Also what is wrong can be read: a page without its token.
        let answer = send(&server, "GET", "/jobs/none", &with(APP)[..3]).await;
        assert_eq!(answer.status, if token.is_some() { 401 } else { 404 });
        assert_eq!(answer.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], APP);
        // The others may not.
        let answer = send(&server, "POST", "/datasets", &with("https://evil.example")).await;
        assert!(!answer.headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
        if token.is_none() {
            answer.problem(403, "cross_site");
            let rebound = [("host", "rebound.example"), ("origin", APP)];
            send(&server, "GET", "/datasets", &rebound).await.problem(403, "cross_site");
        }
    }
}

#[tokio::test]
async fn every_response_has_the_headers_that_browsers_heed() {
    let server = Server::with(|config| config.api_token = vec![TOKEN.to_owned()]).await;
    let bearer = format!("Bearer {TOKEN}");
    for (method, path, status) in [
        ("GET", "/", 200),
        ("GET", "/static/app.js", 200),
        ("GET", "/static/none.js", 404),
        ("GET", "/docs", 200),
        ("GET", "/docs/", 308),
        ("GET", "/docs/swagger-ui.css", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/healthz", 200),
        ("GET", "/datasets", 200),
        ("GET", "/metrics", 200),
        ("GET", "/datasets/none", 404),
        ("GET", "/nothing", 404),
        ("PUT", "/healthz", 405),
        ("POST", "/jobs", 415),
    ] {
        let headers = [("host", "localhost"), ("authorization", &*bearer)];
        let answer = send(&server, method, path, &headers).await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert_headers(&answer, path);
    }
    let answer = send(&server, "GET", "/datasets", &[("host", "localhost")]).await;
    assert_eq!(answer.status, 401);
    assert_headers(&answer, "/datasets");
}

#[track_caller]
fn assert_headers(answer: &Answer, path: &str) {
    let header = |name: &str| answer.headers.get(name).map(|it| it.to_str().unwrap());
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("permissions-policy", "camera=(self), microphone=(), geolocation=()"),
    ] {
        assert_eq!(header(name), Some(value), "{path}");
    }
    assert_eq!(answer.headers.get_all("content-security-policy").iter().count(), 1, "{path}");
    let policy = header("content-security-policy").unwrap();
    assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
    // Only pages run scripts; whatever else is opened on its own runs nothing.
    let is_page = ["/", "/docs", "/static/app.js"].contains(&path);
    assert_eq!(
        policy.contains("default-src 'none'") && policy.contains("sandbox"),
        !is_page,
        "{path}"
    );
    assert_eq!(header("strict-transport-security"), None, "TLS is not ours");
}

#[tokio::test]
async fn an_uploaded_file_that_is_opened_on_its_own_runs_nothing() {
    let server = Server::start().await;
    server.pets().await;
    server
        .upload(crate::common::IMAGES, &[("train/cat/1.jpg", crate::common::photo(1))])
        .await
        .ok();
    let images: Vec<Value> = server.listed("").await;
    let id = images[0]["id"].as_str().unwrap();
    for path in [format!("/images/{id}"), format!("/images/{id}/thumbnail")] {
        let answer = server.get(&path).await;
        assert_eq!(answer.status, 200);
        assert_headers(&answer, &path);
    }
}
