//! Decoding: every kind of file that people send becomes the picture they see, or a reason.

use std::{io::Cursor, time::Instant};

use image::{
    DynamicImage, Frame, GrayAlphaImage, GrayImage, ImageBuffer, ImageFormat, LumaA, Rgb, RgbImage,
    Rgba, RgbaImage, codecs::gif::GifEncoder,
};
use pawprint::vision::{self, DecodeError, Format, Limits};
use proptest::prelude::*;

const LIMITS: Limits = Limits { max_pixels: 1_000_000 };

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn picture() -> RgbImage {
    RgbImage::from_fn(48, 32, |x, y| {
        Rgb([(x * 5) as u8, (y * 7) as u8, (255 - x * 3 - y * 2) as u8])
    })
}

fn encode(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn decode(bytes: &[u8]) -> RgbImage {
    vision::decode(bytes, &LIMITS).unwrap()
}

#[track_caller]
fn assert_near(image: &RgbImage, expected: &RgbImage, tolerance: u8) {
    assert_eq!(image.dimensions(), expected.dimensions());
    let furthest = image.iter().zip(expected.iter()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    assert!(furthest <= tolerance, "a channel is off by {furthest}");
}

#[test]
fn every_format_is_read_by_its_content() {
    for (format, media_type) in [
        (ImageFormat::Jpeg, "image/jpeg"),
        (ImageFormat::Png, "image/png"),
        (ImageFormat::WebP, "image/webp"),
        (ImageFormat::Gif, "image/gif"),
        (ImageFormat::Bmp, "image/bmp"),
    ] {
        let bytes = encode(picture(), format);
        // GIF has 256 colours, JPEG loses detail.
        assert_near(&decode(&bytes), &picture(), 40);
        assert_eq!(Format::sniff(&bytes).unwrap().media_type(), media_type);
    }
    assert_near(&decode(&fixture("progressive.jpg")), &picture(), 16);
}

#[test]
fn a_shrunk_photo_knows_its_size_and_looks_like_all_of_its_pixels() {
    let limits = Limits::default();
    let wave = |x: u32, y: u32| {
        let (x, y) = (x as f32 / 200.0, y as f32 / 150.0);
        [x.sin() * y.cos(), (x + y).sin(), y.sin()].map(|it| (128.0 + 100.0 * it) as u8)
    };
    // An eighth, two, four and all of them; sides that are no multiples of 8; no JPEG.
    for (width, height, format) in [
        (3000, 2600, ImageFormat::Jpeg),
        (1600, 1300, ImageFormat::Jpeg),
        (803, 701, ImageFormat::Jpeg),
        (300, 200, ImageFormat::Jpeg),
        (2997, 2571, ImageFormat::Jpeg),
        (803, 701, ImageFormat::Png),
    ] {
        let photo = RgbImage::from_fn(width, height, |x, y| Rgb(wave(x, y)));
        let bytes = encode(photo, format);
        let shrunk = vision::shrink(&bytes, &limits, 9, 8).unwrap();
        assert_eq!((shrunk.original_width, shrunk.original_height), (width, height));
        let whole = vision::decode(&bytes, &limits).unwrap();
        assert_near(&shrunk.image, &vision::resize(&whole, 9, 8).unwrap(), 2);
    }
    for orientation in 1..=8 {
        let bytes = fixture(&format!("exif_{orientation}.jpg"));
        let shrunk = vision::shrink(&bytes, &limits, 9, 8).unwrap();
        assert_eq!((shrunk.original_width, shrunk.original_height), decode(&bytes).dimensions());
    }
    // A large one that lies on its side, by an EXIF block that has nothing else.
    let exif =
        b"\xFF\xE1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let photo = RgbImage::from_fn(2997, 2571, |x, y| Rgb(wave(x, y)));
    let bytes = encode(photo, ImageFormat::Jpeg);
    let turned = [&bytes[..2], exif, &bytes[2..]].concat();
    let shrunk = vision::shrink(&turned, &limits, 9, 8).unwrap();
    assert_eq!((shrunk.original_width, shrunk.original_height), (2571, 2997));
    let whole = vision::decode(&turned, &limits).unwrap();
    assert_eq!(whole.dimensions(), (2571, 2997));
    assert_near(&shrunk.image, &vision::resize(&whole, 9, 8).unwrap(), 2);
}

#[test]
fn a_large_photo_is_shrunk_to_its_last_byte_or_not_at_all() {
    let photo = RgbImage::from_fn(1500, 1300, |x, y| Rgb([(x * y) as u8, x as u8, y as u8]));
    let mut bytes = encode(photo, ImageFormat::Jpeg);
    let shrink = |bytes: &[u8]| vision::shrink(bytes, &Limits::default(), 9, 8);
    assert!(shrink(&bytes).is_ok());
    for cut in [bytes.len() / 2, bytes.len() * 9 / 10, bytes.len() - 200] {
        assert!(shrink(&bytes[..cut]).is_err(), "{cut} of {}", bytes.len());
    }
    assert!(vision::shrink(&bytes, &LIMITS, 9, 8).is_err(), "above the limit of pixels");
    // A marker that ends the scan in the middle of its data.
    let middle = bytes.len() / 2;
    bytes[middle..middle + 2].copy_from_slice(&[0xFF, 0xD9]);
    assert!(shrink(&bytes).is_err());
}

#[test]
fn pictures_are_upright_whatever_way_the_camera_was_held() {
    for orientation in 1..=8 {
        let bytes = fixture(&format!("exif_{orientation}.jpg"));
        assert_near(&decode(&bytes), &picture(), 8);
    }
    for name in ["exif_6.png", "exif_6.webp"] {
        assert_eq!(decode(&fixture(name)), picture(), "{name}");
    }
}

#[test]
fn a_jpeg_whose_data_stops_short_of_its_end_mark_is_refused() {
    for name in ["restart.jpg", "grey_adobe.jpg", "exif_6.jpg", "cmyk.jpg", "progressive.jpg"] {
        let file = fixture(name);
        let scan = file.windows(2).rposition(|pair| pair == [0xFF, 0xDA]).unwrap();
        let header = usize::from(file[scan + 3]);
        for end in scan + 2 + header..file.len() - 4 {
            let cut = [&file[..end], &[0xFF, 0xD9]].concat();
            let decoded = vision::decode(&cut, &LIMITS);
            assert!(matches!(decoded, Err(DecodeError::Corrupt(_))), "{name} cut at {end}");
        }
    }
}

/// Made of a fixture by ending it after its first scan: coarse, but a whole file.
#[test]
fn a_progressive_jpeg_of_a_single_scan_is_read() {
    let file = fixture("progressive.jpg");
    let mut scans = file.windows(2).enumerate().filter(|(_, pair)| *pair == [0xFF, 0xDA]);
    let (first, _) = scans.next().unwrap();
    // Between two scans there may be tables.
    let data = &file[first + 2..];
    let end = data.windows(2).position(|pair| pair[0] == 0xFF && pair[1] >= 0xC0).unwrap();
    let single = [&file[..first + 2 + end], &[0xFF, 0xD9]].concat();
    assert_near(&decode(&single), &picture(), 120);
}

#[test]
fn printers_inks_become_the_colours_they_print() {
    for name in ["cmyk", "ycck"] {
        let expected = decode(&fixture(&format!("{name}_expected.png")));
        assert_near(&decode(&fixture(&format!("{name}.jpg"))), &expected, 3);
    }
}

#[test]
fn grey_becomes_three_equal_channels() {
    let grey = GrayImage::from_fn(48, 32, |x, y| image::Luma([(x * 2 + y) as u8]));
    let decoded = decode(&encode(grey.clone(), ImageFormat::Png));
    for (pixel, grey) in decoded.pixels().zip(grey.pixels()) {
        assert_eq!(pixel.0, [grey.0[0]; 3]);
    }
    assert!(decode(&fixture("grey_adobe.jpg")).pixels().all(|p| p[0] == p[1] && p[1] == p[2]));
}

#[test]
fn sixteen_bits_become_eight() {
    let deep = ImageBuffer::from_fn(48, 32, |x, y| {
        Rgb(picture().get_pixel(x, y).0.map(|channel| u16::from(channel) * 257))
    });
    assert_eq!(decode(&encode(DynamicImage::ImageRgb16(deep), ImageFormat::Png)), picture());
}

#[test]
fn what_is_transparent_becomes_white() {
    let image = RgbaImage::from_fn(3, 1, |x, _| Rgba([0, 100, 200, [0, 128, 255][x as usize]]));
    for format in [ImageFormat::Png, ImageFormat::WebP] {
        let decoded = decode(&encode(image.clone(), format));
        assert_eq!(decoded.as_raw(), &[255, 255, 255, 127, 177, 227, 0, 100, 200]);
    }
    let grey = GrayAlphaImage::from_pixel(2, 2, LumaA([0, 0]));
    assert!(decode(&encode(grey, ImageFormat::Png)).iter().all(|&channel| channel == 255));
}

#[test]
fn of_an_animation_the_first_frame_counts() {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    for red in [255, 0] {
        encoder
            .encode_frame(Frame::new(RgbaImage::from_pixel(9, 7, Rgba([red, 0, 0, 255]))))
            .unwrap();
    }
    drop(encoder);
    assert_eq!(decode(&bytes), RgbImage::from_pixel(9, 7, Rgb([255, 0, 0])));
}

#[test]
fn a_gif_frame_that_does_not_fit_on_its_screen_is_the_picture() {
    let file = encode(picture(), ImageFormat::Gif);
    let frame = file.iter().position(|&byte| byte == 0x2C).unwrap();
    let whole = decode(&file);
    let with = |screen: [u16; 2], offset: [u16; 2]| {
        let mut file = file.clone();
        for (at, number) in [6, 8, frame + 1, frame + 3].into_iter().zip([screen, offset].concat())
        {
            file[at..at + 2].copy_from_slice(&number.to_le_bytes());
        }
        decode(&file)
    };
    for (screen, offset) in
        [([0, 0], [0, 0]), ([20, 10], [0, 0]), ([48, 32], [1, 0]), ([0, 32], [5, 5])]
    {
        assert_eq!(with(screen, offset), whole, "{screen:?} {offset:?}");
    }
    // One that fits lies on it, on white.
    let larger = with([60, 40], [4, 3]);
    assert_eq!(larger.dimensions(), (60, 40));
    assert_eq!(image::imageops::crop_imm(&larger, 4, 3, 48, 32).to_image(), whole);
    assert_eq!(larger.get_pixel(0, 0).0, [255; 3]);
}

/// A bitmap of two pixels of so many bits, with these masks of red, green, blue and alpha.
fn bmp(bits: u16, masks: [u32; 4], pixels: [u32; 2]) -> Vec<u8> {
    let data: Vec<u8> = match bits {
        16 => pixels.iter().flat_map(|it| (*it as u16).to_le_bytes()).collect(),
        _ => pixels.iter().flat_map(|it| it.to_le_bytes()).collect(),
    };
    let mut file = b"BM".to_vec();
    file.extend((138 + data.len() as u32).to_le_bytes());
    file.extend([0; 4]);
    file.extend(138_u32.to_le_bytes());
    for number in [124_u32, 2, 1] {
        file.extend(number.to_le_bytes());
    }
    file.extend([1_u16.to_le_bytes(), bits.to_le_bytes()].concat());
    // BI_BITFIELDS, and five numbers that say nothing.
    file.extend(3_u32.to_le_bytes());
    file.extend([0; 20]);
    file.extend(masks.into_iter().flat_map(u32::to_le_bytes));
    file.extend(b"BGRs");
    file.resize(138, 0);
    file.extend(data);
    file
}

#[test]
fn a_bitmap_that_is_transparent_everywhere_is_opaque() {
    let masks = [0xFF_0000, 0xFF00, 0xFF, 0xFF00_0000];
    let decode = |bits, masks, pixels| decode(&bmp(bits, masks, pixels)).into_raw();
    assert_eq!(decode(32, masks, [0x0010_2030, 0x0040_5060]), [16, 32, 48, 64, 80, 96]);
    assert_eq!(decode(32, masks, [0xFF10_2030, 0x0040_5060]), [16, 32, 48, 255, 255, 255]);
    assert_eq!(
        decode(32, [masks[0], masks[1], masks[2], 0], [0x0010_2030, 0]),
        [16, 32, 48, 0, 0, 0]
    );
    let masks = [0x7C00, 0x3E0, 0x1F, 0x8000];
    assert_eq!(decode(16, masks, [0x7C00, 0x03E0]), [255, 0, 0, 0, 255, 0]);
    assert_eq!(decode(16, masks, [0xFC00, 0x03E0]), [255, 0, 0, 255, 255, 255]);
}

#[test]
fn junk_between_the_segments_of_a_header_is_forgiven() {
    assert_near(&decode(&fixture("junk.jpg")), &picture(), 16);
}

#[test]
fn a_file_that_was_cut_is_corrupt_wherever_it_was_cut() {
    let files = [
        encode(picture(), ImageFormat::Jpeg),
        fixture("progressive.jpg"),
        fixture("exif_6.jpg"),
        encode(picture(), ImageFormat::Png),
        encode(picture(), ImageFormat::WebP),
        encode(picture(), ImageFormat::Bmp),
    ];
    for file in files {
        let format = Format::sniff(&file).unwrap();
        // A JPEG that lacks its end marker alone has all of its pixels.
        let end = file.len() - if format == Format::Jpeg { 2 } else { 0 };
        for length in 26..end {
            let cut = vision::decode(&file[..length], &LIMITS).map(|image| image.dimensions());
            assert!(matches!(cut, Err(DecodeError::Corrupt(_))), "{format:?} {length}: {cut:?}");
        }
    }
}

#[test]
fn a_gif_whose_first_frame_was_cut_is_corrupt() {
    let file = encode(picture(), ImageFormat::Gif);
    for length in 26..file.len() - 8 {
        assert!(vision::decode(&file[..length], &LIMITS).is_err(), "{length}");
    }
}

#[test]
fn a_jpeg_that_goes_wrong_midway_is_corrupt() {
    let noise =
        RgbImage::from_fn(256, 256, |x, y| Rgb([((x * 37) ^ (y * 101)) as u8, (x * y) as u8, 9]));
    let mut bytes = encode(noise, ImageFormat::Jpeg);
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].fill(0xFF);
    assert!(matches!(vision::decode(&bytes, &LIMITS), Err(DecodeError::Corrupt(_))));
}

#[test]
fn nothing_is_empty_and_text_is_no_image() {
    assert_eq!(vision::decode(b"", &LIMITS), Err(DecodeError::Empty));
    let error = vision::decode(b"I am a cat, honestly.", &LIMITS).unwrap_err();
    assert_eq!(error, DecodeError::UnsupportedFormat("text"));
    assert_eq!(error.code(), "unsupported_type");
}

/// A PNG that claims a size, with a first piece of well-formed data behind it.
fn huge_png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = encode(RgbImage::new(1, 1), ImageFormat::Png);
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let mut crc = flate2::Crc::new();
    crc.update(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    bytes
}

#[test]
fn an_image_too_large_costs_nothing() {
    let started = Instant::now();
    let mut jpeg = encode(RgbImage::new(1, 1), ImageFormat::Jpeg);
    let frame = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    jpeg[frame + 5..frame + 9].fill(0xC3);
    let mut bmp = encode(RgbImage::new(1, 1), ImageFormat::Bmp);
    bmp[18..22].copy_from_slice(&50_000_u32.to_le_bytes());
    bmp[22..26].copy_from_slice(&50_000_u32.to_le_bytes());
    let mut gif = encode(RgbImage::new(1, 1), ImageFormat::Gif);
    gif[6..10].fill(0xC3);
    for bytes in [huge_png(50_000, 50_000), jpeg, bmp, gif] {
        let error = vision::decode(&bytes, &LIMITS).unwrap_err();
        assert!(matches!(error, DecodeError::TooManyPixels { max: 1_000_000, .. }), "{error:?}");
    }
    // The frame of a GIF may be larger than its canvas.
    let mut gif = encode(RgbImage::new(1, 1), ImageFormat::Gif);
    let frame = gif.iter().position(|&byte| byte == 0x2C).unwrap();
    gif[frame + 5..frame + 9].fill(0xFF);
    assert!(vision::decode(&gif, &LIMITS).is_err());
    assert!(started.elapsed().as_millis() < 1_000);
}

fn seeds() -> Vec<Vec<u8>> {
    let names =
        ["cmyk.jpg", "ycck.jpg", "progressive.jpg", "exif_6.jpg", "exif_6.png", "exif_6.webp"];
    let formats = [ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Bmp];
    let mut seeds: Vec<_> = names.into_iter().map(fixture).collect();
    seeds.extend(formats.map(|format| encode(picture(), format)));
    seeds
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = vision::decode(&bytes, &LIMITS);
    }

    #[test]
    fn no_damage_makes_it_panic(
        seed in prop::sample::select(seeds()),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in any::<prop::sample::Index>(),
        cuts in any::<bool>(),
    ) {
        let mut bytes = seed;
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if cuts {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(image) = vision::decode(&bytes, &LIMITS) {
            prop_assert!(u64::from(image.width()) * u64::from(image.height()) <= LIMITS.max_pixels);
        }
    }
}
