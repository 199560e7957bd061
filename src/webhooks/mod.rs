//! Tells others what has happened: signed POST requests when a job has ended or another model goes into service.
//!
//! What is to be sent is in an outbox (`storage::webhooks`), written with what happened. One task sends it, a
//! few deliveries at a time and one to each webhook, so that a slow receiver holds up no other; what fails is
//! sent again, further and further apart, also by the next server. A receiver may get a delivery twice, with
//! the same id.

mod client;
mod signature;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rand::{TryRng as _, rngs::SysRng};
use reqwest::Url;
use tokio::{
    sync::{Notify, Semaphore, watch},
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::client::{Client, Message, literal, not_public};
use crate::{
    domain::{
        DeliveryId, Timestamp, WebhookId,
        excerpt::Excerpt,
        webhook::{Attempt, Delivery, DeliveryStatus, Event, Webhook},
    },
    error_chain::chain,
    storage::{
        self, Page, Storage,
        webhooks::{self, Due, Row},
    },
};

/// Deliveries that are sent at the same time.
const AT_ONCE: usize = 8;
/// Interval at which the outbox is looked through even if nothing is known to be due.
const POLL_EVERY: Duration = Duration::from_secs(5);
const MAX_WEBHOOKS: usize = 50;
const MAX_URL: usize = 2048;

/// Errors of webhooks.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No webhook has that id.
    #[error("there is no webhook `{}`", Excerpt(.0))]
    NoSuchWebhook(String),
    /// Nothing can be sent there.
    #[error("url: {0}")]
    Url(String),
    /// It would never be told of anything.
    #[error("events: name at least one of {}", names())]
    NoEvents,
    /// The key has another form.
    #[error("secret: use `whsec_` and 24 to 64 random bytes in Base64, or leave it out")]
    Secret,
    /// There are many already.
    #[error("there are {MAX_WEBHOOKS} webhooks already; delete one first")]
    TooMany,
    /// The system has no random numbers.
    #[error("the system has no random numbers")]
    Random(#[from] rand::rngs::SysError),
    /// The HTTP client can't be created, for lack of certificates.
    #[error("can't send requests: {0}")]
    NoClient(String),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

/// The events that a webhook can be told of.
fn names() -> String {
    Event::ALL.map(Event::as_str).join(", ")
}

/// The webhooks of a server.
#[derive(Debug, Clone)]
pub struct Webhooks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    storage: Storage,
    /// Or why there is none.
    client: Result<Client, String>,
    /// A permit for each delivery that may be sent at the same time.
    slots: Arc<Semaphore>,
    /// Webhooks that something is being sent to.
    busy: Mutex<HashSet<WebhookId>>,
    wake: Notify,
    senders: TaskTracker,
    shutdown: CancellationToken,
}

impl Webhooks {
    /// The webhooks of this database; [`Webhooks::run`] sends what is in their outbox. Deliveries to addresses
    /// that are not public are refused unless `allow_private`.
    #[must_use]
    pub fn new(storage: Storage, allow_private: bool, shutdown: CancellationToken) -> Self {
        let client = Client::new(allow_private).map_err(|error| chain(&error));
        if let Err(error) = &client {
            tracing::error!(error, "webhooks can't be sent");
        }
        Self(Arc::new(Inner {
            storage,
            client,
            slots: Arc::new(Semaphore::new(AT_ONCE)),
            busy: Mutex::default(),
            wake: Notify::new(),
            senders: TaskTracker::new(),
            shutdown,
        }))
    }

    /// Adds a webhook that is told of these events, or of all; returns it with the key that signs what it
    /// gets.
    ///
    /// # Errors
    /// The URL, the events or the secret can't be used, or there are too many webhooks.
    pub async fn create(
        &self,
        url: &str,
        events: Option<Vec<Event>>,
        secret: Option<String>,
    ) -> Result<(Webhook, String), Error> {
        let url = self.checked(url)?;
        let mut events = events.unwrap_or_else(|| Event::ALL.to_vec());
        events.sort_unstable();
        events.dedup();
        if events.is_empty() || events.contains(&Event::Test) {
            return Err(Error::NoEvents);
        }
        let secret = match secret {
            Some(secret) if signature::key(&secret).is_none() => return Err(Error::Secret),
            Some(secret) => secret,
            None => signature::new_secret()?,
        };
        let webhook = Webhook { id: WebhookId::new(), url, events, created_at: Timestamp::now() };
        let row = Row { webhook: webhook.clone(), secret: secret.clone() };
        let mut transaction = self.0.storage.write().await?;
        if webhooks::all(&mut transaction).await?.len() >= MAX_WEBHOOKS {
            return Err(Error::TooMany);
        }
        webhooks::insert(&mut transaction, &row).await?;
        transaction.commit().await.map_err(storage::Error::from)?;
        Ok((webhook, secret))
    }

    /// A URL that deliveries can be sent to, in its usual form.
    fn checked(&self, text: &str) -> Result<String, Error> {
        let refuse = |why: &str| Err(Error::Url(why.to_owned()));
        if text.len() > MAX_URL {
            return refuse("it is too long");
        }
        let url = Url::parse(text).map_err(|error| Error::Url(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return refuse("use https://HOST/PATH or http://HOST/PATH");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("it must not contain a user name or password");
        }
        let client = self.client()?;
        match literal(&url) {
            Some(address) if !client.allows(address) => refuse(&not_public(&address.to_string())),
            _ => Ok(url.into()),
        }
    }

    fn client(&self) -> Result<&Client, Error> {
        self.0.client.as_ref().map_err(|error| Error::NoClient(error.clone()))
    }

    /// All webhooks, oldest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn list(&self) -> Result<Vec<Webhook>, Error> {
        let mut connection = self.0.storage.read().await?;
        let rows = webhooks::all(&mut connection).await?;
        Ok(rows.into_iter().map(|row| row.webhook).collect())
    }

    /// The webhook of that id.
    ///
    /// # Errors
    /// There is none.
    pub async fn get(&self, id: &str) -> Result<Webhook, Error> {
        let found = self.list().await?.into_iter().find(|webhook| webhook.id.to_string() == id);
        found.ok_or_else(|| Error::NoSuchWebhook(id.to_owned()))
    }

    /// Deletes a webhook; what is still to be sent to it is not sent.
    ///
    /// # Errors
    /// There is none.
    pub async fn delete(&self, id: &str) -> Result<(), Error> {
        let webhook = self.get(id).await?;
        let mut transaction = self.0.storage.write().await?;
        webhooks::delete(&mut transaction, webhook.id).await?;
        transaction.commit().await.map_err(storage::Error::from)?;
        Ok(())
    }

    /// Sends a test to a webhook at once, and only once.
    ///
    /// # Errors
    /// There is no such webhook, or the database failed. That the receiver does not accept the test is no
    /// error.
    pub async fn test(&self, id: &str) -> Result<Delivery, Error> {
        let webhook = self.get(id).await?;
        let mut transaction = self.0.storage.write().await?;
        let data = serde_json::json!({ "webhook": webhook });
        let id = webhooks::enqueue(&mut transaction, webhook.id, Event::Test, data).await?;
        let due = webhooks::get_due(&mut transaction, id).await?;
        // Not yet committed: the sender does not see it, and it is not sent twice.
        let due = due.ok_or_else(|| Error::NoSuchWebhook(webhook.id.to_string()))?;
        let unsent = unsent("not sent: the server ended");
        webhooks::attempted(&mut transaction, id, 0, &unsent, DeliveryStatus::Failed, None).await?;
        transaction.commit().await.map_err(storage::Error::from)?;
        let _slot = self.0.slots.acquire().await;
        let attempt = self.attempt(&due).await;
        let status = match attempt.error {
            None => DeliveryStatus::Delivered,
            Some(_) => DeliveryStatus::Failed,
        };
        self.note(id, 1, &attempt, status, None).await?;
        Ok(Delivery {
            id,
            event: Event::Test,
            status,
            attempts: 1,
            created_at: unsent.at,
            next_attempt_at: None,
            last_attempt_at: Some(attempt.at),
            response_status: attempt.response_status,
            seconds: Some(attempt.seconds),
            error: attempt.error,
        })
    }

    /// One page of the deliveries of a webhook, newest first.
    ///
    /// # Errors
    /// There is no such webhook.
    pub async fn deliveries(
        &self,
        id: &str,
        before: Option<DeliveryId>,
        limit: u32,
    ) -> Result<Page<Delivery>, Error> {
        let webhook = self.get(id).await?;
        let mut connection = self.0.storage.read().await?;
        Ok(webhooks::deliveries(&mut connection, webhook.id, before, limit).await?)
    }

    /// Sends what is in the outbox until the server shuts down. `changes` changes when a job does.
    pub async fn run(self, mut changes: watch::Receiver<()>) {
        let mut turns = HashMap::new();
        while !self.0.shutdown.is_cancelled() {
            let wait = match self.send_due(&mut turns).await {
                Ok(wait) => wait,
                Err(error) => {
                    tracing::error!(error = chain(&error), "can't read what is to be sent");
                    POLL_EVERY
                }
            };
            tokio::select! {
                () = self.0.wake.notified() => {}
                Ok(()) = changes.changed() => {}
                () = sleep(wait) => {}
                () = self.0.shutdown.cancelled() => {}
            }
        }
        // What is being sent is sent again by the next server if its result is not known by then.
        self.0.senders.close();
        self.0.senders.wait().await;
    }

    /// Starts to send what is due, as far as there are slots, first to the webhooks whose last turn is the
    /// longest ago; returns how long nothing else is.
    async fn send_due(
        &self,
        turns: &mut HashMap<WebhookId, u64>,
    ) -> Result<Duration, storage::Error> {
        let now = Timestamp::now();
        // What ends between the read and the loop below has changed since.
        let busy = self.busy().clone();
        let (mut due, next) = {
            let mut connection = self.0.storage.read().await?;
            let due = webhooks::due(&mut connection, now).await?;
            (due, webhooks::next_due(&mut connection).await?)
        };
        due.sort_by_key(|due| turns.get(&due.webhook).copied());
        for due in due {
            let Ok(slot) = Arc::clone(&self.0.slots).try_acquire_owned() else { break };
            if busy.contains(&due.webhook) || !self.busy().insert(due.webhook) {
                continue;
            }
            let next_turn = turns.values().max().map_or(0, |turn| turn + 1);
            turns.insert(due.webhook, next_turn);
            let webhooks = self.clone();
            self.0.senders.spawn(async move {
                let _slot = slot;
                webhooks.send(&due).await;
                webhooks.busy().remove(&due.webhook);
                webhooks.0.wake.notify_one();
            });
        }
        let wait = next.filter(|next| *next > now).map(|next| next.duration_since(now));
        let wait = wait.and_then(|wait| Duration::try_from(wait).ok());
        Ok(wait.map_or(POLL_EVERY, |wait| wait.min(POLL_EVERY)))
    }

    /// Makes one attempt at a delivery, and notes what came of it.
    async fn send(&self, due: &Due) {
        let attempt = tokio::select! {
            attempt = self.attempt(due) => attempt,
            () = self.0.shutdown.cancelled() => return,
        };
        let number = due.attempts + 1;
        let (status, delay) = attempt.outcome(number, jitter());
        let next = delay.and_then(|delay| Timestamp::now().checked_add(delay).ok());
        if let Some(error) = &attempt.error {
            tracing::warn!(
                webhook.id = %due.webhook, delivery.id = %due.id, number, error, ?status,
                "a webhook did not accept a delivery"
            );
        }
        if let Err(error) = self.note(due.id, number, &attempt, status, next).await {
            tracing::error!(error = chain(&error), "can't save a delivery; it will be sent again");
            // Not at once: the receiver would get it over and over.
            tokio::select! {
                () = sleep(POLL_EVERY) => {}
                () = self.0.shutdown.cancelled() => {}
            }
        }
    }

    async fn attempt(&self, due: &Due) -> Attempt {
        let Due { id, url, secret, body, .. } = due;
        match &self.0.client {
            Ok(client) => client.send(&Message { id: *id, url, secret, body }).await,
            Err(error) => unsent(error),
        }
    }

    async fn note(
        &self,
        id: DeliveryId,
        number: u32,
        attempt: &Attempt,
        status: DeliveryStatus,
        next: Option<Timestamp>,
    ) -> Result<(), storage::Error> {
        let mut transaction = self.0.storage.write().await?;
        webhooks::attempted(&mut transaction, id, number, attempt, status, next).await?;
        Ok(transaction.commit().await?)
    }

    fn busy(&self) -> std::sync::MutexGuard<'_, HashSet<WebhookId>> {
        self.0.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A random number from 0 to 1.
fn jitter() -> f64 {
    f64::from(SysRng.try_next_u32().unwrap_or_default()) / f64::from(u32::MAX)
}

/// What is known of a delivery that no request was made for.
fn unsent(why: &str) -> Attempt {
    let error = Some(why.to_owned());
    Attempt { at: Timestamp::now(), response_status: None, seconds: 0.0, error }
}
