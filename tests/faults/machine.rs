//! Processes of this machine.

use std::{fs, path::Path};

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
