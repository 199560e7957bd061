//! What is wrong in a data directory is found and named, and a repair loses nothing.
#![expect(clippy::unwrap_used, reason = "a test that can't go on may stop there")]
#![cfg(target_os = "linux")]

mod common;

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use common::{
    Server, photo,
    process::{Process, photos},
    tar, vgg16_weights,
};
use pawprint::{
    domain::ModelId,
    storage::{models, upkeep},
    weights::{
        checkpoint::{Checkpoint, Checkpoints, Position},
        model_file,
        tensors::Tensors,
    },
};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::SqliteConnection;

/// A data directory in which everything is right: photos, a job in the queue that has a state to
/// go on from, and a model of its own beside the one in the binary. No server runs.
struct Healthy {
    folder: tempfile::TempDir,
    job: String,
    model: ModelId,
}

impl Healthy {
    async fn new() -> Self {
        let server = Server::start().await;
        server.pets().await;
        server.post("/datasets/pets/archive", tar(&photos(4))).await.ok();
        let weights = vgg16_weights("torchvision_zip.pth");
        let request = axum::http::Request::put("/weights/vgg16").body(weights.into()).unwrap();
        server.send(request).await.ok();
        let job = json!({ "recipe": "scratch_cnn", "dataset": "pets", "name": "waiting" });
        let job = server.json("POST", "/jobs", job).await.ok()["id"].as_str().unwrap().to_owned();
        let model = add_model(&server).await;
        let Server { app, router, folder } = server;
        drop(router);
        app.storage.close().await;
        drop(app);
        let healthy = Self { folder, job, model };
        let checkpoints = Checkpoints::open(&healthy.job_folder().join("checkpoints")).unwrap();
        for epoch in [1, 2] {
            checkpoints.save(&checkpoint(epoch)).unwrap();
        }
        healthy
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    fn job_folder(&self) -> PathBuf {
        self.root().join("jobs").join(&self.job)
    }

    fn model_file(&self) -> PathBuf {
        self.root().join(format!("models/{}.safetensors", self.model))
    }

    /// The files of images, in the order of their hashes.
    fn images(&self) -> Vec<PathBuf> {
        let files =
            walkdir::WalkDir::new(self.root().join("blobs")).min_depth(2).sort_by_file_name();
        files.into_iter().map(|entry| entry.unwrap().into_path()).collect()
    }

    async fn execute(&self, sql: &'static str) {
        let mut connection = self.database().await;
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        upkeep::close(connection).await.unwrap();
    }

    async fn database(&self) -> SqliteConnection {
        upkeep::open(&self.root().join("pawprint.sqlite")).await.unwrap()
    }

    /// What is found, by its kind; makes sure that the exit code says whether something is wrong.
    #[track_caller]
    fn findings(&self) -> HashMap<String, Value> {
        findings(&doctor(self.root(), &["--json"]))
    }

    #[track_caller]
    fn repair(&self) -> HashMap<String, Value> {
        findings(&doctor(self.root(), &["--json", "--repair"]))
    }
}

/// The model in the binary once more, under another name.
async fn add_model(server: &Server) -> ModelId {
    let embedded = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/default.safetensors");
    let (mut card, weights) = model_file::load(Path::new(embedded)).unwrap();
    (card.id, card.name) = (ModelId::new(), "mine".parse().unwrap());
    model_file::save(&server.app.data_dir.model(card.id), &card, &weights).unwrap();
    let mut transaction = server.app.storage.write().await.unwrap();
    models::insert(&mut transaction, &card, 1).await.unwrap();
    models::pin(&mut transaction, Some(card.id)).await.unwrap();
    transaction.commit().await.unwrap();
    card.id
}

fn checkpoint(epoch: u32) -> Checkpoint {
    let tensors = || Tensors::from([("w".to_owned(), tch::Tensor::from_slice(&[1.0_f32]))]);
    let mut position = Position::default();
    position.epoch = epoch;
    Checkpoint { position, weights: tensors(), optimizer: tensors(), best_weights: Tensors::new() }
}

fn doctor(root: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pawprint"));
    command.arg("doctor").args(arguments).arg("--data-dir").arg(root).output().unwrap()
}

#[track_caller]
fn findings(output: &Output) -> HashMap<String, Value> {
    assert!(output.stderr.is_empty(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let wrong = findings.iter().any(|it| it["severity"] != "note" && it["repaired"] == false);
    assert_eq!(output.status.code(), Some(i32::from(wrong)), "{report}");
    findings.iter().map(|it| (it["code"].as_str().unwrap().to_owned(), it.clone())).collect()
}

#[track_caller]
fn codes(findings: &HashMap<String, Value>) -> Vec<&str> {
    findings.keys().map(String::as_str).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Makes sure that all files of `before` are still there, be it under `damaged/`.
#[track_caller]
fn assert_nothing_lost(root: &Path, before: &[Vec<u8>]) {
    let after: BTreeSet<_> = contents(root).into_iter().collect();
    for file in before {
        assert!(after.contains(file), "a file of {} bytes is gone", file.len());
    }
}

/// The content of every file but the database.
fn contents(root: &Path) -> Vec<Vec<u8>> {
    let files = walkdir::WalkDir::new(root).into_iter().flatten();
    files
        .filter(|entry| entry.file_type().is_file())
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with("pawprint.sqlite"))
        .map(|entry| fs::read(entry.path()).unwrap())
        .collect()
}

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
async fn images_that_are_missing_or_damaged_are_named_and_sending_them_again_repairs_them() {
    let healthy = Healthy::new().await;
    let images = healthy.images();
    let whole: Vec<_> = images.iter().map(|path| fs::read(path).unwrap()).collect();
    fs::remove_file(&images[0]).unwrap();
    fs::write(&images[1], b"meow").unwrap();
    let before = contents(healthy.root());
    let found = healthy.findings();
    assert_eq!(codes(&found), ["image_damaged", "image_missing"]);
    let detail = found["image_missing"]["detail"].as_str().unwrap();
    assert!(detail.contains(".png` of dataset pets"), "{detail}");
    assert!(detail.contains(images[0].file_name().unwrap().to_str().unwrap()), "{detail}");
    assert!(images[1].exists(), "without --repair nothing is moved");

    let found = healthy.repair();
    assert_eq!(codes(&found), ["image_damaged", "image_missing"]);
    assert!(!images[1].exists());
    assert_nothing_lost(healthy.root(), &before);
    assert_eq!(codes(&healthy.findings()), ["image_missing", "set_aside"]);

    let server = Process::start(healthy.root());
    let files = [("train/cat/a.png", whole[0].clone()), ("train/cat/b.png", whole[1].clone())];
    let request = server.request(Method::POST, "/datasets/pets/archive").body(tar(&files));
    assert_eq!(request.send().await.unwrap().status(), 200);
    drop(server);
    assert_eq!(codes(&healthy.findings()), ["set_aside"]);
}

#[tokio::test]
async fn an_image_of_a_class_that_there_is_not_is_named() {
    let healthy = Healthy::new().await;
    healthy.execute("UPDATE images SET label = 7 WHERE id = (SELECT MIN(id) FROM images)").await;
    let found = healthy.findings();
    assert_eq!(codes(&found), ["image_label"]);
    let detail = found["image_label"]["detail"].as_str().unwrap();
    assert!(detail.ends_with("has no class 7"), "{detail}");
}

#[tokio::test]
async fn a_row_that_can_not_be_read_does_not_hide_the_others() {
    let healthy = Healthy::new().await;
    healthy.execute("UPDATE images SET sha256 = 'x' WHERE id = (SELECT MIN(id) FROM images)").await;
    healthy.execute("UPDATE jobs SET recipe = 'x'").await;
    fs::remove_file(healthy.model_file()).unwrap();
    let found = healthy.findings();
    assert_eq!(codes(&found), ["model_missing", "pinned_model", "rows_unreadable"]);
}

#[tokio::test]
async fn a_job_that_can_not_go_on_is_named_with_what_it_lacks() {
    for (damage, code, says) in [
        (["spec.json", "{"], "job_spec", "its spec.json can't be read"),
        (["manifest.jsonl", "{"], "job_manifest", "its manifest.jsonl can't be read"),
        (["manifest.jsonl", ""], "job_manifest", "is not the dataset version"),
        (["vgg16.safetensors", "x"], "job_weights", "the VGG16 weights it began with"),
    ] {
        let healthy = Healthy::new().await;
        fs::write(healthy.job_folder().join(damage[0]), damage[1]).unwrap();
        let before = contents(healthy.root());
        for found in [healthy.findings(), healthy.repair()] {
            assert_eq!(codes(&found), [code]);
            let detail = found[code]["detail"].as_str().unwrap();
            assert!(detail.starts_with("job waiting: ") && detail.contains(says), "{detail}");
        }
        assert_nothing_lost(healthy.root(), &before);
    }
    let healthy = Healthy::new().await;
    fs::remove_dir_all(healthy.job_folder()).unwrap();
    assert_eq!(codes(&healthy.findings()), ["job_folder_missing"]);
}

#[tokio::test]
async fn images_that_only_a_job_has_are_no_litter_and_are_missed_where_they_are_gone() {
    let healthy = Healthy::new().await;
    healthy.execute("DELETE FROM images WHERE id = (SELECT MIN(id) FROM images)").await;
    assert_eq!(codes(&healthy.repair()), Vec::<&str>::new());
    assert_eq!(healthy.images().len(), 16);
    healthy.execute("DELETE FROM images").await;
    fs::remove_file(&healthy.images()[2]).unwrap();
    let found = healthy.findings();
    assert_eq!(codes(&found), ["job_images"]);
    let detail = found["job_images"]["detail"].as_str().unwrap();
    assert!(detail.starts_with("job waiting: 1 of its images"), "{detail}");
}

#[tokio::test]
async fn a_damaged_checkpoint_is_set_aside_and_the_one_before_it_used() {
    let healthy = Healthy::new().await;
    let folder = healthy.job_folder().join("checkpoints");
    let newest = folder.join("00002-000000000.safetensors");
    let whole = fs::read(&newest).unwrap();
    fs::write(&newest, &whole[..whole.len() / 2]).unwrap();
    let before = contents(healthy.root());
    let found = healthy.findings();
    assert_eq!(codes(&found), ["checkpoint_damaged"]);
    let detail = found["checkpoint_damaged"]["detail"].as_str().unwrap();
    assert!(detail.contains("the one before it is used"), "{detail}");
    assert_eq!(healthy.repair()["checkpoint_damaged"]["repaired"], true);
    assert_nothing_lost(healthy.root(), &before);
    assert_eq!(codes(&healthy.findings()), ["set_aside"]);
    let loaded = Checkpoints::open(&folder).unwrap().load(|_, error| panic!("{error}")).unwrap();
    assert_eq!(loaded.unwrap().position.epoch, 1);
}

#[tokio::test]
async fn models_that_are_missing_damaged_or_drifted_are_told_apart() {
    let healthy = Healthy::new().await;
    let path = healthy.model_file();
    let whole = fs::read(&path).unwrap();
    let before = contents(healthy.root());
    // Its numbers are others: only what it says of the canary images shows it.
    let mut drifted = whole.clone();
    let length = drifted.len();
    drifted[length - 400_000..].fill(0x11);
    fs::write(&path, drifted).unwrap();
    assert_eq!(codes(&healthy.repair()), ["model_unusable", "pinned_model"]);
    assert!(path.exists(), "it may be the program that has changed");

    // The file of another model.
    let models = fs::read_dir(healthy.root().join("models")).unwrap();
    let default = models.map(|it| it.unwrap().path()).find(|it| *it != path).unwrap();
    fs::copy(default, &path).unwrap();
    let found = healthy.findings();
    assert!(
        found["model_unusable"]["detail"].as_str().unwrap().contains("is that of model default")
    );

    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(codes(&healthy.repair()), ["model_damaged", "pinned_model"]);
    assert!(!path.exists());
    let found = healthy.repair();
    assert_eq!(codes(&found), ["model_missing", "pinned_model", "set_aside"]);
    let advice = found["model_missing"]["advice"].as_str().unwrap();
    assert!(advice.contains("copy the file out of a backup"), "{advice}");
    // Its row stays: with its file it answers again.
    fs::write(&path, whole).unwrap();
    assert_eq!(codes(&healthy.findings()), ["set_aside"]);
    assert_nothing_lost(healthy.root(), &before);
    let server = Process::start(healthy.root());
    assert_eq!(server.get("/models/current").await["name"], "mine");
}

#[tokio::test]
async fn damaged_weights_are_set_aside_and_can_be_supplied_again() {
    let healthy = Healthy::new().await;
    let path = healthy.root().join("weights/vgg16.safetensors");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(codes(&healthy.findings()), ["weights_damaged"]);
    assert_eq!(healthy.repair()["weights_damaged"]["repaired"], true);
    assert_eq!(
        fs::read(healthy.root().join("damaged/weights/vgg16.safetensors")).unwrap().len(),
        whole.len() - 1
    );
    assert!(!path.exists());
}

#[tokio::test]
async fn decoded_images_that_are_others_are_found_and_discarded() {
    let healthy = Healthy::new().await;
    let digest: [u8; 32] = hex::decode(healthy.images()[0].file_name().unwrap().to_str().unwrap())
        .unwrap()
        .try_into()
        .unwrap();
    let preprocessing = pawprint::domain::model::Preprocessing::UNIT_180;
    let name = pawprint::training::pixels::layout(&preprocessing).name;
    let [index, records] =
        ["index", "records"].map(|kind| healthy.root().join(format!("cache/{name}.{kind}")));
    let bytes = fs::read(&healthy.images()[0]).unwrap();
    let limits = pawprint::vision::Limits::default();
    let right = pawprint::vision::prepare(&bytes, &limits, &preprocessing).unwrap();
    let wrong: Vec<u8> = right.iter().map(|value| value ^ 0x40).collect();
    fs::write(&index, digest).unwrap();
    fs::write(&records, right).unwrap();
    assert_eq!(codes(&healthy.findings()), Vec::<&str>::new());
    for (hashes, pixels, says) in [
        (digest.to_vec(), wrong.clone(), "is another"),
        (digest.to_vec(), wrong[1..].to_vec(), "fewer records than its index names"),
        (digest[1..].to_vec(), wrong, "half an entry"),
    ] {
        fs::write(&index, hashes).unwrap();
        fs::write(&records, pixels).unwrap();
        let found = healthy.findings();
        assert_eq!(codes(&found), ["cache_damaged"]);
        assert!(found["cache_damaged"]["detail"].as_str().unwrap().contains(says), "{found:?}");
        assert_eq!(healthy.repair()["cache_damaged"]["repaired"], true);
        assert!(!index.exists() && !records.exists());
    }
}

#[tokio::test]
async fn litter_is_counted_and_removed_only_where_nothing_is_in_doubt() {
    let healthy = Healthy::new().await;
    let old = std::time::SystemTime::now() - Duration::from_secs(7_200);
    let digest = pawprint::domain::dataset::Digest::of(b"meow").to_string();
    let blob = healthy.root().join(format!("blobs/{}/{digest}", &digest[..2]));
    let model = healthy.root().join(format!("models/{}.safetensors", ModelId::new()));
    let young = healthy.root().join(format!("models/{}.safetensors", ModelId::new()));
    let upload = healthy.root().join("tmp/upload");
    fs::create_dir_all(blob.parent().unwrap()).unwrap();
    for path in [&blob, &model, &young, &upload] {
        fs::write(path, b"meow").unwrap();
    }
    let job = healthy.root().join(format!("jobs/{}", pawprint::domain::JobId::new()));
    fs::create_dir(&job).unwrap();
    for path in [&model, &job] {
        fs::File::open(path).unwrap().set_modified(old).unwrap();
    }
    // The model that a job is about to make, whose outcome was not saved yet.
    let spec: Value =
        serde_json::from_slice(&fs::read(healthy.job_folder().join("spec.json")).unwrap()).unwrap();
    let made =
        healthy.root().join(format!("models/{}.safetensors", spec["model_id"].as_str().unwrap()));
    fs::write(&made, b"x").unwrap();
    fs::File::open(&made).unwrap().set_modified(old).unwrap();

    assert_eq!(codes(&healthy.findings()), ["litter"]);
    let manifest = healthy.job_folder().join("manifest.jsonl");
    let whole = fs::read(&manifest).unwrap();
    fs::write(&manifest, b"{").unwrap();
    healthy.repair();
    assert!(blob.exists() && model.exists() && job.exists());
    fs::write(&manifest, whole).unwrap();

    assert_eq!(codes(&healthy.repair()), ["litter"]);
    assert!(!blob.exists() && !model.exists() && !job.exists() && !upload.exists());
    assert!(young.exists() && made.exists());
    assert_eq!(codes(&healthy.findings()), Vec::<&str>::new());
}

#[tokio::test]
async fn an_index_that_lacks_rows_is_rebuilt_and_no_row_is_lost() {
    let healthy = Healthy::new().await;
    // Rows are deleted while the table's index is hidden: the index keeps entries of rows that are
    // gone, as after a write that reached the disk by half.
    healthy
        .execute(
            "PRAGMA writable_schema = ON;
             CREATE TABLE aside AS SELECT sql FROM sqlite_schema WHERE name = 'images_by_content';
             UPDATE sqlite_schema SET type = 'table', name = 'hidden', tbl_name = 'hidden',
                 sql = 'CREATE TABLE hidden (sha256, id, PRIMARY KEY (sha256, id)) WITHOUT ROWID'
             WHERE name = 'images_by_content';
             PRAGMA writable_schema = RESET;",
        )
        .await;
    healthy.execute("DELETE FROM images WHERE id = (SELECT MIN(id) FROM images)").await;
    healthy
        .execute(
            "PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET type = 'index', name = 'images_by_content',
                 tbl_name = 'images', sql = (SELECT sql FROM aside)
             WHERE name = 'hidden';
             PRAGMA writable_schema = RESET;
             DROP TABLE aside;",
        )
        .await;
    // Without the index, some rows can't be read.
    let found = healthy.findings();
    assert_eq!(codes(&found), ["index_damaged", "rows_unreadable"]);
    let advice = found["rows_unreadable"]["advice"].as_str().unwrap();
    assert!(advice.contains("rebuild the index with --repair"), "{advice}");
    let found = healthy.repair();
    assert_eq!(codes(&found), ["index_damaged"]);
    assert_eq!(found["index_damaged"]["repaired"], true);
    assert_eq!(codes(&healthy.findings()), Vec::<&str>::new());
    let mut connection = healthy.database().await;
    assert_eq!(upkeep::totals(&mut connection).await.unwrap().images, 15);
}

#[tokio::test]
async fn a_database_that_is_damaged_or_gone_is_told_with_the_way_out() {
    let healthy = Healthy::new().await;
    let path = healthy.root().join("pawprint.sqlite");
    let whole = fs::read(&path).unwrap();
    let mut connection = healthy.database().await;
    let root = "SELECT rootpage FROM sqlite_schema WHERE name = 'images'";
    let page: i64 = sqlx::query_scalar(root).fetch_one(&mut connection).await.unwrap();
    upkeep::close(connection).await.unwrap();
    let mut pages = whole.clone();
    let begin = (usize::try_from(page).unwrap() - 1) * 4096;
    pages[begin..begin + 64].fill(0xa5);
    for (damage, code) in [
        (Some(&pages[..]), "database_damaged"),
        (Some(b"not a database, but long enough to be looked at as one"), "database_unreadable"),
        (Some(b""), "database_unreadable"),
        (None, "database_missing"),
    ] {
        match damage {
            Some(bytes) => fs::write(&path, bytes).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let before = fs::read(&path).ok();
        for found in [healthy.findings(), healthy.repair()] {
            assert!(found.contains_key(code), "{found:?}");
            let advice = found[code]["advice"].as_str().unwrap();
            assert!(advice.contains("`pawprint restore`"), "{advice}");
            assert!(!found.contains_key("litter"), "{found:?}");
        }
        assert!(fs::read(&path).ok() == before);
        assert_eq!(healthy.images().len(), 16);
    }
}

#[tokio::test]
async fn references_to_rows_that_are_gone_are_cleared_where_they_may_be() {
    let healthy = Healthy::new().await;
    healthy
        .execute(
            "PRAGMA foreign_keys = OFF;
             DELETE FROM models WHERE name = 'mine';
             DELETE FROM datasets;
             INSERT INTO epochs VALUES ('x', 1, 0, 0, 0, 0, 0, 0, 0);",
        )
        .await;
    let output = doctor(healthy.root(), &["--json", "--repair"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let repaired: BTreeSet<_> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["code"] == "reference_broken")
        .map(|it| {
            (it["detail"].as_str().unwrap().split(' ').nth(5).unwrap(), it["repaired"] == true)
        })
        .collect();
    let expected = [("epochs", false), ("images", false), ("jobs", true), ("serving", true)];
    assert_eq!(repaired, expected.into(), "{report}");
    let mut connection = healthy.database().await;
    assert_eq!(upkeep::totals(&mut connection).await.unwrap().images, 16);
    assert_eq!(models::pinned(&mut connection).await.unwrap(), None);
}

#[tokio::test]
async fn a_database_of_another_version_is_told_from_a_damaged_one() {
    let healthy = Healthy::new().await;
    healthy.execute("DELETE FROM _sqlx_migrations WHERE version = 3").await;
    let found = healthy.findings();
    assert_eq!(codes(&found), ["schema_older"]);
    assert_eq!(found["schema_older"]["severity"], "note");
    healthy.execute("UPDATE _sqlx_migrations SET success = FALSE WHERE version = 2").await;
    assert_eq!(codes(&healthy.findings()), ["schema_broken"]);
    healthy
        .execute(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, 'from the future', TRUE, x'00', 0)",
        )
        .await;
    assert_eq!(codes(&healthy.findings()), ["schema_newer"]);
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
            assert!(codes(&found).into_iter().all(|code| code == "litter"), "{found:?}");
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
