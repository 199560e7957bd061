//! What became of an upload: counts, the files that were rejected with the reason, and those that
//! were left out.

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    domain::{Name, dataset::Classes},
    memory_budget::OverBudget,
    vision::DecodeError,
};

/// Rejected files that are listed; of more, only the number is said.
const MAX_LISTED: usize = 1_000;
/// Files that were left out and are named.
const MAX_EXAMPLES: usize = 10;

/// What became of the files of an upload.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
#[schema(as = UploadReport)]
pub struct Report {
    /// Images that entered the dataset.
    pub added: u64,
    /// Images that were in it already, under the same label.
    pub duplicates: u64,
    /// Files that were rejected: the first thousand.
    pub rejected: Vec<Rejected>,
    /// Files that were rejected in all.
    pub rejected_total: u64,
    /// Files that were left out, because systems leave them in folders and nobody means to send
    /// them: `.DS_Store`, `Thumbs.db`, `@eaDir/…` and the like, and hidden files.
    pub ignored: Ignored,
}

/// Files that were left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = IgnoredFiles)]
pub struct Ignored {
    /// How many.
    pub count: u64,
    /// The names of the first ten.
    pub examples: Vec<String>,
}

impl Report {
    /// Notes that `file` was left out.
    pub(super) fn ignore(&mut self, file: String) {
        self.ignored.count += 1;
        if self.ignored.examples.len() < MAX_EXAMPLES {
            self.ignored.examples.push(file);
        }
    }

    /// Notes that `file` was rejected.
    pub(super) fn reject(&mut self, file: String, rejection: &Rejection) {
        self.rejected_total += 1;
        if self.rejected.len() < MAX_LISTED {
            let detail = rejection.to_string();
            self.rejected.push(Rejected { file, code: rejection.code(), detail });
        }
    }
}

/// A file that was rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Rejected {
    /// The name it came under.
    pub file: String,
    /// Why, for programs.
    pub code: &'static str,
    /// Why, for people.
    pub detail: String,
}

/// Why a file does not enter a dataset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// It is no image that can be used.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// It has more bytes than an image may have.
    #[error("the file is larger than {max} bytes, the limit of one image")]
    TooLarge {
        /// The limit.
        max: u64,
    },
    /// It takes more memory to be decoded than the server may use.
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
    /// Its path names no class.
    #[error(
        "nothing says which class it is: put it into a folder of the class's name (`{example}/…`), or name it like `{example}.0.jpg`"
    )]
    Unlabelled {
        /// A class of the dataset.
        example: String,
    },
    /// Its folders name no class, in an upload where those of other files do.
    #[error(
        "no folder it is in names a class, and beside folders that do, file names don't count: put it into a folder of the class's name (`{example}/…`)"
    )]
    InNoClassFolder {
        /// A class of the dataset.
        example: String,
    },
    /// It is in no split, in an upload where other files are.
    #[error(
        "{}; in the same upload, {splits} {} a split: {}, or upload it separately with `split=`",
        folder.as_ref().map_or_else(|| "it is in no folder of a split".to_owned(), |folder| format!("`{folder}` names no split")),
        if splits.contains(',') { "each name" } else { "names" },
        if folder.is_some() { "rename the folder to train, validation or test" } else { "move it into a folder named train, validation or test" },
    )]
    UnknownSplit {
        /// The folder that is none, beside those that are.
        folder: Option<String>,
        /// Some of those that are.
        splits: String,
    },
    /// Its path names a class that the dataset hasn't.
    #[error("`{name}` is not a class of this dataset; it has {classes}")]
    UnknownLabel {
        /// The name.
        name: String,
        /// The classes there are.
        classes: String,
    },
    /// The same bytes are in the dataset as another class.
    #[error("the same image is in this dataset as `{label}`; relabel that one, or leave this out")]
    LabelConflict {
        /// The class they have there.
        label: Name,
    },
    /// Its path leads out of the archive.
    #[error("its path is absolute or has a `..`")]
    UnsafePath,
    /// An archive's entry that is no file.
    #[error("it is a link or a device, not a file")]
    Link,
    /// A hard link of an archive to a file that does not come before it.
    #[error("it is a link to `{target}`, which is not an earlier file of this archive")]
    DeadLink {
        /// What it links to.
        target: String,
    },
    /// An archive's entry that can't be read without a password.
    #[error("it is encrypted; send the archive without a password")]
    Encrypted,
    /// An archive's entry in a form that isn't read.
    #[error("it is compressed by {method}, which is not supported; use deflate, or don't compress")]
    Packing {
        /// The method's name.
        method: String,
    },
    /// An archive's entry whose bytes are not those that were packed.
    #[error("it is damaged within the archive: {0}")]
    Unpack(String),
}

impl Rejection {
    /// The stable word of the API.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Decode(error) => error.code(),
            Self::TooLarge { .. } | Self::OverBudget(_) => "too_large",
            Self::Unlabelled { .. } | Self::InNoClassFolder { .. } => "unlabelled",
            Self::UnknownSplit { .. } => "unknown_split",
            Self::UnknownLabel { .. } => "unknown_label",
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
