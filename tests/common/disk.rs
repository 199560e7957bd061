//! Small and read-only file systems, which only root can mount.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A mounted file system, unmounted on drop.
pub struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Mounts a file system of this size at `folder`; or says why it can't.
    pub fn mount(folder: &Path, bytes: u64) -> Result<Self, String> {
        if !is_root() {
            return Err("mounting a small file system requires root".to_owned());
        }
        fs::create_dir_all(folder).unwrap();
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "pawprint-test"])
            .arg(folder))?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Mounts the folder `from` read-only at `folder`; or says why it can't.
    pub fn read_only(from: &Path, folder: &Path) -> Result<Self, String> {
        if !is_root() {
            return Err("mounting a read-only file system requires root".to_owned());
        }
        fs::create_dir_all(folder).unwrap();
        run(Command::new("mount").arg("--bind").args([from, folder]))?;
        let disk = Self { folder: folder.to_owned() };
        run(Command::new("mount").args(["-o", "remount,ro,bind"]).arg(folder))?;
        Ok(disk)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.folder).status();
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
