//! Quantization tables that are redefined between scans.
//!
//! A component keeps the table that its slot holds at the component's first scan (libjpeg's
//! `latch_quant_tables`, jdinput.c), whatever is defined in that slot later. The decoder takes the
//! last definition for all (libjpeg-turbo-rs 0.9), so such a file is rewritten with a slot of its own
//! for each component.

use super::structure::{FRAME_HEAD, Structure};

const DQT: u8 = 0xDB;
/// A comment.
const COM: u8 = 0xFE;
const SLOTS: usize = 4;

/// A table in a segment: 64 numbers of 8 or, if `is_wide`, 16 bits.
#[derive(Clone, Copy)]
struct Table<'a> {
    is_wide: bool,
    numbers: &'a [u8],
}

/// The file with every table before its first scan, if a table is defined after that.
pub(super) fn latched(file: &Structure) -> Option<Vec<u8>> {
    let is_table = |at: usize| file.slice(&(at..at + 2)).get(1) == Some(&DQT);
    let segments: Vec<_> = file.tables.iter().filter(|it| is_table(it.start)).collect();
    let first_scan = file.scans.first()?.bytes.start;
    let components = &file.frame.components;
    if segments.last()?.start < first_scan || components.len() > SLOTS {
        return None;
    }

    let mut slots: [Option<Table>; SLOTS] = [None; SLOTS];
    let mut latched: [Option<Table>; SLOTS] = [None; SLOTS];
    let mut next = segments.iter().peekable();
    for scan in &file.scans {
        while let Some(segment) = next.next_if(|segment| segment.start < scan.bytes.start) {
            define(file.slice(segment).get(4..)?, &mut slots)?;
        }
        for (component, own) in components.iter().zip(&mut latched) {
            if own.is_none() && scan.components.contains(&component.id) {
                *own = *slots.get(usize::from(component.quantization_table))?;
            }
        }
    }

    let mut out = vec![0xFF, 0xD8];
    for (slot, table) in latched.iter().take(components.len()).enumerate() {
        let Table { is_wide, numbers } = (*table)?;
        out.extend([0xFF, DQT]);
        out.extend((3 + numbers.len() as u16).to_be_bytes());
        out.push(u8::from(is_wide) << 4 | slot as u8);
        out.extend(numbers);
    }
    let shift = out.len() - 2;
    out.extend(file.slice(&(2..usize::MAX)));
    // The old tables stay as comments: without them, what stands around them could become a segment.
    for segment in &segments {
        *out.get_mut(segment.start + shift + 1)? = COM;
    }
    for index in 0..components.len() {
        *out.get_mut(file.frame_start + shift + FRAME_HEAD + 3 * index + 2)? = index as u8;
    }
    Some(out)
}

/// Takes the tables of a segment's payload into their slots.
fn define<'a>(mut payload: &'a [u8], slots: &mut [Option<Table<'a>>; SLOTS]) -> Option<()> {
    while let [kind, rest @ ..] = payload {
        let is_wide = kind >> 4 != 0;
        let (numbers, rest) = rest.split_at_checked(if is_wide { 128 } else { 64 })?;
        *slots.get_mut(usize::from(kind & 15))? = Some(Table { is_wide, numbers });
        payload = rest;
    }
    Some(())
}
