//! Archives over the API: every layout, and every way to make one that means harm.

use std::io::{Cursor, Write as _};

use crate::common::{Server, gzip, photo, tar, tar_gz, zip};
use axum::{
    body::Body,
    http::{Request, header},
};
use serde_json::{Value, json};

const ARCHIVE: &str = "/datasets/pets/archive";

async fn counts(server: &Server) -> Value {
    server.get("/datasets/pets").await.ok()["counts"].clone()
}

fn codes(report: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let rejected = report["rejected"].as_array().unwrap();
    rejected.iter().map(|one| (text(&one["file"]), text(&one["code"]))).collect()
}

#[tokio::test]
async fn every_kind_of_archive_and_every_layout_is_read() {
    let files = [
        ("train/cat/0.jpg", photo(0)),
        ("train/dog/1.jpg", photo(1)),
        ("val/cat/2.jpg", photo(2)),
        ("pets/test/dog/3.jpg", photo(3)),
        ("train/cats/4.jpg", photo(4)),
        ("__MACOSX/train/cat/._0.jpg", vec![1, 2, 3]),
        ("train/.DS_Store", vec![1, 2, 3]),
    ];
    for archive in [zip(&files), tar(&files), tar_gz(&files)] {
        let server = Server::start().await;
        server.pets().await;
        let report = server.post(ARCHIVE, archive).await.ok();
        assert_eq!(
            report,
            json!({
                "added": 5, "duplicates": 0, "rejected": [], "rejected_total": 0,
                "ignored": { "count": 2, "examples": ["__MACOSX/train/cat/._0.jpg", "train/.DS_Store"] },
            })
        );
        let expected = json!({
            "train": { "cat": 2, "dog": 1 },
            "validation": { "cat": 1, "dog": 0 },
            "test": { "cat": 0, "dog": 1 },
        });
        assert_eq!(counts(&server).await, expected);
        assert_eq!((server.leftovers(), server.blobs()), (0, 5));
    }
}

#[tokio::test]
async fn folders_of_classes_and_flat_names_are_split_by_content_or_as_asked() {
    let server = Server::start().await;
    server.pets().await;
    for (names, first) in [(["cat/x.jpg", "dog/x.jpg"], 0), (["cat.0.jpg", "dog.1.jpg"], 15)] {
        let files: Vec<_> =
            (first..first + 15).map(|n| (names[n as usize % 2], photo(n))).collect();
        let report = server.post(ARCHIVE, tar(&files)).await.ok();
        assert_eq!(report["added"], 15);
    }
    let counts_by_content = counts(&server).await;
    assert!(
        ["train", "validation", "test"]
            .iter()
            .all(|split| counts_by_content[*split] != json!({ "cat": 0, "dog": 0 }))
    );

    let report = server
        .post(&format!("{ARCHIVE}?split=test"), tar(&[("train/cat/1.jpg", photo(50))]))
        .await
        .ok();
    assert_eq!(report["added"], 1);
    assert_eq!(
        counts(&server).await["test"]["cat"].as_u64(),
        counts_by_content["test"]["cat"].as_u64().map(|count| count + 1)
    );
}

#[tokio::test]
async fn bad_entries_are_listed_and_the_others_enter() {
    let server = Server::with(|config| config.max_image_bytes = 100_000).await;
    server.pets().await;
    let files = [
        ("cat/0.jpg", photo(0)),
        ("cat/readme.txt", b"hello".to_vec()),
        ("cat/2.jpg", vec![0xFF; 100_001]),
        ("bird/3.jpg", photo(3)),
        ("4.jpg", photo(4)),
        ("cat/5.jpg", photo(0)),
        ("dog/6.jpg", photo(0)),
        ("dog/7.jpg", photo(7)),
    ];
    for archive in [zip(&files), tar(&files)] {
        let report = server.post(ARCHIVE, archive).await.ok();
        let expected = [
            ("cat/readme.txt", "unsupported_type"),
            ("cat/2.jpg", "too_large"),
            ("bird/3.jpg", "unknown_label"),
            ("4.jpg", "unlabelled"),
            ("dog/6.jpg", "label_conflict"),
        ];
        assert_eq!(codes(&report), expected.map(|(file, code)| (file.to_owned(), code.to_owned())));
        assert_eq!(report["added"].as_u64().unwrap() + report["duplicates"].as_u64().unwrap(), 3);
    }
}

#[tokio::test]
async fn what_is_no_archive_is_named() {
    let server = Server::start().await;
    server.pets().await;
    for (body, name) in [
        (Vec::new(), "(empty body)"),
        (photo(0), "(JPEG image)"),
        (b"Rar!\x1A\x07\x01\0".to_vec(), "(RAR archive)"),
        (gzip(&photo(0)), "gzip without a tar"),
        (vec![b'x'; 2_000], "(unknown format)"),
        (vec![b'x'; 200_000], "(unknown format)"),
    ] {
        let problem = server.post(ARCHIVE, body).await.problem(415, "unsupported_type");
        assert!(problem["detail"].as_str().unwrap().contains(name), "{problem}");
        assert_eq!(problem["added"], 0);
    }
    server.post("/datasets/nothing/archive", tar(&[])).await.problem(404, "not_found");
    server.post(&format!("{ARCHIVE}?split=dev"), tar(&[])).await.problem(422, "invalid_value");
    server.post(&format!("{ARCHIVE}?label=cat"), tar(&[])).await.problem(422, "invalid_value");
    for empty in [tar(&[]), zip(&[]), tar_gz(&[])] {
        assert_eq!(server.post(ARCHIVE, empty).await.ok()["added"], 0);
    }
    assert_eq!(server.leftovers(), 0);
}

#[tokio::test]
async fn of_a_truncated_archive_what_was_read_stays() {
    let names: Vec<_> = (0..8).map(|n| format!("cat/{n}.jpg")).collect();
    let files: Vec<_> = names.iter().zip(0..).map(|(name, n)| (name.as_str(), photo(n))).collect();
    let whole = tar(&files);
    let zipped = tar_gz(&files);
    let at_a_boundary = whole.len() - 1024;
    for (cut, some) in [
        (whole[..whole.len() / 2].to_vec(), true),
        (whole[..at_a_boundary].to_vec(), true),
        (zipped[..zipped.len() / 2].to_vec(), true),
        (zipped[..zipped.len() - 4].to_vec(), true),
        (zip(&files)[..3_000].to_vec(), false),
    ] {
        let server = Server::start().await;
        server.pets().await;
        let problem = server.post(ARCHIVE, cut).await.problem(422, "archive_damaged");
        let added = problem["added"].as_u64().unwrap();
        assert_eq!(added > 0, some, "{problem}");
        assert_eq!(server.get("/datasets/pets").await.ok()["images"], added);
        let report = server.post(ARCHIVE, whole.clone()).await.ok();
        assert_eq!((&report["added"], &report["duplicates"]), (&json!(8 - added), &json!(added)));
    }
}

#[tokio::test]
async fn a_damaged_entry_of_a_zip_does_not_fail_the_others() {
    let server = Server::start().await;
    server.pets().await;
    let mut archive =
        zip(&[("cat/0.jpg", photo(0)), ("cat/1.jpg", photo(1)), ("cat/2.jpg", photo(2))]);
    let second = archive.windows(9).position(|window| window == b"cat/1.jpg").unwrap();
    archive[second + 40] ^= 0xFF;
    let report = server.post(ARCHIVE, archive).await.ok();
    assert_eq!(report["added"], 2);
    assert_eq!(codes(&report), [("cat/1.jpg".to_owned(), "corrupt_image".to_owned())]);
}

#[tokio::test]
async fn an_archive_above_the_limits_is_refused() {
    let server = Server::with(|config| {
        config.max_archive_bytes = 1 << 20;
        config.max_archive_entries = 3;
        config.max_unpacked_bytes = 2 << 20;
        config.max_image_bytes = 1 << 20;
    })
    .await;
    server.pets().await;

    // Too many bytes, said at once or found while they come.
    let request = Request::post(ARCHIVE).header(header::CONTENT_LENGTH, (1 << 20) + 1);
    server.send(request.body(Body::empty()).unwrap()).await.problem(413, "too_large");
    let chunks = (0..17).map(|_| Ok::<_, std::io::Error>(vec![0; 1 << 16]));
    let body = Body::from_stream(futures::stream::iter(chunks));
    server.post(ARCHIVE, body).await.problem(413, "too_large");

    // Too many entries: a zip says so in front, a tar is read until then.
    let files: Vec<_> =
        (0..4).map(|n| (["cat/0", "cat/1", "cat/2", "cat/3"][n as usize], photo(n))).collect();
    let problem = server.post(ARCHIVE, zip(&files)).await.problem(413, "archive_too_large");
    assert_eq!(problem["added"], 0);
    let problem = server.post(ARCHIVE, tar(&files)).await.problem(413, "archive_too_large");
    assert_eq!(problem["added"], 3);

    // Bombs: a kilobyte that unpacks to a megabyte, three times.
    let zeros = vec![0; 1 << 20];
    let bomb = [("cat/a", zeros.clone()), ("cat/b", zeros.clone()), ("cat/c", zeros)];
    for archive in [zip(&bomb), tar_gz(&bomb)] {
        assert!(archive.len() < 100_000);
        let problem = server.post(ARCHIVE, archive).await.problem(413, "archive_too_large");
        assert!(problem["rejected_total"].as_u64().unwrap() <= 2, "{problem}");
    }
    assert_eq!(server.leftovers(), 0);
}

#[tokio::test]
async fn a_zip_that_lies_about_sizes_is_not_believed() {
    let server = Server::start().await;
    server.pets().await;
    let mut archive = zip(&[("cat/bomb", vec![0; 10 << 20]), ("cat/0.jpg", photo(0))]);
    // "100 bytes", says the directory.
    let directory = archive.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    archive[directory + 24..directory + 28].copy_from_slice(&100_u32.to_le_bytes());
    let report = server.post(ARCHIVE, archive).await.ok();
    assert_eq!(report["added"], 1);
    assert_eq!(codes(&report), [("cat/bomb".to_owned(), "corrupt_image".to_owned())]);
}

#[tokio::test]
async fn a_header_of_any_size_costs_no_memory() {
    let server = Server::start().await;
    server.pets().await;
    for kind in [tar::EntryType::GNULongName, tar::EntryType::XHeader] {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(64 << 20);
        header.set_cksum();
        archive.append(&header, std::io::repeat(b'a').take_bytes(64 << 20)).unwrap();
        let archive = gzip(&archive.into_inner().unwrap());
        server.post(ARCHIVE, archive).await.problem(422, "archive_damaged");
    }
}

trait TakeBytes: std::io::Read + Sized {
    fn take_bytes(self, bytes: u64) -> std::io::Take<Self> {
        std::io::Read::take(self, bytes)
    }
}

impl<R: std::io::Read> TakeBytes for R {}

#[tokio::test]
async fn long_names_are_read() {
    let server = Server::start().await;
    server.pets().await;
    let long = format!("{}/train/cat/{}.jpg", "deep".repeat(40), "x".repeat(90));
    let mut archive = tar::Builder::new(Vec::new());
    let bytes = photo(1);
    archive.append_pax_extensions([("path", long.as_bytes())]).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_path("short").unwrap();
    header.set_cksum();
    archive.append(&header, bytes.as_slice()).unwrap();
    server.post(ARCHIVE, archive.into_inner().unwrap()).await.ok();
    server.post(ARCHIVE, tar(&[(&long, photo(0))])).await.ok();
    let page = server.get("/datasets/pets/images").await.ok();
    for image in page["items"].as_array().unwrap() {
        let name = image["file_name"].as_str().unwrap();
        assert_eq!(name.chars().count(), 255);
        assert!(long.ends_with(name));
        assert_eq!(image["split"], "train");
    }
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn nothing_is_written_outside_and_no_link_is_followed() {
    let server = Server::start().await;
    server.pets().await;
    let mut archive = tar::Builder::new(Vec::new());
    for name in ["../cat/0.jpg", "/cat/1.jpg", "cat/../../2.jpg"] {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        let bytes = photo(0);
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        archive.append(&header, bytes.as_slice()).unwrap();
    }
    for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Fifo] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        archive.append_link(&mut header, "cat/link.jpg", "/etc/passwd").unwrap();
    }
    let report = server.post(ARCHIVE, archive.into_inner().unwrap()).await.ok();
    let found: Vec<_> = codes(&report).into_iter().map(|(_, code)| code).collect();
    assert_eq!(found, ["unsafe_path", "unsafe_path", "unsafe_path", "link", "link", "link"]);

    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    archive.add_symlink("cat/link.jpg", "/etc/passwd", options).unwrap();
    archive.add_directory("cat/folder", options).unwrap();
    for name in ["aa/cat/3.jpg", "bbcat/4.jpg", "c\\\\cat\\5.jpg"] {
        archive.start_file(name, options).unwrap();
        archive.write_all(&photo(3)).unwrap();
    }
    let mut archive = archive.finish().unwrap().into_inner();
    for (from, to) in
        [("aa/cat/3.jpg", "../cat/3.jpg"), ("bbcat/4.jpg", "/acat/4.jpg"), ("c\\\\cat", "..\\cat")]
    {
        replace(&mut archive, from.as_bytes(), to.as_bytes());
    }
    let report = server.post(ARCHIVE, archive).await.ok();
    let found: Vec<_> = codes(&report).into_iter().map(|(_, code)| code).collect();
    assert_eq!(found, ["link", "unsafe_path", "unsafe_path", "unsafe_path"]);
    assert_eq!((server.blobs(), server.leftovers()), (0, 0));
}

fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    for at in 0..bytes.len() - from.len() {
        if bytes[at..].starts_with(from) {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
    }
}

#[tokio::test]
async fn encrypted_entries_are_rejected() {
    let server = Server::start().await;
    server.pets().await;
    let mut archive = zip(&[("cat/0.jpg", photo(0))]);
    for (magic, flags) in [(b"PK\x03\x04", 6), (b"PK\x01\x02", 8)] {
        let at = archive.windows(4).position(|window| window == magic).unwrap();
        archive[at + flags] |= 1;
    }
    let report = server.post(ARCHIVE, archive).await.ok();
    assert_eq!(codes(&report), [("cat/0.jpg".to_owned(), "encrypted".to_owned())]);
}
