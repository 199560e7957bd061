//! Where it may be run, and what it leaves alone.

use std::fs;

use reqwest::Method;
use serde_json::Value;

use super::{
    Healthy, codes,
    common::{photo, process::Process, tar},
    doctor, findings,
};

#[tokio::test]
async fn a_healthy_directory_has_no_findings_and_is_not_touched() {
    let healthy = Healthy::new().await;
    let list = || -> Vec<_> {
        let files = walkdir::WalkDir::new(healthy.root()).sort_by_file_name();
        files
            .into_iter()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_type().is_file())
            .map(|entry| (entry.path().to_owned(), fs::read(entry.path()).unwrap()))
            .collect()
    };
    let before = list();
    assert_eq!(codes(&healthy.findings()), Vec::<&str>::new());
    assert!(list() == before);
    assert_eq!(codes(&healthy.repair()), Vec::<&str>::new());
    assert!(list() == before);
    let output = doctor(healthy.root(), &[]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains(": 1 dataset, 16 images, 1 job and 2 models\nno problems found"),
        "{said}"
    );
}

#[tokio::test]
async fn files_of_another_user_are_told() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let healthy = Healthy::new().await;
    std::os::unix::fs::chown(&healthy.images()[0], Some(12_345), None).unwrap();
    let found = healthy.findings();
    assert_eq!(codes(&found), ["owner"]);
    let detail = found["owner"]["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("files of user 12345 in a data directory of user 0: 1,"),
        "{detail}"
    );
}

#[tokio::test]
async fn beside_a_server_it_finds_nothing_that_is_only_under_way_and_repairs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    server.pets(4).await;
    let root = folder.path().to_owned();
    let looking = async {
        for _ in 0..3 {
            let root = root.clone();
            let look = move || doctor(&root, &["--json"]);
            let output = tokio::task::spawn_blocking(look).await.unwrap();
            let found = findings(&output);
            assert!(codes(&found).into_iter().all(|code| code == "unreferenced"), "{found:?}");
            let report: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(report["server_runs"], true);
        }
    };
    let changing = async {
        for number in 0.. {
            let body = tar(&[("train/cat/x.jpg", photo(500 + number))]);
            let request = server.request(Method::POST, "/datasets/pets/archive").body(body);
            assert_eq!(request.send().await.unwrap().status(), 200);
            let page = server.get("/datasets/pets/images?limit=1").await;
            let path =
                format!("/datasets/pets/images/{}", page["items"][0]["id"].as_str().unwrap());
            assert_eq!(server.ask(Method::DELETE, &path, None).await.0, 204);
        }
    };
    tokio::select! {
        () = looking => {}
        () = changing => {}
    }
    let output = doctor(folder.path(), &["--repair"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("a server is using ") && said.contains("stop it before you repair"),
        "{said}"
    );
}

#[tokio::test]
async fn what_is_no_data_directory_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    for path in [folder.path(), &folder.path().join("none"), &file] {
        for arguments in [&[][..], &["--repair"]] {
            let output = doctor(path, arguments);
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(said.contains("is not a Pawprint data directory"), "{said}");
        }
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is made there");
    for arguments in [&["--no-such-flag"][..], &["somewhere"], &["--server", "http://x"]] {
        assert_eq!(doctor(folder.path(), arguments).status.code(), Some(2), "{arguments:?}");
    }
}
