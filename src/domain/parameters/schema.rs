//! OpenAPI schemas of the parameters.

use serde_json::Value;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type,
        schema::{AdditionalProperties, SchemaType},
    },
};

use super::{
    overrides::ParamOverrides,
    parameter::{Kind, Parameter},
    table::{PARAMETERS, Params},
};

impl PartialSchema for Params {
    fn schema() -> RefOr<Schema> {
        let object = ObjectBuilder::new()
            .description(Some("Training parameters of a job, defaults included."));
        let object = PARAMETERS.iter().fold(object, |object, parameter| {
            let schema = property(parameter, !parameter.is_required());
            let schema = match parameter.kind {
                Kind::Job => schema.format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid))),
                _ => schema,
            };
            let object = object.property(parameter.name, schema);
            if parameter.is_required() { object.required(parameter.name) } else { object }
        });
        object.into()
    }
}

impl ToSchema for Params {}

impl PartialSchema for ParamOverrides {
    fn schema() -> RefOr<Schema> {
        let object = ObjectBuilder::new()
            .description(Some("Training parameters; omitted ones use the recipe's defaults."))
            .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)));
        let object = PARAMETERS.iter().fold(object, |object, parameter| {
            object.property(parameter.name, property(parameter, true))
        });
        object.into()
    }
}

impl ToSchema for ParamOverrides {}

fn property(parameter: &Parameter, nullable: bool) -> ObjectBuilder {
    let object = ObjectBuilder::new().description(Some(format!("{}.", parameter.help())));
    let typed = |object: ObjectBuilder, kind: Type| {
        if nullable {
            object.schema_type(SchemaType::Array(vec![kind, Type::Null]))
        } else {
            object.schema_type(kind)
        }
    };
    match parameter.kind {
        Kind::Integer { minimum, maximum } => {
            typed(object, Type::Integer).minimum(Some(minimum as f64)).maximum(Some(maximum as f64))
        }
        Kind::Number { exclusive_minimum, maximum } => typed(object, Type::Number)
            .exclusive_minimum(Some(exclusive_minimum))
            .maximum(Some(maximum)),
        Kind::Choice { choices } => {
            let words = choices.iter().map(|&word| Value::from(word));
            let null = nullable.then_some(Value::Null);
            typed(object, Type::String).enum_values(Some(words.chain(null)))
        }
        Kind::Job => typed(object, Type::String),
    }
}
