//! Every route there is, in one list; one file per resource with its handlers and its bodies.
//! The router, the metrics and the OpenAPI document are all made from this list.

pub(crate) mod auth;
pub(crate) mod cluster;
pub(crate) mod collections;
pub(crate) mod commit;
pub(crate) mod documents;
pub(crate) mod events;
pub(crate) mod history;
pub(crate) mod import;
pub(crate) mod keys;
pub(crate) mod page;
pub(crate) mod projects;
pub(crate) mod status;

use actix_web::http::Method;
use futures_util::future::LocalBoxFuture;

use crate::answer::Answer;
use crate::call::Call;
use crate::error::Code;
use crate::server::Roles;
use crate::socket::{sse, websocket};

/// Answers a request.
pub(crate) type Handler = fn(Call) -> LocalBoxFuture<'static, Answer>;

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anybody.
    Open,
    /// Anybody, at a project that exists.
    Visitor,
    /// A user of the project, by an access token.
    User,
    /// The server's administrator.
    Admin,
    /// Who has a key of the project, or is the administrator.
    Project,
}

/// One method of one path.
#[derive(Debug)]
pub(crate) struct Route {
    /// The method.
    pub(crate) method: Method,
    /// The path, with `{names}` for its parameters.
    pub(crate) pattern: &'static str,
    /// Who may call it.
    pub(crate) access: Access,
    /// What it answers when something is wrong, beside what all routes of its kind do.
    pub(crate) errors: &'static [Code],
    /// What answers it.
    pub(crate) handler: Handler,
}

impl Route {
    /// Whether a node of these roles answers it.
    pub(crate) fn is_served(&self, roles: Roles) -> bool {
        match self.access {
            // Only realtime's handshake is open and below a project.
            Access::Open if !self.pattern.starts_with("/v1/") => true,
            _ if self.pattern.contains("/realtime") => roles.realtime,
            Access::Admin if self.pattern.starts_with("/v1/admin/") => true,
            _ => roles.api,
        }
    }

    /// Whether a repeat under the same idempotency key gets the first answer: not where the answer
    /// holds what is kept nowhere.
    pub(crate) fn is_keyed(&self) -> bool {
        self.is_write() && !matches!(self.access, Access::Visitor | Access::User)
    }

    /// Whether it writes to the log.
    pub(crate) fn is_write(&self) -> bool {
        self.method != Method::GET
    }
}

macro_rules! routes {
    ($($method:ident $pattern:literal $access:ident $handler:path, [$($code:ident)*];)*) => {
        /// Every route.
        pub(crate) static ROUTES: &[Route] = &[
            $(Route {
                method: Method::$method,
                pattern: $pattern,
                access: Access::$access,
                errors: &[$(Code::$code),*],
                handler: |call| Box::pin($handler(call)),
            },)*
        ];
    };
}

routes! {
    GET "/v1/projects/{project}/collections/{collection}/documents/{id}" Project documents::get,
        [DocumentNotFound HistoryTrimmed];
    PUT "/v1/projects/{project}/collections/{collection}/documents/{id}" Project documents::put,
        [VersionMismatch DocumentTooLarge TooDeep];
    PATCH "/v1/projects/{project}/collections/{collection}/documents/{id}" Project
        documents::patch,
        [DocumentNotFound VersionMismatch DocumentTooLarge TooDeep];
    DELETE "/v1/projects/{project}/collections/{collection}/documents/{id}" Project
        documents::delete, [DocumentNotFound VersionMismatch];
    POST "/v1/projects/{project}/collections/{collection}/documents" Project documents::create,
        [DocumentExists DocumentTooLarge TooDeep];
    GET "/v1/projects/{project}/collections/{collection}/documents" Project documents::list,
        [HistoryTrimmed Unsupported];
    GET "/v1/projects/{project}/collections/{collection}/documents/{id}/history" Project
        history::list, [DocumentNotFound];
    POST "/v1/projects/{project}/collections/{collection}/documents/{id}/restore" Project
        history::restore,
        [VersionNotFound VersionWasDeletion VersionMismatch];
    POST "/v1/projects/{project}/commit" Project commit::commit,
        [DocumentNotFound DocumentExists VersionMismatch DocumentTooLarge TooDeep];
    GET "/v1/projects/{project}/events" Project events::list,
        [HistoryTrimmed];
    GET "/v1/projects/{project}/collections" Project collections::list, [];
    GET "/v1/projects/{project}/collections/{collection}" Project collections::get,
        [CollectionNotFound];
    PUT "/v1/projects/{project}/collections/{collection}" Project collections::put, [TooMany];
    DELETE "/v1/projects/{project}/collections/{collection}" Project collections::delete,
        [CollectionNotFound];
    GET "/v1/projects/{project}/realtime" Open websocket::connect,
        [InvalidId InvalidParameter Busy];
    GET "/v1/projects/{project}/realtime/events" Project sse::follow, [InvalidPosition Busy];
    POST "/v1/projects/{project}/import" Admin import::import,
        [InvalidId ProjectNotFound ImportInvalid];
    POST "/v1/projects/{project}/keys" Project keys::create, [TooMany];
    GET "/v1/projects/{project}/keys" Project keys::list, [];
    DELETE "/v1/projects/{project}/keys/{key}" Project keys::delete, [KeyNotFound];
    POST "/v1/projects/{project}/auth/sign-up" Visitor auth::password::sign_up,
        [IdentityTaken WeakPassword CaptchaFailed];
    POST "/v1/projects/{project}/auth/sign-in" Visitor auth::password::sign_in,
        [InvalidCredentials EmailNotVerified UserDisabled CaptchaFailed];
    POST "/v1/projects/{project}/auth/anonymous" Visitor auth::password::anonymous,
        [CaptchaFailed];
    POST "/v1/projects/{project}/auth/refresh" Visitor auth::sessions::refresh,
        [SessionEnded UserDisabled];
    POST "/v1/projects/{project}/auth/sign-out" User auth::sessions::sign_out, [];
    GET "/v1/projects/{project}/auth/sessions" User auth::sessions::list, [];
    DELETE "/v1/projects/{project}/auth/sessions/{session}" User auth::sessions::end,
        [SessionNotFound];
    GET "/v1/projects/{project}/auth/me" User auth::me::get, [UserNotFound];
    PATCH "/v1/projects/{project}/auth/me" User auth::me::patch, [UserNotFound UserChanged];
    GET "/v1/projects/{project}/auth/.well-known/jwks.json" Visitor auth::published::keys, [];
    GET "/v1/projects/{project}/auth/.well-known/openid-configuration" Visitor
        auth::published::discovery, [];
    GET "/v1/projects/{project}" Project projects::get, [];
    PATCH "/v1/projects/{project}" Project projects::patch, [];
    DELETE "/v1/projects/{project}" Admin projects::delete, [InvalidId ProjectNotFound];
    POST "/v1/projects" Admin projects::create, [ProjectExists];
    GET "/v1/projects" Admin projects::list, [];
    GET "/v1/admin/cluster" Admin cluster::get, [];
    GET "/healthz" Open status::health, [];
    GET "/readyz" Open status::ready, [];
    GET "/metrics" Open status::metrics, [];
    GET "/openapi.json" Open status::openapi, [];
}
