//! Downloads from a scripted server on this machine.

mod server;

use std::fs;

use md5::{Digest as _, Md5};
use server::{Reply, Server, part, reply, whole};
use sha2::Sha256;
use tokio::sync::Notify;

use super::*;

fn content() -> Vec<u8> {
    (0..100_000_u32).flat_map(|number| number.wrapping_mul(number).to_le_bytes()).collect()
}

/// A download of `content` to a folder of its own.
struct Scene {
    server: Server,
    folder: tempfile::TempDir,
    source: Source,
    client: reqwest::Client,
    policy: RetryPolicy,
}

impl Scene {
    async fn new(content: &[u8], replies: Vec<Reply>) -> Self {
        let server = Server::start(replies).await;
        let source = Source {
            url: server.url.clone().into(),
            checksum: Checksum::Md5(Md5::digest(content).into()),
            bytes: None,
        };
        // An error only means that a provider is already installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        let policy = RetryPolicy {
            attempts: 3,
            first_pause: Duration::from_millis(1),
            timeout: Duration::from_secs(20),
            min_progress: 1000,
            max_bytes: 1 << 20,
        };
        let folder = tempfile::tempdir().unwrap();
        Self { server, folder, source, client, policy }
    }

    fn partial(&self) -> std::path::PathBuf {
        self.folder.path().join("weights.partial")
    }

    async fn download(&self) -> Result<(), DownloadError> {
        self.download_telling(|_, _| ()).await
    }

    async fn download_telling(
        &self,
        progress: impl FnMut(u64, Option<u64>),
    ) -> Result<(), DownloadError> {
        let (policy, partial) = (self.policy, self.partial());
        download_with(policy, &self.client, &self.source, &partial, progress).await
    }

    /// Asserts that the file is there, and nothing beside it.
    fn assert_arrived(&self, content: &[u8]) {
        assert!(fs::read(self.partial()).unwrap() == content);
        assert_eq!(fs::read_dir(self.folder.path()).unwrap().count(), 1);
    }

    fn assert_nothing_left(&self) {
        assert_eq!(fs::read_dir(self.folder.path()).unwrap().count(), 0);
    }
}

fn from(start: usize, version: &str) -> Option<(String, String)> {
    Some((format!("bytes={start}-"), version.to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_arrives_with_progress() {
    let content = content();
    let scene = Scene::new(&content, vec![Reply::Send(whole("\"1\"", &content, 400_000))]).await;
    let mut told = Vec::new();
    scene.download_telling(|bytes, total| told.push((bytes, total))).await.unwrap();
    scene.assert_arrived(&content);
    assert_eq!(told.first(), Some(&(0, Some(400_000))));
    assert_eq!(told.last(), Some(&(400_000, Some(400_000))));
    assert!(told.is_sorted());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_goes_on_where_it_was_cut() {
    let content = content();
    let replies = vec![
        Reply::Send(whole("\"1\"", &content, 1000)),
        Reply::Send(part("\"1\"", &content, 1000, 3000)),
        Reply::Send(reply("503 Service Unavailable\nContent-Length: 0", b"")),
        Reply::Send(part("\"1\"", &content, 3000, 400_000)),
    ];
    let scene = Scene::new(&content, replies).await;
    scene.download().await.unwrap();
    scene.assert_arrived(&content);
    let asked = [None, from(1000, "\"1\""), from(3000, "\"1\""), from(3000, "\"1\"")];
    assert_eq!(scene.server.ranges(), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_falls_silent_is_asked_again() {
    let content = content();
    let replies = vec![
        Reply::SendAndHold(Vec::new()),
        Reply::SendAndHold(whole("\"1\"", &content, 1000)),
        Reply::Send(part("\"1\"", &content, 1000, 400_000)),
    ];
    let mut scene = Scene::new(&content, replies).await;
    scene.policy.timeout = Duration::from_secs(1);
    scene.download().await.unwrap();
    scene.assert_arrived(&content);
    assert_eq!(scene.server.ranges(), [None, None, from(1000, "\"1\"")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_download_goes_on_at_the_next_call() {
    let content = content();
    let replies = vec![
        Reply::SendAndHold(whole("\"1\"", &content, 5000)),
        Reply::Send(part("\"1\"", &content, 5000, 400_000)),
    ];
    let scene = Scene::new(&content, replies).await;
    let arrived = Notify::new();
    let tell = |bytes, _| {
        if bytes == 5000 {
            arrived.notify_one();
        }
    };
    tokio::select! {
        biased;
        () = arrived.notified() => {}
        _ = scene.download_telling(tell) => panic!("the server holds the rest back"),
    }
    let mut told = Vec::new();
    scene.download_telling(|bytes, _| told.push(bytes)).await.unwrap();
    scene.assert_arrived(&content);
    assert_eq!(told[0], 5000);
    assert_eq!(scene.server.ranges(), [None, from(5000, "\"1\"")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_is_fetched_anew() {
    let (old, new) = (content(), content().into_iter().rev().collect::<Vec<_>>());
    let replies = vec![
        Reply::Send(whole("\"old\"", &old, 1000)),
        Reply::Send(whole("\"new\"", &new, 2000)),
        Reply::Send(part("\"new\"", &new, 2000, 400_000)),
    ];
    let scene = Scene::new(&new, replies).await;
    scene.download().await.unwrap();
    scene.assert_arrived(&new);
    assert_eq!(scene.server.ranges(), [None, from(1000, "\"old\""), from(2000, "\"new\"")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_strong_version_or_with_a_wrong_range_it_starts_anew() {
    let content = content();
    let replies = vec![
        Reply::Send(whole("W/\"weak\"", &content, 1000)),
        Reply::Send(whole("\"1\"", &content, 3000)),
        Reply::Send(part("\"1\"", &content, 0, 400_000)),
        Reply::Send(whole("\"1\"", &content, 400_000)),
    ];
    let scene = Scene::new(&content, replies).await;
    scene.download().await.unwrap();
    scene.assert_arrived(&content);
    assert_eq!(scene.server.ranges(), [None, None, from(3000, "\"1\""), None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_file_is_not_fetched_again() {
    let content = content();
    let beyond = reply("416 Range Not Satisfiable\nContent-Range: bytes */400000", b"");
    let mut scene = Scene::new(&content, vec![Reply::Send(beyond)]).await;
    let partial = Partial::new(&scene.partial());
    drop(partial.begin(&scene.source.url, Some("\"1\"")).unwrap());
    fs::write(partial.path(), &content).unwrap();
    scene.download().await.unwrap();
    scene.assert_arrived(&content);
    scene.source.bytes = Some(400_000);
    scene.download().await.unwrap();
    assert_eq!(scene.server.ranges(), [from(400_000, "\"1\"")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_another_file_is_not_gone_on_with() {
    let content = content();
    let scene = Scene::new(&content, vec![Reply::Send(whole("\"1\"", &content, 400_000))]).await;
    let partial = Partial::new(&scene.partial());
    drop(partial.begin("http://127.0.0.1/other", Some("\"1\"")).unwrap());
    fs::write(partial.path(), "other").unwrap();
    scene.download().await.unwrap();
    scene.assert_arrived(&content);
    assert_eq!(scene.server.ranges(), [None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_file_than_the_published_one_is_removed() {
    let content = content();
    let send = || Reply::Send(whole("\"1\"", b"something else", 14));
    let mut scene = Scene::new(&content, vec![send(), send()]).await;
    let error = scene.download().await.unwrap_err();
    assert!(matches!(error, DownloadError::Checksum { .. }), "{error}");
    scene.assert_nothing_left();
    scene.source.checksum = Checksum::Sha256Prefix([0; 4]);
    let error = scene.download().await.unwrap_err().to_string();
    assert!(error.contains("SHA-256 is"), "{error}");
    assert!(error.contains("expected 00000000…"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_beginning_of_a_sha256_is_enough() {
    let content = content();
    let send = Reply::Send(whole("\"1\"", &content, 400_000));
    let mut scene = Scene::new(&content, vec![send]).await;
    let hash = Sha256::digest(&content);
    scene.source.checksum = Checksum::Sha256Prefix([hash[0], hash[1], hash[2], hash[3]]);
    scene.download().await.unwrap();
    scene.assert_arrived(&content);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_sends_without_end_is_stopped() {
    let chunk = reply("200 OK\nTransfer-Encoding: chunked", b"");
    let replies = vec![
        Reply::SendForEver(chunk, [b"2000\r\n".as_slice(), &[7; 0x2000], b"\r\n"].concat()),
        Reply::SendAndHold(reply("200 OK\nContent-Length: 1152921504606846976", b"")),
    ];
    let scene = Scene::new(b"", replies).await;
    for _ in 0..2 {
        let error = scene.download().await.unwrap_err();
        assert!(matches!(error, DownloadError::TooLarge { .. }), "{error}");
        scene.assert_nothing_left();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_always_breaks_off_is_given_up_but_what_came_stays() {
    let content = content();
    let replies = vec![
        Reply::Send(whole("\"1\"", &content, 2000)),
        Reply::Send(part("\"1\"", &content, 2000, 2500)),
        Reply::Send(part("\"1\"", &content, 2500, 2600)),
    ];
    let scene = Scene::new(&content, replies).await;
    let error = scene.download().await.unwrap_err();
    assert!(matches!(error, DownloadError::Interrupted { .. }), "{error}");
    assert_eq!(fs::read(scene.partial()).unwrap(), content[..2600]);
    assert_eq!(scene.server.requests().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_told_in_words() {
    let send = |head: &str| Reply::Send(reply(head, b""));
    let missing = send("404 Not Found\nContent-Length: 0");
    let busy = || send("503 Service Unavailable\nContent-Length: 0");
    let scene = Scene::new(b"", vec![missing, busy(), busy(), busy()]).await;
    let error = scene.download().await.unwrap_err().to_string();
    assert!(error.ends_with("file not found (404 Not Found)"), "{error}");
    assert_eq!(scene.server.requests().len(), 1, "asking again would be of no use");
    let error = scene.download().await.unwrap_err().to_string();
    assert!(error.contains("server temporarily unavailable (503"), "{error}");
    assert_eq!(scene.server.requests().len(), 4);
    let error = scene.download().await.unwrap_err();
    assert!(matches!(error, DownloadError::Unreachable { .. }), "{error}");
    scene.assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_followed() {
    let content = content();
    let there = Server::start(vec![Reply::Send(whole("\"1\"", &content, 400_000))]).await;
    let head = format!("302 Found\nLocation: {}\nContent-Length: 0", there.url);
    let scene = Scene::new(&content, vec![Reply::Send(reply(&head, b""))]).await;
    scene.download().await.unwrap();
    scene.assert_arrived(&content);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_apart() {
    let content = content();
    let scene = Scene::new(&content, vec![Reply::Send(whole("\"1\"", &content, 400_000))]).await;
    // Every write to this device fails as on a full disk.
    std::os::unix::fs::symlink("/dev/full", scene.partial()).unwrap();
    let error = scene.download().await.unwrap_err();
    assert!(error.is_disk_full(), "{error}");
}
