//! Sparse files: the archive contains only their data, with a map of their positions.

use std::io::{self, Read};

use super::parse::{damaged, number};

/// More pieces than an image file has.
const MAX_CHUNKS: usize = 1 << 16;

/// A piece of a file in the archive; between pieces there are zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// Whether the pieces follow one another within a file of `size` bytes and make up `stored` bytes.
pub(super) fn is_sound(map: &[Chunk], size: u64, stored: u64) -> bool {
    let mut end = 0;
    let mut sum: u64 = 0;
    map.len() <= MAX_CHUNKS
        && map.iter().all(|chunk| {
            let begins_after = chunk.offset >= end;
            end = chunk.offset.saturating_add(chunk.length);
            sum = sum.saturating_add(chunk.length);
            begins_after && end <= size
        })
        && sum == stored
}

/// The map that the data of an entry of `stored` bytes begin with (version 1.0), and how many bytes
/// it takes there: numbers on lines of their own, padded to a block.
pub(super) fn map_in_data(data: &mut impl Read, stored: u64) -> io::Result<(Vec<Chunk>, u64)> {
    let mut lines = Lines { data, block: [0; 512], at: 512, read: 0, stored };
    let count = lines.next()?;
    if count > MAX_CHUNKS as u64 {
        return Err(damaged("too many pieces in a sparse file"));
    }
    let mut map = Vec::new();
    for _ in 0..count {
        map.push(Chunk { offset: lines.next()?, length: lines.next()? });
    }
    Ok((map, lines.read))
}

struct Lines<'a, R> {
    data: &'a mut R,
    block: [u8; 512],
    at: usize,
    read: u64,
    stored: u64,
}

impl<R: Read> Lines<'_, R> {
    fn next(&mut self) -> io::Result<u64> {
        let wrong = || damaged("damaged map of a sparse file");
        let mut digits = Vec::new();
        loop {
            if self.at == self.block.len() {
                if self.read + 512 > self.stored {
                    return Err(wrong());
                }
                self.data.read_exact(&mut self.block)?;
                self.read += 512;
                self.at = 0;
            }
            let byte = self.block[self.at];
            self.at += 1;
            match byte {
                b'\n' if !digits.is_empty() => return number(&digits).ok_or_else(wrong),
                _ if digits.len() < 20 => digits.push(byte),
                _ => return Err(wrong()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_must_be_in_order_and_add_up() {
        let chunk = |offset, length| Chunk { offset, length };
        assert!(is_sound(&[chunk(0, 2), chunk(5, 3), chunk(10, 0)], 10, 5));
        assert!(is_sound(&[], 10, 0));
        for map in [
            &[chunk(5, 3), chunk(0, 2)][..],
            &[chunk(0, 4), chunk(3, 1)],
            &[chunk(8, 5)],
            &[chunk(u64::MAX, 5)],
            &[chunk(0, 4)],
        ] {
            assert!(!is_sound(map, 10, 5), "{map:?}");
        }
    }

    #[test]
    fn a_map_in_the_data_takes_whole_blocks() {
        let mut data = b"2\n0\n3\n600\n2\n".to_vec();
        data.resize(512, 0);
        data.extend(b"abcde");
        let (map, bytes) = map_in_data(&mut data.as_slice(), data.len() as u64).unwrap();
        let expected = [Chunk { offset: 0, length: 3 }, Chunk { offset: 600, length: 2 }];
        assert_eq!((map.as_slice(), bytes), (&expected[..], 512));
        assert!(map_in_data(&mut &b"2\n0\n"[..], 4).is_err());
        assert!(map_in_data(&mut [b'9'; 512].as_slice(), 512).is_err());
    }
}
