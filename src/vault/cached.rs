//! Keys held for a moment in front of a store of keys. A key that another node destroys goes from
//! here when its time is over; one that is destroyed through here goes at once.

use std::time::Duration;

use async_trait::async_trait;
use domain::ProjectId;
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use tokio::time::Instant;

use crate::{Error, Key, SubjectKeys};

/// Keys held at most, by default.
const ENTRIES_MAX: usize = 10_000;
/// How long a key is held, by default: a destroyed one may still open something on another node for
/// this long.
const TTL: Duration = Duration::from_secs(5);

/// A store of keys that is asked for the same key but once in a while. Only keys are held: that
/// there is none is asked every time.
pub struct Cached<K> {
    keys: K,
    held: Cache<(ProjectId, String), (Key, Instant)>,
    ttl: Duration,
    /// Counts destructions: who read a key before one must not hold it after. Locked where an entry
    /// comes and where one is destroyed.
    destroyed: Mutex<u64>,
}

impl<K: SubjectKeys> Cached<K> {
    /// Holds 10,000 keys for 5 seconds each.
    pub fn new(keys: K) -> Self {
        Self::with(keys, ENTRIES_MAX, TTL)
    }

    /// Holds `entries_max` keys for `ttl` each.
    pub fn with(keys: K, entries_max: usize, ttl: Duration) -> Self {
        Self { keys, held: Cache::new(entries_max), ttl, destroyed: Mutex::new(0) }
    }

    fn find(&self, at: &(ProjectId, String)) -> Option<Key> {
        let (key, since) = self.held.get(at)?;
        if since.elapsed() < self.ttl {
            return Some(key);
        }
        // Another caller may have put a new one there meanwhile; then it is asked for once more.
        self.held.remove(at);
        None
    }

    /// Holds a key that was asked for at `since`, when `destroyed` keys had been destroyed.
    fn hold(&self, at: (ProjectId, String), key: &Key, (since, destroyed): (Instant, u64)) {
        let destroyed_now = self.destroyed.lock();
        if *destroyed_now == destroyed {
            self.held.insert(at, (key.clone(), since));
        }
    }

    fn before(&self) -> (Instant, u64) {
        (Instant::now(), *self.destroyed.lock())
    }
}

/// Drops entries when it goes: after success, after failure, and when the caller stopped waiting.
struct Forget<'a, K> {
    cached: &'a Cached<K>,
    /// `None` for all.
    entry: Option<(ProjectId, String)>,
}

impl<K> Drop for Forget<'_, K> {
    fn drop(&mut self) {
        let mut destroyed = self.cached.destroyed.lock();
        *destroyed += 1;
        match &self.entry {
            Some(entry) => drop(self.cached.held.remove(entry)),
            None => self.cached.held.clear(),
        }
    }
}

#[async_trait]
impl<K: SubjectKeys> SubjectKeys for Cached<K> {
    async fn get(&self, project: &ProjectId, subject: &str) -> Result<Option<Key>, Error> {
        let at = (project.clone(), subject.to_owned());
        if let Some(key) = self.find(&at) {
            return Ok(Some(key));
        }
        let before = self.before();
        let key = self.keys.get(project, subject).await?;
        if let Some(key) = &key {
            self.hold(at, key, before);
        }
        Ok(key)
    }

    async fn get_or_create(&self, project: &ProjectId, subject: &str) -> Result<Key, Error> {
        let at = (project.clone(), subject.to_owned());
        if let Some(key) = self.find(&at) {
            return Ok(key);
        }
        let before = self.before();
        let key = self.keys.get_or_create(project, subject).await?;
        self.hold(at, &key, before);
        Ok(key)
    }

    async fn destroy(&self, project: &ProjectId, subject: &str) -> Result<bool, Error> {
        let entry = Some((project.clone(), subject.to_owned()));
        let _forget = Forget { cached: self, entry };
        self.keys.destroy(project, subject).await
    }

    async fn wipe_project(&self, project: &ProjectId) -> Result<u64, Error> {
        // All entries: it is rare, and finding the project's own takes as long.
        let _forget = Forget { cached: self, entry: None };
        self.keys.wipe_project(project).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;
    use crate::conformance::{self, Engine};
    use crate::memory;

    fn acme() -> ProjectId {
        ProjectId::new("acme").unwrap()
    }

    #[tokio::test]
    async fn conforms() {
        let engine = Engine { durable: false, shared: false };
        let open = async |_| Arc::new(Cached::new(memory::Keys::new())) as Arc<dyn SubjectKeys>;
        conformance::run(engine, open).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_destroyed_elsewhere_goes_when_its_time_is_over() {
        let shared = Arc::new(memory::Keys::new());
        let [here, there] = [0, 1].map(|_| Cached::new(Arc::clone(&shared)));
        let key = here.get_or_create(&acme(), "ann").await.unwrap();
        assert_eq!(there.get(&acme(), "ann").await.unwrap(), Some(key.clone()));
        assert!(here.destroy(&acme(), "ann").await.unwrap());
        assert_eq!(here.get(&acme(), "ann").await.unwrap(), None);

        tokio::time::advance(TTL - Duration::from_millis(1)).await;
        assert_eq!(there.get(&acme(), "ann").await.unwrap(), Some(key));
        // Being asked for does not keep it.
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(there.get(&acme(), "ann").await.unwrap(), None);
        let refused = there.get_or_create(&acme(), "ann").await;
        assert!(matches!(refused, Err(Error::Destroyed)));
    }

    #[tokio::test]
    async fn holds_no_more_than_it_may() {
        let cached = Cached::with(memory::Keys::new(), 100, TTL);
        for number in 0..1000 {
            cached.get_or_create(&acme(), &number.to_string()).await.unwrap();
        }
        assert!(cached.held.len() <= 100, "{}", cached.held.len());
        assert!(cached.held.len() > 50, "{}", cached.held.len());
        cached.wipe_project(&acme()).await.unwrap();
        assert_eq!(cached.held.len(), 0);
    }

    /// Reads, then waits before it answers.
    struct Slow {
        keys: memory::Keys,
        go: Semaphore,
    }

    #[async_trait]
    impl SubjectKeys for Slow {
        async fn get(&self, project: &ProjectId, subject: &str) -> Result<Option<Key>, Error> {
            let key = self.keys.get(project, subject).await;
            self.go.acquire().await.unwrap().forget();
            key
        }

        async fn get_or_create(&self, project: &ProjectId, subject: &str) -> Result<Key, Error> {
            self.keys.get_or_create(project, subject).await
        }

        async fn destroy(&self, project: &ProjectId, subject: &str) -> Result<bool, Error> {
            self.keys.destroy(project, subject).await
        }

        async fn wipe_project(&self, project: &ProjectId) -> Result<u64, Error> {
            self.keys.wipe_project(project).await
        }
    }

    #[tokio::test]
    async fn a_key_read_before_its_end_is_not_held_after() {
        let slow = Slow { keys: memory::Keys::new(), go: Semaphore::new(0) };
        slow.get_or_create(&acme(), "ann").await.unwrap();
        let cached = Arc::new(Cached::new(slow));
        let reading = {
            let cached = Arc::clone(&cached);
            tokio::spawn(async move { cached.get(&acme(), "ann").await.unwrap() })
        };
        tokio::task::yield_now().await;
        assert!(cached.destroy(&acme(), "ann").await.unwrap());
        cached.keys.go.add_permits(2);
        assert!(reading.await.unwrap().is_some(), "the test came too late");
        assert_eq!(cached.get(&acme(), "ann").await.unwrap(), None);
    }
}
