//! Asks the project's captcha service whether an answer came from a person.

use std::net::IpAddr;
use std::time::Duration;

use domain::sign_in::Captcha;
use form_urlencoded::Serializer;
use serde::Deserialize;

use crate::outbound::Call;
use crate::{Error, Outbound};

/// How long the service may take.
const WAIT_MAX: Duration = Duration::from_secs(3);
/// Longest answer of a widget, in bytes; those of the services known today stay below 5,000.
const ANSWER_BYTES_MAX: usize = 8192;

#[derive(Deserialize)]
struct Verdict {
    success: bool,
    #[serde(default, rename = "error-codes")]
    error_codes: Vec<String>,
}

/// Whether `answer`, which the app got from the widget, is good. An answer that is empty or longer
/// than 8 KiB is not, without asking. An error if the service can't be reached, does not answer
/// within 3 s, or does not take the project's secret: then nothing is known of the person.
pub async fn verify(
    outbound: &Outbound,
    captcha: &Captcha,
    answer: &str,
    remote_ip: Option<IpAddr>,
) -> Result<bool, Error> {
    if answer.is_empty() || answer.len() > ANSWER_BYTES_MAX {
        return Ok(false);
    }
    let ip = remote_ip.map(|ip| ip.to_string());
    let form = Serializer::new(String::new())
        .extend_pairs([("secret", captcha.secret.0.as_str()), ("response", answer)])
        .extend_pairs(ip.as_deref().map(|ip| ("remoteip", ip)))
        .finish();
    let call = Call {
        url: &captcha.verify_url,
        content_type: "application/x-www-form-urlencoded",
        headers: Vec::new(),
        body: form.into_bytes(),
        wait: WAIT_MAX,
    };
    let found = outbound.post(call).await?;
    if !(200..=299).contains(&found.status) {
        return Err(Error::of_status(found.status));
    }
    let verdict: Verdict = serde_json::from_slice(&found.body)
        .map_err(|_| Error::Answer("no `success` in what siteverify says"))?;
    // Every service calls it so; a person would be taken for a program otherwise.
    if verdict.error_codes.iter().any(|code| code.ends_with("-input-secret")) {
        return Err(Error::Setting("the captcha's secret"));
    }
    Ok(verdict.success)
}

#[cfg(test)]
mod tests {
    use domain::sign_in::Secret;

    use super::*;
    use crate::fake::{Reply, Server, install_tls};

    async fn ask(reply: Reply, answer: &str) -> (Result<bool, Error>, Server) {
        install_tls();
        let server = Server::start(vec![reply]).await;
        let verify_url = server.url("/siteverify");
        let captcha = Captcha { verify_url, secret: Secret("s&cret".into()) };
        let outbound = Outbound::new(true).unwrap();
        let ip = Some("2001:db8::1".parse().unwrap());
        (verify(&outbound, &captcha, answer, ip).await, server)
    }

    #[tokio::test]
    async fn asks_as_siteverify_wants() {
        let (found, server) = ask(Reply::json(200, r#"{"success":true}"#), "a=b&c").await;
        assert_eq!(found, Ok(true));
        let form = server.requests()[0].form();
        let wanted = [("secret", "s&cret"), ("response", "a=b&c"), ("remoteip", "2001:db8::1")];
        assert_eq!(form, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[tokio::test]
    async fn takes_only_a_plain_yes() {
        let no = r#"{"success":false,"error-codes":["invalid-input-response"]}"#;
        assert_eq!(ask(Reply::json(200, no), "x").await.0, Ok(false));
        let ours = r#"{"success":false,"error-codes":["invalid-input-secret"]}"#;
        let found = ask(Reply::json(200, ours), "x").await.0;
        assert_eq!(found, Err(Error::Setting("the captcha's secret")));
        for (status, body) in [(200, "{}"), (200, "yes"), (200, r#"{"success":"true"}"#)] {
            let found = ask(Reply::json(status, body), "x").await.0;
            assert!(matches!(found, Err(Error::Answer(_))), "{body}");
        }
        let found = ask(Reply::json(503, r#"{"success":true}"#), "x").await.0;
        assert_eq!(found, Err(Error::Later(503)));
    }

    #[tokio::test]
    async fn asks_nothing_that_can_only_be_wrong() {
        for answer in ["", &"x".repeat(8193)] {
            let (found, server) = ask(Reply::json(200, r#"{"success":true}"#), answer).await;
            assert_eq!(found, Ok(false));
            assert!(server.requests().is_empty());
        }
    }
}
