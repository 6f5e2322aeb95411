//! Notes that a project's keys are used, so that those which nobody uses any more can be told: in
//! memory at once, and in the log once a day for each, behind the request that was the first.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use compact_str::CompactString;
use domain::access::Access;
use domain::command::{self, Command, Context};
use domain::projects::{Key, ProjectCommand};
use domain::{Actor, KeyId, ProjectId, Timestamp};
use parking_lot::Mutex;

use crate::app::App;
use crate::caller::{Principal, Scope};
use crate::correlation::CorrelationId;
use crate::people;

/// How long a use is news, and a key that nobody used no worse for it.
const NOTED_SECONDS: i64 = 24 * 3600;
/// How long nobody tries again to note the same, whatever came of it.
const PAUSE: Duration = Duration::from_secs(60);
/// Keys whose last use is remembered here; past it, uses are only noted in the log.
const KEYS_MAX: usize = 100_000;

/// When keys were last used at this node, and when that was last begun to be noted in the log.
#[derive(Default)]
pub(crate) struct KeyUses(Mutex<HashMap<(ProjectId, KeyId), Use>>);

struct Use {
    last: Timestamp,
    begun: Option<Instant>,
}

impl KeyUses {
    /// When the key was last used here, since the server was started.
    pub(crate) fn last(&self, project: &ProjectId, key: &KeyId) -> Option<Timestamp> {
        let uses = self.0.lock();
        uses.get(&(project.clone(), key.clone())).map(|one| one.last)
    }

    /// Remembers a use. Whether it is the caller's to note it in the log, if it is to be noted.
    fn used(&self, name: (ProjectId, KeyId), at: Timestamp, is_due: bool, now: Instant) -> bool {
        let mut uses = self.0.lock();
        if uses.len() >= KEYS_MAX && !uses.contains_key(&name) {
            return false;
        }
        let one = uses.entry(name).or_insert(Use { last: at, begun: None });
        one.last = at.max(one.last);
        let begun = one.begun.is_some_and(|begun| now.saturating_duration_since(begun) < PAUSE);
        if is_due && !begun {
            one.begun = Some(now);
        }
        is_due && !begun
    }
}

/// Whether the log knows too little of a key's use: nothing of it for a day.
fn is_due(key: &Key, now: Timestamp) -> bool {
    let known = key.used_at.unwrap_or(key.created_at).max(key.created_at);
    now.as_micros() - known.as_micros() >= NOTED_SECONDS * 1_000_000
}

/// Remembers that the caller's key was used, and sees to it that the log has it, once a day.
pub(crate) fn note(app: &Rc<App>, scope: &Scope, correlation_id: &CorrelationId) {
    let (Principal::Secret(id) | Principal::Publishable(id)) = &scope.principal else { return };
    let Some(key) = scope.live.state.keys.get(id) else { return };
    let (name, now) = ((scope.project.clone(), id.clone()), people::now());
    if !app.key_uses.used(name, now, is_due(key, now), Instant::now()) {
        return;
    }
    let context = Context {
        project: scope.project.clone(),
        actor: Actor::System,
        access: Access::PastRules,
        correlation_id: CompactString::new(correlation_id.as_str()),
        causation_id: None,
        depth: 0,
        traceparent: None,
        idempotency: None,
    };
    let body = command::Body::Project(ProjectCommand::NoteKeyUse { key_id: id.clone() });
    let app = Rc::clone(app);
    actix_web::rt::spawn(async move {
        if let Err(error) = app.engine.submit(Command { context, body }).await {
            tracing::debug!(%error, "a key's use is not noted");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_noted_once_and_what_is_known_not_at_all() {
        let uses = KeyUses::default();
        let name = || (ProjectId::new("p").unwrap(), KeyId::new("k").unwrap());
        let (start, at) = (Instant::now(), |n: i64| Timestamp::from_micros(n));
        assert!(!uses.used(name(), at(1), false, start));
        assert!(uses.used(name(), at(2), true, start));
        assert!(!uses.used(name(), at(3), true, start + PAUSE / 2));
        assert!(uses.used(name(), at(4), true, start + PAUSE));
        let (project, key) = name();
        assert_eq!(uses.last(&project, &key), Some(at(4)));
    }

    #[test]
    fn a_use_is_news_after_a_day() {
        let day = NOTED_SECONDS * 1_000_000;
        let at = Timestamp::from_micros;
        let key = |used_at: Option<i64>| Key {
            kind: domain::projects::KeyKind::Secret,
            name: String::new(),
            hash: String::new(),
            hint: String::new(),
            created_at: at(day),
            scopes: Vec::new(),
            previous: None,
            rotated_at: None,
            used_at: used_at.map(at),
        };
        assert!(!is_due(&key(None), at(day + 5)));
        assert!(is_due(&key(None), at(2 * day)));
        assert!(!is_due(&key(Some(2 * day)), at(2 * day + 5)));
        assert!(is_due(&key(Some(2 * day)), at(3 * day)));
    }
}
