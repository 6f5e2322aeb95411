//! Sessions: beginning one, refreshing one, and the access token that each gives.

use auth::access_token::{Acting, Claims, Level};
use auth::refresh::RefreshToken;
use compact_str::CompactString;
use domain::projects::ProjectCommand;
use domain::rejected::Reason;
use domain::users::{Refresh, Session, Step, UserCommand, UserState};
use domain::{Actor, ProjectId, SessionId, UserId, command};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::directory::new_signing_key;
use super::profile::field;
use super::{Directory, Profile, SessionBody, UserBody, level, now};
use crate::call::Call;
use crate::error::{Code, Problem};

/// The most bytes of a `User-Agent` that are kept.
const USER_AGENT_BYTES_MAX: usize = 256;

/// How long an access token in somebody else's name is good at most, in seconds. Nobody gets to
/// refresh it.
pub(crate) const IMPERSONATION_SECONDS_MAX: u32 = 3600;

/// How somebody showed who it is.
#[derive(Debug, Clone)]
pub(crate) struct How {
    /// As RFC 8176 names it where it has a name: `pwd`, `otp`, `hwk`, …
    pub(crate) methods: Vec<String>,
    /// The assurance level.
    pub(crate) level: u8,
    /// Who acts in the user's name, where it is not the user.
    pub(crate) impersonator: Option<Actor>,
}

impl How {
    /// By one thing.
    pub(crate) fn by(method: &str) -> Self {
        Self { methods: vec![method.to_owned()], level: 1, impersonator: None }
    }
}

/// What came of steps for a user that were to end with a session.
pub(crate) enum Started {
    /// The session.
    Session(Box<SessionBody>),
    /// The answer to a challenge was wrong, and is counted.
    WrongAnswer,
}

impl Call {
    /// Takes these steps for a user, all or none.
    pub(crate) async fn change_user(
        &self,
        project: &ProjectId,
        actor: Actor,
        user: &UserId,
        steps: Vec<Step>,
    ) -> Result<engine::Committed, Problem> {
        let command = command::Body::User(UserCommand { user: user.clone(), steps });
        self.submit_as(project.clone(), actor, command).await
    }

    /// Takes these steps for a user, and begins a session as the last one.
    pub(crate) async fn begin_session(
        &self,
        project: &ProjectId,
        user: &UserId,
        mut steps: Vec<Step>,
        how: How,
    ) -> Result<Started, Problem> {
        let people = &self.app.people;
        let session_id = SessionId::new(&Uuid::now_v7().to_string())
            .map_err(|e| Problem::new(Code::Internal, "no id").because(e))?;
        let refresh = RefreshToken::generate(user.clone(), session_id.clone(), 1)
            .map_err(|e| Problem::new(Code::Internal, "no token").because(e))?;
        let client = people.seal(project, user, field::CLIENT, &self.client()).await?;
        let directory = self.directory(project).await?;
        let at = now();
        let session = Session {
            created_at: at,
            refreshed_at: at,
            authenticated_at: at,
            generation: 1,
            token_hash: refresh.hash(),
            sibling_hashes: Vec::new(),
            previous_hash: None,
            previous_at: None,
            level: how.level,
            methods: how.methods,
            client: Some(client),
            impersonator: how.impersonator.as_ref().map(Actor::to_string),
        };
        steps.push(Step::StartSession {
            id: session_id.clone(),
            session: Box::new(session),
            is_single: directory.config.sessions.single && how.impersonator.is_none(),
        });
        let actor = Actor::User {
            id: user.clone(),
            by: how.impersonator.map(|by| CompactString::new(by.to_string())),
        };
        let written = self.change_user(project, actor, user, steps).await?;
        let failed =
            |one: &std::sync::Arc<domain::Recorded>| one.event.kind.as_str() == "challenge.failed";
        if written.events.iter().any(failed) {
            return Ok(Started::WrongAnswer);
        }
        let body = self.session_body(project, user, session_id, refresh.text(), None).await?;
        Ok(Started::Session(Box::new(body)))
    }

    /// Gives a session its next tokens.
    ///
    /// Errors: `session-ended` when it has ended, and that is how it ends when its token was used
    /// before.
    pub(crate) async fn refresh_session(
        &self,
        project: &ProjectId,
        token: &RefreshToken,
    ) -> Result<SessionBody, Problem> {
        let directory = self.directory(project).await?;
        let ended = || Problem::new(Code::SessionEnded, "sign in again");
        let (user, id) = (token.user().clone(), token.session().clone());
        let generation = token.generation().saturating_add(1);
        let next =
            RefreshToken::generate(user.clone(), id.clone(), generation).map_err(|_| ended())?;
        let sessions = &directory.config.sessions;
        let refresh = Step::Refresh(Refresh {
            id: id.clone(),
            token_hash: token.hash(),
            next_hash: next.hash(),
            grace_seconds: sessions.refresh_grace_seconds,
            idle_seconds_max: sessions.idle_seconds_max,
            age_seconds_max: sessions.age_seconds_max,
        });
        // Asked first: a hook that fails must not cost the client its refresh token.
        let extra = self.claims_for(&directory, project, token).await?;
        let actor = Actor::User { id: user.clone(), by: None };
        let written = self.change_user(project, actor, &user, vec![refresh]).await;
        let written = written.map_err(|problem| match problem.code() {
            Code::UserNotFound => ended(),
            _ => problem,
        })?;
        let went_on =
            |one: &std::sync::Arc<domain::Recorded>| one.event.kind.as_str() == "session.refreshed";
        if !written.events.iter().any(went_on) {
            return Err(ended());
        }
        self.session_body(project, &user, id, next.text(), extra).await
    }

    /// What the app's hook adds to the tokens of the session that a refresh token is of; `None`
    /// where there is no hook, or the token is none of the session's.
    async fn claims_for(
        &self,
        directory: &Directory,
        project: &ProjectId,
        token: &RefreshToken,
    ) -> Result<Option<Map<String, Value>>, Problem> {
        if directory.config.hooks.before_token.is_none() {
            return Ok(None);
        }
        let Some(state) = self.app.engine.user(project, token.user()).await? else {
            return Ok(None);
        };
        let is_its_own = state.sessions.get(token.session()).is_some_and(|session| {
            let previous = session.previous_hash.as_ref();
            std::iter::once(&session.token_hash)
                .chain(&session.sibling_hashes)
                .chain(previous)
                .any(|hash| token.matches(hash))
        });
        if !is_its_own {
            return Ok(None);
        }
        let body = self.app.people.show(project, token.user(), &state).await?;
        self.before_token(directory, &body, token.session()).await.map(Some)
    }

    /// The answer for a session as it is now. `extra` is what the app's hook adds to its token, if
    /// it was asked already.
    pub(crate) async fn session_body(
        &self,
        project: &ProjectId,
        id: &UserId,
        session_id: SessionId,
        refresh_token: String,
        extra: Option<Map<String, Value>>,
    ) -> Result<SessionBody, Problem> {
        let gone = || Problem::new(Code::SessionEnded, "the session has ended already");
        let state = self.app.engine.user(project, id).await?.ok_or_else(gone)?;
        let session = state.sessions.get(&session_id).cloned().ok_or_else(gone)?;
        let profile = self.app.people.profile(project, id, &state.user).await?;
        let of = (&session_id, &session);
        let token = self.access_token(project, id, (&state, &profile), of, extra).await?;
        let user = self.app.people.body(project, id, &state, profile).await?;
        Ok(SessionBody::new(token, refresh_token, (session_id, &session), user))
    }

    /// A new access token of a session as it is now, how long it is good, and the session's level.
    ///
    /// Errors with `session-ended`.
    pub(crate) async fn next_access_token(
        &self,
        project: &ProjectId,
        id: &UserId,
        session_id: &SessionId,
    ) -> Result<(String, u32, String), Problem> {
        let gone = || Problem::new(Code::SessionEnded, "the session has ended already");
        let state = self.app.engine.user(project, id).await?.ok_or_else(gone)?;
        let session = state.sessions.get(session_id).ok_or_else(gone)?;
        let profile = self.app.people.profile(project, id, &state.user).await?;
        let of = (session_id, session);
        let (token, expires_in) =
            self.access_token(project, id, (&state, &profile), of, None).await?;
        Ok((token, expires_in, level(session.level)))
    }

    async fn access_token(
        &self,
        project: &ProjectId,
        id: &UserId,
        (state, profile): (&UserState, &Profile),
        (session_id, session): (&SessionId, &Session),
        extra: Option<Map<String, Value>>,
    ) -> Result<(String, u32), Problem> {
        let people = &self.app.people;
        let directory = self.signing_directory(project).await?;
        let body = people.body(project, id, state, profile.clone()).await?;
        let extra = match extra {
            Some(extra) => extra,
            None => self.before_token(&directory, &body, session_id).await?,
        };
        let texts = |names: &[String]| names.iter().map(CompactString::new).collect();
        let seconds = now().as_micros().div_euclid(1_000_000);
        let expires_in = match session.impersonator {
            Some(_) => {
                directory.config.sessions.access_token_seconds.min(IMPERSONATION_SECONDS_MAX)
            }
            None => directory.config.sessions.access_token_seconds,
        };
        let mut claims = state.user.claims.clone();
        claims.extend(extra);
        let claims = Claims {
            iss: CompactString::new(&directory.issuer),
            sub: id.clone(),
            aud: CompactString::new(project.as_str()),
            iat: seconds,
            exp: seconds + i64::from(expires_in),
            nbf: None,
            jti: CompactString::new(Uuid::now_v7().to_string()),
            sid: Some(session_id.clone()),
            roles: texts(&body.roles),
            groups: texts(&body.groups),
            claims,
            acr: if session.level >= 2 { Level::Two } else { Level::One },
            amr: texts(&session.methods),
            auth_time: session.authenticated_at.as_micros().div_euclid(1_000_000),
            email: body.email.as_deref().map(CompactString::new),
            email_verified: body.email_verified,
            phone_number: body.phone.filter(|_| body.phone_verified).map(CompactString::new),
            is_anonymous: body.is_anonymous,
            act: session.impersonator.as_deref().map(|sub| Acting { sub: sub.into() }),
        };
        let signer = directory.signer().ok_or_else(no_signing_key)?;
        let token =
            signer.sign(&claims).map_err(|error| Problem::new(Code::TooMany, error.to_string()))?;
        Ok((token, expires_in))
    }

    async fn before_token(
        &self,
        directory: &Directory,
        user: &UserBody,
        session: &SessionId,
    ) -> Result<Map<String, Value>, Problem> {
        let Some(hook) = &directory.config.hooks.before_token else { return Ok(Map::new()) };
        let view = json!({"user": user, "sessionId": session});
        let answered = self.app.people.hooks.before_token(hook, &view).await;
        answered.map_err(Problem::of_hook)
    }

    /// The project's sign-in, with a key that signs: the first session of a project makes one.
    async fn signing_directory(
        &self,
        project: &ProjectId,
    ) -> Result<std::sync::Arc<Directory>, Problem> {
        let directory = self.directory(project).await?;
        if directory.signer().is_some() {
            return Ok(directory);
        }
        let algorithm = auth::access_token::Algorithm::default();
        let (id, public, private) = new_signing_key(&self.app.people, project, algorithm)?;
        let command = ProjectCommand::AddSigningKey { id, public, private, is_first: true };
        let command = command::Body::Project(command);
        match self.submit_as(project.clone(), Actor::System, command).await {
            Ok(_) => {}
            Err(problem) if problem.code() == Code::SigningKeyExists => {
                self.app.engine.refresh(project).await?;
            }
            Err(problem) => return Err(problem),
        }
        self.directory(project).await
    }

    /// The project's sign-in.
    ///
    /// Errors with `project-not-found`.
    pub(crate) async fn directory(
        &self,
        project: &ProjectId,
    ) -> Result<std::sync::Arc<Directory>, Problem> {
        let live = self.app.engine.catalog().project(project).ok_or(Reason::ProjectNotFound)?;
        self.app.people.directory(project, &live)
    }

    /// What a session is used from.
    pub(crate) fn client(&self) -> Value {
        let agent = self.headers().get(actix_web::http::header::USER_AGENT);
        let agent = agent
            .and_then(|value| value.to_str().ok())
            .map(|text| text.chars().take(USER_AGENT_BYTES_MAX).collect::<String>());
        json!({"userAgent": agent, "address": self.address().map(|ip| ip.to_string())})
    }
}

fn no_signing_key() -> Problem {
    Problem::new(Code::Unavailable, "the project's signing key is not known here yet")
}
