//! What messages say: the project's own words where it has some, otherwise ours. Whatever is put
//! into a template is data: HTML gets it escaped, and no line of a header or of the text can be
//! ended by it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use domain::sign_in::{Mail, Template};
use serde::{Deserialize, Serialize};

use crate::language::ranges;
use crate::texts;

/// Longest subject, in characters.
const SUBJECT_CHARS_MAX: usize = 200;
/// Longest text, in bytes.
const TEXT_BYTES_MAX: usize = 20 * 1024;
/// Longest HTML, in bytes.
const HTML_BYTES_MAX: usize = 100 * 1024;
/// Most placeholders in one part: with the longest value they bound what a message may grow to.
const PLACEHOLDERS_MAX: usize = 16;
/// Longest value of a placeholder, in bytes.
const VALUE_BYTES_MAX: usize = 2048;
/// The language if nothing else is known.
pub(crate) const LANGUAGE: &str = "en";

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A link that proves that an address is one's own.
    VerifyEmail,
    /// A link to set a new password.
    ResetPassword,
    /// A link to sign in.
    MagicLink,
    /// A code to sign in, by mail.
    EmailCode,
    /// Tells the old address that there is a new one.
    EmailChanged,
    /// Tells that the password was changed.
    PasswordChanged,
    /// A link to join.
    Invite,
    /// A code to sign in, by SMS.
    PhoneCode,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::VerifyEmail,
        Self::ResetPassword,
        Self::MagicLink,
        Self::EmailCode,
        Self::EmailChanged,
        Self::PasswordChanged,
        Self::Invite,
        Self::PhoneCode,
    ];

    /// The name in the configuration, in hooks and in the inbox.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify-email",
            Self::ResetPassword => "reset-password",
            Self::MagicLink => "magic-link",
            Self::EmailCode => "email-code",
            Self::EmailChanged => "email-changed",
            Self::PasswordChanged => "password-changed",
            Self::Invite => "invite",
            Self::PhoneCode => "phone-code",
        }
    }

    /// Whether it goes out by SMS; otherwise by mail.
    pub fn is_sms(self) -> bool {
        self == Self::PhoneCode
    }

    /// What a template of this kind must hold, one of them: without it the message is of no use.
    fn needs(self) -> &'static [Hole] {
        match self {
            Self::VerifyEmail | Self::ResetPassword | Self::MagicLink | Self::Invite => {
                &[Hole::Link, Hole::Code]
            }
            Self::EmailCode | Self::PhoneCode => &[Hole::Code],
            Self::EmailChanged | Self::PasswordChanged => &[],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(Fault::Kind)
    }
}

/// Why a template, or what it is filled with, can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No such kind of message.
    #[error("no such kind of message")]
    Kind,
    /// Not one of the placeholders.
    #[error("{{{{ {0} }}}} stands for nothing: there are link, code, email, project and minutes")]
    Unknown(String),
    /// `{{` without `}}`.
    #[error("a placeholder is not closed")]
    Unclosed,
    /// A part is too long: which, and its limit.
    #[error("{0} is longer than {1}")]
    TooLong(&'static str, usize),
    /// A part has more than 16 placeholders.
    #[error("{0} has more than 16 placeholders")]
    TooMany(&'static str),
    /// A part is empty.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// The subject has a line break or another control character in it.
    #[error("the subject has a control character in it")]
    Control,
    /// A part lacks what the message is for.
    #[error("{0} lacks {{{{ {1} }}}}")]
    Missing(&'static str, &'static str),
    /// A value is absent though the kind needs it, or longer than 2,048 bytes.
    #[error("nothing usable to put in for {{{{ {0} }}}}")]
    Value(&'static str),
}

/// What is put in for the placeholders.
#[derive(Clone, Copy, Default)]
pub struct Values<'a> {
    /// Where to go on.
    pub link: Option<&'a str>,
    /// What to type in.
    pub code: Option<&'a str>,
    /// Whose it is: an address or a number.
    pub email: &'a str,
    /// The project's name, for people.
    pub project: &'a str,
    /// How long link or code are good, in minutes.
    pub minutes: u32,
}

impl fmt::Debug for Values<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Values").field("minutes", &self.minutes).finish_non_exhaustive()
    }
}

/// What goes out. Never shown by `Debug`: links and codes are in it.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// The subject: one line. Empty for SMS.
    pub subject: String,
    /// The text.
    pub text: String,
    /// The same as HTML.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Message(…)")
    }
}

/// Checks a project's template: known placeholders only, what the kind needs, a subject of one
/// line with at most 200 characters, text of at most 20 KiB and HTML of at most 100 KiB.
pub fn check(kind: Kind, template: &Template) -> Result<(), Fault> {
    let Template { subject, text, html } = template;
    if subject.chars().count() > SUBJECT_CHARS_MAX {
        return Err(Fault::TooLong("the subject", SUBJECT_CHARS_MAX));
    }
    if subject.contains(breaks_line) {
        return Err(Fault::Control);
    }
    if subject.trim().is_empty() && !kind.is_sms() {
        return Err(Fault::Empty("the subject"));
    }
    check_part("the subject", subject, usize::MAX, &[])?;
    if text.trim().is_empty() {
        return Err(Fault::Empty("the text"));
    }
    check_part("the text", text, TEXT_BYTES_MAX, kind.needs())?;
    if let Some(html) = html {
        check_part("the HTML", html, HTML_BYTES_MAX, kind.needs())?;
    }
    Ok(())
}

fn check_part(
    name: &'static str,
    text: &str,
    bytes_max: usize,
    needs: &[Hole],
) -> Result<(), Fault> {
    if text.len() > bytes_max {
        return Err(Fault::TooLong(name, bytes_max));
    }
    let holes: Vec<Hole> = pieces(text)?.iter().filter_map(Piece::hole).collect();
    if holes.len() > PLACEHOLDERS_MAX {
        return Err(Fault::TooMany(name));
    }
    match needs.first() {
        Some(first) if !needs.iter().any(|need| holes.contains(need)) => {
            Err(Fault::Missing(name, first.name()))
        }
        _ => Ok(()),
    }
}

/// Makes a message in the best language for `wanted` (BCP 47), looked up as RFC 4647 §3.4 says:
/// `de-CH`, then `de`, then the project's language, then English; at each step the project's own
/// template goes before the built-in one. A project's template that [`check`] refuses is passed
/// over: a mistake in it must not keep anybody from signing in. [`Fault::Value`] if what the kind
/// needs is not in `values`, or one of them is too long.
pub fn render(
    kind: Kind,
    settings: &Mail,
    wanted: Option<&str>,
    values: &Values<'_>,
) -> Result<Message, Fault> {
    check_values(kind, values)?;
    let template = choose(kind, settings, wanted);
    let html = match &template.html {
        Some(html) if !kind.is_sms() => Some(fill(html, values, Form::Html)?),
        _ => None,
    };
    let subject = if kind.is_sms() { "" } else { &template.subject };
    Ok(Message {
        subject: fill(subject, values, Form::Line)?,
        text: fill(&template.text, values, Form::Line)?,
        html,
    })
}

fn check_values(kind: Kind, values: &Values<'_>) -> Result<(), Fault> {
    let absent = match kind.needs().first() {
        Some(Hole::Link) => values.link.is_none().then_some("link"),
        Some(Hole::Code) => values.code.is_none().then_some("code"),
        _ => None,
    };
    if let Some(name) = absent {
        return Err(Fault::Value(name));
    }
    let long = Hole::ALL.into_iter().find(|hole| hole.value(values).len() > VALUE_BYTES_MAX);
    long.map_or(Ok(()), |hole| Err(Fault::Value(hole.name())))
}

fn choose<'a>(kind: Kind, settings: &'a Mail, wanted: Option<&str>) -> &'a Template {
    let own = settings.templates.get(kind.as_str());
    let tags = [wanted, settings.language.as_deref(), Some(LANGUAGE)];
    for range in tags.into_iter().flatten().flat_map(ranges) {
        let named = own.and_then(|own| own.iter().find(|(tag, _)| tag.eq_ignore_ascii_case(range)));
        match named.map(|(_, template)| (template, check(kind, template))) {
            Some((template, Ok(()))) => return template,
            Some((_, Err(_))) => tracing::warn!(kind = kind.as_str(), "template passed over"),
            None => {}
        }
        if let Some(template) = texts::built_in(kind, range) {
            return template;
        }
    }
    texts::fallback(kind)
}

/// A placeholder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hole {
    Link,
    Code,
    Email,
    Project,
    Minutes,
}

impl Hole {
    const ALL: [Self; 5] = [Self::Link, Self::Code, Self::Email, Self::Project, Self::Minutes];

    fn name(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Code => "code",
            Self::Email => "email",
            Self::Project => "project",
            Self::Minutes => "minutes",
        }
    }

    fn value<'a>(self, values: &Values<'a>) -> Cow<'a, str> {
        match self {
            Self::Link => values.link.unwrap_or_default().into(),
            Self::Code => values.code.unwrap_or_default().into(),
            Self::Email => values.email.into(),
            Self::Project => values.project.into(),
            Self::Minutes => values.minutes.to_string().into(),
        }
    }
}

enum Piece<'a> {
    Text(&'a str),
    Hole(Hole),
}

impl Piece<'_> {
    fn hole(&self) -> Option<Hole> {
        match self {
            Self::Text(_) => None,
            Self::Hole(hole) => Some(*hole),
        }
    }
}

fn pieces(text: &str) -> Result<Vec<Piece<'_>>, Fault> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").ok_or(Fault::Unclosed)?;
        let name = name.trim();
        let hole = Hole::ALL.into_iter().find(|hole| hole.name() == name);
        // Shown to whoever wrote it; the start of it tells enough.
        let hole = hole.ok_or_else(|| Fault::Unknown(name.chars().take(32).collect()))?;
        found.extend([Piece::Text(before), Piece::Hole(hole)]);
        rest = after;
    }
    found.push(Piece::Text(rest));
    Ok(found)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Values stay on their line.
    Line,
    /// The same, and HTML's own characters are escaped.
    Html,
}

fn fill(text: &str, values: &Values<'_>, form: Form) -> Result<String, Fault> {
    let mut filled = String::with_capacity(text.len() + 256);
    for piece in pieces(text)? {
        match piece {
            Piece::Text(text) => filled.push_str(text),
            Piece::Hole(hole) => {
                for one in hole.value(values).chars() {
                    push(&mut filled, one, form);
                }
            }
        }
    }
    Ok(filled)
}

/// HTML Standard §13.1.2: these end text, or an attribute's value in whatever quotes.
fn push(filled: &mut String, one: char, form: Form) {
    match one {
        _ if breaks_line(one) => filled.push(' '),
        '&' if form == Form::Html => filled.push_str("&amp;"),
        '<' if form == Form::Html => filled.push_str("&lt;"),
        '>' if form == Form::Html => filled.push_str("&gt;"),
        '"' if form == Form::Html => filled.push_str("&quot;"),
        '\'' if form == Form::Html => filled.push_str("&#39;"),
        '`' if form == Form::Html => filled.push_str("&#96;"),
        one => filled.push(one),
    }
}

/// Control characters, and what Unicode calls line and paragraph separator.
fn breaks_line(one: char) -> bool {
    one.is_control() || matches!(one, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
