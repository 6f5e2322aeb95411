//! The log on Kafka and the tables by CQL, as the configuration names them. What can't be reached
//! now may be reached later, so that is told apart from what an operator must mend.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use domain::{PartitionId, ProjectId, partition_of};
use engine::Unready;
use eventlog::ephemeral::{Bus, RETENTION_SECONDS};
use eventlog::{EventLog, Membership, Retention, kafka};
use readmodel::{Store, cql};
use vault::{ServerKeys, SubjectKeys};

use crate::config::{Config, Location};

/// Log, tables and group of a cluster.
pub(super) struct Shared {
    pub(super) log: Arc<dyn EventLog>,
    pub(super) store: Arc<dyn Store>,
    /// The keys of persons.
    pub(super) subject_keys: Arc<dyn SubjectKeys>,
    pub(super) membership: Arc<dyn Membership>,
    /// Carries what channels say to all nodes.
    pub(super) ephemeral: Arc<dyn Bus>,
    /// Where other nodes reach this one.
    pub(super) node: String,
}

/// Why it did not open.
pub(super) enum Failed {
    /// Something can't be reached: a later try may pass.
    Waits(Unready),
    /// Somebody must mend something.
    Ends(anyhow::Error),
}

impl From<anyhow::Error> for Failed {
    fn from(error: anyhow::Error) -> Self {
        Self::Ends(error)
    }
}

impl From<eventlog::Error> for Failed {
    fn from(error: eventlog::Error) -> Self {
        match error {
            eventlog::Error::Unreachable { .. } => Self::Waits(Unready::log(error.to_string())),
            error => Self::Ends(error.into()),
        }
    }
}

impl From<readmodel::Error> for Failed {
    fn from(error: readmodel::Error) -> Self {
        match error {
            readmodel::Error::Unavailable { .. } => Self::Waits(Unready::tables(&error)),
            error => Self::Ends(error.into()),
        }
    }
}

impl From<vault::Error> for Failed {
    fn from(error: vault::Error) -> Self {
        match error {
            vault::Error::Unavailable { .. } => Self::Waits(Unready {
                brief: "ScyllaDB (the tables) can't be reached".to_owned(),
                detail: error.to_string(),
            }),
            error => Self::Ends(error.into()),
        }
    }
}

impl From<engine::Error> for Failed {
    fn from(error: engine::Error) -> Self {
        match error {
            engine::Error::Unavailable(detail) => {
                let brief = "Kafka (the log) or ScyllaDB (the tables) can't be reached".to_owned();
                Self::Waits(Unready { brief, detail })
            }
            error => Self::Ends(error.into()),
        }
    }
}

/// Opens all of it. `listen` is where this node answers.
pub(super) async fn open(
    config: &Config,
    listen: &str,
    metrics: &eventlog::metrics::Metrics,
    server_keys: &ServerKeys,
) -> Result<Shared, Failed> {
    let node = match config.cluster.advertise.trim_end_matches('/') {
        "" => format!("http://{listen}"),
        address => address.to_owned(),
    };
    let options = log_options(config, &node)?;
    let store = cql::Store::connect(table_options(config)?);
    let (store, log) = tokio::join!(store, kafka::Log::open(options.clone(), metrics));
    let (store, log) = both(store.map_err(Failed::from), log.map_err(Failed::from))?;
    let ephemeral = kafka::ephemeral::Topic::open(ephemeral_options(&options)).await?;
    let subject_keys = Arc::new(store.subject_keys(server_keys.clone()).await?);
    let timing = timing(config);
    let membership = match config.cluster.roles().is_ok_and(|roles| roles.writer) {
        true => kafka::Group::join(&options, timing)?,
        false => kafka::Group::observe(&options, timing)?,
    };
    Ok(Shared {
        log: Arc::new(log),
        store: Arc::new(store),
        subject_keys,
        membership,
        ephemeral: Arc::new(ephemeral),
        node,
    })
}

/// Tells of both when neither can be reached.
fn both<A, B>(one: Result<A, Failed>, other: Result<B, Failed>) -> Result<(A, B), Failed> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (Err(Failed::Waits(one)), Err(Failed::Waits(other))) => Err(Failed::Waits(Unready {
            brief: format!("{}; {}", one.brief, other.brief),
            detail: format!("{}; {}", one.detail, other.detail),
        })),
        (Err(ends @ Failed::Ends(_)), _) | (_, Err(ends @ Failed::Ends(_))) => Err(ends),
        (Err(waits), _) | (_, Err(waits)) => Err(waits),
    }
}

fn timing(config: &Config) -> kafka::Timing {
    let millis = Duration::from_millis;
    let kafka = &config.kafka;
    kafka::Timing {
        session: millis(kafka.session_timeout_ms),
        heartbeat: millis(kafka.heartbeat_ms),
        release_wait: millis(kafka.release_wait_ms),
        reach_wait: millis(kafka.reach_wait_ms),
        owners_age_max: super::OWNERS_AGE_MAX,
    }
}

fn log_options(config: &Config, node: &str) -> anyhow::Result<kafka::Options> {
    let Location::Kafka { brokers, topic } = config.log.location() else {
        bail!("`log.url` does not name a topic on Kafka");
    };
    let keep = |limit: u64| (limit > 0).then_some(limit);
    let (log, kafka) = (&config.log, &config.kafka);
    Ok(kafka::Options {
        retention: Retention {
            seconds_max: keep(log.retention_s),
            bytes_max: keep(log.retention_bytes),
        },
        replication: i16::try_from(kafka.replication).ok().filter(|copies| *copies > 0),
        min_insync: Some(kafka.min_insync).filter(|copies| *copies > 0),
        allow_single_replica: kafka.allow_single_replica,
        ring_bytes: log.ring_bytes,
        append_wait: Duration::from_millis(kafka.append_wait_ms),
        reach_wait: Duration::from_millis(kafka.reach_wait_ms),
        group: kafka.group.clone(),
        advertise: node.to_owned(),
        properties: properties(&kafka.properties_file)?,
        ..kafka::Options::new(&brokers, &topic, log.partitions)
    })
}

/// The topic beside that of the events, where channels meet: `headwater.ephemeral` beside
/// `headwater.events`.
fn ephemeral_options(events: &kafka::Options) -> kafka::Options {
    let start = events.topic.strip_suffix(".events").unwrap_or(&events.topic);
    kafka::Options {
        topic: format!("{start}.ephemeral"),
        retention: Retention { seconds_max: Some(RETENTION_SECONDS), bytes_max: None },
        segment: Some(Duration::from_secs(RETENTION_SECONDS)),
        ..events.clone()
    }
}

/// Reads `name=value` lines; what starts with `#` is a comment.
fn properties(file: &str) -> anyhow::Result<BTreeMap<String, String>> {
    if file.is_empty() {
        return Ok(BTreeMap::new());
    }
    let text =
        std::fs::read_to_string(file).with_context(|| format!("`kafka.properties_file` {file}"))?;
    let lines = text.lines().map(str::trim).enumerate();
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| {
            // The line itself may hold a secret.
            let (name, value) = line
                .split_once('=')
                .ok_or_else(|| anyhow!("{file}, line {}: expected name=value", number + 1))?;
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        })
        .collect()
}

/// How the tables are reached; the same for `migrate`.
pub(crate) fn table_options(config: &Config) -> anyhow::Result<cql::Options> {
    let Location::Cql { nodes, keyspace } = config.readmodel.location() else {
        bail!("`readmodel.url` does not name a keyspace");
    };
    let cql = &config.cql;
    let login = match cql.user.as_str() {
        "" => None,
        user => {
            let file = &cql.password_file;
            let password = std::fs::read_to_string(file)
                .with_context(|| format!("`cql.password_file` {file:?}"))?;
            let password = password.trim_end_matches(['\r', '\n']).to_owned();
            Some(cql::Login { user: user.to_owned(), password })
        }
    };
    let partitions = config.log.partitions;
    let belongs = move |project: &str, partition: PartitionId| {
        ProjectId::new(project).is_ok_and(|id| partition_of(&id, partitions) == partition)
    };
    let given = |value: &String| (!value.is_empty()).then(|| value.clone());
    Ok(cql::Options {
        login,
        tls: given(&cql.ca_file).map(|file| cql::Tls { ca_file: file.into() }),
        data_center: given(&cql.data_center),
        replication_factor: u32::from(cql.replication),
        request_timeout: Duration::from_millis(cql.timeout_ms),
        ..cql::Options::new(nodes, keyspace, consumers::TABLES, Arc::new(belongs))
    })
}
