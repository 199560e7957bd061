//! Missing or changed images; truncated, missing or foreign model files.

use std::{fs, path::PathBuf};

use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    common::{
        photo,
        process::{Process, photos},
        tar,
    },
    sandbox::{Client, Sandbox},
    scale::Trial,
};

fn blob(sandbox: &Sandbox, image: &Value) -> PathBuf {
    let digest = image["sha256"].as_str().unwrap();
    sandbox.data().join("blobs").join(&digest[..2]).join(digest)
}

#[tokio::test]
async fn a_missing_or_changed_image_is_named_and_mended_by_sending_it_again() {
    let trial = Trial::new("damaged images");
    let sandbox = Sandbox::new();
    let server = sandbox.start();
    let client = Client::of(&server);
    server.pets(4).await;
    let images = client.all("/datasets/pets/images").await;
    let train: Vec<_> = images.iter().filter(|image| image["split"] == "train").collect();
    fs::remove_file(blob(&sandbox, train[0])).unwrap();
    let mut bytes = fs::read(blob(&sandbox, train[1])).unwrap();
    bytes[100] ^= 1;
    fs::write(blob(&sandbox, train[1]), &bytes).unwrap();
    fs::write(blob(&sandbox, train[2]), &bytes[..50]).unwrap();
    fs::write(blob(&sandbox, train[3]), "").unwrap();

    for image in &images {
        let is_damaged = train[..4].iter().any(|it| it["id"] == image["id"]);
        for path in ["", "/thumbnail"] {
            let path = format!("/images/{}{path}", image["id"].as_str().unwrap());
            let (status, body) = client.ask(Method::GET, &path, None).await.unwrap();
            if is_damaged {
                assert_eq!((status, &body["code"]), (500, &json!("image_damaged")), "{body}");
            } else {
                assert_eq!(status, 200);
            }
        }
    }
    for path in ["/datasets/pets", "/datasets/pets/statistics", "/readyz"] {
        client.get(path).await;
    }
    let id = server.job(json!({ "epochs": 1, "batch_size": 8 })).await;
    let job = server.ended(&id).await;
    assert_eq!((&job["status"], &job["error"]["code"]), (&json!("failed"), &json!("bad_dataset")));
    let named = train[..4].iter().any(|image| {
        job["error"]["detail"].as_str().unwrap().contains(image["sha256"].as_str().unwrap())
    });
    assert!(named, "{job}");

    let archive = tar(&photos(4));
    let (status, body) = client.post("/datasets/pets/archive", archive).await.unwrap();
    assert_eq!((status, &body["duplicates"]), (200, &json!(16)), "{body}");
    for image in &images {
        client.bytes(&format!("/images/{}", image["id"].as_str().unwrap())).await;
    }
    let resumed = client.ask(Method::POST, &format!("/jobs/{id}/resume"), None).await.unwrap();
    assert_eq!(resumed.0, 202);
    assert_eq!(server.ended(&id).await["status"], "succeeded");
    sandbox.assert_no_panic();
    trial.ends("4 images: missing, changed, truncated, empty");
}

#[tokio::test]
async fn a_model_that_is_cut_short_missing_or_anothers_is_refused_and_another_serves() {
    let trial = Trial::new("damaged model files");
    let sandbox = Sandbox::new();
    let (mut server, names) = Process::with_models(&sandbox.data()).await;
    let client = Client::of(&server);
    let models = client.all("/models").await;
    let file = |name: &str| {
        let model = models.iter().find(|model| model["name"] == name).unwrap();
        sandbox.data().join(format!("models/{}.safetensors", model["id"].as_str().unwrap()))
    };
    let current = client.get("/models/current").await["name"].as_str().unwrap().to_owned();
    let other = names.iter().find(|name| **name != current).unwrap();
    let whole = fs::read(file(other)).unwrap();
    let anothers = fs::read(file(&current)).unwrap();
    let damages: [(&str, Option<&[u8]>); 6] = [
        ("cut short", Some(&whole[..whole.len() / 2])),
        ("another's", Some(&anothers)),
        ("text", Some(b"this is no model")),
        ("empty", Some(b"")),
        ("a header without end", Some(&[0xff; 64])),
        ("missing", None),
    ];
    for (how, bytes) in damages {
        match bytes {
            Some(bytes) => fs::write(file(other), bytes).unwrap(),
            None => fs::remove_file(file(other)).unwrap(),
        }
        let asked = client.predict(&format!("?model={other}"), photo(1)).await.unwrap();
        let pin = json!({ "model": other });
        let pinned = client.ask(Method::PUT, "/models/current", Some(pin)).await.unwrap();
        for (status, body) in [asked, pinned] {
            assert_eq!((status, &body["code"]), (422, &json!("model_unusable")), "{how}: {body}");
        }
        let path = format!("/models/{other}/download");
        let (status, body) = client.ask(Method::GET, &path, None).await.unwrap();
        if fs::metadata(file(other)).is_ok_and(|file| file.len() == whole.len() as u64) {
            assert_eq!(status, 200, "{how}");
        } else {
            assert_eq!((status, &body["code"]), (500, &json!("model_damaged")), "{how}: {body}");
        }
        let (status, body) = client.predict("", photo(1)).await.unwrap();
        assert_eq!((status, &body["model"]["name"]), (200, &json!(current)), "{how}: {body}");
    }

    // The one in service, seen when the server starts again: another one takes its sandbox.
    fs::write(file(other), &whole).unwrap();
    fs::write(file(&current), &anothers[..1000]).unwrap();
    fs::write(file("default"), b"x").unwrap();
    assert!(server.end(Signal::TERM));
    let server = sandbox.start();
    let client = Client::of(&server);
    assert_ne!(client.get("/models/current").await["name"], *current);
    assert_eq!(client.predict("", photo(1)).await.unwrap().0, 200);
    for model in [other.as_str(), "default"] {
        let (status, body) = client.predict(&format!("?model={model}"), photo(1)).await.unwrap();
        assert_eq!((status, &body["model"]["name"]), (200, &json!(model)), "{body}");
    }
    assert_eq!(client.get("/readyz").await["status"], "ready");
    sandbox.assert_no_panic();
    trial.ends("6 kinds of damage, and one to the model in service");
}
