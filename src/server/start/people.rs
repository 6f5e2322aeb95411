//! What signing people in needs of the machine: the server's own key, the keys of persons, and the
//! mail server. Losing the server's key loses all that is sealed: it is made once, and never on a
//! node that has others beside it.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use auth::limits::Rate;
use domain::sign_in::Secret;
use messages::{Inbox, SmtpOptions};
use vault::{Cached, Sealer, ServerKey, ServerKeys, SubjectKeys};

use crate::config::{Auth, Config, Location};

/// Names the variable that holds the server's own key.
pub(crate) const KEY_VARIABLE: &str = "HEADWATER_SERVER_KEY";
/// Names the variable of keys that it had before, with commas between.
const EARLIER_VARIABLE: &str = "HEADWATER_SERVER_KEYS_EARLIER";
/// The issuer of a cluster that was not told where it is reached.
const NOWHERE: &str = "http://headwater.invalid";
const FOLDER: &str = "keys";
const SERVER_KEY_FILE: &str = "server.key";
const SUBJECT_KEYS_FILE: &str = "persons.keys";

/// The server's own key: from the environment, or on one machine from a file, made when there is
/// none.
pub(crate) fn server_keys(config: &Config) -> anyhow::Result<ServerKeys> {
    let current = match std::env::var(KEY_VARIABLE).ok().filter(|key| !key.is_empty()) {
        Some(text) => ServerKey::parse(text.trim()).context(KEY_VARIABLE)?,
        None if config.is_shared() => bail!(
            "{KEY_VARIABLE} is not set: nodes that share a log need the same key, for example the \
             output of `openssl rand -hex 32`; keep it as well as a backup, for without it what is \
             personal can't be read"
        ),
        None => match folder(config) {
            Some(folder) => ServerKey::load_or_create(&folder.join(SERVER_KEY_FILE))?,
            None => ServerKey::generate()?,
        },
    };
    let mut keys = ServerKeys::new(current);
    let earlier = std::env::var(EARLIER_VARIABLE).unwrap_or_default();
    for text in earlier.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        keys.earlier.push(ServerKey::parse(text).context(EARLIER_VARIABLE)?);
    }
    Ok(keys)
}

/// Opens the keys of persons on one machine.
pub(crate) fn subject_keys(
    config: &Config,
    server_keys: ServerKeys,
) -> anyhow::Result<Arc<dyn SubjectKeys>> {
    Ok(match folder(config) {
        Some(folder) => {
            Arc::new(vault::file::Keys::open(&folder.join(SUBJECT_KEYS_FILE), server_keys)?)
        }
        None => Arc::new(vault::memory::Keys::new()),
    })
}

/// Seals by keys that are held for a moment.
pub(crate) fn sealer(keys: Arc<dyn SubjectKeys>) -> Sealer {
    Sealer::new(Arc::new(Cached::new(keys)))
}

/// Where keys are kept on this machine; nowhere for a log in memory.
fn folder(config: &Config) -> Option<PathBuf> {
    let named = Some(&config.auth.keys_folder).filter(|folder| !folder.is_empty());
    match (named, config.log.location()) {
        (Some(folder), _) => Some(folder.into()),
        (None, Location::Folder(log)) => {
            Some(log.parent().map_or_else(|| FOLDER.into(), |parent| parent.join(FOLDER)))
        }
        (None, _) => None,
    }
}

/// Makes the folder of the keys, which only we may look into.
pub(crate) fn make_folder(config: &Config) -> anyhow::Result<()> {
    folder(config).map_or(Ok(()), |folder| super::storage::make_private(&folder))
}

/// What the API needs to sign people in.
pub(crate) fn options(
    config: &Config,
    server_keys: ServerKeys,
    inbox: Option<Arc<Inbox>>,
) -> anyhow::Result<api::PeopleOptions> {
    let auth = &config.auth;
    let public_url = match auth.public_url.trim_end_matches('/') {
        "" if config.is_shared() => {
            tracing::warn!(
                "auth.public_url is not set: links in mail lead nowhere, and nobody else can find \
                 the keys of access tokens"
            );
            // The same on every node: a token of one is good on all.
            Some(NOWHERE.to_owned())
        }
        "" => None,
        url => Some(url.to_owned()),
    };
    Ok(api::PeopleOptions {
        server_keys,
        public_url,
        allow_private: auth.allow_private || inbox.is_some(),
        password: auth::password::Options {
            memory_kib: auth.password_memory_kib,
            passes: auth.password_passes,
            ..auth::password::Options::default()
        },
        limits: limits(auth),
        smtp: smtp(auth)?,
        inbox,
    })
}

fn limits(auth: &Auth) -> auth::limits::Options {
    let defaults = auth::limits::Options::default();
    let rate = |count: u32, per_seconds: u32| match count {
        // As good as none.
        0 => Rate { count: u32::MAX, per_seconds: 1, burst: u32::MAX },
        count => Rate { count, per_seconds, burst: count },
    };
    auth::limits::Options {
        sign_in_per_address: rate(auth.sign_ins_per_minute, 60),
        sign_up_per_address: rate(auth.sign_ups_per_hour, 3_600),
        message_per_address: rate(auth.messages_per_hour, 3_600),
        ..defaults
    }
}

fn smtp(auth: &Auth) -> anyhow::Result<Option<SmtpOptions>> {
    if auth.smtp_url.is_empty() {
        return Ok(None);
    }
    let password = match auth.smtp_password_file.as_str() {
        "" => None,
        file => {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("`auth.smtp_password_file` {file:?}"))?;
            Some(Secret(text.trim_end_matches(['\r', '\n']).to_owned()))
        }
    };
    Ok(Some(SmtpOptions {
        url: auth.smtp_url.clone(),
        password,
        from: auth.smtp_from.clone(),
        hello_name: None,
        root_pem: None,
    }))
}
