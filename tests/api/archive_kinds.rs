//! Archives as other programs write them: tars in a row, padded gzip, hard links, sparse files,
//! zips of every method.

use std::io::{Cursor, Write as _};

use crate::common::{Server, gzip, photo, tar, zip};
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

const ARCHIVE: &str = "/datasets/pets/archive";

async fn server() -> Server {
    let server = Server::start().await;
    server.pets().await;
    server
}

/// `(file, code)` of what was rejected.
fn codes(report: &Value) -> Vec<(&str, &str)> {
    let rejected = report["rejected"].as_array().unwrap();
    rejected
        .iter()
        .map(|one| (one["file"].as_str().unwrap(), one["code"].as_str().unwrap()))
        .collect()
}

fn ab() -> [Vec<u8>; 2] {
    [
        tar(&[("train/cat/0.jpg", photo(0)), ("train/dog/1.jpg", photo(1))]),
        tar(&[("test/cat/2.jpg", photo(2)), ("test/dog/3.jpg", photo(3))]),
    ]
}

#[tokio::test]
async fn archives_in_a_row_are_all_read() {
    let [a, b] = ab();
    for archive in [
        [a.clone(), b.clone()].concat(),
        [gzip(&a), gzip(&b)].concat(),
        gzip(&[a.clone(), b.clone()].concat()),
        // Without the end mark of the first, and with far more than one.
        [a[..a.len() - 1024].to_vec(), b.clone()].concat(),
        [a.clone(), vec![0; 20_480], b.clone(), vec![0; 10_240]].concat(),
        [gzip(&a), vec![0; 700], gzip(&b)].concat(),
        // One tar over two members of gzip.
        [gzip(&a[..1_000]), gzip(&[&a[1_000..], &b].concat())].concat(),
    ] {
        let server = server().await;
        let report = server.post(ARCHIVE, archive).await.ok();
        assert_eq!((&report["added"], &report["rejected_total"]), (&json!(4), &json!(0)));
        let counts = server.get("/datasets/pets").await.ok()["counts"].clone();
        assert_eq!(counts["test"], json!({ "cat": 1, "dog": 1 }));
    }
}

#[tokio::test]
async fn zeros_behind_an_archive_are_padding() {
    let [a, _] = ab();
    for archive in [
        [gzip(&a), vec![0; 9_999]].concat(),
        [gzip(&a), vec![0; 1]].concat(),
        [a.clone(), vec![0; 300]].concat(),
        gzip(&[a, vec![0; 10_240]].concat()),
    ] {
        assert_eq!(server().await.post(ARCHIVE, archive).await.ok()["added"], 2);
    }
}

#[tokio::test]
async fn what_follows_an_archive_and_is_none_is_an_error_after_all_that_was_read() {
    let [a, b] = ab();
    let files = [("cat/.DS_Store", vec![1]), ("cat/0.jpg", photo(0)), ("bird/1.jpg", photo(1))];
    for (archive, added, said) in [
        ([gzip(&a), b"garbage".to_vec()].concat(), 2, "unexpected data after"),
        ([a.clone(), vec![9; 512]].concat(), 2, "unexpected data after"),
        ([gzip(&a), gzip(&b)[..400].to_vec()].concat(), 2, ""),
        ([gzip(&tar(&files)), vec![7]].concat(), 1, "unexpected data after"),
    ] {
        let server = server().await;
        let problem = server.post(ARCHIVE, archive).await.problem(422, "archive_damaged");
        assert!(problem["added"].as_u64().unwrap() >= added, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(said), "{problem}");
        let ignored = u64::from(added == 1);
        assert_eq!(problem["ignored"]["count"], ignored, "{problem}");
        assert_eq!(problem["rejected_total"], ignored);
        assert_eq!(server.leftovers(), 0);
    }
}

fn header(kind: EntryType, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size as u64);
    header.set_mode(0o644);
    header
}

#[tokio::test]
async fn a_hard_link_is_the_file_that_it_names() {
    let long = format!("{}/dog/1.jpg", "deep".repeat(40));
    let mut archive = Builder::new(Vec::new());
    let file = |archive: &mut Builder<Vec<u8>>, name: &str, bytes: &[u8]| {
        archive.append_data(&mut header(EntryType::Regular, bytes.len()), name, bytes).unwrap();
    };
    let link = |archive: &mut Builder<Vec<u8>>, name: &str, target: &str| {
        archive.append_link(&mut header(EntryType::Link, 0), name, target).unwrap();
    };
    file(&mut archive, "staging/IMG_0.jpg", &photo(0));
    link(&mut archive, "train/cat/0.jpg", "./staging/IMG_0.jpg");
    link(&mut archive, "train/cat/again.jpg", "train/cat/0.jpg");
    link(&mut archive, "test/dog/0.jpg", "staging/IMG_0.jpg");
    file(&mut archive, &format!("train/{long}"), &photo(1));
    link(&mut archive, "train/dog/copy.jpg", &format!("train/{long}"));
    file(&mut archive, "train/cat/notes", b"words");
    link(&mut archive, "test/cat/notes", "train/cat/notes");
    link(&mut archive, "train/cat/nowhere.jpg", "/etc/passwd");
    link(&mut archive, "train/cat/early.jpg", "train/cat/late.jpg");
    file(&mut archive, "train/cat/late.jpg", &photo(2));
    let archive = archive.into_inner().unwrap();
    for archive in [archive.clone(), gzip(&archive)] {
        let server = server().await;
        let report = server.post(ARCHIVE, archive).await.ok();
        assert_eq!((&report["added"], &report["duplicates"]), (&json!(3), &json!(2)), "{report:#}");
        let expected = [
            ("staging/IMG_0.jpg", "unknown_split"),
            ("test/dog/0.jpg", "label_conflict"),
            ("train/cat/notes", "unsupported_type"),
            ("test/cat/notes", "unsupported_type"),
            ("train/cat/nowhere.jpg", "link"),
            ("train/cat/early.jpg", "link"),
        ];
        let mut found = codes(&report);
        found.sort_by_key(|one| expected.iter().position(|other| one == other));
        assert_eq!(found, expected, "{report:#}");
        let images = server.listed("&split=train&label=cat").await;
        assert_eq!(images[0]["file_name"], "train/cat/0.jpg");
        let image = format!("/images/{}", images[0]["id"].as_str().unwrap());
        assert_eq!(server.get(&image).await.body, photo(0));
        assert_eq!(server.leftovers(), 0);
    }
}

#[tokio::test]
async fn links_to_one_file_cannot_unpack_to_more_than_an_archive_may() {
    let server = Server::with(|config| config.max_unpacked_bytes = 1 << 20).await;
    server.pets().await;
    let mut archive = Builder::new(Vec::new());
    let bytes = vec![9; 300_000];
    archive.append_data(&mut header(EntryType::Regular, 300_000), "cat/0", &*bytes).unwrap();
    for number in 1..9 {
        let name = format!("cat/{number}");
        archive.append_link(&mut header(EntryType::Link, 0), name, "cat/0").unwrap();
    }
    let archive = gzip(&archive.into_inner().unwrap());
    server.post(ARCHIVE, archive).await.problem(413, "archive_too_large");
}

/// `bytes` as the data of an entry behind pax records.
fn with_pax(records: &[(&str, &str)], mut header: Header, bytes: &[u8]) -> Vec<u8> {
    let mut archive = Builder::new(Vec::new());
    let records = records.iter().map(|(key, value)| (*key, value.as_bytes()));
    archive.append_pax_extensions(records).unwrap();
    header.set_path("short").unwrap();
    header.set_cksum();
    archive.append(&header, bytes).unwrap();
    archive.into_inner().unwrap()
}

#[tokio::test]
async fn pax_records_say_names_and_sizes() {
    let photo = photo(0);
    // The size in the header is one that it can't hold: zero.
    let mut body = photo.clone();
    body.resize(photo.len().next_multiple_of(512), 0);
    let size = photo.len().to_string();
    let mut archive = with_pax(
        &[("size", &size), ("path", "train/cat/über\n.jpg"), ("comment", "x")],
        header(EntryType::Regular, 0),
        &[],
    );
    archive.truncate(archive.len() - 1024);
    archive.extend(&body);
    archive.extend(tar(&[("train/dog/1.jpg", crate::common::photo(1))]));
    // A header for all files, as git writes one.
    let global = with_pax(&[("comment", "x")], header(EntryType::Regular, 0), &[]);
    let mut global = global[..1024].to_vec();
    global[156] = b'g';
    let mut first = Header::from_byte_slice(&global[..512]).clone();
    first.set_cksum();
    global[..512].copy_from_slice(first.as_bytes());
    let server = server().await;
    let report = server.post(ARCHIVE, [global, archive].concat()).await.ok();
    assert_eq!(report["added"], 2, "{report}");
    assert_eq!(server.listed("").await[0]["file_name"], "train/cat/über\u{FFFD}.jpg");
}

#[tokio::test]
async fn sparse_files_are_read_with_their_holes() {
    // A photo with a hole: zeros behind its end, which decoders pass over.
    let photo = photo(0);
    let mut data = photo.clone();
    data.resize(photo.len().next_multiple_of(512), 0);
    let real = data.len() + 100_000;

    let mut gnu = header(EntryType::GNUSparse, data.len());
    let fields = gnu.as_gnu_mut().unwrap();
    fields.set_real_size(real as u64);
    fields.sparse[0].set_offset(0);
    fields.sparse[0].set_length(data.len() as u64);
    fields.sparse[1].set_offset(real as u64);
    fields.sparse[1].set_length(0);
    let mut archive = Builder::new(Vec::new());
    archive.append_data(&mut gnu, "cat/gnu.jpg", &*data).unwrap();
    let gnu = archive.into_inner().unwrap();

    let (length, size) = (data.len().to_string(), real.to_string());
    let map = format!("0,{length}");
    let records =
        [("GNU.sparse.size", &*size), ("GNU.sparse.map", &map), ("GNU.sparse.name", "cat/pax.jpg")];
    let pax = with_pax(&records, header(EntryType::Regular, data.len()), &data);

    let mut mapped = format!("1\n0\n{length}\n").into_bytes();
    mapped.resize(512, 0);
    mapped.extend(&data);
    let records = [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.name", "cat/pax1.jpg"),
        ("GNU.sparse.realsize", &*size),
    ];
    let newest = with_pax(&records, header(EntryType::Regular, mapped.len()), &mapped);
    for archive in [gnu, pax, newest] {
        let server = server().await;
        let report = server.post(ARCHIVE, [archive, tar(&[])].concat()).await.ok();
        assert_eq!(report["added"], 1, "{report}");
        assert_eq!(server.listed("").await[0]["bytes"], real);
    }
}

#[tokio::test]
async fn a_zip_may_be_compressed_by_any_usual_method() {
    use CompressionMethod as Method;
    for method in [Method::Stored, Method::Deflated, Method::Bzip2, Method::Xz, Method::Zstd] {
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(method).large_file(true);
        for (name, number) in [("train/cat/0.jpg", 0), ("train/dog/1.jpg", 1)] {
            archive.start_file(name, options).unwrap();
            archive.write_all(&photo(number)).unwrap();
        }
        let archive = archive.finish().unwrap().into_inner();
        let server = server().await;
        // As it is, and behind a program that unpacks it.
        let packed = [b"MZ program".to_vec(), vec![7; 70_000], archive.clone()].concat();
        assert_eq!(server.post(ARCHIVE, archive).await.ok()["added"], 2, "{method:?}");
        assert_eq!(server.post(ARCHIVE, packed).await.ok()["duplicates"], 2, "{method:?}");
        let image = format!("/images/{}", server.listed("").await[0]["id"].as_str().unwrap());
        assert_eq!(server.get(&image).await.body, photo(0));
    }
}

#[tokio::test]
async fn a_zip_may_be_compressed_by_lzma() {
    let server = server().await;
    let archive = include_bytes!("../fixtures/archives/lzma.zip").to_vec();
    assert_eq!(server.post(ARCHIVE, archive).await.ok()["added"], 1);
    let image = format!("/images/{}", server.listed("").await[0]["id"].as_str().unwrap());
    assert_eq!(server.get(&image).await.body, include_bytes!("../fixtures/picture.png"));
}

/// The zip with another method written over that of its entries.
fn with_method(mut archive: Vec<u8>, method: u16) -> Vec<u8> {
    for (magic, at) in [(b"PK\x03\x04", 8), (b"PK\x01\x02", 10)] {
        for begin in memchr::memmem::find_iter(&archive.clone(), magic) {
            archive[begin + at..begin + at + 2].copy_from_slice(&method.to_le_bytes());
        }
    }
    archive
}

#[tokio::test]
async fn deflate64_is_read_and_other_methods_are_named() {
    let server = server().await;
    // Blocks that are stored are the same in Deflate and in Deflate64.
    let mut stored = vec![1];
    let bytes = photo(0);
    let size = u16::try_from(bytes.len()).unwrap();
    stored.extend(size.to_le_bytes());
    stored.extend((!size).to_le_bytes());
    stored.extend(&bytes);
    let mut archive = with_method(zip_stored("cat/0.jpg", &stored), 9);
    let mut crc = flate2::Crc::new();
    crc.update(&bytes);
    for (magic, at) in [(b"PK\x03\x04", 14), (b"PK\x01\x02", 16)] {
        let begin = memchr::memmem::find(&archive, magic).unwrap() + at;
        archive[begin..begin + 4].copy_from_slice(&crc.sum().to_le_bytes());
        archive[begin + 8..begin + 12].copy_from_slice(&u32::from(size).to_le_bytes());
    }
    let report = server.post(ARCHIVE, archive).await.ok();
    assert_eq!(report["added"], 1, "{report}");

    for (method, name) in [(98, "PPMd"), (6, "Implode"), (1_000, "method 1000")] {
        let archive = with_method(zip(&[("cat/1.jpg", photo(1))]), method);
        let report = server.post(ARCHIVE, archive).await.ok();
        assert_eq!(codes(&report), [("cat/1.jpg", "unsupported_type")]);
        let detail = report["rejected"][0]["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("unsupported compression method ({name})")), "{detail}");
    }
}

fn zip_stored(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    archive.start_file(name, stored).unwrap();
    archive.write_all(bytes).unwrap();
    archive.finish().unwrap().into_inner()
}

#[tokio::test]
async fn names_in_a_zip_are_utf_8_or_code_page_437() {
    let server = server().await;
    // The flag that says UTF-8 is taken away.
    let plain = |mut archive: Vec<u8>, name: &[u8]| {
        for (magic, flags, at) in [(b"PK\x03\x04", 7, 30), (b"PK\x01\x02", 9, 46)] {
            let begin = memchr::memmem::find(&archive, magic).unwrap();
            archive[begin + flags] &= !8;
            archive[begin + at..begin + at + name.len()].copy_from_slice(name);
        }
        archive
    };
    let archives = [
        zip_stored("cat/für.jpg", &photo(0)),
        plain(zip_stored("cat/für.jpg", &photo(1)), "cat/für.jpg".as_bytes()),
        plain(zip_stored("cat/f__r.jpg", &photo(2)), b"cat/f\x81\x81r.jpg"),
    ];
    for archive in archives {
        assert_eq!(server.post(ARCHIVE, archive).await.ok()["added"], 1);
    }
    let images = server.listed("").await;
    let names: Vec<_> = images.iter().map(|image| image["file_name"].as_str().unwrap()).collect();
    assert_eq!(names, ["cat/für.jpg", "cat/für.jpg", "cat/füür.jpg"]);
}

#[tokio::test]
async fn a_part_of_a_zip_is_said_to_be_one() {
    let server = server().await;
    let archive = zip(&[("cat/0.jpg", photo(0)), ("cat/1.jpg", photo(1))]);
    let cut = archive[..archive.len() - 30].to_vec();
    let problem = server.post(ARCHIVE, cut).await.problem(422, "archive_damaged");
    assert!(problem["detail"].as_str().unwrap().contains("directory at its end is missing"));
    let mut last = archive.clone();
    let end = memchr::memmem::rfind(&last, b"PK\x05\x06").unwrap();
    last[end + 4..end + 8].copy_from_slice(&[2, 0, 2, 0]);
    let first = [b"PK\x07\x08".to_vec(), archive].concat();
    for volume in [last, first] {
        let problem = server.post(ARCHIVE, volume).await.problem(415, "unsupported_type");
        assert!(
            problem["detail"].as_str().unwrap().contains("one volume of a split zip"),
            "{problem}"
        );
    }
    let program = [b"MZ".to_vec(), vec![7; 70_000]].concat();
    let problem = server.post(ARCHIVE, program).await.problem(415, "unsupported_type");
    assert!(problem["detail"].as_str().unwrap().contains("program without a zip"));
}
