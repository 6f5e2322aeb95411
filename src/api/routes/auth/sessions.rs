//! Sessions: going on, ending them, and looking at those that there are.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use auth::limits::Class;
use auth::refresh::RefreshToken;
use domain::users::{Ended, Session, Step};
use domain::{SessionId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::{self, Answer};
use crate::body::{self, JSON};
use crate::call::Call;
use crate::error::{Code, Problem};
use crate::people::{SessionBody, field, level};

/// A refresh token.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Refresh {
    /// The newest refresh token of the session.
    #[schema(max_length = 1024)]
    refresh_token: String,
}

/// Which sessions end.
#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Which {
    /// The one that asks.
    #[default]
    This,
    /// All but the one that asks.
    Others,
    /// All.
    All,
}

/// Which sessions to end.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SignOut {
    /// Which sessions end.
    #[serde(default)]
    sessions: Which,
}

/// One session of the user.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SessionInfo)]
pub(crate) struct SessionInfo {
    /// Names it.
    #[schema(value_type = String)]
    id: SessionId,
    /// Whether it is the one that asks.
    current: bool,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it was last refreshed.
    #[schema(value_type = String, format = DateTime)]
    refreshed_at: Timestamp,
    /// Its assurance level.
    level: String,
    /// How the user showed who it is.
    methods: Vec<String>,
    /// The browser or app, as it calls itself.
    user_agent: Option<String>,
    /// Where it was begun from.
    address: Option<String>,
    /// Who acts in the user's name, where it is not the user.
    impersonator: Option<String>,
}

/// A user's sessions.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct Sessions {
    /// The one refreshed last comes first.
    sessions: Vec<SessionInfo>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Client {
    user_agent: Option<String>,
    address: Option<String>,
}

/// Gives a session its next tokens. A refresh token is good once; one that comes again later ends
/// the session, for somebody else has it.
#[utoipa::path(
    post, path = "/v1/projects/{project}/auth/refresh", operation_id = "refreshSession",
    tag = "auth",
    request_body(content = Refresh),
    responses((status = 200, description = "The session, with new tokens.", body = SessionBody)),
)]
pub(crate) async fn refresh(mut call: Call) -> Answer {
    let visit = call.visit().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let Refresh { refresh_token } = body::parse(&body)?;
    let token = RefreshToken::parse(&refresh_token)
        .map_err(|_| Problem::new(Code::SessionEnded, "sign in again"))?;
    call.limit_name(Class::RefreshPerSession, &visit.project, token.session().as_str())?;
    let session = call.refresh_session(&visit.project, &token).await?;
    answer::json(StatusCode::OK, &session)
}

/// Ends this session, all others, or all.
#[utoipa::path(
    post, path = "/v1/projects/{project}/auth/sign-out", operation_id = "signOut", tag = "auth",
    request_body(content = SignOut),
    responses((status = 204, description = "The sessions have ended.")),
)]
pub(crate) async fn sign_out(mut call: Call) -> Answer {
    let scope = call.scope().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let SignOut { sessions } = body::parse(&body)?;
    let auth = scope.user()?;
    let (only, except) = match sessions {
        Which::This => (auth.session.clone(), None),
        Which::Others => (None, auth.session.clone()),
        Which::All => (None, None),
    };
    let end = Step::EndSessions { only, except, reason: Ended::SignedOut };
    let actor = scope.principal.actor();
    call.change_user(&scope.project, actor, &auth.uid, vec![end]).await?;
    Ok(HttpResponse::new(StatusCode::NO_CONTENT))
}

/// Lists the user's sessions.
#[utoipa::path(
    get, path = "/v1/projects/{project}/auth/sessions", operation_id = "listSessions",
    tag = "auth",
    responses((status = 200, description = "The sessions.", body = Sessions)),
)]
pub(crate) async fn list(call: Call) -> Answer {
    let scope = call.scope().await?;
    call.query(&[])?;
    let auth = scope.user()?;
    let body = call.sessions_of(&scope.project, &auth.uid, auth.session.as_ref()).await?;
    answer::json(StatusCode::OK, &body)
}

/// Ends one session of the user.
#[utoipa::path(
    delete, path = "/v1/projects/{project}/auth/sessions/{session}",
    operation_id = "endSession", tag = "auth",
    responses((status = 204, description = "The session has ended.")),
)]
pub(crate) async fn end(call: Call) -> Answer {
    let scope = call.scope().await?;
    call.query(&[])?;
    let id = call.session()?;
    let auth = scope.user()?;
    let state = call.app.engine.user(&scope.project, &auth.uid).await?;
    if !state.is_some_and(|state| state.sessions.contains_key(&id)) {
        return Err(Problem::new(Code::SessionNotFound, "there is no such session"));
    }
    let end = Step::EndSessions { only: Some(id), except: None, reason: Ended::Revoked };
    let actor = scope.principal.actor();
    call.change_user(&scope.project, actor, &auth.uid, vec![end]).await?;
    Ok(HttpResponse::new(StatusCode::NO_CONTENT))
}

impl Call {
    /// A user's sessions as clients see them.
    pub(crate) async fn sessions_of(
        &self,
        project: &domain::ProjectId,
        user: &domain::UserId,
        current: Option<&SessionId>,
    ) -> Result<Sessions, Problem> {
        let state = self.app.engine.user(project, user).await?;
        let state = state.ok_or_else(|| domain::rejected::Reason::UserNotFound(user.clone()))?;
        let mut sessions = Vec::with_capacity(state.sessions.len());
        for (id, session) in &state.sessions {
            let Session { created_at, refreshed_at, level: number, methods, .. } = session;
            let client: Option<Client> = match &session.client {
                Some(sealed) => self.app.people.open(project, user, field::CLIENT, sealed).await?,
                None => None,
            };
            let Client { user_agent, address } = client.unwrap_or_default();
            sessions.push(SessionInfo {
                id: id.clone(),
                current: current == Some(id),
                created_at: *created_at,
                refreshed_at: *refreshed_at,
                level: level(*number),
                methods: methods.clone(),
                user_agent,
                address,
                impersonator: session.impersonator.clone(),
            });
        }
        sessions.sort_by_key(|one| std::cmp::Reverse(one.refreshed_at));
        Ok(Sessions { sessions })
    }
}
