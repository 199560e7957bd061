//! What a backup holds, and when there is none.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    assert_healthy, back_up,
    common::{
        data::{execute, images},
        process::{PATIENCE, Process},
    },
    failure, pawprint, photos, restore, success,
};

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
