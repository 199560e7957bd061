//! `/internal/jobs/{job}/attempts/{attempt}/…`: trainers on other machines fetch their job and report.
//! For them alone, so not in the API's document; each has a token of its own, which allows nothing else.

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, FromRequestParts, RawPathParams, Request, State},
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use axum_extra::headers::{Authorization, HeaderMapExt as _, authorization::Bearer};
use serde::Deserialize;
use tokio::task::spawn_blocking;
use tokio_util::io::ReaderStream;

use super::{
    body,
    detached::run_to_completion,
    error::of_disk,
    extract::{Json, Query},
    problem::Problem,
    state::AppState,
};
use crate::{
    blobs::Blobs,
    domain::dataset::Digest,
    executors::{
        attempts::{Live, Refusal},
        job_files,
        protocol::{Acknowledgement, Complete, Hello, PART, Received, Reports, SESSION, Welcome},
        upload::{Upload, UploadError},
    },
};

/// When a trainer should retry.
const RETRY: Duration = Duration::from_secs(2);

/// The routes of trainers.
pub(super) fn routes() -> Router<AppState> {
    let of_attempt = Router::new()
        .route("/hello", post(hello))
        .route("/reports", post(reports))
        .route("/images/{sha256}", get(image))
        .route("/files/{*name}", get(file).post(part).put(complete))
        .layer(DefaultBodyLimit::disable());
    Router::new().nest("/internal/jobs/{job}/attempts/{attempt}", of_attempt)
}

/// The attempt that a request is of, and the parameters of its path.
pub struct Trainer {
    live: Arc<Live>,
    session: Option<u64>,
    path: HashMap<String, String>,
}

impl Trainer {
    /// The attempt, for requests that change something.
    fn writer(self) -> Result<Arc<Live>, Problem> {
        match self.session {
            Some(_) => Ok(self.live),
            None => Err(Refusal::Replaced.into()),
        }
    }

    fn parameter(&self, name: &str) -> &str {
        self.path.get(name).map_or("", String::as_str)
    }
}

impl FromRequestParts<AppState> for Trainer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let unknown = || Problem::from(Refusal::Unknown);
        let path = RawPathParams::from_request_parts(parts, state).await.map_err(|_| unknown())?;
        let path: HashMap<_, _> =
            path.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let parameter = |name: &str| path.get(name).map_or("", String::as_str);
        let job = parameter("job").parse().map_err(|_| unknown())?;
        let attempt = parameter("attempt").parse().map_err(|_| unknown())?;
        let authorization = parts.headers.typed_get::<Authorization<Bearer>>();
        let authorization = authorization.ok_or(Refusal::Token)?;
        let live = state.attempts.authenticate(job, attempt, authorization.token()).await?;
        let session = parts.headers.get(SESSION).and_then(|it| it.to_str().ok()?.parse().ok());
        // One that introduces itself has none yet.
        if session.is_some_and(|session| !live.is_of_session(session)) {
            return Err(Refusal::Replaced.into());
        }
        Ok(Self { live, session, path })
    }
}

/// `POST hello`: a trainer introduces itself, and gets to know its job.
async fn hello(
    State(state): State<AppState>,
    trainer: Trainer,
    Json(hello): Json<Hello>,
) -> Result<Json<Welcome>, Problem> {
    let Trainer { live, .. } = trainer;
    run_to_completion(async move {
        let (folder, compared) = (state.attempts.folder(&live), state.attempts.compared(&live));
        let files = spawn_blocking(move || job_files::list(&folder, compared.as_deref()));
        let files = files.await.map_err(|error| Problem::internal(&error))?;
        let files = files.map_err(|error| of_disk(&error))?;
        let (next_sequence, session) = state.attempts.greet(&live, &hello).await?;
        let (version, compared) = (env!("CARGO_PKG_VERSION").to_owned(), live.compared);
        Ok::<_, Problem>(Json(Welcome { version, files, compared, next_sequence, session }))
    })
    .await
}

/// `POST reports`: events and a part of the log.
async fn reports(
    State(state): State<AppState>,
    trainer: Trainer,
    Json(reports): Json<Reports>,
) -> Result<Json<Acknowledgement>, Problem> {
    let live = trainer.writer()?;
    // If the connection breaks meanwhile, they are saved all the same, and not twice.
    run_to_completion(async move { state.attempts.receive(&live, reports).await.map(Json) }).await
}

/// `GET images/{sha256}`: an image of the job.
async fn image(State(state): State<AppState>, trainer: Trainer) -> Result<Response, Problem> {
    let name = trainer.parameter("sha256");
    let unknown = || Problem::not_found("image", name);
    let digest: Digest = name.parse().map_err(|_| unknown())?;
    if !state.attempts.needs(&trainer.live, &digest).await? {
        return Err(unknown());
    }
    send(&state.data_dir.blobs().join(Blobs::name(&digest)), "image", name).await
}

/// `GET files/{name}`: a file of the job's folder.
async fn file(State(state): State<AppState>, trainer: Trainer) -> Result<Response, Problem> {
    let name = trainer.parameter("name");
    let folder = state.attempts.folder(&trainer.live);
    let compared = state.attempts.compared(&trainer.live);
    let path = job_files::path(&folder, compared.as_deref(), name);
    send(&path.ok_or_else(|| Problem::not_found("file", name))?, "file", name).await
}

async fn send(path: &std::path::Path, what: &str, name: &str) -> Result<Response, Problem> {
    match tokio::fs::File::open(path).await {
        Ok(file) => {
            Ok(Body::from_stream(ReaderStream::with_capacity(file, 1 << 18)).into_response())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Problem::not_found(what, name))
        }
        Err(error) => Err(Problem::internal(&error)),
    }
}

/// `?offset=`
#[derive(Debug, Deserialize)]
struct PartQuery {
    offset: u64,
}

/// `POST files/{name}?offset=N`: a part of a file.
async fn part(
    State(state): State<AppState>,
    trainer: Trainer,
    Query(PartQuery { offset }): Query<PartQuery>,
    request: Request,
) -> Result<Json<Received>, Problem> {
    let upload = upload_of(&trainer)?;
    let bytes = body::read(request, PART as u64, &state).await?;
    store(state, trainer.writer()?, move |folder, live| {
        upload.append(folder, live.id, offset, &bytes)
    })
    .await
}

/// `PUT files/{name}`: a file is complete.
async fn complete(
    State(state): State<AppState>,
    trainer: Trainer,
    Json(Complete { sha256 }): Json<Complete>,
) -> Result<Json<Received>, Problem> {
    let upload = upload_of(&trainer)?;
    store(state, trainer.writer()?, move |folder, live| upload.complete(folder, live.id, &sha256))
        .await
}

fn upload_of(trainer: &Trainer) -> Result<Upload, Problem> {
    let name = trainer.parameter("name");
    name.parse().map_err(|_| Problem::not_found("file", name))
}

async fn store(
    state: AppState,
    live: Arc<Live>,
    work: impl FnOnce(&std::path::Path, &Live) -> Result<u64, UploadError> + Send + 'static,
) -> Result<Json<Received>, Problem> {
    run_to_completion(async move {
        let folder = state.attempts.folder(&live);
        let stored = state.attempts.exclusively(&live, async {
            let live = Arc::clone(&live);
            spawn_blocking(move || work(&folder, &live)).await
        });
        let stored = stored.await?.map_err(|error| Problem::internal(&error))?;
        stored.map(|bytes| Json(Received { bytes })).map_err(Problem::from)
    })
    .await
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            Refusal::Unknown => Self::new(StatusCode::NOT_FOUND, "no_such_attempt", detail),
            Refusal::Token => Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail),
            Refusal::Ended | Refusal::Replaced => {
                Self::new(StatusCode::CONFLICT, "attempt_ended", detail)
            }
            Refusal::NotReady => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", detail).retry_after(RETRY)
            }
            Refusal::Storage(error) => error.into(),
            Refusal::Io(error) => of_disk(&error),
        }
    }
}

impl From<UploadError> for Problem {
    fn from(error: UploadError) -> Self {
        let detail = error.to_string();
        match error {
            UploadError::Offset { bytes } => {
                Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "wrong_offset", detail)
                    .with("bytes", bytes)
            }
            UploadError::Hash => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong_hash", detail),
            UploadError::Io(error) => of_disk(&error),
        }
    }
}
