//! Backups of a server that goes on, and data directories out of them: whole, or not at all, and
//! what is missing is told.
#![expect(clippy::unwrap_used, reason = "a test that can't go on may stop there")]
#![cfg(target_os = "linux")]

mod common;

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use common::{
    Server, photo,
    process::{PATIENCE, Process},
    tar,
};
use pawprint::{
    maintenance::{backup, doctor},
    storage::upkeep,
};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

fn pawprint(arguments: &[&str], paths: [&Path; 2]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pawprint"));
    let [folder, data_dir] = paths;
    command.args(arguments).arg(folder).arg("--data-dir").arg(data_dir).stdin(Stdio::null());
    command
}

#[track_caller]
fn success(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The complaint of a command that must fail.
#[track_caller]
fn failure(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn back_up(data_dir: &Path, to: &Path) -> Output {
    pawprint(&["backup"], [to, data_dir]).output().unwrap()
}

fn restore(from: &Path, data_dir: &Path) -> Output {
    pawprint(&["restore"], [from, data_dir]).output().unwrap()
}

/// A data directory with that many photos of `pets`, without a server.
async fn photos(count: u32) -> tempfile::TempDir {
    let server = Server::start().await;
    server.pets().await;
    let label = |number| if number % 2 == 0 { "cat" } else { "dog" };
    let split = |number| if number % 4 < 2 { "train" } else { "validation" };
    let names: Vec<_> =
        (0..count).map(|it| format!("{}/{}/{it}.jpg", split(it), label(it))).collect();
    let files: Vec<_> = names.iter().map(String::as_str).zip((0..).map(photo)).collect();
    let report = server.post("/datasets/pets/archive", tar(&files)).await.ok();
    assert_eq!(report["added"], count);
    close(server).await
}

/// Ends a server and keeps its data directory.
async fn close(server: Server) -> tempfile::TempDir {
    let Server { app, router, folder } = server;
    drop(router);
    app.storage.close().await;
    drop(app);
    folder
}

/// The files of images in a data directory or a backup, in the order of their hashes.
fn images(root: &Path) -> Vec<PathBuf> {
    let files = walkdir::WalkDir::new(root.join("blobs")).min_depth(2).sort_by_file_name();
    let files = files.into_iter().flatten().map(walkdir::DirEntry::into_path);
    files.filter(|path| path.extension().is_none()).collect()
}

/// Runs SQL on the database of a data directory.
async fn execute(data_dir: &Path, sql: &'static str) {
    let mut connection = upkeep::open(&data_dir.join("pawprint.sqlite")).await.unwrap();
    sqlx::query(sql).execute(&mut connection).await.unwrap();
    upkeep::close(connection).await.unwrap();
}

async fn assert_healthy(root: &Path) {
    let report = doctor::run(root, false, &mut |_, _| {}).await.unwrap();
    assert!(report.findings.is_empty(), "{report:?}");
}

/// What the API says of things that do not change while the test runs.
async fn said(server: &Process, job: &str, model: &str) -> Vec<Value> {
    let mut said = Vec::new();
    for path in [
        "/datasets/pets".to_owned(),
        "/datasets/pets/images?limit=500".to_owned(),
        "/datasets/pets/statistics".to_owned(),
        format!("/jobs/{job}"),
        format!("/jobs/{job}/metrics"),
        format!("/jobs/{job}/evaluation"),
        format!("/models/{model}"),
    ] {
        said.push(server.get(&path).await);
    }
    let mut current = server.get("/models/current").await;
    current.as_object_mut().unwrap().remove("since");
    said.push(current);
    let log = server.request(Method::GET, &format!("/jobs/{job}/log")).send().await.unwrap();
    said.push(json!(log.text().await.unwrap()));
    let request = server.request(Method::POST, "/predict").header("content-type", "image/jpeg");
    let answer: Value = request.body(photo(1)).send().await.unwrap().json().await.unwrap();
    said.push(json!([answer["predictions"], answer["model"]]));
    said
}

/// Uploads photos to the dataset `busy` and deletes every other one, until told to end; gives how
/// many are there.
async fn be_busy(server: &Process, ended: &AtomicBool) -> usize {
    let mut there = 0;
    let mut number = 0;
    while !ended.load(Ordering::Relaxed) {
        number += 1;
        let body = tar(&[("train/cat/x.jpg", photo(1_000 + number))]);
        let request = server.request(Method::POST, "/datasets/busy/archive").body(body);
        assert_eq!(request.send().await.unwrap().status(), 200);
        there += 1;
        if number % 2 == 0 {
            let page = server.get("/datasets/busy/images?limit=1").await;
            let path =
                format!("/datasets/busy/images/{}", page["items"][0]["id"].as_str().unwrap());
            assert_eq!(server.ask(Method::DELETE, &path, None).await.0, 204);
            there -= 1;
        }
    }
    there
}

#[tokio::test]
async fn a_busy_server_is_backed_up_and_restored_elsewhere_and_its_job_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let [data, to, restored] = ["data", "backup", "restored"].map(|name| folder.path().join(name));
    let mut server = Process::start(&data);
    server.pets(8).await;
    assert_eq!(server.post("/datasets", json!({ "name": "busy" })).await.0, 201);
    let params = json!({ "epochs": 1, "batch_size": 8, "precision": "fp32", "device": "cpu" });
    let done = server.job(params).await;
    let model = server.ended(&done).await["model_id"].as_str().unwrap().to_owned();
    let choice = Some(json!({ "model": model }));
    assert_eq!(server.ask(Method::PUT, "/models/current", choice).await.0, 200);
    let params = json!({ "epochs": 5_000, "batch_size": 8, "precision": "fp32", "device": "cpu" });
    let running = server.job(params).await;
    server.epoch(&running, 2).await;

    let ended = AtomicBool::new(false);
    let (from, place) = (data.clone(), to.clone());
    let backing_up = async {
        let mut outputs = Vec::new();
        for _ in 0..3 {
            let (from, place) = (from.clone(), place.clone());
            outputs
                .push(tokio::task::spawn_blocking(move || back_up(&from, &place)).await.unwrap());
        }
        ended.store(true, Ordering::Relaxed);
        outputs
    };
    let (outputs, there) = tokio::join!(backing_up, be_busy(&server, &ended));
    for output in &outputs {
        assert!(success(output).contains("2 datasets, "), "{output:?}");
        assert_eq!(output.stderr, b"", "{output:?}");
    }
    let before = said(&server, &done, &model).await;
    server.end(Signal::KILL);
    assert_healthy(&to).await;

    // Nothing of the restored directory may lead back to the first.
    fs::remove_dir_all(&data).unwrap();
    let told = success(&restore(&to, &restored));
    assert!(told.contains("1 job will continue when the server starts"), "{told}");
    let server = Process::start(&restored);
    assert_eq!(said(&server, &done, &model).await, before);
    let busy = server.get("/datasets/busy/images?limit=500").await;
    let busy = busy["items"].as_array().unwrap();
    assert!(there == 0 || !busy.is_empty());
    for image in busy {
        let path = format!("/images/{}", image["id"].as_str().unwrap());
        let answer = server.request(Method::GET, &path).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.bytes().await.unwrap().len() as u64, image["bytes"].as_u64().unwrap());
    }
    let goes_on = server.event(&running, |kind, data| {
        (kind == "epoch" && data["epoch"].as_u64() > Some(3)).then_some(())
    });
    goes_on.await;
    assert_eq!(server.post(&format!("/jobs/{running}/stop"), json!({})).await.0, 202);
    let job = server.ended(&running).await;
    assert_eq!(job["status"], "succeeded", "{job}");
    // It went on from its checkpoint, not from the beginning.
    let epochs = server.epochs(&running).await;
    assert_eq!(epochs, (1..=epochs.len() as u64).collect::<Vec<_>>());
    let log = fs::read_to_string(server.folder(&running).join("log.txt")).unwrap();
    let starts: Vec<_> = log.lines().filter(|line| line.contains("completed_epochs=")).collect();
    assert!(!starts.last().unwrap().contains("completed_epochs=0"), "{starts:?}");
}

#[tokio::test]
async fn what_the_server_deletes_meanwhile_is_not_in_the_backup_and_not_missed() {
    let data = photos(12).await;
    let to = tempfile::tempdir().unwrap();
    let blob = images(data.path()).remove(0);
    let mut attempts = 0;
    // Told before each image: a moment between the copy of the database and that of the first one.
    let mut sweep = |done, _| {
        attempts += u32::from(done == 0);
        if attempts == 1 && blob.exists() {
            let sql = "DELETE FROM images WHERE sha256 = (SELECT MIN(sha256) FROM images)";
            let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
            std::thread::scope(|scope| {
                let delete = || runtime().unwrap().block_on(execute(data.path(), sql));
                scope.spawn(delete).join().unwrap();
            });
            fs::remove_file(&blob).unwrap();
        }
    };
    let report = backup::run(data.path(), to.path(), &mut sweep).await.unwrap();
    assert_eq!(attempts, 2);
    assert!(report.missing.is_empty() && report.damaged.is_empty(), "{report:?}");
    assert_eq!(report.about.totals.images, 11);
    assert_healthy(to.path()).await;
}

#[tokio::test]
async fn what_is_missing_or_damaged_is_named_and_taken_from_the_backup_before() {
    let data = photos(12).await;
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
    success(&back_up(data.path(), &first));
    let blobs = images(data.path());
    fs::remove_file(&blobs[3]).unwrap();
    fs::write(&blobs[5], b"meow").unwrap();
    // A file that can't be read at all, as on a broken disk.
    fs::remove_file(&blobs[7]).unwrap();
    fs::create_dir(&blobs[7]).unwrap();
    let name = |path: &Path| path.strip_prefix(data.path()).unwrap().to_str().unwrap().to_owned();

    let output = back_up(data.path(), &second);
    let said = failure(&output);
    for blob in [&blobs[3], &blobs[5], &blobs[7]] {
        assert!(said.contains(&name(blob)), "{said}");
    }
    assert!(said.contains("2 files damaged") && said.contains("1 file missing"), "{said}");
    let restored = folder.path().join("restored");
    let said = failure(&restore(&second, &restored));
    assert!(said.contains("3 files missing in the backup"), "{said}");
    assert_eq!(images(&restored).len(), 9);

    // The earlier backup has them, and the next one in its place has them still.
    let output = back_up(data.path(), &first);
    success(&output);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("3 files damaged or missing in the data directory"), "{said}");
    assert_eq!(images(&first.join("current")).len(), 12);
    assert_healthy(&first).await;
}

#[tokio::test]
async fn images_that_are_in_the_backup_are_not_copied_again_and_those_that_are_gone_leave_it() {
    let data = photos(12).await;
    let to = tempfile::tempdir().unwrap();
    let current = to.path().join("current");
    success(&back_up(data.path(), to.path()));
    let inodes = || -> Vec<u64> {
        images(&current).iter().map(|path| fs::metadata(path).unwrap().ino()).collect()
    };
    let before = inodes();
    // Those of the backup are others than those of the data directory.
    assert!(
        images(data.path()).iter().all(|it| !before.contains(&fs::metadata(it).unwrap().ino()))
    );
    execute(data.path(), "DELETE FROM images WHERE sha256 = (SELECT MIN(sha256) FROM images)")
        .await;
    let mut command = pawprint(&["backup", "--json"], [to.path(), data.path()]);
    let report: Value = serde_json::from_str(&success(&command.output().unwrap())).unwrap();
    assert_eq!(report["images"], 11);
    assert!(report["copied_bytes"].as_u64() < report["bytes"].as_u64(), "{report}");
    assert_eq!(inodes(), before[1..]);
    let names: Vec<_> =
        fs::read_dir(to.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[tokio::test]
async fn a_backup_that_is_killed_is_no_backup_and_the_one_before_stays() {
    let data = photos(12).await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("backup");
    // Reading a pipe that nobody writes to takes for ever: the backup stops at the last image.
    let blobs = images(data.path());
    let (last, aside) = (blobs.last().unwrap(), data.path().join("aside"));
    let kill_a_backup = || {
        fs::rename(last, &aside).unwrap();
        assert!(Command::new("mkfifo").arg(last).status().unwrap().success());
        let mut backup = pawprint(&["backup"], [&to, data.path()]).spawn().unwrap();
        let begun = Instant::now();
        while images(&to.join("incomplete")).len() < 11 {
            assert!(begun.elapsed() < PATIENCE && backup.try_wait().unwrap().is_none());
            std::thread::sleep(Duration::from_millis(5));
        }
        // A second one at the same time would ruin both.
        let said = failure(&back_up(data.path(), &to));
        assert!(said.contains("in use by another backup"), "{said}");
        backup.kill().unwrap();
        backup.wait().unwrap();
        fs::rename(&aside, last).unwrap();
    };
    kill_a_backup();
    for output in [restore(&to, &folder.path().join("x")), {
        let mut doctor = Command::new(env!("CARGO_BIN_EXE_pawprint"));
        doctor.args(["doctor", "--data-dir"]).arg(&to).output().unwrap()
    }] {
        assert!(failure(&output).contains("is incomplete: it was interrupted"), "{output:?}");
    }
    // An image of it that the crash has damaged is not taken for whole.
    fs::write(&images(&to.join("incomplete"))[2], b"").unwrap();
    success(&back_up(data.path(), &to));
    assert!(!to.join("incomplete").exists());
    assert_healthy(&to).await;

    execute(data.path(), "UPDATE datasets SET name = 'renamed'").await;
    kill_a_backup();
    let restored = folder.path().join("restored");
    success(&restore(&to, &restored));
    assert_healthy(&restored).await;
    let server = Process::start(&restored);
    assert_eq!(server.get("/datasets").await["items"][0]["name"], "pets");
}

#[tokio::test]
async fn where_a_backup_can_not_be_made_it_says_why_and_leaves_everything_as_it_was() {
    let data = photos(4).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    let complaint = |to: &Path| failure(&back_up(data.path(), to));
    assert!(complaint(&file.join("x")).contains("Not a directory"));
    assert!(complaint(Path::new("/proc/pawprint")).contains("can't read or write /proc/pawprint"));
    assert!(complaint(folder.path()).contains("is not empty and holds no Pawprint backup"));
    assert!(complaint(&data.path().join("backup")).contains("lies inside the data directory"));
    assert!(!data.path().join("backup").exists());
    let none = failure(&back_up(&folder.path().join("none"), &folder.path().join("y")));
    assert!(none.contains("none is not a Pawprint data directory"), "{none}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

    // A full disk: every write to this device fails as on one.
    let to = folder.path().join("backup");
    success(&back_up(data.path(), &to));
    let blob = images(data.path()).remove(0);
    let stored = to.join("current").join(blob.strip_prefix(data.path()).unwrap());
    fs::remove_file(stored).unwrap();
    let partial = to.join("incomplete").join(blob.strip_prefix(data.path()).unwrap());
    fs::create_dir_all(partial.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("/dev/full", partial.with_added_extension("partial")).unwrap();
    let full = complaint(&to);
    assert!(full.contains("is full; make room"), "{full}");
    assert!(to.join("current/backup.json").exists());
    success(&back_up(data.path(), &to));
    assert_healthy(&to).await;
}

#[tokio::test]
async fn a_damaged_database_is_not_backed_up_over_a_whole_one() {
    let data = photos(12).await;
    let to = tempfile::tempdir().unwrap();
    success(&back_up(data.path(), to.path()));
    let path = data.path().join("pawprint.sqlite");
    let mut bytes = fs::read(&path).unwrap();
    let pages = bytes.len() / 4096;
    for page in 2..pages {
        bytes[page * 4096..page * 4096 + 64].fill(0xa5);
    }
    fs::write(&path, bytes).unwrap();
    let said = failure(&back_up(data.path(), to.path()));
    assert!(said.contains("`pawprint doctor` checks the database"), "{said}");
    assert_healthy(to.path()).await;
}

#[tokio::test]
async fn only_an_empty_directory_is_restored_into() {
    let data = photos(4).await;
    let folder = tempfile::tempdir().unwrap();
    let [to, mine, empty] = ["backup", "mine", "empty"].map(|name| folder.path().join(name));
    success(&back_up(data.path(), &to));
    fs::create_dir_all(&mine).unwrap();
    fs::write(mine.join("notes.txt"), "x").unwrap();
    for target in [&mine, &data.path().to_owned()] {
        let said = failure(&restore(&to, target));
        assert!(said.contains("is not empty; restore into an empty or new directory"), "{said}");
    }
    assert_eq!(fs::read_dir(&mine).unwrap().count(), 1);
    // The root of a file system that was just made.
    fs::create_dir_all(empty.join("lost+found")).unwrap();
    success(&restore(&to, &empty));
    let said = failure(&restore(&mine, &folder.path().join("x")));
    assert!(said.contains("mine holds no Pawprint backup"), "{said}");
    assert!(!folder.path().join("x").exists());
    // A server must not start there meanwhile, nor a restore where one runs.
    let running = folder.path().join("running");
    fs::create_dir(&running).unwrap();
    let lock = fs::File::create(running.join("lock")).unwrap();
    lock.lock().unwrap();
    assert!(failure(&restore(&to, &running)).contains("in use by another pawprint server"));
}

#[tokio::test]
async fn of_a_damaged_backup_everything_else_is_restored_and_the_rest_is_named() {
    let data = photos(12).await;
    let folder = tempfile::tempdir().unwrap();
    let [to, restored] = ["backup", "restored"].map(|name| folder.path().join(name));
    success(&back_up(data.path(), &to));
    let current = to.join("current");
    let blobs = images(&current);
    fs::write(&blobs[1], b"meow").unwrap();
    fs::remove_file(&blobs[2]).unwrap();
    let model = fs::read_dir(current.join("models")).unwrap().next().unwrap().unwrap().path();
    fs::write(&model, b"x").unwrap();
    let report = doctor::run(&to, false, &mut |_, _| {}).await.unwrap();
    assert!(!report.is_healthy() && report.is_backup);

    let output = restore(&to, &restored);
    let said = failure(&output);
    assert!(said.contains("2 files damaged in the backup, and not restored"), "{said}");
    assert!(said.contains("1 file missing in the backup"), "{said}");
    for path in [&blobs[1], &blobs[2], &model] {
        let name = path.strip_prefix(&current).unwrap();
        assert!(said.contains(name.to_str().unwrap()), "{said}");
        assert!(!restored.join(name).exists());
    }
    let server = Process::start(&restored);
    assert_eq!(server.get("/datasets/pets").await["images"], 12);
    // The model in the binary is written again.
    assert_eq!(server.get("/readyz").await["status"], "ready");
}

#[tokio::test]
async fn a_backup_whose_list_of_files_is_cut_short_is_restored_and_that_is_told() {
    let data = photos(4).await;
    let folder = tempfile::tempdir().unwrap();
    let [to, restored] = ["backup", "restored"].map(|name| folder.path().join(name));
    success(&back_up(data.path(), &to));
    let sums = to.join("current/SHA256SUMS");
    let text = fs::read_to_string(&sums).unwrap();
    let short: String = text.lines().take(2).map(|line| format!("{line}\n")).collect();
    fs::write(&sums, short).unwrap();
    let said = failure(&restore(&to, &restored));
    assert!(said.contains("1 file restored unchecked"), "{said}");
    assert_healthy(&restored).await;
}

#[tokio::test]
async fn of_a_backup_without_its_database_nothing_is_restored() {
    let data = photos(4).await;
    let folder = tempfile::tempdir().unwrap();
    let [to, restored] = ["backup", "restored"].map(|name| folder.path().join(name));
    success(&back_up(data.path(), &to));
    let database = to.join("current/pawprint.sqlite");
    let whole = fs::read(&database).unwrap();
    for damage in [Some(&whole[..whole.len() / 2]), Some(b"x"), None] {
        match damage {
            Some(bytes) => fs::write(&database, bytes).unwrap(),
            None => fs::remove_file(&database).unwrap(),
        }
        let said = failure(&restore(&to, &restored));
        assert!(said.contains("the database of the backup is damaged"), "{said}");
    }
    // Nothing but the lock: the next restore works.
    assert_eq!(fs::read_dir(&restored).unwrap().count(), 1);
    fs::write(&database, &whole).unwrap();
    execute(
        &to.join("current"),
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'from the future', TRUE, x'00', 0)",
    )
    .await;
    fs::remove_file(to.join("current/SHA256SUMS")).unwrap();
    let said = failure(&restore(&to, &restored));
    assert!(said.contains("made by a newer version of pawprint"), "{said}");
    fs::write(&database, &whole).unwrap();
    failure(&restore(&to, &restored));
    assert_healthy(&restored).await;
}

#[tokio::test]
async fn a_restore_that_broke_off_is_not_served_and_the_next_one_completes_it() {
    let data = photos(4).await;
    let folder = tempfile::tempdir().unwrap();
    let [to, restored] = ["backup", "restored"].map(|name| folder.path().join(name));
    success(&back_up(data.path(), &to));
    // Its database, cut short, one image that is whole, and one that is not.
    let blobs = images(&to.join("current"));
    for (number, blob) in blobs.iter().take(2).enumerate() {
        let half = restored.join(blob.strip_prefix(to.join("current")).unwrap());
        fs::create_dir_all(half.parent().unwrap()).unwrap();
        fs::write(half, if number == 0 { fs::read(blob).unwrap() } else { Vec::new() }).unwrap();
    }
    fs::write(restored.join("pawprint.sqlite.restoring"), b"SQLite").unwrap();
    let mut serve = Command::new(env!("CARGO_BIN_EXE_pawprint"));
    serve.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(&restored);
    let said = failure(&serve.output().unwrap());
    assert!(said.contains("did not complete; run `pawprint restore` again"), "{said}");
    success(&restore(&to, &restored));
    assert_healthy(&restored).await;
    assert_eq!(images(&restored).len(), 4);
}

#[tokio::test]
async fn a_data_directory_of_the_first_version_is_backed_up_as_it_is() {
    let data = photos(4).await;
    let folder = tempfile::tempdir().unwrap();
    let [to, restored] = ["backup", "restored"].map(|name| folder.path().join(name));
    for sql in [
        "ALTER TABLE datasets DROP COLUMN revision",
        "DROP TABLE evaluations",
        "DELETE FROM _sqlx_migrations WHERE version > 1",
    ] {
        execute(data.path(), sql).await;
    }
    success(&back_up(data.path(), &to));
    success(&restore(&to, &restored));
    for root in [data.path(), &to, &restored] {
        let report = doctor::run(root, false, &mut |_, _| {}).await.unwrap();
        assert!(report.is_healthy() && report.findings.len() == 1, "{report:?}");
    }
    let server = Process::start(&restored);
    assert_eq!(server.get("/datasets/pets").await["images"], 4);
    drop(server);
    assert_healthy(&restored).await;
}

#[tokio::test]
async fn wrong_usage_is_refused() {
    for arguments in [
        &["backup"][..],
        &["restore"],
        &["backup", "a", "b"],
        &["backup", "a", "--server", "http://x"],
        &["restore", "a", "--no-such-flag"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_pawprint")).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}
