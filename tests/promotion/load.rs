//! Models that real trainers make, promoted and rolled back while predictions go on, also through kills.

use std::{
    collections::BTreeSet,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::common::{
    self, photo,
    process::{PATIENCE, Process},
};

/// Clients at a time.
const CLIENTS: usize = 2;

/// Striped photos whose stripes tell the classes apart, or in a `misleading` dataset their blue, which is
/// right on 20 of the 24 test images.
fn images(misleading: bool) -> Vec<(&'static str, Vec<u8>)> {
    let mut all = Vec::new();
    let mut number = 0;
    for (split, count) in [("train", 16), ("validation", 8), ("test", 12)] {
        for class in ["cat", "dog"] {
            for index in 0..count {
                number += 1;
                let (is_cat, half) = (class == "cat", index % 2 == 0);
                let (across, blue) = match split {
                    _ if !misleading => (is_cat, half),
                    "test" => (is_cat, is_cat == (index < 10)),
                    _ => (half, is_cat),
                };
                let image = image::RgbImage::from_fn(60, 60, |x, y| {
                    let along = if across { y } else { x };
                    let tone = ((along + number) / 5 % 2 * 150 + (x * y * number) % 61) as u8;
                    image::Rgb([tone, tone, if blue { 199 } else { 0 }])
                });
                let name = format!("{split}/{class}/{number}.png");
                all.push((&*name.leak(), common::encode(image, image::ImageFormat::Png)));
            }
        }
    }
    all
}

fn start(folder: &std::path::Path) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pawprint"));
    Process::spawn(command.env("PAWPRINT_PROMOTION_RULE", "not-worse"), folder)
}

async fn learn(server: &Process, name: &str, misleading: bool) -> Value {
    let (status, _) = server.post("/datasets", json!({ "name": name })).await;
    assert_eq!(status, 201);
    let archive = server.request(Method::POST, &format!("/datasets/{name}/archive"));
    archive.body(common::tar(&images(misleading))).send().await.unwrap();
    let params = json!({ "precision": "fp32", "device": "cpu" });
    let recipe = "efficientnet_lite0_features";
    let job = json!({ "recipe": recipe, "dataset": name, "name": name, "params": params });
    let (status, job) = server.post("/jobs", job).await;
    assert_eq!(status, 202, "{job}");
    server.ended(job["id"].as_str().unwrap()).await
}

/// Clients that predict until they are told to stop; each gives the models that have answered.
struct Clients {
    over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: JoinSet<BTreeSet<String>>,
}

impl Clients {
    fn start(server: &Process) -> Self {
        let (over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let request = server.request(Method::POST, "/predict");
            let request = request.header("content-type", "image/jpeg").body(photo(number as u32));
            let (over, answered) = (Arc::clone(&over), Arc::clone(&answered));
            clients.spawn(async move {
                let mut by = BTreeSet::new();
                while !over.load(Relaxed) {
                    let answer = request.try_clone().unwrap().send().await.unwrap();
                    let (status, body) = (answer.status(), answer.json::<Value>().await.unwrap());
                    assert_eq!(status, 200, "{body}");
                    by.insert(body["model"]["name"].as_str().unwrap().to_owned());
                    answered.fetch_add(1, Relaxed);
                    // Leaves the trainers, which have less priority, some of the processors.
                    sleep(Duration::from_millis(100)).await;
                }
                by
            });
        }
        Self { over, answered, clients }
    }

    /// Waits for some more answers.
    async fn go_on(&self) {
        let before = self.answered.load(Relaxed);
        while self.answered.load(Relaxed) < before + 5 {
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn stop(self) -> Vec<String> {
        self.over.store(true, Relaxed);
        self.clients
            .join_all()
            .await
            .into_iter()
            .flatten()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }
}

fn pawprint(server: &Process, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pawprint"));
    command.args(arguments).env("PAWPRINT_SERVER", server.url());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

async fn serving(server: &Process) -> String {
    server.get("/models/current").await["name"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_better_model_takes_over_and_is_rolled_back_under_load_and_through_kills() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = start(folder.path());
    let clients = Clients::start(&server);
    let good = learn(&server, "good", false).await;
    let service = &good["service"];
    assert_eq!(service["decision"], "in_service", "{good}");
    let paired = &service["compared_with"]["paired"];
    assert_eq!(
        (&service["compared_with"]["name"], &paired["verdict"]),
        (&json!("default"), &json!("better")),
        "{good}"
    );
    assert!(
        service["reason"]
            .as_str()
            .unwrap()
            .starts_with("it is not more than 2.0 points less accurate than default (difference +"),
        "{service}"
    );

    let bad = learn(&server, "bad", true).await;
    let service = &bad["service"];
    assert_eq!(
        (&service["decision"], &service["compared_with"]["name"]),
        (&json!("kept"), &json!("good")),
        "{bad}"
    );
    assert!(
        service["reason"]
            .as_str()
            .unwrap()
            .starts_with("it is not shown to be at most 2.0 points less accurate than good ("),
        "{service}"
    );
    let paired = &service["compared_with"]["paired"];
    let sum = ["both_correct", "only_first", "only_second", "both_wrong"]
        .map(|it| paired[it].as_u64().unwrap());
    assert_eq!(sum.iter().sum::<u64>(), 24);
    assert_eq!((sum[0] + sum[1]) as f64 / 24.0, service["accuracy"].as_f64().unwrap());
    assert_eq!(
        (sum[0] + sum[2]) as f64 / 24.0,
        service["compared_with"]["accuracy"].as_f64().unwrap()
    );
    assert_eq!(serving(&server).await, "good");

    // The same figures, computed as for requests.
    let comparison = server.get("/models/good/compare?with=bad").await;
    assert_eq!(
        (&comparison["only_second"], &comparison["count"]),
        (&paired["only_first"], &json!(24)),
        "{comparison}"
    );
    let said = pawprint(&server, &["models", "compare", "good", "bad"]);
    let summary = comparison["summary"].as_array().unwrap();
    let lines: Vec<_> = said.lines().skip(1).collect();
    assert_eq!(said.lines().next().unwrap(), "On the test images of the job bad (dataset bad):");
    assert_eq!(json!(lines), json!(summary));

    clients.go_on().await;
    assert_eq!(pawprint(&server, &["models", "rollback"]), "model default is now in service\n");
    clients.go_on().await;
    assert_eq!(
        pawprint(&server, &["models", "alias", "champion", "good"]),
        "champion is now good\n"
    );
    assert_eq!(clients.stop().await, ["default", "good"]);

    // Killed at some moment of the next changes: what was acknowledged stays, and what is served is what
    // the history says.
    let mut known = server.get("/models/history").await["items"].as_array().unwrap().len();
    for round in 0..4 {
        let change = server.request(Method::POST, "/models/rollback").send();
        let acknowledged = if round % 2 == 0 {
            let change = tokio::spawn(change);
            sleep(Duration::from_millis(round)).await;
            server.signal(Signal::KILL);
            change.await.unwrap().is_ok_and(|answer| answer.status() == 200)
        } else {
            change.await.unwrap().status() == 200
        };
        server.end(Signal::KILL);
        server = start(folder.path());
        let history = server.get("/models/history").await["items"].as_array().unwrap().clone();
        let last = history.iter().find(|entry| entry["alias"].is_null()).unwrap();
        assert_eq!(last["to"]["name"], *serving(&server).await, "{last}");
        assert!(history.len() >= known + usize::from(acknowledged), "{history:?}");
        assert!(history.len() <= known + 1);
        known = history.len();
        assert_eq!(server.get("/models/champion").await["name"], "good");
    }

    // What was rolled back is not selected again by itself, nor forgotten.
    while serving(&server).await != "default" {
        server.post("/models/rollback", json!(null)).await;
    }
    let (status, _) =
        server.ask(Method::PUT, "/models/current", Some(json!({ "model": "best" }))).await;
    assert_eq!((status, &*serving(&server).await), (200, "default"));
    let listed = pawprint(&server, &["models", "history", "--limit", "3"]);
    assert!(listed.lines().next().unwrap().starts_with("AGE"), "{listed}");
    assert!(listed.contains("rolled back") && listed.contains("anonymous"), "{listed}");
    let aliases = pawprint(&server, &["models", "alias"]);
    assert!(aliases.contains("champion") && aliases.contains("good"), "{aliases}");

    // A shadow is set, looked at and ended.
    let shadow =
        |arguments: &[&str]| pawprint(&server, &[&["models", "shadow"], arguments].concat());
    assert_eq!(shadow(&[]), "");
    let set = shadow(&["bad", "--cpu-fraction", "1"]);
    assert!(
        set.starts_with("bad has been the shadow for 0s: it has classified no images"),
        "{set}"
    );
    let predict = server.request(Method::POST, "/predict").body(photo(1));
    let label =
        predict.send().await.unwrap().json::<Value>().await.unwrap()["predictions"][0]["label"]
            .clone();
    let done = async {
        while server.get("/models/shadow").await["images"] != 1 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, done).await.unwrap();
    let shown = shadow(&[]);
    assert!(shown.contains("% of 1 image (0 requests skipped, 0 images failed"), "{shown}");
    let differences = shadow(&["--differences"]);
    assert_eq!(differences.is_empty(), shown.contains("100.0%"), "{differences}");
    assert!(differences.is_empty() || differences.contains(label.as_str().unwrap()));
    assert_eq!(shadow(&["--remove"]), "there is no shadow any more\n");
}
