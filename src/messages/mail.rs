//! Sends mail: by the project's mail server, or else by this server's own, or else keeps it in the
//! inbox for whoever develops.

use std::fmt;
use std::sync::Arc;

use domain::sign_in::{Mail, Secret};
use lettre::Address;
use lettre::address::Envelope;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};

use crate::smtp::{Connections, Server};
use crate::{Error, Inbox, Letter};

/// Longest sender, in bytes.
const FROM_BYTES_MAX: usize = 320;

/// This server's own way to send mail.
#[derive(Clone)]
pub struct SmtpOptions {
    /// `smtp://user@host:587`, with STARTTLS unless the host is this machine, or
    /// `smtps://user@host:465`.
    pub url: String,
    /// The password; one in the URL is taken too.
    pub password: Option<Secret>,
    /// The sender, for projects that name none: `App <no-reply@app.example>`.
    pub from: String,
    /// What this machine calls itself to mail servers: a full domain name. Its address if absent.
    pub hello_name: Option<String>,
    /// A certificate (PEM) that is believed besides the system's.
    pub root_pem: Option<String>,
}

impl fmt::Debug for SmtpOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpOptions").field("from", &self.from).finish_non_exhaustive()
    }
}

/// What a project says of its mail server, its password opened.
#[derive(Debug, Clone, Default)]
pub struct Route {
    from: Option<String>,
    smtp: Option<Smtp>,
}

#[derive(Clone)]
struct Smtp {
    url: String,
    password: Option<Secret>,
}

impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Smtp(…)")
    }
}

impl Route {
    /// The part of `settings` that sending needs; the texts stay behind.
    pub fn of(settings: &Mail) -> Self {
        let password = settings.smtp_password.clone();
        let smtp = settings.smtp_url.clone().map(|url| Smtp { url, password });
        Self { from: settings.from.clone(), smtp }
    }
}

/// Checks a project's settings for mail when they are stored: sender and URL can be read, no
/// password is in the URL, for that would be stored as it is. [`Error::Setting`].
pub fn check(settings: &Mail) -> Result<(), Error> {
    if let Some(from) = &settings.from {
        mailbox(from)?;
    }
    let Some(url) = &settings.smtp_url else { return Ok(()) };
    let has_password = reqwest::Url::parse(url).is_ok_and(|url| url.password().is_some());
    if has_password {
        return Err(Error::Setting("the mail server's URL: a password in it"));
    }
    if settings.from.is_none() {
        return Err(Error::Setting("the sender: a mail server of one's own needs one"));
    }
    let password = settings.smtp_password.as_ref();
    Server::parse(url, password.map(|password| password.0.as_str())).map(|_| ())
}

/// Sends mail. One per process; to be shared.
pub struct Mailer {
    own: Option<(Server, String)>,
    inbox: Option<Arc<Inbox>>,
    allow_private: bool,
    connections: Connections,
}

impl Mailer {
    /// A mailer that sends by `server_default` for projects without a mail server, and without
    /// that keeps mail in `inbox`. Projects' mail servers may be in private networks only with
    /// `allow_private`; the server's own may be anywhere. [`Error::Setting`] if the options can't
    /// be used.
    pub fn new(
        server_default: Option<SmtpOptions>,
        inbox: Option<Arc<Inbox>>,
        allow_private: bool,
    ) -> Result<Self, Error> {
        let own = server_default.map(|options| {
            let password = options.password.as_ref().map(|password| password.0.as_str());
            let mut server = Server::parse(&options.url, password)?;
            let is_odd =
                |name: &String| name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic());
            if options.hello_name.as_ref().is_some_and(is_odd) {
                return Err(Error::Setting("what this machine calls itself to mail servers"));
            }
            server.hello_name = options.hello_name;
            server.roots_pem = options.root_pem;
            mailbox(&options.from)?;
            Ok::<_, Error>((server, options.from))
        });
        Ok(Self { own: own.transpose()?, inbox, allow_private, connections: Connections::new() })
    }

    /// Sends one, or keeps it. Takes up to 50 s where a mail server is slow: see
    /// [`crate::Queue`]. [`Error::Unset`] if there is neither mail server nor inbox.
    pub async fn send(&self, letter: &Letter, route: &Route) -> Result<(), Error> {
        let from = route.from.as_deref();
        match (&route.smtp, &self.own) {
            (Some(smtp), _) => {
                let from = from.ok_or(Error::Setting("the sender"))?;
                let password = smtp.password.as_ref().map(|password| password.0.as_str());
                let server = Server::parse(&smtp.url, password)?;
                self.send_by(&server, self.allow_private, from, letter).await
            }
            (None, Some((server, own_from))) => {
                self.send_by(server, true, from.unwrap_or(own_from), letter).await
            }
            (None, None) => {
                self.inbox.as_ref().ok_or(Error::Unset("mail"))?.keep(letter);
                Ok(())
            }
        }
    }

    async fn send_by(
        &self,
        server: &Server,
        allow_private: bool,
        from: &str,
        letter: &Letter,
    ) -> Result<(), Error> {
        let (envelope, mail) = written(from, letter)?;
        self.connections.send(server, allow_private, &envelope, &mail).await
    }
}

fn mailbox(from: &str) -> Result<Mailbox, Error> {
    let is_fit = from.len() <= FROM_BYTES_MAX && !from.contains(char::is_control);
    let parsed = if is_fit { from.parse().ok() } else { None };
    parsed.ok_or(Error::Setting("the sender"))
}

/// The mail as it goes over the wire (RFC 5322).
fn written(from: &str, letter: &Letter) -> Result<(Envelope, Vec<u8>), Error> {
    let from = mailbox(from)?;
    let to: Address = letter.to.parse().map_err(|_| Error::Recipient)?;
    let id = format!("<{}@{}>", letter.id, from.email.domain());
    let message = &letter.message;
    let builder = lettre::Message::builder()
        .from(from)
        .to(Mailbox::new(None, to))
        .subject(message.subject.clone())
        .message_id(Some(id))
        // RFC 3834 §5: so that no absence note answers it.
        .raw_header(HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        ));
    let text = message.text.clone();
    let mail = match &message.html {
        Some(html) => builder.multipart(MultiPart::alternative_plain_html(text, html.clone())),
        None => builder.singlepart(SinglePart::plain(text)),
    };
    let mail = mail.map_err(|_| Error::Setting("the mail's headers"))?;
    Ok((mail.envelope().clone(), mail.formatted()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use crate::letter::tests::letter;

    fn settings(from: &str, url: &str, password: Option<&str>) -> Mail {
        Mail {
            from: Some(from.into()),
            smtp_url: Some(url.into()),
            smtp_password: password.map(|password| Secret(password.into())),
            ..Mail::default()
        }
    }

    #[test]
    fn checks_what_a_project_says() {
        check(&Mail::default()).unwrap();
        check(&settings("App <a@b.example>", "smtp://u@mail.example", Some("p"))).unwrap();
        for bad in [
            settings("App", "smtp://mail.example", None),
            settings("App <a@b.example>\r\nBcc: c@d.example", "smtp://mail.example", None),
            settings("a@b.example", "smtp://u:p@mail.example", None),
            settings("a@b.example", "smtp://u@mail.example", None),
            Mail { from: None, ..settings("", "smtp://mail.example", None) },
        ] {
            assert!(matches!(check(&bad), Err(Error::Setting(_))), "{bad:?}");
        }
    }

    #[test]
    fn writes_headers_that_hold_one_line_each() {
        let mut letter = letter("p1", Kind::MagicLink, "ann@app.example");
        // As if a template had let it through.
        letter.message.subject = "Hi\r\nBcc: eve@evil.example\r\n\r\nbody".into();
        let (envelope, mail) = written("Tíde <no-reply@app.example>", &letter).unwrap();
        let mail = String::from_utf8(mail).unwrap();
        let (head, body) = mail.split_once("\r\n\r\n").unwrap();
        assert!(!head.lines().any(|line| line.starts_with("Bcc:")), "{head}");
        assert!(head.contains(&format!("Message-ID: <{}@app.example>", letter.id)));
        assert!(head.contains("Auto-Submitted: auto-generated"));
        assert!(head.contains("To: ann@app.example"));
        assert!(body.contains("text/plain") && body.contains("text/html"));
        assert_eq!(envelope.to().len(), 1);
    }

    #[tokio::test]
    async fn keeps_what_nobody_sends() {
        let letter = letter("p1", Kind::MagicLink, "ann@app.example");
        let inbox = Arc::new(Inbox::new());
        let mailer = Mailer::new(None, Some(Arc::clone(&inbox)), false).unwrap();
        mailer.send(&letter, &Route::default()).await.unwrap();
        assert_eq!(inbox.list(&letter.project, None).len(), 1);
        let mailer = Mailer::new(None, None, false).unwrap();
        assert_eq!(mailer.send(&letter, &Route::default()).await, Err(Error::Unset("mail")));
    }

    #[tokio::test]
    async fn a_projects_mail_server_may_not_be_inside() {
        let letter = letter("p1", Kind::MagicLink, "ann@app.example");
        let mailer = Mailer::new(None, None, false).unwrap();
        for url in ["smtp://127.0.0.1:9", "smtp://localhost:9", "smtps://169.254.169.254"] {
            let route = Route::of(&settings("a@b.example", url, None));
            let found = mailer.send(&letter, &route).await;
            assert!(matches!(found, Err(Error::Forbidden(_))), "{url}: {found:?}");
        }
    }
}
