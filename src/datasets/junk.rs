//! System files that operating systems, file managers and network drives create in folders of
//! images: ignored in an upload, and counted.

use super::paths::components;

/// Names of files and folders, ignoring case. Everything in such a folder is litter.
const NAMES: [&str; 47] = [
    // macOS
    "__MACOSX",
    ".AppleDB",
    ".AppleDesktop",
    ".AppleDouble",
    ".DocumentRevisions-V100",
    ".DS_Store",
    ".fseventsd",
    ".LSOverride",
    ".Spotlight-V100",
    ".TemporaryItems",
    ".Trash",
    ".Trashes",
    ".VolumeIcon.icns",
    "Icon\r",
    "Network Trash Folder",
    "Temporary Items",
    // Windows
    "$RECYCLE.BIN",
    "RECYCLED",
    "RECYCLER",
    "FOUND.000",
    "desktop.ini",
    "ehthumbs.db",
    "ehthumbs_vista.db",
    "System Volume Information",
    "Thumbs.db",
    // Linux desktops and Android
    ".cache",
    ".directory",
    ".nomedia",
    "LOST.DIR",
    ".thumbnails",
    "lost+found",
    // Synology, QNAP
    "#recycle",
    "#snapshot",
    ".@__thumb",
    "@__thumb",
    "@eaDir",
    "@Recently-Snapshot",
    "@Recycle",
    "@tmp",
    // Programs
    ".git",
    ".hg",
    ".ipynb_checkpoints",
    ".picasa.ini",
    ".picasaoriginals",
    ".svn",
    "__pycache__",
    "Picasa.ini",
];

/// Prefixes of names: halves of AppleDouble files, trash cans of removable disks, the stubs of
/// files that were removed while open.
const PREFIXES: [&str; 6] = ["~$", "._", ".Trash-", ".fuse_hidden", ".nfs0", ".~lock."];

/// Suffixes of names: Windows' marks of downloads as WSL shows them, Synology's attributes.
const SUFFIXES: [&str; 4] = ["~", ":Zone.Identifier", "@SynoEAStream", "@SynoResource"];

/// Whether `path` is litter, or is in a folder that is.
#[must_use]
pub fn is_junk(path: &str) -> bool {
    components(path).any(|name| {
        NAMES.iter().any(|known| known.eq_ignore_ascii_case(name))
            || PREFIXES.iter().any(|beginning| starts_with_ignore_case(name, beginning))
            || SUFFIXES.iter().any(|ending| name.ends_with(ending))
    })
}

fn starts_with_ignore_case(name: &str, beginning: &str) -> bool {
    name.get(..beginning.len()).is_some_and(|head| head.eq_ignore_ascii_case(beginning))
}

/// Whether a file or folder of that name is hidden: its name begins with a dot.
pub(super) fn is_hidden(name: &str) -> bool {
    name.starts_with('.') && name != ".."
}

/// The folders that contain every file of an upload. Hidden files are ignored like litter, but a
/// hidden folder that contains everything, `.pets/train/cat/1.jpg`, only wraps it.
#[derive(Debug, Default)]
pub struct Wrapper {
    /// The common folders of all files so far.
    folders: Option<Vec<String>>,
}

impl Wrapper {
    /// Records a file of the upload. Litter and hidden files don't count.
    pub fn observe(&mut self, path: &str) {
        let mut folders: Vec<&str> = components(path).collect();
        let file = folders.pop().unwrap_or_default();
        if is_hidden(file) || is_junk(path) {
            return;
        }
        match &mut self.folders {
            None => self.folders = Some(folders.into_iter().map(str::to_owned).collect()),
            Some(common) => {
                let same = common.iter().zip(folders).take_while(|(a, b)| a == b).count();
                common.truncate(same);
            }
        }
    }

    /// The number of folders that contain everything.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.folders.as_ref().map_or(0, Vec::len)
    }

    /// The number of hidden folders among them, which each file that is not ignored is in.
    pub(super) fn hidden(&self) -> usize {
        self.folders.iter().flatten().filter(|name| is_hidden(name)).count()
    }

    /// Whether `path` is ignored: litter, or hidden below the wrapper.
    #[must_use]
    pub fn ignores(&self, path: &str) -> bool {
        let mut folders: Vec<&str> = components(path).collect();
        let file = folders.pop().unwrap_or_default();
        let common = self.folders.iter().flatten();
        let wrapping =
            common.zip(&folders).take_while(|(wrapper, folder)| wrapper == folder).count();
        is_junk(path) || is_hidden(file) || folders[wrapping..].iter().any(|name| is_hidden(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systems_leave_is_litter_wherever_it_lies() {
        for path in [
            "__MACOSX/cat/._1.jpg",
            "cat/.DS_Store",
            "Thumbs.db",
            "cat/THUMBS.DB",
            "cat/._1.jpg",
            ".git/x",
            "cat/@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg",
            "$RECYCLE.BIN/S-1-5-21/$R1.jpg",
            "$Recycle.Bin\\x.jpg",
            "System Volume Information/IndexerVolumeGuid",
            "pets/.thumbnails/1.jpg",
            "cat/.@__thumb/default1.jpg",
            ".Trash-1000/files/1.jpg",
            "cat/Icon\r",
            "cat/1.jpg:Zone.Identifier",
            "lost+found/#123",
            "train/.ipynb_checkpoints/1-checkpoint.jpg",
            "RECYCLER/cat/1.jpg",
            "cat/@__thumb/1.jpg",
            "cat/1.jpg~",
            "cat/~$1.jpg",
        ] {
            assert!(is_junk(path), "{path}");
        }
        for path in ["cat/1.jpg", "./cat/1.jpg", ".pets/cat/1.jpg", "eaDir/1.jpg", "Icon", ""] {
            assert!(!is_junk(path), "{path}");
        }
    }

    fn wrapper(paths: &[&str]) -> Wrapper {
        let mut wrapper = Wrapper::default();
        paths.iter().for_each(|path| wrapper.observe(path));
        wrapper
    }

    #[test]
    fn a_hidden_folder_over_everything_is_read_through() {
        let all = [".pets/train/cat/1.jpg", ".pets/test/dog/2.jpg", "__MACOSX/._.pets"];
        let wrapper = wrapper(&all);
        assert_eq!(wrapper.depth(), 1);
        assert!(!wrapper.ignores(all[0]) && !wrapper.ignores(all[1]) && wrapper.ignores(all[2]));
        assert!(wrapper.ignores(".pets/train/cat/.hidden.jpg"));
        assert!(wrapper.ignores(".pets/train/.old/1.jpg"));
    }

    #[test]
    fn a_hidden_folder_beside_others_is_left_out() {
        let wrapper = wrapper(&["pets/cat/1.jpg", "pets/.old/cat/2.jpg", "pets/.hidden.jpg"]);
        assert_eq!(wrapper.depth(), 1);
        assert!(wrapper.ignores("pets/.old/cat/2.jpg") && wrapper.ignores("pets/.hidden.jpg"));
        let deep = self::wrapper(&["pets/cat/1.jpg", "pets/cat/2.jpg"]);
        assert!(
            deep.ignores("cat/.2.jpg") && deep.ignores(".cover.jpg") && deep.ignores(".a/b/3.jpg")
        );
        assert!(!wrapper.ignores("pets/cat/1.jpg"));
    }
}
