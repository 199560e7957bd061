//! SIGKILL to the server, at random moments of all that changes its data: whatever it had
//! acknowledged is there when it starts again, and whatever it had not is there whole or not at all.

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

/// Clients that have a dataset each.
const DATASET_CLIENTS: usize = 3;
/// Small photos that they send, again and again: blobs are shared between their datasets.
const PHOTOS: u32 = 240;
/// After so many kills the jobs are left in peace until they are over.
const PEACE_AFTER: u32 = 8;

/// A photo that may be sent.
struct Photo {
    bytes: Vec<u8>,
    /// SHA-256, as the server tells it.
    digest: String,
}

/// What all clients of one server share.
#[derive(Clone)]
struct Session {
    client: Client,
    photos: Arc<Vec<Photo>>,
    /// Set just before the server is killed: from then on, no answer need come.
    killed: Arc<AtomicBool>,
}

impl Session {
    /// The answer; none where the server was killed before it came.
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
                Worker::DatasetClient(dataset_client)
            });
        }
        let (mut its_job_client, mut its_swapper) = (job_client, model_client);
        let (one, other) = (session.clone(), session.clone());
        let (ones, others) = (trial.draws(draws.next_u32()), trial.draws(draws.next_u32()));
        clients.spawn(async move {
            its_job_client.work(&one, ones).await;
            Worker::JobClient(its_job_client)
        });
        clients.spawn(async move {
            its_swapper.work(&other, others).await;
            Worker::ModelClient(its_swapper)
        });
        tokio::time::sleep(Duration::from_millis(draws.random_range(5..1_500))).await;
        session.killed.store(true, SeqCst);
        server.end(Signal::KILL);
        (job_client, model_client) = <_>::default();
        while let Some(worker) = clients.join_next().await {
            match worker.unwrap_or_else(|error| panic!("round {round}: {error}")) {
                Worker::DatasetClient(dataset_client) => dataset_clients.push(dataset_client),
                Worker::JobClient(back) => job_client = back,
                Worker::ModelClient(back) => model_client = back,
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
        "{kills} kills while clients work, {while_starting} while it starts; {uploads} photos acknowledged, {} jobs, {} swaps; trainers looked at {scans} times",
        job_client.acknowledged, model_client.acknowledged,
    ));
}

enum Worker {
    DatasetClient(DatasetClient),
    JobClient(JobClient),
    ModelClient(ModelClient),
}

/// Starts a server and kills it before, or as, it comes to listen.
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

/// Photos that differ, small ones and, where there are any, real ones.
fn photos() -> Vec<Photo> {
    let photos = (0..PHOTOS).map(common::photo).chain(super::mutants::real_photos(20));
    photos.map(|bytes| Photo { digest: hex::encode(Sha256::digest(&bytes)), bytes }).collect()
}
