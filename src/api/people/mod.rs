//! People: what every worker shares to sign them in, and what a project says of it, ready to use.
//! Routes are in `routes/auth/` and `routes/users/`; what happens to a user is decided by the
//! writer.

mod answer;
mod directory;
pub(crate) mod federated;
mod profile;
mod session;
mod ways;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use auth::access_token::Cache;
use auth::limits::Limits;
use auth::lockout::Lockouts;
use auth::password::Hasher;
use domain::{ProjectId, Timestamp};
use engine::Project;
use messages::{Courier, Inbox, Mailer, Outbound, Queue, hooks};
use parking_lot::RwLock;
use vault::{Sealer, ServerKeys};

pub(crate) use answer::{PasskeyBody, SessionBody, UserBody, level};
pub(crate) use directory::{Directory, new_signing_key, secret_context};
pub(crate) use profile::{Profile, field};
pub(crate) use session::{How, IMPERSONATION_SECONDS_MAX, Started};
pub(crate) use ways::Way;

use crate::error::{Code, Problem};

/// Access tokens that were found good and are remembered as such, in bytes of their text.
const TOKENS_CACHED_BYTES_MAX: usize = 16 << 20;
/// Identities whose failures are counted.
const LOCKOUTS_MAX: usize = 100_000;

/// What the server brings along to sign people in.
pub struct Options {
    /// The server's own keys.
    pub server_keys: ServerKeys,
    /// Where clients reach the API: an absolute URL without a slash at its end. `None` for the
    /// address that the server is bound to.
    pub public_url: Option<String>,
    /// Whether hooks and issuers may be at private addresses.
    pub allow_private: bool,
    /// What a password's hash costs.
    pub password: auth::password::Options,
    /// How often somebody may try.
    pub limits: auth::limits::Options,
    /// The server's own mail server, if it has one.
    pub smtp: Option<messages::SmtpOptions>,
    /// Where mail goes that nobody sends, while developing.
    pub inbox: Option<Arc<Inbox>>,
}

/// What all workers share.
pub(crate) struct People {
    pub(crate) server_keys: ServerKeys,
    pub(crate) sealer: Sealer,
    public_url: OnceLock<String>,
    pub(crate) hasher: Hasher,
    pub(crate) limits: Limits,
    pub(crate) lockouts: Lockouts,
    pub(crate) issuers: issuers::Client,
    pub(crate) hooks: hooks::Caller,
    pub(crate) outbound: Outbound,
    pub(crate) queue: Queue,
    pub(crate) inbox: Option<Arc<Inbox>>,
    tokens: Cache,
    directories: RwLock<HashMap<ProjectId, Made>>,
}

/// A project as it was, and what was made of it.
type Made = (Arc<Project>, Arc<Directory>);

impl People {
    /// Errors with what of the options can't be used. Must run within a tokio runtime that lives
    /// as long as the server: mail is sent from there.
    pub(crate) fn new(options: Options, sealer: Sealer) -> Result<Self, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let outbound = Outbound::new(options.allow_private).map_err(|e| text(&e))?;
        let mailer = Mailer::new(options.smtp, options.inbox.clone(), options.allow_private);
        let mailer = mailer.map_err(|e| text(&e))?;
        let courier = Courier::new(mailer, outbound.clone(), options.inbox.clone());
        let issuers = issuers::Client::new(issuers::Options {
            allow_private: options.allow_private,
            ..issuers::Options::default()
        });
        Ok(Self {
            server_keys: options.server_keys,
            sealer,
            public_url: options.public_url.map_or_else(OnceLock::new, OnceLock::from),
            hasher: Hasher::new(&options.password).map_err(|e| text(&e))?,
            limits: Limits::new(&options.limits),
            lockouts: Lockouts::new(LOCKOUTS_MAX),
            issuers: issuers.map_err(|e| text(&e))?,
            hooks: hooks::Caller::new(outbound.clone()),
            outbound,
            queue: Queue::new(Arc::new(courier)),
            inbox: options.inbox,
            tokens: Cache::new(TOKENS_CACHED_BYTES_MAX),
            directories: RwLock::default(),
        })
    }

    /// What the project says of signing in, ready to use; made anew when its configuration changed.
    pub(crate) fn directory(
        &self,
        id: &ProjectId,
        project: &Arc<Project>,
    ) -> Result<Arc<Directory>, Problem> {
        if let Some((of, directory)) = self.directories.read().get(id)
            && Arc::ptr_eq(of, project)
        {
            return Ok(Arc::clone(directory));
        }
        let directory = Directory::new(self, id, project, &self.tokens)?;
        let directory = Arc::new(directory);
        let entry = (Arc::clone(project), Arc::clone(&directory));
        self.directories.write().insert(id.clone(), entry);
        Ok(directory)
    }

    /// The issuer of a project's access tokens: `iss`, and where its keys are published below.
    pub(crate) fn issuer(&self, id: &ProjectId) -> String {
        let url = self.public_url.get().map_or("", String::as_str);
        format!("{url}/v1/projects/{id}/auth")
    }

    /// Whether clients reach the API by TLS.
    pub(crate) fn is_https(&self) -> bool {
        self.public_url.get().is_some_and(|url| url.starts_with("https://"))
    }

    /// Says where the server is bound to, which is where it is reached unless it was told.
    pub(crate) fn bound(&self, address: SocketAddr) {
        self.public_url.get_or_init(|| format!("http://{address}"));
    }
}

/// Now, as tokens and limits see it.
pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let micros = since.map_or(0, |since| since.as_micros());
    Timestamp::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}

/// What the vault could not do, as a client hears of it.
impl From<vault::Error> for Problem {
    fn from(error: vault::Error) -> Self {
        let code = match &error {
            vault::Error::TooLarge { .. } => {
                return Self::new(Code::InvalidBody, error.to_string());
            }
            vault::Error::Full { .. } => Code::StorageFull,
            vault::Error::Unavailable { .. } | vault::Error::Closed => Code::Unavailable,
            vault::Error::Destroyed => Code::UserNotFound,
            _ => Code::Internal,
        };
        Self::new(code, code.entry().title).because(error)
    }
}
