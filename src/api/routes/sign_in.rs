//! How people sign in to a project, as its developer configures it. Secrets go in and never come
//! out: they are shown as eight asterisks, and whoever sends these back keeps what is stored.

mod check;

use std::collections::HashMap;

use actix_web::http::StatusCode;
use domain::command;
use domain::path::below;
use domain::projects::ProjectCommand;
use domain::sign_in::{Config, Secret, Sms};

use crate::answer::{self, Answer};
use crate::body::{self, JSON};
use crate::call::Call;
use crate::error::Problem;
use crate::people::secret_context;

/// Stands for a secret that is there.
const HIDDEN: &str = "********";
/// The largest configuration, in bytes.
const BYTES_MAX: usize = 512 << 10;
/// The longest secret, in bytes: a private key in PEM has some 1,700.
const SECRET_BYTES_MAX: usize = 8 << 10;

/// Gets how people sign in. Secrets are shown as `********`.
#[utoipa::path(
    get, path = "/v1/projects/{project}/sign-in", operation_id = "getSignIn", tag = "projects",
    responses((status = 200, description = "The configuration.", body = Object)),
)]
pub(crate) async fn get(call: Call) -> Answer {
    let scope = call.reading().await?;
    call.query(&[])?;
    answer::json(StatusCode::OK, &hidden(scope.live.state.sign_in.clone()))
}

/// Says how people sign in: replaces all of it, and what is absent has its default.
#[utoipa::path(
    put, path = "/v1/projects/{project}/sign-in", operation_id = "putSignIn", tag = "projects",
    request_body(content = Object, description = "All of the configuration, as `GET` answers it: \
        `siteUrl`, `redirectUrls`, `signUp`, `anonymous`, `password`, `emailVerification`, \
        `magicLink`, `emailCode`, `phoneCode`, `sessions`, `providers`, `issuers`, \
        `customTokenKeys`, `passkeys`, `totp`, `hooks`, `mail`, `sms` and `captcha`. An empty \
        object is how a new project starts. A secret sent as `********` stays what it is, as long \
        as it is for the same place as before."),
    responses((status = 200, description = "The configuration, secrets hidden.", body = Object)),
)]
pub(crate) async fn put(mut call: Call) -> Answer {
    let scope = call.past_rules().await?;
    call.query(&[])?;
    let body = call.body_of(JSON, BYTES_MAX).await?;
    let mut config: Config = body::parse(&body)?;
    let people = &call.app.people;
    let mut stored = people.directory(&scope.project, &scope.live)?.config.clone();
    keep(&mut config, &mut stored)?;
    check::check(people, &config)?;
    let context = secret_context(&scope.project);
    for secret in config.secrets_mut() {
        secret.0 = people.server_keys.seal_secret(&context, secret.0.as_bytes())?;
    }
    let shown = hidden(config.clone());
    let command = ProjectCommand::ConfigureSignIn { config: Box::new(config) };
    let command = command::Body::Project(command);
    let written = call.submit(scope.project, &scope.principal, command, &body).await?;
    answer::committed(answer::json(StatusCode::OK, &shown)?, &written)
}

fn hidden(mut config: Config) -> Config {
    for secret in config.secrets_mut() {
        HIDDEN.clone_into(&mut secret.0);
    }
    config
}

/// A secret of a configuration.
struct Place<'a> {
    /// Where it is in the body.
    pointer: String,
    /// Where it is sent to. Who may change that must not get to see an earlier secret by it.
    sent_to: String,
    /// The secret.
    secret: &'a mut Secret,
}

/// Every secret with its place.
fn places(config: &mut Config) -> Vec<Place<'_>> {
    let mut all = Vec::new();
    let mut add = |pointer: String, sent_to: String, secret| {
        all.push(Place { pointer, sent_to, secret });
    };
    for (name, provider) in &mut config.providers {
        let place = below("/providers", name);
        let sent_to = format!("{:?} {:?}", provider.kind, provider.issuer);
        if let Some(secret) = &mut provider.client_secret {
            add(format!("{place}/clientSecret"), sent_to, secret);
        }
    }
    let hooks = &mut config.hooks;
    for (name, hook) in [
        ("beforeSignUp", &mut hooks.before_sign_up),
        ("beforeToken", &mut hooks.before_token),
        ("sendMail", &mut hooks.send_mail),
        ("sendSms", &mut hooks.send_sms),
    ] {
        if let Some(hook) = hook {
            // It signs, and is sent nowhere.
            add(format!("/hooks/{name}/secret"), String::new(), &mut hook.secret);
        }
    }
    let mail = &mut config.mail;
    if let Some(secret) = &mut mail.smtp_password {
        add("/mail/smtpPassword".to_owned(), format!("{:?}", mail.smtp_url), secret);
    }
    match &mut config.sms {
        Some(Sms::Twilio { account_sid, auth_token, base_url, .. }) => {
            add("/sms/authToken".to_owned(), format!("{account_sid} {base_url:?}"), auth_token);
        }
        Some(Sms::Webhook(hook)) => {
            add("/sms/secret".to_owned(), String::new(), &mut hook.secret);
        }
        None => {}
    }
    if let Some(captcha) = &mut config.captcha {
        let sent_to = captcha.verify_url.clone();
        add("/captcha/secret".to_owned(), sent_to, &mut captcha.secret);
    }
    all
}

/// Puts stored secrets where they are to stay.
///
/// Errors with `invalid-body` and the secret's place.
fn keep(config: &mut Config, stored: &mut Config) -> Result<(), Problem> {
    let stored: HashMap<String, (String, String)> = places(stored)
        .into_iter()
        .map(|place| (place.pointer, (place.sent_to, place.secret.0.clone())))
        .collect();
    for Place { pointer, sent_to, secret } in places(config) {
        if secret.0 != HIDDEN {
            if !(1..=SECRET_BYTES_MAX).contains(&secret.0.len()) {
                let detail = format!("expected 1 to {SECRET_BYTES_MAX} bytes");
                return Err(Problem::body(pointer, detail));
            }
            continue;
        }
        match stored.get(&pointer) {
            Some((before, text)) if *before == sent_to => secret.0.clone_from(text),
            Some(_) => {
                let detail = "it would be sent to another place than before: give it anew";
                return Err(Problem::body(pointer, detail));
            }
            None => return Err(Problem::body(pointer, "none is stored that could stay")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_secret_has_a_place() {
        let hook = r#"{"url":"https://a.example","secret":"s"}"#;
        let twilio = r#"{"kind":"twilio","accountSid":"A","authToken":"t","from":"+1"}"#;
        let webhook = r#"{"kind":"webhook","url":"https://a.example","secret":"s"}"#;
        for sms in [twilio, webhook] {
            let text = format!(
                r#"{{"providers":{{"a":{{"clientSecret":"s"}},"b":{{"clientSecret":"s"}}}},
                "hooks":{{"beforeSignUp":{hook},"beforeToken":{hook},"sendMail":{hook},
                "sendSms":{hook}}},"mail":{{"smtpPassword":"s"}},"sms":{sms},
                "captcha":{{"verifyUrl":"https://a.example","secret":"s"}}}}"#
            );
            let mut config: Config = serde_json::from_str(&text).unwrap();
            let count = config.secrets_mut().len();
            let json = serde_json::to_value(&config).unwrap();
            let places = places(&mut config);
            assert_eq!((places.len(), count), (9, 9));
            for place in places {
                let found = json.pointer(&place.pointer).and_then(|found| found.as_str());
                assert_eq!(found, Some(place.secret.0.as_str()), "{}", place.pointer);
            }
        }
    }
}
