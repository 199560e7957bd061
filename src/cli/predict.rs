//! `pawprint predict`: predicts the class of images, on the server or, with a model file, locally.
//!
//! One unreadable image fails a whole request. The request is then halved until such images are
//! alone, so that all others get a prediction.

use std::{
    fs::File,
    io::{self, Read, stdin},
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use clap::Args;
use indicatif::ProgressBar;
use reqwest::{
    Method, StatusCode,
    multipart::{Form, Part},
};
use serde_json::{Map, Value, json};
use tokio::time::sleep;

use super::{
    ExitStatus, Session,
    args::{ClientArgs, reference},
    client::{Error, Problem},
    images::{Found, walk},
    output::Output,
    progress,
    responses::Predictions,
};
use crate::inference::local;

/// Most images of one request.
const BATCH_IMAGES: usize = 32;
/// A request of this many bytes gets no further image.
const BATCH_BYTES: usize = 32 * 1024 * 1024;
/// A larger file is not sent.
const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;
/// How often a request is repeated when the server is full.
const ATTEMPTS: u32 = 6;

/// Options of `pawprint predict`.
#[derive(Debug, Args)]
pub(super) struct Predict {
    /// Image files, folders, or `-` for one image on standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Name, alias or id of a model on the server, or a local model file (no server needed)
    ///
    /// A value ending in `.safetensors` is a local file. Default: the model in service.
    #[arg(long, value_name = "MODEL|FILE.safetensors")]
    model: Option<String>,

    /// Print this many of the most likely classes
    #[arg(long, value_name = "N")]
    top: Option<NonZeroU32>,

    #[command(flatten)]
    pub(super) client: ClientArgs,
}

/// An image to classify.
struct Image {
    name: String,
    bytes: Bytes,
}

impl Predict {
    /// The model file, if one is named.
    pub(super) fn model_file(&self) -> Option<&Path> {
        self.model.as_deref().filter(|model| model.ends_with(".safetensors")).map(Path::new)
    }

    /// Classifies the images locally.
    pub(super) fn run_local(&self, model: &Path, out: Output) -> anyhow::Result<ExitStatus> {
        let mut inputs = self.inputs(out);
        let paths: Vec<_> = inputs.paths.iter().map(|path| readable(path)).collect();
        let results = local::predict(model, &paths).with_context(|| model.display().to_string())?;
        for (path, (_, result)) in inputs.paths.iter().zip(results) {
            let file = path.display().to_string();
            match result {
                Ok(prediction) => {
                    let prediction = match self.top {
                        Some(top) => prediction.with_top(top.get() as usize),
                        None => prediction,
                    };
                    let Value::Object(prediction) = serde_json::to_value(prediction)? else {
                        bail!("the model returned no valid prediction");
                    };
                    show(out, &file, prediction, self.top, None)?;
                }
                Err(detail) => {
                    show_failure(
                        out,
                        &json!({ "file": file, "code": "invalid_image", "detail": detail }),
                    );
                    inputs.failed = true;
                }
            }
        }
        Ok(if inputs.failed { ExitStatus::Failed } else { ExitStatus::Success })
    }

    /// Classifies the images on the server.
    pub(super) async fn run(&self, session: &Session) -> anyhow::Result<ExitStatus> {
        if let Some(model) = &self.model {
            reference(model).map_err(|detail| anyhow!("--model {model}: {detail}"))?;
        }
        let inputs = self.inputs(session.out);
        let bar = progress::images(session.out, inputs.paths.len() as u64);
        let model = self.model.as_deref();
        let mut labeller = Labeller { session, model, top: self.top, bar, failed: inputs.failed };
        let ended = labeller.label(&inputs.paths).await;
        labeller.bar.finish_and_clear();
        ended?;
        Ok(if labeller.failed { ExitStatus::Failed } else { ExitStatus::Success })
    }

    /// The files to classify: folders are replaced by their images.
    fn inputs(&self, out: Output) -> Inputs {
        let mut inputs = Inputs { paths: Vec::new(), failed: false };
        for path in &self.files {
            if !path.is_dir() {
                inputs.paths.push(path.clone());
                continue;
            }
            let before = inputs.paths.len();
            for found in walk(path) {
                match found {
                    Found::Image { path, .. } => inputs.paths.push(path),
                    Found::Other(_) | Found::Special(_) => {}
                    Found::Link(path) => {
                        inputs.fail(
                            out,
                            &path,
                            "symbolic links in folders are skipped; pass this path explicitly",
                        );
                    }
                    Found::Unreadable(path, reason) => inputs.fail(out, &path, &reason),
                }
            }
            if inputs.paths.len() == before {
                inputs.fail(out, path, "no images in this folder");
            }
        }
        inputs
    }
}

/// The files to classify, and whether some were rejected already.
struct Inputs {
    paths: Vec<PathBuf>,
    failed: bool,
}

impl Inputs {
    fn fail(&mut self, out: Output, path: &Path, detail: &str) {
        let file = path.display().to_string();
        show_failure(out, &json!({ "file": file, "code": "unreadable", "detail": detail }));
        self.failed = true;
    }
}

/// Sends images and prints the predictions, in their order.
struct Labeller<'a> {
    session: &'a Session,
    model: Option<&'a str>,
    top: Option<NonZeroU32>,
    bar: ProgressBar,
    failed: bool,
}

impl Labeller<'_> {
    async fn label(&mut self, paths: &[PathBuf]) -> anyhow::Result<()> {
        let mut batch = Vec::new();
        let mut size = 0;
        for path in paths {
            let name = path.display().to_string();
            match read(path) {
                Ok(bytes) => {
                    size += bytes.len();
                    batch.push(Image { name, bytes: bytes.into() });
                }
                Err(error) => {
                    let detail = error.to_string();
                    self.show_failure(
                        &json!({ "file": name, "code": "unreadable", "detail": detail }),
                    );
                }
            }
            if batch.len() == BATCH_IMAGES || size >= BATCH_BYTES {
                self.label_batch(&batch).await?;
                batch.clear();
                size = 0;
            }
        }
        self.label_batch(&batch).await
    }

    async fn label_batch(&mut self, batch: &[Image]) -> anyhow::Result<()> {
        let mut parts = vec![batch];
        while let Some(part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            let error = match self.request(part).await {
                Ok(response) => {
                    self.show(part, response)?;
                    continue;
                }
                Err(error) => error,
            };
            match (error, part) {
                (Error::Problem(problem), [image]) if is_image_problem(&problem) => {
                    let mut body = problem.body;
                    body["file"] = json!(image.name);
                    self.show_failure(&body);
                }
                (error, [_, _, ..]) if is_worth_splitting(&error) => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
                (error, _) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// One request; repeated for a while when the server is full.
    async fn request(&self, images: &[Image]) -> Result<Predictions, Error> {
        let client = &self.session.client;
        let mut attempt = 1;
        loop {
            let form = images.iter().fold(Form::new(), |form, image| {
                let length = image.bytes.len() as u64;
                let part = Part::stream_with_length(image.bytes.clone(), length);
                form.part("image", part.file_name(image.name.clone()))
            });
            let mut request = client.request(Method::POST, &["predict"]).multipart(form);
            if let Some(model) = self.model {
                request = request.query(&[("model", model)]);
            }
            if let Some(top) = self.top {
                request = request.query(&[("top", top)]);
            }
            match client.json(request).await {
                Err(Error::Problem(problem))
                    if problem.status == StatusCode::TOO_MANY_REQUESTS && attempt < ATTEMPTS =>
                {
                    let pause = problem.retry_after.unwrap_or(Duration::from_secs(1));
                    sleep(pause.min(Duration::from_secs(30))).await;
                    attempt += 1;
                }
                response => return response,
            }
        }
    }

    fn show(&self, images: &[Image], response: Predictions) -> anyhow::Result<()> {
        if response.predictions.len() != images.len() {
            bail!(
                "the server returned {} predictions for {} images",
                response.predictions.len(),
                images.len()
            );
        }
        for (image, prediction) in images.iter().zip(response.predictions) {
            self.bar.inc(1);
            self.bar.suspend(|| {
                show(self.session.out, &image.name, prediction, self.top, Some(&response.model))
            })?;
        }
        Ok(())
    }

    fn show_failure(&mut self, problem: &Value) {
        self.failed = true;
        self.bar.inc(1);
        self.bar.suspend(|| show_failure(self.session.out, problem));
    }
}

/// Whether the server rejects an image, rather than the request as such.
fn is_image_problem(problem: &Problem) -> bool {
    matches!(
        problem.status,
        StatusCode::BAD_REQUEST
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::UNPROCESSABLE_ENTITY
    )
}

/// Whether the images of a request may fare better in smaller requests.
///
/// A server that rejects the first image without reading the others closes the connection, and its
/// response can be lost with what was still on its way.
fn is_worth_splitting(error: &Error) -> bool {
    match error {
        Error::Problem(problem) => is_image_problem(problem),
        error => matches!(error, Error::Transport { .. }),
    }
}

fn show(
    out: Output,
    file: &str,
    mut prediction: Map<String, Value>,
    top: Option<NonZeroU32>,
    model: Option<&Value>,
) -> anyhow::Result<()> {
    if out.is_json() {
        prediction.remove("file_name");
        prediction.insert("file".to_owned(), json!(file));
        if let Some(model) = model {
            prediction.insert("model".to_owned(), model.clone());
        }
        return out.document(&prediction);
    }
    let answer = text(&prediction, top);
    let answer = answer.ok_or_else(|| anyhow!("can't parse the server's response for {file}"))?;
    out.line(format_args!("{file}\t{answer}"))
}

/// The predicted class and its probability, or those of the `top` most likely ones, and why the model
/// is unsure.
fn text(prediction: &Map<String, Value>, top: Option<NonZeroU32>) -> Option<String> {
    let label = prediction.get("label")?.as_str()?;
    let mut answers = vec![(label, prediction.get("probability")?.as_f64()?)];
    if top.is_some() {
        let others = prediction.get("probabilities")?.as_object()?.iter();
        let others = others.filter(|(class, _)| *class != label);
        answers.extend(others.filter_map(|(class, it)| Some((class.as_str(), it.as_f64()?))));
        answers[1..].sort_by(|a, b| b.1.total_cmp(&a.1));
    }
    let mut columns: Vec<_> =
        answers.iter().map(|(class, probability)| format!("{class}\t{probability:.4}")).collect();
    match prediction.get("reason").and_then(Value::as_str) {
        Some("low_confidence") => columns.push("unsure (low confidence)".to_owned()),
        Some("unlike_training") => columns.push("unsure (unlike the training images)".to_owned()),
        _ => {}
    }
    Some(columns.join("\t"))
}

/// Reports on standard error why a file has no prediction.
fn show_failure(out: Output, problem: &Value) {
    if out.is_json() {
        return out.problem(problem);
    }
    let member = |name: &str| problem.get(name).and_then(Value::as_str).unwrap_or_default();
    out.note(format_args!("{}: {} ({})", member("file"), member("detail"), member("code")));
}

/// Standard input under the name it has in the file system.
fn readable(path: &Path) -> PathBuf {
    if path == Path::new("-") { PathBuf::from("/dev/stdin") } else { path.to_owned() }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    if path == Path::new("-") {
        return read_all(stdin().lock());
    }
    read_all(File::open(path)?)
}

fn read_all(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is larger than 256 MiB"));
    }
    Ok(bytes)
}
