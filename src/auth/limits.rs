//! How often somebody may try: rates by address, identity, recipient or session (GCRA). Memory is
//! bounded: keys that are as good as new are forgotten, and when there are too many in use at a
//! time, those that come after share one rate.

mod bounded;

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::{Quota, RateLimiter};
use serde::{Deserialize, Serialize};

use self::bounded::Bounded;
use crate::RetryAfter;

/// What is counted, and by what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Tries to sign in, by the address that they come from.
    SignInPerAddress,
    /// Tries to sign in, by who it is said to be.
    SignInPerIdentity,
    /// Sign-ups, by the address that they come from.
    SignUpPerAddress,
    /// Mail and SMS, by whom they are for.
    MessagePerRecipient,
    /// Mail and SMS, by the address of who asks for them.
    MessagePerAddress,
    /// Refreshes of a session.
    RefreshPerSession,
}

/// How often: `count` in any `per_seconds` in the long run, and `burst` at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rate {
    /// How many; 0 for no limit.
    pub count: u32,
    /// In how many seconds.
    pub per_seconds: u32,
    /// How many at once after a rest; at least 1.
    pub burst: u32,
}

impl Rate {
    const fn new(count: u32, per_seconds: u32, burst: u32) -> Self {
        Self { count, per_seconds, burst }
    }

    fn quota(self) -> Option<Quota> {
        let count = NonZeroU32::new(self.count)?;
        let interval =
            Duration::from_secs(self.per_seconds.max(1).into()).min(CENTURY) / count.get();
        let interval = interval.max(Duration::from_nanos(1));
        // Times are counted in nanoseconds; a century of them leaves room to add.
        let burst_max = CENTURY.as_nanos() / interval.as_nanos();
        let burst = self.burst.clamp(1, u32::try_from(burst_max).unwrap_or(u32::MAX).max(1));
        Some(Quota::with_period(interval)?.allow_burst(NonZeroU32::new(burst)?))
    }
}

/// The rate of each class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Options {
    /// 30 a minute.
    pub sign_in_per_address: Rate,
    /// 10 a minute.
    pub sign_in_per_identity: Rate,
    /// 30 an hour.
    pub sign_up_per_address: Rate,
    /// 5 an hour, 3 at once.
    pub message_per_recipient: Rate,
    /// 30 an hour.
    pub message_per_address: Rate,
    /// 60 a minute.
    pub refresh_per_session: Rate,
    /// How many keys of one class have a rate of their own; about 32 bytes each. 100,000 by
    /// default.
    pub keys_max: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sign_in_per_address: Rate::new(30, 60, 30),
            sign_in_per_identity: Rate::new(10, 60, 10),
            sign_up_per_address: Rate::new(30, 3_600, 30),
            message_per_recipient: Rate::new(5, 3_600, 3),
            message_per_address: Rate::new(30, 3_600, 30),
            refresh_per_session: Rate::new(60, 60, 60),
            keys_max: 100_000,
        }
    }
}

/// Whom a try is counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Key<'a> {
    /// Any text: put the project before what is a project's own.
    Text(&'a str),
    /// An IPv4 address, or the first 64 bits of an IPv6 address, which one customer has all of.
    Address(IpAddr),
}

impl<'a> From<&'a str> for Key<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl From<IpAddr> for Key<'_> {
    fn from(address: IpAddr) -> Self {
        Self::Address(address)
    }
}

impl Key<'_> {
    fn widened(self) -> Self {
        match self {
            Self::Address(address) => Self::Address(match address.to_canonical() {
                IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
                v4 => v4,
            }),
            text => text,
        }
    }
}

const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
/// How often keys that are as good as new are looked for while there is no room.
const SWEEP_EVERY: Nanos = Nanos::new(1_000_000_000);

/// A rate of its own for every key.
struct Limiter<C: Clock> {
    rates: RateLimiter<u64, Bounded, C, NoOpMiddleware<C::Instant>>,
    keys: Bounded,
    clock: C,
    start: C::Instant,
    /// Nanoseconds after `start`.
    swept: AtomicU64,
}

impl<C: Clock + Clone> Limiter<C> {
    fn new(quota: Quota, keys_max: usize, clock: &C) -> Self {
        let keys = Bounded::new(keys_max);
        Self {
            rates: RateLimiter::new(quota, keys.clone(), clock.clone()),
            keys,
            clock: clock.clone(),
            start: clock.now(),
            swept: AtomicU64::new(0),
        }
    }

    fn check(&self, key: u64) -> Result<(), RetryAfter> {
        if self.keys.is_full() && self.is_sweep_due() {
            self.rates.retain_recent();
        }
        let until = match self.rates.check_key(&key) {
            Ok(()) => return Ok(()),
            Err(until) => until,
        };
        Err(RetryAfter(until.wait_time_from(self.clock.now())))
    }

    /// True for one caller at a time, for a sweep looks at every key.
    fn is_sweep_due(&self) -> bool {
        let now = self.clock.now().duration_since(self.start).as_u64();
        let last = self.swept.load(Relaxed);
        now.saturating_sub(last) >= SWEEP_EVERY.as_u64()
            && self.swept.compare_exchange(last, now, Relaxed, Relaxed).is_ok()
    }
}

/// The rates of one process. Several processes count each for itself.
pub struct Limits<C: Clock = DefaultClock> {
    sign_in_per_address: Option<Limiter<C>>,
    sign_in_per_identity: Option<Limiter<C>>,
    sign_up_per_address: Option<Limiter<C>>,
    message_per_recipient: Option<Limiter<C>>,
    message_per_address: Option<Limiter<C>>,
    refresh_per_session: Option<Limiter<C>>,
    /// Seeded by chance, so that nobody can choose keys that collide.
    hashes: RandomState,
}

impl Limits {
    /// Rates by the system's clock, all of them at rest.
    pub fn new(options: &Options) -> Self {
        Self::with_clock(options, &DefaultClock::default())
    }
}

impl<C: Clock + Clone> Limits<C> {
    /// The same by another clock.
    pub fn with_clock(options: &Options, clock: &C) -> Self {
        let keys_max = usize::try_from(options.keys_max).unwrap_or(usize::MAX);
        let limiter = |rate: Rate| Some(Limiter::new(rate.quota()?, keys_max, clock));
        Self {
            sign_in_per_address: limiter(options.sign_in_per_address),
            sign_in_per_identity: limiter(options.sign_in_per_identity),
            sign_up_per_address: limiter(options.sign_up_per_address),
            message_per_recipient: limiter(options.message_per_recipient),
            message_per_address: limiter(options.message_per_address),
            refresh_per_session: limiter(options.refresh_per_session),
            hashes: RandomState::new(),
        }
    }

    /// Counts a try, unless it is one too many; then says when the next one may be.
    pub fn check<'a>(&self, class: Class, key: impl Into<Key<'a>>) -> Result<(), RetryAfter> {
        match self.limiter(class) {
            Some(limiter) => limiter.check(self.hashes.hash_one(key.into().widened())),
            None => Ok(()),
        }
    }

    /// Forgets keys that are as good as new, to be called now and then: otherwise that happens
    /// only once there is no room.
    pub fn sweep(&self) {
        for limiter in self.all().into_iter().flatten() {
            limiter.rates.retain_recent();
        }
    }

    /// How many keys of all classes are remembered: for metrics.
    pub fn keys(&self) -> usize {
        self.all().into_iter().flatten().map(|limiter| limiter.keys.len()).sum()
    }

    fn limiter(&self, class: Class) -> Option<&Limiter<C>> {
        match class {
            Class::SignInPerAddress => &self.sign_in_per_address,
            Class::SignInPerIdentity => &self.sign_in_per_identity,
            Class::SignUpPerAddress => &self.sign_up_per_address,
            Class::MessagePerRecipient => &self.message_per_recipient,
            Class::MessagePerAddress => &self.message_per_address,
            Class::RefreshPerSession => &self.refresh_per_session,
        }
        .as_ref()
    }

    fn all(&self) -> [Option<&Limiter<C>>; 6] {
        [
            Class::SignInPerAddress,
            Class::SignInPerIdentity,
            Class::SignUpPerAddress,
            Class::MessagePerRecipient,
            Class::MessagePerAddress,
            Class::RefreshPerSession,
        ]
        .map(|class| self.limiter(class))
    }
}

#[cfg(test)]
mod tests;
