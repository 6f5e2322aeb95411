//! Whether a sign-in may send somebody back to a URL: only to what the project listed. Both sides
//! are read as browsers read them (WHATWG URL), and whatever is read in two ways is refused.

use url::Url;

/// The longest URL that is looked at, in bytes.
pub const URL_BYTES_MAX: usize = 2_048;

/// Schemes that run code, read files or are no place to be sent to; never allowed, even if listed.
const NEVER: &[&str] = &[
    "about",
    "blob",
    "chrome",
    "content",
    "data",
    "file",
    "filesystem",
    "ftp",
    "intent",
    "javascript",
    "jar",
    "mailto",
    "resource",
    "vbscript",
    "view-source",
    "ws",
    "wss",
];

/// Whether `url` may be sent to: it is `site_url` or one of `listed`, or below one of `listed` that
/// ends in `/*`. See [`checked`].
pub fn allowed(url: &str, listed: &[String], site_url: Option<&str>) -> bool {
    checked(url, listed, site_url).is_some()
}

/// The URL as a browser reads it, if it may be sent to: send people to this, not to the text that
/// came in. A web URL matches by its parts; one of an app's own scheme only as it is listed. It may
/// have no user, no fragment, no backslash and nothing outside ASCII. Below a listed `/*` it may
/// have any query, but a path that every server reads alike.
pub fn checked(url: &str, listed: &[String], site_url: Option<&str>) -> Option<Url> {
    let asked = read(url)?;
    let mut listed = listed.iter().map(String::as_str).chain(site_url);
    listed.any(|listed| matches(url, &asked, listed)).then_some(asked)
}

/// Reads what was asked for, unless others might read it otherwise.
fn read(text: &str) -> Option<Url> {
    let is_plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'\\' | b'#');
    if text.len() > URL_BYTES_MAX || !text.bytes().all(is_plain) {
        return None;
    }
    let (scheme, rest) = text.split_once(':')?;
    let url = Url::parse(text).ok()?;
    if NEVER.contains(&url.scheme()) || !url.scheme().eq_ignore_ascii_case(scheme) {
        return None;
    }
    if is_web(&url) {
        // Browsers also read `https:host` and `https:///host`; nobody who means well writes so.
        let authority = rest.strip_prefix("//")?.split(['/', '?']).next()?;
        if authority.is_empty() || authority.contains('@') {
            return None;
        }
    }
    Some(url)
}

fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}

fn matches(text: &str, asked: &Url, listed: &str) -> bool {
    if !is_web(asked) {
        return text == listed;
    }
    let (listed, is_prefix) = match listed.strip_suffix('*') {
        Some(prefix) => (prefix, true),
        None => (listed, false),
    };
    // A `*` anywhere else stands for nothing.
    if listed.contains('*') || listed.len() > URL_BYTES_MAX {
        return false;
    }
    let Ok(listed) = Url::parse(listed) else { return false };
    let has_user = !listed.username().is_empty() || listed.password().is_some();
    if has_user || listed.fragment().is_some() || !is_web(&listed) {
        return false;
    }
    if !is_prefix {
        return *asked == listed;
    }
    let is_same_origin = asked.scheme() == listed.scheme()
        && asked.host() == listed.host()
        && asked.port_or_known_default() == listed.port_or_known_default();
    is_same_origin
        && listed.query().is_none()
        && listed.path().ends_with('/')
        && asked.path().starts_with(listed.path())
        && has_one_reading(asked.path())
}

/// Whether no server finds other segments in the path than we do: none that is empty or climbs, and
/// no escape that would decode to a separator, a dot, a control character or another escape.
fn has_one_reading(path: &str) -> bool {
    let has_bad_escape = path.split('%').skip(1).any(|after| {
        let byte = after.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        byte.is_none_or(|byte| byte < 0x20 || matches!(byte, b'/' | b'\\' | b'.' | b'%' | 0x7f))
    });
    !has_bad_escape && !path.contains("//") && !path.contains(';')
}

#[cfg(test)]
mod tests;
