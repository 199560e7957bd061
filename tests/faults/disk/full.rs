//! A full disk.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rand::{Rng, RngExt as _};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::{
    common::{
        disk::Disk,
        encode, photo,
        process::{PATIENCE, Process},
        tar,
    },
    kills::audit,
    sandbox::{Answer, Client, Sandbox},
    scale::{Trial, rounds},
};

pub(super) const SIZE: u64 = 80 << 20;

/// Fills the disk of `folder`, except for some bytes, with a file of this name, which is returned.
pub(super) fn fill(folder: &Path, name: &str, but: u64) -> PathBuf {
    let path = folder.join(name);
    let mut file = File::create(&path).unwrap();
    let block = vec![7; 1 << 16];
    for size in [block.len(), 4096, 1] {
        while file.write_all(&block[..size]).is_ok() {}
    }
    let filled = file.metadata().unwrap().len();
    file.set_len(filled.saturating_sub(but)).unwrap();
    path
}

/// An image of 60 kB, different for each number.
pub(super) fn large_photo(number: u32) -> Vec<u8> {
    let noise =
        |x: u32, y: u32| (x * 7_919 + y * 104_729 + number * 31).wrapping_mul(2_654_435_761);
    let image = image::RgbImage::from_fn(150, 130, |x, y| {
        let [red, green, blue, _] = noise(x, y).to_be_bytes();
        image::Rgb([red, green, blue])
    });
    encode(image, image::ImageFormat::Png)
}

/// The images that the dataset must contain.
struct Kept {
    photos: BTreeSet<String>,
    sent: u32,
}

impl Kept {
    /// Uploads one more image.
    async fn send(&mut self, client: &Client, in_archive: bool) -> Answer {
        let photo = large_photo(self.sent);
        let digest = hex::encode(Sha256::digest(&photo));
        let name = format!("train/cat/{}.png", self.sent);
        self.sent += 1;
        let answer = if in_archive {
            client.post("/datasets/full/archive", tar(&[(&name, photo)])).await
        } else {
            let form = crate::common::form(&[(&name, photo)]);
            let request = client.request(Method::POST, "/datasets/full/images");
            let request = request.header("content-type", "multipart/form-data; boundary=a-form");
            Client::send(request.body(form)).await
        };
        let (status, body) = answer.unwrap();
        if status == 200 {
            assert_eq!(body["added"], 1, "{body}");
            self.photos.insert(digest);
        }
        (status, body)
    }

    /// Uploads images until the disk is full.
    async fn send_until_full(&mut self, client: &Client, draws: &mut impl Rng) {
        for _ in 0..100 {
            let (status, body) = self.send(client, draws.random()).await;
            if status != 200 {
                return assert_full((status, body));
            }
        }
        panic!("the disk is never full");
    }

    /// Asserts that exactly the acknowledged images are there.
    async fn audit(&self, client: &Client) {
        let images = client.all("/datasets/full/images").await;
        let there: BTreeSet<_> =
            images.iter().map(|image| image["sha256"].as_str().unwrap().to_owned()).collect();
        assert_eq!(there, self.photos);
        for image in images {
            let bytes = client.bytes(&format!("/images/{}", image["id"].as_str().unwrap())).await;
            assert_eq!(image["sha256"], hex::encode(Sha256::digest(bytes)));
        }
    }

    /// Asserts that reads work, and that writes work or fail with `disk_full`.
    async fn assert_the_rest_works(&mut self, client: &Client) {
        let images = client.all("/datasets/full/images").await;
        let id = images[0]["id"].as_str().unwrap();
        client.bytes(&format!("/images/{id}/thumbnail")).await;
        for path in ["/healthz", "/system", "/jobs", "/models/current", "/datasets/pets"] {
            client.get(path).await;
        }
        let (status, body) = client.predict("", photo(1)).await.unwrap();
        assert_eq!(status, 200, "{body}");
        let weights = client.request(Method::PUT, "/weights/vgg16").body(vec![0; 1 << 20]);
        assert_full(Client::send(weights).await.unwrap());
        let pin = json!({ "model": "default" });
        let job = json!({ "recipe": "scratch_cnn", "dataset": "pets" });
        for (method, path, body) in [
            (Method::POST, "/datasets", Some(json!({ "name": "another" }))),
            (Method::PUT, "/models/current", Some(pin)),
            (Method::POST, "/jobs", Some(job)),
            (Method::DELETE, &format!("/datasets/full/images/{id}"), None),
        ] {
            let answer = client.ask(method.clone(), path, body).await.unwrap();
            match (method.as_str(), answer.0) {
                ("DELETE", 204) => {
                    assert!(self.photos.remove(images[0]["sha256"].as_str().unwrap()));
                }
                ("POST", 202) => {
                    let path = format!("/jobs/{}/cancel", answer.1["id"].as_str().unwrap());
                    client.ask(Method::POST, &path, None).await.unwrap();
                }
                ("PUT", 200) | ("POST", 201 | 409) => {}
                _ => assert_full(answer),
            }
        }
    }
}

#[track_caller]
fn assert_full((status, body): Answer) {
    assert_eq!((status, &body["code"]), (507, &json!("disk_full")), "{body}");
}

#[tokio::test]
async fn on_a_full_disk_nothing_is_lost_and_with_room_all_works_again() {
    let trial = Trial::new("full disk");
    let sandbox = Sandbox::new();
    let data = sandbox.data();
    let _disk = match Disk::mount(&data, SIZE) {
        Ok(disk) => disk,
        Err(why) => return trial.skip(why),
    };
    let mut server = sandbox.start();
    server.pets(4).await;
    server.post("/datasets", json!({ "name": "full", "classes": ["cat", "dog"] })).await;
    let mut kept = Kept { photos: BTreeSet::new(), sent: 0 };
    assert_eq!(kept.send(&Client::of(&server), false).await.0, 200);
    let (rounds, mut started) = (rounds(4, 40), 0);
    for round in 0..rounds {
        let mut draws = trial.draws(round);
        let client = Client::of(&server);
        let filler = fill(&data, "filler", draws.random_range(0..600_000));
        kept.send_until_full(&client, &mut draws).await;
        let rest = fill(&data, "rest", 0);
        kept.assert_the_rest_works(&client).await;
        if round % 2 == 1 {
            server.end(if draws.random() { Signal::KILL } else { Signal::TERM });
            started += u32::from(starts_or_says_why_not(&sandbox).await);
            fs::remove_file(rest).unwrap();
            fs::remove_file(filler).unwrap();
            server = sandbox.start();
        } else {
            fs::remove_file(rest).unwrap();
            fs::remove_file(filler).unwrap();
        }
        let client = Client::of(&server);
        kept.audit(&client).await;
        audit::database(&data).await;
        assert_eq!(kept.send(&client, draws.random()).await.0, 200);
    }
    sandbox.assert_no_panic();
    trial.ends(format_args!(
        "disk filled {rounds} times, {} images sent, {} acknowledged and kept; {started} of {} servers started on the full disk, the others said why not",
        kept.sent,
        kept.photos.len(),
        rounds / 2,
    ));
}

/// Starts a server on a full disk: it works, or says that the disk is full.
async fn starts_or_says_why_not(sandbox: &Sandbox) -> bool {
    match Process::try_spawn(&mut sandbox.program(), &sandbox.data()) {
        Ok(mut server) => {
            let (status, body) = Client::of(&server).predict("", photo(1)).await.unwrap();
            assert_eq!(status, 200, "{body}");
            server.end(Signal::KILL);
            true
        }
        Err(ended) => {
            let said = sandbox.tail();
            assert!(ended.code() == Some(1), "{ended}: {said}");
            assert!(said.lines().last().unwrap().contains("full"), "{said}");
            false
        }
    }
}

#[tokio::test]
async fn a_job_on_a_full_disk_says_so_and_goes_on_when_there_is_room() {
    let trial = Trial::new("full disk under a job");
    let sandbox = Sandbox::new();
    let _disk = match Disk::mount(&sandbox.data(), SIZE) {
        Ok(disk) => disk,
        Err(why) => return trial.skip(why),
    };
    let server = sandbox.start();
    let client = Client::of(&server);
    server.pets(4).await;
    let rounds = rounds(1, 10);
    let mut failed = 0;
    for round in 0..rounds {
        let mut draws = trial.draws(round);
        let id = server.job(json!({ "epochs": 10_000, "batch_size": 8 })).await;
        server.epoch(&id, 2).await;
        let path = format!("/jobs/{id}");
        tokio::time::sleep(Duration::from_millis(draws.random_range(0..500))).await;
        let filler = fill(&sandbox.data(), "filler", 0);
        // The job fails, or its failure can't be saved yet.
        let begun = Instant::now();
        while client.get(&path).await["finished_at"].is_null()
            && client.ask(Method::GET, "/readyz", None).await.unwrap().0 == 200
        {
            assert!(begun.elapsed() < PATIENCE, "nothing reports the full disk");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        fs::remove_file(filler).unwrap();
        let last = server.epochs(&id).await.len() as u64;
        let goes_on = async {
            loop {
                let job = client.get(&path).await;
                if job["status"] == "failed" {
                    assert_eq!(job["error"]["code"], "disk_full", "{job}");
                    failed += 1;
                    let resumed = client.ask(Method::POST, &format!("{path}/resume"), None).await;
                    assert_eq!(resumed.unwrap().0, 202);
                }
                if server.epochs(&id).await.len() as u64 > last + 1 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, goes_on).await.expect("the job does not go on");
        assert_eq!(client.ask(Method::POST, &format!("{path}/stop"), None).await.unwrap().0, 202);
        let job = server.ended(&id).await;
        assert_eq!(job["status"], "succeeded", "{job}");
        let epochs = server.epochs(&id).await;
        assert_eq!(epochs, Vec::from_iter(1..=epochs.len() as u64));
        // The check of the database is cached for five seconds.
        while client.ask(Method::GET, "/readyz", None).await.unwrap().0 != 200 {
            assert!(begun.elapsed() < PATIENCE, "the server is not ready again");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        client.ask(Method::DELETE, &path, None).await.unwrap();
    }
    sandbox.assert_no_panic();
    trial.ends(format_args!(
        "{rounds} jobs, of which {failed} failed with disk_full and were resumed"
    ));
}
