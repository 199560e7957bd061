//! The response of an inference: its JSON, followed by the tensors that were requested as binary
//! data.

use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::{
    VERSION,
    request::{HEADER_LENGTH, Output, Requested},
};
use crate::{domain::prediction::Prediction, http::extract::Json, inference::Engine};

/// A model's output for the images of a request.
#[derive(Debug)]
pub struct InferResponse<'a> {
    /// The model.
    pub engine: &'a Engine,
    /// The request's id, if it has one.
    pub id: Option<String>,
    /// Its prediction for each image.
    pub predictions: &'a [Prediction],
}

impl InferResponse<'_> {
    /// The response with those outputs, in order.
    #[must_use]
    pub fn write(self, outputs: &[Requested]) -> Response {
        let predictions = self.predictions;
        let mut binary = Vec::new();
        let tensors: Vec<_> =
            outputs.iter().map(|output| self.tensor(predictions, *output, &mut binary)).collect();
        let mut answer = json!({
            "model_name": self.engine.card().name,
            "model_version": VERSION,
            "outputs": tensors,
        });
        if let Some(id) = self.id {
            answer["id"] = id.into();
        }
        let ids: Vec<_> = predictions.iter().filter_map(|prediction| prediction.id).collect();
        if !ids.is_empty() {
            answer["parameters"] = json!({ "prediction_ids": ids });
        }
        if !outputs.iter().any(|output| output.binary) {
            return Json(answer).into_response();
        }
        let mut body = answer.to_string().into_bytes();
        let length = body.len();
        body.extend(binary);
        // A binary body is `application/octet-stream`, as the extension requires.
        ([(HEADER_LENGTH, length.to_string())], body).into_response()
    }

    /// The description of an output, with its data inside it or appended to `binary`.
    fn tensor(&self, of: &[Prediction], output: Requested, binary: &mut Vec<u8>) -> Value {
        let before = binary.len();
        let (mut tensor, data) = match output.output {
            Output::Label => {
                let labels = of.iter().map(|prediction| &*prediction.label);
                if output.binary {
                    labels.clone().for_each(|label| push_element(binary, label));
                }
                let shape = json!([of.len()]);
                (json!({ "datatype": "BYTES", "shape": shape }), labels.collect::<Value>())
            }
            Output::Probabilities => {
                let numbers = of.iter().flat_map(|prediction| self.in_order(prediction));
                if output.binary {
                    binary.extend(numbers.clone().flat_map(f32::to_le_bytes));
                }
                let shape = json!([of.len(), self.engine.card().classes.names().len()]);
                (json!({ "datatype": "FP32", "shape": shape }), numbers.collect::<Value>())
            }
        };
        tensor["name"] = output.output.as_str().into();
        if output.binary {
            tensor["parameters"] = json!({ "binary_data_size": binary.len() - before });
        } else {
            tensor["data"] = data;
        }
        tensor
    }

    /// The probability of each class, in the order of their indices.
    #[expect(clippy::cast_possible_truncation, reason = "the protocol's type is FP32")]
    fn in_order(&self, prediction: &Prediction) -> impl Iterator<Item = f32> + Clone {
        let classes = self.engine.card().classes.names().iter();
        classes.filter_map(|class| prediction.probabilities.get(class)).map(|it| *it as f32)
    }
}

/// An element of a `BYTES` tensor: its length in four bytes, then its bytes.
fn push_element(binary: &mut Vec<u8>, element: &str) {
    // A class name has 100 characters at most.
    let length = u32::try_from(element.len()).unwrap_or(u32::MAX);
    binary.extend(length.to_le_bytes());
    binary.extend(element.as_bytes());
}
