//! Sends SMS, by Twilio's API (`2010-04-01`, resource Messages) or by a call of the app's own
//! server.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::sign_in::{Secret, Sms};
use form_urlencoded::Serializer;

use crate::outbound::Call;
use crate::{Error, Letter, Outbound, hooks};

/// How long the service may take.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Where Twilio is.
const TWILIO: &str = "https://api.twilio.com";
/// Longest text that Twilio takes, in characters.
const TEXT_CHARS_MAX: usize = 1600;
/// Longest name of an account, in bytes; Twilio's own have 34.
const ACCOUNT_BYTES_MAX: usize = 64;

/// Sends SMS. Cheap to clone.
#[derive(Clone)]
pub struct Sender {
    outbound: Outbound,
    hooks: hooks::Caller,
}

impl Sender {
    /// A sender that goes out by `outbound`.
    pub fn new(outbound: Outbound) -> Self {
        Self { hooks: hooks::Caller::new(outbound.clone()), outbound }
    }

    /// Sends one, within 5 s; a webhook has its own limit, and has to take the SMS whatever it
    /// says of failures: there is nobody else to send it.
    pub async fn send(&self, letter: &Letter, by: &Sms) -> Result<(), Error> {
        match by {
            Sms::Twilio { account_sid, auth_token, from, base_url } => {
                let base = base_url.as_deref().unwrap_or(TWILIO);
                self.twilio(letter, base, account_sid, auth_token, from).await
            }
            Sms::Webhook(hook) => match self.hooks.send_sms(hook, letter).await? {
                true => Ok(()),
                false => Err(Error::Unreachable("the webhook did not take it")),
            },
        }
    }

    async fn twilio(
        &self,
        letter: &Letter,
        base: &str,
        account: &str,
        token: &Secret,
        from: &str,
    ) -> Result<(), Error> {
        let is_account = (1..=ACCOUNT_BYTES_MAX).contains(&account.len())
            && account.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_account {
            return Err(Error::Setting("the SMS account"));
        }
        let text: String = letter.message.text.chars().take(TEXT_CHARS_MAX).collect();
        let form = Serializer::new(String::new())
            .extend_pairs([("To", letter.to.as_str()), ("From", from), ("Body", &text)])
            .finish();
        let proof = STANDARD.encode(format!("{account}:{}", token.0));
        let base = base.trim_end_matches('/');
        let call = Call {
            url: &format!("{base}/2010-04-01/Accounts/{account}/Messages.json"),
            content_type: "application/x-www-form-urlencoded",
            headers: vec![("authorization", format!("Basic {proof}"))],
            body: form.into_bytes(),
            wait: WAIT_MAX,
        };
        match self.outbound.post(call).await?.status {
            200..=299 => Ok(()),
            status => Err(Error::of_status(status)),
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::sign_in::{Hook, OnFailure};

    use super::*;
    use crate::fake::{Reply, Server, install_tls};
    use crate::letter::tests::letter;
    use crate::{Kind, signing};

    fn sender() -> Sender {
        install_tls();
        Sender::new(Outbound::new(true).unwrap())
    }

    fn twilio(base_url: String) -> Sms {
        Sms::Twilio {
            account_sid: "AC123".into(),
            auth_token: Secret("tok".into()),
            from: "+15550100".into(),
            base_url: Some(base_url),
        }
    }

    #[tokio::test]
    async fn speaks_to_twilio() {
        let server = Server::start(vec![Reply::json(201, "{}")]).await;
        let letter = letter("p1", Kind::PhoneCode, "+491701234567");
        sender().send(&letter, &twilio(server.url("/"))).await.unwrap();
        let asked = server.requests().remove(0);
        assert_eq!(asked.line, "POST /2010-04-01/Accounts/AC123/Messages.json HTTP/1.1");
        assert_eq!(asked.header("authorization"), "Basic QUMxMjM6dG9r");
        let [to, from, body] = &asked.form()[..] else { panic!("{:?}", asked.form()) };
        assert_eq!((to.0.as_str(), to.1.as_str()), ("To", "+491701234567"));
        assert_eq!((from.0.as_str(), from.1.as_str()), ("From", "+15550100"));
        assert_eq!((body.0.as_str(), body.1.as_str()), ("Body", letter.message.text.as_str()));
        assert!(body.1.starts_with("042193 is your code for Tide."));
    }

    #[tokio::test]
    async fn tells_what_may_pass_later() {
        let letter = letter("p1", Kind::PhoneCode, "+491701234567");
        for (status, is_passing) in [(400, false), (401, false), (429, true), (503, true)] {
            let server = Server::start(vec![Reply::json(status, "{}")]).await;
            let error = sender().send(&letter, &twilio(server.url(""))).await.unwrap_err();
            assert_eq!(error.is_passing(), is_passing, "{status}");
        }
        let odd = Sms::Twilio {
            account_sid: "../x".into(),
            auth_token: Secret::default(),
            from: String::new(),
            base_url: None,
        };
        let found = sender().send(&letter, &odd).await;
        assert_eq!(found, Err(Error::Setting("the SMS account")));
    }

    #[tokio::test]
    async fn a_webhook_that_fails_has_not_sent_it() {
        let server = Server::start(vec![Reply::json(204, ""), Reply::json(500, "")]).await;
        let hook = Hook {
            url: server.url("/sms"),
            secret: signing::new_secret().unwrap(),
            wait_ms_max: 1_000,
            on_failure: OnFailure::Continue,
        };
        let letter = letter("p1", Kind::PhoneCode, "+491701234567");
        let by = Sms::Webhook(hook);
        sender().send(&letter, &by).await.unwrap();
        assert!(sender().send(&letter, &by).await.unwrap_err().is_passing());
    }
}
