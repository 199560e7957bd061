//! What a file says of its model: in its properties, for programs, and in a sentence.

use serde::Serialize;

use super::{Input, schema::StringStringEntryProto};
use crate::domain::{model::ModelCard, selective::AnswerThresholds};

/// The properties; lists and objects are in JSON. What the model doesn't have is left out.
pub(super) fn properties(card: &ModelCard) -> Vec<StringStringEntryProto> {
    let AnswerThresholds { answer_above, unlike_above } = card.thresholds;
    let all = [
        ("model", Some(card.name.to_string())),
        ("model_id", Some(card.id.to_string())),
        ("labels", json(&card.classes)),
        ("answer_above", answer_above.map(|it| it.to_string())),
        ("unlike_above", unlike_above.map(|it| it.to_string())),
        ("temperature", card.temperature.map(|it| it.to_string())),
        ("preprocessing_version", Some(card.preprocessing.version.to_string())),
        ("preprocessing", json(&card.preprocessing)),
        ("recipe", Some(card.recipe.to_string())),
        ("dataset", Some(card.dataset.to_string())),
        ("dataset_version", Some(card.dataset_version.to_string())),
        ("created_at", Some(card.created_at.to_string())),
    ];
    let entry = |(key, value): (&str, Option<String>)| {
        Some(StringStringEntryProto { key: key.to_owned(), value: value? })
    };
    all.into_iter().filter_map(entry).collect()
}

fn json(value: &impl Serialize) -> Option<String> {
    serde_json::to_string(value).ok()
}

/// What goes in, what comes out, and how to tell that the model is unsure.
pub(super) fn description(card: &ModelCard, input: Input) -> String {
    let input = match input {
        Input::Image => "`image` is one photo of any size, upright, RGB bytes [height, width, 3].",
        Input::Tensor => {
            "`pixels` are photos, upright, RGB bytes [n, height, width, 3], already resized with an \
             antialiased bilinear filter."
        }
    };
    let mut text = format!(
        "Image classifier {} of Pawprint. {input} `labels` in the metadata are its classes. It is \
         unsure if the probability of the predicted class is below `answer_above`",
        card.name
    );
    if card.architecture.embedding_width().is_some() {
        text.push_str(", or if `distance` is above `unlike_above`");
    }
    text.push('.');
    text
}
