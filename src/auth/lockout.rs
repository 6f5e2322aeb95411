//! Waiting after failures in a row: for those who guess slowly enough to stay within the rates.
//! Five failures cost nothing; from then on the wait doubles, from 1 s to 15 min.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use domain::Timestamp;
use parking_lot::Mutex;

use crate::RetryAfter;

/// Failures that cost no wait, but for the last of them.
pub const FREE_FAILURES: u32 = 5;
/// The longest wait.
pub const WAIT_MAX: Duration = Duration::from_secs(15 * 60);
/// Failures are forgotten this long after the last of them.
pub const FORGET_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// The failures in a row of one identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Failures {
    count: u32,
    last: Timestamp,
}

impl Failures {
    /// One more, at `now`.
    pub fn and(self, now: Timestamp) -> Self {
        let before = if self.is_forgotten(now) { 0 } else { self.count };
        Self { count: before.saturating_add(1), last: now.max(self.last) }
    }

    /// How long the next try must wait after the last failure: 2ⁿ s, where n counts from the fifth.
    pub fn wait(self) -> Duration {
        match self.count.checked_sub(FREE_FAILURES) {
            None => Duration::ZERO,
            Some(n) => Duration::from_secs(1_u64.checked_shl(n).unwrap_or(u64::MAX)).min(WAIT_MAX),
        }
    }

    /// Whether a try may be made at `now`.
    pub fn check(self, now: Timestamp) -> Result<(), RetryAfter> {
        let left = self.wait().saturating_sub(since(self.last, now));
        if left.is_zero() { Ok(()) } else { Err(RetryAfter(left)) }
    }

    fn is_forgotten(self, now: Timestamp) -> bool {
        since(self.last, now) >= FORGET_AFTER
    }
}

/// Zero when the clock was set back.
fn since(earlier: Timestamp, now: Timestamp) -> Duration {
    let micros = now.as_micros().saturating_sub(earlier.as_micros());
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// The failures of many identities, in bounded memory: when there is no room, those with the
/// fewest failures are forgotten first.
pub struct Lockouts {
    failures: Mutex<HashMap<u64, Failures>>,
    identities_max: usize,
    /// Seeded by chance, so that nobody can choose identities that collide.
    hashes: RandomState,
}

impl Lockouts {
    /// Room for `identities_max`, at least 4; about 32 bytes each.
    pub fn new(identities_max: usize) -> Self {
        Self {
            failures: Mutex::default(),
            identities_max: identities_max.max(4),
            hashes: RandomState::new(),
        }
    }

    /// Whether `identity` may try at `now`. Put the project before what is a project's own.
    pub fn check(&self, identity: &str, now: Timestamp) -> Result<(), RetryAfter> {
        let key = self.hashes.hash_one(identity);
        self.failures.lock().get(&key).map_or(Ok(()), |failures| failures.check(now))
    }

    /// Counts a failure, and says how long the next try must wait.
    pub fn failed(&self, identity: &str, now: Timestamp) -> Duration {
        let key = self.hashes.hash_one(identity);
        let mut all = self.failures.lock();
        if !all.contains_key(&key) && all.len() >= self.identities_max {
            make_room(&mut all, now);
        }
        let failures = all.entry(key).or_default();
        *failures = failures.and(now);
        failures.wait()
    }

    /// Forgets the failures of `identity`: it has shown who it is.
    pub fn succeeded(&self, identity: &str) {
        self.failures.lock().remove(&self.hashes.hash_one(identity));
    }

    /// How many identities are remembered: for metrics.
    pub fn len(&self) -> usize {
        self.failures.lock().len()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Frees at least a quarter, so that a flood of new identities pays for it only now and then.
fn make_room(all: &mut HashMap<u64, Failures>, now: Timestamp) {
    let room = all.len().div_ceil(4);
    let before = all.len();
    all.retain(|_, failures| !failures.is_forgotten(now));
    if before - all.len() >= room {
        return;
    }
    let mut ranks: Vec<(u32, Timestamp, u64)> =
        all.iter().map(|(key, failures)| (failures.count, failures.last, *key)).collect();
    let last = ranks.len().saturating_sub(1);
    let (lowest, _, _) = ranks.select_nth_unstable(room.min(last));
    for (_, _, key) in lowest {
        all.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(1_700_000_000_000_000 + seconds * 1_000_000)
    }

    #[test]
    fn the_wait_doubles_after_the_fifth_failure() {
        let lockouts = Lockouts::new(100);
        let mut now = 0;
        for wait in [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] {
            assert_eq!(lockouts.check("a", at(now)), Ok(()));
            assert_eq!(lockouts.failed("a", at(now)), Duration::from_secs(wait));
            if wait > 0 {
                let left = lockouts.check("a", at(now)).unwrap_err();
                assert_eq!(left, RetryAfter(Duration::from_secs(wait)));
                now += i64::try_from(wait).unwrap();
                assert!(lockouts.check("a", at(now - 1)).is_err());
            }
        }
        assert_eq!(lockouts.check("b", at(now)), Ok(()));
        lockouts.succeeded("a");
        assert_eq!(lockouts.failed("a", at(now)), Duration::ZERO);
    }

    #[test]
    fn failures_are_forgotten_in_time() {
        let mut failures = Failures::default();
        for _ in 0..20 {
            failures = failures.and(at(0));
        }
        let day = i64::try_from(FORGET_AFTER.as_secs()).unwrap();
        assert_eq!(failures.and(at(day - 1)).wait(), WAIT_MAX);
        assert_eq!(failures.and(at(day)).wait(), Duration::ZERO);
    }

    #[test]
    fn a_flood_does_not_wash_a_lockout_away() {
        let lockouts = Lockouts::new(100);
        for _ in 0..10 {
            lockouts.failed("victim", at(0));
        }
        for number in 0..10_000 {
            lockouts.failed(&number.to_string(), at(1));
            assert!(lockouts.len() <= 100);
        }
        assert!(lockouts.check("victim", at(2)).is_err());
    }

    #[test]
    fn a_full_map_of_equals_still_takes_one_more() {
        let lockouts = Lockouts::new(0);
        for number in 0..100 {
            lockouts.failed(&number.to_string(), at(0));
            assert!((1..=4).contains(&lockouts.len()));
        }
    }

    proptest! {
        #[test]
        fn its_laws(gaps in prop::collection::vec(0_i64..2_000, 1..60)) {
            let mut failures = Failures::default();
            let mut now = 0;
            for (number, gap) in (1_u32..).zip(gaps) {
                let before = failures.wait();
                now += gap;
                failures = failures.and(at(now));
                prop_assert!(failures.wait() <= WAIT_MAX, "bounded");
                prop_assert!(failures.wait() >= before, "never shorter than before");
                prop_assert_eq!(failures.wait().is_zero(), number < FREE_FAILURES);
                let wait = i64::try_from(failures.wait().as_secs()).unwrap();
                prop_assert_eq!(failures.check(at(now + wait)), Ok(()), "whoever waits may try");
                if wait > 0 {
                    prop_assert!(failures.check(at(now + wait - 1)).is_err());
                    prop_assert!(failures.check(at(now - 100_000)).is_err(), "clock set back");
                }
            }
        }

        #[test]
        fn one_identity_does_not_touch_another(
            tries in prop::collection::vec((0_usize..4, any::<bool>()), 0..100),
        ) {
            let lockouts = Lockouts::new(100);
            let mut alone = [Failures::default(); 4];
            for (who, is_success) in tries {
                let name = who.to_string();
                if is_success {
                    lockouts.succeeded(&name);
                    alone[who] = Failures::default();
                } else {
                    lockouts.failed(&name, at(0));
                    alone[who] = alone[who].and(at(0));
                }
                for (who, failures) in alone.iter().enumerate() {
                    let shared = lockouts.check(&who.to_string(), at(0));
                    prop_assert_eq!(shared, failures.check(at(0)));
                }
            }
        }
    }
}
