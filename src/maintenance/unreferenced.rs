//! What lies under an id that no row has: folders of deleted jobs, files of deleted models.

use std::{
    collections::HashSet,
    fs::{self, File},
    hash::Hash,
    io,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

/// What is younger may have a row in a moment.
const YOUNG: Duration = Duration::from_secs(3600);

/// What lies in `folder` under an id that is not `known`, and has for an hour: an id is younger
/// than the rows that were read where it was made a moment ago.
///
/// # Errors
/// The folder can't be read.
pub fn list_unreferenced<T>(folder: &Path, known: &HashSet<T>) -> io::Result<Vec<PathBuf>>
where
    T: FromStr + Eq + Hash,
{
    let mut unknown = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let id = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        let Some(id) = id else { continue };
        if !known.contains(&id)
            && File::open(&path)?.metadata()?.modified()?.elapsed().is_ok_and(|age| age > YOUNG)
        {
            unknown.push(path);
        }
    }
    Ok(unknown)
}
