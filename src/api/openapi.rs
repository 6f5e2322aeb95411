//! The OpenAPI document: what the handlers say of themselves, and what all routes have in common,
//! from the one list of routes. Served at `/openapi.json`; a test holds `schemas/openapi.json` to
//! it.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use actix_web::http::Method;
use utoipa::OpenApi;
use utoipa::openapi::header::Header;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, Ref, RefOr, Required};

use crate::error::{Code, ProblemBody};
use crate::routes::auth::{authorize, callback, custom_token, id_token, identities, passkeys};
use crate::routes::auth::{
    codes, confirm, contact, exchange, inbox, me, mfa, password, published, recover, sessions,
};
use crate::routes::users::{act, edit, list, personal};
use crate::routes::{
    Access, ROUTES, Route, channels, cluster, collections, commit, documents, events, history,
    import, indexes, keys, messages, people, projects, queries, rules, schemas, sign_in,
    signing_keys, status,
};
use crate::socket::{sse, websocket};

/// What an id looks like.
const ID_PATTERN: &str = "^[A-Za-z0-9-][A-Za-z0-9_.-]{0,127}$";
/// What the id of a signing key looks like: base64url.
const SIGNING_KEY_PATTERN: &str = "^[A-Za-z0-9_-]{1,64}$";
/// What the name of a channel looks like, or the beginning of several and a star.
const CHANNEL_PATTERN: &str =
    "^(\\*|[A-Za-z0-9-][A-Za-z0-9_.-]{0,127}|[A-Za-z0-9-][A-Za-z0-9_.-]{0,126}\\.\\*)$";
/// What a position looks like; larger ones are read, too.
const POSITION_PATTERN: &str = "^(0|[1-9][0-9]{0,8})-(0|[1-9][0-9]{0,17})$";
/// The name of the only way to authenticate.
const BEARER: &str = "bearer";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Headwater",
        description = "A self-hosted backend whose only truth is a streaming log.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        cluster::get,
        status::health,
        status::ready,
        status::metrics,
        status::openapi,
        projects::create,
        projects::list,
        projects::get,
        projects::patch,
        projects::delete,
        keys::create,
        keys::list,
        keys::rotate,
        keys::delete,
        collections::put,
        collections::list,
        collections::get,
        collections::delete,
        indexes::list,
        schemas::try_schema,
        channels::put,
        channels::list,
        channels::get,
        channels::delete,
        messages::publish,
        messages::present,
        rules::try_draft,
        documents::create,
        queries::list,
        queries::query,
        documents::get,
        documents::put,
        documents::patch,
        documents::delete,
        history::list,
        history::restore,
        commit::commit,
        events::list,
        import::import,
        password::sign_up,
        password::sign_in,
        password::anonymous,
        exchange::exchange,
        confirm::show,
        confirm::confirm,
        codes::send_verification,
        codes::magic_link,
        codes::email_code,
        codes::phone_code,
        codes::verify_code,
        recover::recover,
        recover::reset,
        recover::change,
        recover::reauthenticate,
        contact::email,
        contact::phone,
        contact::verify_phone,
        contact::upgrade,
        mfa::create,
        mfa::confirm,
        mfa::verify,
        mfa::delete,
        mfa::recovery_codes,
        inbox::list,
        sessions::refresh,
        sessions::sign_out,
        sessions::list,
        sessions::end,
        me::get,
        me::userinfo,
        me::patch,
        personal::delete_me,
        list::list,
        list::get,
        list::sessions,
        edit::create,
        edit::patch,
        personal::delete,
        personal::export,
        act::sign_out,
        act::impersonate,
        act::link,
        people::get,
        people::put,
        sign_in::get,
        sign_in::put,
        signing_keys::list,
        signing_keys::create,
        signing_keys::delete,
        identities::providers,
        authorize::begin,
        callback::get,
        callback::post,
        id_token::sign_in,
        custom_token::sign_in,
        identities::list,
        identities::link,
        identities::finish_link,
        identities::link_id_token,
        identities::unlink,
        passkeys::begin_register,
        passkeys::finish_register,
        passkeys::begin_sign_in,
        passkeys::finish_sign_in,
        passkeys::list,
        passkeys::get,
        passkeys::patch,
        passkeys::delete,
        published::keys,
        published::discovery,
        websocket::connect,
        sse::follow,
    ),
    components(schemas(ProblemBody))
)]
struct Handlers;

/// The whole document.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut document = Handlers::openapi();
    for route in ROUTES {
        let item = document.paths.paths.get_mut(route.pattern);
        if let Some(operation) = item.and_then(|item| operation_mut(item, &route.method)) {
            complete(operation, route);
        }
    }
    let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
        "A project's secret key (`hw_sk_…`) or publishable key (`hw_pk_…`), or the \
         administrator's token.",
    ));
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(BEARER, SecurityScheme::Http(scheme.build()));
    document
}

fn operation_mut<'a>(item: &'a mut PathItem, method: &Method) -> Option<&'a mut Operation> {
    let operation = match method.as_str() {
        "GET" => &mut item.get,
        "PUT" => &mut item.put,
        "POST" => &mut item.post,
        "PATCH" => &mut item.patch,
        "DELETE" => &mut item.delete,
        _ => return None,
    };
    operation.as_mut()
}

/// Adds what follows from the route's kind.
fn complete(operation: &mut Operation, route: &Route) {
    let has_body = operation.request_body.is_some();
    let of_path = route.pattern.split(['{', '}']).skip(1).step_by(2);
    let is_pattern = route.pattern.ends_with("/channels/{channel}");
    let of_path = of_path.map(|name| path_parameter(name, is_pattern));
    let mut parameters: Vec<RefOr<Parameter>> = of_path.map(RefOr::T).collect();
    let own = operation.parameters.take().unwrap_or_default();
    parameters.extend(own.into_iter().filter(|one| !is_of_path(one)).map(without_null));
    if !matches!(route.access, Access::Open | Access::Visitor) {
        let scopes: [&str; 0] = [];
        operation.security = Some(vec![SecurityRequirement::new(BEARER, scopes)]);
    }
    if route.access != Access::Open {
        parameters.extend(header_parameters(route).map(RefOr::T));
    }
    operation.parameters = Some(parameters).filter(|parameters| !parameters.is_empty());
    if let Some(RefOr::T(body)) = &mut operation.request_body {
        body.required = Some(Required::True);
    }
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            add_headers(response, route);
        }
    }
    for (status, codes) in problems(route, has_body) {
        let mut answer = problem(status, &codes);
        if route.pattern.ends_with("/auth/confirm") {
            // Whoever followed a link reads it in a browser.
            let page = Content::new(Some(ObjectBuilder::new().schema_type(Type::String)));
            answer.content.insert("text/html".to_owned(), RefOr::T(page));
        }
        operation.responses.responses.insert(status.to_string(), RefOr::T(answer));
    }
}

/// Whether a handler names a parameter of its path, which is described for all routes alike.
fn is_of_path(parameter: &RefOr<Parameter>) -> bool {
    matches!(parameter, RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Path)
}

/// A parameter may be missing, but there is no way to write `null` in a query or a header.
fn without_null(mut parameter: RefOr<Parameter>) -> RefOr<Parameter> {
    if let RefOr::T(Parameter { schema: Some(RefOr::T(Schema::Object(object))), .. }) =
        &mut parameter
        && let SchemaType::Array(types) = &object.schema_type
        && let Some(one) = types.iter().find(|one| **one != Type::Null)
    {
        object.schema_type = SchemaType::Type(one.clone());
    }
    parameter
}

fn path_parameter(name: &str, is_pattern: bool) -> Parameter {
    let pattern = match name {
        "signingKey" => SIGNING_KEY_PATTERN,
        "channel" if is_pattern => CHANNEL_PATTERN,
        _ => ID_PATTERN,
    };
    let schema = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern));
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .schema(Some(schema))
        .build()
}

fn header_parameters(route: &Route) -> impl Iterator<Item = Parameter> {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let make = |name: &str, description: &str, schema: ObjectBuilder| {
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some(description))
            .schema(Some(schema))
            .build()
    };
    let is_read = route.access == Access::Project && !route.is_write();
    let after = (is_read && !route.pattern.contains("/realtime")).then(|| {
        let what = "A position that the answer must show; waited for, but not for long.";
        make("Headwater-After", what, text().pattern(Some(POSITION_PATTERN)))
    });
    let key = route.is_keyed().then(|| {
        let what = "Names this intent: a repeat within a day gets the first answer again.";
        make("Idempotency-Key", what, text().pattern(Some("^[!-~]([ -~]{0,253}[!-~])?$")))
    });
    let correlation = {
        let what =
            "Names the conversation; made anew unless it is 1–128 printable ASCII characters.";
        make("X-Correlation-Id", what, text())
    };
    after.into_iter().chain(key).chain([correlation])
}

fn add_headers(response: &mut Response, route: &Route) {
    let mut add = |name: &str, description: &str| {
        let mut header = Header::new(ObjectBuilder::new().schema_type(Type::String));
        header.description = Some(description.to_owned());
        response.headers.insert(name.to_owned(), RefOr::T(header));
    };
    add("X-Correlation-Id", "Names the conversation.");
    if route.is_keyed() {
        add("Headwater-Position", "Where the write's last event stands.");
        add("Idempotency-Replayed", "`true` when this repeats the first answer.");
    }
    if route.pattern.ends_with("/documents/{id}") && route.method != Method::DELETE {
        add("ETag", "The document's version in quotes.");
    }
}

/// Every problem that a route can answer with, by status.
fn problems(route: &Route, has_body: bool) -> BTreeMap<u16, Vec<Code>> {
    let mut codes = route.errors.to_vec();
    if route.access != Access::Open {
        codes.extend([Code::InvalidParameter, Code::Forbidden]);
        codes.extend([Code::Internal, Code::Unavailable, Code::Misdirected]);
    }
    if !matches!(route.access, Access::Open | Access::Visitor) {
        codes.extend([Code::Unauthorized, Code::SessionEnded]);
    }
    if route.access == Access::Visitor {
        codes.push(Code::TooManyRequests);
    }
    if matches!(route.access, Access::Project | Access::User | Access::Visitor) {
        codes.extend([Code::InvalidId, Code::ProjectNotFound]);
    }
    if route.access == Access::Project && !route.is_write() {
        codes.extend([Code::InvalidPosition, Code::PositionElsewhere]);
        codes.extend([Code::PositionAhead, Code::StaleRead]);
    }
    if route.is_keyed() {
        codes.push(Code::IdempotencyKeyReused);
    }
    if route.is_write() {
        codes.extend([Code::Busy, Code::OutcomeUnknown, Code::StorageFull]);
    }
    if has_body {
        codes.extend([Code::InvalidJson, Code::InvalidBody]);
        codes.extend([Code::BodyTooLarge, Code::UnsupportedMediaType]);
    }
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in codes {
        // The condition is in a header on these routes, and in the body of a commit.
        let by_header = code == Code::VersionMismatch && !route.pattern.ends_with("/commit");
        let status = if by_header { 412 } else { code.entry().status };
        let known = by_status.entry(status).or_default();
        if !known.contains(&code) {
            known.push(code);
        }
    }
    by_status
}

fn problem(status: u16, codes: &[Code]) -> Response {
    let names: Vec<String> = codes.iter().map(|code| format!("`{}`", code.entry().name)).collect();
    let content = Content::new(Some(Ref::from_schema_name("Problem")));
    let mut response = ResponseBuilder::new()
        .description(names.join(", "))
        .content("application/problem+json", content)
        .build();
    let mut add = |name: &str| {
        let header = Header::new(ObjectBuilder::new().schema_type(Type::String));
        response.headers.insert(name.to_owned(), RefOr::T(header));
    };
    add("X-Correlation-Id");
    if codes.iter().any(|code| code.entry().retry_after.is_some()) {
        add("Retry-After");
    }
    if status == 401 {
        add("WWW-Authenticate");
    }
    response
}
