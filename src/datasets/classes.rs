//! Changes the classes of a dataset: adds, renames, merges and removes them, each in one
//! transaction. Snapshots of jobs keep theirs.
//!
//! The classes of an open dataset are sorted by name; a closed one keeps its order.

use std::collections::HashSet;

use sqlx::SqliteConnection;

use super::{
    Datasets, Error,
    report::{Rejection, listed},
};
use crate::{
    domain::{
        ClassName,
        dataset::{Classes, Dataset, InvalidClasses},
    },
    storage::{self, datasets::Row, images::NewImage},
};

/// The classes of a dataset while they change: each with the indices that its images have now.
#[derive(Debug)]
pub(super) struct Draft(Vec<(ClassName, Vec<usize>)>);

impl Draft {
    pub(super) fn of(classes: &Classes) -> Self {
        let names = classes.names().iter().cloned();
        Self(names.enumerate().map(|(index, name)| (name, vec![index])).collect())
    }

    /// Adds a class without images.
    pub(super) fn add(&mut self, name: ClassName) {
        self.0.push((name, Vec::new()));
    }

    /// The new classes, and for each old index the new one.
    fn settle(mut self, old: &Row) -> Result<(Classes, Vec<Option<usize>>), InvalidClasses> {
        if old.open {
            self.0.sort_by_cached_key(|(name, _)| (name.folded(), name.clone()));
        }
        let mut targets = vec![None; old.classes.names().len()];
        for (to, (_, indices)) in self.0.iter().enumerate() {
            for from in indices {
                targets[*from] = Some(to);
            }
        }
        let names = self.0.into_iter().map(|(name, _)| name);
        Ok((Classes::of_dataset(names.collect())?, targets))
    }

    /// Stores the new classes of the dataset that `old` was read from in this transaction.
    pub(super) async fn store(
        self,
        transaction: &mut SqliteConnection,
        old: &Row,
    ) -> Result<Classes, Error> {
        let (classes, targets) = self.settle(old)?;
        storage::classes::replace(transaction, old.id, &classes, &targets).await?;
        Ok(classes)
    }
}

/// The name of the class that is written so; in an open dataset that of a new one, if there is none.
pub(super) fn class_name(dataset: &Row, name: &str) -> Result<ClassName, Error> {
    match super::class(&dataset.classes, name) {
        Ok(index) => dataset.classes.name(index).cloned().ok_or(Error::DatasetDeleted),
        Err(_) if dataset.open => {
            let name: ClassName = name.parse()?;
            Ok(Classes::of_dataset(vec![name.clone()]).map(|_| name)?)
        }
        Err(error) => Err(error),
    }
}

/// The index of the class of that name; in an open dataset a new class, if there is none.
pub(super) async fn find_or_add(
    transaction: &mut SqliteConnection,
    dataset: &Row,
    name: &str,
) -> Result<usize, Error> {
    match super::class(&dataset.classes, name) {
        Err(_) if dataset.open => {
            let name = class_name(dataset, name)?;
            let mut draft = Draft::of(&dataset.classes);
            draft.add(name.clone());
            super::class(&draft.store(transaction, dataset).await?, &name)
        }
        found => found,
    }
}

/// The classes of a dataset after those are added that new images make.
pub(super) async fn add_classes(
    transaction: &mut SqliteConnection,
    dataset: &Row,
    images: impl Iterator<Item = &(NewImage, ClassName)>,
) -> Result<Classes, Error> {
    if !dataset.open {
        return Ok(dataset.classes.clone());
    }
    let mut known: HashSet<String> =
        dataset.classes.names().iter().map(ClassName::folded).collect();
    let (mut draft, mut seen, before) = (Draft::of(&dataset.classes), HashSet::new(), known.len());
    for (image, label) in images {
        let is_first = seen.insert(image.sha256);
        let folded = label.folded();
        if !is_first || known.len() == Classes::MAX || known.contains(&folded) {
            continue;
        }
        // An image that is in the dataset already makes no class.
        if storage::images::label_of(transaction, dataset.id, &image.sha256).await?.is_none() {
            known.insert(folded);
            draft.add(label.clone());
        }
    }
    if known.len() == before {
        return Ok(dataset.classes.clone());
    }
    draft.store(transaction, dataset).await
}

/// Why an image whose class the dataset does not have is not added.
pub(super) async fn refusal(
    transaction: &mut SqliteConnection,
    dataset: &Row,
    classes: &Classes,
    image: &NewImage,
    label: ClassName,
) -> Result<Rejection, Error> {
    let known = storage::images::label_of(transaction, dataset.id, &image.sha256).await?;
    Ok(match known.and_then(|label| classes.name(label)) {
        Some(label) => Rejection::LabelConflict { label: label.clone() },
        None if dataset.open => Rejection::TooManyClasses { label },
        None => Rejection::ClassGone { label },
    })
}

impl Datasets {
    /// Adds a class without images.
    ///
    /// # Errors
    /// There is no such dataset, it has that class, or it can have no more.
    pub async fn add_class(&self, dataset: &str, name: ClassName) -> Result<Dataset, Error> {
        self.change_classes(dataset, async |_, row, draft| {
            if let Some(known) = row.classes.index_of(&name) {
                return Err(exists(row, known, ""));
            }
            draft.add(name.clone());
            Ok(())
        })
        .await
    }

    /// Renames a class; with `merge`, its images join another class of the new name.
    ///
    /// # Errors
    /// There is no such dataset or class, or another class has the new name and `merge` is false.
    pub async fn rename_class(
        &self,
        dataset: &str,
        class: &str,
        name: ClassName,
        merge: bool,
    ) -> Result<Dataset, Error> {
        self.change_classes(dataset, async |transaction, row, Draft(classes)| {
            let from = find(row, class)?;
            // What a person decided on its images still counts.
            storage::reviews::rename_label(transaction, row.id, &classes[from].0, &name).await?;
            match row.classes.index_of(&name).filter(|to| *to != from) {
                None => classes[from].0 = name.clone(),
                Some(to) if merge => {
                    classes[to].1.push(from);
                    classes.remove(from);
                }
                Some(to) => {
                    return Err(exists(row, to, "; merge the two classes to combine them (`\"merge\": true`, on the command line `merge`)"));
                }
            }
            Ok(())
        })
        .await
    }

    /// Removes a class, with its images if `delete_images` is set.
    ///
    /// # Errors
    /// There is no such dataset or class, or it has images and `delete_images` is false.
    pub async fn delete_class(
        &self,
        dataset: &str,
        class: &str,
        delete_images: bool,
    ) -> Result<Dataset, Error> {
        self.change_classes(dataset, async |transaction, row, Draft(classes)| {
            let index = find(row, class)?;
            let images = storage::images::count(transaction, row.id, index).await?;
            if images > 0 && !delete_images {
                return Err(Error::ClassNotEmpty { class: classes[index].0.clone(), images });
            }
            classes.remove(index);
            Ok(())
        })
        .await
    }

    async fn change_classes(
        &self,
        dataset: &str,
        change: impl AsyncFnOnce(&mut SqliteConnection, &Row, &mut Draft) -> Result<(), Error>,
    ) -> Result<Dataset, Error> {
        let mut transaction = self.storage().write().await?;
        let row = storage::datasets::find(&mut transaction, dataset).await?;
        let row = row.ok_or_else(|| Error::NoDataset(dataset.to_owned()))?;
        let mut draft = Draft::of(&row.classes);
        change(&mut transaction, &row, &mut draft).await?;
        draft.store(&mut transaction, &row).await?;
        transaction.commit().await.map_err(storage::Error::from)?;
        tracing::info!(dataset.name = %row.name, "classes changed");
        self.get(&row.id.to_string()).await
    }
}

fn find(row: &Row, class: &str) -> Result<usize, Error> {
    row.classes.index_of(class).ok_or_else(|| Error::NoClass {
        class: class.chars().take(100).collect(),
        classes: listed(&row.classes),
    })
}

fn exists(row: &Row, index: usize, remedy: &'static str) -> Error {
    let class = row.classes.name(index).map(ToString::to_string).unwrap_or_default();
    Error::ClassExists { class, remedy }
}
