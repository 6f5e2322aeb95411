//! Writers that make one document after another and put down what they are told, so that in the
//! end each can be looked for: what was acknowledged is there, what was refused is not, and what
//! nobody knows of is there once or not at all, in the log and in the tables alike.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use harness::Project;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Where the documents go.
pub(crate) const COLLECTION: &str = "ledger";
/// Between two writes.
const PAUSE: Duration = Duration::from_millis(20);
/// After one that did not go through.
const PAUSE_FAILED: Duration = Duration::from_millis(300);

/// What one writer was told, by the document's id.
#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) acknowledged: Vec<String>,
    pub(crate) unknown: Vec<String>,
    pub(crate) refused: Vec<String>,
    /// The longest wait for any answer.
    pub(crate) slowest: Duration,
}

/// A writer at work.
pub(crate) struct Writer {
    ends: watch::Sender<bool>,
    task: JoinHandle<Ledger>,
    acknowledged: watch::Receiver<usize>,
}

impl Writer {
    /// Writes from now on; `name` begins the ids. Every second write has an idempotency key.
    pub(crate) fn start(project: &Project, name: &str) -> Self {
        let (ends, end) = watch::channel(false);
        let (told, acknowledged) = watch::channel(0);
        let (project, name) = (project.clone(), name.to_owned());
        let task = tokio::spawn(async move {
            let mut ledger = Ledger::default();
            for number in 0.. {
                if *end.borrow() {
                    break;
                }
                let is_ok = ledger.write(&project, &format!("{name}-{number}"), number).await;
                told.send_replace(ledger.acknowledged.len());
                tokio::time::sleep(if is_ok { PAUSE } else { PAUSE_FAILED }).await;
            }
            ledger
        });
        Self { ends, task, acknowledged }
    }

    /// Waits until `more` writes have been acknowledged.
    pub(crate) async fn goes_on(&mut self, more: usize, wait_max: Duration) {
        let wanted = *self.acknowledged.borrow() + more;
        let waited = self.acknowledged.wait_for(|count| *count >= wanted);
        let waited = tokio::time::timeout(wait_max, waited).await;
        assert!(waited.is_ok_and(|told| told.is_ok()), "writes don't go on within {wait_max:?}");
    }

    pub(crate) async fn end(self) -> Ledger {
        self.ends.send_replace(true);
        self.task.await.expect("a writer does not fail")
    }
}

impl Ledger {
    /// Makes one document and puts down what came of it; false when it was not acknowledged.
    async fn write(&mut self, project: &Project, id: &str, number: usize) -> bool {
        let started = Instant::now();
        let mut request = project.put(COLLECTION, id, &data(id)).if_none();
        if is_keyed(number) {
            request = request.key(id);
        }
        let answer = request.send().await;
        self.slowest = self.slowest.max(started.elapsed());
        if answer.is_ok() {
            self.acknowledged.push(id.to_owned());
            return true;
        }
        let problem = answer.any_problem();
        assert_eq!(answer.status, 503, "{problem}");
        assert!(answer.header("retry-after").is_some(), "no Retry-After: {problem}");
        match problem["code"].as_str() {
            Some("outcome-unknown") => self.unknown.push(id.to_owned()),
            _ => self.refused.push(id.to_owned()),
        }
        false
    }

    /// Looks for everything, with nothing in the way any more. Then repeats what has a key and is
    /// not known of, which must be there once from then on.
    pub(crate) async fn check(&self, project: &Project) {
        let made = made(project).await;
        let made_of = |id: &str| made.get(id).copied().unwrap_or(0);
        for id in &self.acknowledged {
            assert_eq!(made_of(id), 1, "{id} was acknowledged");
        }
        for id in &self.refused {
            assert_eq!(made_of(id), 0, "{id} was refused");
        }
        for id in &self.unknown {
            assert!(made_of(id) <= 1, "{id} is in the log {} times", made_of(id));
        }
        let shown = project.list(COLLECTION, "limit=500").await;
        let shown: HashMap<_, _> =
            shown.iter().map(|one| (one["id"].as_str().unwrap_or_default(), one)).collect();
        for id in self.acknowledged.iter().chain(&self.refused).chain(&self.unknown) {
            let found = shown.get(&**id).map(|one| &one["data"]);
            let logged = (made_of(id) > 0).then(|| data(id));
            assert_eq!(found, logged.as_ref(), "{id}: in the tables, and in the log");
        }
        let keyed = |id: &&String| {
            let number = id.rsplit('-').next().and_then(|number| number.parse().ok());
            number.is_some_and(is_keyed)
        };
        for id in self.unknown.iter().filter(keyed) {
            let again = project.put(COLLECTION, id, &data(id)).if_none().key(id).send().await;
            assert!(again.is_ok(), "{id} again: {}", again.text());
        }
        let made = self::made(project).await;
        for id in self.unknown.iter().filter(keyed) {
            assert_eq!(made.get(id), Some(&1), "{id} was repeated");
        }
    }
}

fn is_keyed(number: usize) -> bool {
    number.is_multiple_of(2)
}

fn data(id: &str) -> Value {
    json!({"id": id})
}

/// How many events each document has.
async fn made(project: &Project) -> HashMap<String, usize> {
    let (events, _) = project.events("").await;
    let mut made = HashMap::new();
    for event in harness::events_of(&events, COLLECTION) {
        let id = event["subject"].as_str().and_then(|subject| subject.rsplit('/').next());
        *made.entry(id.unwrap_or_default().to_owned()).or_default() += 1;
    }
    made
}
