//! What writers, subscribers and the killer share: where the server is, what was acknowledged, and
//! when it is time to end.

use std::collections::HashMap;

use serde_json::Value;
use tokio::sync::watch;

use harness::Project;

/// A write that the server said it has done.
#[derive(Debug, Clone)]
pub(super) struct Ack {
    pub(super) collection: String,
    pub(super) id: String,
    pub(super) version: u64,
    /// The document after it; `None` when it was deleted.
    pub(super) data: Option<Value>,
    /// The offset of its event.
    pub(super) offset: u64,
}

/// Shared by everybody.
pub(super) struct World {
    project: Project,
    /// Where the server is, while it is up.
    up: watch::Sender<Option<String>>,
    acks: watch::Sender<Vec<Ack>>,
    writing: watch::Sender<bool>,
    /// The last event of each collection and document, once nobody writes any more.
    end: watch::Sender<Option<HashMap<String, u64>>>,
}

impl World {
    pub(super) fn new(project: &Project) -> Self {
        Self {
            project: project.clone(),
            up: watch::Sender::new(Some(project.client.base().to_owned())),
            acks: watch::Sender::default(),
            writing: watch::Sender::new(true),
            end: watch::Sender::default(),
        }
    }

    /// The server is about to be killed.
    pub(super) fn goes_down(&self) {
        self.up.send_replace(None);
    }

    /// The server serves again.
    pub(super) fn comes_up(&self, url: &str) {
        self.up.send_replace(Some(url.to_owned()));
    }

    /// Waits until the server is up.
    pub(super) async fn project(&self) -> Project {
        let mut up = self.up.subscribe();
        let url = up.wait_for(Option::is_some).await.expect("the world goes on").clone();
        self.project.at(&url.unwrap_or_default())
    }

    /// Waits until the server that was at `base` is gone.
    pub(super) async fn gone(&self, base: &str) {
        let mut up = self.up.subscribe();
        let other = |url: &Option<String>| url.as_deref() != Some(base);
        up.wait_for(other).await.expect("the world goes on");
    }

    pub(super) fn acknowledge(&self, acks: Vec<Ack>) {
        self.acks.send_modify(|all| all.extend(acks));
    }

    pub(super) fn ack_count(&self) -> usize {
        self.acks.borrow().len()
    }

    pub(super) fn acks_from(&self, first: usize) -> Vec<Ack> {
        self.acks.borrow()[first..].to_vec()
    }

    /// Waits until `count` writes are acknowledged.
    pub(super) async fn acked(&self, count: usize) {
        let mut acks = self.acks.subscribe();
        acks.wait_for(|acks| acks.len() >= count).await.expect("the world goes on");
    }

    pub(super) fn stop_writing(&self) {
        self.writing.send_replace(false);
    }

    pub(super) fn is_writing(&self) -> bool {
        *self.writing.borrow()
    }

    /// No event will come after these.
    pub(super) fn ends_at(&self, last: HashMap<String, u64>) {
        self.end.send_replace(Some(last));
    }

    /// Follows the end.
    pub(super) fn end(&self) -> watch::Receiver<Option<HashMap<String, u64>>> {
        self.end.subscribe()
    }
}
