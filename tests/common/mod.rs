//! What the tests of the API share: a server in this process, photos, forms and archives.
#![allow(dead_code, unreachable_pub, reason = "each test uses its part of this")]

pub mod data;
pub mod disk;
pub mod process;
pub mod skip;

use std::{
    fs::File,
    io::{Cursor, Read as _, Write as _},
    path::Path,
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode, header},
};
use clap::Parser;
use flate2::read::GzDecoder;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use pawprint::{
    config::ServeConfig,
    http::{router::router, state::AppState},
};
use serde_json::Value;
use tower::ServiceExt as _;

/// A file of VGG16 weights as torchvision or Keras stores them.
pub fn vgg16_weights(fixture: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/vgg16/{fixture}.gz.gz", env!("CARGO_MANIFEST_DIR"));
    let mut bytes = Vec::new();
    GzDecoder::new(GzDecoder::new(File::open(path).unwrap())).read_to_end(&mut bytes).unwrap();
    bytes
}

/// The images of the dataset that [`Server::pets`] makes.
pub const IMAGES: &str = "/datasets/pets/images";

/// A server in this process, with a data directory of its own.
pub struct Server {
    pub app: AppState,
    pub router: Router,
    pub folder: tempfile::TempDir,
}

/// An answer.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Its JSON, after making sure that it is a success.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert!(
            self.status.is_success(),
            "{} {}",
            self.status,
            String::from_utf8_lossy(&self.body)
        );
        self.json()
    }

    /// Makes sure that it is that problem, and gives its JSON.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{text}");
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(self.json()["code"], code, "{text}");
        self.json()
    }
}

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    config: ServeConfig,
}

/// The settings of a server that nothing was said to, but that its answers never change and that it
/// starts without measuring forward passes.
pub fn config() -> ServeConfig {
    let fixed = ["--inference-engine=libtorch", "--inference-threads=1", "--inference-batch=1"];
    Command::parse_from(["pawprint"].iter().chain(&fixed)).config
}

impl Server {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// A server whose settings are changed by `change`.
    pub async fn with(change: impl FnOnce(&mut ServeConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config();
        change(&mut config);
        let app = app(config, folder.path()).await;
        Self { router: router(app.clone()), app, folder }
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec();
        Answer { status: head.status, headers: head.headers, body }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Request::delete(path).body(Body::empty()).unwrap()).await
    }

    pub async fn json(&self, method: &str, path: &str, body: Value) -> Answer {
        let request = Request::builder().method(method).uri(path);
        let request = request.header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    /// Sends files as a form.
    pub async fn upload(&self, path: &str, files: &[(&str, Vec<u8>)]) -> Answer {
        let request = Request::post(path).header(header::CONTENT_TYPE, FORM);
        self.send(request.body(Body::from(form(files))).unwrap()).await
    }

    /// Sends a body of no declared type.
    pub async fn post(&self, path: &str, body: impl Into<Body>) -> Answer {
        self.send(Request::post(path).body(body.into()).unwrap()).await
    }

    /// Makes the closed dataset `pets` of cats and dogs.
    pub async fn pets(&self) -> Value {
        let pets = serde_json::json!({ "name": "pets", "classes": ["cat", "dog"] });
        self.json("POST", "/datasets", pets).await.ok()
    }

    /// The images of `pets`, oldest first; `query` narrows them down.
    pub async fn listed(&self, query: &str) -> Vec<Value> {
        let page = self.get(&format!("{IMAGES}?limit=500{query}")).await.ok();
        page["items"].as_array().unwrap().clone()
    }

    /// The version of `pets`.
    pub async fn version(&self) -> Value {
        self.get("/datasets/pets").await.ok()["version"].clone()
    }

    /// Files under `tmp/`.
    pub fn leftovers(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("tmp")).unwrap().count()
    }

    /// Files of the blob store.
    pub fn blobs(&self) -> usize {
        let store = walkdir::WalkDir::new(self.folder.path().join("blobs"));
        store.into_iter().filter(|entry| entry.as_ref().unwrap().file_type().is_file()).count()
    }
}

/// Makes the rooms of a server in `folder`; nothing runs.
pub async fn app(mut config: ServeConfig, folder: &Path) -> AppState {
    config.data_dir = folder.to_owned();
    pawprint::app::compose(config).await.unwrap()
}

const FORM: &str = "multipart/form-data; boundary=a-form";

/// Files as the body of a form.
pub fn form(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, bytes) in files {
        write!(
            body,
            "--a-form\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n"
        )
        .unwrap();
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--a-form--\r\n");
    body
}

/// A picture unlike that of any other number.
pub fn picture(number: u32) -> RgbImage {
    let tone = |x: u32, y: u32, k: u32| {
        let wave = f64::from(x * (number % 7 + 1) + y * (number % 5 + 2) * k + number * 31) / 9.0;
        (127.0 + 120.0 * wave.sin()) as u8
    };
    RgbImage::from_fn(40 + number % 9, 30 + number % 4, |x, y| {
        Rgb([tone(x, y, 1), tone(y, x, 2), (number % 256) as u8])
    })
}

pub fn encode(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A photo unlike that of any other number, as JPEG.
pub fn photo(number: u32) -> Vec<u8> {
    encode(picture(number), ImageFormat::Jpeg)
}

/// A PNG of a few bytes that claims that size.
pub fn huge_png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = encode(RgbImage::new(1, 1), ImageFormat::Png);
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let mut crc = flate2::Crc::new();
    crc.update(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    bytes
}

/// Files as a tar.
pub fn tar(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, bytes.as_slice()).unwrap();
    }
    archive.into_inner().unwrap()
}

/// Files as a tar.gz.
pub fn tar_gz(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    gzip(&tar(files))
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Files as a zip.
pub fn zip(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        archive.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}
