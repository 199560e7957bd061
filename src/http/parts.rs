//! The parts of a multipart form, read as they arrive, with bounded memory.
//!
//! The parser below buffers whatever the connection has ready before it returns anything, and it
//! would buffer the headers of a part forever. So it gets the body one chunk at a time, and only
//! while it returns what it has.

use std::{
    error::Error,
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use axum::{
    body::{Body, BodyDataStream},
    extract::{
        DefaultBodyLimit, FromRequest as _, Multipart, Request,
        multipart::{Field, MultipartError},
    },
    http::{HeaderValue, StatusCode, header},
};
use bytes::{Bytes, BytesMut};
use futures::Stream;

use super::{
    body, content_encoding::DecodingError, disposition::Names, pace::BodyTimeout, problem::Problem,
};

/// Maximum bytes of a part's name that are kept.
const MAX_NAME: usize = 1024;

/// Maximum bytes that the parser may buffer without returning anything.
const MAX_UNREAD: usize = 64 << 10;

/// The parts of a form.
#[derive(Debug)]
pub struct Parts {
    multipart: Multipart,
    flow: Arc<Flow>,
    max_bytes: u64,
}

/// One part of a form.
#[derive(Debug)]
pub struct Part<'a> {
    field: Field<'a>,
    names: Names,
    /// Bytes that [`Part::head`] has read ahead.
    lookahead: BytesMut,
    flow: Arc<Flow>,
    max_bytes: u64,
}

#[derive(Debug, Default)]
struct Flow {
    unread: AtomicUsize,
    too_large: AtomicBool,
}

impl Parts {
    /// The parts of a request's form of at most `max_bytes` in total.
    ///
    /// # Errors
    /// 415 if the body is not a form, 400 if its boundary is missing.
    pub async fn from_request(request: Request, max_bytes: u64) -> Result<Self, Problem> {
        let content_type = body::media_type(request.headers()).ok().flatten();
        let Some(form) = content_type.filter(|it| it.essence_str() == "multipart/form-data") else {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "not_multipart",
                "send the files as multipart/form-data, like `curl -F file=@cat.0.jpg`",
            ));
        };
        if form.get_param(mime::BOUNDARY).is_none() {
            return Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "malformed",
                "the Content-Type of the form has no boundary; let the HTTP client set this header",
            ));
        }
        let flow = Arc::new(Flow::default());
        let (mut head, body) = request.into_parts();
        // In the format of the parser.
        if let Ok(form) = HeaderValue::from_str(form.as_ref()) {
            head.headers.insert(header::CONTENT_TYPE, form);
        }
        let paced = ThrottledBody {
            body: body.into_data_stream(),
            flow: flow.clone(),
            left: max_bytes,
            yielded: false,
        };
        let mut request = Request::from_parts(head, Body::from_stream(paced));
        DefaultBodyLimit::disable().apply(&mut request);
        let multipart = Multipart::from_request(request, &()).await.map_err(|rejection| {
            Problem::new(StatusCode::BAD_REQUEST, "malformed", rejection.body_text())
        })?;
        Ok(Self { multipart, flow, max_bytes })
    }

    /// The next part.
    ///
    /// # Errors
    /// 400 for a malformed form, 413 for one that is too large.
    pub async fn next(&mut self) -> Result<Option<Part<'_>>, Problem> {
        let (flow, max_bytes) = (self.flow.clone(), self.max_bytes);
        match self.multipart.next_field().await {
            Ok(field) => {
                flow.unread.store(0, Relaxed);
                Ok(field.map(|field| {
                    let header = field.headers().get(header::CONTENT_DISPOSITION);
                    let names = header.map(|it| Names::read(it.as_bytes())).unwrap_or_default();
                    Part { field, names, lookahead: BytesMut::new(), flow, max_bytes }
                }))
            }
            Err(error) => Err(flow.problem(&error, max_bytes)),
        }
    }
}

impl Part<'_> {
    /// The file name, otherwise the name of the form's field; only the end of a very long one.
    #[must_use]
    pub fn name(&self) -> String {
        let file = self.names.file.as_deref().filter(|name| !name.is_empty());
        let name = file.or(self.field_name()).unwrap_or("file");
        name[name.ceil_char_boundary(name.len().saturating_sub(MAX_NAME))..].to_owned()
    }

    /// The name of the form's field.
    #[must_use]
    pub fn field_name(&self) -> Option<&str> {
        self.names.field.as_deref()
    }

    /// The name of the file: empty if a form's file input was left empty, `None` if the part is not
    /// declared as a file.
    #[must_use]
    pub fn file_name(&self) -> Option<&str> {
        self.names.file.as_deref()
    }

    /// Whether the part is declared as an image or as binary data.
    #[must_use]
    pub fn is_declared_binary(&self) -> bool {
        let declared = self.field.content_type().and_then(|it| it.parse::<mime::Mime>().ok());
        declared.is_some_and(|mime| {
            mime.type_() == mime::IMAGE || mime == mime::APPLICATION_OCTET_STREAM
        })
    }

    /// The first `size` bytes of the part, or all of it; [`Part::chunk`] returns them again.
    ///
    /// # Errors
    /// As [`Parts::next`].
    pub async fn head(&mut self, size: usize) -> Result<&[u8], Problem> {
        while self.lookahead.len() < size {
            let Some(chunk) = self.receive().await? else { break };
            self.lookahead.extend_from_slice(&chunk);
        }
        Ok(&self.lookahead[..size.min(self.lookahead.len())])
    }

    /// The next piece of the part's bytes.
    ///
    /// # Errors
    /// As [`Parts::next`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Problem> {
        if self.lookahead.is_empty() {
            return self.receive().await;
        }
        Ok(Some(self.lookahead.split().freeze()))
    }

    async fn receive(&mut self) -> Result<Option<Bytes>, Problem> {
        match self.field.chunk().await {
            Ok(chunk) => {
                self.flow.unread.store(0, Relaxed);
                Ok(chunk)
            }
            Err(error) => Err(self.flow.problem(&error, self.max_bytes)),
        }
    }
}

impl Flow {
    fn problem(&self, error: &MultipartError, max_bytes: u64) -> Problem {
        if self.too_large.load(Relaxed) {
            return Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                format!("the request body exceeds the limit of {max_bytes} bytes"),
            );
        }
        if DecodingError::find_in(error).is_some() || BodyTimeout::find_in(error).is_some() {
            return body::incomplete_body(error);
        }
        let mut cause = Some(error as &(dyn Error + 'static));
        while let Some(error) = cause {
            if error.is::<MalformedForm>() {
                return Problem::new(StatusCode::BAD_REQUEST, "malformed", error.to_string());
            }
            cause = error.source();
        }
        Problem::new(StatusCode::BAD_REQUEST, "malformed", error.body_text())
    }
}

struct ThrottledBody {
    body: BodyDataStream,
    flow: Arc<Flow>,
    left: u64,
    yielded: bool,
}

#[derive(Debug)]
struct MalformedForm;

impl fmt::Display for MalformedForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the form is malformed: boundary not found, or unterminated part header")
    }
}

impl Error for MalformedForm {}

impl Stream for ThrottledBody {
    type Item = Result<Bytes, Box<dyn Error + Send + Sync>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.yielded) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        match Pin::new(&mut self.body).poll_next(context) {
            Poll::Ready(Some(Ok(chunk))) => {
                self.yielded = true;
                let unread = self.flow.unread.fetch_add(chunk.len(), Relaxed);
                let Some(left) = self.left.checked_sub(chunk.len() as u64) else {
                    self.flow.too_large.store(true, Relaxed);
                    return Poll::Ready(Some(Err(MalformedForm.into())));
                };
                self.left = left;
                if unread > MAX_UNREAD {
                    return Poll::Ready(Some(Err(MalformedForm.into())));
                }
                Poll::Ready(Some(Ok(chunk)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}
