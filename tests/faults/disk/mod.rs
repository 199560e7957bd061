//! Disks that are full, and data directories that can't be written: whoever asks for room is told
//! why there is none, the rest works, and all works again once there is.

mod full;
mod read_only;
