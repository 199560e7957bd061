//! `pawprint healthcheck`: alive and ready, and where the server is found.

use axum::{Router, routing::get};

use super::common::{pawprint, problem, run, serve};

#[tokio::test]
async fn a_server_that_is_alive_need_not_be_ready() {
    let url =
        serve(Router::new().route("/healthz", get(|| async { "ok" })).route(
            "/readyz",
            get(|| async { problem(503, "not_ready", "no model is in service") }),
        ))
        .await;
    let listen = url.trim_start_matches("http://");
    let alive = run(pawprint(&url, &["healthcheck", "--listen", listen])).await;
    assert_eq!((alive.code, &*alive.stderr), (Some(0), ""));
    let ready = run(pawprint(&url, &["healthcheck", "--listen", listen, "--ready"])).await;
    assert_eq!(ready.code, Some(1));
    assert!(
        ready.stderr.contains("503") && ready.stderr.contains("no model is in service"),
        "{}",
        ready.stderr
    );
}

#[tokio::test]
async fn the_address_in_the_data_directory_comes_before_that_of_the_environment() {
    let here = serve(Router::new().route("/healthz", get(|| async { "ok" }))).await;
    let folder = tempfile::tempdir().unwrap();
    let check = async |more: &[&str]| {
        let mut command = pawprint(&here, &[&["healthcheck"], more].concat());
        command.env("PAWPRINT_LISTEN", "127.0.0.1:1").env("PAWPRINT_DATA_DIR", folder.path());
        run(command).await
    };
    let without = check(&[]).await;
    assert!(
        without.code == Some(1) && without.stderr.contains("127.0.0.1:1"),
        "{}",
        without.stderr
    );

    let left = here.replace("http://127.0.0.1", "0.0.0.0");
    std::fs::write(folder.path().join("lock"), format!("{left}\n")).unwrap();
    assert_eq!(check(&[]).await.code, Some(0));
    assert_eq!(check(&["--listen", "127.0.0.1:1"]).await.code, Some(1));
}
