//! Where rates are kept: a map that never grows beyond its limit. Keys that find no room share one
//! rate among them.

use std::collections::HashMap;
use std::sync::Arc;

use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;
use parking_lot::Mutex;

/// Clones are the same map.
#[derive(Clone)]
pub(super) struct Bounded(Arc<Mutex<Keys>>);

struct Keys {
    /// When a key's next try would be in step with its rate.
    each: HashMap<u64, Nanos>,
    /// The same for all that found no room.
    rest: Option<Nanos>,
    max: usize,
}

impl Bounded {
    pub(super) fn new(max: usize) -> Self {
        Self(Arc::new(Mutex::new(Keys { each: HashMap::new(), rest: None, max })))
    }

    pub(super) fn is_full(&self) -> bool {
        let keys = self.0.lock();
        keys.each.len() >= keys.max
    }
}

impl StateStore for Bounded {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut keys = self.0.lock();
        let keys = &mut *keys;
        if let Some(before) = keys.each.get_mut(key) {
            let (answer, after) = measure(Some(*before))?;
            *before = after;
            return Ok(answer);
        }
        let has_room = keys.each.len() < keys.max;
        let (answer, after) = measure(if has_room { None } else { keys.rest })?;
        if has_room {
            keys.each.insert(*key, after);
        } else {
            keys.rest = Some(after);
        }
        Ok(answer)
    }
}

impl ShrinkableKeyedStateStore<u64> for Bounded {
    fn retain_recent(&self, drop_below: Nanos) {
        let mut keys = self.0.lock();
        keys.each.retain(|_, next| *next > drop_below);
        if keys.each.len() < keys.each.capacity() / 4 {
            keys.each.shrink_to_fit();
        }
    }

    fn len(&self) -> usize {
        self.0.lock().each.len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
