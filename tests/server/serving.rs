//! Predictions go on while models change hands and when the server is asked to stop.
#![cfg(target_os = "linux")]

use std::{
    collections::BTreeSet,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::common::{
    photo,
    process::{PATIENCE, Process},
};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};

/// Clients at a time.
const CLIENTS: usize = 4;
/// Changes of the model in service.
const SWAPS: usize = 12;

async fn put_in_service(server: &Process, model: &str) -> (u16, Value) {
    server.ask(Method::PUT, "/models/current", Some(json!({ "model": model }))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_models_are_swapped() {
    let folder = tempfile::tempdir().unwrap();
    let (server, names) = Process::with_models(folder.path()).await;
    let over = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let over = Arc::clone(&over);
        let request = server.request(Method::POST, "/predict");
        let request = request.header("content-type", "image/jpeg").body(photo(number as u32));
        clients.spawn(async move {
            let mut by = BTreeSet::new();
            while !over.load(Ordering::Relaxed) {
                let answer = request.try_clone().unwrap().send().await.unwrap();
                let (status, body) = (answer.status(), answer.json::<Value>().await.unwrap());
                assert_eq!(status, 200, "{body}");
                by.insert(body["model"]["name"].as_str().unwrap().to_owned());
            }
            by
        });
    }
    for swap in 0..SWAPS {
        let (status, current) = put_in_service(&server, &names[swap % names.len()]).await;
        assert_eq!(status, 200, "{current}");
    }
    over.store(true, Ordering::Relaxed);
    let answered: BTreeSet<String> = clients.join_all().await.into_iter().flatten().collect();
    assert!(names.iter().all(|name| answered.contains(name)), "{answered:?}");
}

#[tokio::test]
async fn a_model_that_can_not_be_loaded_keeps_the_one_in_service_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let (mut server, _) = Process::with_models(folder.path()).await;
    let current = server.get("/models/current").await;
    let models = server.get("/models").await;
    let models = models["items"].as_array().unwrap();
    let other = models
        .iter()
        .find(|model| model["id"] != current["id"] && model["name"] != "default")
        .map(|model| model["id"].as_str().unwrap().to_owned())
        .unwrap();
    // A model that has been asked stays in memory for a while; a new start has only the one.
    assert!(server.end(Signal::TERM));
    let path = folder.path().join("models").join(format!("{other}.safetensors"));
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();

    let server = Process::start(folder.path());
    let (status, problem) = put_in_service(&server, &other).await;
    assert_eq!((status, &problem["code"]), (422, &json!("model_unusable")), "{problem}");
    assert_eq!(server.get("/models/current").await["id"], current["id"]);
    let request = server.request(Method::POST, "/predict").header("content-type", "image/jpeg");
    let answer: Value = request.body(photo(1)).send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["model"]["id"], current["id"]);
}

#[tokio::test]
async fn a_server_that_is_asked_to_stop_answers_what_it_has_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Process::start(folder.path());
    let image = photo(1);
    let mut under_way = Vec::new();
    for _ in 0..CLIENTS {
        let mut connection = TcpStream::connect(server.address()).await.unwrap();
        let head = format!(
            "POST /predict HTTP/1.1\r\nHost: {}\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
            server.address(),
            image.len()
        );
        connection.write_all(head.as_bytes()).await.unwrap();
        // The server asks for the body: it has taken the request.
        let mut said = [0; 25];
        timeout(PATIENCE, connection.read_exact(&mut said)).await.unwrap().unwrap();
        assert!(said.starts_with(b"HTTP/1.1 100 Continue"));
        under_way.push(connection);
    }

    server.signal(Signal::TERM);
    while TcpStream::connect(server.address()).await.is_ok() {
        sleep(Duration::from_millis(10)).await;
    }
    for mut connection in under_way {
        connection.write_all(&image).await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, connection.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert!(answer.contains("\"predictions\""), "{answer}");
    }
    assert!(server.end(Signal::TERM));
}

#[tokio::test]
async fn a_host_is_served_on_every_address_that_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Process::start_at(folder.path(), "localhost:0");
    let port = server.address().rsplit_once(':').unwrap().1.parse::<u16>().unwrap();
    let mut answered = 0;
    for address in tokio::net::lookup_host(("localhost", port)).await.unwrap() {
        let Ok(mut connection) = TcpStream::connect(address).await else { continue };
        let request =
            format!("GET /healthz HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, connection.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{address}: {answer}");
        answered += 1;
    }
    assert!(answered > 0);
    // Where a machine has both families, both are served.
    let families = ["127.0.0.1:0", "[::1]:0"].map(|it| std::net::TcpListener::bind(it).is_ok());
    let known = tokio::net::lookup_host(("localhost", port)).await.unwrap();
    let known: BTreeSet<_> = known.filter(|it| families[usize::from(it.is_ipv6())]).collect();
    assert_eq!(answered, known.len());
    let status = std::process::Command::new(env!("CARGO_BIN_EXE_pawprint"))
        .args(["healthcheck", "--listen", &format!("localhost:{port}")])
        .status();
    assert!(status.unwrap().success());
    assert!(server.end(Signal::TERM));
}
