//! Counts bytes as they come out of an archive, and ends the reading at a limit.

use std::{
    cell::Cell,
    io::{self, Read},
    rc::Rc,
};

/// What may still be read, shared by all readers of one archive.
#[derive(Debug, Clone)]
pub(super) struct Meter {
    left: Rc<Cell<u64>>,
    exhausted: Rc<Cell<bool>>,
}

impl Meter {
    pub(super) fn new(limit: u64) -> Self {
        Self { left: Rc::new(Cell::new(limit)), exhausted: Rc::default() }
    }

    /// Whether more was asked for than may be read.
    pub(super) fn is_exhausted(&self) -> bool {
        self.exhausted.get()
    }

    /// `inner`, counted.
    pub(super) fn around<R>(&self, inner: R) -> Metered<R> {
        Metered { inner, meter: self.clone(), trailing_zeros: 0 }
    }
}

/// A reader whose bytes are counted.
#[derive(Debug)]
pub(super) struct Metered<R> {
    inner: R,
    meter: Meter,
    trailing_zeros: u64,
}

impl<R> Metered<R> {
    /// How many zeros the bytes read so far end with.
    pub(super) fn trailing_zeros(&self) -> u64 {
        self.trailing_zeros
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let Some(left) = self.meter.left.get().checked_sub(read as u64) else {
            self.meter.exhausted.set(true);
            return Err(io::Error::other("the archive unpacks to too much"));
        };
        self.meter.left.set(left);
        match buffer[..read].iter().rposition(|&byte| byte != 0) {
            Some(last) => self.trailing_zeros = (read - last - 1) as u64,
            None => self.trailing_zeros += read as u64,
        }
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
        meter.around(&[1; 6][..]).read_to_end(&mut bytes).unwrap();
        assert!(!meter.is_exhausted());
        assert!(meter.around(&[1; 6][..]).read_to_end(&mut bytes).is_err());
        assert!(meter.is_exhausted());
    }

    #[test]
    fn trailing_zeros_are_counted_over_reads() {
        let mut reader = Meter::new(100).around(&[1, 0, 0, 0, 0][..]);
        let mut buffer = [0; 2];
        while reader.read(&mut buffer).unwrap() > 0 {}
        assert_eq!(reader.trailing_zeros(), 4);
    }
}
