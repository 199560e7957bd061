//! The report of an upload: counts, rejected files with reasons, and ignored files.

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    domain::{ClassName, dataset::Classes},
    memory_budget::OverBudget,
    vision::DecodeError,
};

/// Maximum rejected files that are listed.
const MAX_LISTED: usize = 1_000;
/// Maximum ignored files that are named.
const MAX_EXAMPLES: usize = 10;

/// Upload report.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
#[schema(as = UploadReport)]
pub struct Report {
    /// Images added.
    pub added: u64,
    /// Duplicates already in the dataset with the same label.
    pub duplicates: u64,
    /// Rejected files (first 1,000).
    pub rejected: Vec<Rejected>,
    /// Total number of rejected files.
    pub rejected_total: u64,
    /// Ignored files: hidden files and system files such as `.DS_Store`, `Thumbs.db` and
    /// `@eaDir/…`.
    pub ignored: Ignored,
}

/// Ignored files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = IgnoredFiles)]
pub struct Ignored {
    /// Number of ignored files.
    pub count: u64,
    /// Names of the first 10.
    pub examples: Vec<String>,
}

impl Report {
    /// Records that `file` was ignored.
    pub(super) fn ignore(&mut self, file: String) {
        self.ignored.count += 1;
        if self.ignored.examples.len() < MAX_EXAMPLES {
            self.ignored.examples.push(file);
        }
    }

    /// Records that `file` was rejected.
    pub(super) fn reject(&mut self, file: String, rejection: &Rejection) {
        self.rejected_total += 1;
        if self.rejected.len() < MAX_LISTED {
            let detail = rejection.to_string();
            self.rejected.push(Rejected { file, code: rejection.code(), detail });
        }
    }
}

/// A rejected file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Rejected {
    /// File name.
    pub file: String,
    /// Error code.
    pub code: &'static str,
    /// Readable reason.
    pub detail: String,
}

/// Why a file is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// It is not a supported image.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// It exceeds the size limit of an image.
    #[error("the file exceeds the limit of {max} bytes per image")]
    TooLarge {
        /// The limit.
        max: u64,
    },
    /// It takes more memory to be decoded than the server may use.
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
    /// Its path names no class.
    #[error(
        "no class found: put the file in a folder named after its class (`{example}/…`), or name it like `{example}.0.jpg`"
    )]
    Unlabelled {
        /// A class of the dataset.
        example: String,
    },
    /// Its folders name no class, but those of other files in the upload do.
    #[error(
        "no class found: put the file in a folder named after its class (`{example}/…`); file names are not used because other files are in such folders"
    )]
    InNoClassFolder {
        /// A class of the dataset.
        example: String,
    },
    /// It is in no folder that makes a class of an open dataset.
    #[error(
        "no class found: put the file in a folder named after its class, or upload it with `label=` and the class; with `labels=names`, file names like `rose.0.jpg` name the class"
    )]
    NoClassFolder,
    /// Its name was to say the class.
    #[error(
        "no class found: with `labels=names`, name the file like `rose.0.jpg`: its class, then a number"
    )]
    NoClassInName,
    /// Its folder or its name can't be a class.
    #[error(
        "`{name}` can't be the name of a class: use 1 to 100 characters without `/`, `\\` and control characters, not beginning with a dot and not the name of a split"
    )]
    InvalidClass {
        /// The name.
        name: String,
    },
    /// Its class was renamed or removed during the upload.
    #[error("the class `{label}` was renamed or removed during the upload; upload the file again")]
    ClassGone {
        /// The name it had.
        label: ClassName,
    },
    /// It would make one class too many.
    #[error("`{label}` would be a new class, but the dataset already has {}", Classes::MAX)]
    TooManyClasses {
        /// The class.
        label: ClassName,
    },
    /// It is in no split folder, but other files of the upload are.
    #[error(
        "{}, but other files of this upload are in {splits}: {}, or upload it separately with `split=`",
        folder.as_ref().map_or_else(|| "not in a split folder".to_owned(), |folder| format!("`{folder}` is not a split folder")),
        if folder.is_some() { "rename the folder to train, validation or test" } else { "move it into a folder named train, validation or test" },
    )]
    UnknownSplit {
        /// The folder beside the split folders.
        folder: Option<String>,
        /// Some of the split folders.
        splits: String,
    },
    /// Its path names an unknown class.
    #[error("unknown class `{name}`; this dataset has {classes}")]
    UnknownLabel {
        /// The name.
        name: String,
        /// The classes of the dataset.
        classes: String,
    },
    /// The same image is in the dataset with another class.
    #[error(
        "this image is already in the dataset as `{label}`; relabel that one or skip this file"
    )]
    LabelConflict {
        /// Its class in the dataset.
        label: ClassName,
    },
    /// Its path leads out of the archive.
    #[error("unsafe path: absolute or contains `..`")]
    UnsafePath,
    /// An archive entry that is not a regular file.
    #[error("not a regular file (link or device)")]
    Link,
    /// A hard link in an archive to a file that is not an earlier entry.
    #[error("hard link to `{target}`, which is not an earlier file in this archive")]
    DeadLink {
        /// The target of the link.
        target: String,
    },
    /// An archive entry that can't be read without a password.
    #[error("encrypted entry; upload an archive without a password")]
    Encrypted,
    /// An archive entry with an unsupported compression method.
    #[error("unsupported compression method ({method}); use deflate or no compression")]
    Packing {
        /// The method's name.
        method: String,
    },
    /// A damaged archive entry.
    #[error("damaged archive entry: {0}")]
    Unpack(String),
}

impl Rejection {
    /// The stable error code of the API.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Decode(error) => error.code(),
            Self::TooLarge { .. } | Self::OverBudget(_) => "too_large",
            Self::Unlabelled { .. }
            | Self::InNoClassFolder { .. }
            | Self::NoClassFolder
            | Self::NoClassInName => "unlabelled",
            Self::InvalidClass { .. } => "invalid_label",
            Self::TooManyClasses { .. } => "too_many_classes",
            Self::UnknownSplit { .. } => "unknown_split",
            Self::UnknownLabel { .. } | Self::ClassGone { .. } => "unknown_label",
            Self::LabelConflict { .. } => "label_conflict",
            Self::UnsafePath => "unsafe_path",
            Self::Link | Self::DeadLink { .. } => "link",
            Self::Encrypted => "encrypted",
            Self::Packing { .. } => "unsupported_type",
            Self::Unpack(_) => "corrupt_image",
        }
    }

    pub(super) fn unknown_label(name: &str, classes: &Classes) -> Self {
        Self::UnknownLabel { name: name.chars().take(100).collect(), classes: listed(classes) }
    }
}

/// The first few classes, for a message.
pub(super) fn listed(classes: &Classes) -> String {
    let names = classes.names();
    if names.is_empty() {
        return "none".to_owned();
    }
    let first: Vec<&str> = names.iter().take(10).map(|name| &**name).collect();
    let more = if names.len() > first.len() { ", …" } else { "" };
    format!("{}{more}", first.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_of_rejections_ends_and_their_number_does_not() {
        let mut report = Report::default();
        for number in 0..1_500 {
            report.reject(number.to_string(), &Rejection::Link);
        }
        assert_eq!((report.rejected.len(), report.rejected_total), (1_000, 1_500));
        assert_eq!(report.rejected[999].file, "999");
        for number in 0..20 {
            report.ignore(format!("{number}/Thumbs.db"));
        }
        assert_eq!((report.ignored.count, report.ignored.examples.len()), (20, 10));
    }
}
