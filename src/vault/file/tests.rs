//! The file of keys: the suite, crashes at every byte, a disk that fails or spoils what it keeps.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;
use crate::ServerKey;
use crate::conformance::{self, Engine};

/// The wrongs of a test's disk.
#[derive(Default)]
pub(super) struct Faults {
    write_fails: AtomicBool,
    sync_fails: AtomicBool,
    syncs: AtomicU64,
}

impl Faults {
    pub(super) fn write(&self, done: io::Result<()>) -> io::Result<()> {
        match self.write_fails.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => done,
        }
    }

    pub(super) fn sync(&self, done: io::Result<()>) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        match self.sync_fails.load(Ordering::Relaxed) {
            true => Err(io::Error::other("the disk is gone")),
            false => done,
        }
    }
}

struct Place {
    folder: tempfile::TempDir,
    server_keys: ServerKeys,
}

impl Place {
    fn new() -> Self {
        let server_keys = ServerKeys::new(ServerKey::generate().unwrap());
        Self { folder: tempfile::tempdir().unwrap(), server_keys }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("keys")
    }

    fn open(&self) -> Keys {
        self.try_open().unwrap()
    }

    fn try_open(&self) -> Result<Keys, Error> {
        Keys::open(&self.path(), self.server_keys.clone())
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.path()).unwrap()
    }

    fn put(&self, bytes: &[u8]) {
        fs::write(self.path(), bytes).unwrap();
    }
}

fn acme() -> ProjectId {
    ProjectId::new("acme").unwrap()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

async fn is_destroyed(keys: &Keys, subject: &str) -> bool {
    let refused = keys.get_or_create(&acme(), subject).await;
    keys.get(&acme(), subject).await.unwrap().is_none() && matches!(refused, Err(Error::Destroyed))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms() {
    let place = Place::new();
    let engine = Engine { durable: true, shared: false };
    conformance::run(engine, async |name| {
        let path = place.folder.path().join(name);
        Arc::new(Keys::open(&path, place.server_keys.clone()).unwrap()) as Arc<dyn SubjectKeys>
    })
    .await;
}

#[tokio::test]
async fn only_one_process_has_it_open() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let keys = place.open();
    assert!(matches!(place.try_open().err(), Some(Error::Locked { .. })));
    assert_eq!(fs::metadata(place.path()).unwrap().permissions().mode() & 0o777, 0o600);
    drop(keys);
    place.open();
}

#[tokio::test]
async fn neither_names_nor_keys_lie_in_the_open() {
    let place = Place::new();
    let keys = place.open();
    let key = keys.get_or_create(&acme(), "ann-of-acme").await.unwrap();
    let bytes = place.bytes();
    assert!(
        !contains(&bytes, key.bytes()) && !contains(&bytes, b"ann") && !contains(&bytes, b"acme")
    );
}

#[tokio::test]
async fn nothing_is_left_of_a_destroyed_key() {
    let place = Place::new();
    let keys = place.open();
    for subject in ["ann", "bob"] {
        keys.get_or_create(&acme(), subject).await.unwrap();
    }
    let wrapped = |slot: usize| place.bytes()[slot * SLOT_BYTES + 48..][..64].to_vec();
    let (ann, bob) = (wrapped(2), wrapped(3));
    let piece = |wrapped: &[u8]| wrapped.windows(8).any(|piece| contains(&place.bytes(), piece));
    assert!(piece(&ann) && piece(&bob));
    assert!(keys.destroy(&acme(), "ann").await.unwrap());
    assert!(!ann[4..].windows(8).any(|piece| contains(&place.bytes(), piece)));
    assert!(piece(&bob));
    drop(keys);
    let keys = place.open();
    assert!(is_destroyed(&keys, "ann").await);
    assert!(keys.get(&acme(), "bob").await.unwrap().is_some());
}

/// Keys of ann and bob, and the end of cem; then dan, whose slot is the last.
async fn filled(place: &Place) -> (Key, Key) {
    let keys = place.open();
    let ann = keys.get_or_create(&acme(), "ann").await.unwrap();
    keys.get_or_create(&acme(), "bob").await.unwrap();
    keys.destroy(&acme(), "cem").await.unwrap();
    let dan = keys.get_or_create(&acme(), "dan").await.unwrap();
    (ann, dan)
}

#[tokio::test]
async fn an_append_cut_at_any_byte_is_as_if_it_never_was() {
    let place = Place::new();
    let (ann, dan) = filled(&place).await;
    let whole = place.bytes();
    let last = whole.len() - SLOT_BYTES;
    for len in last..=whole.len() {
        // As cut short, and as grown but with zeros instead of what had not reached the disk.
        let mut zeroed = whole.clone();
        zeroed[len..].fill(0);
        for bytes in [&whole[..len], &zeroed] {
            place.put(bytes);
            let keys = place.open();
            assert_eq!(keys.get(&acme(), "ann").await.unwrap(), Some(ann.clone()));
            assert!(is_destroyed(&keys, "cem").await);
            let complete = bytes == whole;
            // A head that reached the disk without its key: known to be somebody's, and spoilt.
            let spoilt = bytes.len() == whole.len() && !complete && len >= last + 48;
            match keys.get(&acme(), "dan").await {
                Ok(found) => {
                    assert!(!spoilt, "{len}");
                    assert_eq!(found, complete.then(|| dan.clone()), "{len}");
                    let again = keys.get_or_create(&acme(), "dan").await.unwrap();
                    assert_eq!(again == dan, complete);
                }
                Err(error) => assert!(spoilt && matches!(error, Error::Corrupt { .. }), "{len}"),
            }
            // It goes on.
            let eve = keys.get_or_create(&acme(), "eve").await.unwrap();
            drop(keys);
            let keys = place.open();
            assert_eq!(keys.get(&acme(), "eve").await.unwrap(), Some(eve));
        }
    }
}

#[tokio::test]
async fn the_first_start_may_be_stopped_at_any_byte() {
    let place = Place::new();
    drop(place.open());
    let whole = place.bytes();
    assert_eq!(whole.len(), 2 * SLOT_BYTES);
    for len in 0..=whole.len() {
        let mut zeroed = whole.clone();
        zeroed[len..].fill(0);
        for bytes in [&whole[..len], &zeroed] {
            place.put(bytes);
            // Nothing but a whole copy, or nothing at all, is taken for a file of keys.
            if bytes.len() == whole.len() && len > 0 && len < SLOT_BYTES - 4 {
                assert!(matches!(place.try_open().err(), Some(Error::Corrupt { .. })), "{len}");
                continue;
            }
            let Ok(keys) = place.try_open() else { continue };
            let ann = keys.get_or_create(&acme(), "ann").await.unwrap();
            drop(keys);
            assert_eq!(place.open().get(&acme(), "ann").await.unwrap(), Some(ann));
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_is_never_taken_for_a_key() {
    let place = Place::new();
    let (ann, _) = filled(&place).await;
    let whole = place.bytes();
    let ann_at = 2 * SLOT_BYTES;
    for at in (0..SLOT_BYTES).map(|at| ann_at + at) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        place.put(&bytes);
        if at - ann_at < 48 {
            // Whose it was can't be told: making a new key for somebody who has one would be worse.
            assert!(matches!(place.try_open().err(), Some(Error::Corrupt { .. })), "{at}");
            continue;
        }
        let keys = place.open();
        let refused = keys.get(&acme(), "ann").await;
        assert!(matches!(refused, Err(Error::Corrupt { .. })), "{at}: {refused:?}");
        let refused = keys.get_or_create(&acme(), "ann").await;
        assert!(matches!(refused, Err(Error::Corrupt { .. })), "{at}: {refused:?}");
        assert!(keys.get(&acme(), "bob").await.unwrap().is_some(), "others suffer");
        // Whoever must be erased is.
        assert!(keys.destroy(&acme(), "ann").await.unwrap());
        assert!(is_destroyed(&keys, "ann").await);
    }
    // The end of somebody, in the last slot: not taken for an append that was stopped.
    place.put(&whole);
    assert!(!place.open().destroy(&acme(), "fay").await.unwrap());
    let with_end = place.bytes();
    for at in 0..44 {
        let mut bytes = with_end.clone();
        bytes[whole.len() + at] ^= 1 << (at % 8);
        place.put(&bytes);
        let refused = place.try_open().err();
        let stopped = with_end[whole.len() + 47] == 0;
        assert!(stopped || matches!(refused, Some(Error::Corrupt { .. })), "{at}");
    }
    for at in 0..2 * SLOT_BYTES {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        place.put(&bytes);
        let keys = place.open();
        assert_eq!(keys.get(&acme(), "ann").await.unwrap(), Some(ann.clone()));
        drop(keys);
        assert_eq!(place.bytes(), whole, "the header was not mended");
    }
    let mut bytes = whole.clone();
    bytes[5] ^= 1;
    bytes[SLOT_BYTES + 5] ^= 1;
    place.put(&bytes);
    assert!(matches!(place.try_open().err(), Some(Error::Corrupt { .. })));
}

#[tokio::test]
async fn a_destruction_stopped_half_way_is_finished() {
    let place = Place::new();
    let (ann, _) = filled(&place).await;
    let before = place.bytes();
    place.open().destroy(&acme(), "ann").await.unwrap();
    let after = place.bytes();
    let ann_at = 2 * SLOT_BYTES;
    for cut in 0..=SLOT_BYTES {
        let bytes = [&after[..ann_at + cut], &before[ann_at + cut..]].concat();
        place.put(&bytes);
        let keys = match place.try_open() {
            Ok(keys) => keys,
            // Only where a sector was written by half; disks don't do that.
            Err(error) => {
                assert!(cut < 48 && matches!(error, Error::Corrupt { .. }), "{cut}: {error}");
                continue;
            }
        };
        match bytes == before {
            true => assert_eq!(keys.get(&acme(), "ann").await.unwrap(), Some(ann.clone())),
            false => {
                assert!(is_destroyed(&keys, "ann").await, "{cut}");
                assert_eq!(place.bytes(), after, "{cut}");
            }
        }
    }
}

#[tokio::test]
async fn another_server_key_or_another_file_is_refused() {
    let place = Place::new();
    filled(&place).await;
    let other = ServerKeys::new(ServerKey::generate().unwrap());
    let refused = Keys::open(&place.path(), other).err();
    assert!(matches!(refused, Some(Error::UnknownServerKey { .. })), "{refused:?}");
    for bytes in [&b"# notes\n"[..], &[b'x'; 4096]] {
        place.put(bytes);
        assert!(matches!(place.try_open().err(), Some(Error::Corrupt { .. })));
        assert_eq!(place.bytes(), bytes, "it was written to");
    }
    let nowhere = place.folder.path().join("missing/keys");
    let refused = Keys::open(&nowhere, place.server_keys.clone()).err();
    assert!(matches!(refused, Some(Error::Io { .. })), "{refused:?}");
}

#[tokio::test]
async fn keys_outlive_the_server_key_they_were_made_under() {
    let mut place = Place::new();
    let (ann, dan) = filled(&place).await;
    let old = place.server_keys.current.clone();
    let new = ServerKey::generate().unwrap();
    place.server_keys = ServerKeys { current: new.clone(), earlier: vec![old] };
    let keys = place.open();
    let eve = keys.get_or_create(&acme(), "eve").await.unwrap();
    let before = place.bytes();
    assert_eq!(keys.rewrap().await.unwrap(), 3);
    assert_eq!(keys.rewrap().await.unwrap(), 0);
    keys.destroy(&acme(), "bob").await.unwrap();
    drop(keys);
    let after = place.bytes();

    let crashed = [&before[..], &after[before.len()..]].concat();
    // A crash after the new slots were made, before the old ones were cleared: bob's is destroyed.
    for bytes in [after, crashed] {
        place.server_keys = ServerKeys { current: new.clone(), earlier: place.server_keys.earlier };
        place.put(&bytes);
        let keys = place.open();
        for (subject, key) in [("ann", &ann), ("dan", &dan), ("eve", &eve)] {
            assert_eq!(keys.get(&acme(), subject).await.unwrap().as_ref(), Some(key));
        }
        for subject in ["bob", "cem"] {
            assert!(is_destroyed(&keys, subject).await, "{subject}");
        }
        keys.rewrap().await.unwrap();
        drop(keys);
        let keys = Keys::open(&place.path(), ServerKeys::new(new.clone())).unwrap();
        assert_eq!(keys.get(&acme(), "ann").await.unwrap(), Some(ann.clone()));
        assert_eq!(keys.wipe_project(&acme()).await.unwrap(), 3);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_share_one_sync() {
    let place = Place::new();
    let keys = Arc::new(place.open());
    let before = keys.shared.faults.syncs.load(Ordering::Relaxed);
    let tasks: Vec<_> = (0..640)
        .map(|number: u32| {
            let keys = Arc::clone(&keys);
            tokio::spawn(async move {
                keys.get_or_create(&acme(), &number.to_string()).await.unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let syncs = keys.shared.faults.syncs.load(Ordering::Relaxed) - before;
    assert!((3..320).contains(&syncs), "{syncs} syncs for 640 keys");
    assert_eq!(place.bytes().len(), 642 * SLOT_BYTES);
}

#[tokio::test]
async fn a_full_disk_leaves_everything_as_it_was() {
    let place = Place::new();
    let keys = place.open();
    let ann = keys.get_or_create(&acme(), "ann").await.unwrap();
    let before = place.bytes();
    keys.shared.faults.write_fails.store(true, Ordering::Relaxed);
    let refused = keys.get_or_create(&acme(), "bob").await;
    assert!(matches!(refused, Err(Error::Full { .. })), "{refused:?}");
    assert_eq!(keys.get(&acme(), "bob").await.unwrap(), None);
    assert_eq!(place.bytes(), before);
    // To erase takes no room.
    assert!(keys.destroy(&acme(), "ann").await.unwrap());
    keys.shared.faults.write_fails.store(false, Ordering::Relaxed);
    let bob = keys.get_or_create(&acme(), "bob").await.unwrap();
    assert_ne!(bob, ann);
    drop(keys);
    assert_eq!(place.open().get(&acme(), "bob").await.unwrap(), Some(bob));
}

#[tokio::test]
async fn after_a_failed_sync_nothing_more_is_promised() {
    let place = Place::new();
    let keys = place.open();
    let ann = keys.get_or_create(&acme(), "ann").await.unwrap();
    keys.shared.faults.sync_fails.store(true, Ordering::Relaxed);
    let refused = keys.get_or_create(&acme(), "bob").await;
    assert!(matches!(refused, Err(Error::Io { .. })), "{refused:?}");
    keys.shared.faults.sync_fails.store(false, Ordering::Relaxed);
    let refused = keys.get_or_create(&acme(), "cem").await;
    assert!(matches!(refused, Err(Error::Closed)), "{refused:?}");
    assert!(matches!(keys.destroy(&acme(), "ann").await, Err(Error::Closed)));
    assert_eq!(keys.get(&acme(), "ann").await.unwrap(), Some(ann.clone()));
    drop(keys);
    let keys = place.open();
    assert_eq!(keys.get_or_create(&acme(), "ann").await.unwrap(), ann);
    keys.get_or_create(&acme(), "cem").await.unwrap();
}
