//! Who signed in, as an issuer describes them, and what of it is to be believed.

use domain::sign_in::Preset;
use serde_json::{Map, Value};

use crate::claims::{is_true, text};

const NAME_CHARS_MAX: usize = 256;
const EMAIL_CHARS_MAX: usize = 320;
const URL_CHARS_MAX: usize = 2048;
const LOCALE_CHARS_MAX: usize = 35;
/// What belongs to one token, and not to the person.
const PASSING: [&str; 9] =
    ["exp", "iat", "nbf", "jti", "nonce", "at_hash", "c_hash", "s_hash", "aud"];

/// A person, as an issuer describes them. Issuer and subject together are who it is; all else may
/// change.
#[derive(Debug, Clone, PartialEq)]
pub struct Person {
    /// Who says so.
    pub issuer: String,
    /// Which of the issuer's people.
    pub subject: String,
    /// An e-mail address, as the issuer writes it; at most 320 characters.
    pub email: Option<String>,
    /// Whether the issuer has made sure that the address is theirs, and can be believed in that.
    pub email_verified: bool,
    /// What they are called; at most 256 characters.
    pub name: Option<String>,
    /// The `https` address of a picture.
    pub picture: Option<String>,
    /// Their language (BCP 47).
    pub locale: Option<String>,
    /// Everything that the issuer says of them.
    pub claims: Map<String, Value>,
}

impl Person {
    /// From the claims of a token that was verified, and of the userinfo endpoint.
    pub(crate) fn new(
        kind: Preset,
        issuer: String,
        subject: String,
        mut claims: Map<String, Value>,
    ) -> Self {
        claims.retain(|name, _| !PASSING.contains(&name.as_str()));
        let email = email(text(&claims, "email"));
        let verified = match kind {
            // Whoever runs a tenant may write any address into it. `xms_edov` says that the domain
            // was proven to be the tenant's, as a boolean or in one of three other ways.
            Preset::Microsoft => {
                is_true(&claims, "xms_edov")
                    || claims.get("xms_edov").is_some_and(|value| *value == 1 || *value == "1")
            }
            _ => is_true(&claims, "email_verified"),
        };
        Self {
            issuer,
            subject,
            email_verified: verified && email.is_some(),
            email,
            name: name(text(&claims, "name")).or_else(|| {
                let parts = ["given_name", "family_name"].map(|part| text(&claims, part));
                name(Some(&parts.into_iter().flatten().collect::<Vec<_>>().join(" ")))
            }),
            picture: picture(text(&claims, "picture")),
            locale: locale(text(&claims, "locale")),
            claims,
        }
    }
}

/// A name fit to be shown.
pub(crate) fn name(text: Option<&str>) -> Option<String> {
    let text = crate::error::clean(text?, NAME_CHARS_MAX);
    (!text.is_empty()).then_some(text)
}

/// An address that may be one.
pub(crate) fn email(text: Option<&str>) -> Option<String> {
    let text = text?.trim();
    let (local, domain) = text.rsplit_once('@')?;
    let fits = !local.is_empty()
        && !domain.is_empty()
        && text.chars().count() <= EMAIL_CHARS_MAX
        && !text.chars().any(|one| one.is_control() || one.is_whitespace());
    fits.then(|| text.to_owned())
}

/// A picture's address that a page may show.
pub(crate) fn picture(text: Option<&str>) -> Option<String> {
    let text = text.filter(|text| text.chars().count() <= URL_CHARS_MAX)?;
    let url = reqwest::Url::parse(text).ok()?;
    (url.scheme() == "https").then(|| url.to_string())
}

fn locale(text: Option<&str>) -> Option<String> {
    let text = text.filter(|text| text.len() <= LOCALE_CHARS_MAX)?;
    let fits = |one: char| one.is_ascii_alphanumeric() || one == '-' || one == '_';
    (!text.is_empty() && text.chars().all(fits)).then(|| text.replace('_', "-"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn person(kind: Preset, claims: Value) -> Person {
        let claims = claims.as_object().unwrap().clone();
        Person::new(kind, "issuer".to_owned(), "me".to_owned(), claims)
    }

    #[test]
    fn an_address_is_verified_only_if_its_issuer_says_so() {
        let verified = |kind, claims| person(kind, claims).email_verified;
        for kind in [Preset::Google, Preset::Apple, Preset::Oidc] {
            assert!(verified(kind, json!({"email": "a@b.c", "email_verified": true})));
            assert!(verified(kind, json!({"email": "a@b.c", "email_verified": "true"})));
            assert!(!verified(kind, json!({"email": "a@b.c", "email_verified": "false"})));
            assert!(!verified(kind, json!({"email": "a@b.c", "email_verified": 1})));
            assert!(!verified(kind, json!({"email": "a@b.c", "xms_edov": true})));
            assert!(!verified(kind, json!({"email": "a@b.c"})));
            assert!(!verified(kind, json!({"email_verified": true})));
        }
    }

    #[test]
    fn microsoft_is_believed_only_about_domains_of_the_tenant() {
        let verified = |claims| person(Preset::Microsoft, claims).email_verified;
        assert!(!verified(json!({"email": "a@b.c", "email_verified": true})));
        assert!(!verified(json!({"email": "a@b.c", "xms_edov": false})));
        assert!(!verified(json!({"email": "a@b.c", "xms_edov": 0})));
        for yes in [json!(true), json!("true"), json!(1), json!("1")] {
            assert!(verified(json!({"email": "a@b.c", "xms_edov": yes})));
        }
    }

    #[test]
    fn what_is_unfit_is_left_out() {
        let person = person(
            Preset::Oidc,
            json!({
                "email": "no address", "email_verified": true, "name": " \n", "given_name": "Ada",
                "family_name": "L\u{202e}", "picture": "javascript:alert(1)", "locale": "de_AT",
                "nonce": "n", "exp": 1, "groups": ["a"],
            }),
        );
        assert_eq!((person.email, person.email_verified), (None, false));
        assert_eq!(person.name.as_deref(), Some("Ada L"));
        assert_eq!(person.picture, None);
        assert_eq!(person.locale.as_deref(), Some("de-AT"));
        assert!(!person.claims.contains_key("nonce") && !person.claims.contains_key("exp"));
        assert_eq!(person.claims["groups"], json!(["a"]));
    }
}
