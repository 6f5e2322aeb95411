//! What a server prints: kept line by line, so that a test can wait for a line, and shown when a
//! test fails.

use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Lines shown when a test fails.
const SHOWN_MAX: usize = 30;

/// The output of one process. Cloning gives another handle of the same.
#[derive(Clone, Default)]
pub struct Log {
    lines: Arc<watch::Sender<Vec<String>>>,
}

impl Log {
    /// Follows a stream of the process on a task of its own until it ends.
    pub(super) fn follow(&self, stream: impl AsyncRead + Unpin + Send + 'static) -> JoinHandle<()> {
        let lines = Arc::clone(&self.lines);
        tokio::spawn(async move {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while let Ok(1..) = reader.read_until(b'\n', &mut line).await {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                lines.send_modify(|lines| lines.push(text));
                line.clear();
            }
        })
    }

    /// Everything printed so far.
    pub fn text(&self) -> String {
        self.lines.borrow().join("\n")
    }

    /// Every line so far that is JSON.
    pub fn records(&self) -> Vec<Value> {
        self.lines.borrow().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits for a line, past or to come, out of which `find` makes something.
    pub async fn find<T>(&self, find: impl Fn(&str) -> Option<T>) -> T {
        let mut seen = 0;
        let mut lines = self.lines.subscribe();
        loop {
            {
                let lines = lines.borrow_and_update();
                if let Some(found) = lines[seen..].iter().find_map(|line| find(line)) {
                    return found;
                }
                seen = lines.len();
            }
            if lines.changed().await.is_err() {
                // The sender lives as long as `self`, so this is never reached.
                std::future::pending::<()>().await;
            }
        }
    }

    /// The last lines, for people.
    pub fn tail(&self) -> String {
        let lines = self.lines.borrow();
        lines[lines.len().saturating_sub(SHOWN_MAX)..].join("\n")
    }
}
