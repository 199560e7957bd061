//! Settings of when a new model replaces the one in service.

use clap::Args;

use crate::domain::promotion::{Promotion, PromotionRule};

/// Settings of when a new model replaces the one in service.
#[derive(Debug, Clone, Args)]
pub struct PromotionConfig {
    /// When a new model replaces the one in service, if both have the same classes
    #[arg(
        long,
        env = "PAWPRINT_PROMOTION_RULE",
        value_enum,
        default_value = "not-less-accurate",
        value_name = "RULE"
    )]
    pub promotion_rule: PromotionRule,

    /// With --promotion-rule not-worse: how much less accurate a new model may be, in percentage points; 0:
    /// it has to be more accurate
    #[arg(
        long,
        env = "PAWPRINT_PROMOTION_MARGIN",
        default_value = "2",
        value_parser = margin,
        value_name = "POINTS"
    )]
    pub promotion_margin: f64,
}

impl PromotionConfig {
    /// The rule, with its margin as a fraction.
    #[must_use]
    pub fn promotion(&self) -> Promotion {
        Promotion { rule: self.promotion_rule, margin: self.promotion_margin / 100.0 }
    }
}

/// Percentage points: 0 to 100.
fn margin(text: &str) -> Result<f64, String> {
    let points = text.parse().ok().filter(|points| (0.0..=100.0).contains(points));
    points.ok_or_else(|| "use a number from 0 to 100".to_owned())
}
