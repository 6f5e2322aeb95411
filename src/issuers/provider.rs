//! What is known beforehand of the issuers that have a preset, and which `iss` each may write.

use domain::sign_in::{Preset, Provider};
use serde_json::{Map, Value};

use crate::Error;
use crate::claims::text;

const GOOGLE: &str = "https://accounts.google.com";
const APPLE: &str = "https://appleid.apple.com";
const GITHUB: &str = "https://github.com";
const MICROSOFT: &str = "https://login.microsoftonline.com/common/v2.0";
/// The tenant that personal accounts of Microsoft are in.
const MICROSOFT_PERSONAL: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
const TENANT: &str = "{tenantid}";
const NAME_CHARS_MAX: usize = 255;

/// An issuer, and what it may call itself.
pub(crate) struct Known {
    kind: Preset,
    issuer: String,
    rule: Rule,
}

enum Rule {
    /// By the asked name only.
    Exact,
    /// Microsoft where accounts of more than one tenant sign in: every tenant is an issuer of its
    /// own, named by this template.
    PerTenant { template: String, tenants: Tenants },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tenants {
    All,
    Organizations,
    Personal,
}

impl Known {
    /// Of a provider's configuration.
    ///
    /// Errors: [`Error::Configuration`] when something is missing.
    pub(crate) fn of(provider: &Provider) -> Result<Self, Error> {
        let kind = provider.kind;
        let id = &provider.client_id;
        if id.is_empty() || id.chars().count() > NAME_CHARS_MAX || id.chars().any(char::is_control)
        {
            return Err(Error::Configuration("the client id is missing or unfit".to_owned()));
        }
        let preset = match kind {
            Preset::Google => Some(GOOGLE),
            Preset::Apple => Some(APPLE),
            Preset::Github => Some(GITHUB),
            Preset::Microsoft => Some(MICROSOFT),
            Preset::Oidc => None,
        };
        let issuer = provider.issuer.as_deref().or(preset);
        let missing = || Error::Configuration("the issuer is missing".to_owned());
        let issuer = issuer.ok_or_else(missing)?.to_owned();
        if issuer.contains(['?', '#']) {
            let text = "an issuer has neither a query nor a fragment".to_owned();
            return Err(Error::Configuration(text));
        }
        let rule = if kind == Preset::Microsoft { per_tenant(&issuer) } else { Rule::Exact };
        Ok(Self { kind, issuer, rule })
    }

    /// What it is asked as: where discovery begins.
    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// What its discovery document must call it (OpenID Connect Discovery 1.0 section 4.3). The
    /// document of Microsoft's shared endpoints names the template.
    pub(crate) fn document_issuer(&self) -> String {
        match &self.rule {
            Rule::PerTenant { template, tenants: Tenants::Personal } => {
                template.replace(TENANT, MICROSOFT_PERSONAL)
            }
            Rule::PerTenant { template, .. } => template.clone(),
            Rule::Exact => self.issuer.clone(),
        }
    }

    /// Whether `iss` in an id token may be its own. Returns what the issuer is called from here on.
    ///
    /// Errors: [`Error::InvalidToken`].
    pub(crate) fn token_issuer(&self, claims: &Map<String, Value>) -> Result<String, Error> {
        let wrong = Error::InvalidToken("another issuer wrote it");
        let issuer = text(claims, "iss").unwrap_or_default();
        match &self.rule {
            Rule::Exact if issuer == self.issuer => Ok(issuer.to_owned()),
            // Google documents both, for one issuer.
            Rule::Exact if self.kind == Preset::Google => {
                let bare = self.issuer.strip_prefix("https://");
                if bare == Some(issuer) { Ok(self.issuer.clone()) } else { Err(wrong) }
            }
            Rule::Exact => Err(wrong),
            Rule::PerTenant { template, tenants } => {
                let tenant = text(claims, "tid").filter(|tenant| is_uuid(tenant)).ok_or(wrong)?;
                let personal = tenant.eq_ignore_ascii_case(MICROSOFT_PERSONAL);
                let admitted = match tenants {
                    Tenants::All => true,
                    Tenants::Organizations => !personal,
                    Tenants::Personal => personal,
                };
                if admitted && issuer == template.replace(TENANT, tenant) {
                    Ok(issuer.to_owned())
                } else {
                    Err(Error::InvalidToken("another issuer wrote it"))
                }
            }
        }
    }

    /// Whether a key that is said to belong to `of` may sign for `issuer`. Only Microsoft's keys
    /// say so: those for personal accounts may not sign for an organization.
    pub(crate) fn key_signs_for(&self, of: Option<&str>, issuer: &str, tenant: &str) -> bool {
        match (&self.rule, of) {
            (Rule::PerTenant { .. }, Some(of)) => of.replace(TENANT, tenant) == issuer,
            _ => true,
        }
    }

    /// Whether `iss` of a callback is its own (RFC 9207 section 2.4).
    pub(crate) fn is_callback_issuer(&self, issuer: &str) -> bool {
        match (self.kind, &self.rule) {
            // GitHub's metadata names it so.
            (Preset::Github, _) => {
                issuer == self.issuer || issuer == format!("{}/login/oauth", self.issuer)
            }
            (_, Rule::Exact) => issuer == self.issuer,
            (_, Rule::PerTenant { template, .. }) => {
                let tenant = template
                    .split_once(TENANT)
                    .and_then(|(head, tail)| issuer.strip_prefix(head)?.strip_suffix(tail));
                issuer == self.document_issuer() || tenant.is_some_and(is_uuid)
            }
        }
    }
}

fn per_tenant(issuer: &str) -> Rule {
    for (name, tenants) in [
        ("common", Tenants::All),
        ("organizations", Tenants::Organizations),
        ("consumers", Tenants::Personal),
    ] {
        if let Some(base) = issuer.strip_suffix(&format!("/{name}/v2.0")) {
            return Rule::PerTenant { template: format!("{base}/{TENANT}/v2.0"), tenants };
        }
    }
    Rule::Exact
}

fn is_uuid(text: &str) -> bool {
    let hyphen = |place| matches!(place, 8 | 13 | 18 | 23);
    text.len() == 36
        && text.bytes().enumerate().all(|(place, byte)| match hyphen(place) {
            true => byte == b'-',
            false => byte.is_ascii_hexdigit(),
        })
}

/// The scopes to ask for: `asked`, or else the provider's, or else the preset's; always with
/// `openid` where an id token is expected.
pub(crate) fn scopes(provider: &Provider, asked: &[String]) -> Vec<String> {
    let preset: &[&str] = match provider.kind {
        Preset::Github => &["read:user", "user:email"],
        Preset::Apple => &["openid", "name", "email"],
        _ => &["openid", "email", "profile"],
    };
    let chosen = if asked.is_empty() { &provider.scopes } else { asked };
    let mut scopes = match chosen {
        [] => preset.iter().map(|scope| (*scope).to_owned()).collect(),
        chosen => chosen.to_vec(),
    };
    if provider.kind != Preset::Github && !scopes.iter().any(|scope| scope == "openid") {
        scopes.insert(0, "openid".to_owned());
    }
    scopes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn known(kind: Preset, issuer: Option<&str>) -> Known {
        let issuer = issuer.map(str::to_owned);
        let client_id = "app".to_owned();
        Known::of(&Provider { kind, issuer, client_id, ..Provider::default() }).unwrap()
    }

    fn admits(known: &Known, claims: Value) -> bool {
        known.token_issuer(claims.as_object().unwrap()).is_ok()
    }

    const TENANT_A: &str = "11111111-2222-3333-4444-555555555555";
    const HOST: &str = "https://login.microsoftonline.com";

    #[test]
    fn a_tenant_of_microsoft_writes_its_own_name_only() {
        let common = known(Preset::Microsoft, None);
        assert_eq!(common.document_issuer(), format!("{HOST}/{{tenantid}}/v2.0"));
        let token =
            |tenant: &str, tid: &str| json!({"iss": format!("{HOST}/{tenant}/v2.0"), "tid": tid});
        assert!(admits(&common, token(TENANT_A, TENANT_A)));
        assert!(admits(&common, token(MICROSOFT_PERSONAL, MICROSOFT_PERSONAL)));
        assert!(!admits(&common, token(TENANT_A, MICROSOFT_PERSONAL)));
        assert!(!admits(&common, token("common", "common")));
        assert!(!admits(&common, token("{tenantid}", "{tenantid}")));
        assert!(!admits(&common, json!({"iss": format!("{HOST}/{TENANT_A}/v2.0")})));
        let evil = format!("https://evil.example/{TENANT_A}/v2.0");
        assert!(!admits(&common, json!({"iss": evil, "tid": TENANT_A})));

        let organizations = known(Preset::Microsoft, Some(&format!("{HOST}/organizations/v2.0")));
        assert!(admits(&organizations, token(TENANT_A, TENANT_A)));
        assert!(!admits(&organizations, token(MICROSOFT_PERSONAL, MICROSOFT_PERSONAL)));

        let one = known(Preset::Microsoft, Some(&format!("{HOST}/{TENANT_A}/v2.0")));
        assert!(admits(&one, token(TENANT_A, TENANT_A)));
        assert!(!admits(&one, token(MICROSOFT_PERSONAL, MICROSOFT_PERSONAL)));
        assert_eq!(one.document_issuer(), one.issuer());
    }

    #[test]
    fn a_key_for_personal_accounts_signs_for_no_organization() {
        let common = known(Preset::Microsoft, None);
        let issuer = format!("{HOST}/{TENANT_A}/v2.0");
        let template = format!("{HOST}/{{tenantid}}/v2.0");
        let personal = format!("{HOST}/{MICROSOFT_PERSONAL}/v2.0");
        assert!(common.key_signs_for(Some(&template), &issuer, TENANT_A));
        assert!(common.key_signs_for(None, &issuer, TENANT_A));
        assert!(!common.key_signs_for(Some(&personal), &issuer, TENANT_A));
    }

    #[test]
    fn others_write_what_they_were_asked_as() {
        let google = known(Preset::Google, None);
        assert!(admits(&google, json!({"iss": "https://accounts.google.com"})));
        assert!(admits(&google, json!({"iss": "accounts.google.com"})));
        assert!(!admits(&google, json!({"iss": "accounts.google.com.evil.example"})));
        let any = known(Preset::Oidc, Some("https://issuer.example/a/"));
        assert!(admits(&any, json!({"iss": "https://issuer.example/a/"})));
        assert!(!admits(&any, json!({"iss": "https://issuer.example/a"})));
        assert!(!admits(&any, json!({"iss": "issuer.example/a/"})));
        assert!(!admits(&any, json!({})));
    }

    #[test]
    fn callbacks_name_their_issuer() {
        let common = known(Preset::Microsoft, None);
        assert!(common.is_callback_issuer(&format!("{HOST}/{TENANT_A}/v2.0")));
        assert!(!common.is_callback_issuer("https://accounts.google.com"));
        let github = known(Preset::Github, None);
        assert!(github.is_callback_issuer("https://github.com/login/oauth"));
        assert!(!github.is_callback_issuer("https://github.com.evil.example"));
    }

    #[test]
    fn scopes_are_asked_for_in_order_of_who_said_so() {
        let mut provider = Provider::default();
        assert_eq!(scopes(&provider, &[]), ["openid", "email", "profile"]);
        provider.scopes = vec!["email".to_owned()];
        assert_eq!(scopes(&provider, &[]), ["openid", "email"]);
        assert_eq!(scopes(&provider, &["groups".to_owned()]), ["openid", "groups"]);
        provider = Provider { kind: Preset::Github, ..Provider::default() };
        assert_eq!(scopes(&provider, &[]), ["read:user", "user:email"]);
    }

    #[test]
    fn what_is_missing_is_said() {
        assert!(Known::of(&Provider::default()).is_err());
        let named = Provider { client_id: "app".to_owned(), ..Provider::default() };
        assert!(Known::of(&named).is_err());
        let query = Provider { issuer: Some("https://a.example?b".to_owned()), ..named };
        assert!(Known::of(&query).is_err());
    }
}
