//! Jobs that train: recipes, their exact results, and what stands around them.
#![expect(clippy::unwrap_used, reason = "a test that can't go on may stop there")]

#[path = "../common/mod.rs"]
mod common;

mod base_networks;
mod comparisons;
mod dry_run;
mod efficientnet_features;
mod jobs;
mod model_files;
mod multiclass;
mod pinned_losses;
mod real_photos;
mod recipe_estimates;
mod recipes;
mod shrinking;
mod weights_for_jobs;
