//! The data directory: whose it is, and which program may open it.
#![cfg(target_os = "linux")]

use std::{path::Path, process::Command};

use crate::common::process::Process;
use rustix::process::Signal;

#[tokio::test]
async fn two_servers_can_not_share_a_data_directory() {
    let folder = tempfile::tempdir().unwrap();
    let _server = Process::start(folder.path());
    let second = serve_briefly(folder.path());
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("in use by another Pawprint server"), "{said}");
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Process::start(folder.path());
    assert!(server.end(Signal::TERM));
    let database = format!("sqlite://{}", folder.path().join("pawprint.sqlite").display());
    let pool = sqlx::SqlitePool::connect(&database).await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'from the future', TRUE, x'00', 0)",
    )
    .execute(&pool)
    .await
    .unwrap();
    pool.close().await;
    let refused = serve_briefly(folder.path());
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("created by a newer version of Pawprint"), "{said}");
}

#[tokio::test]
async fn a_health_check_finds_the_server_of_a_data_directory() {
    let folder = tempfile::tempdir().unwrap();
    let check = |more: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_pawprint"))
            .args(["healthcheck", "--data-dir", folder.path().to_str().unwrap()])
            .args(more)
            .env("PAWPRINT_LISTEN", "127.0.0.1:1")
            .output()
            .unwrap()
    };
    // Its port is any that was free.
    let mut server = Process::start(folder.path());
    for more in [&[][..], &["--ready"]] {
        let checked = check(more);
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    }
    assert!(server.end(Signal::TERM));
    let checked = check(&[]);
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(!checked.status.success() && said.contains(server.address()), "{said}");
}

/// The output of a server that is expected to end at once.
fn serve_briefly(folder: &Path) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_pawprint"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder)
        .output()
        .unwrap()
}
