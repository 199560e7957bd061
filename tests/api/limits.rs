//! Limits that keep one client from taking what all need: its requests per second, uploads at once,
//! connections, and bodies that inflate.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    num::{NonZeroU32, NonZeroUsize},
    process::Command,
    time::Duration,
};

use crate::common::{Answer, IMAGES, Server, form, photo, process::Process};
use axum::{
    body::{Body, Bytes},
    extract::ConnectInfo,
    http::{Request, header},
};
use futures::stream;
use tokio::sync::oneshot;

async fn get(server: &Server, path: &str, from: &str) -> Answer {
    let mut request = Request::get(path).body(Body::empty()).unwrap();
    let peer: SocketAddr = from.parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(peer));
    server.send(request).await
}

#[tokio::test]
async fn a_client_that_asks_too_often_is_told_when_to_come_back() {
    let limited = async |limit| Server::with(|config| config.rate_limit = limit).await;
    let server = limited(NonZeroU32::new(1)).await;
    for _ in 0..10 {
        get(&server, "/datasets", "10.0.0.1:1000").await.ok();
    }
    // Also from another port, and on a route that does not exist.
    for path in ["/datasets", "/nothing", "/v2/models/default/ready"] {
        let answer = get(&server, path, "10.0.0.1:2000").await;
        answer.problem(429, "rate_limited");
        let wait: u64 = answer.headers[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
        assert!((1..=2).contains(&wait), "{wait}");
    }
    get(&server, "/datasets", "10.0.0.2:1000").await.ok();
    // What watches over the server, and pages, are not counted.
    for path in
        ["/healthz", "/metrics", "/v2/health/live", "/v2/health/ready", "/", "/static/app.js"]
    {
        for _ in 0..20 {
            assert!(get(&server, path, "10.0.0.1:1000").await.status.is_success(), "{path}");
        }
    }
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    get(&server, "/datasets", "10.0.0.1:1000").await.ok();

    let server = limited(None).await;
    for _ in 0..100 {
        get(&server, "/datasets", "10.0.0.1:1000").await.ok();
    }
}

#[tokio::test]
async fn wrong_tokens_are_counted_too() {
    let server = Server::with(|config| {
        config.rate_limit = NonZeroU32::new(1);
        config.api_token = vec!["s3cret".to_owned()];
    })
    .await;
    let guess = async || get(&server, "/datasets", "10.0.0.1:1000").await.status.as_u16();
    // One more for each second that it takes.
    let mut guesses = 0;
    while guess().await == 401 {
        guesses += 1;
        assert!(guesses < 100);
    }
    assert!(guesses >= 10);
    assert_eq!(get(&server, "/metrics", "10.0.0.1:1000").await.status, 429);
}

#[tokio::test]
async fn more_uploads_than_allowed_are_told_to_wait() {
    let server = Server::with(|config| config.max_uploads = NonZeroUsize::MIN).await;
    server.pets().await;
    let whole = form(&[("train/cat/1.jpg", photo(1))]);
    let (first, rest) = (whole[..100].to_vec(), whole[100..].to_vec());
    let (release, released) = oneshot::channel::<()>();
    let body = stream::unfold((Some(first), Some(released)), move |(first, released)| {
        let rest = rest.clone();
        async move {
            let piece = match (first, released) {
                (Some(first), released) => (first, (None, released)),
                (None, Some(released)) => {
                    released.await.unwrap();
                    (rest, (None, None))
                }
                (None, None) => return None,
            };
            Some((Ok::<_, std::io::Error>(Bytes::from(piece.0)), piece.1))
        }
    });
    let request =
        Request::post(IMAGES).header("content-type", "multipart/form-data; boundary=a-form");
    let slow = request.body(Body::from_stream(body)).unwrap();
    let meanwhile = async {
        while server.app.uploads.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let files = [("train/dog/2.jpg", photo(2))];
        for answer in [
            server.upload(IMAGES, &files).await,
            server.post("/datasets/pets/archive", crate::common::tar(&files)).await,
        ] {
            answer.problem(429, "too_many_uploads");
            assert_eq!(answer.headers[header::RETRY_AFTER], "5");
        }
        // Reading is no upload.
        server.get("/datasets").await.ok();
        release.send(()).unwrap();
    };
    let (slow, ()) = tokio::join!(server.send(slow), meanwhile);
    assert_eq!(slow.ok()["added"], 1, "the first one is not disturbed");
    let report = server.upload(IMAGES, &[("train/dog/2.jpg", photo(2))]).await.ok();
    assert_eq!(report["added"], 1, "and leaves its place");
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pawprint"));
    let server = Process::spawn(command.env("PAWPRINT_MAX_CONNECTIONS", "2"), folder.path());
    let ask = |stream: &mut TcpStream| {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).map(|()| head.starts_with(b"HTTP/1.1 200"))
    };
    let mut open: Vec<_> = (0..3)
        .map(|_| {
            let stream = TcpStream::connect(server.address()).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
            stream
        })
        .collect();
    assert!(ask(&mut open[0]).unwrap());
    assert!(ask(&mut open[1]).unwrap());
    assert!(ask(&mut open[2]).is_err(), "there is no place for it yet");
    drop(open.remove(0));
    // What it has sent is answered now.
    let mut last = open.remove(1);
    last.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut head = [0; 12];
    last.read_exact(&mut head).unwrap();
    assert!(head.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn a_compressed_body_may_not_fill_the_disk() {
    let server = Server::start().await;
    server.pets().await;
    // Half a gigabyte in half a megabyte: behind a good beginning, so that it passes for an archive.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&crate::common::tar(&[("train/cat/1.jpg", photo(1))])[..1024]).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..512 {
        encoder.write_all(&zeros).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < 4 << 20);
    let request = Request::post("/datasets/pets/archive").header(header::CONTENT_ENCODING, "gzip");
    let answer = server.send(request.body(Body::from(bomb)).unwrap()).await;
    let problem = answer.problem(413, "too_large");
    assert!(problem["detail"].as_str().unwrap().contains("100 times"), "{problem}");
    assert_eq!((server.leftovers(), server.blobs()), (0, 0));
}

#[tokio::test]
async fn an_archive_in_an_archive_is_a_file_that_is_no_image() {
    let server = Server::start().await;
    server.pets().await;
    let inner = crate::common::zip(&[("train/cat/1.jpg", photo(1))]);
    let outer = [("train/cat/inner.zip", inner), ("train/cat/2.jpg", photo(2))];
    for archive in [crate::common::zip(&outer), crate::common::tar_gz(&outer)] {
        let report = server.post("/datasets/pets/archive", archive).await.ok();
        let found = report["added"].as_u64().unwrap() + report["duplicates"].as_u64().unwrap();
        assert_eq!(found, 1, "{report}");
        assert_eq!(report["rejected"][0]["file"], "train/cat/inner.zip", "{report}");
    }
}
