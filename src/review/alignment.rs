//! Whether two small pictures show the same shot, also if one is a mirrored or slightly cropped
//! copy of the other.

use super::pictures::SIDE;

/// The most that is cut from each edge, as a fraction of the side.
const MAX_CROP: f32 = 0.15;
/// Steps of the search, as fractions of the side.
const STEPS: [f32; 3] = [0.06, 0.03, 0.015];
/// Correlation without an alignment below which none is searched for.
const HOPELESS: f32 = 0.6;

/// The highest correlation of the pixels of two small pictures, -1 to 1, over mirroring one and
/// cropping either.
#[must_use]
pub fn similarity(first: &[f32], second: &[f32]) -> f32 {
    let mirrored: Vec<f32> =
        second.chunks_exact(SIDE).flat_map(|row| row.iter().rev().copied()).collect();
    let (plain, flipped) = (correlation(first, second), correlation(first, &mirrored));
    let (start, other) = if flipped > plain { (flipped, &*mirrored) } else { (plain, second) };
    if start < HOPELESS {
        return start;
    }
    climb(first, other, start).max(climb(other, first, start))
}

/// The highest correlation of a part of `whole` with `other`, from all of it on.
fn climb(whole: &[f32], other: &[f32], start: f32) -> f32 {
    let mut best = (start, [0.0; 4]);
    for step in STEPS {
        loop {
            let mut next = best;
            for edge in 0..4 {
                for change in [step, -step] {
                    let mut crop = best.1;
                    crop[edge] += change;
                    if !(0.0..=MAX_CROP).contains(&crop[edge]) {
                        continue;
                    }
                    let found = correlation(&window(whole, crop), other);
                    if found > next.0 + 1e-4 {
                        next = (found, crop);
                    }
                }
            }
            if next.1 == best.1 {
                break;
            }
            best = next;
        }
    }
    best.0
}

/// The picture without these fractions at the left, top, right and bottom edge, at the same size.
fn window(picture: &[f32], [left, top, right, bottom]: [f32; 4]) -> Vec<f32> {
    let places = |start: f32, end: f32| -> [(usize, usize, f32); SIDE] {
        std::array::from_fn(|place| {
            let fraction = (place as f32 + 0.5) / SIDE as f32;
            let at = (start + fraction * (1.0 - start - end)) * SIDE as f32 - 0.5;
            let low = at.clamp(0.0, (SIDE - 1) as f32);
            let first = low as usize;
            (first, (first + 1).min(SIDE - 1), low - first as f32)
        })
    };
    let (columns, rows) = (places(left, right), places(top, bottom));
    let mut part = Vec::with_capacity(SIDE * SIDE);
    for (upper, lower, down) in rows {
        let (upper, lower) = (&picture[upper * SIDE..][..SIDE], &picture[lower * SIDE..][..SIDE]);
        for (first, second, across) in columns {
            let above = upper[first] * (1.0 - across) + upper[second] * across;
            let below = lower[first] * (1.0 - across) + lower[second] * across;
            part.push(above * (1.0 - down) + below * down);
        }
    }
    part
}

/// Pearson's correlation; 0 if one of the pictures is blank.
fn correlation(first: &[f32], second: &[f32]) -> f32 {
    let count = first.len() as f32;
    let (mut sums, mut squares, mut product) = ([0.0_f32; 2], [0.0_f32; 2], 0.0_f32);
    for (a, b) in first.iter().zip(second) {
        sums[0] += a;
        sums[1] += b;
        squares[0] += a * a;
        squares[1] += b * b;
        product += a * b;
    }
    let [a, b] = [0, 1].map(|it| (squares[it] - sums[it] * sums[it] / count).max(0.0));
    if a < count || b < count {
        return 0.0;
    }
    (product - sums[0] * sums[1] / count) / (a * b).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(value: impl Fn(f32, f32) -> f32) -> Vec<f32> {
        let at = |place: usize| (place as f32 + 0.5) / SIDE as f32;
        (0..SIDE * SIDE).map(|place| value(at(place % SIDE), at(place / SIDE))).collect()
    }

    fn scene(x: f32, y: f32) -> f32 {
        128.0 + 100.0 * (x * 11.0 + y * 5.0).sin() * (y * 7.0).cos()
    }

    #[test]
    fn copies_are_alike_and_others_are_not() {
        let original = picture(scene);
        let darker = picture(|x, y| scene(x, y) * 0.7);
        let mirrored = picture(|x, y| scene(1.0 - x, y));
        let cropped = picture(|x, y| scene(0.08 + x * 0.88, 0.02 + y * 0.9));
        let both = picture(|x, y| scene(0.95 - x * 0.9, y * 0.94));
        for copy in [&darker, &mirrored, &cropped, &both] {
            assert!(similarity(&original, copy) > 0.98, "{}", similarity(&original, copy));
            assert!(similarity(copy, &original) > 0.98);
        }
        let other = picture(|x, y| 128.0 + 100.0 * (x * 5.0).sin() * (y * 13.0 + x).cos());
        assert!(similarity(&original, &other) < 0.8);
    }

    #[test]
    fn a_blank_picture_is_like_none() {
        let blank = picture(|_, _| 40.0);
        assert_eq!(similarity(&blank, &blank), 0.0);
    }
}
