//! Housekeeping removes what nothing refers to, and never what a job has just taken a snapshot of.

use std::{sync::Arc, time::Duration};

use crate::common::{IMAGES, Server, photo};
use pawprint::{
    domain::{JobId, dataset::Digest},
    housekeeping::Housekeeper,
    training::spec,
};
use serde_json::json;
use tokio::time::timeout;

fn housekeeper(server: &Server) -> Housekeeper {
    Housekeeper {
        data_dir: Arc::clone(&server.app.data_dir),
        storage: server.app.storage.clone(),
        datasets: server.app.datasets.clone(),
        journal: server.app.journal.clone(),
        scheduler: server.app.scheduler.clone(),
        shutdown: server.app.shutdown.clone(),
    }
}

/// Uploads four new photos, enough to train on.
async fn upload(server: &Server, first: u32) {
    for (number, place) in (first..).zip([
        "train&label=cat",
        "train&label=dog",
        "validation&label=cat",
        "validation&label=dog",
    ]) {
        let path = format!("{IMAGES}?split={place}");
        server.upload(&path, &[("x.jpg", photo(number))]).await.ok();
    }
}

async fn submit(server: &Server) -> JobId {
    let job = json!({ "recipe": "scratch_cnn", "dataset": "pets" });
    let job = server.json("POST", "/jobs", job).await.ok();
    job["id"].as_str().unwrap().parse().unwrap()
}

async fn delete_images(server: &Server) {
    for image in server.listed("").await {
        let path = format!("{IMAGES}/{}", image["id"].as_str().unwrap());
        assert_eq!(server.delete(&path).await.status, 204);
    }
}

/// The images of a job's manifest.
fn snapshot(server: &Server, job: JobId) -> Vec<Digest> {
    let samples = spec::read_manifest(&server.app.data_dir.job(job)).unwrap();
    samples.into_iter().map(|sample| sample.sha256).collect()
}

fn assert_kept(server: &Server, job: JobId) {
    let images = snapshot(server, job);
    assert_eq!(images.len(), 4);
    for image in images {
        assert!(server.app.datasets.blobs().read(&image).is_ok(), "{image} of {job} is gone");
    }
}

#[tokio::test]
async fn a_job_that_is_submitted_during_a_sweep_waits_for_it_and_keeps_its_images() {
    let server = Server::start().await;
    server.pets().await;
    upload(&server, 0).await;
    // A sweep has looked at the manifests of jobs, and goes on to the images.
    let (guard, in_use) = server.app.scheduler.snapshot_images().await.unwrap();
    let mut submission = Box::pin(submit(&server));
    let early = timeout(Duration::from_millis(300), &mut submission).await;
    assert!(early.is_err(), "the snapshot of the job may be one that the sweep does not know");
    server.app.datasets.sweep(in_use).await.unwrap();
    drop(guard);
    let job = submission.await;

    delete_images(&server).await;
    housekeeper(&server).clean_up().await.unwrap();
    assert_kept(&server, job);
    // Without the job, nothing refers to them.
    server.post(&format!("/jobs/{job}/cancel"), "").await.ok();
    assert_eq!(server.delete(&format!("/jobs/{job}")).await.status, 204);
    housekeeper(&server).clean_up().await.unwrap();
    assert_eq!(server.blobs(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn sweeps_and_snapshots_at_the_same_time_lose_no_image() {
    let server = Server::start().await;
    server.pets().await;
    let submissions = async {
        let mut jobs = Vec::new();
        for round in 0..12 {
            upload(&server, round * 4).await;
            jobs.push(submit(&server).await);
            // From now on only the manifest refers to them.
            delete_images(&server).await;
        }
        jobs
    };
    let sweeps = async {
        loop {
            housekeeper(&server).clean_up().await.unwrap();
        }
    };
    let jobs = tokio::select! { jobs = submissions => jobs, () = sweeps => unreachable!() };
    housekeeper(&server).clean_up().await.unwrap();
    for job in jobs {
        assert_kept(&server, job);
    }
}
