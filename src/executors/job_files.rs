//! The files of a job's folder that a trainer on another machine fetches.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    protocol::{COMPARED, FileEntry},
    upload::hash,
};
use crate::{
    training::{
        finish::MODEL,
        spec::{MANIFEST, SPEC},
    },
    weights::checkpoint,
};

/// The files of the job in `folder` with their hashes; to compare a model, only those that are needed for
/// it. Blocks.
///
/// # Errors
/// The folder or a file can't be read.
pub fn list(folder: &Path, compared: Option<&Path>) -> io::Result<Vec<FileEntry>> {
    let mut names = vec![SPEC.to_owned(), MANIFEST.to_owned()];
    match compared {
        Some(_) => names.push(COMPARED.to_owned()),
        None => add_weights(folder, &mut names)?,
    }
    let entry = |name: String| {
        let path = path(folder, compared, &name).unwrap_or_default();
        Ok(FileEntry { sha256: hash(&path)?, name })
    };
    names.into_iter().map(entry).collect()
}

/// Adds the names of the weights that a job starts from, and of its checkpoints.
fn add_weights(folder: &Path, names: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        names.extend(name.to_str().filter(|name| is_weights(name)).map(str::to_owned));
    }
    for checkpoints in checkpoint::FOLDERS {
        let found = match checkpoint::newest_first(&folder.join(checkpoints)) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let names_found = found.iter().filter_map(|path| path.file_name()?.to_str());
        names.extend(names_found.map(|name| format!("{checkpoints}/{name}")));
    }
    Ok(())
}

/// The path of the file of that name; `None` if it is none that a trainer needs.
#[must_use]
pub fn path(folder: &Path, compared: Option<&Path>, name: &str) -> Option<PathBuf> {
    if name == COMPARED {
        return compared.map(Path::to_owned);
    }
    let is_needed = match name.rsplit_once('/') {
        None => name == SPEC || name == MANIFEST || is_weights(name),
        Some((folder, name)) => checkpoint::FOLDERS.contains(&folder) && checkpoint::is_name(name),
    };
    is_needed.then(|| folder.join(name))
}

/// Whether this is a name of the weights that a job starts from.
fn is_weights(name: &str) -> bool {
    name.ends_with(".safetensors")
        && name != MODEL
        && name != COMPARED
        && !name.contains(['/', '\\'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trainer_gets_what_it_needs_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        fs::create_dir_all(folder.join("checkpoints/head")).unwrap();
        let needed = [
            SPEC,
            MANIFEST,
            "vgg16.safetensors",
            "checkpoints/00001-000000000.safetensors",
            "checkpoints/head/00002-000000007.safetensors",
        ];
        for name in
            needed.into_iter().chain([MODEL, "log.txt", "checkpoints/x.safetensors.damaged"])
        {
            fs::write(folder.join(name), name).unwrap();
        }
        let mut listed: Vec<_> =
            list(folder, None).unwrap().into_iter().map(|entry| entry.name).collect();
        listed.sort();
        let mut expected = needed.map(str::to_owned);
        expected.sort();
        assert_eq!(listed, expected);
        for name in
            ["../other/spec.json", "log.txt", "/etc/passwd", COMPARED, "..", "checkpoints/.."]
        {
            assert_eq!(path(folder, None, name), None, "{name}");
        }
        let model = folder.join(MODEL);
        assert_eq!(path(folder, Some(&model), COMPARED).as_deref(), Some(&*model));
    }
}
