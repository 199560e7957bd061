//! Finds the class that a folder or a file is named after.
//!
//! A folder may have exactly the name of a class, or differ in case and in `-`, `_`, `.` and
//! spaces, or be its plural (`cats`, `boxes`, `puppies`, `wolves`), or its singular if the class is
//! a plural; in this order. A name that is the plural of two classes matches neither.

use std::collections::HashMap;

use crate::domain::{class_name::folded, dataset::Classes};

const IRREGULAR: [(&str, &str); 7] = [
    ("child", "children"),
    ("foot", "feet"),
    ("goose", "geese"),
    ("man", "men"),
    ("mouse", "mice"),
    ("person", "people"),
    ("tooth", "teeth"),
];

/// The names of a dataset's classes, for lookups.
#[derive(Debug, Clone)]
pub(super) struct Labels {
    classes: Classes,
    /// By their folded names.
    exact: HashMap<String, usize>,
    /// In lower case, words separated by a space; `None` if two classes are alike.
    alike: HashMap<String, Option<usize>>,
    /// The same for their plurals.
    plural: HashMap<String, Option<usize>>,
}

impl Labels {
    pub(super) fn new(classes: &Classes) -> Self {
        let mut labels = Self {
            classes: classes.clone(),
            exact: HashMap::new(),
            alike: HashMap::new(),
            plural: HashMap::new(),
        };
        for (index, name) in classes.names().iter().enumerate() {
            labels.exact.insert(name.folded(), index);
            let plain = plain(name);
            for plural in plurals(&plain) {
                enter(&mut labels.plural, plural, index);
            }
            enter(&mut labels.alike, plain, index);
        }
        labels
    }

    pub(super) fn classes(&self) -> &Classes {
        &self.classes
    }

    /// The class of exactly that name, ignoring case.
    pub(super) fn exact(&self, name: &str) -> Option<usize> {
        self.exact.get(&folded(name)).copied()
    }

    /// The class that a folder is named after.
    pub(super) fn of_folder(&self, folder: &str) -> Option<usize> {
        if folder.len() > 1024 {
            return None;
        }
        self.exact(folder).or_else(|| {
            let plain = plain(folder);
            let found = self.alike.get(&plain).or_else(|| self.plural.get(&plain)).copied();
            found.unwrap_or_else(|| plurals(&plain).find_map(|it| *self.alike.get(&it)?))
        })
    }

    /// The class whose name a file's name begins with, up to a dot or to a number: `cat.0.jpg`,
    /// `cat_12.png`. The longest such name, since one class may begin like another.
    pub(super) fn of_file(&self, file: &str) -> Option<usize> {
        if file.len() > 1024 {
            return None;
        }
        // From the longest: the ends of names are at a dot, or at `_` or `-` before a number.
        file.char_indices().rev().find_map(|(at, c)| {
            let is_end = match c {
                '.' => true,
                '_' | '-' => {
                    let number = file[at + 1..].split('.').next().unwrap_or_default();
                    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
                }
                _ => false,
            };
            if is_end { self.exact(&file[..at]) } else { None }
        })
    }
}

fn enter(names: &mut HashMap<String, Option<usize>>, name: String, index: usize) {
    names
        .entry(name)
        .and_modify(|known| {
            if *known != Some(index) {
                *known = None;
            }
        })
        .or_insert(Some(index));
}

fn plain(name: &str) -> String {
    let lower = folded(name);
    let words = lower.split(['-', '_', '.', ' ']).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// Plurals of an English word; some of them are never used (`boxs`).
fn plurals(word: &str) -> impl Iterator<Item = String> {
    let is_sibilant =
        word.ends_with(['s', 'x', 'z', 'o']) || word.ends_with("ch") || word.ends_with("sh");
    let es = is_sibilant.then(|| format!("{word}es"));
    let ies = word
        .strip_suffix('y')
        .filter(|stem| !stem.is_empty() && !stem.ends_with(['a', 'e', 'i', 'o', 'u']))
        .map(|stem| format!("{stem}ies"));
    let ves = word.strip_suffix("fe").or(word.strip_suffix('f')).map(|stem| format!("{stem}ves"));
    let irregular = IRREGULAR.iter().find_map(|(one, many)| {
        let stem = word.strip_suffix(one)?;
        (stem.is_empty() || stem.ends_with(' ') || *one == "man").then(|| format!("{stem}{many}"))
    });
    let s = (!word.is_empty()).then(|| format!("{word}s"));
    [s, es, ies, ves, irregular].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(names: &[&str]) -> Labels {
        let names = names.iter().map(|name| name.parse().unwrap());
        Labels::new(&Classes::new(names.collect()).unwrap())
    }

    #[test]
    fn a_folder_may_be_a_class_or_many_of_it() {
        let animals = ["cat", "fox", "puppy", "wolf", "Great-Dane", "mouse", "fish", "monkey"];
        let animals = labels(&animals);
        for (folder, index) in [
            ("cat", 0),
            ("CATS", 0),
            ("foxes", 1),
            ("Puppies", 2),
            ("wolves", 3),
            ("great dane", 4),
            ("Great_Danes", 4),
            ("mice", 5),
            ("fish", 6),
            ("fishes", 6),
            ("monkeys", 7),
        ] {
            assert_eq!(animals.of_folder(folder), Some(index), "{folder}");
        }
        for folder in ["", "catss", "ca", "catalogue", "s", "great", "bird", "cats and foxes"] {
            assert_eq!(animals.of_folder(folder), None, "{folder}");
        }
        let many = labels(&["cats", "dogs"]);
        assert_eq!((many.of_folder("cat"), many.of_folder("Dog")), (Some(0), Some(1)));
    }

    #[test]
    fn what_is_exact_goes_first_and_what_is_ambiguous_is_none() {
        let both = labels(&["cat", "cats"]);
        assert_eq!((both.of_folder("cat"), both.of_folder("Cats")), (Some(0), Some(1)));
        let alike = labels(&["great-dane", "great_dane"]);
        assert_eq!(alike.of_folder("great_dane"), Some(1));
        assert_eq!(alike.of_folder("great dane"), None);
        let axes = labels(&["ax", "axe"]);
        assert_eq!((axes.of_folder("axe"), axes.of_folder("axes")), (Some(1), None));
    }

    #[test]
    fn a_file_is_of_the_longest_class_that_it_begins_with() {
        let dogs = labels(&["great", "great.dane"]);
        assert_eq!(dogs.of_file("great.dane.0.jpg"), Some(1));
        assert_eq!(dogs.of_file("great.0.jpg"), Some(0));
        let pets = Labels::new(&Classes::default());
        for (file, index) in
            [("cat.jpg", 0), ("dog.7.jpg", 1), ("cat_0012.jpg", 0), ("DOG-3.png", 1)]
        {
            assert_eq!(pets.of_file(file), Some(index), "{file}");
        }
        for file in ["x.jpg", "IMG_1234.jpg", "catalogue.jpg", "cat-alogue.jpg", "cats.1.jpg", ""] {
            assert_eq!(pets.of_file(file), None, "{file}");
        }
    }
}
