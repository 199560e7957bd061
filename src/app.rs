//! Composition root: makes a server out of its rooms, runs it, and takes it down.
