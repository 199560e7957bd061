//! Whole files: written atomically, and hashed.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Read, Write as _},
    path::Path,
};

use sha2::{
    Digest,
    digest::{Output, OutputSizeUser},
};

/// Writes `bytes` to `path` atomically: readers see the old file or the new one.
///
/// # Errors
/// The file system failed; an existing file at `path` is unchanged.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let partial = path.with_added_extension("partial");
    let written = write_synced(&partial, bytes)
        .and_then(|()| fs::rename(&partial, path))
        .and_then(|()| sync_folder_of(path));
    if written.is_err() {
        // Frees space on a full disk.
        let _ = fs::remove_file(&partial);
    }
    written
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut writer = BufWriter::new(File::create(path)?);
    writer.write_all(bytes)?;
    writer.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// Makes a rename in the folder of `path` survive a power cut.
fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// The hash of the file at `path` under `H`.
///
/// # Errors
/// The file can't be read.
pub(crate) fn hash<H: Digest + OutputSizeUser>(path: &Path) -> io::Result<Output<H>> {
    hash_of::<H>(File::open(path)?)
}

/// The hash of what `reader` gives under `H`.
///
/// # Errors
/// It can't be read.
pub(crate) fn hash_of<H: Digest + OutputSizeUser>(mut reader: impl Read) -> io::Result<Output<H>> {
    let mut hasher = H::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finalize()),
            Ok(length) => hasher.update(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
