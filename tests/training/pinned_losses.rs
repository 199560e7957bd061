//! The losses of the notebook's recipes, pinned: what they compute stays the same whatever is changed
//! around them. Rounding differs between kinds of CPU, hence the tolerance, and that all compute with AVX2: with
//! AVX-512, a loss of fine-tuning is 3‰ off. On one machine and with the same libtorch, even the weights stay the same
//! to the bit.
#![cfg(target_os = "linux")]

use std::process::Command;

use crate::common::{process::Process, vgg16_weights};
use reqwest::Method;
use serde_json::{Value, json};

/// Largest relative difference of a loss.
const TOLERANCE: f64 = 1e-3;

/// Training and validation loss of two epochs.
const LOSSES: [(&str, [[f64; 2]; 2]); 4] = [
    ("scratch_cnn", [[0.692_783, 0.692_729], [0.690_655, 0.690_742]]),
    ("augmented_cnn", [[0.692_949, 0.694_193], [0.684_662, 0.692_979]]),
    ("vgg16_features", [[0.781_184, 0.581_410], [0.667_479, 0.497_390]]),
    ("vgg16_finetune", [[0.652_071, 0.328_488], [0.759_127, 0.254_205]]),
];

#[tokio::test]
async fn the_losses_of_the_notebooks_recipes_are_the_ones_they_have_always_had() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pawprint"));
    command.env("ONEDNN_MAX_CPU_ISA", "AVX2").env("ATEN_CPU_CAPABILITY", "avx2");
    let server = Process::spawn(&mut command, folder.path());
    server.pets(8).await;
    let request = server.request(Method::PUT, "/weights/vgg16");
    let response = request.body(vgg16_weights("torchvision_zip.pth")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let params = json!({ "epochs": 2, "batch_size": 8, "precision": "fp32", "device": "cpu",
        "learning_rate": 1e-5, "seed": 7 });
    let mut previous = String::new();
    for (recipe, expected) in LOSSES {
        let mut params = params.clone();
        if recipe == "vgg16_finetune" {
            params["head_from"] = json!(previous);
        }
        let job = server.job_of(recipe, params).await;
        let ended = server.ended(&job).await;
        assert_eq!(ended["status"], "succeeded", "{ended}");
        let metrics = server.get(&format!("/jobs/{job}/metrics")).await;
        let loss = |epoch: &Value| ["train_loss", "val_loss"].map(|it| epoch[it].as_f64().unwrap());
        let losses: Vec<_> = metrics["epochs"].as_array().unwrap().iter().map(loss).collect();
        assert_eq!(losses.len(), 2);
        for (loss, expected) in losses.iter().flatten().zip(expected.as_flattened()) {
            let difference = (loss - expected).abs() / expected;
            assert!(difference < TOLERANCE, "{recipe}: {losses:?}, expected {expected:?}");
        }
        previous = job;
    }
}
