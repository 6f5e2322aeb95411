//! Calls of the app's own server on the way, signed and limited in time. Its answer may refuse,
//! or add to what is made; what it may not set is refused here, whatever it says.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use domain::Timestamp;
use domain::ids::check_id;
use domain::sign_in::{Hook, OnFailure};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::outbound::{Answer, Call};
use crate::{Letter, Outbound, signing};

/// The longest that any hook may take.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// The longest message that a refusal may carry, in characters.
const REFUSAL_CHARS_MAX: usize = 300;
/// Most roles that a hook may give.
const ROLES_MAX: usize = 32;
/// Most claims that a hook may add.
const CLAIMS_MAX: usize = 64;
/// Largest claims that a hook may add, as JSON in bytes: they travel with every request.
const CLAIMS_BYTES_MAX: usize = 4096;

/// Claims that only the server sets: RFC 7519 §4.1, OpenID Connect Core §2 and RFC 8693 §4.1, and
/// the session, roles and groups that access is decided by.
pub const RESERVED_CLAIMS: [&str; 14] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "iat",
    "nbf",
    "jti",
    "sid",
    "roles",
    "groups",
    "acr",
    "amr",
    "auth_time",
    "act",
];

/// What a hook has kept from going on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The app's server refuses, and says why to the person: one line, at most 300 characters.
    #[error("refused by the app's server")]
    Refused(String),
    /// The app's server did not answer, or not as it should.
    #[error("the hook failed: {0}")]
    Failed(#[from] crate::Error),
}

impl From<Error> for crate::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(message) => Self::RefusedBy(message),
            Error::Failed(error) => error,
        }
    }
}

/// What a new user starts with.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SignUpDecision {
    /// Roles: at most 32, named as ids are.
    pub roles: Vec<String>,
    /// Claims that every access token of the user has: at most 64, and 4 KiB of JSON.
    pub claims: Map<String, Value>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TokenDecision {
    claims: Map<String, Value>,
}

/// Calls hooks. Cheap to clone.
#[derive(Clone)]
pub struct Caller {
    outbound: Outbound,
}

impl Caller {
    /// A caller that goes out by `outbound`.
    pub fn new(outbound: Outbound) -> Self {
        Self { outbound }
    }

    /// Calls `hook` with `{"type": event_type, "timestamp": …, "data": data}`, and returns the
    /// object that it answers with; an empty one if it answers nothing, or if it fails and may. An
    /// answer 4xx with `{"error": {"message": …}}` is [`Error::Refused`] in any case.
    pub async fn call(
        &self,
        hook: &Hook,
        event_type: &str,
        data: &Value,
    ) -> Result<Map<String, Value>, Error> {
        let id = signing::new_id()?;
        or_continue(hook, event_type, self.attempt(hook, &id, event_type, data).await)
    }

    /// Asks whether somebody new may sign up, and as what. `user` is what is known so far.
    pub async fn before_sign_up(&self, hook: &Hook, user: &Value) -> Result<SignUpDecision, Error> {
        let event_type = "before_sign_up";
        let answer = self.attempt(hook, &signing::new_id()?, event_type, user).await;
        or_continue(hook, event_type, answer.and_then(sign_up_decision))
    }

    /// Asks whether an access token may be made, and returns further claims for it. `view` is what
    /// is known of user and session.
    pub async fn before_token(
        &self,
        hook: &Hook,
        view: &Value,
    ) -> Result<Map<String, Value>, Error> {
        let event_type = "before_token";
        let answer = self.attempt(hook, &signing::new_id()?, event_type, view).await;
        or_continue(hook, event_type, answer.and_then(token_decision))
    }

    /// Hands a mail over. False if that failed and the hook lets it go on: then the mail is still
    /// to be sent.
    pub async fn send_mail(&self, hook: &Hook, letter: &Letter) -> Result<bool, Error> {
        let message = &letter.message;
        let data = json!({
            "to": letter.to, "project": letter.project.as_str(), "kind": letter.kind,
            "subject": message.subject, "text": message.text, "html": message.html,
            "link": letter.link, "code": letter.code,
        });
        self.hand_over(hook, "send_mail", letter, &data).await
    }

    /// Hands an SMS over; false as [`Caller::send_mail`] says.
    pub async fn send_sms(&self, hook: &Hook, letter: &Letter) -> Result<bool, Error> {
        let data = json!({
            "to": letter.to, "project": letter.project.as_str(), "kind": letter.kind,
            "text": letter.message.text, "code": letter.code,
        });
        self.hand_over(hook, "send_sms", letter, &data).await
    }

    async fn hand_over(
        &self,
        hook: &Hook,
        event_type: &str,
        letter: &Letter,
        data: &Value,
    ) -> Result<bool, Error> {
        let answer = self.attempt(hook, &letter.id, event_type, data).await;
        or_continue(hook, event_type, answer.map(|_| true))
    }

    async fn attempt(
        &self,
        hook: &Hook,
        id: &str,
        event_type: &str,
        data: &Value,
    ) -> Result<Map<String, Value>, Error> {
        let micros = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let micros = i64::try_from(micros).unwrap_or(i64::MAX);
        let timestamp = Timestamp::from_micros(micros).to_string();
        let payload = json!({ "type": event_type, "timestamp": timestamp, "data": data });
        let body = payload.to_string().into_bytes();
        let seconds = micros / 1_000_000;
        let signature = signing::sign(&hook.secret, id, seconds, &body)
            .map_err(|_| crate::Error::Setting("the hook's secret"))?;
        let headers = vec![
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", seconds.to_string()),
            ("webhook-signature", signature),
        ];
        let wait = Duration::from_millis(u64::from(hook.wait_ms_max)).min(WAIT_MAX);
        let content_type = "application/json";
        let call = Call { url: &hook.url, content_type, headers, body, wait };
        outcome(&self.outbound.post(call).await?)
    }
}

/// What an answer means.
fn outcome(answer: &Answer) -> Result<Map<String, Value>, Error> {
    let is_empty = answer.body.iter().all(u8::is_ascii_whitespace);
    match answer.status {
        200..=299 if is_empty => Ok(Map::new()),
        200..=299 => serde_json::from_slice(&answer.body)
            .map_err(|_| crate::Error::Answer("not a JSON object").into()),
        400..=499 => Err(refusal(&answer.body)
            .map_or_else(|| crate::Error::of_status(answer.status).into(), Error::Refused)),
        status => Err(crate::Error::of_status(status).into()),
    }
}

/// The message of `{"error": {"message": …}}`, fit to be shown.
fn refusal(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let message = body.get("error")?.get("message")?.as_str()?;
    let line = message.chars().map(|one| if one.is_control() { ' ' } else { one });
    Some(line.take(REFUSAL_CHARS_MAX).collect())
}

/// A failure as the hook wants it taken; a refusal stays one.
fn or_continue<T: Default>(
    hook: &Hook,
    event_type: &str,
    result: Result<T, Error>,
) -> Result<T, Error> {
    match result {
        Err(Error::Failed(error)) if hook.on_failure == OnFailure::Continue => {
            tracing::warn!(hook = event_type, %error, "hook failed, went on without");
            Ok(T::default())
        }
        other => other,
    }
}

fn sign_up_decision(answer: Map<String, Value>) -> Result<SignUpDecision, Error> {
    let decision: SignUpDecision = serde_json::from_value(Value::Object(answer))
        .map_err(|_| crate::Error::Answer("not roles and claims"))?;
    if decision.roles.len() > ROLES_MAX {
        return Err(crate::Error::Answer("more than 32 roles").into());
    }
    if decision.roles.iter().any(|role| check_id(role).is_err()) {
        return Err(crate::Error::Answer("a role that is no name").into());
    }
    check_claims(&decision.claims)?;
    Ok(decision)
}

fn token_decision(answer: Map<String, Value>) -> Result<Map<String, Value>, Error> {
    let decision: TokenDecision = serde_json::from_value(Value::Object(answer))
        .map_err(|_| crate::Error::Answer("not claims"))?;
    check_claims(&decision.claims)?;
    Ok(decision.claims)
}

/// Checks claims that somebody else wants in a token: none of [`RESERVED_CLAIMS`], at most 64, and
/// at most 4 KiB as JSON.
pub fn check_claims(claims: &Map<String, Value>) -> Result<(), crate::Error> {
    if claims.keys().any(|name| RESERVED_CLAIMS.contains(&name.as_str())) {
        return Err(crate::Error::Answer("a claim that only the server sets"));
    }
    if claims.len() > CLAIMS_MAX {
        return Err(crate::Error::Answer("more than 64 claims"));
    }
    let bytes = serde_json::to_vec(claims).map_or(usize::MAX, |json| json.len());
    if bytes > CLAIMS_BYTES_MAX {
        return Err(crate::Error::Answer("more than 4 KiB of claims"));
    }
    Ok(())
}

#[cfg(test)]
#[path = "hooks_tests.rs"]
mod tests;
