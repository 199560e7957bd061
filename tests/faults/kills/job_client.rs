//! A client that starts, cancels, stops, resumes and deletes jobs, and tracks what must exist.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use rand::{Rng, RngExt as _, seq::IndexedRandom as _};
use reqwest::Method;
use serde_json::{Value, json};

use super::Session;
use crate::common::process::PATIENCE;

/// What is known of a job.
#[derive(Debug, Default)]
struct Known {
    /// Its deletion was acknowledged, or requested without a response.
    gone: Option<Gone>,
    /// Its cancellation was acknowledged.
    cancelled: bool,
    /// It succeeded with this model.
    model: Option<String>,
    /// The same of the deletion of its model.
    model_gone: Option<Gone>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gone {
    Certainly,
    Perhaps,
}

#[derive(Debug, Default)]
pub(crate) struct JobClient {
    /// By name. A job without an acknowledgement is added when it is first seen.
    jobs: BTreeMap<String, Known>,
    /// Number of acknowledged jobs.
    pub(crate) acknowledged: u32,
    started: u32,
}

fn is_over(job: &Value) -> bool {
    !matches!(text(job, "status"), "queued" | "running")
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap()
}

impl JobClient {
    /// Asserts everything that was acknowledged before the server was killed.
    pub(crate) async fn audit(&mut self, session: &Session) {
        let jobs = session.client.all("/jobs").await;
        self.check(&jobs);
        for (name, known) in &mut self.jobs {
            let job = jobs.iter().find(|job| job["name"] == **name);
            match known.gone {
                None => assert!(job.is_some(), "the job {name} is lost"),
                Some(Gone::Certainly) => assert!(job.is_none(), "the job {name} is back"),
                Some(Gone::Perhaps) if job.is_some() => known.gone = None,
                Some(Gone::Perhaps) => known.gone = Some(Gone::Certainly),
            }
            let Some(job) = job else { continue };
            assert!(!known.cancelled || is_over(job), "was to be cancelled: {job}");
        }
        let models = session.client.all("/models").await;
        for (name, known) in &mut self.jobs {
            let Some(id) = &known.model else { continue };
            let is_there = models.iter().any(|model| model["id"] == **id);
            match known.model_gone {
                None => assert!(is_there, "the model of {name} is lost"),
                Some(Gone::Certainly) => assert!(!is_there, "the model of {name} is back"),
                Some(Gone::Perhaps) if is_there => known.model_gone = None,
                Some(Gone::Perhaps) => known.model_gone = Some(Gone::Certainly),
            }
        }
        let by: BTreeSet<_> = models.iter().map(|model| text(model, "id")).collect();
        assert_eq!(by.len(), models.len(), "a model is there twice");
    }

    /// Asserts that the jobs are consistent with what is known, and updates it.
    fn check(&mut self, jobs: &[Value]) {
        let names: BTreeSet<_> = jobs.iter().map(|job| text(job, "name")).collect();
        assert_eq!(names.len(), jobs.len(), "a job is there twice");
        for job in jobs {
            let known = self.jobs.entry(text(job, "name").to_owned()).or_default();
            let status = text(job, "status");
            let legal = ["queued", "running", "succeeded", "failed", "cancelled", "interrupted"];
            assert!(legal.contains(&status), "{job}");
            assert!(job["attempts"].as_u64().unwrap() <= 3, "{job}");
            assert_eq!(is_over(job), job["finished_at"].is_string(), "{job}");
            if let Some(model) = &known.model {
                assert_eq!((status, text(job, "model_id")), ("succeeded", &**model), "{job}");
            } else if status == "succeeded" {
                known.model = Some(text(job, "model_id").to_owned());
            }
            if status == "failed" {
                // It was stopped before its first epoch completed.
                assert_eq!(job["error"]["code"], "nothing_to_keep", "{job}");
            }
        }
    }

    /// Works with jobs until the server is killed.
    pub(crate) async fn work(&mut self, session: &Session, mut draws: impl Rng) {
        while !session.over() && self.act(session, &mut draws).await.is_some() {}
    }

    async fn act(&mut self, session: &Session, draws: &mut impl Rng) -> Option<()> {
        let list = session.client.ask(Method::GET, "/jobs?limit=500", None).await;
        let (_, page) = session.answered("/jobs", list)?;
        let jobs = page["items"].as_array().unwrap();
        self.check(jobs);
        let (over, open): (Vec<_>, Vec<_>) = jobs.iter().partition(|job| is_over(job));
        if open.len() < 2 {
            return self.start(session, draws).await;
        }
        let action = draws.random_range(0..10);
        let chosen = if action < 2 { open.choose(draws) } else { over.choose(draws) };
        let Some(job) = chosen else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            return Some(());
        };
        let (name, path) = (text(job, "name"), format!("/jobs/{}", text(job, "id")));
        match action {
            0 => self.cancel(session, name, &path).await,
            1 => {
                let stopped = session.client.ask(Method::POST, &format!("{path}/stop"), None).await;
                let (status, body) = session.answered("stop", stopped)?;
                assert!([202, 409].contains(&status), "{body}");
                Some(())
            }
            2..=4 => self.resume(session, name, &path).await,
            5 if over.len() > 6 => self.delete(session, name, &path).await,
            6 => self.delete_model(session, name).await,
            _ => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                Some(())
            }
        }
    }

    async fn start(&mut self, session: &Session, draws: &mut impl Rng) -> Option<()> {
        self.started += 1;
        let name = format!("job-{}", self.started);
        let params = json!({
            "epochs": draws.random_range(1..4), "batch_size": 8, "seed": self.started,
            "precision": "fp32", "device": "cpu",
        });
        let job =
            json!({ "recipe": "scratch_cnn", "dataset": "pets", "name": name, "params": params });
        let answer = session.client.ask(Method::POST, "/jobs", Some(job)).await;
        let (status, body) = session.answered("POST /jobs", answer)?;
        assert_eq!(status, 202, "{body}");
        self.jobs.entry(name).or_default();
        self.acknowledged += 1;
        Some(())
    }

    async fn cancel(&mut self, session: &Session, name: &str, path: &str) -> Option<()> {
        let answer = session.client.ask(Method::POST, &format!("{path}/cancel"), None).await;
        let (status, body) = session.answered("cancel", answer)?;
        assert!([202, 409].contains(&status), "{body}");
        self.jobs.get_mut(name).unwrap().cancelled = true;
        Some(())
    }

    async fn resume(&mut self, session: &Session, name: &str, path: &str) -> Option<()> {
        self.jobs.get_mut(name).unwrap().cancelled = false;
        let answer = session.client.ask(Method::POST, &format!("{path}/resume"), None).await;
        let (status, body) = session.answered("resume", answer)?;
        assert!([202, 409].contains(&status), "{body}");
        Some(())
    }

    async fn delete(&mut self, session: &Session, name: &str, path: &str) -> Option<()> {
        let known = self.jobs.get_mut(name).unwrap();
        known.gone = Some(Gone::Perhaps);
        let answer = session.client.ask(Method::DELETE, path, None).await;
        let (status, body) = session.answered("DELETE of a job", answer)?;
        assert_eq!(status, 204, "{body}");
        known.gone = Some(Gone::Certainly);
        Some(())
    }

    async fn delete_model(&mut self, session: &Session, name: &str) -> Option<()> {
        let known = self.jobs.get_mut(name).unwrap();
        let Some(id) = known.model.clone().filter(|_| known.model_gone.is_none()) else {
            return Some(());
        };
        known.model_gone = Some(Gone::Perhaps);
        let path = format!("/models/{id}");
        let answer = session.client.ask(Method::DELETE, &path, None).await;
        let (status, body) = session.answered("DELETE of a model", answer)?;
        // It may be in service.
        assert!([204, 409].contains(&status), "{body}");
        known.model_gone = (status == 204).then_some(Gone::Certainly);
        Some(())
    }

    /// Waits until all jobs have ended, and checks their metrics.
    pub(crate) async fn peace(&mut self, session: &Session) {
        let begun = Instant::now();
        let jobs = loop {
            let jobs = session.client.all("/jobs").await;
            self.check(&jobs);
            if jobs.iter().all(is_over) {
                break jobs;
            }
            assert!(begun.elapsed() < PATIENCE, "these jobs do not end: {jobs:#?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        for job in jobs.iter().filter(|job| job["status"] == "succeeded") {
            let metrics = session.client.get(&format!("/jobs/{}/metrics", text(job, "id"))).await;
            let epochs = metrics["epochs"].as_array().unwrap().iter();
            let epochs: Vec<_> = epochs.map(|epoch| epoch["epoch"].as_u64().unwrap()).collect();
            assert_eq!(epochs, Vec::from_iter(1..=epochs.len() as u64), "{job}");
        }
    }
}
