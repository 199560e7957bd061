//! A client that swaps the model in service and sends predictions all the time.

use rand::{Rng, RngExt as _, seq::IndexedRandom as _};
use reqwest::Method;
use serde_json::json;

use super::Session;

/// The id of the pinned model, or none for the best.
type Choice = Option<String>;

#[derive(Debug, Default)]
pub(crate) struct ModelClient {
    /// The last acknowledged choice.
    chosen: Choice,
    /// A later choice without a response.
    other: Option<Choice>,
    /// Number of acknowledged choices.
    pub(crate) acknowledged: u32,
}

impl ModelClient {
    /// Asserts that the chosen model is in service.
    pub(crate) async fn audit(&mut self, session: &Session) {
        let current = session.client.get("/models/current").await;
        let found =
            (current["mode"] == "pinned").then(|| current["id"].as_str().unwrap().to_owned());
        assert!(
            found == self.chosen || self.other.as_ref() == Some(&found),
            "{found:?} serves, and {:?} was chosen, or {:?}",
            self.chosen,
            self.other
        );
        (self.chosen, self.other) = (found, None);
        let answer = session.client.predict("", session.photos[0].bytes.clone()).await.unwrap();
        assert_eq!((answer.0, &answer.1["model"]["id"]), (200, &current["id"]), "{}", answer.1);
    }

    /// Swaps and predicts until the server is killed.
    pub(crate) async fn work(&mut self, session: &Session, mut draws: impl Rng) {
        while !session.over() && self.act(session, &mut draws).await.is_some() {}
    }

    async fn act(&mut self, session: &Session, draws: &mut impl Rng) -> Option<()> {
        let list = session.client.ask(Method::GET, "/models?limit=500", None).await;
        let (_, page) = session.answered("/models", list)?;
        let models: Vec<_> = page["items"].as_array().unwrap().iter().collect();
        let id = models.choose(draws).unwrap()["id"].as_str().unwrap().to_owned();
        let photo = session.photos.choose(draws).unwrap().bytes.clone();
        match draws.random_range(0..3) {
            0 => {
                let choice = draws.random_ratio(2, 3).then_some(id);
                self.other = Some(choice.clone());
                let body = json!({ "model": choice.as_deref().unwrap_or("best") });
                let answer = session.client.ask(Method::PUT, "/models/current", Some(body)).await;
                let (status, body) = session.answered("PUT /models/current", answer)?;
                // It may have been deleted since.
                assert!([200, 404].contains(&status), "{body}");
                self.other = None;
                if status == 200 {
                    self.chosen = choice;
                    self.acknowledged += 1;
                }
            }
            1 => {
                let answer = session.client.predict(&format!("?model={id}"), photo).await;
                let (status, body) = session.answered("predict by a model", answer)?;
                assert!([200, 404].contains(&status), "{body}");
            }
            _ => {
                let answer = session.client.predict("", photo).await;
                let (status, body) = session.answered("predict", answer)?;
                assert_eq!(status, 200, "{body}");
            }
        }
        Some(())
    }
}
