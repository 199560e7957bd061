//! What `pawprint import` is given: looked at before anything is asked of the server.

use std::{
    fs::{self, File},
    path::Path,
};

use anyhow::{Context as _, bail};

use super::images::{Found, walk};

/// What there is to send.
pub(super) enum Source {
    Folder(Contents),
    Archive(Archive),
}

/// What a folder has.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) images: u64,
    /// Of the images, in all.
    pub(super) bytes: u64,
    /// Files that are not named like images.
    pub(super) others: u64,
    /// Links that are not followed.
    pub(super) links: u64,
}

/// An archive, which is sent as it is.
pub(super) struct Archive {
    pub(super) file: File,
    /// Its size, unless it is a pipe.
    pub(super) bytes: Option<u64>,
    pub(super) media_type: &'static str,
}

impl Source {
    /// Counts a folder's images, or opens an archive.
    pub(super) fn open(path: &Path, follow_links: bool) -> anyhow::Result<Self> {
        let unreadable = || format!("can't read {}", path.display());
        if fs::metadata(path).with_context(unreadable)?.is_dir() {
            return Ok(Self::Folder(count(path, follow_links)?));
        }
        let file = File::open(path).with_context(unreadable)?;
        let metadata = file.metadata().with_context(unreadable)?;
        let bytes = metadata.is_file().then_some(metadata.len());
        Ok(Self::Archive(Archive { file, bytes, media_type: media_type(path) }))
    }
}

fn count(folder: &Path, follow_links: bool) -> anyhow::Result<Contents> {
    let mut contents = Contents::default();
    let mut unreadable = None;
    for found in walk(folder, follow_links) {
        match found {
            Found::Image { bytes, .. } => {
                contents.images += 1;
                contents.bytes += bytes;
            }
            Found::Other(_) => contents.others += 1,
            Found::Link(_) => contents.links += 1,
            Found::Unreadable(path, reason) => unreadable = Some((path, reason)),
        }
    }
    match unreadable {
        _ if contents.images > 0 => Ok(contents),
        Some((path, reason)) => bail!("can't read {}: {reason}", path.display()),
        None if contents.links > 0 => bail!(
            "there are no images in {}, but links; --follow-links follows them",
            folder.display()
        ),
        None => bail!(
            "there are no images in {}: no file is named like a JPEG, PNG, GIF, BMP or WebP",
            folder.display()
        ),
    }
}

fn media_type(path: &Path) -> &'static str {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    match name.rsplit('.').next() {
        Some("zip") => "application/zip",
        Some("tar") => "application/x-tar",
        Some("gz" | "tgz") => "application/gzip",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_named_by_its_ending() {
        let of = |name: &str| media_type(Path::new(name));
        assert_eq!(of("a.ZIP"), "application/zip");
        assert_eq!(of("a.b.tar"), "application/x-tar");
        assert_eq!((of("a.tar.gz"), of("a.tgz")), ("application/gzip", "application/gzip"));
        assert_eq!(of("upload"), "application/octet-stream");
    }

    #[test]
    fn a_folder_of_links_says_how_to_follow_them() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("links")).unwrap();
        fs::write(folder.path().join("1.jpg"), "x").unwrap();
        std::os::unix::fs::symlink("../1.jpg", folder.path().join("links/1.jpg")).unwrap();
        let links = folder.path().join("links");
        let refused = Source::open(&links, false).err().unwrap().to_string();
        assert!(refused.contains("--follow-links"), "{refused}");
        assert!(matches!(
            Source::open(&links, true),
            Ok(Source::Folder(Contents { images: 1, .. }))
        ));
    }
}
