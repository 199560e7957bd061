//! ONNX Runtime's answers beside ours.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use image::{RgbImage, imageops::FilterType};
use pawprint::{
    device::ComputeConfig,
    domain::{preprocessing::Normalization, recipe::Precision},
    inference::LoadedModel,
    onnx::Input,
    vision,
};
use serde::Deserialize;
use tch::Device;

use super::{
    common::{self, skip::skip},
    exported, models,
};

/// Photos of the real ones that are tried.
const REAL: usize = 200;

#[derive(Deserialize)]
struct Answers {
    prepared: Vec<Answer>,
    whole: Vec<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    probabilities: Vec<f64>,
    label: usize,
    distance: Option<f64>,
}

/// A Python that has what `requirements.txt` lists.
pub fn python() -> Option<PathBuf> {
    let python = std::env::var_os("ONNX_PYTHON").filter(|it| !it.is_empty());
    if python.is_none() {
        skip("ONNX_PYTHON names no Python with ONNX Runtime; `make onnx-test` makes one");
    }
    python.map(PathBuf::from)
}

/// The photos of `PAWPRINT_REAL_DATA`, evenly, some of them enlarged into `folder`; or some of all sizes.
pub fn photos(folder: &Path) -> Vec<PathBuf> {
    if let Some(real) = std::env::var_os("PAWPRINT_REAL_DATA").filter(|it| !it.is_empty()) {
        let mut all = Vec::new();
        for part in ["originals", "dogs-vs-cats/test", "trashnet"] {
            let files = walkdir::WalkDir::new(Path::new(&real).join(part)).sort_by_file_name();
            let files = files.into_iter().flatten().map(walkdir::DirEntry::into_path);
            let is_photo = |path: &PathBuf| path.extension().is_some_and(|it| it == "jpg");
            let files: Vec<_> = files.filter(is_photo).collect();
            let step = (files.len() * 3).div_ceil(REAL).max(1);
            all.extend(files.into_iter().step_by(step));
        }
        assert!(all.len() > REAL * 2 / 3, "only {} real photos", all.len());
        // Some as large as those of a telephone.
        for (number, path) in all.iter_mut().step_by(REAL / 20).enumerate() {
            let (width, height) = [(4000, 3000), (1024, 768), (1500, 2000)][number % 3];
            let enlarged = resized(&image::open(&path).unwrap().into_rgb8(), width, height);
            *path = folder.join(format!("{number}.jpg"));
            fs::write(path, common::encode(enlarged, image::ImageFormat::Jpeg)).unwrap();
        }
        return all;
    }
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut all = vec![fixtures.join("exif_6.jpg"), fixtures.join("progressive.jpg")];
    for (number, (width, height)) in
        (1..).zip([(180, 180), (224, 224), (640, 480), (31, 700), (1500, 1000), (90, 60)])
    {
        let picture = resized(&common::picture(number), width, height);
        let path = folder.join(format!("{number}.png"));
        fs::write(&path, common::encode(picture, image::ImageFormat::Png)).unwrap();
        all.push(path);
    }
    all
}

fn resized(picture: &RgbImage, width: u32, height: u32) -> RgbImage {
    image::imageops::resize(picture, width, height, FilterType::CatmullRom)
}

/// Asks ONNX Runtime for the answers of a model, and compares them with those of Pawprint in fp32. Of whole
/// photos, labels have to be the same if the first class leads by `clear_lead`.
pub fn compare(python: &Path, saved: &Path, name: &str, photos: &[PathBuf], clear_lead: f64) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let compute = ComputeConfig { device: Device::Cpu, precision: Precision::Fp32 };
    let model = LoadedModel::open(saved, compute).unwrap();
    let prepare = |path: &PathBuf| {
        let limits = vision::Limits::default();
        vision::prepare(&fs::read(path).unwrap(), &limits, &model.card().preprocessing).unwrap()
    };
    let prepared: Vec<_> = photos.iter().map(prepare).collect();
    fs::write(at("tensor.onnx"), exported(saved, Input::Tensor)).unwrap();
    fs::write(at("image.onnx"), exported(saved, Input::Image)).unwrap();
    fs::write(at("pixels"), prepared.concat()).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/onnx/answers.py");
    let mut command = Command::new(python);
    command.arg(script).args([at("tensor.onnx"), at("pixels"), at("image.onnx")]).args(photos);
    let done = command.output().unwrap();
    let complaints = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && complaints.is_empty(), "{name}: {complaints}");
    let answers: Answers = serde_json::from_slice(&done.stdout).unwrap();

    let (mut furthest, mut apart, mut first) = (0.0_f64, Vec::new(), Vec::new());
    for (index, pixels) in prepared.iter().enumerate() {
        let output = model.forward(std::slice::from_ref(pixels)).unwrap().remove(0);
        let ours = output.logits.scaled(model.card().scale()).probabilities();
        let label = output.logits.predicted();
        first.push(ours[0]);
        let difference = |theirs: &[f64]| {
            assert_eq!(ours.len(), theirs.len(), "{name}");
            ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
        };
        let (theirs, photo) = (&answers.prepared[index], photos[index].display());
        furthest = furthest.max(difference(&theirs.probabilities));
        assert!(furthest < 1e-4, "{name}, {photo}: {ours:?} and {:?}", theirs.probabilities);
        assert_eq!(output.distance.is_some(), theirs.distance.is_some(), "{name}");
        if let Some((ours, theirs)) = output.distance.zip(theirs.distance) {
            assert!((ours - theirs).abs() < 1e-4, "{name}, {photo}: {ours} and {theirs}");
        }
        let mut ranked = ours.clone();
        ranked.sort_by(f64::total_cmp);
        let lead = ranked[ranked.len() - 1] - ranked[ranked.len() - 2];
        if lead > 2e-4 {
            assert_eq!(theirs.label, label, "{name}, {photo}");
        }
        let theirs = &answers.whole[index];
        apart.push(difference(&theirs.probabilities));
        if lead > clear_lead {
            assert_eq!(
                theirs.label, label,
                "{name}, {photo}: {ours:?}, {:?}",
                theirs.probabilities
            );
        }
    }
    first.sort_by(f64::total_cmp);
    // Otherwise the same probabilities would say little of the networks; a few pictures may be alike.
    let spread = first[first.len() - 1] - first[0];
    assert!(spread > 0.02 || photos.len() < REAL / 2, "{name} finds all photos alike: {first:?}");
    apart.sort_by(f64::total_cmp);
    let share = |part: usize| apart[(apart.len() - 1) * part / 100];
    println!(
        "{name}: {} photos; prepared, probabilities differ by {furthest:.1e} at most; whole, by {:.5} (median), {:.5} (95%), {:.5} at most",
        photos.len(),
        share(50),
        share(95),
        share(100)
    );
}

#[test]
fn onnx_runtime_answers_the_same() {
    let Some(python) = python() else { return };
    // The random weights are the same in each run.
    tch::manual_seed(1);
    let folder = tempfile::tempdir().unwrap();
    let photos = photos(folder.path());
    // A probability that is 0.02 from the threshold leads by twice that; random layers amplify what differs in
    // resizing more than trained ones do.
    let (trained, random) = (0.04, 0.1);
    for (model, name, clear_lead) in [
        (models::lite0(), "EfficientNet-Lite0, 2 classes", trained),
        (models::lite0_of_six(), "EfficientNet-Lite0, 6 classes", random),
        (models::small(2), "small network, 2 classes", random),
        (models::small(6), "small network, 6 classes", random),
        (models::vgg16(2, Normalization::Caffe), "VGG16 (Keras), 2 classes", random),
        (models::vgg16(6, Normalization::Torch), "VGG16 (torchvision), 6 classes", random),
    ] {
        compare(&python, &model.path, name, &photos, clear_lead);
    }
}

/// The first example of Python in the documentation that mentions ONNX Runtime.
#[test]
fn the_example_of_the_documentation_works() {
    let Some(python) = python() else { return };
    let example = include_str!("../../docs/serving.md")
        .split("```python\n")
        .filter_map(|after| after.split("```").next())
        .find(|code| code.contains("onnxruntime"))
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let exported = exported(&models::lite0().path, Input::Image);
    fs::write(folder.path().join("first.onnx"), exported).unwrap();
    let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/static/samples/dog-1.jpg");
    fs::copy(photo, folder.path().join("bottle.jpg")).unwrap();
    let mut command = Command::new(python);
    let done = command.current_dir(folder.path()).args(["-c", example]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(said.starts_with("dog 0.9"), "{said}");
}
