//! Processes and disks of this machine.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A trainer process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trainer {
    pub(crate) pid: i32,
    /// Its job.
    pub(crate) job: String,
}

/// The running trainers of all servers on this data directory.
pub(crate) fn trainers(data: &Path) -> Vec<Trainer> {
    let Ok(data) = data.canonicalize() else { return Vec::new() };
    let jobs = format!("{}/", data.join("jobs").display());
    let trainer = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        // Empty for a zombie.
        let command = fs::read(entry.path().join("cmdline")).ok()?;
        let command = String::from_utf8_lossy(&command);
        let (_, folder) = command.split_once("\0trainer\0")?;
        Some(Trainer { pid, job: folder.trim_end_matches('\0').strip_prefix(&jobs)?.to_owned() })
    };
    fs::read_dir("/proc").unwrap().flatten().filter_map(trainer).collect()
}

/// Anonymous resident memory of a process, in bytes.
pub(crate) fn memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Formats a number of bytes.
pub(crate) fn mb(bytes: u64) -> String {
    format!("{} MB", bytes / 1_000_000)
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A mounted file system, unmounted on drop.
pub(crate) struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Mounts a file system of this size at `folder`; or says why it can't.
    pub(crate) fn mount(folder: &Path, bytes: u64) -> Result<Self, String> {
        if !is_root() {
            return Err("mounting a small file system requires root".to_owned());
        }
        fs::create_dir_all(folder).unwrap();
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "pawprint-faults"])
            .arg(folder))?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Mounts the folder `from` read-only at `folder`; or says why it can't.
    pub(crate) fn read_only(from: &Path, folder: &Path) -> Result<Self, String> {
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
