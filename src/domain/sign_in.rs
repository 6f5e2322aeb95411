//! What a project says of how people sign in. Stored as the project's configuration; every default
//! is the value that a new project starts with.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest that an access token is good, in seconds.
pub const ACCESS_TOKEN_SECONDS_MAX: u32 = 24 * 3600;

/// Text that only the server may see. It is stored sealed, and shown to nobody.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// How people sign in to a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// Where the app is, for links in mail: an absolute URL.
    pub site_url: Option<String>,
    /// Where sign-in may send people back to: absolute URLs that must match as they are, or end in
    /// `*` after the path's last `/`.
    pub redirect_urls: Vec<String>,
    /// Whether somebody new may sign up.
    pub sign_up: bool,
    /// Whether somebody may sign in without saying who it is.
    pub anonymous: bool,
    /// E-mail and password.
    pub password: Password,
    /// Whether an address must be verified before its user may sign in by password.
    pub email_verification: bool,
    /// A link by mail.
    pub magic_link: bool,
    /// A code by mail.
    pub email_code: bool,
    /// A code by SMS.
    pub phone_code: bool,
    /// Sessions and tokens.
    pub sessions: Sessions,
    /// Other issuers that people sign in with, by a name of the project's choice.
    pub providers: BTreeMap<String, Provider>,
    /// Issuers whose tokens are taken as they are.
    pub issuers: Vec<Issuer>,
    /// Public keys (JWK, RFC 7517) of the app's own server, which may sign custom tokens.
    pub custom_token_keys: Vec<serde_json::Map<String, serde_json::Value>>,
    /// Passkeys.
    pub passkeys: Passkeys,
    /// One-time passwords by time (TOTP) as a second factor.
    pub totp: bool,
    /// Calls of the app's own server on the way.
    pub hooks: Hooks,
    /// Who sends mail.
    pub mail: Mail,
    /// Who sends SMS.
    pub sms: Option<Sms>,
    /// Who tells people from programs at sign-up, sign-in and whatever sends a message.
    pub captcha: Option<Captcha>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            site_url: None,
            redirect_urls: Vec::new(),
            sign_up: true,
            anonymous: true,
            password: Password::default(),
            email_verification: false,
            magic_link: true,
            email_code: true,
            phone_code: false,
            sessions: Sessions::default(),
            providers: BTreeMap::new(),
            issuers: Vec::new(),
            custom_token_keys: Vec::new(),
            passkeys: Passkeys::default(),
            totp: true,
            hooks: Hooks::default(),
            mail: Mail::default(),
            sms: None,
            captcha: None,
        }
    }
}

/// Passwords.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Password {
    /// Whether people may sign in by password.
    pub enabled: bool,
    /// The shortest, in characters.
    pub length_min: u32,
    /// Whether a lower-case letter must be in it.
    pub needs_lower: bool,
    /// Whether an upper-case letter must be in it.
    pub needs_upper: bool,
    /// Whether a digit must be in it.
    pub needs_digit: bool,
    /// Whether a character must be in it that is no letter and no digit.
    pub needs_symbol: bool,
}

impl Default for Password {
    fn default() -> Self {
        Self {
            enabled: true,
            length_min: 8,
            needs_lower: false,
            needs_upper: false,
            needs_digit: false,
            needs_symbol: false,
        }
    }
}

/// Sessions and tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Sessions {
    /// How long an access token is good, in seconds.
    pub access_token_seconds: u32,
    /// A session ends this long after its last refresh, in seconds.
    pub idle_seconds_max: u32,
    /// A session ends this long after it began, in seconds; 0 for never.
    pub age_seconds_max: u32,
    /// For how long a refresh token that was just used is taken again, in seconds: two tabs may
    /// race.
    pub refresh_grace_seconds: u32,
    /// Whether a new session ends all others of its user.
    pub single: bool,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            access_token_seconds: 3600,
            idle_seconds_max: 30 * 24 * 3600,
            age_seconds_max: 0,
            refresh_grace_seconds: 10,
            single: false,
        }
    }
}

/// What is known of an issuer beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Google.
    Google,
    /// Apple.
    Apple,
    /// GitHub: OAuth 2.0 without OpenID Connect.
    Github,
    /// Microsoft Entra ID.
    Microsoft,
    /// Any issuer that can be discovered (OpenID Connect Discovery 1.0).
    #[default]
    Oidc,
}

/// An issuer that people sign in with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Provider {
    /// What is known of it beforehand.
    pub kind: Preset,
    /// Its issuer URL; needed for `oidc`, otherwise only to replace the preset's.
    pub issuer: Option<String>,
    /// What it calls the app.
    pub client_id: String,
    /// What the app proves itself with. Apple's is the private key (PEM) that signs one.
    pub client_secret: Option<Secret>,
    /// Apple only: the team that the key is of.
    pub team_id: Option<String>,
    /// Apple only: which key it is.
    pub key_id: Option<String>,
    /// What is asked for; empty for the preset's, or else `openid email profile`.
    pub scopes: Vec<String>,
    /// Further audiences that an id token of a mobile app may be for.
    pub audiences: Vec<String>,
    /// Whether an address that this issuer calls verified may sign in to a user who has it,
    /// verified, already.
    pub links_by_email: bool,
}

/// An issuer whose tokens are taken as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Issuer {
    /// `iss`.
    pub issuer: String,
    /// Where its keys are; found by discovery when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<String>,
    /// `aud`, one of which must be in the token.
    pub audiences: Vec<String>,
    /// The claim that holds roles, as dotted names; none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles_claim: Option<String>,
}

/// Passkeys (WebAuthn Level 3).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Passkeys {
    /// Whether people may sign in by passkey.
    pub enabled: bool,
    /// The relying party's id: the app's domain.
    pub rp_id: String,
    /// The relying party's name, for people.
    pub rp_name: String,
    /// Origins that a passkey may be used from: `https://app.example`, or an Android app's
    /// `android:apk-key-hash:…`.
    pub origins: Vec<String>,
}

/// What happens when a hook does not answer in time, or with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// What was asked for is refused.
    #[default]
    Refuse,
    /// It goes on as if there were no hook.
    Continue,
}

/// A call of the app's own server, signed as Standard Webhooks says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hook {
    /// Where.
    pub url: String,
    /// What it is signed with: `whsec_` and base64.
    pub secret: Secret,
    /// How long it may take, in milliseconds; at most 10,000.
    #[serde(default = "hook_wait_ms_max")]
    pub wait_ms_max: u32,
    /// What happens when it fails.
    #[serde(default)]
    pub on_failure: OnFailure,
}

fn hook_wait_ms_max() -> u32 {
    3_000
}

/// Calls of the app's own server on the way.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Hooks {
    /// Before somebody new signs up: may refuse, and set roles and claims.
    pub before_sign_up: Option<Hook>,
    /// Before an access token is made: may refuse, and add claims.
    pub before_token: Option<Hook>,
    /// Sends mail in the server's stead.
    pub send_mail: Option<Hook>,
    /// Sends SMS in the server's stead.
    pub send_sms: Option<Hook>,
}

/// Who sends mail, and what it says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Mail {
    /// The sender: `App <no-reply@app.example>`.
    pub from: Option<String>,
    /// The server: `smtp://user@host:587`, `smtps://user@host:465`; the server's own when absent.
    pub smtp_url: Option<String>,
    /// The password for it.
    pub smtp_password: Option<Secret>,
    /// What mail says, by kind (`verify-email`, `reset-password`, `magic-link`, `email-code`,
    /// `email-changed`, …) and language (BCP 47); what is missing is the server's own.
    pub templates: BTreeMap<String, BTreeMap<String, Template>>,
    /// The language for those who named none.
    pub language: Option<String>,
}

/// What a mail of some kind says; `{{ link }}`, `{{ code }}`, `{{ email }}` and `{{ project }}`
/// stand for what they name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Template {
    /// The subject.
    pub subject: String,
    /// The text.
    pub text: String,
    /// The same as HTML.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
}

/// Who sends SMS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub enum Sms {
    /// Twilio, or whoever speaks as it does.
    Twilio {
        /// The account.
        account_sid: String,
        /// What proves it.
        auth_token: Secret,
        /// The sender's number.
        from: String,
        /// Where, if not at Twilio's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base_url: Option<String>,
    },
    /// A call of the app's own server.
    Webhook(Hook),
}

/// A service that tells people from programs: hCaptcha, Turnstile, reCAPTCHA, or one that answers
/// `siteverify` as they do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Captcha {
    /// Where answers are checked.
    pub verify_url: String,
    /// What the app proves itself with.
    pub secret: Secret,
}

impl Config {
    /// Every secret in it, to seal, open or hide.
    pub fn secrets_mut(&mut self) -> Vec<&mut Secret> {
        let mut all: Vec<&mut Secret> = Vec::new();
        all.extend(self.providers.values_mut().filter_map(|one| one.client_secret.as_mut()));
        let Hooks { before_sign_up, before_token, send_mail, send_sms } = &mut self.hooks;
        let hooks = [before_sign_up, before_token, send_mail, send_sms];
        all.extend(hooks.into_iter().flatten().map(|hook| &mut hook.secret));
        all.extend(self.mail.smtp_password.as_mut());
        all.extend(self.sms.as_mut().map(|sms| match sms {
            Sms::Twilio { auth_token, .. } => auth_token,
            Sms::Webhook(hook) => &mut hook.secret,
        }));
        all.extend(self.captcha.as_mut().map(|captcha| &mut captcha.secret));
        all
    }
}
