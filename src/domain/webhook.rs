//! Webhooks: who is told of what, which addresses they may have, and when a delivery is tried again.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{DeliveryId, Timestamp, WebhookId};

/// Attempts at a delivery, over some seventeen hours.
pub const MAX_ATTEMPTS: u32 = 11;
/// Time from the first attempt to the second; each further one takes three times as long, up to six hours.
const FIRST_DELAY: Duration = Duration::from_secs(5);
const LONGEST_DELAY: Duration = Duration::from_hours(6);

/// What a webhook is told of.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[schema(as = WebhookEvent)]
pub enum Event {
    /// A job has ended with a model.
    #[serde(rename = "job.succeeded")]
    JobSucceeded,
    /// A job has failed.
    #[serde(rename = "job.failed")]
    JobFailed,
    /// A job was cancelled.
    #[serde(rename = "job.cancelled")]
    JobCancelled,
    /// The trainers of a job ended unexpectedly too often.
    #[serde(rename = "job.interrupted")]
    JobInterrupted,
    /// Another model went into service.
    #[serde(rename = "model.in_service")]
    ModelInService,
    /// An alias was set to another model, or removed.
    #[serde(rename = "alias.changed")]
    AliasChanged,
    /// A test, sent when somebody asks for it; each webhook gets it.
    #[serde(rename = "webhook.test")]
    Test,
}

impl Event {
    /// Those that a webhook can be told of.
    pub const ALL: [Self; 6] = [
        Self::JobSucceeded,
        Self::JobFailed,
        Self::JobCancelled,
        Self::JobInterrupted,
        Self::ModelInService,
        Self::AliasChanged,
    ];

    /// Its name in the API, the database and what is sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::JobSucceeded => "job.succeeded",
            Self::JobFailed => "job.failed",
            Self::JobCancelled => "job.cancelled",
            Self::JobInterrupted => "job.interrupted",
            Self::ModelInService => "model.in_service",
            Self::AliasChanged => "alias.changed",
            Self::Test => "webhook.test",
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A string that names no event.
#[derive(Debug, thiserror::Error)]
#[error("unknown event `{0}`")]
pub struct UnknownEvent(String);

impl FromStr for Event {
    type Err = UnknownEvent;

    fn from_str(text: &str) -> Result<Self, UnknownEvent> {
        let mut all = Self::ALL.into_iter().chain([Self::Test]);
        all.find(|event| event.as_str() == text).ok_or_else(|| UnknownEvent(text.to_owned()))
    }
}

/// Who is told of what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Webhook {
    /// Id.
    pub id: WebhookId,
    /// Where deliveries are sent.
    pub url: String,
    /// What it is told of.
    pub events: Vec<Event>,
    /// Time of creation.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// Whether a delivery has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    /// It will be tried, or tried again.
    Pending,
    /// The receiver has accepted it, with a status between 200 and 299.
    Delivered,
    /// It was tried often enough, or the receiver wants no more.
    Failed,
}

impl DeliveryStatus {
    /// Its name in the API and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for DeliveryStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for DeliveryStatus {
    type Err = UnknownEvent;

    fn from_str(text: &str) -> Result<Self, UnknownEvent> {
        [Self::Pending, Self::Delivered, Self::Failed]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| UnknownEvent(text.to_owned()))
    }
}

/// One message to a webhook.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Delivery {
    /// Id: the same at each attempt, in the header `webhook-id`.
    pub id: DeliveryId,
    /// What happened.
    pub event: Event,
    /// Whether it has arrived.
    pub status: DeliveryStatus,
    /// Attempts so far.
    pub attempts: u32,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it is tried again; null if it is not.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_attempt_at: Option<Timestamp>,
    /// When it was tried last.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_attempt_at: Option<Timestamp>,
    /// HTTP status of the last response, if there was one.
    pub response_status: Option<u16>,
    /// Seconds that the last attempt took.
    pub seconds: Option<f64>,
    /// Why the last attempt failed.
    pub error: Option<String>,
}

/// One attempt at a delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// When it began.
    pub at: Timestamp,
    /// HTTP status of the response, if there was one.
    pub response_status: Option<u16>,
    /// Seconds it took.
    pub seconds: f64,
    /// Why it failed; `None` if the receiver accepted it.
    pub error: Option<String>,
}

impl Attempt {
    /// What comes of a delivery after this one of its attempts, the `number`-th, and after how long it is
    /// tried again. `jitter`, from 0 to 1, spreads the attempts at many deliveries out.
    #[must_use]
    pub fn outcome(&self, number: u32, jitter: f64) -> (DeliveryStatus, Option<Duration>) {
        // Gone: the receiver wants no more.
        let gone = self.response_status == Some(410);
        match &self.error {
            None => (DeliveryStatus::Delivered, None),
            Some(_) if gone || number >= MAX_ATTEMPTS => (DeliveryStatus::Failed, None),
            Some(_) => (DeliveryStatus::Pending, Some(delay(number, jitter))),
        }
    }
}

/// Time from an attempt to the next: up to a fifth more than planned.
fn delay(number: u32, jitter: f64) -> Duration {
    let growth = 3_u32.saturating_pow(number.saturating_sub(1));
    let planned = FIRST_DELAY.saturating_mul(growth).min(LONGEST_DELAY);
    planned.mul_f64(1.0 + 0.2 * jitter.clamp(0.0, 1.0))
}

/// Whether an address belongs to the public Internet: not to this machine, its networks, or a purpose of its
/// own. Addresses that contain another one, such as `::ffff:10.0.0.1`, are judged by that.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || a == 0
        // Carrier-grade NAT; protocol assignments; the relay of 6to4; benchmarks; multicast and what is above.
        || (a == 100 && b & 0xc0 == 64)
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && b & 0xfe == 18)
        || a >= 224)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let embedded = |high: u16, low: u16| {
        let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match (a, b, c, d, e, f) {
        // IPv4-mapped, and NAT64.
        (0, 0, 0, 0, 0, 0xffff) | (0x64, 0xff9b, 0, 0, 0, 0) => embedded(g, h),
        // 6to4.
        (0x2002, ..) => embedded(b, c),
        // Teredo, protocol assignments, documentation.
        (0x2001, 0..0x200 | 0xdb8, ..) | (0x3fff, 0..0x1000, ..) => false,
        // Global unicast; the rest is this machine, local networks, multicast, or not assigned.
        _ => a & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_and_statuses_survive_their_text_form() {
        for event in Event::ALL {
            assert_eq!(event.as_str().parse::<Event>().ok(), Some(event));
            assert_eq!(serde_json::to_value(event).unwrap(), event.as_str());
        }
        assert!("job.done".parse::<Event>().is_err());
        assert_eq!("failed".parse::<DeliveryStatus>().ok(), Some(DeliveryStatus::Failed));
    }

    #[test]
    fn attempts_are_further_and_further_apart_and_end() {
        let attempt = |response_status, error: Option<&str>| Attempt {
            at: Timestamp::UNIX_EPOCH,
            response_status,
            seconds: 1.0,
            error: error.map(str::to_owned),
        };
        let failed = attempt(Some(500), Some("no"));
        let delays: Vec<_> = (1..MAX_ATTEMPTS)
            .map(|number| match failed.outcome(number, 0.0) {
                (DeliveryStatus::Pending, Some(delay)) => delay.as_secs(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(delays, [5, 15, 45, 135, 405, 1215, 3645, 10_935, 21_600, 21_600]);
        let hours = delays.iter().sum::<u64>() / 3600;
        assert_eq!(hours, 16);
        assert_eq!(failed.outcome(1, 1.0).1, Some(Duration::from_secs(6)));
        assert_eq!(failed.outcome(MAX_ATTEMPTS, 0.0), (DeliveryStatus::Failed, None));
        let gone = attempt(Some(410), Some("gone"));
        assert_eq!(gone.outcome(1, 0.0), (DeliveryStatus::Failed, None));
        let accepted = attempt(Some(204), None);
        assert_eq!(accepted.outcome(MAX_ATTEMPTS, 0.0), (DeliveryStatus::Delivered, None));
    }

    #[test]
    fn only_addresses_of_the_internet_are_public() {
        let of = |text: &str| is_public(text.parse().unwrap());
        for public in
            ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "192.0.1.1", "223.255.255.254"]
        {
            assert!(of(public), "{public}");
        }
        for public in [
            "2606:4700::1111",
            "2a00:1450:4001::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::1",
        ] {
            assert!(of(public), "{public}");
        }
        for private in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.8.8.8",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
        ] {
            assert!(!of(private), "{private}");
        }
        for private in [
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::1",
            "2002:a00:1::",
            "2001::1",
            "2001:db8::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "100::1",
            "3fff::1",
            "4000::1",
        ] {
            assert!(!of(private), "{private}");
        }
    }
}
