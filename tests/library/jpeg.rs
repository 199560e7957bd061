//! JPEG: the pixels of libjpeg-turbo, whatever the sampling factors, the scans and the size; what it
//! reads with a warning is read, and what is cut short is not.

use std::{collections::HashMap, io::Read as _};

use flate2::read::GzDecoder;
use image::RgbImage;
use pawprint::{
    domain::dataset::Digest,
    vision::{self, DecodeError, Limits},
};

const LIMITS: Limits = Limits { max_pixels: 1_000_000 };
const EOI: [u8; 2] = [0xFF, 0xD9];

/// Files by name, and the hash of the pixels that libjpeg-turbo gives for each; how they were made
/// says `tests/fixtures/jpeg/make_matrix.py`.
struct Matrix {
    files: HashMap<String, Vec<u8>>,
    pixels: Vec<(String, (u32, u32), String)>,
}

impl Matrix {
    fn read() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/jpeg/matrix.tar.gz");
        let mut archive = tar::Archive::new(GzDecoder::new(std::fs::File::open(path).unwrap()));
        let (mut files, mut pixels) = (HashMap::new(), Vec::new());
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().to_str().unwrap().to_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            match name.strip_suffix(".jpg") {
                Some(name) => drop(files.insert(name.to_owned(), bytes)),
                None => pixels = String::from_utf8(bytes).unwrap().lines().map(line).collect(),
            }
        }
        Self { files, pixels }
    }

    fn file(name: &str) -> Vec<u8> {
        Self::read().files.remove(name).unwrap()
    }
}

fn line(line: &str) -> (String, (u32, u32), String) {
    let [name, width, height, hash] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
    (name.to_owned(), (width.parse().unwrap(), height.parse().unwrap()), hash.to_owned())
}

fn decode(bytes: &[u8]) -> RgbImage {
    vision::decode(bytes, &LIMITS).unwrap()
}

#[track_caller]
fn assert_corrupt(bytes: &[u8], what: &str) {
    let decoded = vision::decode(bytes, &LIMITS).map(|image| image.dimensions());
    assert!(matches!(decoded, Err(DecodeError::Corrupt(_))), "{what}: {decoded:?}");
}

/// Where each marker is, and what it is; not those within the data of scans but for restarts.
fn markers(jpeg: &[u8]) -> Vec<(usize, u8)> {
    let (mut at, mut markers) = (2, Vec::new());
    while at + 1 < jpeg.len() {
        let marker = jpeg[at + 1];
        if jpeg[at] != 0xFF || matches!(marker, 0 | 0xFF) {
            at += 1;
            continue;
        }
        markers.push((at, marker));
        at += 2;
        if !matches!(marker, 0xD0..=0xD9) {
            at += usize::from(u16::from_be_bytes([jpeg[at], jpeg[at + 1]]));
        }
    }
    markers
}

const LAYOUTS: [&str; 6] = [
    "61x43_2x2_1x1_1x1_interleaved_restart",
    "61x43_2x2_1x1_1x1_scan_each_restart",
    "61x43_2x1_1x1_1x1_y_then_cbcr_restart",
    "61x43_2x2_1x1_1x1_progressive_restart",
    "61x43_1x1_2x2_2x2_interleaved_restart",
    "17x33_cmyk_420",
];

#[test]
fn every_layout_gives_the_pixels_of_libjpeg_turbo() {
    let Matrix { files, pixels } = Matrix::read();
    assert!(pixels.len() >= 1_000 && pixels.len() == files.len(), "{}", pixels.len());
    let wrong: Vec<_> = pixels
        .iter()
        .filter_map(|(name, size, hash)| match vision::decode(&files[name], &LIMITS) {
            Ok(image) if image.dimensions() != *size => Some(format!("{name}: its size")),
            Ok(image) if Digest::of(&image).to_string() != *hash => Some(format!("{name}: pixels")),
            Ok(_) => None,
            Err(error) => Some(format!("{name}: {error}")),
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), pixels.len());
}

#[test]
fn stray_bytes_and_fill_bytes_before_any_marker_change_nothing() {
    for name in LAYOUTS {
        let jpeg = Matrix::file(name);
        let whole = decode(&jpeg);
        for (at, marker) in markers(&jpeg) {
            for stray in [&[0, 0x12, 0x34][..], &[0xFF; 3]] {
                let strayed = [&jpeg[..at], stray, &jpeg[at..]].concat();
                assert_eq!(decode(&strayed), whole, "{name}: {stray:?} before {marker:X} at {at}");
            }
        }
    }
}

#[test]
fn a_file_that_lacks_only_its_end_marker_is_whole() {
    for name in LAYOUTS {
        let jpeg = Matrix::file(name);
        let whole = decode(&jpeg);
        for end in [&[][..], &[0xFF], b"\0\0\0\0"] {
            let unended = [&jpeg[..jpeg.len() - 2], end].concat();
            assert_eq!(decode(&unended), whole, "{name}: {end:?}");
        }
        assert_eq!(decode(&[&jpeg, &b"trailing\xFF\xD8"[..]].concat()), whole, "{name}");
    }
}

#[test]
fn a_restart_marker_of_another_number_costs_nothing() {
    for name in LAYOUTS.into_iter().filter(|name| name.ends_with("restart")) {
        let jpeg = Matrix::file(name);
        let whole = decode(&jpeg);
        for (at, marker) in markers(&jpeg).into_iter().filter(|it| matches!(it.1, 0xD0..=0xD7)) {
            let mut renumbered = jpeg.clone();
            renumbered[at + 1] = 0xD0 + (marker + 1) % 8;
            assert_eq!(decode(&renumbered), whole, "{name}: at {at}");
        }
    }
}

#[test]
fn a_file_that_was_cut_is_refused_wherever_it_was_cut() {
    for name in LAYOUTS.into_iter().chain(["17x33_arithmetic", "16x16_rgb", "17x33_grayscale"]) {
        let jpeg = Matrix::file(name);
        // Without all of its last scan; arithmetic coding shows no end but the marker.
        let least = if name.contains("arithmetic") { 1 } else { 3 };
        for length in 4..=jpeg.len() - least {
            assert_corrupt(&jpeg[..length], &format!("{name}, {length} of {}", jpeg.len()));
        }
    }
}

#[test]
fn a_scan_that_is_cut_short_is_refused_also_where_an_end_marker_follows() {
    for name in LAYOUTS {
        let jpeg = Matrix::file(name);
        let last = markers(&jpeg).into_iter().rfind(|(_, marker)| *marker == 0xDA).unwrap().0;
        let data = last + 2 + usize::from(jpeg[last + 3]);
        for end in data..jpeg.len() - 4 {
            assert_corrupt(&[&jpeg[..end], &EOI].concat(), &format!("{name} cut at {end}"));
        }
    }
}

#[test]
fn a_file_without_a_scan_of_some_component_is_refused() {
    for name in ["17x33_2x2_1x1_1x1_scan_each", "17x33_2x2_1x1_1x1_y_then_cbcr"] {
        let jpeg = Matrix::file(name);
        let scans = markers(&jpeg).into_iter().filter(|(_, marker)| *marker == 0xDA);
        for (second, _) in scans.skip(1) {
            assert_corrupt(&[&jpeg[..second], &EOI].concat(), name);
        }
    }
}

#[test]
fn a_component_keeps_the_quantization_table_of_its_first_scan() {
    let table = |slot: u8| {
        let mut segment = vec![0xFF, 0xDB, 0, 67, slot];
        segment.resize(69, 255);
        segment
    };
    for name in LAYOUTS.into_iter().filter(|name| !name.contains("interleaved")) {
        let jpeg = Matrix::file(name);
        let whole = decode(&jpeg);
        let markers = markers(&jpeg);
        let scans: Vec<_> = markers.iter().filter(|(_, marker)| *marker == 0xDA).collect();
        let end = jpeg.len() - 2;
        // Behind all scans; and of luma, behind its first one.
        let mut places = vec![(end, 0), (end, 1)];
        places.extend(scans.get(1).map(|(at, _)| (*at, 0)));
        for (at, slot) in places {
            let redefined = [&jpeg[..at], &table(slot), &jpeg[at..]].concat();
            assert_eq!(decode(&redefined), whole, "{name}: slot {slot} at {at}");
        }
    }
}

#[test]
fn tables_that_would_make_another_by_being_removed_do_no_harm() {
    let jpeg = Matrix::file("61x43_2x2_1x1_1x1_progressive_restart");
    let whole = decode(&jpeg);
    for depth in [1, 2, 30_000] {
        // Without the empty table in the middle, the last byte before it and the first one behind it
        // are such a table again.
        let tables = [vec![0xFF; depth], [0xDB, 0, 2].repeat(depth)].concat();
        let nested = [&jpeg[..jpeg.len() - 2], &tables, &EOI].concat();
        assert_eq!(decode(&nested), whole, "{depth}");
    }
}

#[test]
fn kinds_of_jpeg_that_are_not_read_are_named() {
    let jpeg = Matrix::file("16x16_4x1_2x1_2x1_interleaved");
    let frame = markers(&jpeg).into_iter().find(|(_, marker)| *marker == 0xC0).unwrap().0;
    let named = |offset: usize, byte: u8| {
        let mut other = jpeg.clone();
        other[frame + offset] = byte;
        match vision::decode(&other, &LIMITS) {
            Err(error @ DecodeError::UnsupportedFormat(_)) => error.to_string(),
            other => panic!("{other:?}"),
        }
    };
    for (marker, name) in [
        (0xC3, "lossless JPEG"),
        (0xC5, "hierarchical JPEG"),
        (0xCB, "lossless JPEG"),
        (0xF7, "JPEG-LS"),
    ] {
        assert!(named(1, marker).contains(name), "{marker:X}");
    }
    assert!(named(4, 12).contains("12-bit JPEG"));
    // Three samples of luma for two of chroma.
    assert!(named(11, 0x31).contains("sampling factors"));
}

#[test]
fn of_several_exif_blocks_the_first_counts() {
    let fixture = |number: u8| {
        let path = format!("{}/tests/fixtures/exif_{number}.jpg", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(path).unwrap()
    };
    let block = |jpeg: &[u8]| {
        let at = markers(jpeg).into_iter().find(|(_, marker)| *marker == 0xE1).unwrap().0;
        jpeg[at..at + 2 + usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]))].to_vec()
    };
    let (six, one) = (fixture(6), fixture(1));
    let upright = decode(&six);
    for (blocks, expected) in [([block(&six), block(&one)], 1), ([block(&one), block(&six)], 0)] {
        // In front of the block that the file has.
        let both = [&six[..2], &blocks.concat(), &six[2..]].concat();
        assert_eq!(decode(&both) == upright, expected == 1);
    }
}
