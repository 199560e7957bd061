//! Requests per second of each client, by its address: `--rate-limit`.
//!
//! The API counts. Health checks, metrics, the dashboard's pages and the documentation do not.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
    state::keyed::HashMapStateStore,
};

use super::problem::Problem;

/// After a pause, a client may send what it could have sent in this many seconds at once: a page
/// with a hundred images.
const BURST_SECONDS: u32 = 10;
/// Requests per second that are no limit any more, and that can still be counted.
const MOST: NonZeroU32 = NonZeroU32::MIN.saturating_add(999_999);
/// How often clients are forgotten that have sent nothing for a while, in requests.
const CLEANUP_INTERVAL: u32 = 1024;
/// Routes of the API that are not counted, as they are for monitoring; except requests without a valid
/// token.
pub(super) const EXEMPT: [&str; 3] = ["/metrics", "/v2/health/live", "/v2/health/ready"];

/// The limit, and what each client has left.
#[derive(Debug)]
pub(super) struct RateLimit {
    per_second: NonZeroU32,
    clock: DefaultClock,
    limiter: RateLimiter<IpAddr, HashMapStateStore<IpAddr>, DefaultClock>,
    requests: AtomicU32,
}

impl RateLimit {
    pub(super) fn new(per_second: NonZeroU32) -> Self {
        let per_second = per_second.min(MOST);
        let burst = per_second.saturating_mul(NonZeroU32::MIN.saturating_add(BURST_SECONDS - 1));
        Self {
            per_second,
            clock: DefaultClock::default(),
            limiter: RateLimiter::hashmap(Quota::per_second(per_second).allow_burst(burst)),
            requests: AtomicU32::new(0),
        }
    }

    /// Counts a request of `client`.
    ///
    /// # Errors
    /// How long the client must wait.
    fn count(&self, client: IpAddr) -> Result<(), Duration> {
        if self.requests.fetch_add(1, Ordering::Relaxed).is_multiple_of(CLEANUP_INTERVAL) {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(&client).map_err(|refused| refused.wait_time_from(self.clock.now()))
    }
}

/// Refuses the requests of a client that has sent too many.
pub(super) async fn enforce(
    State(limit): State<Arc<RateLimit>>,
    request: Request,
    next: Next,
) -> Response {
    let is_exempt = EXEMPT.contains(&request.uri().path());
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    // Only a test calls without a connection.
    let address = peer.map_or(Ipv6Addr::UNSPECIFIED.into(), |ConnectInfo(peer)| peer.ip());
    let client = client(address);
    if is_exempt {
        let response = next.run(request).await;
        // Nobody may guess tokens there.
        if response.status() != StatusCode::UNAUTHORIZED {
            return response;
        }
        return match limit.count(client) {
            Ok(()) => response,
            Err(wait) => limit.refusal(wait),
        };
    }
    match limit.count(client) {
        Ok(()) => next.run(request).await,
        Err(wait) => limit.refusal(wait),
    }
}

impl RateLimit {
    fn refusal(&self, wait: Duration) -> Response {
        Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limited",
            format!(
                "more than {} requests per second from your address; try again later",
                self.per_second
            ),
        )
        .retry_after(Duration::from_secs(wait.as_secs() + 1))
        .into_response()
    }
}

/// Who an address stands for: a client has all IPv6 addresses of a network of 64 bits.
fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_send_ten_seconds_worth_at_once_and_others_are_not_held_up() {
        let limit = RateLimit::new(NonZeroU32::new(2).unwrap());
        let [one, other] = ["10.0.0.1", "10.0.0.2"].map(|it| it.parse().unwrap());
        for number in 0..20 {
            assert!(limit.count(one).is_ok(), "{number}");
        }
        let wait = limit.count(one).unwrap_err();
        assert!(wait <= Duration::from_millis(500), "{wait:?}");
        assert!(limit.count(other).is_ok());
    }

    #[test]
    fn the_highest_limit_can_be_counted() {
        assert!(RateLimit::new(NonZeroU32::MAX).count([10, 0, 0, 1].into()).is_ok());
    }

    #[test]
    fn clients_that_were_quiet_are_forgotten() {
        let limit = RateLimit::new(NonZeroU32::new(100_000).unwrap());
        for number in 0..CLEANUP_INTERVAL {
            let _ = limit.count(IpAddr::from(number.to_be_bytes()));
        }
        std::thread::sleep(Duration::from_millis(1));
        // The next one is when the others are looked at.
        let _ = limit.count(IpAddr::from([10, 0, 0, 1]));
        assert!(limit.limiter.len() <= 1);
    }

    #[test]
    fn the_addresses_of_a_client_are_one() {
        let is_one =
            |one: &str, other: &str| client(one.parse().unwrap()) == client(other.parse().unwrap());
        assert!(is_one("::ffff:10.0.0.1", "10.0.0.1"));
        assert!(is_one("2001:db8::1", "2001:db8::ffff:2"));
        assert!(!is_one("2001:db8:0:1::1", "2001:db8:0:2::1"));
        assert!(!is_one("10.0.0.1", "10.0.0.2"));
    }
}
