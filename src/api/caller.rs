//! Who asks: the server's administrator, or a key of the project. Tokens are compared by their
//! SHA-256, whose timing tells nothing about the token. A wrong project and a wrong token give the
//! same answer, but to the administrator.

use std::sync::Arc;

use actix_web::http::header::{self, HeaderMap};
use domain::projects::KeyKind;
use domain::{Actor, KeyId, ProjectId};
use engine::Project;
use sha2::{Digest, Sha256};

use crate::app::Shared;
use crate::error::{Code, Problem};

/// The longest token, in bytes.
const TOKEN_BYTES_MAX: usize = 4096;

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
}

impl Principal {
    /// As events name it.
    pub(crate) fn actor(&self) -> Actor {
        match self {
            Self::Admin => Actor::Admin,
            Self::Secret(id) | Self::Publishable(id) => Actor::Key(id.clone()),
        }
    }
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
}

impl Scope {
    /// Lets through who is past the rules.
    ///
    /// Errors with `forbidden` for a publishable key: no rule means no access.
    pub(crate) fn past_rules(self) -> Result<Self, Problem> {
        match self.principal {
            Principal::Admin | Principal::Secret(_) => Ok(self),
            Principal::Publishable(_) => {
                Err(Problem::new(Code::Forbidden, "no rule lets a publishable key do this"))
            }
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
pub(crate) fn in_project(shared: &Shared, token: &str, project: &str) -> Result<Scope, Problem> {
    let digest = digest(token);
    let id = ProjectId::new(project);
    let live = id.as_ref().ok().and_then(|id| shared.engine.catalog().project(id));
    if digest == shared.admin_key.0 {
        let project =
            id.map_err(|error| Problem::new(Code::InvalidId, error.to_string()).field("project"))?;
        let live =
            live.ok_or_else(|| domain::rejected::Reason::ProjectNotFound).map_err(Problem::from)?;
        return Ok(Scope { project, live, principal: Principal::Admin });
    }
    let (Ok(project), Some(live)) = (id, live) else { return Err(unauthorized()) };
    let mut hex = [0; 64];
    let principal = match live.key(write_hex(&digest, &mut hex)) {
        Some((id, key)) => match key.kind {
            KeyKind::Secret => Principal::Secret(id.clone()),
            KeyKind::Publishable => Principal::Publishable(id.clone()),
        },
        None => return Err(unauthorized()),
    };
    Ok(Scope { project, live, principal })
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
