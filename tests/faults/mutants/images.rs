//! Corrupted images, sent to `/predict`, `/explain` and a dataset.

use std::{env, fs, io::Read as _, path::PathBuf};

use flate2::read::GzDecoder;
use image::ImageFormat;
use rand::{RngExt as _, seq::IndexedRandom as _};
use reqwest::{Method, multipart};
use serde_json::json;

use super::{GROWTH, mutate::mutate, send};
use crate::{
    common::{encode, photo, picture},
    sandbox::{Client, Sandbox},
    scale::{Trial, rounds},
};

/// Some real images, if available.
pub(crate) fn real_photos(count: usize) -> Vec<Vec<u8>> {
    let Some(folder) = env::var_os("PAWPRINT_REAL_DATA").filter(|it| !it.is_empty()) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = walkdir::WalkDir::new(PathBuf::from(folder).join("originals"))
        .into_iter()
        .map(|entry| entry.unwrap().into_path())
        .filter(|path| path.is_file())
        .collect();
    paths.sort();
    paths.iter().step_by((paths.len() / count).max(1)).map(|path| fs::read(path).unwrap()).collect()
}

/// Images of every supported format.
fn seeds() -> Vec<Vec<u8>> {
    let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut paths: Vec<_> = fs::read_dir(&fixtures)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension().is_some_and(|it| ["jpg", "png", "webp"].iter().any(|kind| it == *kind))
        })
        .collect();
    paths.sort();
    let mut seeds: Vec<_> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    let matrix = fs::File::open(fixtures.join("jpeg/matrix.tar.gz")).unwrap();
    let mut matrix = tar::Archive::new(GzDecoder::new(matrix));
    for file in matrix.entries().unwrap() {
        let mut bytes = Vec::new();
        file.unwrap().read_to_end(&mut bytes).unwrap();
        seeds.push(bytes);
    }
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Bmp] {
        seeds.extend((0..8).map(|number| encode(picture(number), format)));
    }
    seeds.extend(real_photos(20));
    seeds.retain(|seed| !seed.is_empty());
    seeds
}

#[tokio::test]
async fn damaged_photos_are_judged_or_refused() {
    let trial = Trial::new("damaged photos");
    let sandbox = Sandbox::new();
    let server = sandbox.start();
    let client = Client::of(&server);
    server.post("/datasets", json!({ "name": "damaged", "classes": ["cat", "dog"] })).await;
    let seeds = seeds();
    let one = |round| {
        let mut draws = trial.draws(round);
        let mut damaged = || {
            let (seed, other) =
                (seeds.choose(&mut draws).unwrap(), seeds.choose(&mut draws).unwrap());
            mutate(seed.clone(), other, &mut draws)
        };
        let (client, first, second) = (client.clone(), damaged(), damaged());
        let way = draws.random_range(0..8);
        async move {
            let form = |first, second| {
                let part =
                    |bytes, name: &str| multipart::Part::bytes(bytes).file_name(name.to_owned());
                multipart::Form::new()
                    .part("one", part(first, "cat.1.jpg"))
                    .part("other", part(second, "dog.2.jpg"))
            };
            let (path, is_form) = match way {
                0 => ("/explain", false),
                1 => ("/predict", true),
                2 | 3 => ("/datasets/damaged/images", true),
                _ => ("/predict", false),
            };
            let request = client.request(Method::POST, path);
            let request = if is_form {
                request.multipart(form(first, second))
            } else {
                request.header("content-type", "application/octet-stream").body(first)
            };
            (format!("to {path}"), Client::send(request).await)
        }
    };
    let figures =
        send(&trial, &server, (rounds(400, 10_000), 6), GROWTH, &[200, 413, 415, 422, 429], one)
            .await;
    // The images that were accepted can be shown.
    let kept = client.all("/datasets/damaged/images").await;
    for image in &kept {
        let id = image["id"].as_str().unwrap();
        client.bytes(&format!("/images/{id}/thumbnail")).await;
    }
    assert_eq!(client.predict("", photo(1)).await.unwrap().0, 200);
    sandbox.assert_no_partial_upload().await;
    sandbox.assert_no_panic();
    trial.ends(format_args!("{figures}; {} kept", kept.len()));
}
