//! The OpenAPI document and the page that shows it.

use std::collections::BTreeSet;

use crate::common::{Answer, Server, photo};
use axum::{body::Body, http::Request};
use serde_json::{Value, json};

const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

async fn document(server: &Server) -> Value {
    server.get("/openapi.json").await.ok()
}

/// Each path and method of the document, with what it says of them.
fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap();
            methods.iter().map(move |(method, operation)| (&**path, &**method, operation))
        })
        .collect()
}

fn each_member<'a>(value: &'a Value, name: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get(name));
            members.values().for_each(|value| each_member(value, name, found));
        }
        Value::Array(items) => items.iter().for_each(|value| each_member(value, name, found)),
        _ => {}
    }
}

/// Makes sure that an answer is of a type and a form that the document has for it.
#[track_caller]
fn assert_conforms(document: &Value, method: &str, path: &str, answer: &Answer) {
    let response = &document["paths"][path][method]["responses"][answer.status.as_str()];
    let media_type = answer.headers["content-type"].to_str().unwrap();
    let schema = &response["content"][media_type]["schema"];
    assert!(schema.is_object(), "{method} {path}: {} {media_type} is not in it", answer.status);
    let mut schema = schema.clone();
    schema["components"] = document["components"].clone();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let body = answer.json();
    let errors: Vec<_> = validator
        .iter_errors(&body)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{method} {path}: {errors:#?} in {body:#}");
}

#[tokio::test]
async fn the_document_is_openapi_3_1_and_whole() {
    let server = Server::start().await;
    let document = document(&server).await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."), "{}", document["openapi"]);
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));

    let mut references = Vec::new();
    each_member(&document, "$ref", &mut references);
    assert!(references.len() > 50);
    for reference in references {
        let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }

    let operations = operations(&document);
    let ids: BTreeSet<_> =
        operations.iter().map(|(.., it)| it["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), operations.len(), "two operations have the same id");
    for (path, method, operation) in operations {
        assert!(operation["summary"].is_string(), "{method} {path} says nothing of itself");
        let named = path.matches('{').count();
        let parameters = operation["parameters"].as_array().map_or(&[][..], |them| them);
        let described = parameters.iter().filter(|it| it["in"] == "path").count();
        assert_eq!(named, described, "{method} {path}");
        for (status, response) in operation["responses"].as_object().unwrap() {
            if status.starts_with(['4', '5']) {
                let content = response["content"].as_object().unwrap();
                assert_eq!(content.keys().collect::<Vec<_>>(), ["application/problem+json"]);
            }
        }
    }
}

/// The table of routes is the document, so no path is missing from it; here the way back.
#[tokio::test]
async fn every_path_of_the_document_takes_its_methods_and_no_others() {
    let server = Server::start().await;
    let document = document(&server).await;
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in METHODS {
            let uri = path.replace(['{', '}'], "");
            let request = Request::builder().method(&*method.to_uppercase()).uri(uri);
            let answer = server.send(request.body(Body::empty()).unwrap()).await;
            if item[method].is_null() {
                answer.problem(405, "method_not_allowed");
                continue;
            }
            let text = String::from_utf8_lossy(&answer.body);
            assert!(!text.contains("no such endpoint"), "{method} {path}");
            assert_ne!(answer.status, 405, "{method} {path}");
            let status = answer.status.as_str();
            assert!(item[method]["responses"][status].is_object(), "{method} {path}: {status}");
        }
    }
    let answer = server.get("/nowhere").await;
    let problem = answer.problem(404, "not_found");
    assert_eq!(problem["detail"], "no such endpoint");
}

#[tokio::test]
async fn paths_of_the_contract_are_in_it() {
    let server = Server::start().await;
    let document = document(&server).await;
    let there: BTreeSet<_> =
        operations(&document).into_iter().map(|(path, method, _)| (path, method)).collect();
    for wanted in [
        ("/healthz", "get"),
        ("/datasets/{dataset}/images", "post"),
        ("/datasets/{dataset}/images/{image}", "patch"),
        ("/jobs", "post"),
        ("/jobs/{job}/charts/{chart}", "get"),
        ("/models/current", "put"),
        ("/predict", "post"),
        ("/weights/{base}", "put"),
    ] {
        assert!(there.contains(&wanted), "{wanted:?}");
    }
}

#[tokio::test]
async fn answers_are_of_the_form_that_the_document_gives_them() {
    let server = Server::start().await;
    let document = document(&server).await;
    let pets = server.json("POST", "/datasets", json!({ "name": "pets" })).await;
    assert_conforms(&document, "post", "/datasets", &pets);
    let files = [("cat.0.jpg", photo(0)), ("dog.1.jpg", photo(1)), ("cat.2.jpg", vec![1])];
    let report = server.upload(&format!("{}?split=train", crate::common::IMAGES), &files).await;
    assert_conforms(&document, "post", "/datasets/{dataset}/images", &report);
    for (template, path) in [
        ("/healthz", "/healthz"),
        ("/readyz", "/readyz"),
        ("/system", "/system"),
        ("/recipes", "/recipes"),
        ("/datasets", "/datasets?limit=1"),
        ("/datasets/{dataset}", "/datasets/pets"),
        ("/datasets/{dataset}", "/datasets/none"),
        ("/datasets/{dataset}/images", "/datasets/pets/images"),
        ("/datasets/{dataset}/images", "/datasets/pets/images?limit=0"),
        ("/datasets/{dataset}/statistics", "/datasets/pets/statistics"),
        ("/jobs", "/jobs"),
        ("/jobs", "/jobs?status=done"),
        ("/models", "/models"),
        ("/models/current", "/models/current"),
        ("/weights", "/weights"),
        ("/weights/{base}", "/weights/vgg16"),
        ("/weights/{base}", "/weights/efficientnet_lite0"),
        ("/weights/{base}", "/weights/none"),
    ] {
        assert_conforms(&document, "get", template, &server.get(path).await);
    }
    let job = json!({ "recipe": "scratch_cnn", "dataset": "pets", "params": { "epochs": 0 } });
    let problem = server.json("POST", "/jobs", job).await;
    problem.problem(422, "invalid_value");
    assert_conforms(&document, "post", "/jobs", &problem);
    let split = server.post("/datasets/pets/split", Body::empty()).await;
    assert_conforms(&document, "post", "/datasets/{dataset}/split", &split);
    let files = [("cat.3.jpg", photo(3)), ("dog.4.jpg", photo(4))];
    server.upload(&format!("{}?split=validation", crate::common::IMAGES), &files).await.ok();
    let job = json!({ "recipe": "scratch_cnn", "dataset": "pets" });
    let created = server.json("POST", "/jobs", job).await;
    assert_eq!(created.ok()["warnings"][0]["code"], "no_test_images");
    assert_conforms(&document, "post", "/jobs", &created);
}

#[tokio::test]
async fn where_a_token_is_set_the_document_and_the_page_stay_open_and_ask_for_it() {
    let server = Server::with(|config| config.api_token = vec!["secret".to_owned()]).await;
    let document = document(&server).await;
    let scheme = &document["components"]["securitySchemes"]["token"];
    assert_eq!((&scheme["type"], &scheme["scheme"]), (&json!("http"), &json!("bearer")));
    assert!(server.get("/docs").await.status.is_success());
    for (path, method, operation) in operations(&document) {
        let uri = path.replace(['{', '}'], "");
        let request = Request::builder().method(&*method.to_uppercase()).uri(uri);
        let answer = server.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status == 401, operation["security"].is_array(), "{method} {path}");
        if answer.status == 401 {
            assert_conforms(&document, method, path, &answer);
        }
    }
}

#[tokio::test]
async fn the_page_asks_no_other_host() {
    let server = Server::start().await;
    let page = server.get("/docs").await;
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    assert!(
        page.headers["content-security-policy"]
            .to_str()
            .unwrap()
            .starts_with("default-src 'self';")
    );
    let page = String::from_utf8(page.body).unwrap();
    assert!(!page.contains("//"), "{page}");

    let mut files = 0;
    for link in page.split(['"']).filter(|link| link.starts_with("docs/")) {
        let file = server.get(&format!("/{link}")).await;
        assert!(file.status.is_success() && !file.body.is_empty(), "{link}");
        files += 1;
    }
    assert_eq!(files, 5);
    let settings = server.get("/docs/swagger-initializer.js").await;
    assert_eq!(settings.headers["content-type"], "text/javascript");
    let settings = String::from_utf8(settings.body).unwrap();
    assert!(settings.contains(r#""url": "openapi.json""#), "{settings}");
    assert!(settings.contains(r#""validatorUrl": "none""#), "{settings}");
    server.get("/docs/nothing.js").await.problem(404, "not_found");
}
