//! HTTP/2 without TLS, on the port that HTTP/1.1 is spoken on.
#![cfg(target_os = "linux")]

use std::{
    net::{SocketAddr, TcpStream},
    time::Instant,
};

use crate::common::{
    photo,
    process::{PATIENCE, Process},
};
use reqwest::{Body, Client, ClientBuilder, StatusCode, Version, header};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Speaks HTTP/2 from the first byte.
fn client(change: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Client {
    let builder = Client::builder().no_proxy().http2_prior_knowledge();
    change(builder).build().unwrap()
}

fn url(server: &Process, path: &str) -> String {
    format!("http://{}{path}", server.address())
}

/// Asks again and again until `wanted` holds, which happens by itself.
async fn until(mut wanted: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !wanted().await {
        assert!(begun.elapsed() < PATIENCE, "it never came to that");
    }
}

#[tokio::test]
async fn one_port_speaks_http_2_and_http_1_1() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    let client = client(|builder| builder);
    let photo_over_http2 = || async {
        let request = client.post(url(&server, "/predict")).header("content-type", "image/jpeg");
        let answer = request.body(photo(1)).send().await.unwrap();
        assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_2));
        answer.json::<Value>().await.unwrap()["predictions"].clone()
    };
    // Side by side on one connection.
    let (one, other) = tokio::join!(photo_over_http2(), photo_over_http2());
    assert_eq!(one, other);

    let request = server.request(reqwest::Method::POST, "/predict");
    let answer = request.header("content-type", "image/jpeg").body(photo(1)).send().await.unwrap();
    assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_11));
    assert_eq!(answer.json::<Value>().await.unwrap()["predictions"], one);
}

#[tokio::test]
async fn a_page_of_another_site_is_refused_over_http_2() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    let address: SocketAddr = server.address().parse().unwrap();
    let client =
        client(|builder| builder.resolve("rebound.example", address).resolve("localhost", address));
    let port = address.port();
    let (ours, theirs) =
        (format!("http://localhost:{port}"), format!("http://rebound.example:{port}"));
    let ask = async |base: &str, head: Option<(header::HeaderName, &str)>| {
        let mut request = client.get(format!("{base}/datasets"));
        if let Some((name, value)) = head {
            request = request.header(name, value);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.version(), Version::HTTP_2);
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap()["code"].clone())
    };
    let (answered, refused) = ((200, Value::Null), (403, json!("cross_site")));
    assert_eq!(ask(&ours, None).await, answered);
    assert_eq!(ask(&ours, Some((header::ORIGIN, &ours))).await, answered);
    // A name of another site that was made to lead here, and a page of another site.
    assert_eq!(ask(&theirs, None).await, refused);
    assert_eq!(ask(&theirs, Some((header::ORIGIN, &theirs))).await, refused);
    assert_eq!(ask(&ours, Some((header::ORIGIN, "http://example.org"))).await, refused);
    assert_eq!(ask(&ours, Some((header::HOST, "rebound.example"))).await, refused);
}

#[tokio::test]
async fn a_refusal_reaches_an_http_2_client_that_is_still_sending() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    let client = client(|builder| builder);
    for path in ["/datasets/nothing/archive", "/nothing"] {
        // More than any window of flow control: were it not read, it would never have left.
        let (sender, receiver) = mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
        let sent = tokio::spawn(async move {
            for _ in 0..32 {
                if sender.send(Ok(vec![0; 1 << 20])).await.is_err() {
                    return false;
                }
            }
            true
        });
        let body = Body::wrap_stream(ReceiverStream::new(receiver));
        let answer = client.post(url(&server, path)).body(body).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], "not_found");
        assert!(sent.await.unwrap(), "{path}: the body was cut off");
    }
    let health = client.get(url(&server, "/healthz")).send().await.unwrap();
    assert_eq!(health.status(), 200, "the connection goes on");
}

#[tokio::test]
async fn a_server_that_is_asked_to_stop_answers_what_it_has_begun_over_http_2() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Process::start(folder.path());
    let client = client(|builder| builder);
    let (sender, receiver) = mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
    let request = client.post(url(&server, "/predict")).header("content-type", "image/jpeg");
    let answer =
        tokio::spawn(request.body(Body::wrap_stream(ReceiverStream::new(receiver))).send());

    // A photo, and behind its end more than any window of flow control: only a handler that reads
    // it lets all of that leave.
    sender.send(Ok(photo(1))).await.unwrap();
    for _ in 0..8 {
        sender.send(Ok(vec![0; 1 << 20])).await.unwrap();
    }
    server.signal(Signal::TERM);
    until(async || TcpStream::connect(server.address()).is_err()).await;
    sender.send(Ok(vec![0])).await.unwrap();
    drop(sender);

    let answer = answer.await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.json::<Value>().await.unwrap()["predictions"].as_array().unwrap().len(), 1);
    assert!(server.end(Signal::TERM), "its client has left the connection open");
}
