//! A data directory that is not writable, at startup or later.

use std::{
    fs::{self, Permissions},
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::Path,
    process::Command,
};

use reqwest::Method;
use rustix::process::Signal;
use serde_json::json;

use crate::{
    common::{
        disk::{Disk, is_root},
        form, photo,
        process::Process,
        tar,
    },
    sandbox::{Client, Sandbox},
    scale::Trial,
};

/// The user `nobody`.
const NOBODY: u32 = 65_534;

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Sets the mode of all folders of a data directory.
fn allow_all(data: &Path, mode: u32) {
    for entry in walkdir::WalkDir::new(data) {
        let entry = entry.unwrap();
        if entry.file_type().is_dir() {
            allow(entry.path(), mode);
        }
    }
}

/// The program, as a user to whom permissions apply.
fn program(sandbox: &Sandbox) -> Command {
    let mut program = sandbox.program();
    if is_root() {
        program.uid(NOBODY).gid(NOBODY).env("HOME", "/");
    }
    program
}

/// A data directory of that user, or why there is none.
fn sandbox() -> Result<Sandbox, String> {
    let sandbox = Sandbox::new();
    allow(sandbox.path(), 0o755);
    fs::create_dir(sandbox.data()).unwrap();
    if is_root() {
        chown(sandbox.data(), Some(NOBODY), Some(NOBODY)).unwrap();
        let tried = program(&sandbox).arg("--version").output();
        if !tried.as_ref().is_ok_and(|it| it.status.success()) {
            return Err(format!("the program can't be run by another than root: {tried:?}"));
        }
    }
    Ok(sandbox)
}

#[tokio::test]
async fn where_nothing_can_be_written_any_more_the_reason_is_told_and_what_is_there_answers() {
    let trial = Trial::new("folders that can't be written");
    let sandbox = match sandbox() {
        Ok(sandbox) => sandbox,
        Err(why) => return trial.skip(why),
    };
    let data = sandbox.data();
    let mut server = sandbox.spawn(&mut program(&sandbox));
    let client = Client::of(&server);
    server.pets(4).await;
    allow_all(&data, 0o555);

    let weights = client.request(Method::PUT, "/weights/vgg16").body("x");
    let upload = client.request(Method::POST, "/datasets/pets/images?label=cat&split=train");
    let upload = upload.header("content-type", "multipart/form-data; boundary=a-form");
    let job = json!({ "recipe": "scratch_cnn", "dataset": "pets" });
    for request in [
        weights,
        upload.body(form(&[("x.jpg", photo(1))])),
        client
            .request(Method::POST, "/datasets/pets/archive")
            .body(tar(&[("cat/x.jpg", photo(1))])),
        client.request(Method::POST, "/jobs").json(&job),
    ] {
        let (status, body) = Client::send(request).await.unwrap();
        assert_eq!((status, &body["code"]), (507, &json!("read_only")), "{body}");
    }
    let images = client.all("/datasets/pets/images").await;
    assert_eq!(images.len(), 16);
    client.bytes(&format!("/images/{}", images[0]["id"].as_str().unwrap())).await;
    assert_eq!(client.predict("", photo(1)).await.unwrap().0, 200);

    allow_all(&data, 0o755);
    let archive = tar(&[("train/cat/x.jpg", photo(1))]);
    let (status, body) = client.post("/datasets/pets/archive", archive).await.unwrap();
    assert_eq!((status, &body["added"]), (200, &json!(1)), "{body}");
    let job = server.job(json!({ "epochs": 1, "batch_size": 8 })).await;
    assert_eq!(server.ended(&job).await["status"], "succeeded");

    assert!(server.end(Signal::TERM));
    allow_all(&data, 0o555);
    assert_says(&sandbox, &mut program(&sandbox), &data, "Permission denied");
    assert!(sandbox.tail().contains("chmod -R u+rwX"), "{}", sandbox.tail());
    if is_root() {
        chown(&data, Some(0), Some(0)).unwrap();
        assert_says(&sandbox, &mut program(&sandbox), &data, "Permission denied");
        let advice = format!("chown -R {NOBODY}:{NOBODY} {}", data.display());
        assert!(sandbox.tail().contains(&advice), "{}", sandbox.tail());
        chown(&data, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    allow_all(&data, 0o755);
    let server = sandbox.spawn(&mut program(&sandbox));
    assert_eq!(Client::of(&server).all("/datasets/pets/images").await.len(), 17);
    sandbox.assert_no_panic();
    trial.ends("one server at runtime (four kinds of request), one at startup");
}

#[tokio::test]
async fn on_a_read_only_disk_a_server_says_so_and_ends() {
    let trial = Trial::new("read-only disk");
    let sandbox = Sandbox::new();
    {
        let mut server = sandbox.start();
        server.pets(4).await;
        assert!(server.end(Signal::TERM));
    }
    let view = sandbox.path().join("view");
    let _disk = match Disk::read_only(&sandbox.data(), &view) {
        Ok(disk) => disk,
        Err(why) => return trial.skip(why),
    };
    assert_says(&sandbox, &mut sandbox.program(), &view, "Read-only file system");
    let server = sandbox.start();
    assert_eq!(Client::of(&server).all("/datasets/pets/images").await.len(), 16);
    trial.ends("one server at startup");
}

/// Asserts that a server exits at once and says why and where.
#[track_caller]
fn assert_says(sandbox: &Sandbox, program: &mut Command, data: &Path, why: &str) {
    let ended = Process::try_spawn(program, data).err().expect("it started");
    let said = sandbox.tail();
    let last = said.lines().last().unwrap();
    assert!(ended.code() == Some(1), "{ended}");
    assert!(last.contains(why) && last.contains(data.to_str().unwrap()), "{said}");
}
