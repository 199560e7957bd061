//! `Content-Encoding`: compressed bodies are decoded before a handler reads them.
//!
//! So the limits of every route count decoded bytes. Memory is bounded whatever a body declares:
//! windows beyond what browsers support are rejected, and nothing is decoded before a handler reads
//! the body. So is the disk: a body that is many times larger than it was sent is rejected, too.

use std::{
    error::Error,
    fmt, io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_compression::{
    tokio::bufread::{BrotliDecoder, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder},
    zstd::DParameter,
};
use async_stream::try_stream;
use axum::{
    body::{Body, HttpBody as _},
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream::BoxStream};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _};
use tokio_util::io::StreamReader;

use super::problem::Problem;
use crate::domain::excerpt::Excerpt;

/// Supported codings, for the `Accept-Encoding` of a rejection.
const ACCEPTED: HeaderValue = HeaderValue::from_static("gzip, deflate, br, zstd");

/// Maximum number of nested codings: the output of an inner one is not bounded by the route's
/// limit.
const MAX_LAYERS: usize = 1;

/// Bytes that are decoded at a time.
const CHUNK: usize = 64 << 10;

/// How many times larger than it was sent a body may become, once it is larger than
/// [`FREE_BYTES`]: JSON of equal numbers shrinks to a hundredth, images hardly at all.
const MAX_RATIO: u64 = 100;

/// Bytes that a body may become however small it was sent.
const FREE_BYTES: u64 = 64 << 20;

/// The window of a zstd frame, as a power of two: the 8 MiB of RFC 9659.
const ZSTD_WINDOW_LOG: u32 = 23;

/// A supported coding of RFC 9110.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl fmt::Display for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        })
    }
}

/// Why a body can't be decoded.
#[derive(Debug)]
pub enum DecodingError {
    /// It does not match its `Content-Encoding`, or is truncated.
    Invalid {
        /// Its coding, as in the header.
        coding: String,
        /// What the decoder says.
        reason: String,
    },
    /// It becomes many times larger than it was sent.
    Inflated,
}

impl fmt::Display for DecodingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { coding, reason } => write!(
                f,
                "the body is not valid {coding} as its Content-Encoding declares; it may be damaged or truncated: {reason}"
            ),
            Self::Inflated => write!(
                f,
                "the body decompresses to more than {MAX_RATIO} times its size; send it uncompressed"
            ),
        }
    }
}

impl Error for DecodingError {}

impl DecodingError {
    /// The one among the causes of `error`, if any.
    #[must_use]
    pub fn find_in<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(undecodable) = error.downcast_ref() {
                return Some(undecodable);
            }
            cause = error.source();
        }
        None
    }
}

/// Decodes the body of a request in any supported coding.
pub async fn decode(mut request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let codings = match codings(request.headers()) {
        Ok(codings) => codings,
        Err(problem) => {
            let mut refusal = problem.into_response();
            refusal.headers_mut().insert(header::ACCEPT_ENCODING, ACCEPTED);
            return refusal;
        }
    };
    request.headers_mut().remove(header::CONTENT_ENCODING);
    if !codings.is_empty() {
        // It is the encoded length, not the decoded one.
        request.headers_mut().remove(header::CONTENT_LENGTH);
        request = request.map(|body| decoded_body(body, &codings));
    }
    next.run(request).await
}

/// The codings of a body in the order in which they were applied.
fn codings(headers: &HeaderMap) -> Result<Vec<Coding>, Problem> {
    let mut codings = Vec::new();
    for value in headers.get_all(header::CONTENT_ENCODING) {
        let text = String::from_utf8_lossy(value.as_bytes());
        for name in text.split(',').map(str::trim) {
            codings.push(match name.to_ascii_lowercase().as_str() {
                "" | "identity" => continue,
                "gzip" | "x-gzip" => Coding::Gzip,
                "deflate" => Coding::Deflate,
                "br" => Coding::Brotli,
                "zstd" => Coding::Zstd,
                _ => {
                    return Err(unsupported(format!(
                        "the Content-Encoding `{}` is not supported: use gzip, deflate, br or zstd, or send the body uncompressed",
                        Excerpt(name)
                    )));
                }
            });
        }
    }
    if codings.len() > MAX_LAYERS {
        return Err(unsupported(format!(
            "the body is compressed {} times; compress it once at most",
            codings.len()
        )));
    }
    Ok(codings)
}

fn unsupported(detail: String) -> Problem {
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding", detail)
}

type Pieces = BoxStream<'static, io::Result<Bytes>>;
type Encoded = StreamReader<Pieces, Bytes>;

fn decoded_body(body: Body, codings: &[Coding]) -> Body {
    let sent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&sent);
    let raw = body.into_data_stream().map_err(io::Error::other).inspect_ok(move |bytes| {
        count.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    });
    let decoded = codings
        .iter()
        .rev()
        .fold(raw.boxed(), |encoded, &coding| decoded(StreamReader::new(encoded), coding).boxed());
    let mut received = 0;
    let bounded = decoded.and_then(move |bytes| {
        received += bytes.len() as u64;
        let max = sent.load(Ordering::Relaxed).saturating_mul(MAX_RATIO).max(FREE_BYTES);
        let inflated = received > max;
        std::future::ready(if inflated {
            Err(io::Error::other(DecodingError::Inflated))
        } else {
            Ok(bytes)
        })
    });
    Body::from_stream(bounded.map_err(cause))
}

/// The original error inside one that went through readers.
fn cause(error: io::Error) -> Box<dyn Error + Send + Sync> {
    if error.get_ref().is_some() {
        return error.into_inner().unwrap_or_else(|| "can't read the body".into());
    }
    error.into()
}

fn decoded(mut encoded: Encoded, coding: Coding) -> impl Stream<Item = io::Result<Bytes>> + Send {
    try_stream! {
        let Some(&first) = encoded.fill_buf().await?.first() else { return };
        let mut decoder = decoder(encoded, coding, first)?;
        let mut chunk = BytesMut::new();
        loop {
            chunk.reserve(CHUNK);
            let read = decoder.read_buf(&mut chunk).await;
            if read.map_err(|error| decoding_error(coding, error))? == 0 {
                break;
            }
            yield chunk.split().freeze();
        }
    }
}

/// A decoder for what begins with the byte `first`.
fn decoder(
    encoded: Encoded,
    coding: Coding,
    first: u8,
) -> io::Result<Pin<Box<dyn AsyncRead + Send>>> {
    // All of them continue after the end of a stream: another may follow, and nothing else.
    macro_rules! of {
        ($decoder:expr) => {{
            let mut decoder = $decoder;
            decoder.multiple_members(true);
            Box::pin(decoder)
        }};
    }
    Ok(match coding {
        Coding::Gzip => of!(GzipDecoder::new(encoded)),
        // The coding is the zlib format; some clients send raw deflate, which never begins like
        // this.
        Coding::Deflate if first & 0x0F == 8 => of!(ZlibDecoder::new(encoded)),
        Coding::Deflate => of!(DeflateDecoder::new(encoded)),
        // The mark of "large window" brotli, with windows of up to 1 GiB, which is not `br`.
        Coding::Brotli if first & 0x7F == 0x11 => {
            let error = io::Error::other("window larger than 16 MiB");
            return Err(decoding_error(coding, error));
        }
        Coding::Brotli => of!(BrotliDecoder::new(encoded)),
        Coding::Zstd => {
            let window = DParameter::window_log_max(ZSTD_WINDOW_LOG);
            of!(ZstdDecoder::with_params(encoded, &[window]))
        }
    })
}

/// Wraps an error of a decoder; an error of the body below it is returned unchanged.
fn decoding_error(coding: Coding, error: io::Error) -> io::Error {
    let from_below = error
        .get_ref()
        .is_some_and(|error| error.is::<axum::Error>() || error.is::<DecodingError>());
    if from_below {
        return error;
    }
    let (coding, reason) = (coding.to_string(), error.to_string());
    io::Error::other(DecodingError::Invalid { coding, reason })
}
