//! The source of `pawprint import`: examined before the first request to the server.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

use super::images::{Found, walk_all};
use crate::{
    datasets::{junk::Wrapper, layout},
    vision::Format,
};

/// Bytes of a file's head that identify its format; whole blocks of a tar.
pub(super) const HEAD: u64 = 4096;

/// What to send.
pub(super) enum Source {
    Folder(Folder),
    Archive(Archive),
}

/// A folder, and its contents.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    pub(super) follow_links: bool,
    wrapper: Wrapper,
    pub(super) contents: Contents,
}

/// The contents of a folder.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Contents {
    pub(super) images: u64,
    /// Images in folders that may be classes: not only in splits.
    pub(super) in_folders: u64,
    /// Total size of the images.
    pub(super) bytes: u64,
    /// Files that are not images, by their names and by their content.
    pub(super) others: u64,
    /// Links that are not followed.
    pub(super) links: u64,
    /// Files that are ignored: hidden files and system files.
    pub(super) ignored: u64,
}

/// How something in a folder is sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// With all of its bytes.
    Whole(PathBuf, u64),
    /// Its first [`HEAD`] bytes, which show that it is not an image.
    Head(PathBuf),
    /// Its name alone: the server ignores it.
    Name(PathBuf),
    /// As a link, which the server rejects.
    Link(PathBuf),
    /// Not at all, for this reason.
    Unreadable(PathBuf, String),
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
            return Ok(Self::Folder(Folder::open(path, follow_links)?));
        }
        let file = File::open(path).with_context(unreadable)?;
        let metadata = file.metadata().with_context(unreadable)?;
        let bytes = metadata.is_file().then_some(metadata.len());
        Ok(Self::Archive(Archive { file, bytes, media_type: media_type(path) }))
    }
}

impl Folder {
    fn open(path: &Path, follow_links: bool) -> anyhow::Result<Self> {
        let mut folder = Self::scan(path, follow_links);
        let mut unreadable = None;
        let mut contents = Contents::default();
        for item in folder.items() {
            match item {
                Item::Whole(path, bytes) => {
                    contents.images += 1;
                    contents.in_folders += u64::from(folder.is_in_folder(&path));
                    contents.bytes += bytes;
                }
                Item::Head(_) => contents.others += 1,
                Item::Name(_) => contents.ignored += 1,
                Item::Link(_) => contents.links += 1,
                Item::Unreadable(path, reason) => unreadable = Some((path, reason)),
            }
        }
        folder.contents = contents;
        let shown = path.display();
        match unreadable {
            _ if contents.images > 0 => Ok(folder),
            Some((path, reason)) => bail!("can't read {}: {reason}", path.display()),
            None if contents.links > 0 => {
                bail!("no images in {shown}, only symbolic links; use --follow-links")
            }
            None if contents.ignored > 0 => bail!(
                "no images in {shown}; hidden files and system files are ignored ({})",
                contents.ignored
            ),
            None => bail!("no images in {shown}: no file is a JPEG, PNG, GIF, BMP or WebP image"),
        }
    }

    /// Finds the hidden folder that contains everything, if there is one.
    fn scan(path: &Path, follow_links: bool) -> Self {
        let mut folder = Self {
            path: path.to_owned(),
            follow_links,
            wrapper: Wrapper::default(),
            contents: Contents::default(),
        };
        for found in walk_all(path, follow_links) {
            if let Found::Image { path, .. } | Found::Other(path) = found {
                let name = folder.name_of(&path);
                folder.wrapper.observe(&name);
            }
        }
        folder
    }

    /// Everything in the folder, in a stable order.
    pub(super) fn items(&self) -> impl Iterator<Item = Item> {
        walk_all(&self.path, self.follow_links).map(|found| match found {
            Found::Image { path, .. }
            | Found::Other(path)
            | Found::Link(path)
            | Found::Special(path)
            | Found::Unreadable(path, _)
                if self.wrapper.ignores(&self.name_of(&path)) =>
            {
                Item::Name(path)
            }
            Found::Image { path, bytes } => Item::Whole(path, bytes),
            Found::Link(path) | Found::Special(path) => Item::Link(path),
            Found::Unreadable(path, reason) => Item::Unreadable(path, reason),
            Found::Other(path) => match looks_like_image(&path) {
                Ok(Some(bytes)) => Item::Whole(path, bytes),
                Ok(None) => Item::Head(path),
                Err(error) => Item::Unreadable(path, error.to_string()),
            },
        })
    }

    /// Whether a file is in a folder below this one that is no split.
    fn is_in_folder(&self, path: &Path) -> bool {
        let folders = self.relative(path).parent().into_iter().flat_map(Path::components);
        let mut names = folders.map(|folder| folder.as_os_str().to_string_lossy());
        names.any(|name| !layout::names_split(&name))
    }

    /// The path of something in the folder, from there.
    pub(super) fn relative<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.path).unwrap_or(path)
    }

    fn name_of(&self, path: &Path) -> String {
        self.relative(path).to_string_lossy().into_owned()
    }
}

/// The size of a file that begins like an image, whatever it is named.
fn looks_like_image(path: &Path) -> io::Result<Option<u64>> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let mut head = Vec::new();
    file.take(HEAD).read_to_end(&mut head)?;
    Ok(Format::sniff(&head).is_ok().then_some(bytes))
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
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn an_archive_is_named_by_its_ending() {
        let of = |name: &str| media_type(Path::new(name));
        assert_eq!(of("a.ZIP"), "application/zip");
        assert_eq!(of("a.b.tar"), "application/x-tar");
        assert_eq!((of("a.tar.gz"), of("a.tgz")), ("application/gzip", "application/gzip"));
        assert_eq!(of("upload"), "application/octet-stream");
    }

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        folder
    }

    #[test]
    fn a_folder_of_links_says_how_to_follow_them() {
        let folder = folder(&[("1.jpg", b"x"), ("links/.hidden", b"x")]);
        symlink("../1.jpg", folder.path().join("links/1.jpg")).unwrap();
        let links = folder.path().join("links");
        let refused = Source::open(&links, false).err().unwrap().to_string();
        assert!(refused.contains("--follow-links"), "{refused}");
        let Ok(Source::Folder(opened)) = Source::open(&links, true) else { unreachable!() };
        assert_eq!((opened.contents.images, opened.contents.ignored), (1, 1));
    }

    #[test]
    fn of_what_is_no_image_only_what_says_so_is_sent() {
        let folder = folder(&[
            ("cat/photo", b"\xFF\xD8\xFF\xE0"),
            ("cat/1.jpg", b"no image"),
            ("cat/notes.txt", b"notes"),
            ("cat/Thumbs.db", b"x"),
            (".old/2.jpg", b"x"),
            ("lost+found/3.jpg", b"x"),
        ]);
        symlink("1.jpg", folder.path().join("cat/4.jpg")).unwrap();
        let Ok(Source::Folder(opened)) = Source::open(folder.path(), false) else { unreachable!() };
        let at = |name: &str| folder.path().join(name);
        let items: Vec<Item> = opened.items().collect();
        let expected = [
            Item::Name(at(".old/2.jpg")),
            Item::Whole(at("cat/1.jpg"), 8),
            Item::Link(at("cat/4.jpg")),
            Item::Name(at("cat/Thumbs.db")),
            Item::Head(at("cat/notes.txt")),
            Item::Whole(at("cat/photo"), 4),
            Item::Name(at("lost+found/3.jpg")),
        ];
        assert_eq!(items, expected);
        let Contents { images, in_folders: _, bytes, others, links, ignored } = opened.contents;
        assert_eq!((images, bytes, others, links, ignored), (2, 12, 1, 1, 3));
    }

    #[test]
    fn a_hidden_folder_over_everything_is_sent() {
        let folder = folder(&[(".pets/cat/1.jpg", b"x"), (".DS_Store", b"x")]);
        let Ok(Source::Folder(opened)) = Source::open(folder.path(), false) else { unreachable!() };
        assert_eq!((opened.contents.images, opened.contents.ignored), (1, 1));
    }
}
