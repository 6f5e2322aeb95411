//! Connections to mail servers (RFC 5321), kept open for a while between mails. Outside this
//! machine nothing is said without TLS (RFC 3207, RFC 8314).

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use lettre::address::Envelope;
use lettre::transport::smtp;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;
use reqwest::Url;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::Error;
use crate::outbound::resolve;

/// How long it may take to connect, to encrypt and to sign in; then to send.
const STEP_MAX: Duration = Duration::from_secs(10);
/// How long a server may take a mail in: a filter may look at it first, and who gives up too early
/// sends it twice (RFC 5321 §4.5.3.2.6).
const SEND_MAX: Duration = Duration::from_secs(30);
/// How long a connection may lie idle.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Idle connections at most, to all servers.
const IDLE_COUNT_MAX: usize = 32;
/// Connections in use at most; more wait.
const BUSY_COUNT_MAX: usize = 32;
/// Mails by one connection at most: some servers end it after a hundred.
const MAILS_MAX: u32 = 50;
/// Longest URL, in bytes.
const URL_BYTES_MAX: usize = 512;

/// A mail server and who signs in to it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Server {
    host: String,
    port: u16,
    is_wrapped: bool,
    user: Option<String>,
    password: Option<String>,
    /// What this machine calls itself (RFC 5321 §4.1.4).
    pub(crate) hello_name: Option<String>,
    /// Certificates (PEM) that are believed besides the system's.
    pub(crate) roots_pem: Option<String>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Server {
    /// From `smtp://user@host:587` (STARTTLS) or `smtps://user@host:465`. A password in the URL
    /// is taken unless `password` is given.
    pub(crate) fn parse(text: &str, password: Option<&str>) -> Result<Self, Error> {
        let url = Some(text).filter(|text| text.len() <= URL_BYTES_MAX);
        let url = url.and_then(|text| Url::parse(text).ok());
        let url = url.ok_or(Error::Setting("the mail server's URL"))?;
        let (is_wrapped, port) = match url.scheme() {
            "smtp" => (false, 587),
            "smtps" => (true, 465),
            _ => return Err(Error::Setting("the mail server's URL: smtp or smtps")),
        };
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or(Error::Setting("the mail server's URL: no host"))?;
        let has_more = url.query().is_some() || !matches!(url.path(), "" | "/");
        if has_more {
            return Err(Error::Setting("the mail server's URL: more than a host and a port"));
        }
        let user = Some(decoded(url.username())?).filter(|user| !user.is_empty());
        let password = match password {
            Some(password) => Some(password.to_owned()),
            None => url.password().map(decoded).transpose()?,
        };
        if user.is_some() != password.is_some() {
            return Err(Error::Setting(
                "the mail server's user or password: one without the other",
            ));
        }
        Ok(Self {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: url.port().unwrap_or(port),
            is_wrapped,
            user,
            password,
            hello_name: None,
            roots_pem: None,
        })
    }

    /// Tells connections apart, without keeping the password.
    fn key(&self, ip: IpAddr) -> [u8; 32] {
        let secrets = (&self.user, &self.password, &self.hello_name, &self.roots_pem);
        let all = format!("{:?}", (&self.host, ip, self.port, self.is_wrapped, secrets));
        Sha256::digest(all.as_bytes()).into()
    }

    fn tls(&self) -> Result<TlsParameters, Error> {
        let mut builder = TlsParameters::builder(self.host.clone());
        if let Some(pem) = &self.roots_pem {
            let root = Certificate::from_pem(pem.as_bytes());
            let root = root.map_err(|_| Error::Setting("the mail server's certificate"))?;
            builder = builder.add_root_certificate(root);
        }
        builder.build().map_err(|_| Error::Setting("TLS for mail"))
    }

    async fn open(&self, ip: IpAddr) -> Result<AsyncSmtpConnection, Error> {
        let address = SocketAddr::new(ip, self.port);
        let hello = self.hello_name.clone().map_or_else(ClientId::default, ClientId::Domain);
        let wrapper = if self.is_wrapped { Some(self.tls()?) } else { None };
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(address, Some(STEP_MAX), &hello, wrapper, None)
                .await
                .map_err(|error| fault(&error))?;
        if !self.is_wrapped && starts_tls(ip, connection.can_starttls())? {
            connection.starttls(self.tls()?, &hello).await.map_err(|error| fault(&error))?;
        }
        if let (Some(user), Some(password)) = (&self.user, &self.password) {
            let proof = Credentials::new(user.clone(), password.clone());
            let signed_in = connection.auth(DEFAULT_MECHANISMS, &proof).await;
            signed_in.map_err(|error| fault(&error))?;
        }
        Ok(connection)
    }
}

/// Whether to encrypt a connection that is not yet. Nobody else hears what is said within this
/// machine, so only there it may stay as it is; to others a missing STARTTLS may be an attack.
fn starts_tls(ip: IpAddr, can_starttls: bool) -> Result<bool, Error> {
    match (can_starttls, ip.is_loopback()) {
        (true, _) => Ok(true),
        (false, true) => Ok(false),
        (false, false) => Err(Error::Setting("a mail server without TLS")),
    }
}

fn decoded(text: &str) -> Result<String, Error> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| Error::Setting("the mail server's user or password"))
}

/// Of lettre's error only what kind it is: its text has the server's words in it, and those often
/// have the address.
fn fault(error: &smtp::Error) -> Error {
    match error.status().map(u16::from) {
        Some(status) if error.is_transient() => Error::Later(status),
        Some(status) => Error::Refused(status),
        None if error.is_client() => Error::Setting("the mail server lacks what is needed"),
        None if error.is_response() => Error::Answer("not SMTP"),
        None if error.is_timeout() => Error::TimedOut,
        None => Error::Unreachable("no connection to the mail server"),
    }
}

struct Idle {
    key: [u8; 32],
    since: Instant,
    mails: u32,
    connection: AsyncSmtpConnection,
}

/// Connections to mail servers.
pub(crate) struct Connections {
    idle: Mutex<Vec<Idle>>,
    places: Semaphore,
}

impl Connections {
    pub(crate) fn new() -> Self {
        Self { idle: Mutex::default(), places: Semaphore::new(BUSY_COUNT_MAX) }
    }

    /// Sends one mail, by a connection that is open or a new one. Where a step takes too long, the
    /// connection is closed at once: an answer that comes late must not be taken for the next one.
    pub(crate) async fn send(
        &self,
        server: &Server,
        allow_private: bool,
        envelope: &Envelope,
        mail: &[u8],
    ) -> Result<(), Error> {
        let _place = self.places.acquire().await.map_err(|_| Error::Closed)?;
        let found = within(STEP_MAX, resolve(&server.host, allow_private)).await?;
        let ip = *found.first().ok_or(Error::Unreachable("the name is not known"))?;
        let key = server.key(ip);
        let (mut connection, mails) = match self.reuse(&key).await {
            Some(reused) => reused,
            None => (within(STEP_MAX, server.open(ip)).await?, 0),
        };
        within(SEND_MAX, async {
            connection.send(envelope, mail).await.map_err(|error| fault(&error))
        })
        .await?;
        if mails + 1 < MAILS_MAX && !connection.has_broken() {
            let since = Instant::now();
            let mut idle = self.idle.lock();
            idle.retain(|one| one.since.elapsed() < IDLE_MAX);
            if idle.len() >= IDLE_COUNT_MAX {
                idle.remove(0);
            }
            idle.push(Idle { key, since, mails: mails + 1, connection });
        }
        Ok(())
    }

    async fn reuse(&self, key: &[u8; 32]) -> Option<(AsyncSmtpConnection, u32)> {
        loop {
            let Idle { mut connection, mails, .. } = {
                let mut idle = self.idle.lock();
                idle.retain(|one| one.since.elapsed() < IDLE_MAX);
                let place = idle.iter().rposition(|one| one.key == *key)?;
                idle.remove(place)
            };
            let is_open = timeout(STEP_MAX, connection.test_connected()).await;
            if is_open == Ok(true) {
                return Some((connection, mails));
            }
        }
    }
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    timeout(limit, work).await.unwrap_or(Err(Error::TimedOut))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_urls() {
        let server = Server::parse("smtp://ann%40b.example@mail.example", Some("p")).unwrap();
        assert_eq!((server.host.as_str(), server.port), ("mail.example", 587));
        assert_eq!(server.user.as_deref(), Some("ann@b.example"));
        assert!(!server.is_wrapped);
        let server = Server::parse("smtps://u:a%3Ab@[::1]", None).unwrap();
        assert_eq!((server.host.as_str(), server.port), ("::1", 465));
        assert_eq!(server.password.as_deref(), Some("a:b"));
        assert!(server.is_wrapped);
        for bad in [
            "mail.example",
            "http://mail.example",
            "smtp://",
            "smtp://u@mail.example",
            "smtp://mail.example?tls=none",
            "smtp://mail.example/path",
        ] {
            assert!(Server::parse(bad, None).is_err(), "{bad}");
        }
        assert!(Server::parse("smtp://mail.example", Some("p")).is_err());
        assert!(!format!("{server:?}").contains("a:b"));
    }

    #[test]
    fn says_nothing_in_the_clear_to_others() {
        let [far, near] = [[192, 0, 2, 1], [127, 0, 0, 1]].map(IpAddr::from);
        assert_eq!(starts_tls(far, true), Ok(true));
        assert_eq!(starts_tls(near, true), Ok(true));
        assert_eq!(starts_tls(near, false), Ok(false));
        assert_eq!(starts_tls(far, false), Err(Error::Setting("a mail server without TLS")));
    }

    #[tokio::test(start_paused = true)]
    async fn waits_for_no_server_that_is_silent() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Server::parse(&format!("smtp://127.0.0.1:{port}"), None).unwrap();
        let envelope = Envelope::new(None, vec!["a@b.example".parse().unwrap()]).unwrap();
        let connections = Connections::new();
        let found = connections.send(&server, true, &envelope, b"").await;
        assert_eq!(found, Err(Error::TimedOut));
        assert!(connections.idle.lock().is_empty());
    }

    #[test]
    fn tells_connections_apart() {
        let ip = IpAddr::from([192, 0, 2, 1]);
        let key = |url: &str, ip| Server::parse(url, None).unwrap().key(ip);
        let one = key("smtp://u:a@h", ip);
        assert_eq!(one, key("smtp://u:a@h:587", ip));
        for other in ["smtp://u:b@h", "smtps://u:a@h:587", "smtp://v:a@h", "smtp://u:a@i"] {
            assert_ne!(one, key(other, ip), "{other}");
        }
        assert_ne!(one, key("smtp://u:a@h", IpAddr::from([192, 0, 2, 2])));
    }
}
