//! Multipart forms as browsers, curl, requests and aiohttp write them: names, text fields, empty
//! file inputs.

use crate::common::{Answer, IMAGES, Server, photo};
use axum::{
    body::Body,
    http::{Request, header},
};
use serde_json::{Value, json};

const TYPE: &str = "multipart/form-data; boundary=a-form";

/// A form of parts, each with its header lines and its content.
fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (head, content) in parts {
        body.extend_from_slice(b"--a-form\r\nContent-Disposition: form-data; ");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(b"\r\n\r\n");
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--a-form--\r\n");
    body
}

async fn post(server: &Server, path: &str, parts: &[(&str, &[u8])]) -> Answer {
    let request = Request::post(path).header(header::CONTENT_TYPE, TYPE);
    server.send(request.body(Body::from(form(parts))).unwrap()).await
}

const FILE: &str = "name=\"image\"; filename=\"cat.0.jpg\"";

#[tokio::test]
async fn a_photo_keeps_its_name_in_every_spelling() {
    let server = Server::start().await;
    server.pets().await;
    for (number, (written, name)) in [
        ("filename*=UTF-8''cat.caf%C3%A9.jpg", "cat.café.jpg"),
        ("filename=\"x.jpg\"; filename*=utf-8''cat.%E2%82%AC.jpg", "cat.€.jpg"),
        ("filename=\"=?UTF-8?B?Y2F0LmNhZsOpLmpwZw==?=\"", "cat.café.jpg"),
        ("filename=\"cat.caf%C3%A9%20%25.jpg\"", "cat.café %.jpg"),
        ("filename=\"cat%2F1.jpg\"", "cat/1.jpg"),
        ("filename=\"cat.100%.jpg\"", "cat.100%.jpg"),
        ("filename=\"cat.a\\\"b.jpg\"", "cat.a\"b.jpg"),
        ("filename=\"cat.ü.jpg\"\r\nContent-Type: image/jpeg", "cat.ü.jpg"),
    ]
    .into_iter()
    .enumerate()
    {
        let image = photo(number as u32);
        let head = format!("name=\"image\"; {written}");
        let answer = post(&server, "/predict", &[(&head, &image)]).await.ok();
        assert_eq!(answer["predictions"][0]["file_name"], name, "{written}");
        let report = post(&server, IMAGES, &[(&head, &image)]).await.ok();
        assert_eq!(report["added"], 1, "{written}: {report}");
        let stored = server.listed("").await;
        assert_eq!(stored.last().unwrap()["file_name"], name, "{written}");
    }
    let mut latin_1 = form(&[("name=\"image\"; filename=\"cat.caf?.jpg\"", &photo(1))]);
    let place = latin_1.iter().position(|&byte| byte == b'?').unwrap();
    latin_1[place] = 0xE9;
    let request = Request::post("/predict").header(header::CONTENT_TYPE, TYPE);
    let answer = server.send(request.body(Body::from(latin_1)).unwrap()).await.ok();
    assert_eq!(answer["predictions"][0]["file_name"], "cat.café.jpg");
}

#[tokio::test]
async fn label_and_split_act_as_the_querys_wherever_they_stand_in_the_form() {
    let server = Server::start().await;
    server.pets().await;
    let file = "name=\"file\"; filename=\"IMG_1.jpg\"";
    let (label, split) = ("name=\"label\"", "name=\"split\"");
    let before = [(label, &b"dog"[..]), (split, b"test\r\n"), (file, &photo(1))];
    let behind = [(file, &photo(2)[..]), (label, b"dog"), (split, b"test")];
    let both = [(file, &photo(3)[..]), (file, &photo(4)), (split, b"test"), (label, b"DOG")];
    for (parts, added) in [(&before[..], 1), (&behind, 1), (&both, 2)] {
        assert_eq!(post(&server, IMAGES, parts).await.ok()["added"], added);
    }
    let path = format!("{IMAGES}?label=dog");
    assert_eq!(post(&server, &path, &[(file, &photo(5)), (split, b"test")]).await.ok()["added"], 1);
    let path = format!("{IMAGES}?label=dog&split=test");
    let repeated = [(file, &photo(6)[..]), (file, &photo(7)), (label, b"dog")];
    assert_eq!(post(&server, &path, &repeated).await.ok()["added"], 2);
    assert_eq!(server.listed("&label=dog&split=test").await.len(), 7);
    // Fields that were left empty say nothing.
    let empty = [(label, &b""[..]), (split, b" "), (FILE, &photo(8))];
    assert_eq!(post(&server, IMAGES, &empty).await.ok()["added"], 1);
    assert_eq!(server.listed("&label=cat").await.len(), 1);

    // `name` gives a file the name that tells its label.
    let named = [("name=\"name\"", &b"cat.7.jpg"[..]), (file, &photo(9))];
    assert_eq!(post(&server, IMAGES, &named).await.ok()["added"], 1);
    assert_eq!(server.listed("&label=cat").await[1]["file_name"], "cat.7.jpg");
    let path = format!("{IMAGES}?name=cat.8.jpg");
    assert_eq!(post(&server, &path, &[(file, &photo(10))]).await.ok()["added"], 1);
}

#[tokio::test]
async fn model_format_and_name_act_as_the_querys() {
    let server = Server::start().await;
    let (model, name) = ("name=\"model\"", "name=\"name\"");
    let image = photo(1);
    for parts in [
        [(model, &b"default"[..]), (FILE, &image), (name, b"tom.jpg")],
        [(FILE, &image), (name, b"tom.jpg"), (model, b"default")],
    ] {
        let answer = post(&server, "/predict", &parts).await.ok();
        assert_eq!(answer["model"]["name"], "default");
        assert_eq!(answer["predictions"][0]["file_name"], "tom.jpg");
    }
    let behind = [(FILE, &image[..]), (model, b"nobody")];
    for path in ["/predict", "/explain"] {
        post(&server, path, &behind).await.problem(404, "not_found");
        let path = format!("{path}?model=nobody");
        post(&server, &path, &behind).await.problem(404, "not_found");
    }
    let explained = [(FILE, &image[..]), ("name=\"format\"", b"json"), (model, b"default")];
    let answer = post(&server, "/explain", &explained).await.ok();
    assert_eq!(answer["file_name"], "cat.0.jpg");
    assert_eq!(answer["map"]["height"], 7);
    let request = Request::post("/predict?name=tom.jpg").header(header::CONTENT_TYPE, "image/jpeg");
    let answer = server.send(request.body(Body::from(image.clone())).unwrap()).await.ok();
    assert_eq!(answer["predictions"][0]["file_name"], "tom.jpg");
    let two = [(FILE, &image[..]), (FILE, &image), (name, b"tom.jpg")];
    post(&server, "/predict", &two).await.problem(422, "invalid_value");
}

#[tokio::test]
async fn what_a_form_says_wrongly_is_named() {
    let server = Server::start().await;
    server.pets().await;
    let image = photo(1);
    let long = "x".repeat(100_000);
    let field = |path, name: &'static str, value: &'static [u8]| (path, name, value);
    for (path, name, value) in [
        field("/predict", "foo", b"bar"),
        field("/predict", "label", b"cat"),
        field("/predict", "foo", b""),
        field("/explain", "foo", b"bar"),
        field(IMAGES, "model", b"default"),
        field(IMAGES, "split", b"nowhere"),
        field(IMAGES, "label", b"\xFF\xFE"),
    ] {
        for first in [true, false] {
            let head = format!("name=\"{name}\"");
            let mut parts = vec![(FILE, &image[..]), (&*head, value)];
            if first {
                parts.swap(0, 1);
            }
            let problem = post(&server, path, &parts).await.problem(422, "invalid_value");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains(name), "{path} {name}: {detail}");
        }
    }
    let label = [("name=\"label\"", &b"bird"[..]), (FILE, &image)];
    post(&server, IMAGES, &label).await.problem(422, "unknown_label");
    // A contradiction, between the query and the form or within it.
    let dog = ("name=\"label\"", &b"dog"[..]);
    let problem = post(&server, &format!("{IMAGES}?label=cat"), &[(FILE, &image), dog]).await;
    let problem = problem.problem(422, "invalid_value");
    assert_eq!(problem["field"], "label");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("`cat` in the query and `dog` in the form"), "{detail}");
    let twice = [("name=\"label\"", &b"cat"[..]), (FILE, &image), dog];
    post(&server, IMAGES, &twice).await.problem(422, "invalid_value");
    let model = [("name=\"model\"", &b"other"[..]), (FILE, &image)];
    post(&server, "/predict?model=default", &model).await.problem(422, "invalid_value");
    // Nothing of that repeats much of what came in.
    let head = format!("name=\"{long}\"");
    for parts in [
        [(&*head, &b"bar"[..]), (FILE, &image)],
        [("name=\"model\"", long.as_bytes()), (FILE, &image)],
    ] {
        let answer = post(&server, "/predict", &parts).await;
        answer.problem(422, "invalid_value");
        assert!(answer.body.len() < 1_000, "{}", answer.body.len());
    }
    assert_eq!((server.listed("").await.len(), server.leftovers()), (0, 0));
}

#[tokio::test]
async fn an_empty_file_input_is_no_photo() {
    let server = Server::start().await;
    server.pets().await;
    let image = photo(1);
    let empty = "name=\"image\"; filename=\"\"\r\nContent-Type: application/octet-stream";
    let with = [(empty, &b""[..]), (FILE, &image), (empty, b"")];
    let answer = post(&server, "/predict", &with).await.ok();
    assert_eq!(answer["predictions"].as_array().unwrap().len(), 1);
    assert_eq!(post(&server, IMAGES, &with).await.ok()["added"], 1);
    post(&server, "/predict", &[(empty, b"")]).await.problem(422, "no_image");
    post(&server, "/explain", &[(empty, b"")]).await.problem(422, "no_image");
    post(&server, IMAGES, &[(empty, b"")]).await.problem(422, "no_files");
    post(&server, IMAGES, &[("name=\"label\"", b"cat")]).await.problem(422, "no_files");
    // An empty file that has a name is one, and empty.
    post(&server, "/predict", &[(FILE, b"")]).await.problem(422, "empty_file");
}

#[tokio::test]
async fn a_photo_that_does_not_say_it_is_a_file_is_one() {
    let server = Server::start().await;
    let image = photo(1);
    for head in [
        "name=\"image\"",
        "name=\"photo\"\r\nContent-Type: image/jpeg",
        "name=\"photo\"\r\nContent-Type: application/octet-stream",
        "name=\"photo\"; filename=\"\"",
    ] {
        let answer = post(&server, "/predict", &[(head, &image)]).await.ok();
        let name = &answer["predictions"][0]["file_name"];
        assert!(*name == json!("image") || *name == json!("photo"), "{head}: {name}");
    }
    let heic = b"\0\0\0\x18ftypheic\0\0\0\0".to_vec();
    post(&server, "/predict", &[("name=\"image\"", &heic)]).await.problem(415, "unsupported_type");
}

#[tokio::test]
async fn photos_beyond_what_is_kept_in_memory_are_judged_alike() {
    let server = Server::with(|config| config.max_image_bytes = photo(1).len() as u64 + 100).await;
    let photos: Vec<_> = (0..20).map(|_| (FILE, photo(1))).collect();
    let parts: Vec<_> = photos.iter().map(|(head, photo)| (*head, &photo[..])).collect();
    let answer: Value = post(&server, "/predict", &parts).await.ok();
    let predictions = answer["predictions"].as_array().unwrap();
    assert_eq!(predictions.len(), 20);
    assert!(predictions.iter().all(|it| it["label"] == predictions[0]["label"]));
    let many: Vec<_> = (0..65).map(|_| (FILE, &b"x"[..])).collect();
    post(&server, "/predict", &many).await.problem(413, "too_many_images");
    let mut late = parts;
    let large = vec![0; photo(1).len() + 101];
    late.push((FILE, &large));
    let problem = post(&server, "/predict", &late).await.problem(413, "too_large");
    assert_eq!(problem["index"], 20);
    assert_eq!(server.leftovers(), 0);
}
