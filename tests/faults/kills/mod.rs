//! SIGKILL to the server at random moments of uploads, changes, training and model swaps. After the
//! restart, acknowledged changes are there; changes without a response are there completely or not at
//! all.

pub(crate) mod audit;
mod dataset_client;
mod job_client;
mod model_client;
mod watch;

use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use rand::{Rng, RngExt as _};
use rustix::process::Signal;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;

use self::{
    dataset_client::DatasetClient, job_client::JobClient, model_client::ModelClient, watch::Watch,
};
use super::{
    common,
    sandbox::{Answer, Client, Sandbox},
    scale::{Trial, rounds},
};

/// Clients with a dataset each.
const DATASET_CLIENTS: usize = 3;
/// Number of images. They are sent repeatedly, so that datasets share blobs.
const PHOTOS: u32 = 240;
/// After this many kills, the jobs may run until they end.
const PEACE_AFTER: u32 = 8;

/// An image to be uploaded.
struct Photo {
    bytes: Vec<u8>,
    /// SHA-256 in hexadecimal.
    digest: String,
}

/// Shared by all clients of one server.
#[derive(Clone)]
struct Session {
    client: Client,
    photos: Arc<Vec<Photo>>,
    /// Set just before the server is killed; requests may fail from then on.
    killed: Arc<AtomicBool>,
}

impl Session {
    /// The response, or none if the server was killed before.
    #[track_caller]
    fn answered(&self, what: &str, answer: reqwest::Result<Answer>) -> Option<Answer> {
        match answer {
            Ok((status, body)) => {
                assert!(status < 500, "{what}: {status} {body}");
                Some((status, body))
            }
            Err(error) => {
                assert!(self.killed.load(SeqCst), "{what}: {error:?}");
                None
            }
        }
    }

    fn over(&self) -> bool {
        self.killed.load(SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_at_any_moment_has_lost_nothing_that_it_acknowledged() {
    let trial = Trial::new("kills of the server");
    let sandbox = Sandbox::new();
    let photos = Arc::new(photos());
    let mut dataset_clients: Vec<_> = (0..DATASET_CLIENTS).map(DatasetClient::new).collect();
    let (mut job_client, mut model_client) = (JobClient::default(), ModelClient::default());
    let kills = rounds(6, 200);
    let mut while_starting = 0;
    {
        let mut server = sandbox.start();
        server.pets(4).await;
        assert!(server.end(Signal::TERM));
    }
    let watch = Watch::begin(&sandbox.data());
    for round in 0..kills {
        let mut draws = trial.draws(round);
        if draws.random_ratio(1, 5) {
            kill_while_starting(&sandbox, &mut draws).await;
            while_starting += 1;
        }
        let mut server = sandbox.start();
        let session = Session {
            client: Client::of(&server),
            photos: Arc::clone(&photos),
            killed: Arc::default(),
        };
        audit::files(&sandbox.data());
        audit::database(&sandbox.data()).await;
        for dataset_client in &mut dataset_clients {
            dataset_client.audit(&session).await;
        }
        job_client.audit(&session).await;
        model_client.audit(&session).await;
        if round % PEACE_AFTER == PEACE_AFTER - 1 {
            job_client.peace(&session).await;
        }

        let mut clients = JoinSet::new();
        for mut dataset_client in dataset_clients.drain(..) {
            let (session, draws) = (session.clone(), trial.draws(draws.next_u32()));
            clients.spawn(async move {
                dataset_client.work(&session, draws).await;
                Worker::Datasets(dataset_client)
            });
        }
        let (mut its_job_client, mut its_swapper) = (job_client, model_client);
        let (one, other) = (session.clone(), session.clone());
        let (ones, others) = (trial.draws(draws.next_u32()), trial.draws(draws.next_u32()));
        clients.spawn(async move {
            its_job_client.work(&one, ones).await;
            Worker::Jobs(its_job_client)
        });
        clients.spawn(async move {
            its_swapper.work(&other, others).await;
            Worker::Models(its_swapper)
        });
        tokio::time::sleep(Duration::from_millis(draws.random_range(5..1_500))).await;
        session.killed.store(true, SeqCst);
        server.end(Signal::KILL);
        (job_client, model_client) = <_>::default();
        while let Some(worker) = clients.join_next().await {
            match worker.unwrap_or_else(|error| panic!("round {round}: {error}")) {
                Worker::Datasets(dataset_client) => dataset_clients.push(dataset_client),
                Worker::Jobs(back) => job_client = back,
                Worker::Models(back) => model_client = back,
            }
        }
    }
    let server = sandbox.start();
    let session = Session { client: Client::of(&server), photos, killed: Arc::default() };
    audit::files(&sandbox.data());
    audit::database(&sandbox.data()).await;
    for dataset_client in &mut dataset_clients {
        dataset_client.audit(&session).await;
    }
    job_client.audit(&session).await;
    job_client.peace(&session).await;
    let scans = watch.end();
    sandbox.assert_no_panic();
    let uploads: u64 =
        dataset_clients.iter().map(|dataset_client| dataset_client.acknowledged).sum();
    trial.ends(format_args!(
        "{kills} kills under load and {while_starting} during startup; acknowledged: {uploads} images, {} jobs, {} model swaps; {scans} scans for duplicate trainers",
        job_client.acknowledged, model_client.acknowledged,
    ));
}

enum Worker {
    Datasets(DatasetClient),
    Jobs(JobClient),
    Models(ModelClient),
}

/// Starts a server and kills it during its startup.
async fn kill_while_starting(sandbox: &Sandbox, draws: &mut impl Rng) {
    let mut child = sandbox
        .program()
        .args(["serve", "--listen", "127.0.0.1:0", "--trainer-threads", "1", "--data-dir"])
        .arg(sandbox.data())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    tokio::time::sleep(Duration::from_millis(draws.random_range(0..500))).await;
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Distinct small images, and real ones if available.
fn photos() -> Vec<Photo> {
    let photos = (0..PHOTOS).map(common::photo).chain(super::mutants::real_photos(20));
    photos.map(|bytes| Photo { digest: hex::encode(Sha256::digest(&bytes)), bytes }).collect()
}
