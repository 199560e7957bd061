//! Memory that requests take is bounded as a whole, and who stays within the bounds is answered.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test says what it measured, and may stop"
)]
#![cfg(target_os = "linux")]

mod common;

use std::{
    io::{Cursor, Write as _},
    net::TcpStream,
    process::Command,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use common::{photo, process::Process};
use futures::future::join_all;
use image::{DynamicImage, ImageBuffer, ImageFormat, Luma, Rgb};
use reqwest::{Method, Response};
use serde_json::{Value, json};

const MIB: u64 = 1 << 20;
const BUDGET: u64 = 128 * MIB;
/// What the allocator keeps, and what is not counted: buffers of connections, SQLite, rows.
const SLACK: u64 = 96 * MIB;
const CLIENTS: usize = 64;
/// Pixels of each side of the largest image: three of them fill the budget for images.
const SIDE: u32 = 1600;

fn start(folder: &std::path::Path) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pawprint"));
    command.env("PAWPRINT_MEMORY_BUDGET", BUDGET.to_string());
    command.env("PAWPRINT_MAX_IMAGE_PIXELS", (SIDE * SIDE).to_string());
    command.env("PAWPRINT_PREDICT_SECONDS", "240");
    Process::spawn(&mut command, folder)
}

/// An image of the most pixels that are allowed, of a kind that takes much memory.
fn largest() -> Vec<u8> {
    let image: DynamicImage = ImageBuffer::from_pixel(SIDE, SIDE, Rgb([7_u16, 8, 9])).into();
    let mut png = Cursor::new(Vec::new());
    image.write_to(&mut png, ImageFormat::Png).unwrap();
    png.into_inner()
}

async fn status(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or_default())
}

async fn predict(server: &Process, kind: &str, body: Vec<u8>) -> (u16, Value) {
    let request = server.request(Method::POST, "/predict").header("content-type", kind);
    status(request.body(body).send().await.unwrap()).await
}

/// Runs `work`, and gives its result and the most anonymous memory that the server had meanwhile,
/// beyond what it had before.
async fn peak<T>(server: &Process, work: impl Future<Output = T>) -> (T, u64) {
    let before = server.anonymous_bytes();
    let mut most = before;
    let watch = async {
        loop {
            most = most.max(server.anonymous_bytes());
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    let result = tokio::select! {
        result = work => result,
        () = watch => unreachable!("it watches on"),
    };
    (result, most - before)
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_clients_with_the_largest_images_stay_within_the_budget() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    server.post("/datasets", json!({ "name": "pets" })).await;
    assert_eq!(predict(&server, "image/png", largest()).await.0, 200);
    let image = largest();
    // What follows the image's end makes another file of it.
    let images: Vec<Vec<u8>> =
        (0..CLIENTS).map(|number| [&image[..], &[number as u8]].concat()).collect();
    let clients = images.into_iter().enumerate().map(|(number, image)| {
        let server = &server;
        async move {
            match number % 4 {
                0 => {
                    let part = reqwest::multipart::Part::bytes(image).file_name("cat.png");
                    let form = reqwest::multipart::Form::new().part("file", part);
                    let path = "/datasets/pets/images?label=cat&split=train";
                    let request = server.request(Method::POST, path).multipart(form);
                    let (status, report) = status(request.send().await.unwrap()).await;
                    assert_eq!(report["added"], 1, "{report}");
                    let path = "/datasets/pets/images?limit=1";
                    let id = server.get(path).await["items"][0]["id"].as_str().unwrap().to_owned();
                    let path = format!("/images/{id}/thumbnail");
                    let thumbnail = server.request(Method::GET, &path).send().await.unwrap();
                    assert_eq!(thumbnail.status(), 200);
                    (status, report)
                }
                1 => {
                    let instances = [BASE64_STANDARD.encode(image)];
                    let body = json!({ "instances": instances }).to_string();
                    predict(server, "application/json", body.into()).await
                }
                2 => {
                    let request = server.request(Method::POST, "/explain?format=json");
                    let request = request.header("content-type", "image/png").body(image);
                    status(request.send().await.unwrap()).await
                }
                _ => predict(server, "image/png", image).await,
            }
        }
    });
    let (answers, peak) = peak(&server, join_all(clients)).await;
    let answered = answers.iter().filter(|(status, _)| *status == 200).count();
    println!("{answered} of {CLIENTS} answered; {} MiB beyond those before", peak / MIB);
    for (status, body) in &answers {
        assert!(*status == 200 || *status == 429, "{status} {body}");
    }
    assert!(answered > CLIENTS / 2, "{answered}");
    assert!(peak <= BUDGET + SLACK, "{} MiB", peak / MIB);
    assert_eq!(server.reserved_bytes().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_slow_clients_take_no_memory_beyond_the_budget_and_refuse_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    assert_eq!(predict(&server, "image/jpeg", photo(1)).await.0, 200);
    let sent = 8 * MIB as usize;
    let text = vec![b' '; sent];
    let open = async {
        let mut open = Vec::new();
        for _ in 0..CLIENTS {
            let mut stream = TcpStream::connect(server.address()).unwrap();
            let head = format!(
                "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                sent + 1
            );
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&text).unwrap();
            open.push(stream);
        }
        // All of it has been read, and more than the budget has come.
        let begun = std::time::Instant::now();
        while spooled(folder.path()) < (CLIENTS as u64 * 8 - 16) * MIB - BUDGET / 8 {
            assert!(begun.elapsed() < common::process::PATIENCE, "{}", spooled(folder.path()));
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        for number in 1..20 {
            let (status, body) = predict(&server, "image/jpeg", photo(number)).await;
            assert_eq!(status, 200, "{body}");
        }
        open
    };
    let (open, peak) = peak(&server, open).await;
    println!("{} MiB for {} MiB of bodies", peak / MIB, CLIENTS * 8);
    assert!(peak <= BUDGET + SLACK, "{} MiB", peak / MIB);
    drop(open);
}

/// Bytes of the temporary files.
fn spooled(data_dir: &std::path::Path) -> u64 {
    let files = std::fs::read_dir(data_dir.join("tmp")).unwrap();
    files.filter_map(|file| file.ok()?.metadata().ok()).map(|it| it.len()).sum()
}

#[tokio::test]
async fn an_image_that_never_fits_is_refused_and_says_what_to_set() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pawprint"));
    command.env("PAWPRINT_MEMORY_BUDGET", BUDGET.to_string());
    let server = Process::spawn(&mut command, folder.path());
    let image: DynamicImage = ImageBuffer::from_pixel(4000, 4000, Luma([7_u16])).into();
    let mut png = Cursor::new(Vec::new());
    image.write_to(&mut png, ImageFormat::Png).unwrap();
    let (status, problem) = predict(&server, "image/png", png.into_inner()).await;
    assert_eq!((status, &problem["code"]), (413, &json!("too_large")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("PAWPRINT_MEMORY_BUDGET"), "{problem}");
}
