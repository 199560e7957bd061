//! Random corruption: bytes are changed, removed, moved, repeated and replaced.

use rand::{Rng, RngExt as _};

/// `bytes` with one to four corruptions, some with bytes of `other`.
pub(crate) fn mutate(mut bytes: Vec<u8>, other: &[u8], draws: &mut impl Rng) -> Vec<u8> {
    for _ in 0..draws.random_range(1..5) {
        if bytes.len() < 2 {
            break;
        }
        damage(&mut bytes, other, draws);
    }
    bytes
}

fn damage(bytes: &mut Vec<u8>, other: &[u8], draws: &mut impl Rng) {
    let at = place(bytes.len(), draws);
    let length = draws.random_range(1..=64.min(bytes.len() - at));
    match draws.random_range(0..10) {
        0 => bytes[at] ^= 1 << draws.random_range(0..8),
        1 => bytes[at..at + length].iter_mut().for_each(|byte| *byte = draws.random()),
        2 => number(bytes, at, draws),
        3 => bytes.truncate(at.max(1)),
        4 => drop(bytes.drain(at..at + length)),
        5 => {
            let again = bytes[at..at + length].repeat(draws.random_range(1..40));
            bytes.splice(at..at, again);
        }
        6 => {
            let from = place(bytes.len() - length + 1, draws);
            bytes.copy_within(from..from + length, at);
        }
        7 if !other.is_empty() => {
            let from = place(other.len(), draws);
            let length = length.min(other.len() - from);
            bytes[at..at + length].copy_from_slice(&other[from..from + length]);
        }
        8 => digits(bytes, at, draws),
        _ => bytes[at] = *[0, 1, 0x7f, 0x80, 0xff].get(draws.random_range(0..5)).unwrap(),
    }
}

/// A position, more often near the beginning or end, where headers are.
fn place(length: usize, draws: &mut impl Rng) -> usize {
    let near = length.min(600);
    match draws.random_range(0..5) {
        0 | 1 => draws.random_range(0..near),
        2 => length - 1 - draws.random_range(0..near),
        _ => draws.random_range(0..length),
    }
}

/// Overwrites a binary number with an extreme value.
fn number(bytes: &mut [u8], at: usize, draws: &mut impl Rng) {
    let size = [2, 4, 8][draws.random_range(0..3)].min(bytes.len() - at);
    let edges = [0, 1, u64::MAX, i64::MAX as u64, u64::from(u32::MAX), 1 << 31, 65_535, 1 << 28];
    let edge = edges[draws.random_range(0..edges.len())].to_le_bytes();
    bytes[at..at + size].copy_from_slice(&edge[..size]);
    if draws.random() {
        bytes[at..at + size].reverse();
    }
}

/// Overwrites the next decimal number in the text.
fn digits(bytes: &mut Vec<u8>, at: usize, draws: &mut impl Rng) {
    let Some(first) = bytes[at..].iter().position(u8::is_ascii_digit).map(|it| at + it) else {
        return;
    };
    let run = bytes[first..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let edges = ["0", "-1", "18000", "99999", "4294967295", "18446744073709551615", "1e999"];
    bytes.splice(first..first + run, edges[draws.random_range(0..edges.len())].bytes());
}
