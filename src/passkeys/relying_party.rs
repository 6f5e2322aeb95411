//! Who asks: the relying party's id, its name, and the origins that it answers for.

use domain::sign_in::Passkeys;

use crate::base64url;

/// The most origins of a project.
const ORIGINS_MAX: usize = 64;
/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 128;
/// The longest domain, in bytes (RFC 1035 §2.3.4, without the dot of the root).
const DOMAIN_BYTES_MAX: usize = 253;
/// What an Android app's origin starts with; the SHA-256 of its certificate follows.
const ANDROID: &str = "android:apk-key-hash:";

/// Why a project's passkeys cannot be used as they are set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misconfigured {
    /// The id is no domain that a passkey can be for.
    #[error("rpId must be localhost or a domain such as app.example: lower case, no port, no IP")]
    Id,
    /// The name is too long.
    #[error("rpName may have {NAME_BYTES_MAX} bytes at most")]
    Name,
    /// There is no origin, or there are too many.
    #[error("origins must hold 1 to {ORIGINS_MAX} origins")]
    Origins,
    /// An origin that browsers never send, or that may not use passkeys of this id.
    #[error(
        "origins[{0}] must be https://HOST[:PORT] with rpId or a subdomain of it as host, \
         http://localhost[:PORT] for rpId localhost, or android:apk-key-hash:HASH; \
         with no path, and no port that goes without saying"
    )]
    Origin(usize),
}

/// Who asks. Whether passkeys are switched on at all is the caller's to look at.
#[derive(Debug, Clone, Copy)]
pub struct RelyingParty<'a> {
    id: &'a str,
    name: &'a str,
    origins: &'a [String],
}

impl<'a> RelyingParty<'a> {
    /// The relying party of a project; errors are those of [`check`]. One without a name goes by
    /// its id.
    pub fn new(passkeys: &'a Passkeys) -> Result<Self, Misconfigured> {
        check(passkeys)?;
        let Passkeys { rp_id: id, rp_name: name, origins, .. } = passkeys;
        Ok(Self { id, name: if name.is_empty() { id } else { name }, origins })
    }

    /// Its id: a domain.
    pub fn id(&self) -> &'a str {
        self.id
    }

    /// Its name, for people.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Whether answers may come from this origin. Browsers have one spelling of each.
    pub(crate) fn allows(&self, origin: &str) -> bool {
        self.origins.iter().any(|one| one == origin)
    }
}

/// Whether passkeys can be used as a project has set them up (Level 3 §5.1.3, "effective domain",
/// and the HTML standard's "registrable domain suffix"). No list of public suffixes is asked:
/// browsers do that, and refuse `co.uk` for themselves.
pub fn check(passkeys: &Passkeys) -> Result<(), Misconfigured> {
    let Passkeys { rp_id, rp_name, origins, .. } = passkeys;
    if !(rp_id == "localhost" || rp_id.contains('.') && is_domain(rp_id)) {
        return Err(Misconfigured::Id);
    }
    if rp_name.len() > NAME_BYTES_MAX {
        return Err(Misconfigured::Name);
    }
    if !(1..=ORIGINS_MAX).contains(&origins.len()) {
        return Err(Misconfigured::Origins);
    }
    match origins.iter().position(|origin| !is_origin_of(origin, rp_id)) {
        Some(index) => Err(Misconfigured::Origin(index)),
        None => Ok(()),
    }
}

fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        let known = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        (1..=63).contains(&label.len())
            && label.bytes().all(known)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // A host whose last label is a number is an IP address to browsers (URL standard, "ends in a
    // number checker"), in any of its spellings.
    let is_number = |label: &str| {
        let hex = label.strip_prefix("0x");
        label.bytes().all(|byte| byte.is_ascii_digit())
            || hex.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    text.len() <= DOMAIN_BYTES_MAX
        && text.split('.').all(is_label)
        && !text.rsplit('.').next().is_some_and(is_number)
}

fn is_origin_of(origin: &str, id: &str) -> bool {
    if let Some(hash) = origin.strip_prefix(ANDROID) {
        return base64url::decode(hash).is_some_and(|bytes| bytes.len() == 32);
    }
    if let Some(rest) = origin.strip_prefix("http://") {
        return id == "localhost" && host(rest, "80") == Some("localhost");
    }
    let Some(host) = origin.strip_prefix("https://").and_then(|rest| host(rest, "443")) else {
        return false;
    };
    let below = host.strip_suffix(id).is_some_and(|start| start.is_empty() || start.ends_with('.'));
    below && is_domain(host)
}

/// The host of `HOST[:PORT]`. A port is written as browsers write it, and not at all if it is the
/// scheme's own.
fn host<'a>(text: &'a str, own: &str) -> Option<&'a str> {
    let Some((host, port)) = text.split_once(':') else {
        return Some(text);
    };
    let number: u16 = port.parse().ok()?;
    (number > 0 && number.to_string() == port && port != own).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_up(id: &str, origins: &[&str]) -> Result<(), Misconfigured> {
        let origins = origins.iter().map(ToString::to_string).collect();
        check(&Passkeys { enabled: true, rp_id: id.into(), rp_name: "App".into(), origins })
    }

    #[test]
    fn an_id_is_a_domain_or_localhost() {
        for id in ["app.example", "a.b-c.example", "xn--bcher-kva.example", "localhost"] {
            assert_eq!(set_up(id, &[&format!("https://{id}")]), Ok(()), "{id}");
        }
        let long = format!("{}.example", "a".repeat(64));
        let longer = format!("{}example", "abc.".repeat(70));
        let bad = [
            "",
            "example",
            ".",
            "app.",
            ".app",
            "app..example",
            "App.example",
            "bücher.example",
            "app.example:443",
            "https://app.example",
            "app.example/",
            "127.0.0.1",
            "1.2.0x7f",
            "a.0x",
            "[::1]",
            "-a.example",
            "a-.example",
            "a b.example",
            &long,
            &longer,
        ];
        for id in bad {
            let origin = format!("https://{id}");
            assert_eq!(set_up(id, &[&origin]), Err(Misconfigured::Id), "{id}");
        }
    }

    #[test]
    fn an_origin_belongs_to_the_id_and_is_spelled_as_browsers_do() {
        let android = format!("{ANDROID}{}", base64url::encode(&[7; 32]));
        let good = ["https://app.example", "https://app.example:8443", "https://a.b.app.example"];
        for origin in good.into_iter().chain([&*android]) {
            assert_eq!(set_up("app.example", &[origin]), Ok(()), "{origin}");
        }
        let bad = [
            "http://app.example",
            "http://localhost",
            "https://app.example/",
            "https://app.example:443",
            "https://app.example:",
            "https://app.example:0443",
            "https://app.example:0",
            "https://app.example:65536",
            "https://app.example:+1",
            "https://app.example:1:2",
            "https://evilapp.example",
            "https://example",
            "https://app.example.evil",
            "https://.app.example",
            "https://me@app.example",
            "https://App.example",
            "HTTPS://app.example",
            "https://",
            "",
            "null",
            "*",
            "https://*.app.example",
            "https://evil.test#.app.example",
            "android:apk-key-hash:AA",
            "android:apk-key-hash:",
            "https://app.example\n",
        ];
        for origin in bad {
            let checked = set_up("app.example", &["https://app.example", origin]);
            assert_eq!(checked, Err(Misconfigured::Origin(1)), "{origin}");
        }
    }

    #[test]
    fn localhost_goes_without_tls() {
        let good = ["http://localhost", "http://localhost:3000", "https://localhost:3000"];
        assert_eq!(set_up("localhost", &good), Ok(()));
        for origin in ["http://localhost:80", "http://127.0.0.1", "http://localhost.evil.test"] {
            assert_eq!(set_up("localhost", &[origin]), Err(Misconfigured::Origin(0)), "{origin}");
        }
    }

    #[test]
    fn sizes_have_limits_and_the_name_may_be_missing() {
        let passkeys = |name: &str, count| Passkeys {
            enabled: true,
            rp_id: "app.example".into(),
            rp_name: name.into(),
            origins: vec!["https://app.example".into(); count],
        };
        assert_eq!(check(&passkeys("", 0)), Err(Misconfigured::Origins));
        assert_eq!(check(&passkeys("", 65)), Err(Misconfigured::Origins));
        assert_eq!(check(&passkeys(&"x".repeat(129), 1)), Err(Misconfigured::Name));
        assert_eq!(RelyingParty::new(&passkeys("", 64)).unwrap().name(), "app.example");
        assert_eq!(RelyingParty::new(&passkeys("App", 1)).unwrap().name(), "App");
    }
}
