//! The classes that an upload to an open dataset makes.
//!
//! - The class of an image is the first of its folders below those that are common to all images
//!   (`flowers/` in `flowers/rose/1.jpg`) and that are no splits; folders below it don't matter. If
//!   all images have the same folders, the last of these is their class.
//! - A folder that has the name of a class of the dataset, ignoring case, goes into it. Otherwise its
//!   name is a new class, the same one for all spellings that differ in case. Nothing else is taken
//!   for alike: `glasses` is not `glass`, nor `-5` the class `5`.
//! - Cats and dogs are recognised as in a closed dataset of these classes (`Cats/`, `dog.0.jpg`), if
//!   the upload has nothing else and the dataset has no other class.
//! - File names make other classes only on request.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{
    Folder, FolderFacts, Labels, Layout, MAX_FOLDERS, components, is_hidden, paths::has_image_name,
};
use crate::{
    datasets::report::Rejection,
    domain::{
        ClassName,
        class_name::folded,
        dataset::{Classes, Split},
    },
};

/// Maximum bytes of the paths of folders that are remembered.
const MAX_BYTES: usize = 16 << 20;

/// What an open dataset is read by, beside the labels of its classes.
#[derive(Debug)]
pub(super) struct OpenLabels {
    /// Cat and dog, if the dataset has no other classes; otherwise its classes.
    expected: Labels,
    /// Whether they are cat and dog.
    only_pets: bool,
}

/// The folders of the images of an upload.
#[derive(Debug, Default)]
pub(super) struct ImageFolders {
    /// By whether the files are named like images. Others count only if none is.
    named: [Paths; 2],
}

#[derive(Debug, Default)]
struct Paths {
    /// Each with whether the names of all files in it begin with an expected class.
    folders: HashMap<String, bool>,
    bytes: usize,
    /// Whether there are folders that are not remembered.
    more: bool,
}

/// What the folders of an upload mean together.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The class folder's place among the folders of a path that are no splits; `None` if no image
    /// is in such a folder.
    place: Option<usize>,
    /// File names name the expected classes, and no folder does.
    by_name: bool,
    /// All class folders are forms of the expected classes.
    all_expected: bool,
    /// How new classes are written, by their folded names.
    spellings: HashMap<String, ClassName>,
}

impl OpenLabels {
    pub(super) fn new(classes: &Classes) -> Self {
        let pets = Classes::default();
        let only_pets = classes.names().iter().all(|name| pets.index_of(name).is_some());
        Self { expected: Labels::new(if only_pets { &pets } else { classes }), only_pets }
    }

    /// Whether the dataset has no classes but cat and dog.
    pub(super) const fn only_pets(&self) -> bool {
        self.only_pets
    }

    fn of_folder(&self, folder: &str) -> Option<usize> {
        if self.only_pets { self.expected.of_folder(folder) } else { self.expected.exact(folder) }
    }
}

impl ImageFolders {
    pub(super) fn observe(&mut self, folders: &[&str], file: &str, labels: &OpenLabels) {
        let paths = &mut self.named[usize::from(has_image_name(file))];
        let expected = labels.expected.of_file(file).is_some();
        let path = folders.join("/");
        if let Some(all) = paths.folders.get_mut(&path) {
            *all &= expected;
        } else if paths.folders.len() < MAX_FOLDERS && paths.bytes + path.len() <= MAX_BYTES {
            paths.bytes += path.len();
            paths.folders.insert(path, expected);
        } else {
            paths.more = true;
        }
    }

    fn paths(&self) -> &Paths {
        let [others, images] = &self.named;
        if images.folders.is_empty() { others } else { images }
    }
}

impl Layout {
    /// The class of a file by its folders, or by its name if only that can say it.
    pub(super) fn open_label(
        &self,
        open: &OpenLabels,
        facts: &FolderFacts,
        folders: &[Folder],
        file: &str,
    ) -> Result<ClassName, Rejection> {
        // `train_cats` of a dataset that has cats.
        let of_split =
            folders.iter().rev().filter(|it| facts.split(it).is_some()).find_map(|it| it.label);
        if let Some(name) = of_split.and_then(|label| self.labels.classes().name(label)) {
            return Ok(name.clone());
        }
        let plan = self.plan.get_or_init(|| self.plan(open));
        if plan.by_name || plan.place.is_none() {
            let labels = if plan.by_name { &open.expected } else { &self.labels };
            let named = labels.of_file(file).and_then(|label| labels.classes().name(label));
            return named.cloned().ok_or(Rejection::NoClassFolder);
        }
        let mut classes = folders.iter().filter(|folder| facts.split(folder).is_none());
        let class = plan.place.and_then(|place| classes.nth(place));
        self.new_class(class.ok_or(Rejection::NoClassFolder)?.name, open, plan)
    }

    /// The class that the word before a number in a file's name makes, or that the name begins with.
    pub(super) fn class_of_name(&self, file: &str) -> Result<ClassName, Rejection> {
        let known = self.labels.of_file(file).or_else(|| {
            let word = word_before_number(file)?;
            self.known(word)
        });
        if let Some(name) = known.and_then(|label| self.labels.classes().name(label)) {
            return Ok(name.clone());
        }
        match (word_before_number(file), &self.open) {
            (None, _) => Err(Rejection::NoClassInName),
            (Some(word), None) => Err(Rejection::unknown_label(word, self.labels.classes())),
            (Some(word), Some(_)) => parse(word),
        }
    }

    fn new_class(
        &self,
        folder: &str,
        open: &OpenLabels,
        plan: &Plan,
    ) -> Result<ClassName, Rejection> {
        let name = |labels: &Labels, label| labels.classes().name(label).cloned();
        let known = self.known(folder).and_then(|label| name(&self.labels, label));
        let expected = open.of_folder(folder).filter(|_| plan.all_expected);
        let expected = expected.and_then(|label| name(&open.expected, label));
        if let Some(class) = known.or(expected) {
            return Ok(class);
        }
        let spelling = plan.spellings.get(&folded(folder)).cloned();
        spelling.map_or_else(|| parse(folder), Ok)
    }

    fn plan(&self, open: &OpenLabels) -> Plan {
        let Some(facts) = self.facts.get(self.wrapper.hidden()) else { return Plan::default() };
        let paths = facts.images.paths();
        let mut folders: Vec<Vec<&str>> = Vec::new();
        let (mut any, mut expected_names) = (false, !paths.more);
        for (path, expected) in &paths.folders {
            let names: Vec<&str> = components(path).collect();
            let (all, _) = self.folders(&names);
            let (splits, others): (Vec<_>, Vec<_>) =
                all.iter().partition(|folder| facts.split(folder).is_some());
            // What is in no split beside splits is rejected.
            let is_stray = splits.is_empty() && !facts.splits.is_empty();
            let is_labelled = splits.iter().any(|folder| folder.label.is_some());
            if is_stray || is_labelled {
                continue;
            }
            any = true;
            expected_names &= expected;
            if !others.is_empty() {
                folders.push(others.iter().map(|folder| folder.name).collect());
            }
        }
        let place = self.class_place(&folders);
        let classes: BTreeSet<&str> = match place {
            Some(place) => folders.iter().filter_map(|names| names.get(place).copied()).collect(),
            None => BTreeSet::new(),
        };
        let mut known = classes.iter().map(|name| open.of_folder(name).is_some());
        let (all_expected, any_expected) = (known.clone().all(|it| it), known.any(|it| it));
        let by_name = any && expected_names && classes.len() <= 1 && !any_expected;
        let mut spellings = HashMap::new();
        for name in classes.into_iter().filter_map(|name| parse(name).ok()) {
            spellings.entry(name.folded()).or_insert(name);
        }
        Plan { place, by_name, all_expected, spellings }
    }

    /// Which of the folders names the class.
    fn class_place(&self, folders: &[Vec<&str>]) -> Option<usize> {
        let (first, rest) = folders.split_first()?;
        let common = rest.iter().fold(first.len(), |common, names| {
            names.iter().zip(&first[..common]).take_while(|(a, b)| a == b).count()
        });
        let below: HashSet<&str> =
            folders.iter().filter_map(|names| names.get(common).copied()).collect();
        let is_known = |name: &str| self.known(name).is_some();
        if !below.iter().any(|name| is_known(name))
            && let Some(known) = first[..common].iter().rposition(|name| is_known(name))
        {
            return Some(known);
        }
        // `rose/1.jpg` beside `rose/red/2.jpg` is of the same class.
        Some(if below.len() < 2 { common.saturating_sub(1) } else { common })
    }
}

fn parse(name: &str) -> Result<ClassName, Rejection> {
    let invalid = || Rejection::InvalidClass { name: name.chars().take(100).collect() };
    let parsed: ClassName = name.parse().map_err(|_| invalid())?;
    // No folder is named so, since it would be a split.
    let is_split = Split::ALL.iter().any(|split| parsed.eq_ignore_ascii_case(split.as_str()));
    if is_split || is_hidden(&parsed) { Err(invalid()) } else { Ok(parsed) }
}

/// The word before the number at the end of a file's name: `great_dane` of `great_dane_12.jpg`.
fn word_before_number(file: &str) -> Option<&str> {
    let stem =
        file.rsplit_once('.').filter(|_| has_image_name(file)).map_or(file, |(stem, _)| stem);
    let numbered = stem.strip_suffix(')').unwrap_or(stem);
    let head = numbered.trim_end_matches(|c: char| c.is_ascii_digit());
    let word = head.trim_end_matches(['.', '_', '-', ' ', '(']);
    let is_word = head.len() < numbered.len() && word.contains(char::is_alphabetic);
    is_word.then_some(word)
}

#[cfg(test)]
mod tests;
