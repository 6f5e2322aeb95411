//! What is heard once and kept nowhere: a topic between nodes for messages of channels and for who
//! is present. In partitions, each with one order, which all nodes see alike; never events.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use crate::Error;

/// How long the brokers keep a record, in seconds.
pub const RETENTION_SECONDS: u64 = 60;

/// One record as every node gets it.
#[derive(Debug, Clone)]
pub struct Record {
    /// The partition.
    pub partition: usize,
    /// Its place in the partition, from 1.
    pub offset: u64,
    /// What it is about.
    pub key: Arc<str>,
    /// What it says.
    pub payload: Bytes,
    /// Whether it was written before this node listened.
    pub is_old: bool,
}

/// Whoever hears every record, each once and in the order of its partition. May not block, nor
/// publish: it is called where that would wait for itself.
pub trait Listener: Send + Sync + 'static {
    /// The next record.
    fn hear(&self, record: Record);

    /// The next record of the partition has at least this offset, and what was not heard before is
    /// lost. Also told at the beginning.
    fn go_on_at(&self, partition: usize, offset: u64);
}

/// What becomes of a record: its offset once it is sure that every node will get it.
pub type Accepted = Pin<Box<dyn Future<Output = Result<u64, Error>> + Send>>;

/// The topic.
pub trait Bus: Send + Sync + 'static {
    /// How many partitions there are.
    fn partitions(&self) -> usize;

    /// Offsets can be compared where this is the same.
    fn epoch(&self) -> u64;

    /// Whether other nodes listen.
    fn is_shared(&self) -> bool;

    /// Has somebody hear all records from now on, and those of the last minute where they are kept.
    ///
    /// Errors: [`Error::Unreachable`], [`Error::Open`].
    fn listen(&self, listener: Arc<dyn Listener>) -> Result<(), Error>;

    /// Sends a record. Those that one caller sends to one partition keep their order.
    ///
    /// Errors: [`Error::Full`] when too many are under way. The answer errors with
    /// [`Error::Unsure`] when it can't be said in time what became of the record.
    fn publish(&self, partition: usize, key: Arc<str>, payload: Bytes) -> Result<Accepted, Error>;

    /// Hears and sends nothing any more.
    fn close(&self);
}

/// The partition of a key.
pub fn partition_of(key: &str, partitions: usize) -> usize {
    crc32c::crc32c(key.as_bytes()) as usize % partitions.max(1)
}

/// A bus within the process. Records reach all listeners before they are accepted.
pub struct Memory {
    /// The offset of each partition's last record.
    last: Vec<Mutex<u64>>,
    listeners: RwLock<Vec<Arc<dyn Listener>>>,
    epoch: u64,
    is_shared: bool,
}

impl Memory {
    /// For one node, which has it for itself.
    pub fn new(partitions: usize) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            last: (0..partitions.max(1)).map(|_| Mutex::default()).collect(),
            listeners: RwLock::default(),
            epoch: u64::try_from(since.as_micros()).unwrap_or_default().max(1),
            is_shared: false,
        }
    }

    /// For several nodes in one process, as tests have them.
    #[must_use]
    pub fn shared(self) -> Self {
        Self { is_shared: true, ..self }
    }
}

impl Bus for Memory {
    fn partitions(&self) -> usize {
        self.last.len()
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn is_shared(&self) -> bool {
        self.is_shared
    }

    fn listen(&self, listener: Arc<dyn Listener>) -> Result<(), Error> {
        // Nothing is sent meanwhile, so that the listener misses nothing from its beginning on.
        let held: Vec<_> = self.last.iter().map(Mutex::lock).collect();
        for (partition, last) in held.iter().enumerate() {
            listener.go_on_at(partition, **last + 1);
        }
        self.listeners.write().push(listener);
        Ok(())
    }

    fn publish(&self, partition: usize, key: Arc<str>, payload: Bytes) -> Result<Accepted, Error> {
        let mut last = self.last[partition % self.last.len()].lock();
        *last += 1;
        let offset = *last;
        for listener in &*self.listeners.read() {
            let (key, payload) = (Arc::clone(&key), payload.clone());
            listener.hear(Record { partition, offset, key, payload, is_old: false });
        }
        Ok(Box::pin(std::future::ready(Ok(offset))))
    }

    fn close(&self) {
        self.listeners.write().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Ear(Mutex<Vec<(usize, u64, String)>>);

    impl Listener for Ear {
        fn hear(&self, record: Record) {
            let text = String::from_utf8_lossy(&record.payload).into_owned();
            self.0.lock().push((record.partition, record.offset, text));
        }

        fn go_on_at(&self, partition: usize, offset: u64) {
            self.0.lock().push((partition, offset, "from here".to_owned()));
        }
    }

    #[test]
    fn all_who_listen_hear_the_same_in_order() {
        let bus = Memory::new(2);
        let ears = [Arc::new(Ear::default()), Arc::new(Ear::default())];
        let send = |partition, text: &'static str| {
            drop(bus.publish(partition, "k".into(), Bytes::from(text)).unwrap());
        };
        send(1, "nobody hears it");
        for ear in &ears {
            bus.listen(Arc::clone(ear) as _).unwrap();
        }
        send(1, "a");
        send(0, "b");
        send(1, "c");
        let told = |p, o, text: &str| (p, o, text.to_owned());
        for ear in ears {
            let wanted = [
                told(0, 1, "from here"),
                told(1, 2, "from here"),
                told(1, 2, "a"),
                told(0, 1, "b"),
                told(1, 3, "c"),
            ];
            assert_eq!(*ear.0.lock(), wanted);
        }
    }
}
