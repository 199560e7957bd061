//! What an upload would do, judged by the paths of its files alone; nothing is stored.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Datasets, Error,
    layout::{Assignment, AssignmentRule, Layout, PathDecision},
    paths::{display_path, has_image_name},
    report::{Ignored, Rejected, Rejection, Report},
};
use crate::domain::{ClassName, dataset::Split};

/// What an upload of files with these paths would add; their contents are not read.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
#[schema(as = UploadPreview)]
pub struct Preview {
    /// Classes that the images would be in.
    pub classes: Vec<FoundClass>,
    /// Number of images by the split that their folder names.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub splits: BTreeMap<Split, u64>,
    /// Number of images in no split folder: 70/15/15 by content hash.
    pub by_content: u64,
    /// Number of files that are in a class, but named like another kind of file. If they are images
    /// all the same, they are added.
    pub not_images: u64,
    /// Files that would be rejected for their path (first 1,000).
    pub rejected: Vec<Rejected>,
    /// Total number of files that would be rejected for their path.
    pub rejected_total: u64,
    /// Files that would be ignored.
    pub ignored: Ignored,
}

/// A class of an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FoundClass {
    /// Name.
    pub name: ClassName,
    /// Number of images.
    pub images: u64,
    /// Whether the dataset would get this class.
    pub new: bool,
}

/// Collects a [`Preview`].
#[derive(Debug, Default)]
pub(super) struct Collector {
    preview: Preview,
    report: Report,
    classes: BTreeMap<ClassName, u64>,
}

impl Collector {
    pub(super) fn accept(&mut self, path: &str, assignment: Assignment) {
        let file = path.rsplit('/').next().unwrap_or_default();
        // Photos of some programs have no extension.
        if file.contains('.') && !has_image_name(file) {
            self.preview.not_images += 1;
            return;
        }
        match assignment.split {
            Some(split) => *self.preview.splits.entry(split).or_default() += 1,
            None => self.preview.by_content += 1,
        }
        if let Some(label) = assignment.label {
            *self.classes.entry(label).or_default() += 1;
        }
    }

    pub(super) fn reject(&mut self, path: String, rejection: &Rejection) {
        self.report.reject(path, rejection);
    }

    pub(super) fn ignore(&mut self, path: String) {
        self.report.ignore(path);
    }

    pub(super) fn finish(self, is_known: impl Fn(&str) -> bool) -> Preview {
        let Report { rejected, rejected_total, ignored, .. } = self.report;
        let mut classes: Vec<FoundClass> = self
            .classes
            .into_iter()
            .map(|(name, images)| FoundClass { new: !is_known(&name), name, images })
            .collect();
        classes.sort_by_cached_key(|class| class.name.folded());
        Preview { classes, rejected, rejected_total, ignored, ..self.preview }
    }
}

impl Datasets {
    /// What an upload of files with those paths would do.
    ///
    /// # Errors
    /// There is no such dataset.
    pub async fn preview(
        &self,
        dataset: &str,
        paths: Vec<String>,
        rule: AssignmentRule,
    ) -> Result<Preview, Error> {
        let row = self.row(dataset).await?;
        super::blocking(move || {
            let mut layout = Layout::new(&row.classes, row.open);
            paths.iter().for_each(|path| layout.observe(path));
            let mut found = Collector::default();
            for path in &paths {
                match layout.assign(path, &rule) {
                    PathDecision::Accept(assignment) => found.accept(path, assignment),
                    PathDecision::Reject(rejection) => found.reject(display_path(path), &rejection),
                    PathDecision::Ignore => found.ignore(display_path(path)),
                }
            }
            Ok(found.finish(|name| row.classes.index_of(name).is_some()))
        })
        .await
    }
}
