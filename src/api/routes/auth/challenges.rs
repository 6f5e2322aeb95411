//! Challenges: what is sent to somebody, who shows by it that address or number is its own. Which
//! address or number, and where to go on, is sealed beside each: a challenge that went to an
//! address which is the user's no more shows nothing.

use domain::sign_in::Config;
use domain::users::{Challenge, Ended, Issue, Sealed, Step, UserState};
use domain::{ProjectId, Timestamp, UserId};
use messages::{Kind, Letter, Outgoing, Route, Values};
use serde::{Deserialize, Serialize};

use super::own::unless_changed;
use super::recipients::{Recipient, sent, strip};
use super::visit::Visit;
use crate::answer::Answer;
use crate::call::Call;
use crate::error::{Code, Problem};
use crate::people::{Profile, Way, field, now};

/// What a challenge is for: one of each kind is open at a time.
pub(crate) mod purpose {
    /// A mail address is the user's own.
    pub(crate) const VERIFY_EMAIL: &str = "verify-email";
    /// Signs in by a link.
    pub(crate) const MAGIC_LINK: &str = "magic-link";
    /// Somebody was invited.
    pub(crate) const INVITE: &str = "invite";
    /// A new password.
    pub(crate) const RESET_PASSWORD: &str = "reset-password";
    /// A new mail address.
    pub(crate) const CHANGE_EMAIL: &str = "change-email";
    /// A new phone number.
    pub(crate) const CHANGE_PHONE: &str = "change-phone";
    /// Signs in by a code in a mail.
    pub(crate) const EMAIL_CODE: &str = "email-code";
    /// Signs in by a code in an SMS.
    pub(crate) const PHONE_CODE: &str = "phone-code";
    /// What a browser brings back to the app, which gets a session for it.
    pub(crate) const SIGN_IN_CODE: &str = "sign-in-code";
}

/// How long a link in a mail is good, in seconds.
pub(crate) const LINK_SECONDS: u32 = 24 * 3600;
/// Wrong answers that a link takes.
pub(crate) const LINK_TRIES: u8 = 5;

/// What a challenge is about; sealed beside it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Detail {
    /// The address or number that it was sent to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<String>,
    /// Where to send the browser on; checked again before it is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) redirect_to: Option<String>,
    /// What the app must show the verifier of (RFC 7636, S256).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code_challenge: Option<String>,
    /// How the user showed who it is, of a sign-in code.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) methods: Vec<String>,
    /// The level of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) level: Option<u8>,
    /// The hash of the password that comes with a new address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) password: Option<String>,
}

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
        let key = self.challenge_key(project, purpose);
        auth::code::hash(key.as_bytes(), purpose, user, answer)
    }

    fn challenge_key(&self, project: &ProjectId, purpose: &str) -> String {
        self.app.people.index(project, "challenge", purpose)
    }

    /// What an open challenge is about, if this answers it. The writer has the last word: only a
    /// step of [`Call::answer_step`] uses it up.
    pub(crate) async fn answered(
        &self,
        (project, user): (&ProjectId, &UserId),
        state: &UserState,
        purpose: &str,
        answer: &str,
    ) -> Result<Option<Detail>, Problem> {
        let key = self.challenge_key(project, purpose);
        let open = state.challenges.get(purpose).filter(|open| open.expires_at >= now());
        let is_answer = |open: &&Challenge| {
            auth::code::matches(key.as_bytes(), purpose, user, answer, &open.hash)
        };
        match open.filter(is_answer) {
            Some(open) => self.detail(project, user, open).await.map(Some),
            None => Ok(None),
        }
    }

    /// What a challenge is about.
    pub(crate) async fn detail(
        &self,
        project: &ProjectId,
        user: &UserId,
        challenge: &Challenge,
    ) -> Result<Detail, Problem> {
        let Some(sealed) = &challenge.detail else { return Ok(Detail::default()) };
        let detail = self.app.people.open(project, user, field::CHALLENGE, sealed).await?;
        Ok(detail.unwrap_or_default())
    }

    /// As [`Call::issue`], with what it is about.
    pub(crate) async fn issue_about(
        &self,
        (project, user): (&ProjectId, &UserId),
        purpose: &str,
        answer: &str,
        limits: (u32, u8),
        detail: &Detail,
    ) -> Result<Step, Problem> {
        let sealed = self.app.people.seal(project, user, field::CHALLENGE, detail).await?;
        Ok(self.issue((project, user), purpose, answer, limits, Some(sealed)))
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
    ///
    /// `hash` is of the new user's password.
    pub(super) async fn sign_up_unverified(
        &self,
        visit: &Visit,
        new: Recipient,
        (profile, hash): (&Profile, &str),
        redirect_to: Option<String>,
    ) -> Answer {
        let (id, email) = (new.id.clone(), new.to.clone());
        let detail = Detail { redirect_to, ..Detail::default() };
        match self.challenge(visit, new, purpose::VERIFY_EMAIL, detail.clone()).await {
            Err(problem) if problem.code() == Code::IdentityTaken => {
                tracing::debug!(project.id = %visit.project, user.id = %id, "signed up again");
                let again = unless_changed(async || {
                    self.sign_up_again(visit, &email, (profile, hash), detail.clone()).await
                });
                again.await?;
            }
            outcome => outcome?,
        }
        sent(purpose::VERIFY_EMAIL)
    }

    /// Somebody signs up with an address that is somebody's already. Who has verified it gets a
    /// link to sign in, or to set a new password; who has not was perhaps somebody else, and
    /// nothing that it left is kept.
    async fn sign_up_again(
        &self,
        visit: &Visit,
        email: &str,
        (profile, hash): (&Profile, &str),
        detail: Detail,
    ) -> Result<(), Problem> {
        let (project, people) = (&visit.project, &self.app.people);
        let config = &visit.directory.config;
        let Some(mut found) = self.recipient(project, Way::Email(email)).await? else {
            return Ok(());
        };
        if found.is_verified {
            let is_link = config.magic_link;
            let purpose = if is_link { purpose::MAGIC_LINK } else { purpose::RESET_PASSWORD };
            return self.challenge(visit, found, purpose, detail).await;
        }
        let Some(state) = self.app.engine.user(project, &found.id).await? else { return Ok(()) };
        let key = people.key(project, Way::Email(email))?;
        let mut user = Box::new(state.user.clone());
        strip(&mut user, &key);
        user.profile = Some(people.seal(project, &found.id, field::PROFILE, profile).await?);
        user.password = Some(people.seal(project, &found.id, field::PASSWORD, &hash).await?);
        user.password_at = Some(now());
        let reason = Ended::CredentialChanged;
        found.steps.push(Step::Update { expected: Some(state.version), user });
        found.steps.push(Step::EndSessions { only: None, except: None, reason });
        self.challenge(visit, found, purpose::VERIFY_EMAIL, detail).await
    }

    /// The link that answers a challenge.
    pub(crate) fn link(&self, visit: &Visit, purpose: &str, id: &UserId, secret: &str) -> String {
        format!("{}/confirm?token={purpose}~{id}~{secret}", visit.directory.issuer)
    }
}
