//! Whom a message is for, and the challenge that goes out with it. All of it happens after the
//! request that asked for it was answered, so that nobody learns whether there is such a user.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use auth::limits::Class;
use domain::users::{Identity, IdentityKey, Step, User, UserState};
use domain::{Actor, ProjectId, UserId};
use messages::Kind;
use serde_json::{Map, Value};

use super::challenges::{Detail, LINK_SECONDS, LINK_TRIES, Mail, purpose};
use super::password::{VerificationSent, new_user_id};
use super::visit::Visit;
use crate::answer::{self, Answer};
use crate::call::Call;
use crate::error::Problem;
use crate::people::{Profile, Way, now};

/// How long a code is good, in seconds.
const CODE_SECONDS: u32 = 600;
/// Wrong answers that a code takes.
const CODE_TRIES: u8 = 5;
/// How long a link is good that signs in or sets a password, in seconds.
const SHORT_LINK_SECONDS: u32 = 3600;

/// Somebody that a message is for.
pub(crate) struct Recipient {
    /// The user.
    pub(crate) id: UserId,
    /// The address or number as the user gave it: what was typed now may only look like it.
    pub(crate) to: String,
    /// In which language to write.
    pub(crate) language: Option<String>,
    /// Whether the user has shown that it is its own.
    pub(crate) is_verified: bool,
    /// What is to happen to it first; makes it, where it is new.
    pub(crate) steps: Vec<Step>,
}

/// What to make somebody of who is not there yet.
pub(crate) struct Newcomer {
    /// Its language (BCP 47).
    pub(crate) locale: Option<String>,
    /// Whatever else the app keeps with it.
    pub(crate) data: Map<String, Value>,
}

/// How a purpose's message looks.
struct Terms {
    kind: Kind,
    seconds: u32,
    tries: u8,
    is_code: bool,
}

impl Terms {
    fn of(purpose: &str) -> Self {
        let code = |kind| Self { kind, seconds: CODE_SECONDS, tries: CODE_TRIES, is_code: true };
        let link = |kind, seconds| Self { kind, seconds, tries: LINK_TRIES, is_code: false };
        match purpose {
            purpose::EMAIL_CODE => code(Kind::EmailCode),
            purpose::PHONE_CODE | purpose::CHANGE_PHONE => code(Kind::PhoneCode),
            purpose::MAGIC_LINK => link(Kind::MagicLink, SHORT_LINK_SECONDS),
            purpose::RESET_PASSWORD => link(Kind::ResetPassword, SHORT_LINK_SECONDS),
            _ => link(Kind::VerifyEmail, LINK_SECONDS),
        }
    }
}

/// What is answered before anything is sent, whoever it is for.
pub(crate) fn sent(next: &str) -> Answer {
    answer::json(StatusCode::ACCEPTED, &VerificationSent { next: next.to_owned() })
}

/// Notes that a way in is the user's own.
pub(crate) fn verify(user: &mut User, key: &IdentityKey) {
    if let Some(identity) = user.identities.get_mut(key) {
        identity.verified = true;
    }
}

/// As [`verify`], by somebody who signs in by the address or number alone. Where nobody had shown
/// before that it is its own, all else was set up by somebody who only typed it in, and may be
/// waiting for its owner to come: it is taken away. True when it was so; sessions must end then.
pub(crate) fn claim(user: &mut User, key: &IdentityKey) -> bool {
    if user.identities.get(key).is_none_or(|identity| identity.verified) {
        return false;
    }
    strip(user, key);
    verify(user, key);
    true
}

/// Leaves a user one way in, and nothing else to show who it is by.
pub(crate) fn strip(user: &mut User, key: &IdentityKey) {
    user.identities.retain(|known, _| known == key);
    user.password = None;
    user.password_at = None;
    user.factors.clear();
    user.recovery_codes.clear();
    user.passkeys.clear();
}

impl Call {
    /// Counts a wish for a message, and errors with `too-many-requests` and `captcha-failed`,
    /// whoever it is for.
    pub(crate) async fn check_message(
        &self,
        visit: &Visit,
        way: Way<'_>,
        captcha: Option<&str>,
    ) -> Result<(), Problem> {
        let key = self.app.people.key(&visit.project, way)?;
        self.limit_address(Class::MessagePerAddress)?;
        self.check_captcha(&visit.directory.config, captcha).await?;
        self.limit_name(Class::MessagePerRecipient, &visit.project, &key)
    }

    /// Who is found by this address or number and may sign in.
    pub(crate) async fn recipient(
        &self,
        project: &ProjectId,
        way: Way<'_>,
    ) -> Result<Option<Recipient>, Problem> {
        let people = &self.app.people;
        let key = people.key(project, way)?;
        let Some(id) = self.app.engine.user_by_identity(project, &key).await? else {
            return Ok(None);
        };
        let Some(state) = self.app.engine.user(project, &id).await? else { return Ok(None) };
        if state.user.disabled {
            return Ok(None);
        }
        let profile = people.profile(project, &id, &state.user).await?;
        let known = if matches!(way, Way::Email(_)) { &profile.email } else { &profile.phone };
        let to = known.as_deref().and_then(|known| spelt(way, known));
        let is_same = |to: &String| {
            let way = if matches!(way, Way::Email(_)) { Way::Email(to) } else { Way::Phone(to) };
            people.key(project, way).is_ok_and(|known| known == key)
        };
        let is_verified = state.user.identities.get(&key).is_some_and(|one| one.verified);
        let of =
            |to| Recipient { id, to, language: profile.locale, is_verified, steps: Vec::new() };
        Ok(to.filter(is_same).map(of))
    }

    /// Somebody new with this address or number, which it has yet to show to be its own.
    ///
    /// Errors with `forbidden` when the app's own server does not want it.
    async fn newcomer(
        &self,
        visit: &Visit,
        way: Way<'_>,
        newcomer: Newcomer,
    ) -> Result<Recipient, Problem> {
        let Newcomer { locale, data } = newcomer;
        let key = self.app.people.key(&visit.project, way)?;
        let mut profile = Profile { locale, data, ..Profile::default() };
        let to = match way {
            Way::Email(typed) => {
                profile.email = Some(typed.to_owned());
                spelt(way, typed)
            }
            Way::Phone(typed) => {
                profile.phone = spelt(way, typed);
                profile.phone.clone()
            }
            _ => None,
        };
        profile.check()?;
        let id = new_user_id()?;
        let mut user = self.new_user(visit, &id, &profile).await?;
        let identity = Identity { verified: false, added_at: now(), provider: None, detail: None };
        user.identities = BTreeMap::from([(key, identity)]);
        Ok(Recipient {
            id,
            to: to.unwrap_or_default(),
            language: profile.locale,
            is_verified: false,
            steps: vec![Step::Create(Box::new(user))],
        })
    }

    /// Sends a challenge to whoever has this address or number; to nobody when nobody has, unless
    /// somebody new may come.
    pub(crate) async fn challenge_way(
        &self,
        visit: &Visit,
        way: Way<'_>,
        purpose: &'static str,
        newcomer: Option<Newcomer>,
        detail: Detail,
    ) -> Result<(), Problem> {
        let found = self.recipient(&visit.project, way).await?;
        let key = self.app.people.key(&visit.project, way)?;
        let recipient = match (found, newcomer) {
            (Some(found), _) => found,
            // Who is there but can't be written to, or is disabled, is not new.
            (None, Some(newcomer))
                if visit.directory.config.sign_up
                    && self.app.engine.user_by_identity(&visit.project, &key).await?.is_none() =>
            {
                self.newcomer(visit, way, newcomer).await?
            }
            (None, _) => return Ok(()),
        };
        self.challenge(visit, recipient, purpose, detail).await
    }

    /// Issues a challenge and sends it.
    pub(crate) async fn challenge(
        &self,
        visit: &Visit,
        recipient: Recipient,
        purpose: &'static str,
        detail: Detail,
    ) -> Result<(), Problem> {
        let Recipient { id, to, language, mut steps, .. } = recipient;
        let Terms { kind, seconds, tries, is_code } = Terms::of(purpose);
        let answer = if is_code { auth::code::digits() } else { auth::code::link() };
        let detail = Detail { to: Some(to.clone()), ..detail };
        let whom = (&visit.project, &id);
        let is_new = matches!(steps.first(), Some(Step::Create(_)));
        steps.push(self.issue_about(whom, purpose, &answer, (seconds, tries), &detail).await?);
        // Whoever asks in another's name has not shown who it is.
        let actor = if is_new { Actor::User { id: id.clone(), by: None } } else { Actor::System };
        if let Err(problem) = self.change_user(&visit.project, actor, &id, steps).await {
            if is_new {
                self.forget_unless_made(&visit.project, &id, &problem).await;
            }
            return Err(problem);
        }
        let link = match purpose {
            purpose::RESET_PASSWORD => {
                self.reset_link(visit, &id, &answer, detail.redirect_to.as_deref())
            }
            _ => self.link(visit, purpose, &id, &answer),
        };
        self.send(
            visit,
            &Mail {
                kind,
                to: &to,
                language: language.as_deref(),
                link: (!is_code).then_some(&link),
                code: is_code.then_some(&answer),
                minutes: seconds / 60,
            },
        )
    }

    /// Tells a user by mail of what has happened to its account; not when it has no address.
    pub(crate) async fn notify(
        &self,
        visit: &Visit,
        id: &UserId,
        state: &UserState,
        kind: Kind,
    ) -> Result<(), Problem> {
        let profile = self.app.people.profile(&visit.project, id, &state.user).await?;
        let Some(to) = profile.email.as_deref().and_then(|email| spelt(Way::Email(email), email))
        else {
            return Ok(());
        };
        let language = profile.locale.as_deref();
        self.send(visit, &Mail { kind, to: &to, language, link: None, code: None, minutes: 0 })
    }
}

/// An address or number as messages are sent to.
pub(crate) fn spelt(way: Way<'_>, text: &str) -> Option<String> {
    match way {
        Way::Email(_) => auth::address::email(text).ok().map(|email| email.address.to_string()),
        Way::Phone(_) => auth::address::phone(text).ok().map(|phone| phone.to_string()),
        _ => None,
    }
}
