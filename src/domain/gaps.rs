//! Gaps of a dataset: the classes without images in some split, as a sentence for a person.

use std::fmt;

use super::dataset::Split;

/// The fewest images of a class that can be in all three splits.
const MIN_IMAGES: u64 = 3;

/// Classes that a sentence names.
const MAX_NAMED: usize = 10;

/// The classes of a dataset that have no images in at least one split.
///
/// Displayed as "`cat` has 12 training, no validation and no test images; `dog` has no images".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gaps(Vec<ClassImages>);

/// A class and its number of images in each of [`Split::ALL`].
#[derive(Debug, Clone, PartialEq, Eq)]
struct ClassImages {
    class: String,
    images: [u64; 3],
}

impl Gaps {
    /// The gaps of a dataset with those classes, each with its number of images in each of
    /// [`Split::ALL`].
    #[must_use]
    pub fn of(classes: impl IntoIterator<Item = (String, [u64; 3])>) -> Self {
        let classes = classes.into_iter().map(|(class, images)| ClassImages { class, images });
        Self(classes.filter(|class| class.images.contains(&0)).collect())
    }

    /// Whether each class has images in each split.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each split without images of a class.
    pub fn iter(&self) -> impl Iterator<Item = (Split, &str)> {
        let splits = |class: &ClassImages| Split::ALL.into_iter().zip(class.images);
        self.0.iter().flat_map(move |class| {
            let empty = splits(class).filter(|(_, images)| *images == 0);
            empty.map(|(split, _)| (split, &*class.class))
        })
    }

    /// Those of the classes without training or validation images, because of which nothing can be
    /// trained.
    #[must_use]
    pub fn preventing_training(&self) -> Self {
        let prevents = |class: &&ClassImages| class.images[0] == 0 || class.images[1] == 0;
        Self(self.0.iter().filter(prevents).cloned().collect())
    }

    /// What to do about them; `command` says how to apply the stable split.
    #[must_use]
    pub fn remedy(&self, command: &str) -> String {
        let small = |class: &&ClassImages| class.images.iter().sum::<u64>() < MIN_IMAGES;
        let small: Vec<_> =
            self.0.iter().filter(small).map(|class| format!("`{}`", class.class)).collect();
        let reassign =
            format!("reassign all images to splits automatically (70/15/15) with {command}");
        if small.is_empty() {
            return format!("add the missing images, or {reassign}");
        }
        format!(
            "add images of {} (at least {MIN_IMAGES} per class), then {reassign}",
            listed(&small, ", ")
        )
    }
}

impl fmt::Display for Gaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let classes: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&listed(&classes, "; "))
    }
}

impl fmt::Display for ClassImages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { class, images } = self;
        if images.iter().all(|images| *images == 0) {
            return write!(f, "`{class}` has no images");
        }
        let [train, validation, test] = images.map(|images| match images {
            0 => "no".to_owned(),
            images => images.to_string(),
        });
        write!(f, "`{class}` has {train} training, {validation} validation and {test} test images")
    }
}

/// The first few, and how many more there are.
fn listed(items: &[impl AsRef<str>], separator: &str) -> String {
    let named: Vec<_> = items.iter().take(MAX_NAMED).map(AsRef::as_ref).collect();
    let named = named.join(separator);
    match items.len().saturating_sub(MAX_NAMED) {
        0 => named,
        more => format!("{named}{separator}and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(classes: &[(&str, [u64; 3])]) -> Gaps {
        Gaps::of(classes.iter().map(|(class, images)| ((*class).to_owned(), *images)))
    }

    #[test]
    fn a_whole_dataset_has_none() {
        let whole = gaps(&[("cat", [9, 1, 1]), ("dog", [1, 1, 1])]);
        assert!(whole.is_empty() && whole.preventing_training().is_empty());
        assert_eq!(whole.to_string(), "");
    }

    #[test]
    fn each_class_and_split_is_named_with_the_counts() {
        let some = gaps(&[("cat", [12, 0, 0]), ("dog", [5, 2, 1]), ("emu", [0, 0, 0])]);
        assert_eq!(
            some.to_string(),
            "`cat` has 12 training, no validation and no test images; `emu` has no images"
        );
        assert_eq!(some.iter().count(), 5);
        assert_eq!(some.preventing_training(), some);
        let remedy = some.remedy("`it`");
        assert!(
            remedy.starts_with("add images of `emu` (at least 3 per class), then "),
            "{remedy}"
        );
        let test = gaps(&[("cat", [12, 3, 0]), ("dog", [5, 2, 1])]);
        assert!(test.preventing_training().is_empty() && !test.is_empty());
        let both = gaps(&[("cat", [12, 3, 0]), ("dog", [5, 0, 1])]);
        assert_eq!(
            both.preventing_training().to_string(),
            "`dog` has 5 training, no validation and 1 test images"
        );
        assert!(test.remedy("`it`").starts_with("add the missing images, or "));
    }

    #[test]
    fn a_long_list_ends() {
        let names: Vec<_> = (0..12).map(|number| format!("c{number}")).collect();
        let classes: Vec<_> = names.iter().map(|name| (&**name, [0, 0, 0])).collect();
        let text = gaps(&classes).to_string();
        assert!(text.ends_with("`c9` has no images; and 2 more"), "{text}");
    }
}
