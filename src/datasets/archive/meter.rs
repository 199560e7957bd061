//! Counts unpacked bytes of an archive, and stops reading at a limit.

use std::{
    cell::Cell,
    io::{self, Read},
    rc::Rc,
};

/// What may still be read, shared by all readers of one archive.
#[derive(Debug, Clone)]
pub(super) struct Meter {
    limit: u64,
    left: Rc<Cell<u64>>,
    exhausted: Rc<Cell<bool>>,
}

impl Meter {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, left: Rc::new(Cell::new(limit)), exhausted: Rc::default() }
    }

    /// The limit.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// Whether the limit was exceeded.
    pub(super) fn is_exhausted(&self) -> bool {
        self.exhausted.get()
    }

    /// Counts bytes that were unpacked without being read: the holes of a sparse file.
    pub(super) fn count(&self, bytes: u64) -> io::Result<()> {
        let Some(left) = self.left.get().checked_sub(bytes) else {
            self.exhausted.set(true);
            return Err(io::Error::other("the archive exceeds the unpacked size limit"));
        };
        self.left.set(left);
        Ok(())
    }

    /// `inner`, counted.
    pub(super) fn wrap<R>(&self, inner: R) -> Metered<R> {
        Metered { inner, meter: self.clone() }
    }
}

/// A reader whose bytes are counted.
#[derive(Debug)]
pub(super) struct Metered<R> {
    inner: R,
    meter: Meter,
}

impl<R> Metered<R> {
    /// What is read, and not counted.
    pub(super) fn inner(&mut self) -> &mut R {
        &mut self.inner
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.meter.count(read as u64)?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_ends_at_the_limit_over_all_readers() {
        let meter = Meter::new(10);
        let mut bytes = Vec::new();
        meter.wrap(&[1; 6][..]).read_to_end(&mut bytes).unwrap();
        assert!(!meter.is_exhausted());
        assert!(meter.wrap(&[1; 6][..]).read_to_end(&mut bytes).is_err());
        assert!(meter.is_exhausted());
    }
}
