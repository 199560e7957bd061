//! Bodies under a `Content-Encoding`, on every route that takes a body.

use std::io::Write as _;

use crate::common::{Answer, IMAGES, Server, form, gzip, photo, tar, tar_gz};
use async_compression::tokio::bufread::{BrotliEncoder, ZstdEncoder};
use axum::{
    body::Body,
    http::{Request, header},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use flate2::Compression;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

const CODINGS: [&str; 6] = ["gzip", "X-GZIP", "deflate", "br", "zstd", " GZip "];

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn raw_deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

async fn brotli(bytes: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    BrotliEncoder::new(bytes).read_to_end(&mut encoded).await.unwrap();
    encoded
}

async fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    ZstdEncoder::new(bytes).read_to_end(&mut encoded).await.unwrap();
    encoded
}

async fn encode(coding: &str, bytes: &[u8]) -> Vec<u8> {
    match coding.trim().to_lowercase().as_str() {
        "deflate" => zlib(bytes),
        "br" => brotli(bytes).await,
        "zstd" => zstd(bytes).await,
        _ => gzip(bytes),
    }
}

async fn send(
    server: &Server,
    (method, path): (&str, &str),
    media_type: &str,
    coding: &str,
    body: impl Into<Body>,
) -> Answer {
    let request = Request::builder().method(method).uri(path);
    let request = request.header(header::CONTENT_TYPE, media_type);
    let request = request.header(header::CONTENT_ENCODING, coding);
    server.send(request.body(body.into()).unwrap()).await
}

fn instances() -> Vec<u8> {
    json!({ "instances": [{ "b64": BASE64.encode(photo(1)) }] }).to_string().into_bytes()
}

#[tokio::test]
async fn a_photo_is_judged_alike_under_every_coding() {
    let server = Server::start().await;
    let plain = server.post("/predict", photo(1)).await.ok();
    let predict = ("POST", "/predict");
    for coding in CODINGS {
        let body = encode(coding, &photo(1)).await;
        let answer = send(&server, predict, "image/jpeg", coding, body).await.ok();
        assert_eq!(answer["predictions"], plain["predictions"], "{coding}");
    }
    let json = send(&server, predict, "application/json", "gzip", gzip(&instances())).await.ok();
    assert_eq!(json["predictions"], plain["predictions"]);

    // As some clients send it; members one after the other; none.
    let members = [gzip(&photo(1)[..100]), gzip(&photo(1)[100..])].concat();
    for (coding, body) in [
        ("deflate", raw_deflate(&photo(1))),
        ("gzip", members),
        ("identity ,gzip", gzip(&photo(1))),
        ("identity", photo(1)),
        ("", photo(1)),
    ] {
        let answer = send(&server, predict, "image/jpeg", coding, body).await.ok();
        assert_eq!(answer["predictions"], plain["predictions"], "{coding}");
    }
}

#[tokio::test]
async fn every_route_that_takes_a_body_decodes_it() {
    let server = Server::start().await;
    let json = "application/json";
    let ask = async |method, path: &str, media_type, body: &[u8]| {
        send(&server, (method, path), media_type, "zstd", zstd(body).await).await
    };
    ask("POST", "/datasets", json, br#"{"name": "pets"}"#).await.ok();
    let multipart = "multipart/form-data; boundary=a-form";
    let files = form(&[("cat.0.jpg", photo(0)), ("dog.1.jpg", photo(1))]);
    assert_eq!(ask("POST", IMAGES, multipart, &files).await.ok()["added"], 2);
    let image = server.listed("").await[0]["id"].as_str().unwrap().to_owned();
    let path = format!("{IMAGES}/{image}");
    assert_eq!(ask("PATCH", &path, json, br#"{"split": "test"}"#).await.ok()["split"], "test");

    let archive = "/datasets/pets/archive";
    let bytes = "application/octet-stream";
    let packed = tar(&[("cat/2.jpg", photo(2))]);
    assert_eq!(ask("POST", archive, bytes, &packed).await.ok()["added"], 1);
    // A tar.gz is one with a label for its gzip, and without; and one within another gzip.
    for (number, coding) in [(3, Some("gzip")), (4, None)] {
        let packed = tar_gz(&[("dog/x.jpg", photo(number))]);
        let answer = match coding {
            Some(coding) => send(&server, ("POST", archive), bytes, coding, packed).await,
            None => server.post(archive, packed).await,
        };
        assert_eq!(answer.ok()["added"], 1, "{coding:?}");
    }
    let packed = gzip(&tar_gz(&[("dog/y.jpg", photo(5))]));
    let answer = send(&server, ("POST", archive), bytes, "gzip", packed).await;
    assert_eq!(answer.ok()["added"], 1);

    let explained = ask("POST", "/explain", "image/jpeg", &photo(1)).await;
    assert_eq!(explained.headers[header::CONTENT_TYPE], "image/png");
    let chosen = ask("PUT", "/models/current", json, br#"{"model": "default"}"#).await.ok();
    assert_eq!(chosen["mode"], "pinned");
    ask("POST", "/jobs", json, br#"{"recipe": "scratch_cnn", "dataset": "none"}"#)
        .await
        .problem(404, "not_found");
    ask("PUT", "/weights/vgg16", bytes, b"no weights").await.problem(422, "weights_unusable");
    ask("POST", "/weights/vgg16/download", json, br#"{"source": "nobody"}"#)
        .await
        .problem(422, "invalid_value");

    // The length of the JSON is that of what comes out.
    let tensor = [&(photo(1).len() as u32).to_le_bytes()[..], &photo(1)].concat();
    let head = json!({ "inputs": [{
        "name": "image", "datatype": "BYTES", "shape": [1],
        "parameters": { "binary_data_size": tensor.len() },
    }] });
    let head = head.to_string();
    let body = [head.as_bytes(), &tensor].concat();
    let request = Request::post("/v2/models/current/infer")
        .header("inference-header-content-length", head.len())
        .header(header::CONTENT_ENCODING, "gzip");
    let answer = server.send(request.body(Body::from(gzip(&body))).unwrap()).await.ok();
    assert_eq!(answer["outputs"][0]["shape"], json!([1]));
}

#[tokio::test]
async fn an_unknown_coding_is_refused_with_those_that_are_read() {
    let server = Server::start().await;
    for (method, path) in [
        ("POST", "/predict"),
        ("POST", "/explain"),
        ("POST", "/datasets"),
        ("POST", IMAGES),
        ("POST", "/datasets/pets/archive"),
        ("PATCH", "/datasets/pets/images/0198c0de-0000-7000-8000-000000000000"),
        ("POST", "/jobs"),
        ("POST", "/jobs/1/cancel"),
        ("PUT", "/models/current"),
        ("PUT", "/weights/vgg16"),
        ("POST", "/weights/vgg16/download"),
        ("POST", "/v2/models/current/infer"),
    ] {
        let answer = send(&server, (method, path), "application/json", "compress", "x").await;
        let problem = answer.problem(415, "unsupported_encoding");
        assert!(problem["detail"].as_str().unwrap().contains("`compress`"), "{problem}");
        assert_eq!(answer.headers[header::ACCEPT_ENCODING], "gzip, deflate, br, zstd");
    }
    let deep = send(&server, ("POST", "/predict"), "image/jpeg", "br, br, br, br", "x").await;
    deep.problem(415, "unsupported_encoding");
    // Nothing to decode, nobody to decode it, no such thing.
    let empty = Request::get("/datasets").header(header::CONTENT_ENCODING, "compress");
    server.send(empty.body(Body::empty()).unwrap()).await.ok();
    let guarded = Server::with(|config| config.api_token = vec!["secret".to_owned()]).await;
    let answer = send(&guarded, ("POST", "/predict"), "image/jpeg", "compress", "x").await;
    answer.problem(401, "unauthorized");
    let answer = send(&server, ("POST", "/nothing"), "image/jpeg", "compress", "x").await;
    answer.problem(404, "not_found");
}

#[tokio::test]
async fn what_is_damaged_or_cut_off_is_said_to_be() {
    let server = Server::start().await;
    server.pets().await;
    let body = form(&[("cat.0.jpg", photo(0))]);
    for coding in ["gzip", "deflate", "br", "zstd"] {
        let whole = encode(coding, &instances()).await;
        let cut = whole[..whole.len() - 9].to_vec();
        let trailing = [&whole[..], b"more"].concat();
        let mut changed = whole.clone();
        let middle = changed.len() / 2;
        changed[middle..middle + 16].fill(0xAA);
        let plain = instances();
        // Without a checksum, what is made of damage is anybody's guess.
        let changed = if matches!(coding, "br" | "zstd") { cut.clone() } else { changed };
        for body in [cut, trailing, changed, plain] {
            let answer =
                send(&server, ("POST", "/predict"), "application/json", coding, body).await;
            let problem = answer.problem(400, "malformed");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains(&format!("not valid {coding}")), "{coding}: {detail}");
        }
        let whole = encode(coding, &body).await;
        let half = whole[..whole.len() / 2].to_vec();
        let multipart = "multipart/form-data; boundary=a-form";
        let answer = send(&server, ("POST", IMAGES), multipart, coding, half).await;
        let problem = answer.problem(400, "malformed");
        assert!(problem["detail"].as_str().unwrap().contains("truncated"), "{problem}");
        for path in ["/datasets/pets/archive", "/weights/vgg16"] {
            let method = if path.starts_with("/w") { "PUT" } else { "POST" };
            let packed = encode(coding, &tar(&[("cat/2.jpg", photo(2))])).await;
            let half = packed[..packed.len() / 2].to_vec();
            let answer = send(&server, (method, path), "application/octet-stream", coding, half);
            let problem = answer.await.problem(400, "malformed");
            assert!(problem["detail"].as_str().unwrap().contains("truncated"), "{problem}");
        }
    }
    assert_eq!((server.leftovers(), server.blobs()), (0, 0));
}

#[tokio::test]
async fn limits_count_what_comes_out() {
    let server = Server::with(|config| {
        config.max_image_bytes = 1 << 20;
        config.max_archive_bytes = 4 << 20;
    })
    .await;
    server.pets().await;
    // A thousand times as large as it is sent.
    let zeros = vec![0; 256 << 20];
    let bomb = gzip(&zeros);
    for (method, path, media_type) in [
        ("POST", "/predict", "image/jpeg"),
        ("POST", "/predict", "application/json"),
        ("POST", "/explain", "image/jpeg"),
        ("POST", "/v2/models/current/infer", "application/json"),
        ("POST", "/datasets", "application/json"),
        ("PUT", "/models/current", "application/json"),
    ] {
        let answer = send(&server, (method, path), media_type, "gzip", bomb.clone()).await;
        answer.problem(413, "too_large");
        // Compressed twice, it could be a million times as large.
        let twice = gzip(&bomb);
        let answer = send(&server, (method, path), media_type, "gzip, gzip", twice).await;
        answer.problem(415, "unsupported_encoding");
    }
    let mut body = form(&[("cat.0.jpg", vec![0; 5 << 20])]);
    let answer = server.upload(IMAGES, &[("cat.0.jpg", vec![0; 5 << 20])]).await;
    answer.problem(413, "too_large");
    body = gzip(&body);
    assert!(body.len() < 100_000);
    let multipart = "multipart/form-data; boundary=a-form";
    let answer = send(&server, ("POST", IMAGES), multipart, "gzip", body).await;
    answer.problem(413, "too_large");
    let mut archive = tar(&[("cat/1.jpg", photo(1))]);
    archive.resize(5 << 20, 0);
    let archived = ("POST", "/datasets/pets/archive");
    let answer = send(&server, archived, "application/x-tar", "gzip", gzip(&archive)).await;
    answer.problem(413, "too_large");
    // Larger than may be as it is sent, and small enough as it comes out: nobody is misled.
    let request = Request::post("/datasets/pets/archive")
        .header(header::CONTENT_ENCODING, "gzip")
        .header(header::CONTENT_LENGTH, 5 << 20);
    let body = Body::from(gzip(&archive[..1 << 20]));
    assert_eq!(server.send(request.body(body).unwrap()).await.ok()["added"], 1);
}

#[tokio::test]
async fn windows_that_would_take_a_gigabyte_are_refused() {
    let server = Server::start().await;
    // Brotli's mark of a large window, of 2^30 bytes; a zstd frame with a window of 2^31.
    let large_brotli = vec![0x11, 30, 0, 0, 0, 0];
    let large_zstd = [&[0x28, 0xB5, 0x2F, 0xFD, 0x00, 0xA8][..], &[0; 20]].concat();
    for (coding, body) in [("br", large_brotli), ("zstd", large_zstd)] {
        let answer = send(&server, ("POST", "/predict"), "image/jpeg", coding, body).await;
        let problem: Value = answer.problem(400, "malformed");
        assert!(problem["detail"].as_str().unwrap().contains(coding), "{problem}");
    }
}
