//! The files of a folder, in a stable order.
//!
//! The name decides what looks like an image; the server decides whether it is one. Links are
//! followed only on demand: one in a downloaded folder could lead to images that nobody meant to
//! send. One that leads back to a folder above itself is an error of that link alone.

use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

const EXTENSIONS: [&str; 8] = ["bmp", "gif", "jfif", "jpe", "jpeg", "jpg", "png", "webp"];

/// An entry of a folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A file whose name is that of an image.
    Image {
        path: PathBuf,
        /// Its size in bytes, as known before reading it.
        bytes: u64,
    },
    /// A file that is not an image by its name.
    Other(PathBuf),
    /// A link that is not followed.
    Link(PathBuf),
    /// A device, a pipe, a socket.
    Special(PathBuf),
    /// An entry that can't be read, and why.
    Unreadable(PathBuf, String),
}

/// What is below `folder` and not hidden, as [`walk_all`] finds it: the names of hidden files and
/// folders begin with a dot.
pub(super) fn walk(folder: &Path) -> impl Iterator<Item = Found> + use<> {
    found(folder, false, |entry| entry.depth() == 0 || !is_hidden(entry))
}

/// Everything below `folder`, sorted by name within each folder; memory is that of the largest
/// folder's list of names.
pub(super) fn walk_all(folder: &Path, follow_links: bool) -> impl Iterator<Item = Found> + use<> {
    found(folder, follow_links, |_| true)
}

fn found(
    folder: &Path,
    follow_links: bool,
    is_wanted: fn(&DirEntry) -> bool,
) -> impl Iterator<Item = Found> + use<> {
    let root = folder.to_owned();
    WalkDir::new(folder)
        .follow_links(follow_links)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(is_wanted)
        .filter_map(move |entry| match entry {
            Ok(entry) if entry.file_type().is_dir() => None,
            Ok(entry) if entry.file_type().is_file() && is_image_name(entry.path()) => {
                let bytes = entry.metadata().map_or(0, |metadata| metadata.len());
                Some(Found::Image { path: entry.into_path(), bytes })
            }
            Ok(entry) if entry.file_type().is_symlink() => Some(Found::Link(entry.into_path())),
            Ok(entry) if entry.file_type().is_file() => Some(Found::Other(entry.into_path())),
            Ok(entry) => Some(Found::Special(entry.into_path())),
            Err(error) => {
                let path = error.path().unwrap_or(&root).to_owned();
                Some(Found::Unreadable(path, reason(&error)))
            }
        })
}

fn is_hidden(entry: &DirEntry) -> bool {
    entry.file_name().as_encoded_bytes().starts_with(b".")
}

/// Whether a file has the extension of an image.
fn is_image_name(path: &Path) -> bool {
    path.extension().and_then(|extension| extension.to_str()).is_some_and(|extension| {
        EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension))
    })
}

/// The error, without repeating the path.
fn reason(error: &walkdir::Error) -> String {
    if let Some(ancestor) = error.loop_ancestor() {
        return format!("symbolic link loop through {}", ancestor.display());
    }
    error.io_error().map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        folder
    }

    fn images(folder: &Path, follow_links: bool) -> Vec<String> {
        walk_all(folder, follow_links)
            .filter_map(|found| match found {
                Found::Image { path, .. } => Some(path),
                _ => None,
            })
            .map(|path| path.strip_prefix(folder).unwrap().display().to_string())
            .collect()
    }

    #[test]
    fn images_come_sorted_and_nothing_else_does() {
        let files =
            ["dog/2.JPG", "dog/10.jpeg", "cat/1.png", "notes.txt", ".git/x.jpg", "cat/._1.png"];
        let folder = folder(&files);
        let names: Vec<_> = walk(folder.path())
            .filter_map(|found| match found {
                Found::Image { path, .. } => Some(path),
                _ => None,
            })
            .map(|path| path.strip_prefix(folder.path()).unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["cat/1.png", "dog/10.jpeg", "dog/2.JPG"]);
        let is_other = |found: &Found| matches!(found, Found::Other(_));
        assert_eq!(walk(folder.path()).filter(is_other).count(), 1);
        let all = [".git/x.jpg", "cat/._1.png", "cat/1.png", "dog/10.jpeg", "dog/2.JPG"];
        assert_eq!(images(folder.path(), false), all);
    }

    #[test]
    fn links_are_followed_on_demand_and_not_round_in_circles() {
        let folder = folder(&["train/cat/1.jpg"]);
        symlink("train", folder.path().join("validation")).unwrap();
        symlink("..", folder.path().join("train/loop")).unwrap();
        symlink("nowhere.jpg", folder.path().join("broken.jpg")).unwrap();
        assert_eq!(images(folder.path(), false), ["train/cat/1.jpg"]);
        let is_link = |found: &Found| matches!(found, Found::Link(_));
        assert_eq!(walk(folder.path()).filter(is_link).count(), 3);

        assert_eq!(images(folder.path(), true), ["train/cat/1.jpg", "validation/cat/1.jpg"]);
        let unreadable: Vec<_> = walk_all(folder.path(), true)
            .filter_map(|found| match found {
                Found::Unreadable(path, reason) => Some((path, reason)),
                _ => None,
            })
            .collect();
        assert!(unreadable.iter().any(|(path, _)| path.ends_with("broken.jpg")));
        assert!(unreadable.iter().any(|(_, reason)| reason.contains("link loop")));
    }

    #[test]
    fn a_folder_may_itself_be_named_by_a_link() {
        let folder = folder(&["real/1.jpg"]);
        let link = folder.path().join("link");
        symlink("real", &link).unwrap();
        assert_eq!(images(&link, false), ["1.jpg"]);
    }
}
