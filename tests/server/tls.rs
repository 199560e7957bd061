//! HTTPS by the server itself: certificates that work, that are renewed, and that can't be used.
#![cfg(target_os = "linux")]

use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use crate::common::process::{PATIENCE, Process};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use reqwest::{Certificate, Client, ClientBuilder, Version};
use rustix::process::Signal;

/// A certificate for this machine and its key, in files.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self { folder: tempfile::tempdir().unwrap() };
        files.renew(&KeyPair::generate().unwrap(), |_| {});
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes another certificate over the former.
    fn renew(&self, key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) {
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        fs::write(self.path("key.pem"), key.serialize_pem()).unwrap();
        fs::write(self.path("cert.pem"), params.self_signed(key).unwrap().pem()).unwrap();
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pawprint"));
        command
            .env("PAWPRINT_TLS_CERT", self.path("cert.pem"))
            .env("PAWPRINT_TLS_KEY", self.path("key.pem"))
            .env("PAWPRINT_LISTEN", "127.0.0.1:0");
        command
    }

    fn serve(&self, data_dir: &Path) -> Process {
        Process::spawn(&mut self.command(), data_dir)
    }

    /// A client that trusts this certificate alone.
    fn client(&self, change: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Client {
        let certificate = Certificate::from_pem(&fs::read(self.path("cert.pem")).unwrap()).unwrap();
        let builder = Client::builder().no_proxy().tls_certs_only([certificate]);
        change(builder.pool_max_idle_per_host(0)).build().unwrap()
    }
}

async fn health(client: &Client, server: &Process) -> reqwest::Result<reqwest::Response> {
    client.get(format!("{}/healthz", server.url())).send().await
}

#[tokio::test]
async fn both_versions_of_http_are_spoken_over_tls() {
    let (files, folder) = (Files::new(), tempfile::tempdir().unwrap());
    let mut server = files.serve(folder.path());
    assert!(server.url().starts_with("https://127.0.0.1:"), "{}", server.url());
    let old = files.client(ClientBuilder::http1_only);
    let new = files.client(|builder| builder);
    for (client, version) in [(old, Version::HTTP_11), (new, Version::HTTP_2)] {
        let answer = health(&client, &server).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
        assert_eq!(answer.headers()["strict-transport-security"], "max-age=2592000");
        let photo = client.post(format!("{}/predict", server.url())).body(crate::common::photo(1));
        let answer = photo.header("content-type", "image/jpeg").send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    // Its own pages may use it, pages of other sites not.
    let client = files.client(|builder| builder);
    for (origin, status) in [(server.url(), 200), ("https://evil.example", 403)] {
        let request = client.get(format!("{}/datasets", server.url())).header("origin", origin);
        assert_eq!(request.send().await.unwrap().status(), status, "{origin}");
    }
    assert!(server.end(Signal::TERM));
}

#[tokio::test]
async fn who_does_not_speak_tls_is_told_so() {
    let (files, folder) = (Files::new(), tempfile::tempdir().unwrap());
    let server = files.serve(folder.path());
    let plain = server.url().replace("https://", "http://");
    let client = Client::builder().no_proxy().build().unwrap();
    let answer = client.get(format!("{plain}/datasets")).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    let problem: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(problem["code"], "https_required");
    let ran = pawprint(&["jobs", "--server", &plain]);
    assert_eq!(ran.status.code(), Some(1));
    assert!(stderr(&ran).contains("use https://"), "{}", stderr(&ran));
}

#[tokio::test]
async fn silent_clients_hold_up_neither_others_nor_the_end() {
    let (files, folder) = (Files::new(), tempfile::tempdir().unwrap());
    let mut server = files.serve(folder.path());
    let address = server.url().trim_start_matches("https://").to_owned();
    let silent: Vec<_> = [&b""[..], &b"\x16\x03"[..], &b"\x16\x03\x01\x02\x00\x01"[..]]
        .into_iter()
        .cycle()
        .take(60)
        .map(|beginning| {
            let mut stream = TcpStream::connect(&address).unwrap();
            stream.write_all(beginning).unwrap();
            stream
        })
        .collect();
    let client = files.client(|builder| builder);
    assert_eq!(health(&client, &server).await.unwrap().status(), 200);
    // After the time of a handshake they are gone.
    for mut stream in silent {
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let read = stream.read(&mut [0; 64]);
        let is_open = matches!(&read, Err(error) if error.kind() == ErrorKind::WouldBlock);
        assert!(!is_open && read.as_ref().map_or(true, |&bytes| bytes == 0), "{read:?}");
    }
    let late = TcpStream::connect(&address).unwrap();
    assert!(server.end(Signal::TERM));
    drop(late);
}

#[tokio::test]
async fn a_renewed_certificate_is_used_without_a_restart() {
    let (files, folder) = (Files::new(), tempfile::tempdir().unwrap());
    let server = files.serve(folder.path());
    let former = files.client(|builder| builder);
    assert_eq!(health(&former, &server).await.unwrap().status(), 200);
    // With a connection of its own, later.
    let late = files.client(|builder| builder);
    // Half of a renewal: the former pair stays.
    let other = KeyPair::generate().unwrap();
    fs::write(files.path("key.pem"), other.serialize_pem()).unwrap();
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(health(&former, &server).await.unwrap().status(), 200);

    files.renew(&other, |_| {});
    let renewed = files.client(|builder| builder);
    let begun = Instant::now();
    while health(&renewed, &server).await.is_err() {
        assert!(begun.elapsed() < PATIENCE, "the renewed certificate is not used");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(health(&late, &server).await.is_err(), "the former one is not used any more");
}

fn pawprint(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pawprint"));
    command
        .args(arguments)
        .env_remove("SSL_CERT_FILE")
        .env_remove("PAWPRINT_API_TOKEN")
        .output()
        .unwrap()
}

fn stderr(ran: &Output) -> String {
    String::from_utf8_lossy(&ran.stderr).into_owned()
}

#[tokio::test]
async fn the_commands_work_over_tls() {
    let (files, folder) = (Files::new(), tempfile::tempdir().unwrap());
    let server = files.serve(folder.path());
    let address = server.url().trim_start_matches("https://");
    // The health check is for the machine itself, by address.
    let ran = pawprint(&["healthcheck", "--listen", address]);
    assert!(ran.status.success(), "{}", stderr(&ran));

    let ran = pawprint(&["models", "--server", server.url()]);
    assert_eq!(ran.status.code(), Some(3), "{}", stderr(&ran));
    assert!(stderr(&ran).contains("is not trusted"), "{}", stderr(&ran));
    assert!(stderr(&ran).contains("SSL_CERT_FILE"), "{}", stderr(&ran));

    let mut command = Command::new(env!("CARGO_BIN_EXE_pawprint"));
    command.args(["models", "--server", server.url()]);
    let ran = command.env("SSL_CERT_FILE", files.path("cert.pem")).output().unwrap();
    assert!(ran.status.success(), "{}", stderr(&ran));
    assert!(String::from_utf8_lossy(&ran.stdout).contains("default"));
}

/// What a server says that does not start with these files.
fn refused(files: &Files) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut command = files.command();
    let ran = command.args(["serve", "--data-dir"]).arg(folder.path()).output().unwrap();
    assert_eq!(ran.status.code(), Some(1), "{}", stderr(&ran));
    assert_eq!(ran.stdout, b"");
    stderr(&ran)
}

#[test]
fn files_that_can_not_be_used_are_named() {
    let files = Files::new();
    let (good, key) =
        ["cert.pem", "key.pem"].map(|name| fs::read(files.path(name)).unwrap()).into();
    let garbage = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec();
    let cut = good[..good.len() / 2].to_vec();
    let encrypted =
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"
            .to_vec();
    let broken = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".to_vec();
    let other = KeyPair::generate().unwrap().serialize_pem().into_bytes();
    for (name, content, said) in [
        ("cert.pem", Vec::new(), "is empty"),
        ("cert.pem", b"DER?".to_vec(), "has no certificate in PEM"),
        ("cert.pem", key.clone(), "has no certificate in PEM"),
        ("cert.pem", cut, "is not valid PEM"),
        ("cert.pem", garbage, "has a certificate that can't be used"),
        ("cert.pem", vec![b'a'; 2 << 20], "is larger than 1 MiB"),
        ("key.pem", b" \n".to_vec(), "is empty"),
        ("key.pem", good.clone(), "has no private key in PEM"),
        ("key.pem", encrypted, "has an encrypted private key"),
        ("key.pem", broken, "has a private key that can't be used"),
        ("key.pem", other, "does not belong to the certificate in"),
    ] {
        fs::write(files.path(name), &content).unwrap();
        let text = refused(&files);
        assert!(text.contains(name) && text.contains(said), "{name} {said}: {text}");
        fs::write(files.path("cert.pem"), &good).unwrap();
        fs::write(files.path("key.pem"), &key).unwrap();
    }
    for name in ["cert.pem", "key.pem"] {
        fs::remove_file(files.path(name)).unwrap();
        let text = refused(&files);
        assert!(text.contains(name) && text.contains("No such file"), "{text}");
        fs::write(files.path("cert.pem"), &good).unwrap();
        fs::write(files.path("key.pem"), &key).unwrap();
    }
}

#[tokio::test]
async fn an_expired_certificate_is_used_with_a_warning() {
    let (files, folder) = (Files::new(), tempfile::tempdir().unwrap());
    files.renew(&KeyPair::generate().unwrap(), |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    let log = folder.path().join("log");
    let mut command = files.command();
    command.stderr(fs::File::create(&log).unwrap());
    let server = Process::spawn(&mut command, &folder.path().join("data"));
    let client = files.client(|builder| builder);
    assert!(health(&client, &server).await.is_err());
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("has expired") && log.contains("2021-01-01"), "{log}");
}
