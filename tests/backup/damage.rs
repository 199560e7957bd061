//! Of what is damaged, the backup before has what it had.

use std::{
    fs,
    path::{Path, PathBuf},
};

use pawprint::maintenance::backup::{self, Report};

use super::{
    assert_healthy, back_up,
    common::{
        Server,
        data::{close, damage_checkpoint, execute, images, waiting_job},
        process::photos as striped,
        tar,
    },
    failure, photos, restore, success,
};

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

/// A data directory with a job in the queue, and the job's folder below it.
async fn waiting() -> (tempfile::TempDir, PathBuf) {
    let server = Server::start().await;
    server.pets().await;
    server.post("/datasets/pets/archive", tar(&striped(4))).await.ok();
    let job = waiting_job(&server).await;
    let job = job.strip_prefix(server.folder.path()).unwrap().to_owned();
    (close(server).await, job)
}

async fn report(data_dir: &Path, to: &Path) -> Report {
    backup::run(data_dir, to, &mut |_, _| {}).await.unwrap()
}

#[tokio::test]
async fn what_a_job_needs_to_go_on_is_kept_be_it_damaged_since() {
    let (data, job) = waiting().await;
    let to = tempfile::tempdir().unwrap();
    let (from, current) = (data.path().join(&job), to.path().join("current").join(&job));
    let checkpoints = || -> Vec<_> {
        let entries = fs::read_dir(current.join("checkpoints")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    // An image that only the job has any more.
    execute(data.path(), "DELETE FROM images WHERE id = (SELECT MIN(id) FROM images)").await;
    report(data.path(), to.path()).await;
    assert_eq!(images(&to.path().join("current")).len(), 16);
    assert_eq!(checkpoints(), ["00002-000000000.safetensors"]);

    damage_checkpoint(&from, 2);
    assert!(report(data.path(), to.path()).await.kept.is_empty());
    assert_eq!(checkpoints(), ["00001-000000000.safetensors"]);

    damage_checkpoint(&from, 1);
    fs::write(from.join("spec.json"), "{").unwrap();
    fs::remove_file(from.join("manifest.jsonl")).unwrap();
    let kept = report(data.path(), to.path()).await;
    assert!(kept.damaged.is_empty() && kept.missing.is_empty(), "{kept:?}");
    let names = ["checkpoints/00001-000000000.safetensors", "manifest.jsonl", "spec.json"];
    let expected = names.map(|name| job.join(name).to_str().unwrap().to_owned());
    assert_eq!(kept.kept, expected.into());
    assert_eq!(images(&to.path().join("current")).len(), 16);
    assert_healthy(to.path()).await;

    let other = tempfile::tempdir().unwrap();
    let lost = report(data.path(), other.path()).await;
    assert_eq!((lost.damaged.len(), lost.missing.len()), (2, 1), "{lost:?}");
}

#[tokio::test]
async fn a_job_that_succeeds_meanwhile_is_backed_up_as_it_is_then() {
    let (data, job) = waiting().await;
    let to = tempfile::tempdir().unwrap();
    let mut attempts = 0;
    let mut succeed = |done, _| {
        attempts += u32::from(done == 0);
        if attempts == 1 && done == 0 {
            let sql = "UPDATE jobs SET status = 'succeeded'";
            let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
            std::thread::scope(|scope| {
                let update = || runtime().unwrap().block_on(execute(data.path(), sql));
                scope.spawn(update).join().unwrap();
            });
            fs::remove_dir_all(data.path().join(&job).join("checkpoints")).unwrap();
        }
    };
    backup::run(data.path(), to.path(), &mut succeed).await.unwrap();
    assert_eq!(attempts, 2);
    let current = to.path().join("current");
    assert!(current.join(&job).join("spec.json").exists());
    assert!(!current.join(&job).join("checkpoints").exists());
    assert_healthy(to.path()).await;
}
