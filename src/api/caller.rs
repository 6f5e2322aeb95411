//! Who asks: the server's administrator, a key of the project, or a user by an access token. Keys
//! are compared by their SHA-256, whose timing tells nothing about the key. A wrong project and a
//! wrong token give the same answer, but to the administrator.

use std::sync::Arc;

use access::Operation;
use actix_web::http::header::{self, HeaderMap};
use auth::access_token::{Refused, TOKEN_BYTES_MAX};
use compact_str::CompactString;
use domain::access::{Access, Auth};
use domain::projects::KeyKind;
use domain::users::Subject;
use domain::{Actor, CollectionName, KeyId, ProjectId, Timestamp, UserId};
use engine::access::Viewer;
use engine::expand::{Expand, Expanded};
use engine::hub::Target;
use engine::{AsOf, Document, Project};
use issuers::third_party::Foreign;
use sha2::{Digest, Sha256};

use crate::app::Shared;
use crate::call::Call;
use crate::error::{Code, Problem};
use crate::people;
use crate::routes::Need;

/// A key of the server's own, as its hash.
pub(crate) struct AdminKey([u8; 32]);

impl AdminKey {
    /// From the key's text.
    pub(crate) fn new(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// Whether a token is this key.
    pub(crate) fn is(&self, token: &str) -> bool {
        digest(token) == self.0
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Principal {
    /// The server's administrator.
    Admin,
    /// A server of the project's developer: past the rules.
    Secret(KeyId),
    /// The project's app: no rights of its own.
    Publishable(KeyId),
    /// A user, as rules see it now.
    User(Box<Auth>),
}

impl Principal {
    /// As events name it.
    pub(crate) fn actor(&self) -> Actor {
        match self {
            Self::Admin => Actor::Admin,
            Self::Secret(id) | Self::Publishable(id) => Actor::Key(id.clone()),
            Self::User(auth) => Actor::User { id: auth.uid.clone(), by: auth.impersonator.clone() },
        }
    }

    /// What access rules are to its requests.
    pub(crate) fn access(&self) -> Access {
        match self {
            Self::Admin | Self::Secret(_) => Access::PastRules,
            Self::Publishable(_) => Access::ByRules(None),
            Self::User(auth) => Access::ByRules(Some(auth.clone())),
        }
    }
}

/// What a principal was told by, to be looked at again while a connection lasts.
#[derive(Debug, Clone)]
enum Shown {
    Admin,
    /// SHA-256 of the key's text, in lower-case hex.
    Key(String),
    /// What the access token says, and until when it is good.
    Token(Box<Auth>, Times),
}

/// When an access token is good.
#[derive(Debug, Clone, Copy)]
struct Times {
    issued_at: Timestamp,
    expires_at: Timestamp,
}

/// A caller within a project that exists.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    /// The project.
    pub(crate) project: ProjectId,
    /// Its configuration now.
    pub(crate) live: Arc<Project>,
    /// Who asks.
    pub(crate) principal: Principal,
    shown: Shown,
}

impl Scope {
    /// Lets through who is past the rules.
    ///
    /// Errors with `forbidden` for anybody else.
    pub(crate) fn past_rules(self) -> Result<Self, Problem> {
        match self.principal {
            Principal::Admin | Principal::Secret(_) => Ok(self),
            Principal::Publishable(_) | Principal::User(_) => {
                Err(Problem::new(Code::Forbidden, "this takes a secret key"))
            }
        }
    }

    /// What the caller sees of a collection, one document after the other.
    pub(crate) fn viewer(&self, collection: &CollectionName) -> Viewer {
        Viewer::of_documents(&self.live, &self.principal.access(), collection)
    }

    /// What the caller sees of a collection in lists.
    ///
    /// Errors with `forbidden` when there is no rule.
    pub(crate) fn list_viewer(&self, collection: &CollectionName) -> Result<Viewer, Problem> {
        let viewer = Viewer::of_lists(&self.live, &self.principal.access(), collection);
        match viewer.sees_nothing() {
            true => Err(domain::rejected::Reason::Denied.into()),
            false => Ok(viewer),
        }
    }

    /// What the caller sees of what it wants to follow.
    ///
    /// Errors with `forbidden` when there is no rule.
    pub(crate) fn viewer_of(&self, target: &Target) -> Result<Viewer, Problem> {
        let viewer = match target {
            Target::Collection(collection, ..) => return self.list_viewer(collection),
            Target::Document(collection, _) => self.viewer(collection),
        };
        match viewer.sees_nothing() {
            true => Err(domain::rejected::Reason::Denied.into()),
            false => Ok(viewer),
        }
    }

    /// What the caller's key is bound to; `None` for whoever is bound to nothing.
    pub(crate) fn bounds(&self) -> Option<&[String]> {
        let Principal::Secret(id) = &self.principal else { return None };
        let key = self.live.state.keys.get(id)?;
        (!key.scopes.is_empty()).then_some(key.scopes.as_slice())
    }

    /// What documents refer to, as far as the caller sees it.
    pub(crate) async fn expand(
        &self,
        call: &Call,
        documents: &[Document],
        expand: &Expand,
        as_of: Option<AsOf>,
    ) -> Result<Vec<Expanded>, Problem> {
        let (project, access) = ((&self.project, &*self.live), self.principal.access());
        let engine = &call.app.engine;
        Ok(engine.expand(project, &access, documents, expand, as_of).await?)
    }

    /// Lets through whom its key does not keep out of this part of the project.
    ///
    /// Errors with `forbidden` and the scope that is missing.
    pub(crate) fn check(&self, area: &str, need: Need) -> Result<(), Problem> {
        let Some(scopes) = self.bounds() else { return Ok(()) };
        let is_this = |scope: &String| scope.split_once(':') == Some((area, need.as_str()));
        match scopes.iter().any(is_this) {
            true => Ok(()),
            false => {
                let detail = format!("this key lacks the scope {area}:{}", need.as_str());
                Err(Problem::new(Code::Forbidden, detail))
            }
        }
    }

    /// Lets through whom a rule might allow to do one of these; whether it does, the writer
    /// decides.
    ///
    /// Errors with `forbidden` when there is no such rule.
    pub(crate) fn may_write(
        &self,
        collection: &CollectionName,
        operations: &[Operation],
    ) -> Result<(), Problem> {
        let has_rule = || {
            let rules = self.live.rules(collection);
            operations.iter().any(|operation| rules.has_rule(*operation))
        };
        match self.principal.access() == Access::PastRules || has_rule() {
            true => Ok(()),
            false => Err(domain::rejected::Reason::Denied.into()),
        }
    }

    /// The user, where it is one with a session of this server: another issuer's people have
    /// nothing here but what rules let them see.
    ///
    /// Errors with `unauthorized` for anybody else.
    pub(crate) fn user(&self) -> Result<&Auth, Problem> {
        match &self.principal {
            Principal::User(auth) if auth.session.is_some() => Ok(auth),
            _ => Err(Problem::new(Code::Unauthorized, "this takes a user's access token")),
        }
    }

    /// The same caller as things are now.
    ///
    /// Errors with `unauthorized` when it would not be let in any more.
    pub(crate) fn again(&self, shared: &Shared) -> Result<Self, Problem> {
        let live = shared.engine.catalog().project(&self.project).ok_or_else(unauthorized)?;
        let principal = match &self.shown {
            Shown::Admin => Principal::Admin,
            Shown::Key(hash) => by_key(&live, hash)?,
            Shown::Token(auth, times) => {
                if people::now() >= times.expires_at {
                    return Err(Problem::new(Code::Unauthorized, "the access token has expired"));
                }
                Principal::User(current(shared, &self.project, &live, auth, *times)?)
            }
        };
        let (project, shown) = (self.project.clone(), self.shown.clone());
        Ok(Self { project, live, principal, shown })
    }

    /// Until when the caller is let in without showing anything new.
    pub(crate) fn expires_at(&self) -> Option<Timestamp> {
        match &self.shown {
            Shown::Token(_, times) => Some(times.expires_at),
            Shown::Admin | Shown::Key(_) => None,
        }
    }
}

/// The token of `Authorization: Bearer …`.
///
/// Errors with `unauthorized` when there is none.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let value = headers.get(header::AUTHORIZATION).ok_or_else(|| {
        Problem::new(Code::Unauthorized, "send a token: Authorization: Bearer <token>")
    })?;
    let text = value.to_str().unwrap_or_default();
    let token = match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => "",
    };
    if token.is_empty() || token.len() > TOKEN_BYTES_MAX {
        return Err(unauthorized());
    }
    Ok(token)
}

fn unauthorized() -> Problem {
    Problem::new(Code::Unauthorized, "the token is not valid here")
}

/// Checks that the token is the administrator's.
///
/// Errors: `forbidden` for a token that looks like a project's key, `unauthorized` for any other.
pub(crate) fn admin(shared: &Shared, token: &str) -> Result<(), Problem> {
    if shared.admin_key.is(token) {
        return Ok(());
    }
    if token.starts_with("hw_sk_") || token.starts_with("hw_pk_") {
        return Err(Problem::new(Code::Forbidden, "only the server's administrator may do this"));
    }
    Err(unauthorized())
}

/// Finds out who asks within a project.
///
/// Errors: `unauthorized`; for the administrator also `invalid-id` and `project-not-found`.
pub(crate) async fn in_project(
    shared: &Shared,
    token: &str,
    project: &str,
) -> Result<Scope, Problem> {
    let digest = digest(token);
    let id = ProjectId::new(project);
    let live = id.as_ref().ok().and_then(|id| shared.engine.catalog().project(id));
    if digest == shared.admin_key.0 {
        let project =
            id.map_err(|error| Problem::new(Code::InvalidId, error.to_string()).field("project"))?;
        let live =
            live.ok_or_else(|| domain::rejected::Reason::ProjectNotFound).map_err(Problem::from)?;
        return Ok(Scope { project, live, principal: Principal::Admin, shown: Shown::Admin });
    }
    let (Ok(project), Some(live)) = (id, live) else { return Err(unauthorized()) };
    if token.starts_with("hw_") {
        let mut hex = [0; 64];
        let hash = write_hex(&digest, &mut hex).to_owned();
        let principal = by_key(&live, &hash)?;
        return Ok(Scope { project, live, principal, shown: Shown::Key(hash) });
    }
    let (auth, times) = by_token(shared, &project, &live, token).await?;
    let principal = Principal::User(current(shared, &project, &live, &auth, times)?);
    Ok(Scope { project, live, principal, shown: Shown::Token(auth, times) })
}

fn by_key(live: &Project, hash: &str) -> Result<Principal, Problem> {
    let (id, key) = live.key(hash).ok_or_else(unauthorized)?;
    Ok(match key.kind {
        KeyKind::Secret => Principal::Secret(id.clone()),
        KeyKind::Publishable => Principal::Publishable(id.clone()),
    })
}

/// What an access token says: one of the project's own, or one of an issuer that it takes.
async fn by_token(
    shared: &Shared,
    project: &ProjectId,
    live: &Arc<Project>,
    token: &str,
) -> Result<(Box<Auth>, Times), Problem> {
    let directory = shared.people.directory(project, live)?;
    let now = people::now();
    let seconds = |seconds: i64| Timestamp::from_micros(seconds.saturating_mul(1_000_000));
    match directory.verify(token, now) {
        Ok(claims) => {
            let times = Times { issued_at: seconds(claims.iat), expires_at: seconds(claims.exp) };
            return Ok((Box::new(claims.auth()), times));
        }
        // It may be of an issuer that the project takes tokens of.
        Err(Refused::Type | Refused::Key | Refused::Issuer | Refused::Algorithm)
            if !directory.config.issuers.is_empty() => {}
        Err(refused) => {
            tracing::debug!(project.id = %project, %refused, "access token refused");
            return Err(match refused {
                Refused::Expired => {
                    Problem::new(Code::Unauthorized, "the access token has expired")
                }
                _ => unauthorized(),
            });
        }
    }
    let issuers = &directory.config.issuers;
    let verified = shared.people.issuers.verify_foreign(issuers, token, now).await;
    let foreign = verified.map_err(|error| {
        tracing::debug!(project.id = %project, %error, "another issuer's token refused");
        unauthorized()
    })?;
    let issued_at = foreign.issued_at.unwrap_or(now);
    let times = Times { issued_at, expires_at: foreign.expires_at };
    Ok((Box::new(foreign_auth(foreign, &issuers[0].issuer)?), times))
}

/// What rules see of somebody whom another issuer vouches for.
///
/// Errors with `internal`, which can't be: the id is made of hex digits.
fn foreign_auth(foreign: Foreign, first: &str) -> Result<Auth, Problem> {
    // Two issuers may name two people alike, and not every name of theirs is an id here. Those of
    // the one that is listed first keep theirs, whoever is listed after it.
    let name = match foreign.issuer == first {
        true => UserId::new(&foreign.subject),
        false => Err(domain::ids::InvalidId::Length(0)),
    };
    let hash = key_hash(&format!("{} {}", foreign.issuer, foreign.subject));
    let uid = name.or_else(|_| UserId::new(&format!("ext-{}", &hash[..32])));
    let text = |name: &str| foreign.claims.get(name).and_then(|claim| claim.as_str());
    let internal = |error| Problem::new(Code::Internal, "no id for a user").because(error);
    Ok(Auth {
        uid: uid.map_err(internal)?,
        session: None,
        roles: foreign.roles.iter().map(CompactString::new).collect(),
        groups: Vec::new(),
        level: 1,
        methods: vec![CompactString::const_new("fed")],
        email: text("email").map(CompactString::new),
        email_verified: foreign.claims.get("email_verified") == Some(&true.into()),
        phone: None,
        is_anonymous: false,
        authenticated_at: foreign.auth_time.or(foreign.issued_at).unwrap_or_default(),
        impersonator: None,
        claims: foreign.claims,
    })
}

/// What a token says, as far as it still holds: sessions end and roles change while it is good.
fn current(
    shared: &Shared,
    project: &ProjectId,
    live: &Project,
    auth: &Auth,
    times: Times,
) -> Result<Box<Auth>, Problem> {
    let catalog = shared.engine.catalog();
    let ended = || Problem::new(Code::SessionEnded, "sign in again");
    let mut auth = Box::new(auth.clone());
    if let Some(session) = &auth.session {
        if catalog.recent(project, Subject::Session(session.clone())).is_some() {
            return Err(ended());
        }
        // Tokens count whole seconds: one of the same second may be of before or after.
        let recent = catalog.recent(project, Subject::User(auth.uid.clone()));
        let second = |time: Timestamp| time.as_micros().div_euclid(1_000_000);
        if let Some(recent) = recent.filter(|one| second(one.at) >= second(times.issued_at)) {
            let Some(access) = &recent.access else { return Err(ended()) };
            auth.roles = access.roles.iter().map(CompactString::new).collect();
            auth.groups = access.groups.iter().map(CompactString::new).collect();
            auth.claims.clone_from(&access.claims);
            auth.is_anonymous = access.anonymous;
        }
    }
    auth.roles = live.state.people.effective(&auth.roles, &auth.groups);
    Ok(auth)
}

/// What a project keeps of a key: its SHA-256 in lower-case hex.
pub(crate) fn key_hash(token: &str) -> String {
    write_hex(&digest(token), &mut [0; 64]).to_owned()
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn write_hex<'a>(bytes: &[u8; 32], out: &'a mut [u8; 64]) -> &'a str {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (index, byte) in bytes.iter().enumerate() {
        out[2 * index] = DIGITS[usize::from(byte >> 4)];
        out[2 * index + 1] = DIGITS[usize::from(byte & 15)];
    }
    // Hex digits only.
    std::str::from_utf8(out).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn hashes_are_lower_case_hex() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(key_hash("abc"), expected);
    }

    #[test]
    fn only_a_bearer_token_is_a_token() {
        let read = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_static(text));
            bearer(&headers).map(str::to_owned).map_err(|problem| problem.code())
        };
        assert_eq!(read("Bearer hw_sk_x").unwrap(), "hw_sk_x");
        assert_eq!(read("bearer hw_sk_x").unwrap(), "hw_sk_x");
        for bad in ["", "Bearer", "Bearer ", "Basic eDp5", "hw_sk_x"] {
            assert_eq!(read(bad), Err(Code::Unauthorized), "{bad}");
        }
        assert!(bearer(&HeaderMap::new()).is_err());
    }
}
