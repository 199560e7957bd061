//! SIGKILL to the server, at random moments of all that changes its data: whatever it had
//! acknowledged is there when it starts again, and whatever it had not is there whole or not at all.

pub(crate) mod audit;
mod boss;
mod keeper;
mod swapper;
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

use self::{boss::Boss, keeper::Keeper, swapper::Swapper, watch::Watch};
use super::{
    common,
    place::{Answer, Client, Place},
    scale::{Trial, rounds},
};

/// Clients that have a dataset each.
const KEEPERS: usize = 3;
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
    let place = Place::new();
    let photos = Arc::new(photos());
    let mut keepers: Vec<_> = (0..KEEPERS).map(Keeper::new).collect();
    let (mut boss, mut swapper) = (Boss::default(), Swapper::default());
    let kills = rounds(10, 200);
    let mut while_starting = 0;
    {
        let mut server = place.start();
        server.pets(4).await;
        assert!(server.end(Signal::TERM));
    }
    let watch = Watch::begin(&place.data());
    for round in 0..kills {
        let mut draws = trial.draws(round);
        if draws.random_ratio(1, 5) {
            kill_while_starting(&place, &mut draws).await;
            while_starting += 1;
        }
        let mut server = place.start();
        let session = Session {
            client: Client::of(&server),
            photos: Arc::clone(&photos),
            killed: Arc::default(),
        };
        audit::files(&place.data());
        audit::database(&place.data()).await;
        for keeper in &mut keepers {
            keeper.audit(&session).await;
        }
        boss.audit(&session).await;
        swapper.audit(&session).await;
        if round % PEACE_AFTER == PEACE_AFTER - 1 {
            boss.peace(&session).await;
        }

        let mut clients = JoinSet::new();
        for mut keeper in keepers.drain(..) {
            let (session, draws) = (session.clone(), trial.draws(draws.next_u32()));
            clients.spawn(async move {
                keeper.work(&session, draws).await;
                Worker::Keeper(keeper)
            });
        }
        let (mut its_boss, mut its_swapper) = (boss, swapper);
        let (one, other) = (session.clone(), session.clone());
        let (ones, others) = (trial.draws(draws.next_u32()), trial.draws(draws.next_u32()));
        clients.spawn(async move {
            its_boss.work(&one, ones).await;
            Worker::Boss(its_boss)
        });
        clients.spawn(async move {
            its_swapper.work(&other, others).await;
            Worker::Swapper(its_swapper)
        });
        tokio::time::sleep(Duration::from_millis(draws.random_range(5..1_500))).await;
        session.killed.store(true, SeqCst);
        server.end(Signal::KILL);
        (boss, swapper) = <_>::default();
        while let Some(worker) = clients.join_next().await {
            match worker.unwrap_or_else(|error| panic!("round {round}: {error}")) {
                Worker::Keeper(keeper) => keepers.push(keeper),
                Worker::Boss(back) => boss = back,
                Worker::Swapper(back) => swapper = back,
            }
        }
    }
    let server = place.start();
    let session = Session { client: Client::of(&server), photos, killed: Arc::default() };
    audit::files(&place.data());
    audit::database(&place.data()).await;
    for keeper in &mut keepers {
        keeper.audit(&session).await;
    }
    boss.audit(&session).await;
    boss.peace(&session).await;
    let scans = watch.end();
    place.assert_no_panic();
    let uploads: u64 = keepers.iter().map(|keeper| keeper.acknowledged).sum();
    trial.ends(format_args!(
        "{kills} kills while clients work, {while_starting} while it starts; {uploads} photos acknowledged, {} jobs, {} swaps; trainers looked at {scans} times",
        boss.acknowledged, swapper.acknowledged,
    ));
}

enum Worker {
    Keeper(Keeper),
    Boss(Boss),
    Swapper(Swapper),
}

/// Starts a server and kills it before, or as, it comes to listen.
async fn kill_while_starting(place: &Place, draws: &mut impl Rng) {
    let mut child = place
        .program()
        .args(["serve", "--listen", "127.0.0.1:0", "--trainer-threads", "1", "--data-dir"])
        .arg(place.data())
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
