//! Makes lenient decoders strict: both read zeros where the data of a scan ends too early, and take
//! them for grey.
//!
//! No Huffman code consists of ones alone (ITU-T T.81, C.2). So ones are put in front of each
//! marker that ends data: a decoder that has all its blocks never looks at them, and one that
//! lacks some finds a code that does not exist.

use memchr::memchr;

/// `FF`, and the zero that says it is data. Six, and the seven bits that may fill the last byte
/// before them, are fewer than the 57 bits that the decoder reads ahead, so that it still finds
/// a restart marker behind them; and more than the 46 in which it is found out: 15 that end a
/// code, a number of 15 bits that this announced, and 16 that are no code.
const ONES: [u8; 12] = [0xFF, 0, 0xFF, 0, 0xFF, 0, 0xFF, 0, 0xFF, 0, 0xFF, 0];

/// The file, which ends with its end-of-image marker, with ones before that: zune-jpeg does not look
/// for a restart marker behind them.
pub(super) fn padded_at_end(bytes: &[u8]) -> Vec<u8> {
    let (data, end) = bytes.split_at(bytes.len().saturating_sub(2));
    [data, &ONES, end].concat()
}

/// The file with ones at each end of its data, as a copy. Nothing where the file is not a
/// baseline or extended sequential one of a single scan.
pub(super) fn padded(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut at = data(bytes)?;
    let mut padded = Vec::with_capacity(bytes.len() + bytes.len() / 16 + 64);
    padded.extend_from_slice(&bytes[..at]);
    loop {
        let end = at + memchr(0xFF, bytes.get(at..)?)?;
        let marker = *bytes.get(end + 1)?;
        padded.extend_from_slice(&bytes[at..end]);
        at = end + 2;
        match marker {
            0x00 => {}
            0xD0..=0xD7 | 0xD9 => padded.extend_from_slice(&ONES),
            _ => return None,
        }
        padded.extend_from_slice(&[0xFF, marker]);
        if marker == 0xD9 {
            return Some(padded);
        }
    }
}

/// Where the data of the first scan begins, in a file without junk in its header.
fn data(bytes: &[u8]) -> Option<usize> {
    let mut at = 2;
    let mut sequential = false;
    loop {
        at += bytes.get(at..)?.iter().take_while(|&&byte| byte == 0xFF).count();
        let marker = *bytes.get(at)?;
        let length = bytes.get(at + 1..at + 3)?;
        at += 1 + usize::from(u16::from_be_bytes([length[0], length[1]]));
        match marker {
            0xC0 | 0xC1 => sequential = true,
            // Tables of Huffman codes; the others are of progressive, lossless and arithmetic files.
            0xC4 => {}
            0xC2..=0xCF => return None,
            0xDA => return (sequential && at <= bytes.len()).then_some(at),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of these segments, in form only.
    fn file(frame: u8, data: &[u8]) -> Vec<u8> {
        let mut file = vec![0xFF, 0xD8, 0xFF, 0xE0, 0, 4, 0xFF, 0xD9, 0xFF, 0xFF, frame, 0, 2];
        file.extend([0xFF, 0xDA, 0, 3, 0]);
        file.extend(data);
        file
    }

    #[test]
    fn ones_stand_before_each_marker_that_ends_data() {
        let before = file(0xC0, &[1, 0xFF, 0, 2, 0xFF, 0xD0, 3, 0xFF, 0xD9]);
        let mut after = file(0xC0, &[1, 0xFF, 0, 2]);
        after.extend(ONES);
        after.extend([0xFF, 0xD0, 3]);
        after.extend(ONES);
        after.extend([0xFF, 0xD9]);
        assert_eq!(padded(&before), Some(after));
    }

    #[test]
    fn other_files_are_left_alone() {
        let end = [1, 0xFF, 0xD9];
        assert!(padded(&file(0xC1, &end)).is_some());
        assert_eq!(padded(&file(0xC2, &end)), None, "progressive");
        assert_eq!(padded(&file(0xC0, &[1, 0xFF, 0xC4, 0, 2])), None, "a second scan");
        assert_eq!(padded(&file(0xC0, &[1, 2, 3])), None, "cut");
        for length in 2..18 {
            assert_eq!(padded(&file(0xC0, &end)[..length]), None, "{length}");
        }
    }
}
