//! Pictures are upright wherever a camera or a tool wrote how they are to be turned.

use std::io::Write as _;

use flate2::{Compression, Crc, write::ZlibEncoder};
use image::RgbImage;
use pawprint::vision::{self, Limits};

const LIMITS: Limits = Limits { max_pixels: 1_000_000 };
const XMP: &str = r#"<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description
xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"#;

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn decode(bytes: &[u8]) -> RgbImage {
    vision::decode(bytes, &LIMITS).unwrap()
}

/// A TIFF structure that says orientation 6.
fn exif() -> Vec<u8> {
    b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0".to_vec()
}

/// 32 × 48 pixels, which are the upright picture on its side.
fn lying() -> (RgbImage, RgbImage) {
    let upright = decode(&fixture("exif_6.png"));
    (image::imageops::rotate270(&upright), upright)
}

fn png(chunks: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    lying().0.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    let bytes = bytes.into_inner();
    // Behind the signature and IHDR.
    let (head, rest) = bytes.split_at(33);
    let mut out = head.to_vec();
    for (name, data) in chunks {
        out.extend((data.len() as u32).to_be_bytes());
        let mut crc = Crc::new();
        for part in [&name[..], data] {
            out.extend(part);
            crc.update(part);
        }
        out.extend(crc.sum().to_be_bytes());
    }
    [&out, rest].concat()
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// As ImageMagick writes it: a name, a length, digits in lines of 72.
fn raw_profile(name: &str, bytes: &[u8]) -> Vec<u8> {
    let digits = hex::encode(bytes);
    let lines: Vec<&str> =
        digits.as_bytes().chunks(72).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("\n{name}\n{:8}\n{}\n", bytes.len(), lines.join("\n")).into_bytes()
}

#[test]
fn a_png_says_it_in_a_chunk_of_its_own_or_in_its_texts() {
    let (lying, upright) = lying();
    let prefixed = [b"Exif\0\0".to_vec(), exif()].concat();
    let text = |keyword: &str, rest: Vec<u8>| [keyword.as_bytes(), &[0], &rest].concat();
    let profile = raw_profile("exif", &prefixed);
    let compressed = [vec![0], deflated(&profile)].concat();
    let international = |text: Vec<u8>| [b"\0\0\0\0".to_vec(), text].concat();
    let xmp = "XML:com.adobe.xmp";
    for (what, name, data) in [
        ("eXIf", b"eXIf", exif()),
        ("eXIf with a prefix", b"eXIf", prefixed.clone()),
        ("tEXt", b"tEXt", text("Raw profile type exif", profile.clone())),
        ("zTXt", b"zTXt", text("Raw profile type exif", compressed.clone())),
        ("APP1", b"zTXt", text("Raw profile type APP1", compressed)),
        ("iTXt", b"iTXt", text("Raw profile type exif", international(profile))),
        ("XMP", b"iTXt", text(xmp, international(XMP.into()))),
        (
            "XMP, compressed",
            b"iTXt",
            text(xmp, [b"\x01\0\0\0".to_vec(), deflated(XMP.as_bytes())].concat()),
        ),
        (
            "XMP as a profile",
            b"tEXt",
            text("Raw profile type xmp", raw_profile("xmp", XMP.as_bytes())),
        ),
    ] {
        assert_eq!(decode(&png(&[(name, data)])), upright, "{what}");
    }
    assert_eq!(decode(&png(&[])), lying);
    // EXIF is believed before XMP, and damage turns nothing.
    let mut straight = exif();
    straight[19] = 1;
    let both = [(b"iTXt", text(xmp, international(XMP.into()))), (b"eXIf", straight)];
    assert_eq!(decode(&png(&both)), lying);
    for (name, data) in [
        (b"eXIf", exif()[..12].to_vec()),
        (b"zTXt", text("Raw profile type exif", vec![0, 1, 2, 3])),
        (b"tEXt", text("Raw profile type exif", b"\nexif\n 9\nnot digits".to_vec())),
        (b"iTXt", text(xmp, b"\x01\0".to_vec())),
    ] {
        assert_eq!(decode(&png(&[(name, data)])), lying, "{name:?}");
    }
}

#[test]
fn a_webp_says_it_in_exif_with_or_without_a_prefix_or_in_xmp() {
    let file = fixture("exif_6.webp");
    let at = file.windows(4).position(|name| name == b"EXIF").unwrap();
    let replaced = |name: &[u8; 4], data: &[u8]| {
        let mut out = file[..at].to_vec();
        out.extend(name);
        out.extend((data.len() as u32).to_le_bytes());
        out.extend(data);
        out.extend(vec![0; data.len() % 2]);
        // The header of VP8X says which chunks there are.
        out[20] = out[20] & !0x0C | if name == b"EXIF" { 0x08 } else { 0 };
        let length = out.len() as u32 - 8;
        out[4..8].copy_from_slice(&length.to_le_bytes());
        out
    };
    let upright = decode(&fixture("exif_6.png"));
    assert_eq!(decode(&replaced(b"EXIF", &exif())), upright);
    assert_eq!(decode(&replaced(b"EXIF", &[b"Exif\0\0".to_vec(), exif()].concat())), upright);
    assert_eq!(decode(&replaced(b"XMP ", XMP.as_bytes())), upright);
    assert_eq!(decode(&replaced(b"NONE", &exif())).dimensions(), (32, 48));
}

#[test]
fn a_jpeg_says_it_in_exif_or_in_xmp() {
    let file = fixture("exif_6.jpg");
    let upright = decode(&file);
    let at = file.windows(2).position(|pair| pair == [0xFF, 0xE1]).unwrap();
    let end = at + 2 + usize::from(u16::from_be_bytes([file[at + 2], file[at + 3]]));
    let with = |block: &[u8]| {
        let length = (block.len() as u16 + 2).to_be_bytes();
        [&file[..at], &[0xFF, 0xE1], &length, block, &file[end..]].concat()
    };
    let xmp = [b"http://ns.adobe.com/xap/1.0/\0", XMP.as_bytes()].concat();
    assert_eq!(decode(&with(&[b"Exif\0\0".to_vec(), exif()].concat())), upright);
    assert_eq!(decode(&with(&xmp)), upright);
    assert_eq!(decode(&with(b"Exif\0\0MM\0*")).dimensions(), (32, 48));
}
