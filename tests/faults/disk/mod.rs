//! Full disks and data directories that are not writable: writes fail with the reason, reads work, and
//! everything works again once the cause is fixed.

mod full;
mod log;
mod read_only;
