//! Clients that hardly send or read hold up nobody: neither others, nor the end of the server.
#![expect(clippy::unwrap_used, reason = "a test that can't go on may stop there")]
#![cfg(target_os = "linux")]

mod common;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use common::{photo, process::Process};
use reqwest::Method;
use rustix::process::Signal;

/// A connection over which so much was sent.
fn sending(server: &Process, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    stream
}

fn head(path: &str, length: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: {length}\r\n\r\n"
    )
}

async fn predict(server: &Process) -> u16 {
    let request = server.request(Method::POST, "/predict").header("content-type", "image/jpeg");
    request.body(photo(1)).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn three_hundred_half_sent_requests_hold_up_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    let heads = ["/predict", "/explain", "/v2/models/default/infer"].map(|path| head(path, 5_000));
    let half: Vec<TcpStream> = (0..300)
        .map(|number| match number % 4 {
            3 => sending(&server, "POST /predict HT"),
            kind => sending(&server, &format!("{}only this", heads[kind])),
        })
        .collect();
    assert_eq!(predict(&server).await, 200);
    drop(half);
}

#[tokio::test]
async fn half_sent_requests_and_streams_do_not_keep_the_server_from_ending() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Process::start(folder.path());
    server.pets(4).await;
    let job = server.job(serde_json::json!({ "epochs": 500, "batch_size": 4 })).await;
    let streams = [
        "POST /predict HT".to_owned(),
        "PRI * HTTP/2".to_owned(),
        String::new(),
        format!("{}half", head("/predict", 5_000)),
        format!("{}half", head("/datasets/pets/archive", 5_000)),
    ]
    .map(|text| sending(&server, &text));
    let events = format!("GET /jobs/{job}/events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut events = sending(&server, &events);
    events.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&seen).contains("event: status") {
        let read = events.read(&mut buffer).unwrap();
        seen.extend_from_slice(&buffer[..read]);
    }
    let asked = Instant::now();
    assert!(server.end(Signal::TERM), "it ends by itself");
    // It gives itself eight seconds; a busy machine takes some more.
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    while let Ok(read @ 1..) = events.read(&mut buffer) {
        seen.extend_from_slice(&buffer[..read]);
    }
    let seen = String::from_utf8_lossy(&seen);
    assert!(seen.contains("event: end\ndata: the server is shutting down"), "{seen}");
    // Whoever had sent a head is told why.
    let [.., mut archive] = streams;
    archive.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut answer = String::new();
    archive.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("draining"), "{answer}");
}
