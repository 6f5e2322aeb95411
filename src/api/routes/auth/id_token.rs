//! Native sign-in: an app that got an id token from its platform (Sign in with Apple, Google's
//! Credential Manager) signs in by it, without a browser in between.

use actix_web::http::StatusCode;
use auth::limits::Class;
use domain::sign_in::Preset;
use domain::users::Step;
use domain::{ProjectId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::visit::{Visit, disabled, invalid_credentials};
use crate::answer::{self, Answer};
use crate::body::{self, JSON};
use crate::call::Call;
use crate::error::Problem;
use crate::people::federated::{METHOD, Vouched};
use crate::people::{How, SessionBody, Started, now};

/// An id token of another issuer.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct IdTokenBody {
    /// The provider's name in the project's configuration.
    pub(super) provider: String,
    /// The token.
    #[schema(max_length = 16384)]
    pub(super) id_token: String,
    /// What the app gave its platform to put into the token, where it did; as it is, or hashed by
    /// SHA-256 there.
    #[serde(default)]
    #[schema(max_length = 255)]
    pub(super) nonce: Option<String>,
}

/// Signs somebody in by another issuer's id token.
#[utoipa::path(
    post, path = "/v1/projects/{project}/auth/id-token", operation_id = "signInByIdToken",
    tag = "auth",
    request_body(content = IdTokenBody),
    responses(
        (status = 200, description = "A session.", body = SessionBody),
        (status = 201, description = "A new user and its first session.", body = SessionBody),
    ),
)]
pub(crate) async fn sign_in(mut call: Call) -> Answer {
    let visit = call.visit().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let body: IdTokenBody = body::parse(&body)?;
    call.limit_address(Class::SignInPerAddress)?;
    let vouched = call.vouched_by_token(&visit, &body).await?;
    let finish = async |user: &UserId, steps| {
        call.started(&visit.project, user, steps, How::by(METHOD)).await
    };
    let (session, is_new) = call.sign_in_vouched(&visit, &vouched, finish).await?;
    answer::json(if is_new { StatusCode::CREATED } else { StatusCode::OK }, &session)
}

impl Call {
    /// Whom an id token is about.
    ///
    /// Errors: `forbidden` where there is no such provider, `invalid-credentials`, `unavailable`.
    pub(super) async fn vouched_by_token(
        &self,
        visit: &Visit,
        body: &IdTokenBody,
    ) -> Result<Vouched, Problem> {
        let IdTokenBody { provider: name, id_token, nonce } = body;
        let provider = self.provider(visit, name)?;
        if provider.kind == Preset::Github {
            return Err(disabled("id token of this provider"));
        }
        let issuers = &self.app.people.issuers;
        let person = issuers.verify_id_token(provider, id_token, nonce.as_deref(), now()).await;
        Ok(Vouched::new(name, provider, person.map_err(Problem::of_issuer)?))
    }

    /// As [`Call::begin_session`], where no step answers a challenge.
    pub(super) async fn started(
        &self,
        project: &ProjectId,
        user: &UserId,
        steps: Vec<Step>,
        how: How,
    ) -> Result<Box<SessionBody>, Problem> {
        match self.begin_session(project, user, steps, how).await? {
            Started::Session(session) => Ok(session),
            Started::WrongAnswer => Err(invalid_credentials()),
        }
    }
}
