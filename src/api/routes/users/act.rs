//! Acting for a user: ending its sessions, acting in its name, and links that the app sends itself.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use auth::refresh::RefreshToken;
use compact_str::CompactString;
use domain::users::{Ended, Session, Step, UserCommand, UserState};
use domain::{Actor, SessionId, UserId, command};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::written;
use crate::answer::{self, Answer};
use crate::body::{self, JSON};
use crate::call::Call;
use crate::caller::Scope;
use crate::error::{Code, Problem};
use crate::people::{IMPERSONATION_SECONDS_MAX, field, now};
use crate::routes::auth::challenges::{Detail, LINK_SECONDS, LINK_TRIES, purpose};

/// The longest reason, in characters.
const REASON_CHARS_MAX: usize = 500;
/// How long a link is good that lets its bearer in, in seconds.
const SIGN_IN_SECONDS: u32 = 3600;

/// Which sessions to end.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = UserSignOut)]
pub(crate) struct SignOut {
    /// Only this one; all when absent.
    #[schema(value_type = Option<String>)]
    session: Option<SessionId>,
}

/// Why somebody acts in a user's name.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Impersonate {
    /// Kept with the session, for the user to read.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

/// An access token in a user's name. There is no refresh token to it.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Impersonation {
    /// Sent with every request.
    access_token: String,
    /// `bearer`.
    token_type: String,
    /// How long it is good, in seconds: an hour at most.
    expires_in: u32,
    /// Names the session.
    #[schema(value_type = String)]
    session_id: SessionId,
}

/// What a link does.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = UserLinkKind)]
pub(crate) enum LinkKind {
    /// Signs in.
    MagicLink,
    /// Sets a new password.
    ResetPassword,
    /// Shows that the user reads mail at its address.
    VerifyEmail,
}

/// Which link.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewUserLink)]
pub(crate) struct NewLink {
    /// What it does.
    kind: LinkKind,
}

/// A link to send.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = UserLink)]
pub(crate) struct Link {
    /// Whoever has it is taken for the user: send it to the user's mail address and nowhere else.
    link: String,
    /// How long it is good, in seconds.
    expires_in: u32,
}

/// Ends a user's sessions, or one of them.
#[utoipa::path(
    post, path = "/v1/projects/{project}/users/{user}/sign-out", operation_id = "signUserOut",
    tag = "users",
    request_body(content = SignOut),
    responses((status = 204, description = "The sessions have ended.")),
)]
pub(crate) async fn sign_out(mut call: Call) -> Answer {
    let scope = call.past_rules().await?;
    let user = call.user()?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let SignOut { session: only } = body::parse(&body)?;
    let steps = vec![Step::EndSessions { only, except: None, reason: Ended::Revoked }];
    let command = command::Body::User(UserCommand { user, steps });
    let committed = call.submit(scope.project, &scope.principal, command, &body).await?;
    written(HttpResponse::new(StatusCode::NO_CONTENT), &committed)
}

/// Acts in a user's name, for an hour at most. Every event that comes of it names both.
#[utoipa::path(
    post, path = "/v1/projects/{project}/users/{user}/impersonate",
    operation_id = "impersonateUser", tag = "users",
    request_body(content = Impersonate),
    responses((status = 201, description = "An access token.", body = Impersonation)),
)]
pub(crate) async fn impersonate(mut call: Call) -> Answer {
    let scope = call.past_rules().await?;
    let user = call.user()?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let Impersonate { reason } = body::parse(&body)?;
    if !(1..=REASON_CHARS_MAX).contains(&reason.chars().count()) {
        let detail = format!("expected 1 to {REASON_CHARS_MAX} characters");
        return Err(Problem::body("/reason", detail));
    }
    let state = call.user_state(&scope.project, &user).await?;
    let id = SessionId::new(&Uuid::now_v7().to_string())
        .map_err(|error| Problem::new(Code::Internal, "no id").because(error))?;
    let session = call.impersonating(&scope, &user, &id, &reason).await?;
    let mut steps = outdated(&state);
    let session = Box::new(session);
    steps.push(Step::StartSession { id: id.clone(), session, is_single: false });
    let by = Some(CompactString::new(scope.principal.actor().to_string()));
    let actor = Actor::User { id: user.clone(), by };
    call.change_user(&scope.project, actor, &user, steps).await?;
    let session = call.session_body(&scope.project, &user, id, String::new(), None).await?;
    let body = Impersonation {
        access_token: session.access_token,
        token_type: session.token_type,
        expires_in: session.expires_in,
        session_id: session.session_id,
    };
    answer::json(StatusCode::CREATED, &body)
}

/// Makes a link for the app to send to the user's mail address itself. It takes the place of one
/// of the same kind.
#[utoipa::path(
    post, path = "/v1/projects/{project}/users/{user}/link", operation_id = "createUserLink",
    tag = "users",
    request_body(content = NewLink),
    responses((status = 201, description = "The link.", body = Link)),
)]
pub(crate) async fn link(mut call: Call) -> Answer {
    let scope = call.past_rules().await?;
    let user = call.user()?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let NewLink { kind } = body::parse(&body)?;
    let state = call.user_state(&scope.project, &user).await?;
    let profile = call.app.people.profile(&scope.project, &user, &state.user).await?;
    if profile.email.is_none() {
        return Err(Problem::body("/kind", "the user has no mail address"));
    }
    if state.user.disabled {
        return Err(domain::rejected::Reason::UserDisabled.into());
    }
    let (purpose, seconds) = match kind {
        LinkKind::MagicLink => (purpose::MAGIC_LINK, SIGN_IN_SECONDS),
        LinkKind::ResetPassword => (purpose::RESET_PASSWORD, SIGN_IN_SECONDS),
        LinkKind::VerifyEmail => (purpose::VERIFY_EMAIL, LINK_SECONDS),
    };
    let secret = auth::code::link();
    let detail = Detail { to: profile.email, ..Detail::default() };
    let whom = (&scope.project, &user);
    let step = call.issue_about(whom, purpose, &secret, (seconds, LINK_TRIES), &detail).await?;
    let actor = scope.principal.actor();
    call.change_user(&scope.project, actor, &user, vec![step]).await?;
    let link = call.link(&call.visit_of(&scope)?, purpose, &user, &secret);
    answer::json(StatusCode::CREATED, &Link { link, expires_in: seconds })
}

/// Ends what was begun in the user's name by others and has no token any more: sessions are few,
/// and the user's own must not fall for these.
fn outdated(state: &UserState) -> Vec<Step> {
    let lasts = i64::from(IMPERSONATION_SECONDS_MAX) * 1_000_000;
    let is_over = |session: &Session| {
        session.impersonator.is_some() && now().as_micros() - session.created_at.as_micros() > lasts
    };
    let over = state.sessions.iter().filter(|(_, session)| is_over(session));
    let end = |id: &SessionId| Step::EndSessions {
        only: Some(id.clone()),
        except: None,
        reason: Ended::Expired,
    };
    over.map(|(id, _)| end(id)).collect()
}

impl Call {
    /// A session in a user's name. Nobody gets to see its refresh token.
    async fn impersonating(
        &self,
        scope: &Scope,
        user: &UserId,
        id: &SessionId,
        reason: &str,
    ) -> Result<Session, Problem> {
        let refresh = RefreshToken::generate(user.clone(), id.clone(), 1)
            .map_err(|error| Problem::new(Code::Internal, "no token").because(error))?;
        let mut client = self.client();
        client["reason"] = Value::from(reason);
        let people = &self.app.people;
        let at = now();
        Ok(Session {
            created_at: at,
            refreshed_at: at,
            authenticated_at: at,
            generation: 1,
            token_hash: refresh.hash(),
            sibling_hashes: Vec::new(),
            previous_hash: None,
            previous_at: None,
            level: 1,
            methods: vec!["impersonation".to_owned()],
            client: Some(people.seal(&scope.project, user, field::CLIENT, &client).await?),
            impersonator: Some(scope.principal.actor().to_string()),
        })
    }
}
