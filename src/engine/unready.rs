//! What keeps a node from its work, told twice: with addresses, paths and what drivers say, for the
//! operator, and without any of that, for anybody who reaches the port.

use crate::Engine;
use crate::error::Error;

/// One thing that is in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unready {
    /// What is in the way, for anybody.
    pub brief: String,
    /// The same with all that is known, for the operator.
    pub detail: String,
}

/// What a driver's text has in it, and what that means; the first that fits.
const CAUSES: [(&str, &str); 6] = [
    ("authentication", ": authentication failed"),
    ("ssl", ": no secure connection"),
    ("resolve", ": a name can't be resolved"),
    ("refused", ": connection refused"),
    ("timeout", ": no answer in time"),
    ("timed out", ": no answer in time"),
];

impl Unready {
    /// The log of several nodes can't be reached.
    pub fn log(detail: String) -> Self {
        Self { brief: format!("Kafka (the log) can't be reached{}", cause(&detail)), detail }
    }

    /// The tables of several nodes do not answer as they should.
    pub fn tables(error: &readmodel::Error) -> Self {
        let detail = error.to_string();
        let (what, why) = match error {
            readmodel::Error::Unavailable { .. } => ("can't be reached", cause(&detail)),
            readmodel::Error::Setup { .. } => ("are not ready for this version", ""),
            _ => ("refuse to serve", ""),
        };
        Self { brief: format!("ScyllaDB (the tables) {what}{why}"), detail }
    }

    /// This node is not among those that share the partitions out.
    fn group(detail: String) -> Self {
        Self { brief: "this node is not in Kafka's group of writers".to_owned(), detail }
    }
}

impl Engine {
    /// What keeps partitions from taking writes, for `/readyz`; empty when all do.
    pub fn unready(&self) -> Vec<Unready> {
        let membership = self.cluster.as_ref().and_then(|cluster| cluster.membership.trouble());
        let log = self.log.trouble().map(Unready::log);
        let store = self.store_trouble.read().clone();
        let partitions = self.partitions.iter().filter_map(|partition| {
            let detail = partition.unready()?;
            let brief = match partition.refusal() {
                Some(error) => format!("partition {}: {}", partition.id, brief(&error)),
                None => detail.clone(),
            };
            Some(Unready { brief, detail })
        });
        let group = membership.map(Unready::group);
        log.into_iter().chain(store).chain(group).chain(partitions).collect()
    }
}

/// Why something can't be reached, as far as the driver's text gives it away without its names.
fn cause(detail: &str) -> &'static str {
    let detail = detail.to_lowercase();
    let known = CAUSES.iter().find(|(sign, _)| detail.contains(sign));
    known.map_or("", |(_, cause)| cause)
}

/// The kind of a failure, without what it names.
fn brief(error: &Error) -> &'static str {
    match error {
        Error::Corrupt(_) => "something stored is damaged",
        Error::ReadModel(_) => "the tables refuse to serve",
        Error::AheadOfLog { .. } => "the tables are ahead of the log",
        Error::Trimmed { .. } | Error::BehindTrimmed { .. } => {
            "retention took events that the tables need"
        }
        Error::Unavailable(_) => "the log or the tables can't be reached, or refuse to serve",
        _ => "it takes no writes now",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anybody_hears_of_the_cause_and_not_of_the_place() {
        for (detail, cause) in [
            ("kafka-1:9092/1: SASL authentication error: wrong", ": authentication failed"),
            ("kafka-1:9092/bootstrap: SSL handshake failed", ": no secure connection"),
            ("Failed to resolve 'kafka-1:9092'", ": a name can't be resolved"),
            ("Connect to ipv4#10.0.0.1:9092 failed: Connection refused", ": connection refused"),
            ("no broker since 12:00: kafka-1:9092", ""),
        ] {
            let log = Unready::log(detail.to_owned());
            assert_eq!(log.brief, format!("Kafka (the log) can't be reached{cause}"));
            assert_eq!(log.detail, detail);
        }
        let what = "10.0.0.2:9042 did not answer: request timeout".to_owned();
        let tables = Unready::tables(&readmodel::Error::Unavailable { what });
        assert_eq!(tables.brief, "ScyllaDB (the tables) can't be reached: no answer in time");
        assert!(tables.detail.contains("10.0.0.2:9042"), "{}", tables.detail);
    }
}
