//! The one input of a request: its images, in base64 within the JSON or as binary data after it.
//!
//! Nothing is trusted: declared shapes and lengths are checked against the data and the limits
//! before any memory is allocated.

use std::{borrow::Cow, fmt};

use bytes::{Buf as _, Bytes};
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{invalid, malformed, shared_memory};
use crate::{
    domain::excerpt::{Excerpt, shorten_quote},
    http::{b64, problem::Problem, request_body},
};

/// Maximum characters of a shape; a longer one is invalid.
const MAX_SHAPE: usize = 100;

/// An input in the JSON of a request.
#[derive(Debug, Deserialize)]
pub struct Input<'a> {
    name: String,
    datatype: String,
    #[serde(borrow)]
    shape: &'a RawValue,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    parameters: Option<InputParameters>,
}

#[derive(Debug, Default, Deserialize)]
struct InputParameters {
    binary_data_size: Option<u64>,
    shared_memory_region: Option<String>,
}

/// An encoded image as received.
#[derive(Debug, PartialEq, Eq)]
pub enum Image<'a> {
    /// In base64.
    Text(Cow<'a, str>),
    /// As it is.
    Bytes(Bytes),
}

impl Image<'_> {
    /// Its bytes.
    ///
    /// # Errors
    /// It is not valid base64.
    pub fn bytes(self, index: usize) -> Result<Bytes, Problem> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Text(text) => b64::decode(&text).map(Bytes::from).map_err(|error| {
                let problem = invalid(format!("element {index} of `image`: {error}"));
                problem.with("index", index)
            }),
        }
    }
}

/// The images of the input, at most `most`; `binary` is the data after the JSON.
///
/// # Errors
/// 400 for wrong lengths, 413 for more images, 422 for any other tensor than `image`.
pub fn images<'a>(
    input: &Input<'a>,
    binary: Bytes,
    max_images: usize,
) -> Result<Vec<Image<'a>>, Problem> {
    let Input { name, datatype, shape, data, parameters } = input;
    if name != "image" {
        return Err(invalid(format!("unknown input `{}`; expected `image`", Excerpt(name))));
    }
    if datatype != "BYTES" {
        return Err(invalid(format!(
            "`image` must have datatype BYTES, not {}; each element is an encoded image (e.g. JPEG)",
            Excerpt(datatype)
        )));
    }
    let count = count(shape, max_images)?;
    let parameters = parameters.as_ref();
    if parameters.is_some_and(|it| it.shared_memory_region.is_some()) {
        return Err(shared_memory());
    }
    let size = parameters.and_then(|it| it.binary_data_size);
    if size.unwrap_or(0) != binary.len() as u64 {
        return Err(malformed(format!(
            "binary_data_size of `image` is {}, but {} bytes follow the JSON (it ends at Inference-Header-Content-Length)",
            size.unwrap_or(0),
            binary.len()
        )));
    }
    let images: Vec<_> = match (data, size) {
        (Some(data), None) => texts(data, count)?.into_iter().map(Image::Text).collect(),
        (None, Some(_)) => elements(binary, count)?.into_iter().map(Image::Bytes).collect(),
        (None, None) => {
            return Err(invalid("`image` has neither data nor binary_data_size"));
        }
        (Some(_), Some(_)) => {
            return Err(invalid("`image` has both data and binary_data_size"));
        }
    };
    if images.len() < count {
        return Err(invalid(format!(
            "`image` has {} elements, but its shape declares {count}",
            images.len()
        )));
    }
    Ok(images)
}

/// The number of elements of a tensor of that shape.
fn count(shape: &RawValue, max_images: usize) -> Result<usize, Problem> {
    let text = shape.get();
    let dimensions: Option<Vec<u64>> =
        Some(text).filter(|it| it.len() <= MAX_SHAPE).and_then(|it| serde_json::from_str(it).ok());
    let Some([count] | [count, 1]) = dimensions.as_deref() else {
        let text: String = text.chars().take(MAX_SHAPE).collect();
        return Err(invalid(format!("`image` must have shape [n] or [n, 1], not {text}")));
    };
    if *count > max_images as u64 {
        return Err(request_body::too_many_images(max_images));
    }
    Ok(*count as usize)
}

/// The elements of a binary tensor: each its length in four bytes, then its bytes.
fn elements(mut tensor: Bytes, count: usize) -> Result<Vec<Bytes>, Problem> {
    let mut elements = Vec::with_capacity(count);
    while !tensor.is_empty() {
        if elements.len() == count {
            return Err(invalid(format!(
                "`image` has more than the {count} elements in its shape; {} bytes remain",
                tensor.len()
            )));
        }
        let length = tensor.try_get_u32_le().map_or(u64::MAX, u64::from);
        if length > tensor.len() as u64 {
            return Err(malformed(format!(
                "element {} of `image` is truncated; each element is a 4-byte little-endian length followed by that many bytes",
                elements.len()
            )));
        }
        elements.push(tensor.split_to(length as usize));
    }
    Ok(elements)
}

/// The elements of a tensor in JSON, flat or nested.
fn texts<'a>(data: &'a RawValue, count: usize) -> Result<Vec<Cow<'a, str>>, Problem> {
    if !data.get().starts_with('[') {
        return Err(invalid("data of `image` must be a list of base64 strings"));
    }
    let mut texts = Vec::with_capacity(count);
    Texts { texts: &mut texts, count }
        .deserialize(&mut serde_json::Deserializer::from_str(data.get()))
        .map_err(|error| {
            invalid(format!("data of `image`: {}", shorten_quote(&error.to_string())))
        })?;
    Ok(texts)
}

/// Collects at most `count` strings, however many there are.
struct Texts<'t, 'de> {
    texts: &'t mut Vec<Cow<'de, str>>,
    count: usize,
}

impl<'de> Texts<'_, 'de> {
    fn push<E: de::Error>(self, text: Cow<'de, str>) -> Result<(), E> {
        if self.texts.len() == self.count {
            return Err(E::custom(format_args!(
                "more than the {} elements in its shape",
                self.count
            )));
        }
        self.texts.push(text);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Texts<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Texts<'_, 'de> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an image in base64")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<(), E> {
        self.push(Cow::Borrowed(text))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        self.push(Cow::Owned(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Texts { texts: self.texts, count: self.count })?.is_some() {}
        Ok(())
    }
}
