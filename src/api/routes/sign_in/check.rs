//! Whether a configuration of sign-in can be used, as far as can be told without asking anybody.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use auth::redirect;
use domain::ids::check_id;
use domain::sign_in::{
    ACCESS_TOKEN_SECONDS_MAX, Config, Hook, Mail, Password, Sessions, Sms, Template,
};
use messages::{Kind, mail, signing, template};

use crate::error::Problem;
use crate::people::People;

const PROVIDERS_MAX: usize = 50;
const REDIRECT_URLS_MAX: usize = 100;
const ISSUERS_MAX: usize = 20;
const CUSTOM_TOKEN_KEYS_MAX: usize = 20;
/// Languages of one kind of message.
const LANGUAGES_MAX: usize = 50;
/// Audiences or scopes of one issuer.
const NAMES_MAX: usize = 50;
/// The longest text that is no URL, secret or template, in bytes.
const TEXT_BYTES_MAX: usize = 1024;
/// The longest language tag, in bytes.
const LANGUAGE_BYTES_MAX: usize = 64;
/// Ten years.
const SECONDS_MAX: u32 = 10 * 365 * 24 * 3600;

/// Errors with `invalid-body` and where.
pub(super) fn check(people: &People, config: &Config) -> Result<(), Problem> {
    check_urls(config)?;
    check_numbers(&config.password, &config.sessions)?;
    check_providers(people, config)?;
    check_issuers(people, config)?;
    if config.passkeys.enabled {
        passkeys::check(&config.passkeys)
            .map_err(|error| Problem::body("/passkeys", error.to_string()))?;
    }
    let hooks = &config.hooks;
    for (name, hook) in [
        ("beforeSignUp", &hooks.before_sign_up),
        ("beforeToken", &hooks.before_token),
        ("sendMail", &hooks.send_mail),
        ("sendSms", &hooks.send_sms),
    ] {
        if let Some(hook) = hook {
            check_hook(people, hook, &format!("/hooks/{name}"))?;
        }
    }
    check_mail(&config.mail)?;
    check_sms(people, config.sms.as_ref())?;
    match &config.captcha {
        Some(captcha) => check_outbound(people, &captcha.verify_url, "/captcha/verifyUrl"),
        None => Ok(()),
    }
}

fn check_urls(config: &Config) -> Result<(), Problem> {
    if let Some(url) = &config.site_url {
        let is_web = url.starts_with("https://") || url.starts_with("http://");
        if !is_web || url.contains('*') || !redirect::allowed(url, &[], Some(url)) {
            return Err(Problem::body("/siteUrl", "expected an absolute http or https URL"));
        }
    }
    count("/redirectUrls", config.redirect_urls.len(), REDIRECT_URLS_MAX)?;
    for (index, listed) in config.redirect_urls.iter().enumerate() {
        // What it lets through must be something that it lets through.
        let example = match listed.strip_suffix("/*") {
            Some(below) => format!("{below}/a"),
            None => listed.clone(),
        };
        let is_one = !example.contains('*')
            && redirect::allowed(&example, std::slice::from_ref(listed), None);
        if !is_one {
            let detail = "expected an absolute URL without user, fragment or backslash; \
                          a web URL may end in /* after its path";
            return Err(Problem::body(format!("/redirectUrls/{index}"), detail));
        }
    }
    Ok(())
}

fn check_numbers(password: &Password, sessions: &Sessions) -> Result<(), Problem> {
    let Sessions {
        access_token_seconds,
        idle_seconds_max,
        age_seconds_max,
        refresh_grace_seconds,
        single: _,
    } = *sessions;
    within("/password/lengthMin", password.length_min, 6..=128)?;
    let tokens = 60..=ACCESS_TOKEN_SECONDS_MAX;
    within("/sessions/accessTokenSeconds", access_token_seconds, tokens)?;
    within("/sessions/idleSecondsMax", idle_seconds_max, 300..=SECONDS_MAX)?;
    if age_seconds_max > 0 {
        within("/sessions/ageSecondsMax", age_seconds_max, 300..=SECONDS_MAX)?;
    }
    within("/sessions/refreshGraceSeconds", refresh_grace_seconds, 0..=300)
}

fn check_providers(people: &People, config: &Config) -> Result<(), Problem> {
    count("/providers", config.providers.len(), PROVIDERS_MAX)?;
    for (name, provider) in &config.providers {
        check_id(name)
            .map_err(|error| Problem::body("/providers", format!("a provider's name {error}")))?;
        let at = format!("/providers/{name}");
        texts(&format!("{at}/scopes"), &provider.scopes)?;
        texts(&format!("{at}/audiences"), &provider.audiences)?;
        let optional = [&provider.issuer, &provider.team_id, &provider.key_id];
        if optional.into_iter().flatten().chain([&provider.client_id]).any(is_too_long) {
            return Err(Problem::body(at, format!("a text of more than {TEXT_BYTES_MAX} bytes")));
        }
        people.issuers.check(provider).map_err(|error| Problem::body(at, error.to_string()))?;
    }
    Ok(())
}

fn check_issuers(people: &People, config: &Config) -> Result<(), Problem> {
    count("/issuers", config.issuers.len(), ISSUERS_MAX)?;
    for (index, issuer) in config.issuers.iter().enumerate() {
        let at = format!("/issuers/{index}");
        texts(&format!("{at}/audiences"), &issuer.audiences)?;
        let optional = [&issuer.jwks_url, &issuer.roles_claim];
        if optional.into_iter().flatten().chain([&issuer.issuer]).any(is_too_long) {
            return Err(Problem::body(at, format!("a text of more than {TEXT_BYTES_MAX} bytes")));
        }
        people
            .issuers
            .check_issuer(issuer)
            .map_err(|error| Problem::body(at, error.to_string()))?;
    }
    count("/customTokenKeys", config.custom_token_keys.len(), CUSTOM_TOKEN_KEYS_MAX)?;
    for (index, key) in config.custom_token_keys.iter().enumerate() {
        issuers::custom_token::check_key(key).map_err(|error| {
            Problem::body(format!("/customTokenKeys/{index}"), error.to_string())
        })?;
    }
    Ok(())
}

fn check_hook(people: &People, hook: &Hook, at: &str) -> Result<(), Problem> {
    check_outbound(people, &hook.url, &format!("{at}/url"))?;
    signing::check_secret(&hook.secret)
        .map_err(|error| Problem::body(format!("{at}/secret"), error.to_string()))?;
    within(&format!("{at}/waitMsMax"), hook.wait_ms_max, 1..=10_000)
}

fn check_mail(settings: &Mail) -> Result<(), Problem> {
    if settings.from.as_ref().is_some_and(is_too_long)
        || settings.smtp_url.as_ref().is_some_and(is_too_long)
    {
        return Err(Problem::body("/mail", format!("a text of more than {TEXT_BYTES_MAX} bytes")));
    }
    mail::check(settings).map_err(|error| Problem::body("/mail", error.to_string()))?;
    if let Some(language) = &settings.language {
        check_language(language, "/mail/language")?;
    }
    for (kind, templates) in &settings.templates {
        let Ok(known) = kind.parse::<Kind>() else {
            let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
            let detail = format!("no such kind; there are {}", kinds.join(", "));
            return Err(Problem::body("/mail/templates", detail));
        };
        check_templates(known, templates, &format!("/mail/templates/{kind}"))?;
    }
    Ok(())
}

fn check_templates(
    kind: Kind,
    templates: &BTreeMap<String, Template>,
    at: &str,
) -> Result<(), Problem> {
    count(at, templates.len(), LANGUAGES_MAX)?;
    for (language, template) in templates {
        check_language(language, at)?;
        template::check(kind, template)
            .map_err(|error| Problem::body(format!("{at}/{language}"), error.to_string()))?;
    }
    Ok(())
}

/// As RFC 5646 has them: letters and digits with hyphens between.
fn check_language(tag: &str, at: &str) -> Result<(), Problem> {
    let is_part = |part: &str| {
        (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    match tag.len() <= LANGUAGE_BYTES_MAX && tag.split('-').all(is_part) {
        true => Ok(()),
        false => Err(Problem::body(at.to_owned(), "a language is named like en or de-CH")),
    }
}

fn check_sms(people: &People, sms: Option<&Sms>) -> Result<(), Problem> {
    match sms {
        None => Ok(()),
        Some(Sms::Webhook(hook)) => check_hook(people, hook, "/sms"),
        Some(Sms::Twilio { account_sid, auth_token: _, from, base_url }) => {
            let is_account = (1..=64).contains(&account_sid.len())
                && account_sid.bytes().all(|byte| byte.is_ascii_alphanumeric());
            if !is_account {
                return Err(Problem::body("/sms/accountSid", "expected letters and digits"));
            }
            if !(1..=64).contains(&from.len()) {
                return Err(Problem::body("/sms/from", "expected a number or a sender's name"));
            }
            match base_url {
                Some(url) => check_outbound(people, url, "/sms/baseUrl"),
                None => Ok(()),
            }
        }
    }
}

fn check_outbound(people: &People, url: &str, at: &str) -> Result<(), Problem> {
    let checked = people.outbound.check(url);
    checked.map_err(|error| Problem::body(at.to_owned(), error.to_string()))
}

fn is_too_long(text: impl AsRef<str>) -> bool {
    text.as_ref().len() > TEXT_BYTES_MAX
}

fn texts(at: &str, all: &[String]) -> Result<(), Problem> {
    count(at, all.len(), NAMES_MAX)?;
    match all.iter().position(is_too_long) {
        None => Ok(()),
        Some(index) => {
            Err(Problem::body(format!("{at}/{index}"), format!("at most {TEXT_BYTES_MAX} bytes")))
        }
    }
}

fn count(at: &str, count: usize, limit: usize) -> Result<(), Problem> {
    match count <= limit {
        true => Ok(()),
        false => Err(Problem::body(at.to_owned(), format!("at most {limit}"))),
    }
}

fn within(at: &str, value: u32, range: RangeInclusive<u32>) -> Result<(), Problem> {
    match range.contains(&value) {
        true => Ok(()),
        false => {
            let detail = format!("expected {} to {}", range.start(), range.end());
            Err(Problem::body(at.to_owned(), detail))
        }
    }
}
