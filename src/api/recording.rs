//! Keeps a sample of the requests that access rules decided, in memory and for a while, so that a
//! draft of other rules can be tried on them. What is kept is personal: it never reaches the disk
//! or the log, and only who is past the rules gets to see what a draft makes of it.

mod replay;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use domain::access::Auth;
use domain::documents::{Op, ReadCheck, Write};
use domain::{CollectionName, DocumentId, Position, ProjectId, Timestamp, UserId, command};
use engine::queries::OrderedPage;
use engine::{Committed, Engine};
use parking_lot::Mutex;

pub(crate) use replay::{Change, Replay};

use crate::call::Call;
use crate::caller::{Principal, Scope};
use crate::error::{Code, Problem};
use crate::people;
use crate::server::Options;

/// Memory for all that is kept.
const BYTES_MAX: usize = 16 << 20;
/// A request that is larger than this is not kept: it would push out too many others.
const REQUEST_BYTES_MAX: usize = 1 << 20;
/// Documents of a page that are kept: so many of those shown, and so many of those hidden.
const LISTED_MAX: usize = 20;
/// Writes of a commit that are kept.
const WRITES_MAX: usize = 20;
/// How often what is too old is thrown away, where no request does it.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// The requests of one node.
pub(crate) struct Recorder {
    requests_max: usize,
    one_in: u64,
    kept_micros: i64,
    seen: AtomicU64,
    ring: Mutex<Ring>,
}

/// The oldest first.
#[derive(Default)]
struct Ring {
    requests: VecDeque<Arc<Recorded>>,
    bytes: usize,
}

/// A request that is to be kept, once it is decided.
pub(crate) struct Sample {
    auth: Option<Box<Auth>>,
    head: Position,
}

/// A request that rules decided.
#[derive(Debug)]
pub(crate) struct Recorded {
    time: Timestamp,
    project: ProjectId,
    collection: CollectionName,
    auth: Option<Box<Auth>>,
    /// Other documents were as of this event.
    others: Position,
    what: What,
}

/// What was asked for, and the verdict.
#[derive(Debug)]
enum What {
    /// A document as of an event.
    Read { id: DocumentId, at: Position, is_allowed: bool },
    /// Documents of a page, as of its position.
    List { shown: Vec<DocumentId>, hidden: Vec<DocumentId> },
    /// A document as of just before the write. Where it was denied, this is the newest event that
    /// the node knew of.
    Write { id: DocumentId, at: Position, op: Op, is_allowed: bool },
}

impl Recorder {
    /// Keeps as the options say. Within a tokio runtime it also forgets in time when nobody asks
    /// for anything.
    pub(crate) fn new(options: &Options) -> Arc<Self> {
        let micros = options.record_for.as_micros();
        let recorder = Arc::new(Self {
            requests_max: options.record_requests,
            one_in: u64::from(options.record_one_in.max(1)),
            kept_micros: i64::try_from(micros).unwrap_or(i64::MAX),
            seen: AtomicU64::new(0),
            ring: Mutex::default(),
        });
        if recorder.requests_max > 0
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(sweep(Arc::downgrade(&recorder)));
        }
        recorder
    }

    /// Whether this request of somebody is one of the sample.
    fn sample(&self, engine: &Engine, scope: &Scope) -> Option<Sample> {
        let auth = match &scope.principal {
            Principal::Admin | Principal::Secret(_) => return None,
            Principal::Publishable(_) => None,
            Principal::User(auth) => Some(auth),
        };
        if self.requests_max == 0 {
            return None;
        }
        // Scattered, for requests that come in turns would else be missed for ever.
        let count = self.seen.fetch_add(1, Ordering::Relaxed);
        if !scattered(count).is_multiple_of(self.one_in) {
            return None;
        }
        Some(Sample { auth: auth.cloned(), head: engine.head(&scope.project) })
    }

    fn keep(&self, recorded: Recorded) {
        let bytes = recorded.bytes();
        if bytes > REQUEST_BYTES_MAX {
            return;
        }
        let mut ring = self.ring.lock();
        ring.bytes += bytes;
        ring.requests.push_back(Arc::new(recorded));
        while ring.requests.len() > self.requests_max || ring.bytes > BYTES_MAX {
            ring.drop_oldest();
        }
        ring.drop_before(self.oldest());
    }

    /// What is older than this has been kept for long enough.
    fn oldest(&self) -> Timestamp {
        Timestamp::from_micros(people::now().as_micros().saturating_sub(self.kept_micros))
    }

    /// What is kept of a collection, the oldest first.
    pub(crate) fn of(
        &self,
        project: &ProjectId,
        collection: &CollectionName,
    ) -> Vec<Arc<Recorded>> {
        let mut ring = self.ring.lock();
        ring.drop_before(self.oldest());
        let own = ring
            .requests
            .iter()
            .filter(|one| one.project == *project && one.collection == *collection);
        own.cloned().collect()
    }

    /// Drops what a user asked for, whom the project erases. What others asked for stays.
    pub(crate) fn forget(&self, project: &ProjectId, user: &UserId) {
        let mut ring = self.ring.lock();
        ring.requests.retain(|one| {
            let is_of = one.auth.as_ref().is_some_and(|auth| auth.uid == *user);
            !(is_of && one.project == *project)
        });
        ring.bytes = ring.requests.iter().map(|one| one.bytes()).sum();
    }

    /// Notes what came of writes, of those in one commit that rules decided.
    fn writes(&self, sample: &Sample, scope: &Scope, writes: Vec<Write>, came: Came<'_>) {
        let before =
            |position: Position| Position { offset: position.offset.saturating_sub(1), ..position };
        let recorded = |write: Write, time, others, at, is_allowed| Recorded {
            time,
            project: scope.project.clone(),
            collection: write.collection,
            auth: sample.auth.clone(),
            others,
            what: What::Write { id: write.id, at, op: write.op, is_allowed },
        };
        match came {
            Came::Written(committed) => {
                let Some(first) = committed.events.first() else { return };
                let others = before(first.position);
                for (write, event) in writes.into_iter().zip(&committed.events) {
                    let (time, at) = (event.event.time, before(event.position));
                    self.keep(recorded(write, time, others, at, true));
                }
            }
            Came::Denied(index) => {
                let is_same = |one: &&Write, other: &Write| {
                    one.collection == other.collection && one.id == other.id
                };
                let Some(denied) = writes.get(index) else { return };
                // What an earlier write of the commit made of the document is nowhere.
                if writes.iter().take(index).any(|one| is_same(&one, denied)) {
                    return;
                }
                let head = sample.head;
                self.keep(recorded(denied.clone(), people::now(), head, head, false));
            }
        }
    }
}

/// What came of a commit.
enum Came<'a> {
    Written(&'a Committed),
    /// The rules refused the write at this place.
    Denied(usize),
}

impl Ring {
    fn drop_oldest(&mut self) {
        if let Some(one) = self.requests.pop_front() {
            self.bytes = self.bytes.saturating_sub(one.bytes());
        }
    }

    fn drop_before(&mut self, oldest: Timestamp) {
        while self.requests.front().is_some_and(|one| one.time < oldest) {
            self.drop_oldest();
        }
    }
}

impl Recorded {
    /// What it takes in memory, roughly: never much less than it is.
    fn bytes(&self) -> usize {
        // A tree of values takes some four times its text.
        let auth = self.auth.as_ref().map_or(0, |auth| {
            size_of::<Auth>() + 4 * serde_json::to_vec(&auth).map_or(0, |text| text.len())
        });
        let what = match &self.what {
            What::Read { .. } => 128,
            What::List { shown, hidden } => 160 * (shown.len() + hidden.len()),
            What::Write { op, .. } => 128 + op.bytes(),
        };
        size_of::<Self>() + 256 + auth + what
    }
}

/// Throws away what is too old for as long as there is a recorder.
async fn sweep(recorder: Weak<Recorder>) {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        let Some(recorder) = recorder.upgrade() else { return };
        recorder.ring.lock().drop_before(recorder.oldest());
    }
}

/// A number that looks drawn by lot (the last steps of SplitMix64).
fn scattered(count: u64) -> u64 {
    let mut number = count.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

/// Notes that a document was shown or not; `at` is its event, if it is there.
pub(crate) fn read(
    call: &Call,
    scope: &Scope,
    (collection, id): (&CollectionName, &DocumentId),
    at: Option<Position>,
    is_allowed: bool,
) {
    let recorder = &call.app.recorder;
    let Some(sample) = recorder.sample(&call.app.engine, scope) else { return };
    let at = at.unwrap_or(sample.head);
    recorder.keep(Recorded {
        time: people::now(),
        project: scope.project.clone(),
        collection: collection.clone(),
        auth: sample.auth,
        others: sample.head,
        what: What::Read { id: id.clone(), at, is_allowed },
    });
}

/// Notes what a page showed and hid.
pub(crate) fn list(call: &Call, scope: &Scope, collection: &CollectionName, page: &OrderedPage) {
    let recorder = &call.app.recorder;
    let Some(sample) = recorder.sample(&call.app.engine, scope) else { return };
    let shown = page.documents.iter().take(LISTED_MAX).map(|document| document.id.clone());
    let hidden = page.hidden.iter().take(LISTED_MAX).cloned();
    recorder.keep(Recorded {
        time: people::now(),
        project: scope.project.clone(),
        collection: collection.clone(),
        auth: sample.auth,
        others: page.position,
        what: What::List { shown: shown.collect(), hidden: hidden.collect() },
    });
}

/// Hands writes to the writer, and notes what the rules made of them.
pub(crate) async fn submit(
    call: &Call,
    scope: &Scope,
    writes: Vec<Write>,
    reads: Vec<ReadCheck>,
    body: &[u8],
) -> Result<Committed, Problem> {
    let recorder = &call.app.recorder;
    let sample = recorder.sample(&call.app.engine, scope);
    let kept: Option<Vec<Write>> =
        sample.as_ref().map(|_| writes.iter().take(WRITES_MAX).map(own).collect());
    let command = command::Body::Documents { writes, reads };
    let written = call.submit(scope.project.clone(), &scope.principal, command, body).await;
    if let (Some(sample), Some(kept)) = (sample, kept) {
        let came = match &written {
            Ok(committed) => (!committed.replayed).then_some(Came::Written(committed)),
            Err(problem) => denied_write(problem).map(Came::Denied),
        };
        if let Some(came) = came {
            recorder.writes(&sample, scope, kept, came);
        }
    }
    written
}

/// The place of the write that rules refused, if they did.
fn denied_write(problem: &Problem) -> Option<usize> {
    let place = problem.place().filter(|_| problem.code() == Code::Forbidden)?;
    place.strip_prefix("/writes/")?.split('/').next()?.parse().ok()
}

/// The write with data of its own: that of a client may be a small part of a large body.
fn own(write: &Write) -> Write {
    let (collection, id) = (write.collection.clone(), write.id.clone());
    Write { collection, id, op: own_op(&write.op), expected: write.expected }
}

fn own_op(op: &Op) -> Op {
    let copy = |data: &Bytes| Bytes::copy_from_slice(data);
    match op {
        Op::Create(data) => Op::Create(copy(data)),
        Op::Replace(data) => Op::Replace(copy(data)),
        Op::Patch(data) => Op::Patch(copy(data)),
        Op::Delete => Op::Delete,
        Op::Restore { version, data } => Op::Restore { version: *version, data: copy(data) },
        Op::Transform { op, transforms } => {
            Op::Transform { op: Box::new(own_op(op)), transforms: transforms.clone() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorder(requests_max: usize, one_in: u32) -> Arc<Recorder> {
        Recorder::new(&Options {
            record_requests: requests_max,
            record_one_in: one_in,
            ..Options::default()
        })
    }

    fn write(time: Timestamp, bytes: usize) -> Recorded {
        let at = Position { partition: domain::PartitionId(0), offset: 1 };
        Recorded {
            time,
            project: ProjectId::new("p").unwrap(),
            collection: CollectionName::new("notes").unwrap(),
            auth: None,
            others: at,
            what: What::Write {
                id: DocumentId::new("a").unwrap(),
                at,
                op: Op::Replace(Bytes::from(vec![b' '; bytes])),
                is_allowed: true,
            },
        }
    }

    fn kept(recorder: &Recorder) -> usize {
        let (project, collection) = (ProjectId::new("p"), CollectionName::new("notes"));
        recorder.of(&project.unwrap(), &collection.unwrap()).len()
    }

    #[test]
    fn what_is_kept_is_bounded_by_count_bytes_and_age() {
        let now = people::now();
        let few = recorder(3, 1);
        (0..10).for_each(|_| few.keep(write(now, 10)));
        assert_eq!(kept(&few), 3);
        let large = recorder(1_000, 1);
        (0..200).for_each(|_| large.keep(write(now, 512 << 10)));
        assert!((20..=32).contains(&kept(&large)), "{}", kept(&large));
        assert!(large.ring.lock().bytes <= BYTES_MAX);
        large.keep(write(now, REQUEST_BYTES_MAX));
        assert!((20..=32).contains(&kept(&large)), "one that is too large changes nothing");
        let old = recorder(3, 1);
        let day = 25 * 3600 * 1_000_000;
        old.keep(write(Timestamp::from_micros(now.as_micros() - day), 10));
        assert_eq!(kept(&old), 0);
        assert_eq!(old.ring.lock().bytes, 0);
    }

    #[test]
    fn about_one_in_so_many_is_taken() {
        let taken = (0..10_000).filter(|count| scattered(*count).is_multiple_of(10)).count();
        assert!((800..1_200).contains(&taken), "{taken}");
    }
}
