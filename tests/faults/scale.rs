//! How many rounds a test has, and its random choices.

use std::{
    env,
    fmt::Display,
    time::{Instant, SystemTime},
};

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

/// Whether this is `make faults`.
pub(crate) fn is_long() -> bool {
    match env::var("PAWPRINT_FAULTS").as_deref() {
        Err(_) | Ok("" | "short") => false,
        Ok("long") => true,
        Ok(other) => panic!("PAWPRINT_FAULTS is short or long, not {other:?}"),
    }
}

/// The number of rounds in this form.
pub(crate) fn rounds(short: u32, long: u32) -> u32 {
    if is_long() { long } else { short }
}

/// The run of one test.
pub(crate) struct Trial {
    kind: &'static str,
    seed: u64,
    begun: Instant,
}

impl Trial {
    /// Begins, and prints the seed that repeats it.
    pub(crate) fn new(kind: &'static str) -> Self {
        let seed = match env::var("PAWPRINT_FAULTS_SEED") {
            Ok(seed) => seed.parse().expect("PAWPRINT_FAULTS_SEED is a number"),
            // The short form always makes the same choices; the long form explores.
            Err(_) if !is_long() => 1,
            Err(_) => {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
                now.as_millis() as u64
            }
        };
        let trial = Self { kind, seed, begun: Instant::now() };
        trial.say("begins");
        trial
    }

    /// The random choices of one round, independent of the other rounds.
    pub(crate) fn draws(&self, round: u32) -> ChaCha8Rng {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        key[8..12].copy_from_slice(&round.to_le_bytes());
        let kind = self.kind.as_bytes();
        let length = kind.len().min(20);
        key[12..12 + length].copy_from_slice(&kind[..length]);
        ChaCha8Rng::from_seed(key)
    }

    pub(crate) fn say(&self, what: impl Display) {
        println!("faults: {} (seed {}): {what}", self.kind, self.seed);
    }

    /// Prints why the test can't run here.
    pub(crate) fn skip(&self, why: impl Display) {
        self.say(format_args!("skipped: {why}"));
    }

    /// Prints the figures.
    pub(crate) fn ends(self, figures: impl Display) {
        self.say(format_args!("{figures}; {:.0?}", self.begun.elapsed()));
    }
}
