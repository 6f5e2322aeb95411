//! Makes room in a space before a batch: waits for flushes, and starts them.
//! fjall would do both by itself, but badly: it holds up a commit by sleeping on the caller's
//! thread, for ever once a flush has failed; and it asks for a flush with every commit until it
//! comes, in a queue of 1000 to which its own worker then waits to add one more: a deadlock.

use std::time::Duration;

use fjall::{AbstractTree, Database, Keyspace, PersistMode};

use super::failure::while_;
use crate::Error;

/// Memtables that may wait for their flush when a batch comes, which may add one. fjall itself
/// stops a commit at 4; fewer cost no speed here, but less memory.
const SEALED_MAX: usize = 1;
/// Tables that wait for their first compaction; fjall slows a commit down at 20.
const FIRST_LEVEL_TABLES_MAX: usize = 18;
/// How often to look whether there is room.
const PAUSE: Duration = Duration::from_millis(2);

/// Returns once a batch can come. Errors when none ever can, because a flush has failed.
pub(super) async fn wait(db: &Database, keyspace: &Keyspace) -> Result<(), Error> {
    while keyspace.sealed_memtable_count() > SEALED_MAX
        || keyspace.l0_table_count() > FIRST_LEVEL_TABLES_MAX
    {
        db.persist(PersistMode::Buffer).map_err(while_("waiting for a flush"))?;
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Starts a flush when the memtable has grown past `memtable_bytes`. The rows stay readable.
pub(super) fn flush_if_full(keyspace: &Keyspace, memtable_bytes: u64) -> Result<(), Error> {
    if keyspace.tree.active_memtable().size() > memtable_bytes {
        keyspace.rotate_memtable().map_err(while_("starting a flush"))?;
    }
    Ok(())
}
