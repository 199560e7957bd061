//! Files hashed, copied, listed and made durable; and lists of hashes, as `sha256sum` has them.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, File},
    io,
    path::Path,
};

use sha2::Sha256;

use super::Error;
use crate::{domain::dataset::Digest, weights};

/// File of the hashes of all files of a backup: `sha256sum --check SHA256SUMS` reads it too.
pub(super) const SUMS: &str = "SHA256SUMS";

/// The hash of the file at `path`.
pub(super) fn hash(path: &Path) -> io::Result<Digest> {
    Ok(Digest(weights::files::hash::<Sha256>(path)?.into()))
}

/// Copies `from` to `to`, where it appears whole or not at all, unless its hash is not the
/// `expected` one. Its folder is made where it is missing. The copy is
/// not synced.
pub(super) fn copy(from: &Path, to: &Path, expected: Option<Digest>) -> Result<Copied, Error> {
    make_folder_of(to)?;
    let partial = to.with_added_extension("partial");
    match fs::copy(from, &partial) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Copied::Missing),
        Err(source) => {
            // Leaves room on a full disk.
            let _ = fs::remove_file(&partial);
            return match hash(from) {
                Err(error) if is_damage(&error) => Ok(Copied::Damaged),
                _ => Err(Error::copy(from, to, source)),
            };
        }
    }
    let digest = hash(&partial).map_err(Error::io(&partial))?;
    if expected.is_some_and(|expected| expected != digest) {
        fs::remove_file(&partial).map_err(Error::io(&partial))?;
        return Ok(Copied::Damaged);
    }
    fs::rename(&partial, to).map_err(Error::io(to))?;
    Ok(Copied::Whole(digest))
}

/// Whether an error of reading a file says that its content is lost, as on a broken disk.
pub(super) fn is_damage(error: &io::Error) -> bool {
    !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
}

/// What became of a file that was to be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Copied {
    /// It is there, and has that hash.
    Whole(Digest),
    /// It was not there to be copied.
    Missing,
    /// It can't be read, or has another hash than it should.
    Damaged,
}

/// Gives the file `from` another name, `to`, where the file system can; gives whether it could.
pub(super) fn link(from: &Path, to: &Path) -> Result<bool, Error> {
    make_folder_of(to)?;
    Ok(fs::hard_link(from, to).is_ok())
}

fn make_folder_of(path: &Path) -> Result<(), Error> {
    path.parent().map_or(Ok(()), |folder| fs::create_dir_all(folder).map_err(Error::io(folder)))
}

/// The paths below `root` of all files in it, in no order, with `/` between their parts.
pub(super) fn list(root: &Path) -> Result<Vec<String>, Error> {
    let mut files = Vec::new();
    for entry in walkdir::WalkDir::new(root) {
        let entry = entry.map_err(|error| Error::io(root)(error.into()))?;
        if entry.file_type().is_file()
            && let Ok(path) = entry.path().strip_prefix(root)
            && let Some(path) = path.to_str()
        {
            files.push(path.to_owned());
        }
    }
    Ok(files)
}

/// Makes everything that was written below `root` outlive a power cut.
#[cfg(target_os = "linux")]
pub(super) fn sync_tree(root: &Path) -> Result<(), Error> {
    let folder = File::open(root).map_err(Error::io(root))?;
    rustix::fs::syncfs(&folder).map_err(|error| Error::io(root)(error.into()))
}

/// Makes everything that was written below `root` outlive a power cut.
#[cfg(not(target_os = "linux"))]
pub(super) fn sync_tree(root: &Path) -> Result<(), Error> {
    for entry in walkdir::WalkDir::new(root) {
        sync(entry.map_err(|error| Error::io(root)(error.into()))?.path())?;
    }
    Ok(())
}

/// Makes a file, or the names in a folder, outlive a power cut.
pub(super) fn sync(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|file| file.sync_all()).map_err(Error::io(path))
}

/// Hashes of files, by their paths below a folder.
pub(super) type Sums = BTreeMap<String, Digest>;

/// Writes the list of hashes into `root`.
pub(super) fn write_sums(root: &Path, sums: &Sums) -> Result<(), Error> {
    let mut text = String::new();
    for (path, digest) in sums {
        // A String takes everything.
        let _ = writeln!(text, "{digest}  {path}");
    }
    let path = root.join(SUMS);
    weights::files::write(&path, text.as_bytes()).map_err(Error::io(&path))
}

/// Reads the list of hashes in `root`, as far as it can be read.
pub(super) fn read_sums(root: &Path) -> Result<Sums, Error> {
    let path = root.join(SUMS);
    let text = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other.map_err(Error::io(&path))?,
    };
    let text = String::from_utf8_lossy(&text);
    let line = |line: &str| {
        let (digest, path) = line.split_once("  ")?;
        Some((path.to_owned(), digest.parse().ok()?))
    };
    Ok(text.lines().filter_map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_hashes_is_read_back_and_what_is_damaged_in_it_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let sums = Sums::from([
            ("blobs/ab/x y".to_owned(), Digest::of(b"1")),
            ("pawprint.sqlite".to_owned(), Digest::of(b"2")),
        ]);
        write_sums(folder.path(), &sums).unwrap();
        assert_eq!(read_sums(folder.path()).unwrap(), sums);
        let path = folder.path().join(SUMS);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 4]).unwrap();
        assert_eq!(read_sums(folder.path()).unwrap()["blobs/ab/x y"], Digest::of(b"1"));
        fs::write(&path, &whole[4..]).unwrap();
        assert_eq!(read_sums(folder.path()).unwrap().len(), 1);
    }

    #[test]
    fn a_copy_is_whole_or_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("a/b/to"));
        fs::write(&from, b"meow").unwrap();
        assert_eq!(copy(&from, &to, Some(Digest::of(b"me0w"))).unwrap(), Copied::Damaged);
        assert_eq!(copy(folder.path(), &to, None).unwrap(), Copied::Damaged);
        assert_eq!(copy(&folder.path().join("none"), &to, None).unwrap(), Copied::Missing);
        assert_eq!(list(&folder.path().join("a")).unwrap(), Vec::<String>::new());
        let whole = Copied::Whole(Digest::of(b"meow"));
        assert_eq!(copy(&from, &to, Some(Digest::of(b"meow"))).unwrap(), whole);
        assert_eq!(list(folder.path()).unwrap().len(), 2);
    }
}
