//! Thousands of corrupted files: each is accepted or rejected, and the server does not fail, hang or
//! leak memory.

mod archives;
mod images;
mod mutate;
mod weights;

use std::future::Future;

use futures::{StreamExt as _, stream};

pub(crate) use self::{images::real_photos, mutate::mutate};
use super::{
    common::process::Process,
    machine::{mb, memory},
    sandbox::Answer,
    scale::Trial,
};

/// Allowed growth of the server's memory after the first files, in bytes: what the allocator keeps
/// varies by tens of megabytes.
pub(crate) const GROWTH: u64 = 64 * MB;

const MB: u64 = 1_000_000;

/// Sends as many files as `rounds`, some `at_once`, and makes sure that each is answered by one of the statuses
/// and that the server's memory does not grow by more than `growth`; gives the figures.
async fn send<F: Future<Output = (String, reqwest::Result<Answer>)>>(
    trial: &Trial,
    server: &Process,
    (rounds, at_once): (u32, u32),
    growth: u64,
    statuses: &[u16],
    one: impl Fn(u32) -> F,
) -> String {
    let (mut taken, mut refused) = (0, 0);
    let warm = (rounds / 5).max(2 * at_once);
    let mut before = 0;
    for part in [0..warm, warm..rounds] {
        let mut answers = stream::iter(part)
            .map(|round| {
                let sent = one(round);
                async move { (round, sent.await) }
            })
            .buffer_unordered(at_once as usize);
        while let Some((round, (what, answer))) = answers.next().await {
            let answer = answer.map_err(|error| format!("{error:?}"));
            let good = answer.as_ref().is_ok_and(|(status, _)| statuses.contains(status));
            if !good {
                trial.say(format_args!("round {round}, {what}: {answer:?}"));
                panic!("a damaged file was answered badly");
            }
            if answer.unwrap().0 == 200 { taken += 1 } else { refused += 1 }
        }
        if before == 0 {
            before = memory(server.pid());
        }
    }
    let after = memory(server.pid());
    let figures = format!(
        "{taken} accepted, {refused} rejected; memory {} after {warm}, {} at the end",
        mb(before),
        mb(after)
    );
    assert!(after < before + growth, "{figures}");
    figures
}
