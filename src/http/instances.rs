//! Images in JSON: `{"instances": […]}`, as `POST /predict` and TensorFlow Serving's clients send
//! it.

use std::{borrow::Cow, fmt};

use axum::{body::Bytes, http::StatusCode};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Ref, RefOr, Schema, Type},
};

use super::{b64, problem::Problem};

/// Maximum number of instances that are parsed; how many are accepted is a setting, with a far
/// lower limit.
const MAX_INSTANCES: usize = 100_000;

/// Images in JSON.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object with the member `instances`")]
pub struct Instances<'a> {
    /// The images, in request order.
    #[serde(borrow, deserialize_with = "bounded")]
    pub instances: Vec<Instance<'a>>,
}

impl PartialSchema for Instances<'_> {
    fn schema() -> RefOr<Schema> {
        let instances =
            ArrayBuilder::new().items(Ref::from_schema_name(Instance::name())).min_items(Some(1));
        ObjectBuilder::new().property("instances", instances).required("instances").into()
    }
}

impl ToSchema for Instances<'_> {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Instance::name().into_owned(), Instance::schema()));
    }
}

/// One image: its base64, and the member it was in.
#[derive(Debug)]
pub struct Instance<'a> {
    text: Cow<'a, str>,
    member: &'static str,
}

impl PartialSchema for Instance<'_> {
    fn schema() -> RefOr<Schema> {
        let text = || ObjectBuilder::new().schema_type(Type::String).content_encoding("base64");
        let object = || ObjectBuilder::new().property("b64", text()).required("b64");
        let serving = ObjectBuilder::new()
            .description(Some("Format of TensorFlow Serving clients"))
            .property("image_bytes", object())
            .required("image_bytes");
        let description = "Base64-encoded image file, standard or URL-safe, padding and line breaks optional, or a `data:` URL";
        OneOfBuilder::new()
            .description(Some(description))
            .item(text())
            .item(object())
            .item(serving)
            .into()
    }
}

impl ToSchema for Instance<'_> {}

impl Instance<'_> {
    /// The image's encoded bytes.
    ///
    /// # Errors
    /// 422: it is not valid base64; the detail gives the position.
    pub fn bytes(&self, index: usize) -> Result<Bytes, Problem> {
        b64::decode(&self.text).map(Bytes::from).map_err(|error| {
            let detail = format!("instances[{index}]{}: {error}", self.member);
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_value", detail)
                .with("index", index)
        })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Instance<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyForm)
    }
}

/// Bounds the list: a body of nothing but commas and quotation marks must not become gigabytes.
fn bounded<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Instance<'a>>, D::Error> {
    struct Bounded;

    impl<'de> Visitor<'de> for Bounded {
        type Value = Vec<Instance<'de>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of images")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut instances = Vec::new();
            while let Some(instance) = list.next_element()? {
                if instances.len() == MAX_INSTANCES {
                    let detail = format_args!("more than {MAX_INSTANCES} instances");
                    return Err(A::Error::custom(detail));
                }
                instances.push(instance);
            }
            Ok(instances)
        }
    }

    deserializer.deserialize_seq(Bounded)
}

struct AnyForm;

impl<'de> Visitor<'de> for AnyForm {
    type Value = Instance<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an image in base64, or an object with the member `b64`")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Instance { text: Cow::Borrowed(text), member: "" })
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Instance { text: Cow::Owned(text.to_owned()), member: "" })
    }

    fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
        Ok(Instance { text: Cow::Owned(text), member: "" })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found: Option<Instance<'de>> = None;
        while let Some(name) = members.next_key::<Cow<'de, str>>()? {
            let known = matches!(&*name, "b64" | "image_bytes");
            if !known {
                members.next_value::<IgnoredAny>()?;
                continue;
            }
            if found.is_some() {
                return Err(A::Error::custom("an instance must contain exactly one image"));
            }
            let Instance { text, member } = members.next_value()?;
            let member = match (&*name, member) {
                ("b64", "") => ".b64",
                ("image_bytes", "") => ".image_bytes",
                ("image_bytes", ".b64") => ".image_bytes.b64",
                _ => return Err(A::Error::custom("`b64` must be a string of base64")),
            };
            found = Some(Instance { text, member });
        }
        found.ok_or_else(|| A::Error::missing_field("b64"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::body;

    fn read(json: &str) -> Result<Vec<Bytes>, Problem> {
        let Instances { instances } = body::json(json.as_bytes())?;
        instances.iter().enumerate().map(|(index, it)| it.bytes(index)).collect()
    }

    fn refusal(json: &str) -> String {
        format!("{:?}", read(json).unwrap_err())
    }

    #[test]
    fn every_form_of_an_instance_is_read_also_mixed() {
        let json = r#"{"signature_name": "serving_default", "instances": [
            "QUJD", {"b64": "QUJD"}, {"b64": "QU\nJD", "key": 1}, {"image_bytes": {"b64": "QUJD"}},
            {"image_bytes": "QUJD"}, "data:image/jpeg;base64,QUJD"
        ]}"#;
        assert_eq!(read(json).unwrap(), vec![Bytes::from("ABC"); 6]);
    }

    #[test]
    fn an_error_says_which_instance_and_where() {
        for (json, said) in [
            (
                r#"{"instances": ["QUJD", "QU%D"]}"#,
                "instances[1]: invalid base64: character '%' at position 2",
            ),
            (r#"{"instances": [{"b64": "Q"}]}"#, "instances[0].b64: "),
            (r#"{"instances": [{"image_bytes": {"b64": "!"}}]}"#, "instances[0].image_bytes.b64: "),
            (r#"{"instances": ["QUJD", 7]}"#, "instances[1]: "),
            (r#"{"instances": [[255, 216]]}"#, "instances[0]: "),
            (r#"{"instances": [{"url": "x"}]}"#, "instances[0]: missing field `b64`"),
            (r#"{"instances": [{"b64": {"b64": "QUJD"}}]}"#, "must be a string"),
            (r#"{"images": []}"#, "missing field `instances`"),
        ] {
            let refusal = refusal(json);
            assert!(refusal.contains(said), "{json}: {refusal}");
        }
        let many = format!(r#"{{"instances": [""{}]}}"#, r#","""#.repeat(MAX_INSTANCES));
        assert!(refusal(&many).contains("more than 100000 instances"));
        let long = format!(r#"{{"instances": ["{}!"]}}"#, "QUJD".repeat(100_000));
        assert!(refusal(&long).len() < 400);
    }
}
