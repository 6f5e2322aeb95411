//! One-time sign-in codes: a browser that has shown who its user is goes back to the app with one,
//! and the app gets a session for it, as RFC 6749, section 4.1, has it, with the proof of RFC 7636.
//! No token ever stands in a URL.

use auth::limits::Class;
use data_encoding::BASE64URL_NOPAD;
use domain::users::Step;
use domain::{Actor, ProjectId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::challenges::{Detail, purpose};
use super::visit::invalid_credentials;
use crate::answer::Answer;
use crate::body::{self, JSON};
use crate::call::Call;
use crate::error::{Code, Problem};
use crate::people::{How, SessionBody, now};

/// How long a code is good, in seconds.
const CODE_SECONDS: u32 = 300;
/// Wrong answers that it takes; a wrong one is refused before it is counted.
const CODE_TRIES: u8 = 5;
/// SHA-256 as base64url (RFC 7636, section 4.2).
const CHALLENGE_BYTES: usize = 43;
/// The shortest and the longest verifier (RFC 7636, section 4.1).
const VERIFIER_BYTES: std::ops::RangeInclusive<usize> = 43..=128;

/// A one-time sign-in code.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Exchange {
    /// What the browser came back with.
    #[schema(max_length = 4096)]
    code: String,
    /// What the code challenge at the start was made of, where there was one (RFC 7636, S256).
    #[serde(default)]
    #[schema(max_length = 128)]
    code_verifier: Option<String>,
}

/// What a code says to this server; nobody else can read it.
#[derive(Serialize, Deserialize)]
struct Carried {
    user: UserId,
    secret: String,
}

/// Gives a session for a one-time sign-in code.
#[utoipa::path(
    post, path = "/v1/projects/{project}/auth/token", operation_id = "exchangeCode", tag = "auth",
    request_body(content = Exchange),
    responses((status = 200, description = "A session.", body = SessionBody)),
)]
pub(crate) async fn exchange(mut call: Call) -> Answer {
    let visit = call.visit().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let Exchange { code, code_verifier } = body::parse(&body)?;
    call.limit_address(Class::SignInPerAddress)?;
    let project = &visit.project;
    let people = &call.app.people;
    let opened = people.server_keys.open_ticket(&ticket_purpose(project), &code, now());
    let opened = opened.map_err(|_| invalid_credentials())?;
    let Carried { user, secret } =
        serde_json::from_slice(&opened).map_err(|_| invalid_credentials())?;
    let detail = call.answered_anywhere(project, &user, purpose::SIGN_IN_CODE, &secret).await?;
    let (_, detail) = detail.ok_or_else(invalid_credentials)?;
    check_verifier(detail.code_challenge.as_deref(), code_verifier.as_deref())?;
    let answer = call.answer_step((project, &user), purpose::SIGN_IN_CODE, &secret);
    let level = detail.level.unwrap_or(1);
    let how = How { methods: detail.methods, level, impersonator: None };
    call.answer_session(project, &user, vec![answer], how).await
}

/// Errors with `invalid-body` for what is no S256 code challenge (RFC 7636, section 4.2).
pub(crate) fn check_challenge(challenge: Option<&str>) -> Result<(), Problem> {
    let is_one = |text: &str| {
        text.len() == CHALLENGE_BYTES && BASE64URL_NOPAD.decode(text.as_bytes()).is_ok()
    };
    match challenge.is_none_or(is_one) {
        true => Ok(()),
        false => Err(Problem::body("/codeChallenge", "expected SHA-256 as base64url: S256")),
    }
}

/// Whether whoever asks is the one who began (RFC 7636, section 4.6).
///
/// Errors with `invalid-credentials`; also for a verifier where none was announced: somebody may
/// have taken the challenge out of the start (RFC 9700, section 2.1.1).
pub(crate) fn check_verifier(
    challenge: Option<&str>,
    verifier: Option<&str>,
) -> Result<(), Problem> {
    let is_good = match (challenge, verifier) {
        (None, None) => true,
        (Some(challenge), Some(verifier)) => {
            VERIFIER_BYTES.contains(&verifier.len())
                && BASE64URL_NOPAD.encode(&Sha256::digest(verifier)) == challenge
        }
        _ => false,
    };
    is_good.then_some(()).ok_or_else(invalid_credentials)
}

fn ticket_purpose(project: &ProjectId) -> String {
    format!("{}/{project}", purpose::SIGN_IN_CODE)
}

impl Call {
    /// Takes these steps for a user and gives a one-time code that the app gets a session for: good
    /// for five minutes, and for the newest sign-in only.
    ///
    /// `code_challenge` is of the one who began, checked by [`check_challenge`]; `methods` and
    /// `level` say how the user showed who it is.
    ///
    /// Errors with `invalid-credentials` when one of the steps answers a challenge wrongly.
    pub(crate) async fn sign_in_code(
        &self,
        project: &ProjectId,
        user: &UserId,
        mut steps: Vec<Step>,
        code_challenge: Option<&str>,
        methods: Vec<String>,
        level: u8,
    ) -> Result<String, Problem> {
        let secret = auth::code::link();
        let detail = Detail {
            code_challenge: code_challenge.map(str::to_owned),
            methods,
            level: Some(level),
            ..Detail::default()
        };
        let limits = (CODE_SECONDS, CODE_TRIES);
        let whom = (project, user);
        steps.push(self.issue_about(whom, purpose::SIGN_IN_CODE, &secret, limits, &detail).await?);
        let actor = Actor::User { id: user.clone(), by: None };
        let written = self.change_user(project, actor, user, steps).await?;
        if written.events.iter().any(|one| one.event.kind.as_str() == "challenge.failed") {
            return Err(invalid_credentials());
        }
        let carried = serde_json::to_vec(&Carried { user: user.clone(), secret })
            .map_err(|error| Problem::new(Code::Internal, "no code").because(error))?;
        let expires_at = now().as_micros().saturating_add(i64::from(CODE_SECONDS) * 1_000_000);
        let expires_at = Timestamp::from_micros(expires_at);
        let ticket = &ticket_purpose(project);
        Ok(self.app.people.server_keys.ticket(ticket, &carried, expires_at)?)
    }

    /// As [`Call::answered`], of a user who is there; also when the challenge was issued on another
    /// node a moment ago.
    pub(crate) async fn answered_anywhere(
        &self,
        project: &ProjectId,
        user: &UserId,
        purpose: &str,
        answer: &str,
    ) -> Result<Option<(domain::users::UserState, Detail)>, Problem> {
        let engine = &self.app.engine;
        for is_again in [false, true] {
            if is_again {
                if !engine.is_shared() {
                    break;
                }
                engine.refresh(project).await?;
            }
            let Some(state) = engine.user(project, user).await? else { continue };
            let detail = self.answered((project, user), &state, purpose, answer).await?;
            if let Some(detail) = detail {
                return Ok(Some((state, detail)));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7636, appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn the_verifier_of_the_rfc_is_taken() {
        assert!(check_challenge(Some(CHALLENGE)).is_ok());
        assert!(check_verifier(Some(CHALLENGE), Some(VERIFIER)).is_ok());
        assert!(check_verifier(None, None).is_ok());
    }

    #[test]
    fn nothing_else_is() {
        let other = VERIFIER.replace('d', "e");
        for (challenge, verifier) in [
            (Some(CHALLENGE), None),
            (None, Some(VERIFIER)),
            (Some(CHALLENGE), Some(other.as_str())),
            (Some(CHALLENGE), Some(CHALLENGE)),
            (Some(CHALLENGE), Some("")),
        ] {
            assert!(check_verifier(challenge, verifier).is_err(), "{challenge:?} {verifier:?}");
        }
        for bad in ["", "plain", &CHALLENGE[1..], &"=".repeat(43)] {
            assert!(check_challenge(Some(bad)).is_err(), "{bad}");
        }
    }
}
