//! Whether a PNG is all there. A decoder stops at the last row; a file that was cut after it, or
//! between two chunks, would pass unnoticed.

/// Whether the chunks of a PNG, whose signature was seen, run on to its `IEND`.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(8..).unwrap_or_default();
    while let Some((length, kind)) = rest.first_chunk::<4>().zip(rest.get(4..8)) {
        // Length, name and checksum stand around the data.
        let Some(end) = (u32::from_be_bytes(*length) as usize).checked_add(12) else {
            return false;
        };
        let Some(next) = rest.get(end..) else { return false };
        if kind == b"IEND" {
            return true;
        }
        rest = next;
    }
    false
}
