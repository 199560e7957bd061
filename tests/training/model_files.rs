//! Models leave their server: imported by another one, and described by a report.
#![cfg(target_os = "linux")]

use crate::common::{Answer, Server, photo, process::Process};
use pawprint::domain::dataset::Digest;
use serde_json::{Value, json};

const RECIPES: [(&str, &str); 3] = [
    ("scratch_cnn", r#"{ "epochs": 1 }"#),
    ("efficientnet_lite0_features", "{}"),
    ("efficientnet_lite0_finetune", r#"{ "epochs": 1, "head_epochs": 2 }"#),
];

/// Models of some recipes, trained on one server: their rows and files.
async fn trained(server: &Process, recipes: &[(&str, &str)]) -> Vec<(Value, Vec<u8>)> {
    server.pets(8).await;
    let mut models = Vec::new();
    for (recipe, params) in recipes {
        let id = server.job_of(recipe, serde_json::from_str(params).unwrap()).await;
        let job = server.ended(&id).await;
        assert_eq!(job["status"], "succeeded", "{job}");
        let model = job["model_id"].as_str().unwrap();
        let row = server.get(&format!("/models/{model}")).await;
        let file = server.request(reqwest::Method::GET, &format!("/models/{model}/download"));
        let file = file.send().await.unwrap().bytes().await.unwrap();
        models.push((row, file.to_vec()));
    }
    models
}

async fn import(server: &Server, query: &str, file: Vec<u8>) -> Answer {
    server.post(&format!("/models{query}"), file).await
}

fn files(server: &Server) -> Vec<String> {
    let entries = std::fs::read_dir(server.folder.path().join("models")).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn models_of_another_server_answer_as_they_did_there() {
    let folder = tempfile::tempdir().unwrap();
    let there = Process::start(folder.path());
    let models = trained(&there, &RECIPES).await;
    let here = Server::start().await;
    let before = here.get("/models/current").await.ok()["id"].clone();
    for (row, file) in &models {
        let answer = import(&here, "", file.clone()).await;
        assert_eq!(answer.status, 201, "{:?}", String::from_utf8_lossy(&answer.body));
        let model = answer.json();
        assert_eq!(
            answer.headers["location"],
            format!("/models/{}", model["id"].as_str().unwrap())
        );
        for same in ["id", "name", "recipe", "classes", "test_accuracy", "answer_above", "bytes"] {
            assert_eq!(model[same], row[same], "{same}");
        }
        assert_eq!(model["job_id"], Value::Null);
        assert_eq!(model["in_service"], false);
        let name = model["name"].as_str().unwrap();
        for number in 0..3 {
            let path = format!("/predict?model={name}");
            let ours = here.post(&path, photo(number)).await.ok();
            let request = there.request(reqwest::Method::POST, &path).body(photo(number));
            let theirs: Value = request.send().await.unwrap().json().await.unwrap();
            assert_eq!(ours["predictions"], theirs["predictions"], "{name}");
        }
        // The same again changes nothing.
        let again = import(&here, "", file.clone()).await;
        assert_eq!((again.status.as_u16(), again.json()["id"].clone()), (200, model["id"].clone()));
    }
    assert_eq!(here.get("/models/current").await.ok()["id"], before, "none went into service");
    assert_eq!(files(&here).len(), models.len() + 1);
    assert_eq!(here.leftovers(), 0);
    // By hand one does.
    let name = models[1].0["name"].as_str().unwrap();
    let current = here.json("PUT", "/models/current", json!({ "model": name })).await.ok();
    assert_eq!(current["id"], models[1].0["id"]);

    report(&there, &here, &models[1].0).await;
}

/// The report of a model where it was trained, and where it was imported.
async fn report(there: &Process, here: &Server, model: &Value) {
    let path = format!("/models/{}/report", model["id"].as_str().unwrap());
    let report = there.get(&format!("{path}?format=json")).await;
    assert_eq!(report["model"]["id"], model["id"]);
    assert_eq!(report["data"]["images"]["train"]["cat"], 8);
    assert_eq!(report["training"]["epochs"].as_array().unwrap().len(), 11);
    assert_eq!(report["evaluation"]["split"], "test");
    assert_eq!(report["training"]["pretrained"]["license"], "Apache-2.0");
    assert_eq!(report["model"]["sha256"].as_str().unwrap().len(), 64);
    // Of what is downloaded, also after the thresholds were changed.
    for above in [0.25, 0.5] {
        let patch = json!({ "answer_above": above });
        let id = model["id"].as_str().unwrap();
        here.json("PATCH", &format!("/models/{id}"), patch).await.ok();
        let file = here.get(&format!("/models/{id}/download")).await.body;
        let report = here.get(&format!("{path}?format=json")).await.ok();
        assert_eq!(report["model"]["sha256"], Digest::of(&file).to_string());
        assert_eq!(report["model"]["bytes"], file.len());
    }
    let limits = report["limits"].to_string();
    assert!(limits.contains("test images") && limits.contains("Apache-2.0"), "{limits}");
    let page = there.request(reqwest::Method::GET, &path).send().await.unwrap();
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    let page = page.text().await.unwrap();
    for words in ["<svg", "Confusion matrix", "95% CI", "loss (cross-entropy)", "Limitations"] {
        assert!(page.contains(words), "{words}");
    }
    for outside in ["<script", "<link", "src=\"http", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    // Where it was imported, what the card says is there, and what it doesn't say is not.
    let imported = here.get(&format!("{path}?format=json")).await.ok();
    assert_eq!(imported["test"], report["test"]);
    assert_eq!(imported["evaluation"], Value::Null);
    assert_eq!(imported["training"]["epochs"], json!([]));
    let page = here.get(&path).await;
    assert!(
        page.status.is_success()
            && String::from_utf8(page.body).unwrap().contains("another server")
    );
    here.get(&format!("{path}?format=pdf")).await.problem(422, "invalid_value");
    here.get("/models/none/report").await.problem(404, "not_found");
}

/// One that stays may change at the same time.
#[tokio::test]
async fn both_thresholds_can_be_changed_at_once() {
    let server = Server::start().await;
    let path = "/models/default";
    for round in 0..8 {
        let (answer, unlike) = (f64::from(round) / 16.0, 1.0 + f64::from(round) / 16.0);
        let changes = tokio::join!(
            server.json("PATCH", path, json!({ "answer_above": answer })),
            server.json("PATCH", path, json!({ "unlike_above": unlike })),
        );
        assert_eq!(changes.0.ok()["answer_above"], answer);
        assert_eq!(changes.1.ok()["unlike_above"], unlike);
        let model = server.get(path).await.ok();
        assert_eq!(
            (&model["answer_above"], &model["unlike_above"]),
            (&json!(answer), &json!(unlike))
        );
    }
}

#[tokio::test]
async fn names_are_kept_unless_they_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let there = Process::start(folder.path());
    there.pets(4).await;
    let (_, job) = there
        .post("/jobs", json!({ "recipe": "efficientnet_lite0_features", "dataset": "pets", "name": "default-2" }))
        .await;
    let job = there.ended(job["id"].as_str().unwrap()).await;
    let path = format!("/models/{}/download", job["model_id"].as_str().unwrap());
    let file = there.request(reqwest::Method::GET, &path).send().await.unwrap();
    let file = file.bytes().await.unwrap().to_vec();
    let here = Server::start().await;
    import(&here, "?name=default", file.clone()).await.problem(409, "name_taken");
    import(&here, "?name=not%20valid", file.clone()).await.problem(422, "invalid_value");
    let model = import(&here, "?name=visitor", file.clone()).await.json();
    assert_eq!(model["name"], "visitor");
    // Under its new name, also in answers and in the file.
    let answer = here.post("/predict?model=visitor", photo(1)).await.ok();
    assert_eq!(answer["model"]["name"], "visitor");
    let again = import(&here, "", file.clone()).await;
    assert_eq!((again.status.as_u16(), again.json()["name"].clone()), (200, json!("visitor")));
    // A name that is taken gets a number.
    assert_eq!(here.delete("/models/visitor").await.status, 204);
    let built_in = here.get("/models/default/download").await.body;
    let other = Server::start().await;
    let same = import(&other, "", built_in).await;
    assert_eq!((same.status.as_u16(), same.json()["name"].clone()), (200, json!("default")));
    assert_eq!(import(&other, "", file.clone()).await.json()["name"], "default-2");
    let third = changed_id(&file);
    let answer = import(&other, "", third).await;
    assert_eq!(answer.json()["name"], "default-2-2", "{:?}", answer.json());
}

/// The same model with another id in its card.
fn changed_id(file: &[u8]) -> Vec<u8> {
    with_card(file, |card| card["id"] = json!("0198c0de-0000-7000-8000-000000000000"))
}

fn parts(file: &[u8]) -> (Value, &[u8]) {
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    (serde_json::from_slice(&file[8..8 + length]).unwrap(), &file[8 + length..])
}

fn joined(header: &Value, weights: &[u8]) -> Vec<u8> {
    let header = header.to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), weights].concat()
}

/// The same model with another id and a changed card.
fn with_card(file: &[u8], change: impl Fn(&mut Value)) -> Vec<u8> {
    let (mut header, weights) = parts(file);
    let mut card: Value =
        serde_json::from_str(header["__metadata__"]["model_card"].as_str().unwrap()).unwrap();
    card["id"] = json!("0198c0de-0000-7000-8000-000000000001");
    change(&mut card);
    header["__metadata__"]["model_card"] = json!(card.to_string());
    joined(&header, weights)
}

/// What a card says is what somebody has written.
#[tokio::test]
async fn a_card_is_not_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    let [(row, file)] = &trained(&server, &RECIPES[1..2]).await[..] else { unreachable!() };
    let import = async |file: Vec<u8>| {
        let request = server.request(reqwest::Method::POST, "/models").body(file);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 201);
        response.json::<Value>().await.unwrap()
    };
    // A model that names a job of this server, which has another model.
    assert!(row["job_id"].is_string());
    let claims = import(changed_id(file)).await;
    assert_eq!(claims["job_id"], Value::Null);
    let job = server.get(&format!("/jobs/{}", row["job_id"].as_str().unwrap())).await;
    assert_eq!(job["model_id"], row["id"]);
    assert_eq!(
        server.get(&format!("/models/{}", row["name"].as_str().unwrap())).await["job_id"],
        row["job_id"]
    );

    // Names that are markup.
    let hostile = with_card(file, |card| {
        card["classes"] = json!(["<img src=x onerror=alert(1)>", "\"'&<script>alert(1)"]);
    });
    let hostile = import(hostile).await;
    let path = format!("/models/{}/report", hostile["id"].as_str().unwrap());
    let page = server.request(reqwest::Method::GET, &path).send().await.unwrap();
    let page = page.text().await.unwrap();
    assert!(!page.contains("<img") && !page.contains("<script"), "{page}");
    assert!(page.contains("&lt;img src=x"), "{page}");
}

/// A server that is killed while a model arrives has the whole model afterwards, or nothing of it.
#[tokio::test]
async fn an_import_that_is_cut_off_leaves_nothing() {
    let file = Server::start().await.get("/models/default/download").await.body;
    let file = with_card(&file, |card| card["name"] = json!("visitor"));
    let folder = tempfile::tempdir().unwrap();
    let mut server = Process::start(folder.path());
    for sent in [1, file.len() / 2, file.len() - 1, file.len()] {
        // What is cut off by its client.
        let cut = || {
            let (part, rest) = (file[..sent].to_vec(), futures::stream::pending());
            let part = futures::stream::iter([Ok::<_, std::io::Error>(part)]);
            reqwest::Body::wrap_stream(futures::StreamExt::chain(part, rest))
        };
        let request = || server.request(reqwest::Method::POST, "/models").body(cut()).send();
        let patience = std::time::Duration::from_millis(300);
        assert!(tokio::time::timeout(patience, request()).await.is_err());
        // And by the end of the server.
        let request = tokio::spawn(request());
        tokio::time::sleep(patience).await;
        server.end(rustix::process::Signal::KILL);
        assert!(request.await.unwrap().is_err());
        server = Process::start(folder.path());
        let all = server.get("/models").await;
        assert_eq!(all["items"].as_array().unwrap().len(), 1, "{all}");
        let count = |name| std::fs::read_dir(folder.path().join(name)).unwrap().count();
        assert_eq!((count("models"), count("tmp")), (1, 0));
    }
    // Whole, and killed at some moment after that: known and usable, or gone.
    for pause in [0, 100, 400] {
        let request = server.request(reqwest::Method::POST, "/models").body(file.clone()).send();
        let request = tokio::spawn(request);
        tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
        server.end(rustix::process::Signal::KILL);
        let acknowledged = request.await.unwrap().is_ok_and(|it| it.status().is_success());
        server = Process::start(folder.path());
        let (status, _) = server.ask(reqwest::Method::GET, "/models/visitor", None).await;
        assert!(status == 200 || !acknowledged);
        if status == 200 {
            let predict = server.request(reqwest::Method::POST, "/predict?model=visitor");
            let predict = predict.body(photo(1)).send().await.unwrap();
            assert_eq!(predict.status(), 200);
            assert_eq!(server.ask(reqwest::Method::DELETE, "/models/visitor", None).await.0, 204);
        }
    }
}

#[tokio::test]
async fn what_is_not_a_sound_model_is_refused_and_leaves_nothing() {
    let here = Server::start().await;
    let file = here.get("/models/default/download").await.body;
    let (header, weights) = parts(&file);
    let with_card = |change: &dyn Fn(&mut Value)| with_card(&file, change);
    let mut flipped = with_card(&|_| {});
    let end = flipped.len();
    flipped[end - 4000..].fill(0x7f);
    let mut long = vec![0xff; 64];
    long[7] = 0;
    let cases: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"PK".to_vec(),
        photo(1),
        file[..file.len() / 2].to_vec(),
        file[..file.len() - 1].to_vec(),
        [&file[..], b"x"].concat(),
        long,
        joined(&json!({}), &[]),
        joined(&json!({ "__metadata__": { "model_card": "{" } }), &[]),
        joined(&json!({ "__metadata__": { "model_card": "{\"format\": 99}" } }), &[]),
        flipped,
        with_card(&|card| card["classes"] = json!(["cat", "dog", "fish"])),
        with_card(&|card| card["classes"] = json!([])),
        with_card(&|card| card["architecture"] = json!("resnet")),
        with_card(&|card| card["preprocessing"]["width"] = json!(100_000)),
        with_card(&|card| card["canaries"] = json!([0.0, 0.0, 0.0])),
        with_card(&|card| card["temperature"] = json!(-1.0)),
        with_card(&|card| card["name"] = json!("<script>alert(1)</script>")),
        with_card(&|card| card["name"] = json!("../../etc/passwd")),
    ];
    let before = files(&here);
    for (number, case) in cases.into_iter().enumerate() {
        let problem = import(&here, "", case).await.problem(422, "model_unusable");
        let detail = problem["detail"].as_str().unwrap();
        assert!(!detail.contains("/tmp"), "{number}: {detail}");
    }
    // The built-in model's id with other weights.
    let mut other = header.clone();
    let text = other["__metadata__"]["model_card"].as_str().unwrap();
    let mut card: Value = serde_json::from_str(text).unwrap();
    card["epoch"] = json!(3);
    other["__metadata__"]["model_card"] = json!(card.to_string());
    let answer = import(&here, "", joined(&other, weights)).await;
    answer.problem(409, "other_model");
    assert_eq!(files(&here), before);
    assert_eq!(here.leftovers(), 0);
    let all = here.get("/models").await.ok();
    assert_eq!(all["items"].as_array().unwrap().len(), 1);
}
