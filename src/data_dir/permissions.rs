//! Whether this process may write in a data directory, and what to do where it may not.
//!
//! Called when a data directory is opened; typical of containers, whose user is seldom the owner of a
//! folder that is mounted from the host.

use std::{
    fmt, fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Access, access},
    io::Errno,
    process::{getegid, geteuid},
};

/// Paths of a data directory that this process can't write.
#[derive(Debug)]
pub struct Unwritable {
    root: PathBuf,
    paths: Vec<PathBuf>,
    /// The system's reason for the first of them.
    why: Errno,
    /// User and group that it belongs to.
    owner: (u32, u32),
}

/// What of `paths`, which belong to the data directory `root`, can't be written; nothing if all of it can,
/// as far as permissions tell.
pub(super) fn unwritable(root: &Path, paths: Vec<PathBuf>) -> Option<Unwritable> {
    let refused: Vec<_> =
        paths.into_iter().filter_map(|path| refusal(&path).map(|why| (path, why))).collect();
    let (first, why) = refused.first()?;
    let metadata = fs::metadata(first).ok()?;
    Some(Unwritable {
        root: root.to_owned(),
        why: *why,
        owner: (metadata.uid(), metadata.gid()),
        paths: refused.into_iter().map(|(path, _)| path).collect(),
    })
}

/// Why `path` can't be written, or a folder not be entered; nothing if it is not there.
fn refusal(path: &Path) -> Option<Errno> {
    let folder = if path.is_dir() { Access::EXEC_OK } else { Access::EXISTS };
    let refused = access(path, Access::READ_OK | Access::WRITE_OK | folder).err();
    refused.filter(|why| *why != Errno::NOENT)
}

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths: Vec<_> = self.paths.iter().map(|path| path.display().to_string()).collect();
        write!(f, "can't write {}: {}; ", paths.join(", "), self.why)?;
        let root = self.root.display();
        let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
        let (owner, group) = self.owner;
        if self.why == Errno::ROFS {
            write!(f, "mount {root} so that it can be written")
        } else if owner == uid {
            write!(f, "run `chmod -R u+rwX {root}`")
        } else {
            write!(
                f,
                "the owner is {owner}:{group}, and this process runs as {uid}:{gid}: run `chown -R {uid}:{gid} {root}` (if it is a container's, on the host, for the folder that is mounted there)"
            )?;
            // Nobody should be led to run a server as root.
            if owner == 0 {
                return Ok(());
            }
            write!(f, ", or start as the owner (Docker: `--user {owner}:{group}`)")
        }
    }
}
