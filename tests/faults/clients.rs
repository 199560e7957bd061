//! A thousand clients at once, slow readers, and clients that disconnect halfway.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{RngExt as _, seq::IndexedRandom as _};
use reqwest::Method;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpSocket,
    sync::Barrier,
    task::JoinSet,
};

use super::{
    common::{
        self, form, photo,
        process::{PATIENCE, Process},
        tar,
    },
    machine::{mb, memory},
    sandbox::{Client, Sandbox},
    scale::{Trial, rounds},
};

/// Allowed growth of the server's memory, in bytes: the allocator keeps some of the connections'
/// buffers.
const GROWTH: u64 = 96_000_000;

/// Other files that a server may have open, mostly database connections.
const OTHER_FILES: usize = 40;

/// Raises the limit of open files of this process and its children; or says why it can't.
fn allow_files(files: u64) -> Result<(), String> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= files) {
        return Ok(());
    }
    if limit.maximum.is_some_and(|maximum| maximum < files) {
        return Err(format!(
            "the limit of open files is {:?}, and the test needs {files}",
            limit.maximum
        ));
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(files), ..limit })
        .map_err(|it| it.to_string())
}

fn open_files(server: &Process) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count()
}

/// Waits until a server has at most this many files open.
async fn wait_for_files(server: &Process, files: usize) {
    let begun = Instant::now();
    while open_files(server) > files {
        let open = open_files(server);
        assert!(begun.elapsed() < PATIENCE, "{open} files are open, and {files} should be");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_at_once_are_answered_or_asked_to_come_again() {
    let trial = Trial::new("many clients at once");
    let (count, requests) = (1_000, rounds(1, 20));
    if let Err(why) = allow_files(3 * count as u64) {
        return trial.skip(why);
    }
    let sandbox = Sandbox::new();
    let server = sandbox.start();
    server.pets(4).await;
    let client = Client::of(&server);
    let images = client.all("/datasets/pets/images").await;
    let image = format!("/images/{}/thumbnail", images[0]["id"].as_str().unwrap());
    assert_eq!(client.predict("", photo(0)).await.unwrap().0, 200);
    let (before, files) = (memory(server.pid()), open_files(&server));
    let together = Arc::new(Barrier::new(count));
    let mut clients = JoinSet::new();
    for number in 0..count {
        let (together, image) = (Arc::clone(&together), image.clone());
        // Each request that is under way has a connection of its own.
        let client = client.clone();
        let mut draws = trial.draws(number as u32);
        clients.spawn(async move {
            together.wait().await;
            let mut statuses = BTreeMap::<u16, u32>::new();
            for _ in 0..requests {
                let request = match draws.random_range(0..4) {
                    0 => client.request(Method::GET, &image),
                    1 => client.request(Method::GET, "/datasets/pets/images"),
                    _ => {
                        let request = client.request(Method::POST, "/predict");
                        request.header("content-type", "image/jpeg").body(photo(number as u32))
                    }
                };
                let response = request.send().await.unwrap();
                let (status, head) = (response.status().as_u16(), response.headers().clone());
                let body = response.bytes().await.unwrap();
                if status != 200 {
                    let body = String::from_utf8_lossy(&body);
                    assert!(status == 429 && head.contains_key("retry-after"), "{status} {body}");
                }
                *statuses.entry(status).or_default() += 1;
            }
            statuses
        });
    }
    let mut slowest = Duration::ZERO;
    let mut statuses = BTreeMap::<u16, u32>::new();
    let other = Client::of(&server);
    loop {
        let asked = Instant::now();
        other.get("/healthz").await;
        slowest = slowest.max(asked.elapsed());
        match tokio::time::timeout(Duration::from_millis(20), clients.join_next()).await {
            Ok(None) => break,
            Ok(Some(theirs)) => {
                for (status, count) in theirs.unwrap() {
                    *statuses.entry(status).or_default() += count;
                }
            }
            Err(_) => {}
        }
    }
    assert_eq!(client.predict("", photo(0)).await.unwrap().0, 200);
    wait_for_files(&server, files + OTHER_FILES).await;
    let after = memory(server.pid());
    sandbox.assert_no_panic();
    let figures = format!(
        "{count} clients, responses by status {statuses:?}; /healthz took at most {slowest:.0?}; memory {} before, {} after",
        mb(before),
        mb(after)
    );
    assert!(after < before + GROWTH, "{figures}");
    trial.ends(figures);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hardly_reads_holds_up_neither_the_job_nor_anybody_else() {
    let trial = Trial::new("slow readers");
    let count = rounds(200, 1_000);
    if let Err(why) = allow_files(3 * u64::from(count)) {
        return trial.skip(why);
    }
    let sandbox = Sandbox::new();
    let server = sandbox.start();
    let client = Client::of(&server);
    server.pets(4).await;
    let files = open_files(&server);
    let epochs = rounds(10, 60);
    let id = server.job(json!({ "epochs": epochs, "batch_size": 4 })).await;
    server.epoch(&id, 1).await;
    let before = memory(server.pid());
    let mut readers = JoinSet::new();
    for number in 0..count {
        let (id, address) = (id.clone(), server.address().parse().unwrap());
        readers.spawn(async move {
            let socket = TcpSocket::new_v4().unwrap();
            // Unread data must wait in the server.
            socket.set_recv_buffer_size(2_048).unwrap();
            let mut stream = socket.connect(address).await.unwrap();
            let path = if number % 10 == 0 {
                "/models/default/download".to_owned()
            } else {
                format!("/jobs/{id}/events")
            };
            let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut byte = [0; 1];
            // Until the task is aborted.
            loop {
                stream.read_exact(&mut byte).await.unwrap();
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
    }
    let begun = Instant::now();
    let mut slowest = Duration::ZERO;
    let job = loop {
        let asked = Instant::now();
        assert_eq!(client.predict("", photo(1)).await.unwrap().0, 200);
        let job = client.get(&format!("/jobs/{id}")).await;
        slowest = slowest.max(asked.elapsed());
        if !job["finished_at"].is_null() {
            break job;
        }
        assert!(begun.elapsed() < PATIENCE, "the job is held up: {job}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(job["status"], "succeeded", "{job}");
    assert_eq!(readers.len(), count as usize, "a reader was not waited for");
    let meanwhile = memory(server.pid());
    readers.shutdown().await;
    wait_for_files(&server, files + OTHER_FILES).await;
    let after = memory(server.pid());
    sandbox.assert_no_panic();
    let figures = format!(
        "{count} readers, a job of {epochs} epochs succeeded; a prediction and a job request took together at most {slowest:.0?}; memory {} before, {} with them, {} after",
        mb(before),
        mb(meanwhile),
        mb(after)
    );
    assert!(meanwhile < before + GROWTH && after < before + GROWTH, "{figures}");
    trial.ends(figures);
}

#[tokio::test]
async fn what_is_cut_off_half_way_leaves_nothing_behind() {
    let trial = Trial::new("uploads cut off");
    let sandbox = Sandbox::new();
    let server = sandbox.start();
    let client = Client::of(&server);
    server.post("/datasets", json!({ "name": "cut", "classes": ["cat", "dog"] })).await;
    let files = open_files(&server);
    let names: Vec<_> = (0..40).map(|number| format!("train/cat/{number}.jpg")).collect();
    let photos: Vec<_> = names.iter().map(String::as_str).zip((0..).map(photo)).collect();
    let whole = [
        ("POST /datasets/cut/archive", "application/x-tar", tar(&photos)),
        ("POST /datasets/cut/archive", "application/zip", common::zip(&photos)),
        ("POST /datasets/cut/images", "multipart/form-data; boundary=a-form", form(&photos)),
        ("POST /predict", "multipart/form-data; boundary=a-form", form(&photos)),
        ("POST /predict", "image/jpeg", photo(1)),
        ("PUT /weights/vgg16", "application/octet-stream", vec![1; 300_000]),
        (
            "POST /jobs",
            "application/json",
            b"{\"recipe\": \"scratch_cnn\", \"dataset\": \"cut\"}".to_vec(),
        ),
    ];
    let rounds = rounds(150, 3_000);
    for round in 0..rounds {
        let mut draws = trial.draws(round);
        let (target, media_type, body) = whole.choose(&mut draws).unwrap();
        let head = format!(
            "{target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut request = head.into_bytes();
        request.extend_from_slice(body);
        request.truncate(draws.random_range(1..request.len()));
        let mut stream = TcpStream::connect(server.address()).unwrap();
        // The server may have rejected the request and closed the connection already.
        let _ = stream.write_all(&request);
        if draws.random() {
            let _ = stream.shutdown(Shutdown::Write);
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            let answer = String::from_utf8_lossy(&answer);
            assert!(!answer.starts_with("HTTP/1.1 2"), "round {round}: {answer}");
            assert!(!answer.starts_with("HTTP/1.1 5"), "round {round}: {answer}");
        }
    }
    wait_for_files(&server, files + OTHER_FILES).await;
    sandbox.assert_no_partial_upload().await;
    assert_eq!(client.all("/datasets/cut/images").await.len(), 0);
    assert_eq!(client.get("/weights/vgg16").await["state"], "absent");
    let (status, body) = client.post("/datasets/cut/archive", tar(&photos)).await.unwrap();
    assert_eq!((status, &body["added"]), (200, &json!(40)), "{body}");
    sandbox.assert_no_panic();
    trial.ends(format_args!("{rounds} requests of {} kinds cut off", whole.len()));
}
