//! Makes room for sockets: a process may have few files open unless it asks for more.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For segments, tables, listeners and whatever else is not a client.
const OTHER_FILES: u64 = 512;

/// Raises the limit of open files as far as it goes; says so when that is not far enough.
pub(crate) fn allow(sockets_max: usize) {
    let needed = sockets_max as u64 + OTHER_FILES;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= needed);
    if enough(current) {
        return;
    }
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    if raised.is_err() || !enough(maximum) {
        let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        tracing::warn!(allowed, needed, "too few open files allowed for server.sockets_max");
    }
}
