//! Custom tokens: the app's own server says who somebody is. It is asked for nothing more: neither
//! whether somebody new may sign up, nor by the hook that would be itself.

use actix_web::http::StatusCode;
use auth::limits::Class;
use domain::UserId;
use domain::users::{Step, User, UserState};
use issuers::custom_token::{self, Custom};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::visit::{Visit, disabled};
use crate::answer::{self, Answer};
use crate::body::{self, JSON};
use crate::call::Call;
use crate::error::{Code, Problem};
use crate::people::{How, Profile, SessionBody, field, now};

/// Changes by others meanwhile that are tried again.
const TRIES_MAX: usize = 5;
/// How sessions name it. RFC 8176 has no name for it.
const METHOD: &str = "custom";
/// The most bytes of claims as JSON: they travel with every request.
const CLAIMS_BYTES_MAX: usize = 4096;

/// A token that the app's own server signed.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CustomTokenBody {
    /// The token: a JWT of at most an hour, for `headwater:` and the project's id, about the user
    /// whose id is its `sub`. Its `claims` and `roles` become the user's, where it has any.
    #[schema(max_length = 8192)]
    token: String,
}

/// Signs somebody in whom the app's own server vouches for.
#[utoipa::path(
    post, path = "/v1/projects/{project}/auth/custom-token", operation_id = "signInByCustomToken",
    tag = "auth",
    request_body(content = CustomTokenBody),
    responses(
        (status = 200, description = "A session.", body = SessionBody),
        (status = 201, description = "A new user and its first session.", body = SessionBody),
    ),
)]
pub(crate) async fn sign_in(mut call: Call) -> Answer {
    let visit = call.visit().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let CustomTokenBody { token } = body::parse(&body)?;
    call.limit_address(Class::SignInPerAddress)?;
    let project = &visit.project;
    let keys = &visit.directory.config.custom_token_keys;
    if keys.is_empty() {
        return Err(disabled("custom token"));
    }
    let custom = custom_token::verify(keys, &token, project.as_str(), now());
    let custom = custom.map_err(Problem::of_issuer)?;
    let id = UserId::new(&custom.uid)
        .map_err(|error| Problem::body("/token", format!("its sub is no id: {error}")))?;
    let bytes = serde_json::to_vec(&custom.claims).map_or(usize::MAX, |json| json.len());
    if bytes > CLAIMS_BYTES_MAX {
        let detail = format!("its claims may have {CLAIMS_BYTES_MAX} bytes of JSON");
        return Err(Problem::body("/token", detail));
    }
    for attempt in 0..TRIES_MAX {
        if attempt > 0 && call.app.engine.is_shared() {
            call.app.engine.refresh(project).await?;
        }
        let state = call.app.engine.user(project, &id).await?;
        let steps = call.custom_steps(&visit, &id, state.as_ref(), &custom).await?;
        match call.started(project, &id, steps, How::by(METHOD)).await {
            Ok(session) => {
                let status = if state.is_some() { StatusCode::OK } else { StatusCode::CREATED };
                return answer::json(status, &session);
            }
            Err(problem) if matches!(problem.code(), Code::UserChanged | Code::UserExists) => {}
            Err(problem) => return Err(problem),
        }
    }
    Err(Problem::new(Code::UserNotFound, "this user was erased; its id is not given again"))
}

impl Call {
    async fn custom_steps(
        &self,
        visit: &Visit,
        id: &UserId,
        state: Option<&UserState>,
        custom: &Custom,
    ) -> Result<Vec<Step>, Problem> {
        let mut user = state.map_or_else(User::default, |state| state.user.clone());
        if !custom.claims.is_empty() {
            user.claims.clone_from(&custom.claims);
        }
        if let Some(roles) = &custom.roles {
            user.roles = roles.iter().cloned().collect();
        }
        user.anonymous = false;
        if let Some(state) = state {
            let is_same = state.user == user;
            let update = Step::Update { expected: Some(state.version), user: Box::new(user) };
            return Ok(if is_same { Vec::new() } else { vec![update] });
        }
        let (people, project) = (&self.app.people, &visit.project);
        user.profile = Some(people.seal(project, id, field::PROFILE, &Profile::default()).await?);
        Ok(vec![Step::Create(Box::new(user))])
    }
}
