//! Rows of jobs.
