//! Keeps what issuers publish, by address, for as long as they say. Whoever needs the same thing
//! at the same time waits for one request. Both the number of things and the rate of requests are
//! bounded.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::Error;

/// What is kept at least this long, whatever the issuer says.
const FRESH_MIN: Duration = Duration::from_secs(5 * 60);
/// What is kept at most this long.
const FRESH_MAX: Duration = Duration::from_secs(24 * 3600);
/// For how long it is kept when the issuer says nothing.
const FRESH_UNSAID: Duration = Duration::from_secs(3600);
/// How long it still serves after that while the issuer can't be reached.
const STALE_MAX: Duration = Duration::from_secs(3600);
/// How long a failure is answered from memory.
const FAILURE_KEPT: Duration = Duration::from_secs(5);
const SLOTS_MAX: usize = 1024;

/// A bounded cache of things that are fetched.
pub(crate) struct Cache<T> {
    slots: Mutex<HashMap<String, Arc<Slot<T>>>>,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self { slots: Mutex::new(HashMap::new()) }
    }
}

struct Slot<T> {
    held: Mutex<Held<T>>,
    // Held while a request is under way, so that there is one.
    fetching: tokio::sync::Mutex<()>,
}

struct Held<T> {
    value: Option<(Arc<T>, Instant)>,
    failure: Option<(Error, Instant)>,
    forced: Option<Instant>,
    used: Instant,
}

impl<T> Slot<T> {
    fn new(now: Instant) -> Self {
        let held = Held { value: None, failure: None, forced: None, used: now };
        Self { held: Mutex::new(held), fetching: tokio::sync::Mutex::new(()) }
    }

    /// What can be answered without a request.
    fn look(&self, now: Instant) -> Option<Result<Arc<T>, Error>> {
        let mut held = self.held.lock();
        held.used = now;
        let stale = match &held.value {
            Some((value, until)) if now < *until => return Some(Ok(Arc::clone(value))),
            Some((value, until)) if now < *until + STALE_MAX => Some(Arc::clone(value)),
            _ => None,
        };
        let (error, since) = held.failure.as_ref()?;
        if now.duration_since(*since) >= FAILURE_KEPT {
            return None;
        }
        Some(stale.ok_or_else(|| error.clone()))
    }

    fn keep(&self, fetched: Result<(T, Option<Duration>), Error>) {
        let now = Instant::now();
        let mut held = self.held.lock();
        match fetched {
            Ok((value, fresh)) => {
                let fresh = fresh.unwrap_or(FRESH_UNSAID).clamp(FRESH_MIN, FRESH_MAX);
                held.value = Some((Arc::new(value), now + fresh));
                held.failure = None;
            }
            Err(error) => held.failure = Some((error, now)),
        }
    }
}

impl<T> Cache<T> {
    /// What is kept under `key`, or else what `fetch` brings, with how long the issuer says it is
    /// good. While fetching fails, what was kept serves for an hour longer.
    pub(crate) async fn get<F, Fut>(&self, key: &str, fetch: F) -> Result<Arc<T>, Error>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<(T, Option<Duration>), Error>>,
    {
        let slot = self.slot(key);
        if let Some(answer) = slot.look(Instant::now()) {
            return answer;
        }
        let _alone = slot.fetching.lock().await;
        if let Some(answer) = slot.look(Instant::now()) {
            return answer;
        }
        slot.keep(fetch().await);
        let answer = slot.look(Instant::now());
        let lost = || Error::Unreachable("what was fetched is gone".to_owned());
        let answer = answer.unwrap_or_else(|| Err(lost()));
        if let (Ok(_), Some((error, _))) = (&answer, &slot.held.lock().failure) {
            tracing::warn!(issuer = key, %error, "using what the issuer published earlier");
        }
        answer
    }

    /// Something newer than `old`, fetched if need be; `None` when that was tried less than
    /// `again_after` ago.
    pub(crate) async fn newer<F, Fut>(
        &self,
        key: &str,
        old: &Arc<T>,
        again_after: Duration,
        fetch: F,
    ) -> Result<Option<Arc<T>>, Error>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<(T, Option<Duration>), Error>>,
    {
        let slot = self.slot(key);
        let _alone = slot.fetching.lock().await;
        {
            let now = Instant::now();
            let mut held = slot.held.lock();
            if let Some((value, _)) = held.value.as_ref().filter(|(it, _)| !Arc::ptr_eq(it, old)) {
                return Ok(Some(Arc::clone(value)));
            }
            if held.forced.is_some_and(|last| now.duration_since(last) < again_after) {
                return Ok(None);
            }
            held.forced = Some(now);
        }
        let fetched = fetch().await;
        if let Err(error) = fetched {
            // What is kept goes on serving those whom it suffices.
            return Err(error);
        }
        slot.keep(fetched);
        let held = slot.held.lock();
        Ok(held.value.as_ref().map(|(value, _)| Arc::clone(value)))
    }

    fn slot(&self, key: &str) -> Arc<Slot<T>> {
        let now = Instant::now();
        let mut slots = self.slots.lock();
        if let Some(slot) = slots.get(key) {
            return Arc::clone(slot);
        }
        if slots.len() >= SLOTS_MAX {
            let oldest = slots.iter().min_by_key(|(_, slot)| slot.held.lock().used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                slots.remove(&oldest);
            }
        }
        let slot = Arc::new(Slot::new(now));
        slots.insert(key.to_owned(), Arc::clone(&slot));
        slot
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn gone() -> Error {
        Error::Unreachable("gone".to_owned())
    }

    #[tokio::test]
    async fn many_who_ask_at_once_cause_one_request() {
        let cache = Arc::new(Cache::<u32>::default());
        let requests = Arc::new(AtomicU32::new(0));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let (cache, requests) = (Arc::clone(&cache), Arc::clone(&requests));
            tasks.spawn(async move {
                let fetch = || async {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Ok((requests.fetch_add(1, Ordering::Relaxed), None))
                };
                *cache.get("key", fetch).await.unwrap()
            });
        }
        assert_eq!(tasks.join_all().await, vec![0; 20]);
    }

    #[tokio::test]
    async fn what_was_kept_serves_while_the_issuer_is_away() {
        let cache = Cache::<u32>::default();
        cache.get("key", || async { Ok((7, None)) }).await.unwrap();
        let slot = cache.slot("key");
        let expire = |by: Duration| {
            let mut held = slot.held.lock();
            held.failure = None;
            held.value.as_mut().unwrap().1 = Instant::now() - by;
        };
        expire(Duration::from_secs(1));
        assert_eq!(*cache.get("key", || async { Err(gone()) }).await.unwrap(), 7);
        // The failure is remembered: nobody asks again at once.
        assert_eq!(*cache.get("key", || async { Ok((8, None)) }).await.unwrap(), 7);
        expire(STALE_MAX);
        assert_eq!(cache.get("key", || async { Err(gone()) }).await, Err(gone()));
        expire(STALE_MAX);
        assert_eq!(*cache.get("key", || async { Ok((9, None)) }).await.unwrap(), 9);
    }

    #[tokio::test]
    async fn how_long_a_thing_is_kept_is_bounded() {
        let cache = Cache::<u32>::default();
        for (said, kept) in [
            (Some(Duration::ZERO), FRESH_MIN),
            (Some(Duration::MAX), FRESH_MAX),
            (Some(Duration::from_secs(600)), Duration::from_secs(600)),
            (None, FRESH_UNSAID),
        ] {
            let key = format!("{said:?}");
            cache.get(&key, || async move { Ok((1, said)) }).await.unwrap();
            let until = cache.slot(&key).held.lock().value.as_ref().unwrap().1;
            let left = until.duration_since(Instant::now());
            assert!(left <= kept && left + Duration::from_secs(5) > kept, "{said:?}: {left:?}");
        }
    }

    #[tokio::test]
    async fn something_newer_is_asked_for_at_a_bounded_rate() {
        let cache = Cache::<u32>::default();
        let minute = Duration::from_secs(60);
        let first = cache.get("key", || async { Ok((1, None)) }).await.unwrap();
        let second = cache.newer("key", &first, minute, || async { Ok((2, None)) }).await.unwrap();
        let second = second.unwrap();
        assert_eq!(*second, 2);
        // Who still holds the first gets the second; who holds the second must wait.
        let again = cache.newer("key", &first, minute, || async { Ok((3, None)) }).await.unwrap();
        assert_eq!(*again.unwrap(), 2);
        let none = cache.newer("key", &second, minute, || async { Ok((3, None)) }).await.unwrap();
        assert!(none.is_none());
        let third = cache.newer("key", &second, Duration::ZERO, || async { Ok((3, None)) }).await;
        assert_eq!(*third.unwrap().unwrap(), 3);
    }

    #[tokio::test]
    async fn the_number_of_things_is_bounded() {
        let cache = Cache::<u32>::default();
        for number in 0..SLOTS_MAX + 10 {
            cache.get(&number.to_string(), || async { Ok((1, None)) }).await.unwrap();
        }
        assert_eq!(cache.slots.lock().len(), SLOTS_MAX);
    }
}
