//! The OpenAPI 3.1 document: made from the annotations of the routes and completed from the permission table.

use axum::http::StatusCode;
use usp_auth::Permission;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn, PathItem, Paths};
use utoipa::openapi::schema::{Schema, SchemaType, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, OpenApi as Document, Ref, RefOr, Response};
use utoipa::{Modify, OpenApi};

use crate::problem::{Problem, ProblemField};

const SCHEME: &str = "bearer";
const PROBLEM_MEDIA_TYPE: &str = "application/problem+json";

/// The document without its operations.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "usp",
        description = "Upload Store Process: files in, every byte kept once, processed by rules, watched live.\n\n\
            Times are RFC 3339 UTC with milliseconds, sizes are bytes. Unknown JSON fields and query parameters are \
            refused with 400. Every failure is a problem document (RFC 9457): match on its `code`. \
            `X-Request-Id` is taken over from the request or drawn, and stands in every answer.",
        license(name = "MIT", identifier = "MIT"),
    ),
    components(schemas(Problem, ProblemField)),
    modifiers(&Bearer),
    tags(
        (name = "auth", description = "Tokens, and who the caller is."),
        (name = "buckets", description = "Where files live, and under which policy."),
        (name = "files", description = "Content, its versions, labels and status."),
        (name = "uploads", description = "Resumable uploads, after tus 1.0.0."),
        (name = "runs", description = "Rules applied to files, step by step."),
        (name = "rules", description = "Which files are processed, by which steps."),
        (name = "events", description = "What happens, as it happens."),
        (name = "administration", description = "Users, API keys, sums."),
        (name = "service", description = "Health and documentation."),
    ),
)]
struct FrontPage;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut Document) {
        let mut scheme = Http::new(HttpAuthScheme::Bearer);
        scheme.description = Some("A JWT from POST /api/v1/auth/token, or an API key.".to_owned());
        document
            .components
            .get_or_insert_default()
            .security_schemes
            .insert(SCHEME.to_owned(), SecurityScheme::Http(scheme).into());
    }
}

pub(crate) fn front_page() -> Document {
    FrontPage::openapi()
}

/// Finishes the document once all routes have declared themselves.
pub(crate) fn finish(mut document: Document) -> String {
    plain_paths(&mut document.paths);
    document.to_pretty_json().unwrap_or_default()
}

/// Who may use a route, as its line in the table declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anyone, without a credential.
    Public,
    /// Callers that hold this permission.
    Takes(Permission),
}

/// Completes the operations of one route with what its place in the permission table says.
pub(crate) fn declare(mut paths: Paths, access: Access) -> Paths {
    for item in paths.paths.values_mut() {
        name_head(item);
        for operation in operations(item) {
            declare_operation(operation, access);
        }
    }
    paths
}

/// Whether any operation documents a query parameter.
pub(crate) fn takes_parameters(paths: &Paths) -> bool {
    let of_query = |parameter: &RefOr<Parameter>| match parameter {
        RefOr::T(parameter) => matches!(parameter.parameter_in, ParameterIn::Query),
        RefOr::Ref(_) => true,
    };
    let items = paths.paths.values();
    let all = items.flat_map(|item| {
        [&item.get, &item.put, &item.post, &item.delete, &item.head, &item.patch, &item.options]
    });
    all.flatten().flat_map(|operation| operation.parameters.iter().flatten()).any(of_query)
}

/// The router's `{*key}` is `{key}` to everyone else.
fn plain_paths(paths: &mut Paths) {
    let found = std::mem::take(&mut paths.paths);
    paths.paths = found.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
}

/// GET and HEAD share a handler, but operation ids are unique.
fn name_head(item: &mut PathItem) {
    if let Some(id) = item.head.as_mut().and_then(|head| head.operation_id.as_mut()) {
        id.insert_str(0, "head_");
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, head, patch, options, .. } = item;
    [get, put, post, delete, head, patch, options].into_iter().flatten()
}

fn declare_operation(operation: &mut Operation, access: Access) {
    let word = match access {
        Access::Public => {
            operation.security = Some(Vec::new());
            "public"
        }
        Access::Takes(permission) => {
            operation.security = Some(vec![SecurityRequirement::new(SCHEME, Vec::<String>::new())]);
            let missing = RefOr::T(Response::new("No credential, or one that does not hold."));
            operation.responses.responses.entry("401".to_owned()).or_insert(missing);
            permission.as_str()
        }
    };
    let extension = ExtensionsBuilder::new().add("x-usp-permission", word).build();
    operation.extensions.get_or_insert_default().merge(extension);
    let other = RefOr::T(Response::new("Any other failure."));
    operation.responses.responses.entry("default".to_owned()).or_insert(other);
    for parameter in operation.parameters.iter_mut().flatten() {
        tidy_parameter(parameter);
    }
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        if response.description.is_empty() {
            response.description = reason(status).to_owned();
        }
        if is_failure(status) {
            let problem = Content::new(Some(Ref::from_schema_name("Problem")));
            response.content.entry(PROBLEM_MEDIA_TYPE.to_owned()).or_insert(RefOr::T(problem));
        }
    }
}

fn code(status: &str) -> Option<StatusCode> {
    status.parse::<u16>().ok().and_then(|code| StatusCode::from_u16(code).ok())
}

fn is_failure(status: &str) -> bool {
    code(status).is_none_or(|code| code.is_client_error() || code.is_server_error())
}

fn reason(status: &str) -> &'static str {
    code(status).and_then(|code| code.canonical_reason()).unwrap_or("Done.")
}

/// A header may be absent, but it is never `null`.
fn tidy_parameter(parameter: &mut RefOr<Parameter>) {
    if let RefOr::T(parameter) = parameter
        && let Some(RefOr::T(Schema::Object(schema))) = &mut parameter.schema
        && let SchemaType::Array(types) = &mut schema.schema_type
    {
        types.retain(|known| *known != Type::Null);
        if let [only] = types.as_slice() {
            schema.schema_type = SchemaType::Type(only.clone());
        }
    }
}
