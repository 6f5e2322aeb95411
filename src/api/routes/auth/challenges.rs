//! Challenges: what is sent to somebody, who shows by it that address or number is its own.

use domain::sign_in::Config;
use domain::users::{Challenge, IdentityKey, Issue, Sealed, Step};
use domain::{Actor, ProjectId, Timestamp, UserId};
use messages::{Kind, Letter, Outgoing, Route, Values};

use super::password::VerificationSent;
use super::visit::Visit;
use crate::answer::{self, Answer};
use crate::call::Call;
use crate::error::{Code, Problem};
use crate::people::Profile;
use actix_web::http::StatusCode;

/// What a challenge is for: one of each kind is open at a time.
pub(crate) mod purpose {
    /// A mail address is the user's own.
    pub(crate) const VERIFY_EMAIL: &str = "verify-email";
}

/// How long a link in a mail is good, in seconds.
pub(crate) const LINK_SECONDS: u32 = 24 * 3600;
/// Wrong answers that a link takes.
const LINK_TRIES: u8 = 5;

/// What is to be sent.
pub(crate) struct Mail<'a> {
    /// What for.
    pub(crate) kind: Kind,
    /// To which address or number.
    pub(crate) to: &'a str,
    /// In which language.
    pub(crate) language: Option<&'a str>,
    /// Where to go on.
    pub(crate) link: Option<&'a str>,
    /// What to type in.
    pub(crate) code: Option<&'a str>,
    /// How long that is good.
    pub(crate) minutes: u32,
}

impl Call {
    /// A keyed hash of an answer: only who has the server's key can tell what it was.
    pub(crate) fn answer_hash(
        &self,
        project: &ProjectId,
        user: &UserId,
        purpose: &str,
        answer: &str,
    ) -> String {
        let key = self.app.people.server_keys.index(project, "challenge", purpose);
        auth::code::hash(key.as_bytes(), purpose, user, answer)
    }

    /// The step that issues a challenge with this answer.
    pub(crate) fn issue(
        &self,
        (project, user): (&ProjectId, &UserId),
        purpose: &str,
        answer: &str,
        (seconds, tries): (u32, u8),
        detail: Option<Sealed>,
    ) -> Step {
        let challenge = Challenge {
            hash: self.answer_hash(project, user, purpose, answer),
            issued_at: Timestamp::default(),
            expires_at: Timestamp::default(),
            tries_left: tries,
            detail,
        };
        Step::Issue(Issue { purpose: purpose.into(), challenge, seconds })
    }

    /// The step that answers one.
    pub(crate) fn answer_step(
        &self,
        (project, user): (&ProjectId, &UserId),
        purpose: &str,
        answer: &str,
    ) -> Step {
        let hash = self.answer_hash(project, user, purpose, answer);
        Step::Answer { purpose: purpose.into(), hash }
    }

    /// Puts a mail or an SMS on its way; it leaves after the answer to this request.
    ///
    /// Errors with `busy` when too many wait, and with `invalid-body` for what is no address.
    pub(crate) fn send(&self, visit: &Visit, mail: &Mail<'_>) -> Result<(), Problem> {
        let config: &Config = &visit.directory.config;
        let values = Values {
            link: mail.link,
            code: mail.code,
            email: mail.to,
            project: &visit.live.state.name,
            minutes: mail.minutes,
        };
        let letter = Letter::new(
            visit.project.clone(),
            mail.kind,
            mail.to,
            &config.mail,
            mail.language,
            &values,
        );
        let letter = letter.map_err(|error| match error {
            messages::Error::Recipient => Problem::body("/email", error.to_string()),
            error => Problem::new(Code::Internal, "no mail could be written").because(error),
        })?;
        let outgoing = Outgoing { letter, route: Route::of(config, mail.kind) };
        self.app.people.queue.push(outgoing).map_err(|error| {
            Problem::new(Code::Busy, "too much mail waits to be sent").because(error)
        })
    }

    /// Signs somebody up who is let in once the address is verified. Whether the address is
    /// somebody's already is only told by mail.
    pub(super) async fn sign_up_unverified(
        &self,
        visit: &Visit,
        id: &UserId,
        mut steps: Vec<Step>,
        profile: &Profile,
        key: &IdentityKey,
    ) -> Answer {
        let secret = auth::code::link();
        let whom = (&visit.project, id);
        let limits = (LINK_SECONDS, LINK_TRIES);
        steps.push(self.issue(whom, purpose::VERIFY_EMAIL, &secret, limits, None));
        let actor = Actor::User { id: id.clone(), by: None };
        match self.change_user(&visit.project, actor, id, steps).await {
            Ok(_) => {
                let email = profile.email.as_deref().unwrap_or_default();
                let link = self.link(visit, purpose::VERIFY_EMAIL, id, &secret);
                self.send(
                    visit,
                    &Mail {
                        kind: Kind::VerifyEmail,
                        to: email,
                        language: profile.locale.as_deref(),
                        link: Some(&link),
                        code: None,
                        minutes: LINK_SECONDS / 60,
                    },
                )?;
            }
            Err(problem) => {
                self.forget_key(&visit.project, id).await;
                if problem.code() != Code::IdentityTaken {
                    return Err(problem);
                }
                tracing::debug!(project.id = %visit.project, identity = key, "signed up again");
            }
        }
        let next = purpose::VERIFY_EMAIL.to_owned();
        answer::json(StatusCode::ACCEPTED, &VerificationSent { next })
    }

    /// The link that answers a challenge.
    pub(crate) fn link(&self, visit: &Visit, purpose: &str, id: &UserId, secret: &str) -> String {
        format!("{}/confirm?token={purpose}~{id}~{secret}", visit.directory.issuer)
    }
}
