//! Keeps messages in memory that nobody is set up to send, so that an app can be developed, and
//! tested, without a mail server. Never for production: whoever reads it can sign in as anybody.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use domain::{ProjectId, Timestamp};
use parking_lot::Mutex;
use serde::Serialize;

use crate::{Kind, Letter};

/// Messages that are kept of one project; the oldest go first.
const OF_PROJECT_MAX: usize = 200;
/// Messages that are kept of all projects.
const ALL_MAX: usize = 1000;
/// Bytes of text that are kept of all projects.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// A message that was kept instead of sent.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// Its id.
    pub id: String,
    /// Whose user it is for.
    #[serde(skip)]
    pub project: ProjectId,
    /// When it would have been sent.
    pub at: Timestamp,
    /// The address, or the number.
    pub to: String,
    /// What it is for.
    pub kind: Kind,
    /// The subject; empty for SMS.
    pub subject: String,
    /// The text.
    pub text: String,
    /// The same as HTML.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
    /// The code in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The link in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

impl Kept {
    fn of(letter: &Letter) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let message = letter.message.clone();
        Self {
            id: letter.id.clone(),
            project: letter.project.clone(),
            at: Timestamp::from_micros(i64::try_from(now).unwrap_or(i64::MAX)),
            to: letter.to.clone(),
            kind: letter.kind,
            subject: message.subject,
            text: message.text,
            html: message.html,
            code: letter.code.clone(),
            link: letter.link.clone(),
        }
    }

    fn weight(&self) -> usize {
        self.text.len() + self.html.as_ref().map_or(0, String::len) + self.subject.len()
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Kept");
        shown.field("id", &self.id).field("kind", &self.kind).finish_non_exhaustive()
    }
}

type Watcher = Box<dyn Fn(&Kept) + Send + Sync>;

/// The messages that were kept.
#[derive(Default)]
pub struct Inbox {
    shelf: Mutex<Shelf>,
    watcher: Option<Watcher>,
}

#[derive(Default)]
struct Shelf {
    /// Oldest first.
    all: VecDeque<Kept>,
    of_project: HashMap<ProjectId, usize>,
    bytes: usize,
}

impl Inbox {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty one that tells `watcher` of each message, on the thread that keeps it.
    pub fn with_watcher(watcher: impl Fn(&Kept) + Send + Sync + 'static) -> Self {
        Self { watcher: Some(Box::new(watcher)), ..Self::default() }
    }

    /// Keeps a message, and forgets the oldest where there are too many: 200 of a project, 1,000
    /// or 32 MiB in all.
    pub fn keep(&self, letter: &Letter) {
        let kept = Kept::of(letter);
        if let Some(watcher) = &self.watcher {
            watcher(&kept);
        }
        self.shelf.lock().add(kept);
    }

    /// The messages of `project`, newest first; only those to `to` if given, whatever its case.
    pub fn list(&self, project: &ProjectId, to: Option<&str>) -> Vec<Kept> {
        let is_wanted = |kept: &&Kept| {
            kept.project == *project && to.is_none_or(|to| kept.to.eq_ignore_ascii_case(to))
        };
        self.shelf.lock().all.iter().rev().filter(is_wanted).cloned().collect()
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("kept", &self.shelf.lock().all.len()).finish_non_exhaustive()
    }
}

impl Shelf {
    fn add(&mut self, kept: Kept) {
        let of_project = self.of_project.get(&kept.project).copied().unwrap_or_default();
        if of_project >= OF_PROJECT_MAX {
            let oldest = self.all.iter().position(|one| one.project == kept.project);
            self.forget(oldest);
        }
        *self.of_project.entry(kept.project.clone()).or_default() += 1;
        self.bytes += kept.weight();
        self.all.push_back(kept);
        while self.all.len() > ALL_MAX || (self.bytes > BYTES_MAX && self.all.len() > 1) {
            self.forget(Some(0));
        }
    }

    fn forget(&mut self, place: Option<usize>) {
        let Some(gone) = place.and_then(|place| self.all.remove(place)) else { return };
        self.bytes -= gone.weight();
        if let Some(count) = self.of_project.get_mut(&gone.project) {
            *count -= 1;
            if *count == 0 {
                self.of_project.remove(&gone.project);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::letter::tests::letter;

    #[test]
    fn lists_newest_first_by_recipient() {
        let seen = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&seen);
        let inbox = Inbox::with_watcher(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let mails =
            [("p1", "ann@app.example"), ("p1", "bob@app.example"), ("p2", "ann@app.example")];
        for (project, to) in mails {
            inbox.keep(&letter(project, Kind::EmailCode, to));
        }
        inbox.keep(&letter("p1", Kind::PhoneCode, "+491701234567"));
        let project = ProjectId::new("p1").unwrap();
        let all = inbox.list(&project, None);
        let to: Vec<&str> = all.iter().map(|kept| kept.to.as_str()).collect();
        assert_eq!(to, ["+491701234567", "bob@app.example", "ann@app.example"]);
        let found = inbox.list(&project, Some("ANN@app.example"));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].code.as_deref(), Some("042193"));
        assert!(!format!("{found:?} {inbox:?}").contains("042193"));
        assert_eq!(seen.load(Ordering::Relaxed), 4);
        let json = serde_json::to_value(&found[0]).unwrap();
        assert_eq!(json["kind"], "email-code");
        assert!(json.get("project").is_none());
    }

    #[test]
    fn forgets_the_oldest() {
        let inbox = Inbox::new();
        let one = letter("quiet", Kind::EmailCode, "ann@app.example");
        inbox.keep(&one);
        for _ in 0..250 {
            inbox.keep(&letter("p0", Kind::EmailCode, "ann@app.example"));
        }
        let of = |name: &str| inbox.list(&ProjectId::new(name).unwrap(), None).len();
        assert_eq!((of("p0"), of("quiet")), (200, 1));
        for project in 1..=5 {
            for _ in 0..200 {
                inbox.keep(&letter(&format!("p{project}"), Kind::EmailCode, "ann@app.example"));
            }
        }
        assert_eq!((of("quiet"), of("p0"), of("p1"), of("p5")), (0, 0, 200, 200));
        let shelf = inbox.shelf.lock();
        assert_eq!(shelf.all.len(), 1000);
        assert_eq!(shelf.of_project.len(), 5);
        assert_eq!(shelf.bytes, shelf.all.iter().map(Kept::weight).sum::<usize>());
    }

    #[test]
    fn is_bounded_in_bytes() {
        let inbox = Inbox::new();
        let mut large = letter("p1", Kind::EmailCode, "ann@app.example");
        large.message.text = "x".repeat(1024 * 1024);
        for _ in 0..40 {
            inbox.keep(&large);
        }
        let shelf = inbox.shelf.lock();
        assert!(shelf.bytes <= BYTES_MAX && shelf.all.len() >= 30);
    }
}
