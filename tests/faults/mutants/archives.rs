//! Corrupted archives of every supported format.

use std::io::{Cursor, Write as _};

use rand::{RngExt as _, seq::IndexedRandom as _};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::{GROWTH, mutate::mutate, send};
use crate::{
    common::{gzip, photo, tar, tar_gz},
    sandbox::{Client, Sandbox},
    scale::{Trial, rounds},
};

/// An archive, and whether to compress it after the corruption.
type Seed = (Vec<u8>, bool);

fn seeds() -> Vec<Seed> {
    let name = |number: u32| {
        let class = if number.is_multiple_of(2) { "cat" } else { "dog" };
        let folder = "a folder of a very long name/".repeat(number as usize);
        format!("photos/train/{class}/{folder}{number}.jpg")
    };
    let names: Vec<_> = (0..7).map(name).collect();
    let files: Vec<_> = names.iter().map(String::as_str).zip((0..).map(photo)).collect();
    let mut seeds = vec![(tar(&files), false), (tar(&files), true), (tar_gz(&files), false)];
    for method in [
        CompressionMethod::Stored,
        CompressionMethod::Deflated,
        CompressionMethod::Bzip2,
        CompressionMethod::Zstd,
        CompressionMethod::Xz,
    ] {
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in &files {
            let options = SimpleFileOptions::default().compression_method(method);
            archive.start_file(*name, options).unwrap();
            archive.write_all(bytes).unwrap();
        }
        seeds.push((archive.finish().unwrap().into_inner(), false));
    }
    let lzma = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/archives/lzma.zip");
    seeds.push((std::fs::read(lzma).unwrap(), false));
    seeds
}

#[tokio::test]
async fn damaged_archives_are_read_as_far_as_they_can_be() {
    let trial = Trial::new("damaged archives");
    let sandbox = Sandbox::new();
    let server = sandbox.start();
    let client = Client::of(&server);
    server.post("/datasets", json!({ "name": "damaged", "classes": ["cat", "dog"] })).await;
    let seeds = seeds();
    let one = |round| {
        let mut draws = trial.draws(round);
        let (seed, compress) = seeds.choose(&mut draws).unwrap();
        let (other, _) = seeds.choose(&mut draws).unwrap();
        let mut archive = mutate(seed.clone(), other, &mut draws);
        if *compress {
            archive = gzip(&archive);
        }
        let split = ["", "?split=test"][draws.random_range(0..2)];
        let client = client.clone();
        async move {
            let answer = client.post(&format!("/datasets/damaged/archive{split}"), archive).await;
            (format!("split {split:?}"), answer)
        }
    };
    let figures =
        send(&trial, &server, (rounds(200, 2_000), 6), GROWTH, &[200, 413, 415, 422, 429], one)
            .await;
    let kept = client.all("/datasets/damaged/images").await;
    for image in &kept {
        let bytes = client.bytes(&format!("/images/{}", image["id"].as_str().unwrap())).await;
        assert_eq!(image["sha256"], hex::encode(Sha256::digest(bytes)));
    }
    sandbox.assert_no_partial_upload().await;
    sandbox.assert_no_panic();
    trial.ends(format_args!("{figures}; {} images kept", kept.len()));
}
