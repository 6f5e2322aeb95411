//! People whom another issuer vouches for: finding out who they are here, and making those who are
//! new. An address that an issuer calls somebody's opens the account of that address only where the
//! project says so, and where both sides have seen that it is theirs.

use std::collections::BTreeMap;

use auth::limits::Class;
use domain::sign_in::Provider;
use domain::users::{Identity, IdentityKey, Step, User, UserState};
use domain::{Actor, ProjectId, UserId};
use issuers::Person;
use serde::{Deserialize, Serialize};

use super::profile::{Profile, field};
use super::{Way, now};
use crate::call::Call;
use crate::error::{Code, Problem};
use crate::routes::auth::password::new_user_id;
use crate::routes::auth::visit::{Visit, disabled};

/// Changes by others meanwhile that are tried again.
const TRIES_MAX: usize = 5;
/// How sessions name that another issuer vouched. RFC 8176 has no name for it.
pub(crate) const METHOD: &str = "fed";

/// Somebody whom an issuer vouches for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Vouched {
    /// The provider's name in the project's configuration.
    pub(crate) provider: String,
    links_by_email: bool,
    issuer: String,
    subject: String,
    email: Option<String>,
    email_verified: bool,
    name: Option<String>,
    picture: Option<String>,
    locale: Option<String>,
}

/// What is kept of an identity that is another issuer's, sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Known {
    /// The issuer.
    pub(crate) issuer: String,
    /// What it calls the person.
    pub(crate) subject: String,
    /// The mail address that it names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) email: Option<String>,
}

/// Who it is, and what has to be written before it is let in.
struct Found {
    user: UserId,
    steps: Vec<Step>,
    is_new: bool,
}

impl Vouched {
    /// What a provider says of somebody.
    pub(crate) fn new(name: &str, provider: &Provider, person: Person) -> Self {
        let Person { issuer, subject, email, email_verified, name: called, .. } = person;
        Self {
            provider: name.to_owned(),
            links_by_email: provider.links_by_email,
            issuer,
            subject,
            email,
            email_verified,
            name: called,
            picture: person.picture,
            locale: person.locale,
        }
    }

    /// Without what is not needed to tell who it is.
    pub(crate) fn shortened(self) -> Self {
        Self { name: None, picture: None, locale: None, ..self }
    }

    fn way(&self) -> Way<'_> {
        Way::Issuer { issuer: &self.issuer, subject: &self.subject }
    }

    fn known(&self) -> Known {
        let Self { issuer, subject, email, .. } = self.clone();
        Known { issuer, subject, email }
    }

    /// What a new user says of itself, in the issuer's words.
    fn profile(&self, email: Option<String>) -> Profile {
        let Self { name, picture, locale, .. } = self.clone();
        let profile = Profile { email, name, picture, locale, ..Profile::default() };
        // Pictures may have longer addresses there than here.
        match profile.check() {
            Ok(()) => profile,
            Err(_) => Profile { picture: None, ..profile },
        }
    }
}

impl Call {
    /// Finds or makes the user whom an issuer vouches for, and hands it to `finish` with the steps
    /// to take first. Tells whether the user is new.
    ///
    /// Errors: `identity-taken` when the address is another user's and does not show that it is the
    /// same person, `forbidden` when nobody new may sign up; those of `finish`.
    pub(crate) async fn sign_in_vouched<T>(
        &self,
        visit: &Visit,
        vouched: &Vouched,
        finish: impl AsyncFn(&UserId, Vec<Step>) -> Result<T, Problem>,
    ) -> Result<(T, bool), Problem> {
        let mut last = None;
        for _ in 0..TRIES_MAX {
            if last.is_some() && self.app.engine.is_shared() {
                self.app.engine.refresh(&visit.project).await?;
            }
            let Found { user, steps, is_new } = self.find_vouched(visit, vouched).await?;
            let problem = match finish(&user, steps).await {
                Ok(done) => return Ok((done, is_new)),
                Err(problem) => problem,
            };
            if problem.code() == Code::IdentityTaken && is_new {
                // The writer made nobody: it is somebody else by now, perhaps by a second tab.
                self.forget_key(&visit.project, &user).await;
            }
            if !matches!(problem.code(), Code::UserChanged | Code::IdentityTaken) {
                return Err(problem);
            }
            last = Some(problem);
        }
        Err(last.unwrap_or_else(|| Problem::new(Code::UserChanged, "others change this user")))
    }

    async fn find_vouched(&self, visit: &Visit, vouched: &Vouched) -> Result<Found, Problem> {
        let project = &visit.project;
        let key = self.app.people.key(project, vouched.way())?;
        if let Some((id, state)) = self.owner(project, &key).await? {
            let steps = self.keep_up(project, (&id, &state), &key, vouched).await?;
            return Ok(Found { user: id, steps, is_new: false });
        }
        let email = self.claimed_email(visit, vouched);
        if let Some((_, email_key)) = &email
            && let Some((id, state)) = self.owner(project, email_key).await?
        {
            let is_ours = state.user.identities.get(email_key).is_some_and(|one| one.verified);
            if !(vouched.links_by_email && vouched.email_verified && is_ours) {
                return Err(address_taken());
            }
            let mut user = Box::new(state.user.clone());
            let identity = self.identity(project, &id, vouched).await?;
            user.identities.insert(key, identity);
            let update = Step::Update { expected: Some(state.version), user };
            return Ok(Found { user: id, steps: vec![update], is_new: false });
        }
        if !visit.directory.config.sign_up {
            return Err(Problem::new(Code::Forbidden, "nobody new may sign up here"));
        }
        self.limit_address(Class::SignUpPerAddress)?;
        self.somebody_new(visit, vouched, key, email).await
    }

    async fn somebody_new(
        &self,
        visit: &Visit,
        vouched: &Vouched,
        key: IdentityKey,
        email: Option<(String, IdentityKey)>,
    ) -> Result<Found, Problem> {
        let id = new_user_id()?;
        let profile = vouched.profile(email.as_ref().map(|(email, _)| email.clone()));
        let mut user = self.new_user(visit, &id, &profile).await?;
        let identity = self.identity(&visit.project, &id, vouched).await?;
        user.identities = BTreeMap::from([(key, identity)]);
        if let Some((_, key)) = email {
            user.identities.insert(key, by_mail(vouched.email_verified));
        }
        Ok(Found { user: id, steps: vec![Step::Create(Box::new(user))], is_new: true })
    }

    /// The issuer's address for somebody, as far as it becomes a way in. Where addresses must be
    /// verified, one that nobody vouches for is nobody's: neither taken nor looked up.
    fn claimed_email(&self, visit: &Visit, vouched: &Vouched) -> Option<(String, IdentityKey)> {
        let email = vouched.email.as_ref()?;
        if visit.directory.config.email_verification && !vouched.email_verified {
            return None;
        }
        // Not everything that issuers call an address is one.
        let key = self.app.people.key(&visit.project, Way::Email(email)).ok()?;
        Some((email.clone(), key))
    }

    async fn owner(
        &self,
        project: &ProjectId,
        key: &IdentityKey,
    ) -> Result<Option<(UserId, UserState)>, Problem> {
        let engine = &self.app.engine;
        let Some(id) = engine.user_by_identity(project, key).await? else { return Ok(None) };
        Ok(engine.user(project, &id).await?.map(|state| (id, state)))
    }

    /// Issuers change what they say of somebody; what is kept follows.
    async fn keep_up(
        &self,
        project: &ProjectId,
        (id, state): (&UserId, &UserState),
        key: &IdentityKey,
        vouched: &Vouched,
    ) -> Result<Vec<Step>, Problem> {
        let Some(identity) = state.user.identities.get(key) else { return Ok(Vec::new()) };
        let known: Option<Known> = match &identity.detail {
            Some(sealed) => self.app.people.open(project, id, field::IDENTITY, sealed).await?,
            None => None,
        };
        let is_same_name = identity.provider.as_deref() == Some(&vouched.provider);
        if known.as_ref() == Some(&vouched.known()) && is_same_name {
            return Ok(Vec::new());
        }
        let mut user = Box::new(state.user.clone());
        let new = self.identity(project, id, vouched).await?;
        user.identities.insert(key.clone(), Identity { added_at: identity.added_at, ..new });
        Ok(vec![Step::Update { expected: Some(state.version), user }])
    }

    async fn identity(
        &self,
        project: &ProjectId,
        id: &UserId,
        vouched: &Vouched,
    ) -> Result<Identity, Problem> {
        let detail = self.app.people.seal(project, id, field::IDENTITY, &vouched.known()).await?;
        let provider = Some(vouched.provider.clone());
        Ok(Identity { verified: true, added_at: now(), provider, detail: Some(detail) })
    }

    /// Gives a user who is signed in another way in. Somebody without a name gets that of the
    /// issuer, and is nobody no more.
    ///
    /// Errors: `identity-taken` when it is another user's.
    pub(crate) async fn link_vouched(
        &self,
        visit: &Visit,
        actor: Actor,
        id: &UserId,
        vouched: &Vouched,
    ) -> Result<UserState, Problem> {
        let (people, project) = (&self.app.people, &visit.project);
        let key = people.key(project, vouched.way())?;
        for _ in 0..TRIES_MAX {
            let state = self.user_state(project, id).await?;
            if state.user.identities.contains_key(&key) {
                return Ok(state);
            }
            if self.owner(project, &key).await?.is_some_and(|(owner, _)| owner != *id) {
                return Err(Problem::new(Code::IdentityTaken, "another user signs in this way"));
            }
            let mut user = Box::new(state.user.clone());
            user.identities.insert(key.clone(), self.identity(project, id, vouched).await?);
            if user.anonymous {
                user.anonymous = false;
                self.introduce(visit, id, &mut user, vouched).await?;
            }
            let update = Step::Update { expected: Some(state.version), user };
            match self.change_user(project, actor.clone(), id, vec![update]).await {
                Ok(_) => return self.user_state(project, id).await,
                // The address that it was to have as well may have become another's.
                Err(problem)
                    if matches!(problem.code(), Code::UserChanged | Code::IdentityTaken) => {}
                Err(problem) => return Err(problem),
            }
        }
        Err(Problem::new(Code::UserChanged, "others change this user all the time"))
    }

    /// Fills in what somebody without a name has not said of itself.
    async fn introduce(
        &self,
        visit: &Visit,
        id: &UserId,
        user: &mut User,
        vouched: &Vouched,
    ) -> Result<(), Problem> {
        let (people, project) = (&self.app.people, &visit.project);
        let mut profile = people.profile(project, id, user).await?;
        let told = vouched.profile(None);
        profile.name = profile.name.or(told.name);
        profile.picture = profile.picture.or(told.picture);
        profile.locale = profile.locale.or(told.locale);
        if profile.email.is_none()
            && vouched.email_verified
            && let Some((email, key)) = self.claimed_email(visit, vouched)
            && self.owner(project, &key).await?.is_none()
        {
            user.identities.insert(key, by_mail(true));
            profile.email = Some(email);
        }
        user.profile = Some(people.seal(project, id, field::PROFILE, &profile).await?);
        Ok(())
    }

    /// A provider of the project, by its name there; `name` is where the name came from.
    ///
    /// Errors with `forbidden` when there is none.
    pub(crate) fn provider<'a>(
        &self,
        visit: &'a Visit,
        name: &str,
    ) -> Result<&'a Provider, Problem> {
        let provider = visit.directory.config.providers.get(name);
        provider.ok_or_else(|| disabled("a provider of this name"))
    }
}

fn by_mail(verified: bool) -> Identity {
    Identity { verified, added_at: now(), provider: None, detail: None }
}

fn address_taken() -> Problem {
    let detail = "a user with this mail address is here already: sign in as that user, and link \
                  this provider then";
    Problem::new(Code::IdentityTaken, detail)
}
