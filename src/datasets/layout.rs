//! The folders of an upload, and what they mean for each file: its class, its split, or that it is
//! ignored.
//!
//! Used in two passes: [`Layout::observe`] reads the path of every file of the upload, then
//! [`Layout::assign`] assigns each. What one path means depends on the others:
//!
//! - A folder names the class (see `labels`), the nearest to the file first. File names such as
//!   `cat.0.jpg` name it only in an upload where no folder does, and never against a folder.
//! - A folder names the split (see `splits`), the nearest first. `pets_train` is one where
//!   `pets_test` or similar is beside it. Once any folder of an upload is a split, a file in none
//!   is rejected: assigned at random, near-duplicates could leak between the splits.
//! - If no folder is a split, each image's content hash decides.
//! - The folders of an upload to an open dataset also make its classes: see `open`.
//! - System files and hidden files are ignored; a hidden folder that contains everything is read.
//!
//! Pure, and bounded in memory whatever the number of files and their names.

mod open;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::{BuildHasher as _, Hasher as _, RandomState},
    sync::OnceLock,
};

use self::open::{ImageFolders, OpenLabels, Plan};
use super::{
    junk::{Wrapper, is_hidden, is_junk},
    labels::Labels,
    paths::{self, components, is_unsafe},
    report::Rejection,
    splits,
};
use crate::domain::{
    ClassName,
    dataset::{Classes, Split},
};

/// Maximum split folders, and candidates, that are remembered.
const MAX_FOLDERS: usize = 100_000;
/// Names of split folders in a message.
const MAX_EXAMPLES: usize = 3;
/// Maximum nested hidden folders that contain everything; with more, an upload is ignored.
const MAX_HIDDEN: usize = 3;

/// The target of an upload's images, as requested.
#[derive(Debug, Clone, Default)]
pub struct AssignmentRule {
    /// The split of all of them; by path or content if there is none.
    pub split: Option<Split>,
    /// The class of all of them; by path if there is none.
    pub label: Option<ClassName>,
    /// What names the class, where `label` does not.
    pub labels: LabelSource,
}

/// What in the path of an image names its class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LabelSource {
    /// Its folders. File names count where no folder says anything, and only for known classes.
    #[default]
    Folders,
    /// Its file name: the word before the number.
    Names,
    /// Nothing: the images are unlabelled.
    None,
}

/// The target of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Name of its class: indices may change before it is added. `None` if it is unlabelled.
    pub label: Option<ClassName>,
    /// Its split; by content if there is none.
    pub split: Option<Split>,
}

/// The decision on a file by its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathDecision {
    /// It is added there, if it is an image.
    Accept(Assignment),
    /// It is rejected.
    Reject(Rejection),
    /// It is ignored: a system file or hidden file.
    Ignore,
}

/// The observed paths of an upload.
#[derive(Debug)]
pub struct Layout {
    labels: Labels,
    /// Only of an open dataset.
    open: Option<OpenLabels>,
    wrapper: Wrapper,
    /// By the number of hidden folders in the path: those of files that turn out to be ignored
    /// don't count.
    facts: [FolderFacts; MAX_HIDDEN + 1],
    hashes: RandomState,
    /// Of an open dataset, once all paths are recorded.
    plan: OnceLock<Plan>,
}

#[derive(Debug, Default)]
struct FolderFacts {
    /// Of an upload to an open dataset.
    images: ImageFolders,
    /// A folder names a class.
    class_folders: bool,
    /// Names of folders that are splits, for messages.
    splits: BTreeSet<String>,
    /// Folders that contain split folders.
    parents: HashSet<u64>,
    /// Splits that folders such as `pets_train` name, by their parent.
    partial: HashMap<u64, BTreeSet<Split>>,
}

/// Why a file has no class.
enum Unlabelled {
    /// This folder should have named it; `None` if there is none.
    Folder(Option<usize>),
    Said(Rejection),
}

/// A folder in the path of a file.
struct Folder<'a> {
    name: &'a str,
    /// A key for the folders above it.
    parent: u64,
    label: Option<usize>,
    split: Option<FolderSplit>,
}

#[derive(Clone, Copy)]
enum FolderSplit {
    Certain(Split),
    /// A split if another one is beside it: the key of [`FolderFacts::partial`].
    Partial(Split, u64),
}

impl Layout {
    /// For an upload to a dataset with these classes, before its first file; `open` if it may get
    /// more.
    #[must_use]
    pub fn new(classes: &Classes, open: bool) -> Self {
        Self {
            labels: Labels::new(classes),
            open: open.then(|| OpenLabels::new(classes)),
            plan: OnceLock::new(),
            wrapper: Wrapper::default(),
            facts: Default::default(),
            hashes: RandomState::new(),
        }
    }

    /// Records the path of a file. Dead links and other special files must not be recorded.
    pub fn observe(&mut self, path: &str) {
        if is_unsafe(path) || is_junk(path) {
            return;
        }
        self.wrapper.observe(path);
        let mut names: Vec<&str> = components(path).collect();
        let Some(file) = names.pop().filter(|file| !is_hidden(file)) else { return };
        let (folders, _) = self.folders(&names);
        let hidden = names.iter().filter(|name| is_hidden(name)).count();
        let Some(facts) = self.facts.get_mut(hidden) else { return };
        if let Some(open) = &self.open {
            facts.images.observe(&names, file, open);
        }
        for folder in folders {
            facts.class_folders |= folder.label.is_some();
            let is_split = match folder.split {
                None => false,
                Some(FolderSplit::Certain(_)) => true,
                Some(FolderSplit::Partial(split, key)) => {
                    if facts.partial.len() < MAX_FOLDERS || facts.partial.contains_key(&key) {
                        facts.partial.entry(key).or_default().insert(split);
                    }
                    facts.is_split(key)
                }
            };
            if is_split {
                if facts.splits.len() < MAX_EXAMPLES && !facts.splits.contains(folder.name) {
                    facts.splits.insert(folder.name.chars().take(100).collect());
                }
                if facts.parents.len() < MAX_FOLDERS {
                    facts.parents.insert(folder.parent);
                }
            }
        }
    }

    /// The decision on the file at `path`, of an upload whose files have all been recorded.
    #[must_use]
    pub fn assign(&self, path: &str, rule: &AssignmentRule) -> PathDecision {
        if is_unsafe(path) {
            return PathDecision::Reject(Rejection::UnsafePath);
        }
        let mut names: Vec<&str> = components(path).collect();
        let hidden = names.iter().filter(|name| is_hidden(name)).count();
        let Some(facts) = self.facts.get(hidden).filter(|_| !self.wrapper.ignores(path)) else {
            return PathDecision::Ignore;
        };
        let Some(file) = names.pop() else {
            return PathDecision::Reject(self.unlabelled(facts));
        };
        let classes = self.labels.classes();
        let (folders, own) = self.folders(&names);
        let split_at = folders.iter().rposition(|folder| facts.split(folder).is_some());
        // A split folder that contains split folders, such as `training_data/train`, is a split for
        // those alone.
        let beside = split_at.map(|at| (at + 1, folders.get(at + 1).map_or(own, |it| it.parent)));
        let stray_in_split = beside.filter(|(_, parent)| facts.parents.contains(parent));
        let split = match (rule.split, split_at) {
            (Some(split), _) => Ok(Some(split)),
            (None, Some(_)) if let Some((at, _)) = stray_in_split => {
                Err((at < folders.len()).then_some(at))
            }
            (None, Some(at)) => Ok(facts.split(&folders[at])),
            (None, None) if facts.splits.is_empty() => Ok(None),
            (None, None) => Err(facts.stray(&folders, own)),
        };
        if rule.label.is_none() && rule.labels == LabelSource::None {
            return PathDecision::Accept(Assignment { label: None, split: None });
        }
        let label = match (&rule.label, rule.labels, &self.open) {
            (Some(label), ..) => Ok(label.clone()),
            (None, LabelSource::Names, _) => self.class_of_name(file).map_err(Unlabelled::Said),
            (None, LabelSource::Folders | LabelSource::None, Some(open)) => {
                self.open_label(open, facts, &folders, file).map_err(Unlabelled::Said)
            }
            (None, LabelSource::Folders | LabelSource::None, None) => {
                let of_folder = folders.iter().rev().find_map(|folder| folder.label);
                let of_file = || self.labels.of_file(file).filter(|_| !facts.class_folders);
                of_folder
                    .or_else(of_file)
                    .and_then(|label| classes.name(label).cloned())
                    .ok_or_else(|| self.find_unlabelled_folder(facts, &folders, own, split_at))
                    .map_err(Unlabelled::Folder)
            }
        };
        let rejection = match (label, split) {
            (Ok(label), Ok(split)) => {
                return PathDecision::Accept(Assignment { label: Some(label), split });
            }
            (Ok(_), Err(stray)) => facts.unknown_split(stray.map(|at| folders[at].name)),
            (Err(Unlabelled::Said(rejection)), _) => rejection,
            (Err(Unlabelled::Folder(Some(at))), Err(Some(stray))) if at == stray => {
                facts.unknown_split(Some(folders[at].name))
            }
            (Err(Unlabelled::Folder(Some(at))), _) => {
                Rejection::unknown_label(folders[at].name, classes)
            }
            (Err(Unlabelled::Folder(None)), _) => {
                match class_like_prefix(file).filter(|_| !facts.class_folders) {
                    Some(word) => Rejection::unknown_label(word, classes),
                    None => self.unlabelled(facts),
                }
            }
        };
        PathDecision::Reject(rejection)
    }

    /// The class of the dataset that a folder names: in an open dataset, which makes classes of what
    /// it does not know, only by its very name; but for cats and dogs.
    fn known(&self, folder: &str) -> Option<usize> {
        match &self.open {
            Some(open) if !open.only_pets() => self.labels.exact(folder),
            _ => self.labels.of_folder(folder),
        }
    }

    /// The nested folders of these names, and the key of all of them.
    fn folders<'a>(&self, names: &[&'a str]) -> (Vec<Folder<'a>>, u64) {
        let mut hasher = self.hashes.build_hasher();
        let mut parent = hasher.finish();
        let mut folders = Vec::with_capacity(names.len());
        for name in names {
            let mut label = self.known(name);
            // A class may be named like a split, such as `dev`.
            let named = if label.is_some() { None } else { splits::parse_folder(name) };
            let split = named.map(|named| {
                if named.rest.is_empty() {
                    return FolderSplit::Certain(named.split);
                }
                // `train_cats` names both.
                let of_rest = self.known(&named.rest);
                label = label.or(of_rest);
                if of_rest.is_some() {
                    return FolderSplit::Certain(named.split);
                }
                FolderSplit::Partial(named.split, parent)
            });
            folders.push(Folder { name, parent, label, split });
            hasher.write(name.as_bytes());
            hasher.write_u8(b'/');
            parent = hasher.finish();
        }
        (folders, parent)
    }

    /// The folder that should have named a class: the one below the split, or above it, otherwise
    /// the nearest.
    fn find_unlabelled_folder(
        &self,
        facts: &FolderFacts,
        folders: &[Folder],
        own: u64,
        split_at: Option<usize>,
    ) -> Option<usize> {
        match split_at {
            Some(at) if at + 1 < folders.len() => Some(at + 1),
            Some(at) => (self.wrapper.depth()..at)
                .rev()
                .find(|&above| facts.split(&folders[above]).is_none()),
            // A folder of split folders does not name a class, nor does one above all that do.
            None if facts.parents.contains(&own) => None,
            None if facts.class_folders && folders.len() <= self.wrapper.depth() => None,
            None => folders.len().checked_sub(1),
        }
    }

    fn unlabelled(&self, facts: &FolderFacts) -> Rejection {
        let example = self.labels.classes().name(0).map(ToString::to_string).unwrap_or_default();
        if facts.class_folders {
            Rejection::InNoClassFolder { example }
        } else {
            Rejection::Unlabelled { example }
        }
    }
}

/// Whether a folder of that name is a split on its own, or names one of the classes: then its name
/// is part of the paths of its contents.
#[must_use]
pub fn names_split_or_class(folder: &str, classes: &Classes) -> bool {
    Labels::new(classes).of_folder(folder).is_some() || names_split(folder)
}

/// Whether a folder of that name is a split on its own.
#[must_use]
pub fn names_split(folder: &str) -> bool {
    splits::parse_folder(folder).is_some_and(|named| named.rest.is_empty())
}

impl FolderFacts {
    fn is_split(&self, key: u64) -> bool {
        self.partial.get(&key).is_some_and(|splits| splits.len() > 1)
    }

    fn split(&self, folder: &Folder) -> Option<Split> {
        match folder.split? {
            FolderSplit::Certain(split) => Some(split),
            FolderSplit::Partial(split, key) => self.is_split(key).then_some(split),
        }
    }

    /// Which of `folders` is beside split folders without being one; `None` if the file itself is,
    /// or no split folder is near. `own` is the key of all the folders.
    fn stray(&self, folders: &[Folder], own: u64) -> Option<usize> {
        let beside = folders.iter().position(|folder| self.parents.contains(&folder.parent));
        beside.or_else(|| {
            let is_file = self.parents.contains(&own);
            folders.len().checked_sub(1).filter(|_| !is_file).map(|_| 0)
        })
    }

    fn unknown_split(&self, folder: Option<&str>) -> Rejection {
        let splits: Vec<String> = self.splits.iter().map(|name| format!("`{name}`")).collect();
        Rejection::UnknownSplit {
            folder: folder.map(|name| name.chars().take(100).collect()),
            splits: splits.join(", "),
        }
    }
}

/// The word before a number, as in `bird.7.jpg`: probably meant as a class.
fn class_like_prefix(file: &str) -> Option<&str> {
    let mut parts = file.split('.');
    let word = parts.next().filter(|word| word.chars().all(char::is_alphabetic))?;
    let number = parts.next()?;
    parts.next()?;
    (!word.is_empty() && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
        .then_some(word)
}

#[cfg(test)]
mod tests;
