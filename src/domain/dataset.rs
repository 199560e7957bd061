//! Datasets: classes, splits, images, and the rules that assign an image to a split.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    str::FromStr,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ArrayBuilder, ObjectBuilder, Ref, RefOr, Schema, Type},
};

use super::{ClassName, DatasetId, ImageId, Name, Timestamp, class_name::folded, excerpt::Excerpt};

/// Dataset split.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Used for training.
    Train,
    /// Used to select the best epoch.
    Validation,
    /// Used for the final evaluation.
    Test,
}

impl Split {
    /// Every split, in the usual order.
    pub const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

    /// The name in the API, the database and the manifest.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A string that names no split.
#[derive(Debug, thiserror::Error)]
#[error("unknown split `{}`; use train, validation or test", Excerpt(.0))]
pub struct UnknownSplit(pub String);

impl FromStr for Split {
    type Err = UnknownSplit;

    fn from_str(text: &str) -> Result<Self, UnknownSplit> {
        Self::ALL
            .into_iter()
            .find(|split| split.as_str() == text)
            .ok_or_else(|| UnknownSplit(text.to_owned()))
    }
}

/// SHA-256 of an image's encoded bytes: its identity. Written as 64 lowercase hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(#[serde(with = "hex")] pub [u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl PartialSchema for Digest {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("SHA-256 hash in hex"))
            .pattern(Some("^[0-9a-f]{64}$"))
            .into()
    }
}

impl ToSchema for Digest {}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, hex::FromHexError> {
        let mut digest = [0; 32];
        hex::decode_to_slice(text, &mut digest)?;
        Ok(Self(digest))
    }
}

/// The classes of a dataset or a model, in the order of their indices: index 0 is the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<ClassName>", into = "Vec<ClassName>")]
pub struct Classes(Vec<ClassName>);

/// Why a list of names can't be the classes of a dataset.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidClasses {
    /// A classifier needs at least two classes.
    #[error("a dataset needs at least two classes")]
    TooFew,
    /// More than [`Classes::MAX`].
    #[error("a dataset can have at most {} classes", Classes::MAX)]
    TooMany,
    /// Two names that differ at most in case.
    #[error("duplicate class `{0}` (class names are case-insensitive)")]
    Duplicate(ClassName),
    /// A folder of that name would be read as a split.
    #[error("`{0}` is the name of a split; choose another class name")]
    NamedLikeSplit(ClassName),
}

impl Classes {
    /// Maximum number of classes.
    pub const MAX: usize = 1000;

    /// The classes of those names, for a classifier.
    ///
    /// # Errors
    /// Fewer than two, more than 1000, the same name twice, or the name of a split.
    pub fn new(names: Vec<ClassName>) -> Result<Self, InvalidClasses> {
        if names.len() < 2 {
            return Err(InvalidClasses::TooFew);
        }
        Self::of_dataset(names)
    }

    /// The classes of a dataset, which may still have none or one.
    ///
    /// # Errors
    /// More than 1000, the same name twice, or the name of a split.
    pub fn of_dataset(names: Vec<ClassName>) -> Result<Self, InvalidClasses> {
        if names.len() > Self::MAX {
            return Err(InvalidClasses::TooMany);
        }
        let mut known = HashSet::with_capacity(names.len());
        for name in &names {
            if Split::ALL.iter().any(|split| name.eq_ignore_ascii_case(split.as_str())) {
                return Err(InvalidClasses::NamedLikeSplit(name.clone()));
            }
            if !known.insert(name.folded()) {
                return Err(InvalidClasses::Duplicate(name.clone()));
            }
        }
        Ok(Self(names))
    }

    /// The names, in the order of their indices.
    #[must_use]
    pub fn names(&self) -> &[ClassName] {
        &self.0
    }

    /// The index of the class of that name, ignoring case.
    #[must_use]
    pub fn index_of(&self, name: &str) -> Option<usize> {
        let exact = self.0.iter().position(|class| **class == *name);
        exact.or_else(|| {
            let wanted = folded(name);
            self.0.iter().position(|class| class.folded() == wanted)
        })
    }

    /// Whether both have the same names, in any order and ignoring case.
    #[must_use]
    pub fn has_names_of(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && other.0.iter().all(|name| self.index_of(name).is_some())
    }

    /// The name of the class of that index.
    #[must_use]
    pub fn name(&self, index: usize) -> Option<&ClassName> {
        self.0.get(index)
    }
}

impl PartialSchema for Classes {
    fn schema() -> RefOr<Schema> {
        ArrayBuilder::new()
            .description(Some("Class names, in the order of their indices"))
            .items(Ref::from_schema_name(ClassName::name()))
            .min_items(Some(2))
            .max_items(Some(Self::MAX))
            .unique_items(true)
            .into()
    }
}

impl ToSchema for Classes {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((ClassName::name().into_owned(), ClassName::schema()));
    }
}

impl TryFrom<Vec<ClassName>> for Classes {
    type Error = InvalidClasses;

    fn try_from(names: Vec<ClassName>) -> Result<Self, InvalidClasses> {
        Self::new(names)
    }
}

impl From<Classes> for Vec<ClassName> {
    fn from(classes: Classes) -> Self {
        classes.0
    }
}

impl Default for Classes {
    /// Cat and dog, the classes of the reference notebook.
    fn default() -> Self {
        let names = ["cat", "dog"].into_iter().filter_map(|name| name.parse().ok());
        Self(names.collect())
    }
}

/// Image counts of each class, by split.
pub type Counts = BTreeMap<Split, BTreeMap<ClassName, u64>>;

/// Dataset.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Dataset {
    /// Id.
    pub id: DatasetId,
    /// Unique name.
    pub name: Name,
    /// Whether images that arrive make its classes; otherwise only these are accepted.
    pub open: bool,
    /// Classes, in the order of their indices; sorted by name in an open dataset.
    #[schema(value_type = Vec<ClassName>, max_items = 1000)]
    pub classes: Classes,
    /// Hash of all (sha256, label, split); identical content has the same version.
    pub version: Digest,
    /// Image counts by split and class, zeros included.
    #[schema(value_type = BTreeMap<String, BTreeMap<String, u64>>)]
    pub counts: Counts,
    /// Total number of images.
    pub images: u64,
    /// Total size of the original files in bytes.
    pub bytes: u64,
    /// Number of images without a label; these are in no count, version, job or evaluation.
    pub unlabelled: u64,
    /// Creation time.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// One image of a dataset.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Image {
    /// Id.
    pub id: ImageId,
    /// Id of its dataset.
    pub dataset_id: DatasetId,
    /// Original file name.
    pub file_name: String,
    /// Class.
    pub label: ClassName,
    /// Split.
    pub split: Split,
    /// Media type of the file.
    pub media_type: String,
    /// Width in pixels after EXIF orientation.
    pub width: u32,
    /// Height in pixels after EXIF orientation.
    pub height: u32,
    /// File size in bytes.
    pub bytes: u64,
    /// SHA-256 of the file.
    pub sha256: Digest,
    /// Upload time.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// One line of a manifest: an image as a job sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Id of the image, for messages.
    pub image_id: ImageId,
    /// SHA-256 of the file.
    pub sha256: Digest,
    /// Index of its class.
    pub label: usize,
    /// Split.
    pub split: Split,
}

/// The version of a dataset with these samples: a SHA-256 over (sha256, label, split) in the order
/// of the hashes, independent of the order of the samples; then over the names of its classes, if
/// they count.
#[must_use]
pub fn version_of(samples: &[Sample], names: Option<&Classes>) -> Digest {
    let mut ordered: Vec<&Sample> = samples.iter().collect();
    ordered.sort_unstable_by_key(|sample| sample.sha256);
    let mut hasher = Sha256::new();
    for sample in ordered {
        hasher.update(sample.sha256.0);
        hasher.update((sample.label as u64).to_be_bytes());
        hasher.update([sample.split as u8]);
    }
    for name in names.into_iter().flat_map(Classes::names) {
        hasher.update((name.len() as u64).to_be_bytes());
        hasher.update(name.as_bytes());
    }
    Digest(hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(content: &str, label: usize, split: Split) -> Sample {
        Sample { image_id: ImageId::new(), sha256: Digest::of(content.as_bytes()), label, split }
    }

    #[test]
    fn the_version_depends_on_content_alone() {
        let a = sample("a", 0, Split::Train);
        let b = sample("b", 1, Split::Test);
        let same_a = Sample { image_id: ImageId::new(), ..a };
        let version = |samples: &[Sample]| version_of(samples, None);
        assert_eq!(version(&[a, b]), version(&[b, same_a]));
        assert_ne!(version(&[a, b]), version(&[a]));
        assert_ne!(version(&[a, b]), version(&[a, Sample { label: 0, ..b }]));
        assert_ne!(version(&[a, b]), version(&[a, Sample { split: Split::Train, ..b }]));
        let classes = Classes::default();
        assert_ne!(version(&[a, b]), version_of(&[a, b], Some(&classes)));
    }

    #[test]
    fn classes_must_be_told_apart() {
        let classes =
            |names: &[&str]| Classes::new(names.iter().map(|name| name.parse().unwrap()).collect());
        assert_eq!(classes(&["cat"]), Err(InvalidClasses::TooFew));
        assert!(matches!(classes(&["cat", "Cat"]), Err(InvalidClasses::Duplicate(_))));
        assert!(matches!(classes(&["cat", "Train"]), Err(InvalidClasses::NamedLikeSplit(_))));
        assert_eq!(classes(&["cat", "dog"]), Ok(Classes::default()));
        assert_eq!(Classes::default().index_of("DOG"), Some(1));
    }
}
