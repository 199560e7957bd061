//! The text format, version 0.0.4, which every Prometheus tool reads.
//!
//! The library writes OpenMetrics, which names a counter `x` in its description and `x_total` in
//! its samples, and ends with a mark. In the older format the description has the samples' name.

use std::fmt::{self, Write as _};

use prometheus_client::{encoding::text::encode_registry, registry::Registry};

/// All metrics of `registries`, one after another.
pub(super) fn encode(registries: &[&Registry]) -> Result<String, fmt::Error> {
    let mut open = String::new();
    for registry in registries {
        encode_registry(&mut open, registry)?;
    }
    let mut text = String::with_capacity(open.len());
    let mut lines = open.lines().peekable();
    while let Some(line) = lines.next() {
        let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|line| line.split_once(' '))
        else {
            writeln!(text, "{line}")?;
            continue;
        };
        let kind = lines.next_if(|line| line.starts_with("# TYPE "));
        let kind = kind.and_then(|line| line.rsplit(' ').next()).unwrap_or("untyped");
        let suffix = if kind == "counter" { "_total" } else { "" };
        writeln!(text, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}")?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::{counter::Counter, gauge::ConstGauge};

    use super::*;

    #[test]
    fn a_counter_is_described_by_the_name_of_its_samples() {
        let mut one = Registry::default();
        one.register("walks", "Walks taken", Counter::<u64>::default());
        let mut other = Registry::default();
        other.register("dogs", "Dogs", ConstGauge::new(2_i64));
        let text = encode(&[&one, &other]).unwrap();
        assert_eq!(
            text,
            "# HELP walks_total Walks taken.\n# TYPE walks_total counter\nwalks_total 0\n\
             # HELP dogs Dogs.\n# TYPE dogs gauge\ndogs 2\n"
        );
    }
}
