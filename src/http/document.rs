//! The OpenAPI document, generated from the route table, and what its parts have in common.
//!
//! A handler's `#[utoipa::path]` describes what is specific to it: what it does, its parameters,
//! its responses and its own problems. Its path is in [`super::router`] alone. Problems that follow
//! from the form of a request (unknown id, invalid JSON, missing token) are added here.

use axum::http::Method;
use utoipa::{
    PartialSchema as _, ToSchema as _,
    openapi::{
        Components, Info, KnownFormat, License, ObjectBuilder, OpenApi, OpenApiBuilder, Paths, Ref,
        RefOr, Required, Response, SchemaFormat, Type,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem},
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use super::{auth::required_scope, problem::Problem, rate_limit::EXEMPT, state::AppState};
use crate::domain::access::Scope;

const BEARER: &str = "token";

/// A table of routes: each line maps a path to handlers and their documentation.
pub trait RouteTable {
    /// Adds the handlers of `routes!` under `path`.
    #[must_use]
    fn at(self, path: &str, handlers: UtoipaMethodRouter<AppState>) -> Self;

    /// Tags the whole table; the tag also makes operation ids unique.
    #[must_use]
    fn tagged(self, tag: &str) -> Self;

    /// Requires the token for the whole table.
    #[must_use]
    fn require_token(self) -> Self;
}

impl RouteTable for OpenApiRouter<AppState> {
    fn at(self, path: &str, (schemas, paths, handlers): UtoipaMethodRouter<AppState>) -> Self {
        let mut items = paths.paths.into_values();
        let mut paths = Paths::new();
        if let Some(mut item) = items.next() {
            items.for_each(|other| item.merge_operations(other));
            operations(&mut item).for_each(|operation| add_common_responses(path, operation));
            paths.paths.insert(path.to_owned(), item);
        }
        self.routes((schemas, paths, handlers))
    }

    fn tagged(mut self, tag: &str) -> Self {
        for operation in self.get_openapi_mut().paths.paths.values_mut().flat_map(operations) {
            operation.tags = Some(vec![tag.to_owned()]);
            let name = operation.operation_id.take().unwrap_or_default();
            operation.operation_id = Some(if name == tag { name } else { format!("{tag}_{name}") });
        }
        self
    }

    fn require_token(mut self) -> Self {
        for (path, item) in &mut self.get_openapi_mut().paths.paths {
            for (method, operation) in methods(item) {
                let scope = required_scope(path, &method);
                // No token is needed if the server has none.
                operation.security = Some(vec![
                    SecurityRequirement::new(BEARER, scope.map(Scope::as_str)),
                    SecurityRequirement::default(),
                ]);
                add_error_response(operation, 401, "`unauthorized`: missing or invalid API token.");
                let lacking = match scope {
                    Some(scope) => format!("the API token lacks the scope `{}`", scope.as_str()),
                    None => "the API token is not one of the server's settings".to_owned(),
                };
                add_error_response(
                    operation,
                    403,
                    &format!(
                        "`forbidden`: {lacking}. `cross_site`: cross-site request while no API token is set."
                    ),
                );
                if !EXEMPT.contains(&path.as_str()) {
                    add_rate_limited(operation);
                }
            }
        }
        self
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    methods(item).map(|(_, operation)| operation)
}

fn methods(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    let PathItem { get, put, post, delete, patch, .. } = item;
    let all = [
        (Method::GET, get),
        (Method::PUT, put),
        (Method::POST, post),
        (Method::DELETE, delete),
        (Method::PATCH, patch),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// Adds the problems that follow from the form of a request.
fn add_common_responses(path: &str, operation: &mut Operation) {
    name_parameters(path, operation);
    let parameters = operation.parameters.iter().flatten();
    let has = |place: ParameterIn| {
        parameters.clone().any(
            |parameter| matches!(parameter, RefOr::T(parameter) if parameter.parameter_in == place),
        )
    };
    let (by_name, queried) = (has(ParameterIn::Path), has(ParameterIn::Query));
    let json = operation.request_body.iter().any(
        |body| matches!(body, RefOr::T(body) if body.content.contains_key("application/json")),
    );
    if by_name {
        add_error_response(operation, 404, "`not_found`: unknown name or id.");
    }
    if json {
        add_error_response(operation, 400, "`malformed`: invalid JSON.");
        add_error_response(operation, 413, "`too_large`");
        let other = "`not_json`: a `Content-Type` other than `application/json`. `unsupported_encoding`: a `Content-Encoding` other than gzip, deflate, br and zstd.";
        add_error_response(operation, 415, other);
    }
    if operation.request_body.is_some() {
        add_error_response(operation, 408, "`too_slow`: the body arrives too slowly.");
        add_error_response(operation, 503, "`draining`: the server is shutting down.");
        add_error_response(
            operation,
            415,
            "`unsupported_encoding`: a `Content-Encoding` other than gzip, deflate, br and zstd.",
        );
    }
    if json || queried {
        add_error_response(operation, 422, "`invalid_value`");
    }
    add_error_response(
        operation,
        500,
        "`internal`: see the server log for this response's `X-Request-Id`.",
    );
    for (status, response) in &mut operation.responses.responses {
        if let (true, RefOr::T(response)) = (status.starts_with(['4', '5']), response) {
            response.content = problem(String::new()).content;
        }
    }
}

/// Adds a problem, unless the handler describes it.
fn add_error_response(operation: &mut Operation, status: u16, description: &str) {
    let responses = &mut operation.responses.responses;
    responses.entry(status.to_string()).or_insert_with(|| problem(description.to_owned()).into());
}

/// Adds the problem of `--rate-limit` to what the handler describes.
fn add_rate_limited(operation: &mut Operation) {
    let text = "`rate_limited`: more requests per second than `--rate-limit`.";
    match operation.responses.responses.get_mut("429") {
        Some(RefOr::T(response)) => {
            response.description = format!("{} {text}", response.description);
        }
        _ => add_error_response(operation, 429, text),
    }
}

fn problem(description: String) -> Response {
    let body = utoipa::openapi::Content::new(Some(Ref::from_schema_name(Problem::name())));
    let mut response = Response::new(description);
    response.content.insert("application/problem+json".to_owned(), body.into());
    response
}

/// Adds each `{name}` of the path that the handler does not describe itself.
fn name_parameters(path: &str, operation: &mut Operation) {
    let parameters = operation.parameters.get_or_insert_default();
    for name in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
        let known =
            |parameter: &RefOr<Parameter>| matches!(parameter, RefOr::T(it) if it.name == name);
        if parameters.iter().any(known) {
            continue;
        }
        let text = ObjectBuilder::new().schema_type(Type::String);
        let (schema, description) = if name == "image" || name == "prediction" {
            let format = SchemaFormat::KnownFormat(KnownFormat::Uuid);
            let article = if name == "image" { "an" } else { "a" };
            (text.format(Some(format)), format!("Id of {article} {name}"))
        } else if name == "base" {
            (text.min_length(Some(1)), "Name of a base network".to_owned())
        } else {
            (text.min_length(Some(1)), format!("Name or id of a {name}"))
        };
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .description(Some(description))
            .schema(Some(schema));
        parameters.push(parameter.build().into());
    }
    // The path's first, in its order.
    parameters.sort_by_key(|parameter| match parameter {
        RefOr::T(it) if it.parameter_in == ParameterIn::Path => {
            path.find(&format!("{{{}}}", it.name))
        }
        _ => Some(usize::MAX),
    });
}

/// The whole document of a table.
#[must_use]
pub fn document(table: OpenApiRouter<AppState>) -> OpenApi {
    let mut info = Info::new("Pawprint", env!("CARGO_PKG_VERSION"));
    info.description = Some(env!("CARGO_PKG_DESCRIPTION").to_owned());
    info.license = Some(License::new(env!("CARGO_PKG_LICENSE")));
    let token = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("API token, if the server requires one: of its settings (`--api-token`), or created by `POST /tokens` for the scopes that an operation lists"))
        .build();
    let mut components = Components::new();
    components.schemas.insert(Problem::name().into_owned(), Problem::schema());
    components.add_security_scheme(BEARER, SecurityScheme::Http(token));
    let base = OpenApiBuilder::new().info(info).components(Some(components)).build();
    OpenApiRouter::with_openapi(base).merge(table).into_openapi()
}
