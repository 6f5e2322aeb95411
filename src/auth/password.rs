//! Passwords: hashed by argon2id on threads of their own, a few at a time, so that a flood of
//! sign-ins can take neither all cores nor all memory. What a project asks of them is in
//! [`policy`].

mod common;
pub mod policy;

use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Params, Version};
use data_encoding::BASE64_NOPAD;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use crate::random;

/// The longest password, in bytes as it is sent.
pub const PASSWORD_BYTES_MAX: usize = 1_024;

/// The most that a stored hash may ask for, in KiB and passes and lanes: it may have been imported.
const MEMORY_KIB_MAX: u32 = 256 * 1024;
const PASSES_MAX: u32 = 16;
const LANES_MAX: u32 = 16;
/// How many may wait for each that is worked on.
const WAITING_PER_WORKER: usize = 64;

/// What a hash costs, and how many are worked on at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Options {
    /// Memory for each hash, in KiB. 19,456 by default.
    pub memory_kib: u32,
    /// Passes over the memory. 2 by default.
    pub passes: u32,
    /// Lanes. 1 by default.
    pub lanes: u32,
    /// How many hashes are worked on at a time; 0 for one per core.
    pub concurrent_max: u32,
    /// How long one may wait for its turn, in milliseconds. 5,000 by default.
    pub wait_ms_max: u32,
}

impl Default for Options {
    /// What OWASP's Password Storage Cheat Sheet recommends at least for argon2id.
    fn default() -> Self {
        Self { memory_kib: 19_456, passes: 2, lanes: 1, concurrent_max: 0, wait_ms_max: 5_000 }
    }
}

/// Too many passwords are being looked at; nothing was done, and a later try may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords are being checked at the moment")]
pub struct Busy;

/// Why a password was not hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// As [`Busy`].
    #[error(transparent)]
    Busy(Busy),
    /// Longer than [`PASSWORD_BYTES_MAX`]; [`policy::check`] says so too.
    #[error("a password may have at most {PASSWORD_BYTES_MAX} bytes")]
    TooLong,
}

/// The options ask for something that argon2 does not do, or more than a hash may cost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("can't hash passwords with {memory_kib} KiB, {passes} passes and {lanes} lanes")]
pub struct InvalidOptions {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// Hashes passwords and checks them.
#[derive(Clone)]
pub struct Hasher {
    params: Params,
    wait_max: Duration,
    /// Those who are worked on.
    working: Arc<Semaphore>,
    /// Those and the ones who wait.
    admitted: Arc<Semaphore>,
    /// What a password is checked against where there is no user.
    nobody: Arc<str>,
}

impl Hasher {
    /// A hasher; clones share its limits.
    pub fn new(options: &Options) -> Result<Self, InvalidOptions> {
        let &Options { memory_kib, passes, lanes, concurrent_max, wait_ms_max } = options;
        let params = Params::new(memory_kib, passes, lanes, Some(Params::DEFAULT_OUTPUT_LEN))
            .ok()
            .filter(is_bearable)
            .ok_or(InvalidOptions { memory_kib, passes, lanes })?;
        let concurrent = match concurrent_max {
            0 => available_parallelism().map_or(1, usize::from),
            some => (some as usize).min(1_024),
        };
        Ok(Self {
            nobody: hash_of_nothing(&params).into(),
            params,
            wait_max: Duration::from_millis(wait_ms_max.into()),
            working: Arc::new(Semaphore::new(concurrent)),
            admitted: Arc::new(Semaphore::new(concurrent * (1 + WAITING_PER_WORKER))),
        })
    }

    /// The hash to store, as a PHC string with a salt of its own.
    pub async fn hash(&self, password: &str) -> Result<String, Error> {
        if password.len() > PASSWORD_BYTES_MAX {
            return Err(Error::TooLong);
        }
        let password = normalised(password);
        let argon2 = self.argon2();
        self.work(move || {
            argon2
                .hash_password_with_salt(password.as_bytes(), &random::bytes::<16>())
                .map(|hash: PasswordHash| hash.to_string())
                // The options were checked and the sizes are fixed: what is left is memory.
                .map_err(|error| tracing::error!(%error, "can't hash a password"))
        })
        .await
        .and_then(|hash| hash.map_err(|()| Busy))
        .map_err(Error::Busy)
    }

    /// Whether the password is the one that `stored` is of. `None` is for an unknown user: the
    /// answer is no, but takes as long. A stored text that is no hash of argon2 is of no password.
    pub async fn verify(&self, password: &str, stored: Option<&str>) -> Result<bool, Busy> {
        if password.len() > PASSWORD_BYTES_MAX {
            return Ok(false);
        }
        let stored = stored.and_then(|text| {
            let hash = readable(text);
            if hash.is_none() {
                tracing::warn!(
                    "a stored password hash can't be read: its user can't sign in by it"
                );
            }
            hash
        });
        let is_somebody = stored.is_some();
        let Some(hash) = stored.or_else(|| readable(&self.nobody)) else { return Ok(false) };
        let password = normalised(password);
        let argon2 = self.argon2();
        let is_same =
            self.work(move || argon2.verify_password(password.as_bytes(), &hash).is_ok()).await?;
        Ok(is_same && is_somebody)
    }

    /// Whether the hash was made otherwise than this hasher would make it, so that the password
    /// should be hashed anew at the next sign-in.
    pub fn needs_rehash(&self, stored: &str) -> bool {
        let Some(hash) = readable(stored) else { return true };
        let Ok(params) = Params::try_from(&hash) else { return true };
        let cost = |p: &Params| (p.m_cost(), p.t_cost(), p.p_cost());
        hash.algorithm != ARGON2ID_IDENT
            || hash.version != Some(u32::from(Version::V0x13))
            || cost(&params) != cost(&self.params)
            || hash.hash.is_none_or(|output| output.len() != Params::DEFAULT_OUTPUT_LEN)
    }

    fn argon2(&self) -> Argon2<'static> {
        Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params.clone())
    }

    /// Runs `work` on a thread that may block, once it is its turn.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let _admitted = self.admitted.try_acquire().map_err(|_| Busy)?;
        let turn = self.working.clone().acquire_owned();
        let turn: OwnedSemaphorePermit =
            tokio::time::timeout(self.wait_max, turn).await.map_err(|_| Busy)?.map_err(|_| Busy)?;
        // The turn goes along: work whose caller has left still takes its core.
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        done.await.map_err(|error| {
            tracing::error!(%error, "the check of a password broke off");
            Busy
        })
    }
}

/// NFKC, so that a password is the same from every keyboard (NIST SP 800-63B-4, section 3.1.1.2).
fn normalised(password: &str) -> Zeroizing<String> {
    // Room for all of it, so that no part stays behind in memory that was given back.
    let mut text = Zeroizing::new(String::with_capacity(password.len().saturating_mul(2)));
    text.extend(password.nfkc());
    text
}

fn is_bearable(params: &Params) -> bool {
    params.m_cost() <= MEMORY_KIB_MAX
        && params.t_cost() <= PASSES_MAX
        && params.p_cost() <= LANES_MAX
}

fn readable(text: &str) -> Option<PasswordHash> {
    let hash = PasswordHash::new(text).ok()?;
    let params = Params::try_from(&hash).ok()?;
    let is_argon2 = Algorithm::try_from(hash.algorithm.as_str()).is_ok();
    (is_argon2 && is_bearable(&params) && hash.salt.is_some() && hash.hash.is_some())
        .then_some(hash)
}

/// A hash that costs what others cost, and is of no password that anybody knows.
fn hash_of_nothing(params: &Params) -> String {
    let salt = BASE64_NOPAD.encode(&random::bytes::<16>());
    let output = BASE64_NOPAD.encode(&random::bytes::<{ Params::DEFAULT_OUTPUT_LEN }>());
    let (m, t, p) = (params.m_cost(), params.t_cost(), params.p_cost());
    format!("$argon2id$v=19$m={m},t={t},p={p}${salt}${output}")
}

#[cfg(test)]
mod tests;
