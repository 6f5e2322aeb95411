//! Starts the real server, speaks to it, and looks at what it left on disk. Every wait has a
//! limit; only processes that it started itself are ended.

pub mod binary;
pub mod client;
pub mod log;
mod person;
pub mod project;
pub mod server;
pub mod socket;
pub mod sse;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use client::{Answer, Client};
pub use person::{Person, nobody};
pub use project::{Project, events_of};
pub use server::{ADMIN_KEY, Server, Setup};
pub use socket::Socket;
pub use sse::Sse;

/// The longest that a test waits for one thing to happen.
pub const WAIT_MAX: Duration = Duration::from_secs(30);

/// Waits for `future`, but not for ever.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(WAIT_MAX, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {WAIT_MAX:?} in vain: {what}"),
    }
}

/// Asks again and again until the answer is yes. For conditions that nobody announces.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) {
    within(what, async {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// The root of the checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the checkout")
}

/// Every file below `folder`, in a fixed order.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = folder.read_dir().unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        for entry in entries {
            let path = entry.expect("a folder can be listed").path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}
