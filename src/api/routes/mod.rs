//! Every route there is, in one list; one file per resource with its handlers and its bodies.
//! The router, the metrics and the OpenAPI document are all made from this list.

pub(crate) mod auth;
pub(crate) mod channels;
pub(crate) mod cluster;
pub(crate) mod collections;
pub(crate) mod commit;
pub(crate) mod documents;
pub(crate) mod events;
pub(crate) mod history;
pub(crate) mod import;
pub(crate) mod indexes;
pub(crate) mod keys;
pub(crate) mod messages;
pub(crate) mod page;
pub(crate) mod people;
pub(crate) mod projects;
pub(crate) mod queries;
pub(crate) mod rules;
pub(crate) mod schemas;
pub(crate) mod sign_in;
pub(crate) mod signing_keys;
pub(crate) mod status;
pub(crate) mod users;

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

/// What is done to a part of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Looking at it.
    Read,
    /// Changing it.
    Write,
}

impl Need {
    /// As scopes of keys name it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
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
        let holds_token =
            self.pattern.ends_with("/impersonate") || self.pattern.ends_with("/{user}/link");
        // What leaves nothing in the log can't be found there again.
        let leaves_nothing = ["/rules/try", "/messages"];
        let is_write =
            self.is_write() && !leaves_nothing.iter().any(|end| self.pattern.ends_with(end));
        is_write && !matches!(self.access, Access::Visitor | Access::User) && !holds_token
    }

    /// The part of a project that it is about and what it does to it, as scopes of secret keys
    /// name them; `None` where no key of a project lets anybody in.
    pub(crate) fn scope(&self) -> Option<(&'static str, Need)> {
        let below = self.pattern.strip_prefix("/v1/projects/{project}")?;
        if self.access != Access::Project && !below.contains("/realtime") {
            return None;
        }
        let mut segments = below.split('/').skip(1);
        let first = segments.next().unwrap_or_default();
        let area = match first {
            "collections" if matches!(segments.nth(1), Some("documents" | "query")) => "documents",
            "channels" if segments.nth(1).is_some() => "documents",
            "collections" | "channels" | "rules" => "collections",
            "commit" | "query" | "count" | "aggregate" | "realtime" => "documents",
            "users" | "roles" => "users",
            "sign-in" | "signing-keys" | "auth" => "sign-in",
            "keys" => "keys",
            "events" => "events",
            _ => "project",
        };
        let need = if self.is_write() { Need::Write } else { Need::Read };
        Some((area, need))
    }

    /// Whether browsers are sent there, rather than scripts calling it.
    pub(crate) fn is_navigated(&self) -> bool {
        ["/auth/authorize", "/auth/callback"].iter().any(|end| self.pattern.ends_with(end))
    }

    /// Whether it writes to the log.
    pub(crate) fn is_write(&self) -> bool {
        self.method != Method::GET && !self.is_question()
    }

    /// Whether it only asks, though it has a body: what it asks may be too long for a path.
    fn is_question(&self) -> bool {
        ["/query", "/schema/check"].iter().any(|end| self.pattern.ends_with(end))
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
        [DocumentNotFound HistoryTrimmed QueryTooLarge];
    PUT "/v1/projects/{project}/collections/{collection}/documents/{id}" Project documents::put,
        [VersionMismatch DocumentTooLarge TooDeep SubjectMissing SubjectErased
        SchemaMismatch NotUnique NotIndexable IndexNotBuilt];
    PATCH "/v1/projects/{project}/collections/{collection}/documents/{id}" Project
        documents::patch,
        [DocumentNotFound VersionMismatch DocumentTooLarge TooDeep SubjectMissing SubjectErased
        SchemaMismatch NotUnique NotIndexable IndexNotBuilt];
    DELETE "/v1/projects/{project}/collections/{collection}/documents/{id}" Project
        documents::delete, [DocumentNotFound VersionMismatch];
    POST "/v1/projects/{project}/collections/{collection}/documents" Project documents::create,
        [DocumentExists DocumentTooLarge TooDeep SubjectMissing SubjectErased SchemaMismatch
        NotUnique NotIndexable IndexNotBuilt];
    GET "/v1/projects/{project}/collections/{collection}/documents" Project queries::list,
        [HistoryTrimmed QueryTooLarge];
    POST "/v1/projects/{project}/collections/{collection}/query" Project queries::query,
        [HistoryTrimmed QueryTooLarge];
    GET "/v1/projects/{project}/collections/{collection}/documents/{id}/history" Project
        history::list, [DocumentNotFound];
    POST "/v1/projects/{project}/collections/{collection}/documents/{id}/restore" Project
        history::restore,
        [VersionNotFound VersionWasDeletion VersionMismatch SubjectMissing SubjectErased
        SchemaMismatch NotUnique NotIndexable IndexNotBuilt];
    POST "/v1/projects/{project}/commit" Project commit::commit,
        [DocumentNotFound DocumentExists VersionMismatch DocumentTooLarge TooDeep SubjectMissing
        SubjectErased SchemaMismatch NotUnique NotIndexable IndexNotBuilt];
    GET "/v1/projects/{project}/events" Project events::list,
        [HistoryTrimmed];
    GET "/v1/projects/{project}/collections" Project collections::list, [];
    GET "/v1/projects/{project}/collections/{collection}" Project collections::get,
        [CollectionNotFound];
    PUT "/v1/projects/{project}/collections/{collection}" Project collections::put, [TooMany];
    DELETE "/v1/projects/{project}/collections/{collection}" Project collections::delete,
        [CollectionNotFound];
    GET "/v1/projects/{project}/collections/{collection}/indexes" Project indexes::list, [];
    POST "/v1/projects/{project}/collections/{collection}/schema/check" Project
        schemas::try_schema, [];
    GET "/v1/projects/{project}/channels" Project channels::list, [];
    GET "/v1/projects/{project}/channels/{channel}" Project channels::get, [ChannelNotFound];
    PUT "/v1/projects/{project}/channels/{channel}" Project channels::put, [TooMany];
    DELETE "/v1/projects/{project}/channels/{channel}" Project channels::delete,
        [ChannelNotFound];
    POST "/v1/projects/{project}/channels/{channel}/messages" Project messages::publish,
        [MessageTooLarge TooDeep];
    GET "/v1/projects/{project}/channels/{channel}/presence" Project messages::present, [];
    POST "/v1/projects/{project}/rules/try" Project rules::try_draft, [];
    GET "/v1/projects/{project}/realtime" Open websocket::connect,
        [InvalidId InvalidParameter Busy];
    GET "/v1/projects/{project}/realtime/events" Project sse::follow, [InvalidPosition Busy];
    POST "/v1/projects/{project}/import" Admin import::import,
        [InvalidId ProjectNotFound ImportInvalid];
    POST "/v1/projects/{project}/keys" Project keys::create, [TooMany];
    POST "/v1/projects/{project}/keys/{key}/rotate" Project keys::rotate, [KeyNotFound];
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
    POST "/v1/projects/{project}/auth/token" Visitor auth::exchange::exchange,
        [InvalidCredentials UserDisabled];
    GET "/v1/projects/{project}/auth/confirm" Visitor auth::confirm::show, [InvalidCredentials];
    POST "/v1/projects/{project}/auth/confirm" Visitor auth::confirm::confirm,
        [InvalidCredentials UserDisabled IdentityTaken UserChanged];
    POST "/v1/projects/{project}/auth/send-verification" Visitor auth::codes::send_verification,
        [CaptchaFailed];
    POST "/v1/projects/{project}/auth/magic-link" Visitor auth::codes::magic_link,
        [CaptchaFailed];
    POST "/v1/projects/{project}/auth/email-code" Visitor auth::codes::email_code,
        [CaptchaFailed];
    POST "/v1/projects/{project}/auth/phone-code" Visitor auth::codes::phone_code,
        [CaptchaFailed];
    POST "/v1/projects/{project}/auth/verify-code" Visitor auth::codes::verify_code,
        [InvalidCredentials UserDisabled UserChanged];
    POST "/v1/projects/{project}/auth/recover" Visitor auth::recover::recover, [CaptchaFailed];
    POST "/v1/projects/{project}/auth/reset-password" Visitor auth::recover::reset,
        [InvalidCredentials WeakPassword UserChanged];
    POST "/v1/projects/{project}/auth/password" User auth::recover::change,
        [InvalidCredentials WeakPassword ReauthenticationNeeded SecondFactorNeeded
        TooManyRequests UserChanged];
    POST "/v1/projects/{project}/auth/reauthenticate" User auth::recover::reauthenticate,
        [InvalidCredentials TooManyRequests UserChanged];
    POST "/v1/projects/{project}/auth/email" User auth::contact::email,
        [ReauthenticationNeeded SecondFactorNeeded TooManyRequests TooMany];
    POST "/v1/projects/{project}/auth/phone" User auth::contact::phone,
        [ReauthenticationNeeded SecondFactorNeeded TooManyRequests TooMany];
    POST "/v1/projects/{project}/auth/phone/verify" User auth::contact::verify_phone,
        [InvalidCredentials IdentityTaken TooManyRequests UserChanged];
    POST "/v1/projects/{project}/auth/upgrade" User auth::contact::upgrade,
        [WeakPassword IdentityTaken TooManyRequests UserChanged TooMany];
    POST "/v1/projects/{project}/auth/factors" User auth::mfa::create,
        [ReauthenticationNeeded SecondFactorNeeded TooMany UserChanged];
    POST "/v1/projects/{project}/auth/factors/verify" User auth::mfa::verify,
        [InvalidCredentials TooManyRequests UserChanged];
    POST "/v1/projects/{project}/auth/factors/{factor}/confirm" User auth::mfa::confirm,
        [InvalidCredentials FactorNotFound SecondFactorNeeded TooManyRequests UserChanged];
    DELETE "/v1/projects/{project}/auth/factors/{factor}" User auth::mfa::delete,
        [FactorNotFound SecondFactorNeeded UserChanged];
    POST "/v1/projects/{project}/auth/recovery-codes" User auth::mfa::recovery_codes,
        [InvalidCredentials FactorNotFound SecondFactorNeeded TooManyRequests UserChanged];
    GET "/v1/projects/{project}/auth/inbox" Project auth::inbox::list, [NotFound];
    POST "/v1/projects/{project}/auth/sign-out" User auth::sessions::sign_out, [];
    GET "/v1/projects/{project}/auth/sessions" User auth::sessions::list, [];
    DELETE "/v1/projects/{project}/auth/sessions/{session}" User auth::sessions::end,
        [SessionNotFound];
    GET "/v1/projects/{project}/auth/me" User auth::me::get, [UserNotFound];
    GET "/v1/projects/{project}/auth/userinfo" User auth::me::userinfo, [UserNotFound];
    PATCH "/v1/projects/{project}/auth/me" User auth::me::patch, [UserNotFound UserChanged];
    DELETE "/v1/projects/{project}/auth/me" User users::personal::delete_me,
        [ReauthenticationNeeded SecondFactorNeeded];
    GET "/v1/projects/{project}/users" Project users::list::list, [];
    POST "/v1/projects/{project}/users" Project users::edit::create,
        [UserExists IdentityTaken WeakPassword TooMany];
    GET "/v1/projects/{project}/users/{user}" Project users::list::get, [UserNotFound];
    PATCH "/v1/projects/{project}/users/{user}" Project users::edit::patch,
        [UserNotFound UserChanged IdentityTaken WeakPassword TooMany];
    DELETE "/v1/projects/{project}/users/{user}" Project users::personal::delete, [UserNotFound];
    GET "/v1/projects/{project}/users/{user}/sessions" Project users::list::sessions,
        [UserNotFound];
    GET "/v1/projects/{project}/users/{user}/export" Project users::personal::export,
        [UserNotFound HistoryTrimmed];
    POST "/v1/projects/{project}/users/{user}/sign-out" Project users::act::sign_out,
        [UserNotFound];
    POST "/v1/projects/{project}/users/{user}/impersonate" Project users::act::impersonate,
        [UserNotFound UserDisabled];
    POST "/v1/projects/{project}/users/{user}/link" Project users::act::link,
        [UserNotFound UserDisabled TooMany];
    GET "/v1/projects/{project}/roles" Project people::get, [];
    PUT "/v1/projects/{project}/roles" Project people::put, [TooMany];
    GET "/v1/projects/{project}/sign-in" Project sign_in::get, [];
    PUT "/v1/projects/{project}/sign-in" Project sign_in::put, [];
    GET "/v1/projects/{project}/signing-keys" Project signing_keys::list, [];
    POST "/v1/projects/{project}/signing-keys" Project signing_keys::create, [TooMany];
    DELETE "/v1/projects/{project}/signing-keys/{signingKey}" Project signing_keys::delete,
        [SigningKeyNotFound];
    GET "/v1/projects/{project}/auth/providers" Visitor auth::identities::providers, [];
    GET "/v1/projects/{project}/auth/authorize" Visitor auth::authorize::begin,
        [InvalidCredentials];
    GET "/v1/projects/{project}/auth/callback" Visitor auth::callback::get, [];
    POST "/v1/projects/{project}/auth/callback" Visitor auth::callback::post, [];
    POST "/v1/projects/{project}/auth/id-token" Visitor auth::id_token::sign_in,
        [InvalidCredentials IdentityTaken UserDisabled UserChanged];
    POST "/v1/projects/{project}/auth/custom-token" Visitor auth::custom_token::sign_in,
        [InvalidCredentials UserNotFound UserDisabled TooMany];
    GET "/v1/projects/{project}/auth/identities" User auth::identities::list, [];
    POST "/v1/projects/{project}/auth/identities/link" User auth::identities::link,
        [ReauthenticationNeeded SecondFactorNeeded];
    POST "/v1/projects/{project}/auth/identities/link/finish" User
        auth::identities::finish_link,
        [InvalidCredentials SecondFactorNeeded IdentityTaken UserChanged TooMany];
    POST "/v1/projects/{project}/auth/identities/link-id-token" User
        auth::identities::link_id_token,
        [InvalidCredentials ReauthenticationNeeded SecondFactorNeeded IdentityTaken UserChanged
            TooMany TooManyRequests];
    DELETE "/v1/projects/{project}/auth/identities/{identity}" User auth::identities::unlink,
        [NotFound SecondFactorNeeded LastWayIn UserChanged];
    POST "/v1/projects/{project}/auth/passkeys/register/begin" User
        auth::passkeys::begin_register,
        [ReauthenticationNeeded SecondFactorNeeded TooMany TooManyRequests];
    POST "/v1/projects/{project}/auth/passkeys/register/finish" User
        auth::passkeys::finish_register,
        [InvalidCredentials SecondFactorNeeded IdentityTaken UserChanged TooMany];
    POST "/v1/projects/{project}/auth/passkeys/sign-in/begin" Visitor
        auth::passkeys::begin_sign_in, [];
    POST "/v1/projects/{project}/auth/passkeys/sign-in/finish" Visitor
        auth::passkeys::finish_sign_in, [InvalidCredentials UserDisabled UserChanged];
    GET "/v1/projects/{project}/auth/passkeys" User auth::passkeys::list, [];
    GET "/v1/projects/{project}/auth/passkeys/{passkey}" User auth::passkeys::get, [NotFound];
    PATCH "/v1/projects/{project}/auth/passkeys/{passkey}" User auth::passkeys::patch,
        [NotFound UserChanged];
    DELETE "/v1/projects/{project}/auth/passkeys/{passkey}" User auth::passkeys::delete,
        [NotFound SecondFactorNeeded LastWayIn UserChanged];
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
