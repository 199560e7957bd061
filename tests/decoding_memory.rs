//! What decoding takes, by an allocator that counts, against what is reserved for it.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test says what it measured, and may stop"
)]

use std::io::Cursor;

use image::{DynamicImage, ImageBuffer, ImageFormat, Rgb, imageops::FilterType};
use libjpeg_turbo_rs::{Encoder, PixelFormat, Subsampling};
use pawprint::{
    domain::preprocessing::Preprocessing,
    vision::{Limits, decode, decoding_memory, prepare, shrink, shrinking_memory},
};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const SIDE: u32 = 1600;

/// An EXIF block that has nothing but an orientation: a quarter turn.
const TURNED: &[u8] = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";

fn picture() -> DynamicImage {
    ImageBuffer::from_fn(SIDE, SIDE, |x, y| Rgb([x as u8, y as u8, (x ^ y) as u8])).into()
}

fn encode(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn jpeg(change: impl for<'a> Fn(Encoder<'a>) -> Encoder<'a>) -> Vec<u8> {
    let image = picture().into_rgb8();
    let encoder = Encoder::new(&image, SIDE as usize, SIDE as usize, PixelFormat::Rgb);
    change(encoder).encode().unwrap()
}

/// Bytes that `work` takes at most at a time, its result included.
fn peak<T>(work: impl FnOnce() -> T) -> u64 {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    drop(work());
    (MEMORY.peak_usage() - before) as u64
}

fn decoding_takes_no_more_than_is_reserved_and_not_much_less() {
    let (s420, s444) = (Subsampling::S420, Subsampling::S444);
    let finer_chroma = vec![(1, 1), (2, 2), (1, 1)];
    let cases = [
        ("JPEG 4:2:0", jpeg(|it| it.subsampling(s420))),
        ("JPEG 4:4:4", jpeg(|it| it.subsampling(s444))),
        ("JPEG, turned", jpeg(|it| it.subsampling(s420).exif_data(TURNED))),
        ("JPEG, arithmetic", jpeg(|it| it.subsampling(s444).arithmetic(true))),
        ("JPEG, progressive 4:2:0", jpeg(|it| it.subsampling(s420).progressive(true))),
        ("JPEG, progressive 4:4:4", jpeg(|it| it.subsampling(s444).progressive(true))),
        ("JPEG by planes", jpeg(|it| it.sampling_factors(finer_chroma.clone()))),
        ("JPEG, CMYK", include_bytes!("fixtures/cmyk.jpg").to_vec()),
        ("PNG, palette or 8-bit", encode(picture(), ImageFormat::Png)),
        ("PNG, 8-bit alpha", encode(picture().into_rgba8(), ImageFormat::Png)),
        ("PNG, 16-bit", encode(picture().into_rgb16(), ImageFormat::Png)),
        ("PNG, 16-bit alpha", encode(picture().into_rgba16(), ImageFormat::Png)),
        ("WebP", encode(picture(), ImageFormat::WebP)),
        ("WebP, alpha", encode(picture().into_rgba8(), ImageFormat::WebP)),
        ("BMP", encode(picture(), ImageFormat::Bmp)),
        ("BMP, alpha", encode(picture().into_rgba8(), ImageFormat::Bmp)),
        ("GIF", encode(picture().into_rgba8(), ImageFormat::Gif)),
    ];
    let limits = Limits::default();
    let preprocessing = Preprocessing::UNIT_180;
    // At an eighth.
    let large = picture().resize_exact(2900, 2600, FilterType::Nearest);
    let large = encode(large, ImageFormat::Jpeg);
    let shrunk = peak(|| shrink(&large, &limits, 9, 8).unwrap());
    let reserved = shrinking_memory(&large, &limits, 9, 8).unwrap();
    assert!(shrunk <= reserved && reserved < 5 << 20, "{shrunk} of {reserved}");
    for (name, bytes) in &cases {
        let whole = peak(|| decode(bytes, &limits).unwrap());
        let prepared = peak(|| prepare(bytes, &limits, &preprocessing).unwrap());
        let shrunk = peak(|| shrink(bytes, &limits, 9, 8).unwrap());
        let reserved = decoding_memory(bytes, &limits, None).unwrap();
        let reserved_prepared = decoding_memory(bytes, &limits, Some(&preprocessing)).unwrap();
        let reserved_shrunk = shrinking_memory(bytes, &limits, 9, 8).unwrap();
        println!(
            "{name:25} {whole:10} of {reserved:10}, prepared {prepared:10} of {reserved_prepared:10}, \
             shrunk {shrunk:10} of {reserved_shrunk:10}"
        );
        assert!(whole <= reserved, "{name}: {whole} of {reserved}");
        assert!(prepared <= reserved_prepared, "{name}: {prepared} of {reserved_prepared}");
        assert!(shrunk <= reserved_shrunk, "{name}: {shrunk} of {reserved_shrunk}");
        assert!(reserved < 4 * whole + (2 << 20), "{name}: {whole} of {reserved}");
    }
}

fn what_is_above_the_limit_or_no_image_reserves_nothing() {
    let limits = Limits { max_pixels: 100 };
    for (bytes, code) in [
        (encode(picture(), ImageFormat::Png), "too_many_pixels"),
        (encode(picture(), ImageFormat::Bmp), "too_many_pixels"),
        (encode(picture(), ImageFormat::WebP), "too_many_pixels"),
        (jpeg(|it| it), "too_many_pixels"),
        (encode(picture().into_rgba8(), ImageFormat::Gif), "too_many_pixels"),
        (b"\x89PNG\r\n\x1A\n".to_vec(), "corrupt_image"),
        (b"\xFF\xD8".to_vec(), "corrupt_image"),
        (b"RIFF\0\0\0\0WEBP".to_vec(), "corrupt_image"),
        (b"GIF89a".to_vec(), "corrupt_image"),
        (b"BM\0\0\0\0\0\0\0\0\0\0\0\0\x28\0\0\0".to_vec(), "corrupt_image"),
        (Vec::new(), "empty_file"),
        (b"hello".to_vec(), "unsupported_type"),
    ] {
        assert_eq!(
            decoding_memory(&bytes, &limits, None).unwrap_err().code(),
            code,
            "{bytes:.16?}"
        );
    }
}

/// A single test: the allocator counts for the whole process.
#[test]
fn memory_of_decoding() {
    decoding_takes_no_more_than_is_reserved_and_not_much_less();
    what_is_above_the_limit_or_no_image_reserves_nothing();
}
