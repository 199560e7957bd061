//! Scans for trainers continuously: no job may have two.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::machine::trainers;

pub(crate) struct Watch {
    end: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64, String>>,
}

impl Watch {
    pub(crate) fn begin(data: &Path) -> Self {
        let (data, end) = (data.to_owned(), Arc::new(AtomicBool::new(false)));
        let ended = Arc::clone(&end);
        let thread = thread::spawn(move || {
            let mut scans = 0;
            while !ended.load(SeqCst) {
                let mut by_job: BTreeMap<String, Vec<i32>> = BTreeMap::new();
                for trainer in trainers(&data) {
                    by_job.entry(trainer.job).or_default().push(trainer.pid);
                }
                if let Some((job, pids)) = by_job.iter().find(|(_, pids)| pids.len() > 1) {
                    return Err(format!("{} trainers of the job {job}: {pids:?}", pids.len()));
                }
                scans += 1;
                thread::sleep(Duration::from_millis(10));
            }
            Ok(scans)
        });
        Self { end, thread }
    }

    /// Stops, asserts that no job had two trainers, and returns the number of scans.
    pub(crate) fn end(self) -> u64 {
        self.end.store(true, SeqCst);
        self.thread.join().unwrap().unwrap_or_else(|two| panic!("{two}"))
    }
}
