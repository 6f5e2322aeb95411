//! A place in the log: partition and offset, printed `3-18421`; and which partition a project
//! belongs to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::ProjectId;

/// Place of a record in its partition, counted from 0 without holes.
pub type Offset = u64;

/// One lane of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionId(pub u32);

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where an event stands in the log. Within one project positions are totally ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// The lane.
    pub partition: PartitionId,
    /// The place in it.
    pub offset: Offset,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.partition.0, self.offset)
    }
}

/// The text is not `<partition>-<offset>` in plain decimal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a position: expected <partition>-<offset>, for example 3-18421")]
pub struct InvalidPosition;

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let number = |part: &str| -> Result<u64, InvalidPosition> {
            // One spelling per position: `u64::from_str` alone would also take "+1" and "007".
            let canonical = part.bytes().all(|b| b.is_ascii_digit())
                && (part.len() == 1 || !part.starts_with('0'));
            if !canonical {
                return Err(InvalidPosition);
            }
            part.parse().map_err(|_| InvalidPosition)
        };
        let (partition, offset) = text.split_once('-').ok_or(InvalidPosition)?;
        let partition = u32::try_from(number(partition)?).map_err(|_| InvalidPosition)?;
        Ok(Self { partition: PartitionId(partition), offset: number(offset)? })
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The partition that holds a project: Kafka's default partitioner (murmur2 of the key, sign bit
/// cleared, modulo the count), so that any stock Kafka producer or consumer agrees.
pub fn partition_of(project: &ProjectId, partition_count: u32) -> PartitionId {
    PartitionId((murmur2(project.as_str().as_bytes()) & 0x7fff_ffff) % partition_count.max(1))
}

/// MurmurHash2, 32 bit, with Kafka's seed (org.apache.kafka.common.utils.Utils#murmur2).
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ u32::try_from(data.len()).unwrap_or(u32::MAX);
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (i, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * i);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_have_one_spelling() {
        let position: Position = "3-18421".parse().unwrap();
        assert_eq!(position, Position { partition: PartitionId(3), offset: 18421 });
        assert_eq!(position.to_string(), "3-18421");
        for bad in ["", "3", "3-", "-3", "+3-1", "03-1", "3-01", "3-1-1", "3-99999999999999999999"]
        {
            assert!(bad.parse::<Position>().is_err(), "{bad}");
        }
    }

    /// The vectors of Kafka's own UtilsTest#testMurmur2.
    #[test]
    fn murmur2_agrees_with_kafka() {
        for (text, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()) as i32, hash, "{text}");
        }
    }
}
