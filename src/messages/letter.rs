//! One message to one person, made and ready to go.

use std::fmt;

use domain::ProjectId;
use domain::sign_in::Mail;
use lettre::Address;

use crate::template::{Kind, Message, Values, render};
use crate::{Error, signing};

/// Longest address, in bytes (RFC 5321 §4.5.3.1.3, without the angle brackets).
const ADDRESS_BYTES_MAX: usize = 254;

/// A mail or an SMS. `Debug` shows neither whom it is for nor what it says.
#[derive(Clone, PartialEq, Eq)]
pub struct Letter {
    /// Stays the same over retries, so that whoever gets it twice can tell: 36 characters.
    pub id: String,
    /// Whose user it is for.
    pub project: ProjectId,
    /// What it is for; also says whether it is a mail or an SMS.
    pub kind: Kind,
    /// The address, or the number.
    pub to: String,
    /// What it says.
    pub message: Message,
    /// The link in it.
    pub link: Option<String>,
    /// The code in it.
    pub code: Option<String>,
}

impl Letter {
    /// Writes a letter in the best language for `wanted`, see [`render`]. [`Error::Recipient`] if
    /// `to` is not a mail address, or for SMS not a number as E.164 has it: `+` and 7 to 15 digits.
    pub fn new(
        project: ProjectId,
        kind: Kind,
        to: &str,
        settings: &Mail,
        wanted: Option<&str>,
        values: &Values<'_>,
    ) -> Result<Self, Error> {
        let is_fit = if kind.is_sms() { is_number(to) } else { is_address(to) };
        if !is_fit {
            return Err(Error::Recipient);
        }
        Ok(Self {
            id: signing::new_id()?,
            project,
            kind,
            to: to.to_owned(),
            message: render(kind, settings, wanted, values)?,
            link: values.link.map(str::to_owned),
            code: values.code.map(str::to_owned),
        })
    }

    /// Bytes of text in it, about.
    pub(crate) fn weight(&self) -> usize {
        let Message { subject, text, html } = &self.message;
        subject.len() + text.len() + html.as_ref().map_or(0, String::len)
    }
}

impl fmt::Debug for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Letter");
        shown.field("id", &self.id).field("project", &self.project).field("kind", &self.kind);
        shown.finish_non_exhaustive()
    }
}

fn is_address(to: &str) -> bool {
    to.len() <= ADDRESS_BYTES_MAX && !to.contains(char::is_control) && to.parse::<Address>().is_ok()
}

fn is_number(to: &str) -> bool {
    to.strip_prefix('+').is_some_and(|digits| {
        (7..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A letter as tests need one.
    pub(crate) fn letter(project: &str, kind: Kind, to: &str) -> Letter {
        let values = Values {
            link: Some("https://app.example/go?token=secret-token"),
            code: Some("042193"),
            email: to,
            project: "Tide",
            minutes: 15,
        };
        let project = ProjectId::new(project).unwrap();
        Letter::new(project, kind, to, &Mail::default(), None, &values).unwrap()
    }

    #[test]
    fn takes_addresses_and_numbers_only() {
        for good in ["ann@app.example", "a+b@sub.app.example"] {
            assert!(is_address(good), "{good}");
        }
        let long = format!("{}@app.example", "a".repeat(250));
        for bad in [
            "",
            "ann",
            "ann@app.example\r\nBcc: b@c.example",
            "a@b@c",
            "\"a\r\nDATA\"@b.example",
            &long,
        ] {
            assert!(!is_address(bad), "{bad:?}");
        }
        assert!(is_number("+491701234567"));
        for bad in ["", "+", "491701234567", "+12345", "+1234567890123456", "+49 170 1234"] {
            assert!(!is_number(bad), "{bad:?}");
        }
    }

    #[test]
    fn debug_tells_nothing() {
        let shown = format!("{:?}", letter("p1", Kind::MagicLink, "ann@app.example"));
        assert!(shown.contains("MagicLink"));
        for hidden in ["ann", "secret-token", "042193"] {
            assert!(!shown.contains(hidden), "{shown}");
        }
    }
}
