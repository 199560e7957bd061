//! The Teach page: boxes of photos become a model, by camera and from a folder.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use fantoccini::{
    actions::{InputSource as _, MOUSE_BUTTON_LEFT, MouseActions, PointerAction},
    elements::Element,
    key::Key,
};
use image::{ImageFormat, Rgb, RgbImage};
use reqwest::Method;
use rustix::process::Signal;

use crate::{
    browser::Browser,
    common::{
        encode,
        process::{Process, photos},
        skip::real_data,
    },
};

/// What is in front of the camera.
#[derive(Clone, Copy)]
enum Thing {
    RedRings,
    BlueStripes,
    GreenNoise,
}

/// A frame of 320×240 pixels; no two are the same.
fn frame(thing: Thing, number: u32) -> RgbImage {
    let (dx, dy) = (number * 7 % 90, number * 5 % 60);
    RgbImage::from_fn(320, 240, |x, y| {
        let noise = ((x * 31 + y * 17 + number * 13) % 23) as u8;
        match thing {
            Thing::RedRings => {
                let (x, y) = (f64::from(x + dx) - 200.0, f64::from(y + dy) - 150.0);
                let ring = ((x.hypot(y) / 14.0) as u32).is_multiple_of(2);
                if ring { Rgb([200 + noise, 30, 30]) } else { Rgb([250, 230, 220 + noise]) }
            }
            Thing::BlueStripes => {
                let stripe = ((x + y / 2 + dx) / 17).is_multiple_of(2);
                if stripe { Rgb([20, 40, 190 + noise]) } else { Rgb([200 + noise, 215, 250]) }
            }
            Thing::GreenNoise => {
                let tone = (x * x + y * (number + 3) * 7 + x * y) % 160;
                Rgb([30, 60 + tone as u8, 40 + noise])
            }
        }
    })
}

/// Puts something in front of the fake camera: it reads the file when it is opened.
fn show(camera: &Path, thing: Thing) {
    let frames = (0..90).flat_map(|number| encode(frame(thing, number), ImageFormat::Jpeg));
    fs::write(camera, frames.collect::<Vec<u8>>()).unwrap();
}

/// The box of a class, by its place.
fn class_box(number: usize) -> String {
    format!("//div[contains(@class, 'boxes')]/section[{number}]")
}

async fn name_class(browser: &Browser, number: usize, name: &str) {
    let title =
        browser.see(&format!("{}//input[@aria-label='Class name']", class_box(number))).await;
    let all = format!("{}a{}", Key::Control, Key::Null);
    title.send_keys(&format!("{all}{name}\n")).await.unwrap();
    browser.see(&format!("//section[@aria-label={name:?}]")).await;
}

async fn button_in(browser: &Browser, place: &str, text: &str) -> Element {
    browser.see(&format!("{place}//button[normalize-space()={text:?}]")).await
}

/// Holds the button of the recorder down for a second and a half; gives the number of photos.
async fn burst(browser: &Browser, number: usize) -> usize {
    let place = class_box(number);
    button_in(browser, &place, "Camera").await.click().await.unwrap();
    browser.see(&format!("{place}//video")).await;
    let playing = "const video = document.querySelector('.recorder video'); return video !== null && video.videoWidth > 0";
    wait_until(browser, playing).await;
    let hold = button_in(browser, &place, "Hold to record").await;
    let mouse = MouseActions::new("mouse".to_owned())
        .then(PointerAction::MoveToElement { element: hold, duration: None, x: 0.0, y: 0.0 })
        .then(PointerAction::Down { button: MOUSE_BUTTON_LEFT })
        .then(PointerAction::Pause { duration: Duration::from_millis(1500) })
        .then(PointerAction::Up { button: MOUSE_BUTTON_LEFT });
    browser.client.perform_actions(mouse).await.unwrap();
    button_in(browser, &place, "Close camera").await.click().await.unwrap();
    browser.see(&format!("{place}//ul/li[not(@class)]")).await;
    wait_until(browser, "return document.querySelector('.pending') === null").await;
    let amount = browser.see(&format!("{place}//span[contains(., ' photos')]")).await;
    let text = amount.text().await.unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// Pushes the button; the navigation has a link of the same name.
async fn train(browser: &Browser, text: &str) {
    let button = format!("//main//button[normalize-space()={text:?}][not(@disabled)]");
    browser.click(&button).await;
}

/// Waits until a script returns true.
async fn wait_until(browser: &Browser, script: &str) {
    let begun = std::time::Instant::now();
    while browser.client.execute(script, vec![]).await.unwrap() != true {
        assert!(begun.elapsed() < crate::common::process::PATIENCE, "never true: {script}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn two_classes_by_camera_become_a_model_that_is_tried_corrected_and_trained_again() {
    let (data, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Process::start(data.path());
    let camera: PathBuf = files.path().join("camera.mjpeg");
    show(&camera, Thing::RedRings);
    let arguments = [
        "--use-fake-device-for-media-stream".to_owned(),
        "--use-fake-ui-for-media-stream".to_owned(),
        format!("--use-file-for-fake-video-capture={}", camera.display()),
    ];
    let Some(browser) = Browser::open_with(&server, &arguments).await else { return };

    // What opens first while there is no model of one's own.
    browser.see("//h1[.='Teach']").await;
    browser.read("Add photos to each class.").await;
    browser.see("//button[normalize-space()='Train'][@disabled]").await;
    name_class(&browser, 1, "rings").await;
    name_class(&browser, 2, "stripes").await;
    let rings = burst(&browser, 1).await;
    assert!(rings >= 5, "{rings} photos in 1.5 s");
    browser.read("5 to stripes").await;
    show(&camera, Thing::BlueStripes);
    let stripes = burst(&browser, 2).await;

    // A burst is cut into blocks, one for each split.
    let dataset = server.get("/datasets/my-classes").await;
    assert_eq!(dataset["images"], rings + stripes);
    for split in ["train", "validation", "test"] {
        assert!(dataset["counts"][split]["rings"].as_u64().unwrap() > 0, "{dataset}");
    }

    train(&browser, "Train").await;
    browser.read(&format!("{} photos were classified", rings + stripes)).await;
    browser.see("//a[.='See the whole evaluation']").await;
    let job = server.get("/jobs/my-classes-v1").await;
    assert_eq!(job["status"], "succeeded", "{job}");
    browser.see("//pre[contains(., 'predict?model=my-classes-v1')]").await;
    browser.see("//button[normalize-space()='Train again'][@disabled]").await;

    // Live, it sees what is in front of the camera, and says that it can't tell something else.
    browser.push("Use the camera").await;
    browser
        .see("//section[@aria-label='Try it']//span[contains(@class, 'label')][.='stripes']")
        .await;
    browser.push("Stop the camera").await;
    show(&camera, Thing::GreenNoise);
    browser.push("Use the camera").await;
    browser.see("//section[@aria-label='Try it']//*[contains(@class, 'unsure')]").await;

    // The correction goes into the dataset, and the next model has it.
    button_in(&browser, "//section[@aria-label='Try it']", "rings").await.click().await.unwrap();
    browser.see(&format!("{}//span[.='{} photos']", class_box(1), rings + 1)).await;
    train(&browser, "Train again").await;
    browser.read(&format!("{} photos were classified", rings + stripes + 1)).await;
    assert_eq!(server.get("/jobs/my-classes-v2").await["status"], "succeeded");
    browser.see("//pre[contains(., 'predict?model=my-classes-v2')]").await;

    // All of it is found again, also from the other pages.
    browser.page("#/models").await;
    browser.read("my-classes-v2").await;
    browser.page("#/teach").await;
    browser.see(&format!("{}//span[.='{stripes} photos']", class_box(2))).await;
    browser.read(&format!("{} photos were classified", rings + stripes + 1)).await;
    // A photo is removed by its cross.
    let cross = format!("{}//ul/li[1]/button", class_box(2));
    let cross = browser.see(&cross).await;
    browser
        .client
        .execute("arguments[0].click()", vec![serde_json::to_value(cross).unwrap()])
        .await
        .unwrap();
    browser.see(&format!("{}//span[.='{} photos']", class_box(2), stripes - 1)).await;

    browser.assert_clean(&server).await;
    browser.close().await;
}

/// Three classes with 20 photos each, of the real ones.
fn rubbish(data: &Path, folder: &Path) -> usize {
    let classes = ["glass", "metal", "paper"];
    for class in classes {
        let mut files: Vec<_> = fs::read_dir(data.join("trashnet/train").join(class))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        fs::create_dir_all(folder.join(class)).unwrap();
        for file in &files[..20] {
            fs::copy(file, folder.join(class).join(file.file_name().unwrap())).unwrap();
        }
    }
    classes.len() * 20
}

#[tokio::test]
async fn a_folder_of_folders_fills_all_boxes_and_becomes_a_model() {
    let (data, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Process::start(data.path());
    let Some(browser) = Browser::open(&server).await else { return };
    let folder = files.path().join("things");
    let images = if let Some(real) = real_data() {
        rubbish(&real, &folder)
    } else {
        let drawn = photos(8);
        for (name, bytes) in &drawn {
            let (_, path) = name.split_once('/').unwrap();
            fs::create_dir_all(folder.join(path).parent().unwrap()).unwrap();
            fs::write(folder.join(path), bytes).unwrap();
        }
        drawn.len()
    };
    fs::write(folder.join("notes.txt"), "no photo").unwrap();

    browser.pick("input[webkitdirectory]", &[&folder]).await;
    browser.read("notes.txt").await;
    let dataset = server.get("/datasets/things").await;
    assert_eq!(dataset["images"], images);
    let classes = dataset["classes"].as_array().unwrap().len();
    browser.see(&class_box(classes)).await;
    train(&browser, "Train").await;
    browser
        .read(&format!(
            "{images} photos were classified correctly, each by a model trained without it"
        ))
        .await;
    let evaluation = server.get("/jobs/things-v1/evaluation").await;
    assert_eq!(evaluation["cross_validation"]["count"], images);
    assert!(evaluation["cross_validation"]["accuracy"].as_f64().unwrap() > 0.7, "{evaluation}");
    browser.assert_clean(&server).await;
    browser.close().await;
}

/// A file of a drawn photo.
fn drawing(folder: &Path, thing: Thing, number: u32) -> PathBuf {
    let path = folder.join(format!("{number}.png"));
    fs::create_dir_all(folder).unwrap();
    fs::write(&path, encode(frame(thing, number), ImageFormat::Png)).unwrap();
    path
}

/// How many photos the box of a class says that it has.
async fn has(browser: &Browser, class: &str, photos: usize) {
    browser.see(&format!("//section[@aria-label={class:?}]//span[.='{photos} photos']")).await;
}

#[tokio::test]
async fn nothing_is_lost_or_mislabelled_when_names_pages_and_the_server_change_meanwhile() {
    let (data, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut server = Process::start(data.path());
    let Some(browser) = Browser::open(&server).await else { return };
    let rings: Vec<_> =
        (0..12).map(|number| drawing(&files.path().join("x"), Thing::RedRings, number)).collect();
    let folder = files.path().join("stripes");
    for number in 0..6 {
        drawing(&folder, Thing::BlueStripes, number);
    }

    // On a box it is that class; a folder beside the boxes is a class of its name; a photo is none.
    browser.see("//h1[.='Teach']").await;
    browser.drop_on(".boxes section", &rings[0]).await;
    browser.see("//section[@aria-label='Class 1']//span[.='1 photo']").await;
    browser.drop_on("section[aria-label=Classes] > .row", &folder).await;
    has(&browser, "stripes", 6).await;
    browser.drop_on("section[aria-label=Classes] > .row", &rings[1]).await;
    browser.read("Drop photos on the class that they belong to.").await;

    // The class is renamed, and the page is left, while photos are on their way.
    browser.upload_at(50_000).await;
    let paths: Vec<_> = rings[1..8].iter().map(PathBuf::as_path).collect();
    browser.pick("section[aria-label='Class 1'] input[type=file]", &paths).await;
    name_class(&browser, 1, "rings").await;
    browser.page("#/models").await;
    browser.see("//h1[.='Models']").await;
    browser.page("#/teach").await;
    has(&browser, "rings", 8).await;
    assert_eq!(server.get("/datasets").await["items"].as_array().unwrap().len(), 1);
    let counts = server.get("/datasets/my-classes").await["counts"].clone();
    let of = |class: &str| -> u64 {
        counts.as_object().unwrap().values().filter_map(|split| split[class].as_u64()).sum()
    };
    assert_eq!((of("rings"), of("stripes"), of("Class 1")), (8, 6, 0), "{counts}");

    // The server is killed while photos are on their way, and again while it trains.
    let address = server.address().to_owned();
    let paths: Vec<_> = rings[8..].iter().map(PathBuf::as_path).collect();
    browser.pick("section[aria-label='rings'] input[type=file]", &paths).await;
    browser.see("//p[starts-with(., 'Uploading')]").await;
    server.end(Signal::KILL);
    browser.see("//p[contains(., 'reach the server')]").await;
    browser.upload_at(-1).await;
    let mut server = Process::start_at(data.path(), &address);
    has(&browser, "rings", 12).await;
    train(&browser, "Train").await;
    browser.see("//section[@aria-label='Training']//progress").await;
    server.end(Signal::KILL);
    let server = Process::start_at(data.path(), &address);
    browser.read("18 photos were classified").await;

    // What can't be used is said where it was dropped.
    let broken = files.path().join("broken.jpg");
    fs::write(&broken, b"no photo").unwrap();
    browser.pick("section[aria-label='rings'] input[type=file]", &[&broken]).await;
    browser.see("//section[@aria-label='rings']//th[.='broken.jpg']").await;
    name_class(&browser, 2, "stripes").await;
    let title = browser.see("section[aria-label='stripes'] input.title").await;
    title.send_keys(&format!("{}a{}RINGS\n", Key::Control, Key::Null)).await.unwrap();
    browser.read("There is a class rings already.").await;

    // A dataset that was deleted elsewhere is made again from what comes next.
    assert_eq!(server.ask(Method::DELETE, "/datasets/my-classes", None).await.0, 204);
    browser.pick("section[aria-label='rings'] input[type=file]", &[&rings[0]]).await;
    browser.read("The dataset my-classes has been deleted.").await;
    browser.push("Try again").await;
    browser.see("//section[@aria-label='rings']//span[.='1 photo']").await;
    assert_eq!(server.get("/datasets/my-classes").await["images"], 1);
    browser.close().await;
}

#[tokio::test]
async fn the_sample_photos_become_a_model_on_a_phone_and_by_keyboard() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::start(data.path());
    let Some(browser) = Browser::open(&server).await else { return };
    browser.width(390).await;
    let enter = Key::Enter.to_string();
    browser.see("//button[.='Try it with ours']").await.send_keys(&enter).await.unwrap();
    has(&browser, "fish", 12).await;
    has(&browser, "tool", 12).await;
    let wide = "return document.documentElement.scrollWidth";
    assert_eq!(browser.client.execute(wide, vec![]).await.unwrap(), 390);
    let button = "//main//button[normalize-space()='Train'][not(@disabled)]";
    browser.see(button).await.send_keys(&enter).await.unwrap();
    browser.read("24 photos were classified").await;
    assert_eq!(browser.client.execute(wide, vec![]).await.unwrap(), 390);
    // A folder of other classes may be another dataset.
    let folder = tempfile::tempdir().unwrap();
    for (class, thing) in [("rings", Thing::RedRings), ("stripes", Thing::BlueStripes)] {
        drawing(&folder.path().join("shapes").join(class), thing, 1);
    }
    browser.pick("input[webkitdirectory]", &[&folder.path().join("shapes")]).await;
    browser.see("//dialog//p[contains(., 'rings and stripes the classes of a new one?')]").await;
    browser.push("New dataset").await;
    browser.see("//section[@aria-label='rings']//span[.='1 photo']").await;
    assert_eq!(server.get("/datasets/shapes").await["images"], 2);
    assert_eq!(server.get("/datasets/samples").await["images"], 24);
    browser.page("#/teach/samples").await;
    has(&browser, "fish", 12).await;
    // A camera needs a secure page; where there is none, files still work.
    let script = "Object.defineProperty(navigator, 'mediaDevices', { value: undefined })";
    browser.client.execute(script, vec![]).await.unwrap();
    browser.push("Use the camera").await;
    browser.read("Browsers allow camera access only over HTTPS or on localhost.").await;
    browser.assert_clean(&server).await;
    browser.close().await;
}
