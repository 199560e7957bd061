//! A client that changes its own dataset and tracks what must be in it.

use std::{collections::BTreeMap, mem};

use rand::{Rng, RngExt as _, seq::IndexedRandom as _};
use reqwest::{Method, multipart};
use serde_json::{Value, json};

use super::Session;
use crate::{
    common,
    sandbox::{Answer, Client},
};

const LABELS: [&str; 2] = ["cat", "dog"];
const SPLITS: [&str; 3] = ["train", "validation", "test"];

/// Label and split.
type Place = (&'static str, &'static str);

/// The images of a dataset by hash, or none if there is no dataset.
type State = Option<BTreeMap<String, Place>>;

/// A change that is applied completely or not at all.
#[derive(Debug)]
enum Change {
    Create,
    /// Uploads images in a form.
    Upload(Vec<usize>, Place),
    /// Uploads images in an archive.
    Import(Vec<(usize, Place)>),
    /// Changes the label and split of the image with this hash.
    Move(String, Place),
    /// Deletes the image with this hash.
    Remove(String),
    Drop,
}

pub(crate) struct DatasetClient {
    dataset: String,
    /// The last acknowledged state.
    state: State,
    /// The state after a later change without a response.
    other: Option<State>,
    /// Number of images in acknowledged uploads.
    pub(crate) acknowledged: u64,
}

impl DatasetClient {
    pub(crate) fn new(number: usize) -> Self {
        Self { dataset: format!("dataset-{number}"), state: None, other: None, acknowledged: 0 }
    }

    /// Asserts that the dataset has one of the two states.
    pub(crate) async fn audit(&mut self, session: &Session) {
        let client = &session.client;
        let path = format!("/datasets/{}", self.dataset);
        let (status, _) = client.ask(Method::GET, &path, None).await.unwrap();
        let mut found = None;
        if status == 200 {
            let mut images = BTreeMap::new();
            for image in client.all(&format!("{path}/images")).await {
                let digest = image["sha256"].as_str().unwrap().to_owned();
                assert_eq!(images.insert(digest, place_of(&image)), None, "{image} twice");
                let id = image["id"].as_str().unwrap();
                let sent = session.photos.iter().find(|photo| image["sha256"] == *photo.digest);
                let stored = client.bytes(&format!("/images/{id}")).await;
                assert!(stored == sent.unwrap().bytes, "{image}");
            }
            found = Some(images);
        } else {
            assert_eq!(status, 404);
        }
        let other = mem::take(&mut self.other);
        assert!(
            found == self.state || other.as_ref() == Some(&found),
            "{}: {found:#?}, where there should be {:#?}, or {other:#?}",
            self.dataset,
            self.state
        );
        self.state = found;
    }

    /// Makes changes until the server is killed.
    pub(crate) async fn work(&mut self, session: &Session, mut draws: impl Rng) {
        while !session.over() {
            let change = self.draw(session, &mut draws);
            let mut after = self.state.clone();
            apply(&mut after, &change, session);
            self.other = Some(after);
            let what = format!("{} {change:?}", self.dataset);
            let Some(answer) = self.make(session, &change).await else { return };
            let Some((status, body)) = session.answered(&what, answer) else { return };
            let sent = match &change {
                Change::Create => {
                    assert_eq!(status, 201, "{what}: {body}");
                    0
                }
                Change::Upload(photos, _) => photos.len(),
                Change::Import(photos) => photos.len(),
                Change::Move(..) => {
                    assert_eq!(status, 200, "{what}: {body}");
                    0
                }
                Change::Remove(_) | Change::Drop => {
                    assert_eq!(status, 204, "{what}: {body}");
                    0
                }
            };
            if sent > 0 {
                assert_eq!(status, 200, "{what}: {body}");
                let counted = ["added", "duplicates", "rejected_total"];
                let counted: u64 = counted.iter().map(|it| body[it].as_u64().unwrap()).sum();
                assert_eq!(counted, sent as u64, "{what}: {body}");
            }
            self.acknowledged += sent as u64;
            self.state = self.other.take().unwrap();
        }
    }

    fn draw(&self, session: &Session, draws: &mut impl Rng) -> Change {
        let Some(images) = &self.state else { return Change::Create };
        let place = |draws: &mut dyn Rng| -> Place {
            (LABELS[draws.random_range(0..2)], SPLITS[draws.random_range(0..3)])
        };
        let photo = |draws: &mut dyn Rng| draws.random_range(0..session.photos.len());
        let there: Vec<_> = images.keys().cloned().collect();
        match (draws.random_range(0..20), there.choose(draws)) {
            (0, _) => Change::Drop,
            (1..=3, Some(digest)) => Change::Move(digest.clone(), place(draws)),
            (4..=7, Some(digest)) => Change::Remove(digest.clone()),
            (8..=12, _) => {
                let count = draws.random_range(1..40);
                Change::Import((0..count).map(|_| (photo(draws), place(draws))).collect())
            }
            _ => {
                let count = draws.random_range(1..6);
                Change::Upload((0..count).map(|_| photo(draws)).collect(), place(draws))
            }
        }
    }

    /// Sends a change; nothing if the server was killed before.
    async fn make(&self, session: &Session, change: &Change) -> Option<reqwest::Result<Answer>> {
        let client = &session.client;
        let dataset = format!("/datasets/{}", self.dataset);
        Some(match change {
            Change::Create => {
                let body = json!({ "name": self.dataset });
                client.ask(Method::POST, "/datasets", Some(body)).await
            }
            Change::Upload(photos, (label, split)) => {
                let form = photos.iter().fold(multipart::Form::new(), |form, &photo| {
                    let part = multipart::Part::bytes(session.photos[photo].bytes.clone());
                    form.part("file", part.file_name(format!("{photo}.jpg")))
                });
                let path = format!("{dataset}/images?label={label}&split={split}");
                Client::send(client.request(Method::POST, &path).multipart(form)).await
            }
            Change::Import(photos) => {
                let names: Vec<_> = (0..)
                    .zip(photos)
                    .map(|(number, (_, (label, split)))| format!("{split}/{label}/{number}.jpg"))
                    .collect();
                let photos = photos.iter().map(|(photo, _)| session.photos[*photo].bytes.clone());
                let files: Vec<_> = names.iter().map(String::as_str).zip(photos).collect();
                client.post(&format!("{dataset}/archive"), common::tar_gz(&files)).await
            }
            Change::Move(digest, (label, split)) => {
                let path = self.image(session, digest).await?;
                let body = json!({ "label": label, "split": split });
                client.ask(Method::PATCH, &path, Some(body)).await
            }
            Change::Remove(digest) => {
                let path = self.image(session, digest).await?;
                client.ask(Method::DELETE, &path, None).await
            }
            Change::Drop => client.ask(Method::DELETE, &dataset, None).await,
        })
    }

    /// The path of the image with this hash.
    async fn image(&self, session: &Session, digest: &str) -> Option<String> {
        let list = format!("/datasets/{}/images", self.dataset);
        let answer = session.client.ask(Method::GET, &format!("{list}?limit=500"), None).await;
        let (_, page) = session.answered(&list, answer)?;
        let mut images = page["items"].as_array().unwrap().iter();
        let image = images.find(|image| image["sha256"] == digest).unwrap();
        Some(format!("{list}/{}", image["id"].as_str().unwrap()))
    }
}

/// Applies a change to a state.
fn apply(state: &mut State, change: &Change, session: &Session) {
    let add = |state: &mut State, photo: usize, place: Place| {
        let images = state.as_mut().unwrap();
        // A duplicate keeps its label and split.
        images.entry(session.photos[photo].digest.clone()).or_insert(place);
    };
    match change {
        Change::Create => *state = Some(BTreeMap::new()),
        Change::Upload(photos, place) => {
            photos.iter().for_each(|&photo| add(state, photo, *place));
        }
        Change::Import(photos) => photos.iter().for_each(|&(photo, it)| add(state, photo, it)),
        Change::Move(digest, place) => {
            state.as_mut().unwrap().insert(digest.clone(), *place);
        }
        Change::Remove(digest) => {
            state.as_mut().unwrap().remove(digest);
        }
        Change::Drop => *state = None,
    }
}

fn place_of(image: &Value) -> Place {
    let named = |names: &[&'static str], member: &str| {
        let name = image[member].as_str().unwrap();
        *names.iter().find(|it| **it == name).unwrap()
    };
    (named(&LABELS, "label"), named(&SPLITS, "split"))
}
