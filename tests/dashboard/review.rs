//! What a dataset hides, on its page: the lists by keyboard, joining near-duplicates, and the map.

use std::time::Instant;

use fantoccini::key::Key;
use image::{Rgb, RgbImage, imageops};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    browser::Browser,
    common::{
        process::{PATIENCE, Process},
        tar,
    },
};

fn png(pixels: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    pixels.write_to(&mut std::io::Cursor::new(&mut bytes), image::ImageFormat::Png).unwrap();
    bytes
}

/// Stripes across or down, of a width, phase and colour of their own.
fn stripes(class: usize, seed: u32) -> RgbImage {
    RgbImage::from_fn(64, 56, |x, y| {
        let (along, across) = if class == 0 { (x, y) } else { (y, x) };
        let wave = (along as f32 / (3.0 + (seed % 5) as f32) + seed as f32 * 1.7).sin();
        let bright = 120.0 + 80.0 * wave + (across as f32 / 40.0 + seed as f32).sin() * 25.0;
        let tint = [(seed * 53 % 90) as f32, (seed * 29 % 70) as f32, (seed * 71 % 80) as f32];
        Rgb(tint.map(|tint| (bright - tint / 2.0).clamp(0.0, 255.0) as u8))
    })
}

const CLASSES: [&str; 2] = ["across", "down"];

/// A server with a dataset of `each` photos of two classes, four of them mislabelled, one twin in another split,
/// one black photo, and two without a label.
async fn faulty(data: &std::path::Path, each: u32) -> Process {
    let server = Process::start(data);
    server.post("/datasets", json!({ "name": "faulty" })).await;
    let mut files = Vec::new();
    for (class, own) in CLASSES.iter().enumerate() {
        for number in 0..each {
            let label = if number < 2 { 1 - class } else { class };
            let split = ["train", "train", "test", "validation"][number as usize % 4];
            let name = format!("{split}/{}/{own}-{number}.png", CLASSES[label]);
            files.push((name, png(&stripes(class, number + each * class as u32))));
        }
    }
    let twin = imageops::flip_horizontal(&stripes(1, each + 4));
    files.push(("test/down/twin.png".to_owned(), png(&twin)));
    files
        .push(("train/down/black.png".to_owned(), png(&RgbImage::from_pixel(64, 56, Rgb([2; 3])))));
    send(&server, "", &files).await;
    let new: Vec<_> =
        (0..2).map(|at| (format!("new/{at}.png"), png(&stripes(at, 9000 + at as u32)))).collect();
    send(&server, "?labels=none", &new).await;
    let begun = Instant::now();
    while server.get("/datasets/faulty/review").await["status"] != "complete" {
        // 5,000 photos take a processor without bf16 minutes.
        assert!(begun.elapsed() < 3 * PATIENCE, "not reviewed");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    server
}

fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let named: Vec<_> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    tar(&named)
}

async fn send(server: &Process, query: &str, files: &[(String, Vec<u8>)]) {
    let path = format!("/datasets/faulty/archive{query}");
    let answer = server.request(Method::POST, &path).body(archive(files)).send().await.unwrap();
    let report: Value = answer.json().await.unwrap();
    assert_eq!(report["added"], files.len(), "{report}");
}

async fn items(server: &Process, list: &str) -> Vec<Value> {
    let page = server.get(&format!("/datasets/faulty/review/{list}?limit=500")).await;
    page["items"].as_array().unwrap().clone()
}

/// Waits until a list has that many items.
async fn left(server: &Process, list: &str, number: usize) {
    let begun = Instant::now();
    while items(server, list).await.len() != number {
        assert!(begun.elapsed() < PATIENCE, "{list}: {}", items(server, list).await.len());
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// Presses keys where the keyboard is.
async fn press(browser: &Browser, keys: &str) {
    browser.client.active_element().await.unwrap().send_keys(keys).await.unwrap();
}

/// Nothing is wider than the page, at the width of a phone.
async fn fits(browser: &Browser) {
    browser.width(390).await;
    let script = "return document.documentElement.scrollWidth";
    let width = browser.client.execute(script, vec![]).await.unwrap();
    assert!(width.as_u64().unwrap() <= 390, "{width}");
    browser.width(1280).await;
}

#[tokio::test]
async fn lists_are_worked_through_by_keyboard() {
    let data = tempfile::tempdir().unwrap();
    let server = faulty(data.path(), 30).await;
    let Some(browser) = Browser::open(&server).await else { return };
    browser.page("#/datasets/faulty").await;
    browser.read("2 unlabelled").await;
    browser.push("Review").await;
    browser.read("The review is complete.").await;

    // Mislabelled: the suggestion is taken, a label is confirmed, and that is undone.
    let suspects = items(&server, "mislabelled").await;
    let first = &suspects[0];
    let name = first["image"]["file_name"].as_str().unwrap();
    browser.read(name).await;
    fits(&browser).await;
    press(&browser, " ").await;
    browser.read(suspects[1]["image"]["file_name"].as_str().unwrap()).await;
    left(&server, "mislabelled", suspects.len() - 1).await;
    let images = server.get("/datasets/faulty/images?limit=500").await;
    let images = images["items"].as_array().unwrap();
    let now = images.iter().find(|it| it["id"] == first["image"]["id"]).unwrap();
    assert_eq!(now["label"], first["suggested"]);
    // The next review doesn't doubt the new label either.
    let database = data.path().join("pawprint.sqlite");
    let pool = sqlx::SqlitePool::connect(database.to_str().unwrap()).await.unwrap();
    let begun = Instant::now();
    let confirmed =
        "SELECT label FROM review_decisions WHERE list = 'mislabelled' AND decision = 'confirmed'";
    while sqlx::query_scalar::<_, String>(confirmed).fetch_optional(&pool).await.unwrap()
        != first["suggested"].as_str().map(str::to_owned)
    {
        assert!(begun.elapsed() < PATIENCE, "the decision isn't stored");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    pool.close().await;
    press(&browser, &char::from(Key::Enter).to_string()).await;
    left(&server, "mislabelled", suspects.len() - 2).await;
    press(&browser, "u").await;
    left(&server, "mislabelled", suspects.len() - 1).await;
    press(&browser, "x").await;
    left(&server, "mislabelled", suspects.len() - 2).await;
    press(&browser, "k").await;
    browser.read("Dismissed.").await;

    browser.click("#tab-outliers").await;
    let outliers = items(&server, "outliers").await;
    browser.read(outliers[0]["image"]["file_name"].as_str().unwrap()).await;
    fits(&browser).await;
    press(&browser, &char::from(Key::Enter).to_string()).await;
    left(&server, "outliers", outliers.len() - 1).await;

    browser.click("#tab-unlabelled").await;
    browser.read("Looks like ").await;
    fits(&browser).await;
    press(&browser, "2").await;
    left(&server, "unlabelled", 1).await;
    press(&browser, &char::from(Key::Enter).to_string()).await;
    left(&server, "unlabelled", 0).await;
    assert_eq!(server.get("/datasets/faulty").await["unlabelled"], 0);

    // Images without a label are added like others.
    let file = data.path().join("new.png");
    std::fs::write(&file, png(&stripes(0, 9100))).unwrap();
    browser.page("#/datasets/faulty").await;
    browser.click("//option[.='None: to be labelled later']").await;
    browser.pick("input[accept]", &[&file]).await;
    browser.read("1 added").await;
    assert_eq!(server.get("/datasets/faulty").await["unlabelled"], 1);

    browser.assert_clean(&server).await;
    browser.close().await;
}

#[tokio::test]
async fn near_duplicates_are_joined_by_one_click() {
    let data = tempfile::tempdir().unwrap();
    let server = faulty(data.path(), 30).await;
    let Some(browser) = Browser::open(&server).await else { return };
    browser.page("#/review/faulty?list=duplicates").await;
    let across = async || {
        let groups = items(&server, "duplicates").await;
        groups.iter().filter(|group| group["across_splits"] == true).count()
    };
    assert!(across().await > 0);
    browser.read("In more than one split.").await;
    fits(&browser).await;
    browser.push("Join all that are in more than one split").await;
    browser.read(" joined: ").await;
    assert_eq!(across().await, 0);
    let groups = items(&server, "duplicates").await.len();
    browser.click("//button[.='Dismiss']").await;
    browser.read("Dismissed.").await;
    left(&server, "duplicates", groups - 1).await;

    // Of a group of more than a thousand, a part is shown. It is joined in parts, in the split of most.
    let images = async || {
        let page = server.get("/datasets/faulty/images?limit=500").await;
        page["items"].as_array().unwrap().clone()
    };
    let all = images().await;
    let of = |split: &str| all.iter().find(|image| image["split"] == split).unwrap().clone();
    let (most, few) = (of("train"), of("test"));
    let script = "
        const [most, few] = arguments;
        const images = Array.from({ length: 1500 }, (_, at) => (at < 1000 ? most : few));
        const page = { items: [{ images, similarity: 1, across_splits: true }], next_cursor: null };
        const real = window.fetch;
        window.fetch = (path, options) => (String(path).includes('/review/duplicates?') ? Promise.resolve(Response.json(page)) : real(path, options));";
    browser.client.execute(script, vec![most, few.clone()]).await.unwrap();
    browser.click("#tab-outliers").await;
    browser.click("#tab-duplicates").await;
    browser.read("1,500 images").await;
    browser.read("and 1,476 more").await;
    browser.push("Join in one split").await;
    let begun = Instant::now();
    while !images().await.iter().any(|it| it["id"] == few["id"] && it["split"] == "train") {
        assert!(begun.elapsed() < PATIENCE, "not joined");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    browser.assert_clean(&server).await;
    browser.close().await;
}

#[tokio::test]
async fn the_map_of_1000_photos_zooms_opens_images_and_relabels_by_lasso() {
    map_works(500, "1,004").await;
}

#[tokio::test]
#[ignore = "takes minutes: `make test-long`"]
async fn the_map_of_5000_photos_does_too() {
    map_works(2500, "5,004").await;
}

/// Tries the map of two classes of `each` photos and four more.
async fn map_works(each: u32, all: &str) {
    let data = tempfile::tempdir().unwrap();
    let server = faulty(data.path(), each).await;
    let Some(browser) = Browser::open(&server).await else { return };
    browser.page("#/review/faulty?list=map").await;
    let canvas = format!("//canvas[contains(@aria-label, 'Map of {all} images of 2 classes')]");
    browser.see(&canvas).await;
    fits(&browser).await;
    // Zooming draws anew at once.
    let script = "
        const [canvas, done] = [document.querySelector('canvas.map'), arguments[0]];
        const pixels = () => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.filter((value) => value > 0).length;
        const [begun, before] = [performance.now(), pixels()];
        canvas.dispatchEvent(new WheelEvent('wheel', { deltaY: -300, clientX: 400, clientY: 500, cancelable: true }));
        requestAnimationFrame(() => requestAnimationFrame(() => done([performance.now() - begun, before, pixels()])));";
    let drawn = browser.client.execute_async(script, vec![]).await.unwrap();
    let drawn: Vec<f64> = serde_json::from_value(drawn).unwrap();
    assert!(drawn[0] < 500.0 && drawn[1] > 1000.0 && drawn[1] != drawn[2], "{drawn:?}");
    browser.push("Whole map").await;

    // A click on the middle of the first point opens its image.
    let map = server.get("/datasets/faulty/review/map").await;
    let script = "
        const canvas = document.querySelector('canvas.map');
        const box = canvas.getBoundingClientRect();
        const at = (x, y) => ({ clientX: box.left + 16 + x * (box.width - 34), clientY: box.top + 16 + y * (box.height - 34), bubbles: true, pointerId: 1, ...arguments[1] });
        canvas.setPointerCapture = () => {};
        const [first, ...others] = arguments[0];
        canvas.dispatchEvent(new PointerEvent('pointerdown', at(...first)));
        for (const place of others) canvas.dispatchEvent(new PointerEvent('pointermove', at(...place)));
        canvas.dispatchEvent(new PointerEvent('pointerup', at(...(others.at(-1) ?? first))));";
    let place = json!([[map["x"][0], map["y"][0]]]);
    browser.client.execute(script, vec![place, json!({})]).await.unwrap();
    browser.see(".map-opened img").await;
    browser.push("Close").await;

    // A lasso around everything selects everything; around one corner, a few.
    let corner = json!([[-0.01, -0.01], [0.3, -0.01], [0.3, 1.01], [-0.01, 1.01]]);
    browser.client.execute(script, vec![corner, json!({ "shiftKey": true })]).await.unwrap();
    let inside: Vec<usize> = (0..map["x"].as_array().unwrap().len())
        .filter(|at| map["x"][*at].as_f64().unwrap() < 0.3 && map["labels"][*at] == 0)
        .collect();
    browser.read(" images selected").await;
    browser.see("//button[.='Relabel' and @disabled]").await;
    browser.click("//select[@aria-label='Class for the selected images']/option[.='down']").await;
    browser.push("Relabel").await;
    browser.read("labelled as down.").await;
    let now = server.get("/datasets/faulty/review/map").await;
    let moved = inside.iter().filter(|at| now["labels"][**at] == 1).count();
    // Points at the very edge of the lasso may be on either side.
    assert!(moved > 0 && moved + 20 > inside.len(), "{moved} of {}", inside.len());
    browser.push("Undo").await;
    browser.read("Undone for ").await;
    let now = server.get("/datasets/faulty/review/map").await;
    assert!(inside.iter().all(|at| now["labels"][*at] == 0));
    browser.assert_clean(&server).await;
    browser.close().await;
}
