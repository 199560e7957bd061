//! The statistics of drift, each by its textbook formula.

/// The 99th percentile of the normal distribution: one verdict in a hundred may be due to chance.
pub(super) const Z: f64 = 2.326_347_874_040_841;
/// Added to each count, so that an empty bin has no infinite weight.
const SMOOTHING: f64 = 0.5;

/// The statistic of the two-proportion test with a pooled variance.
pub(super) fn z(observed: f64, n: f64, expected: f64, m: f64) -> f64 {
    let pooled = (observed * n + expected * m) / (n + m);
    let deviation = (pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)).sqrt();
    if deviation > 0.0 { (observed - expected) / deviation } else { 0.0 }
}

/// The population stability index, `Σ (q − p) ln(q / p)`, of two lists of counts.
pub(super) fn psi(expected: &[f64], observed: &[f64]) -> f64 {
    let share = |counts: &[f64]| {
        let all = counts.iter().sum::<f64>() + SMOOTHING * counts.len() as f64;
        counts.iter().map(|count| (count + SMOOTHING) / all).collect::<Vec<_>>()
    };
    let (p, q) = (share(expected), share(observed));
    p.iter().zip(&q).map(|(p, q)| (q - p) * (q / p).ln()).sum()
}

/// The 99th percentile of the index where both lists come from the same distribution: `(1/n + 1/m)`
/// times that of a chi-squared distribution (Yurdakul and Naranjo, 2020).
pub(super) fn noise(expected: &[f64], observed: &[f64]) -> f64 {
    let size = |counts: &[f64]| counts.iter().sum::<f64>().max(1.0);
    (1.0 / size(expected) + 1.0 / size(observed)) * chi_squared(expected.len().max(2) - 1)
}

/// The 99th percentile of the chi-squared distribution, approximated (Wilson and Hilferty, 1931).
fn chi_squared(degrees: usize) -> f64 {
    let k = degrees as f64;
    let spread = 2.0 / (9.0 * k);
    k * (1.0 - spread + Z * spread.sqrt()).powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_that_of_the_formula() {
        // (0.2 − 0.5) ln(0.2 / 0.5) + (0.8 − 0.5) ln(0.8 / 0.5)
        let big = 1e9;
        let index = psi(&[0.5 * big, 0.5 * big], &[0.2 * big, 0.8 * big]);
        assert!((index - 0.415_888_3).abs() < 1e-6, "{index}");
        assert_eq!(psi(&[3.0, 4.0], &[3.0, 4.0]), 0.0);
    }

    #[test]
    fn the_percentiles_are_near_those_of_the_tables() {
        for (degrees, table) in [(1, 6.635), (2, 9.210), (5, 15.086), (9, 21.666), (30, 50.892)] {
            let ratio = chi_squared(degrees) / table;
            assert!((ratio - 1.0).abs() < 0.02, "{degrees} {ratio}");
        }
    }
}
