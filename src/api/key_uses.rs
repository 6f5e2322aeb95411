//! Notes that a project's keys are used, so that those which nobody uses any more can be told: once
//! a day for each, behind the request that was the first.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use compact_str::CompactString;
use domain::access::Access;
use domain::command::{self, Command, Context};
use domain::projects::ProjectCommand;
use domain::{Actor, KeyId, ProjectId};
use parking_lot::Mutex;

use crate::app::App;
use crate::caller::{Principal, Scope};
use crate::correlation::CorrelationId;
use crate::people;

/// How long a use is news.
const NOTED_SECONDS: i64 = 24 * 3600;
/// How long nobody tries again to note the same, whatever came of it.
const PAUSE: Duration = Duration::from_secs(60);
/// Keys whose use is being noted at a time.
const BEGUN_MAX: usize = 1024;

/// Keys whose use was begun to be noted, and when.
#[derive(Default)]
pub(crate) struct KeyUses(Mutex<HashMap<(ProjectId, KeyId), Instant>>);

impl KeyUses {
    /// Whether it is the caller's to note this one.
    fn begin(&self, project: &ProjectId, key: &KeyId, now: Instant) -> bool {
        let mut begun = self.0.lock();
        let name = (project.clone(), key.clone());
        let is_fresh = |since: &Instant| now.saturating_duration_since(*since) < PAUSE;
        if begun.get(&name).is_some_and(is_fresh) {
            return false;
        }
        if begun.len() >= BEGUN_MAX {
            begun.retain(|_, since| is_fresh(since));
        }
        let has_room = begun.len() < BEGUN_MAX;
        if has_room {
            begun.insert(name, now);
        }
        has_room
    }
}

/// Sees to it that the use of the caller's key is noted, if the last one is a day ago.
pub(crate) fn note(app: &Rc<App>, scope: &Scope, correlation_id: &CorrelationId) {
    let (Principal::Secret(id) | Principal::Publishable(id)) = &scope.principal else { return };
    let Some(key) = scope.live.state.keys.get(id) else { return };
    let since = |at: domain::Timestamp| people::now().as_micros() - at.as_micros();
    let is_known = key.used_at.is_some_and(|at| since(at) < NOTED_SECONDS * 1_000_000);
    if is_known || !app.key_uses.begin(&scope.project, id, Instant::now()) {
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
    fn a_burst_is_noted_once_and_there_is_a_bound() {
        let uses = KeyUses::default();
        let project = ProjectId::new("p").unwrap();
        let key = |number: usize| KeyId::new(&format!("k{number}")).unwrap();
        let start = Instant::now();
        assert!(uses.begin(&project, &key(0), start));
        assert!(!uses.begin(&project, &key(0), start));
        assert!(!uses.begin(&project, &key(0), start + PAUSE / 2));
        assert!(uses.begin(&project, &key(0), start + PAUSE));
        for number in 1..BEGUN_MAX {
            assert!(uses.begin(&project, &key(number), start + PAUSE));
        }
        assert!(!uses.begin(&project, &key(BEGUN_MAX), start + PAUSE));
        assert!(uses.begin(&project, &key(BEGUN_MAX), start + PAUSE * 2));
    }
}
