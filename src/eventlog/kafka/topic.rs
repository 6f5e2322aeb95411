//! Makes the topic when it is missing, and checks at every start that its settings keep what the
//! log promises. Changes nothing of a topic that exists: a refusal names the command that mends it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;

use super::broker::{Broker, unreachable};
use super::health::{Context, Health};
use super::options::{MESSAGE_BYTES_MAX, Options};
use crate::Error;

/// How long to wait before a question is asked again.
const RETRY: Duration = Duration::from_millis(20);

/// How often settings that don't fit are looked at again, and after what pause.
const SETTINGS_TRIES: u32 = 5;
const SETTINGS_PAUSE: Duration = Duration::from_millis(300);

/// A setting of the topic, what it must be, and why.
struct Setting {
    name: &'static str,
    wanted: String,
    why: &'static str,
    /// Whether a larger number will do.
    at_least: bool,
}

/// What the brokers have: how many of them, and the topic's partitions with their replicas.
struct Found {
    brokers: Vec<i32>,
    partitions: Vec<Vec<i32>>,
}

/// Makes or checks the topic; returns whether an acknowledged event is on two brokers or more.
///
/// Errors: [`Error::Open`] with the command that mends it, [`Error::Unreachable`].
pub(super) async fn ensure(
    options: &Arc<Options>,
    broker: &Arc<Broker>,
    health: &Arc<Health>,
) -> Result<bool, Error> {
    let context = Context { health: Arc::clone(health), watches: false };
    let admin: AdminClient<Context> = options
        .client()?
        .create_with_context(context)
        .map_err(|error| options.cannot_open(error.to_string()))?;
    let mut found = look(options, broker).await?;
    if found.partitions.is_empty() {
        create(options, &admin, found.brokers.len()).await?;
        found = wait_until_known(options, broker).await?;
    }
    if found.partitions.len() != options.partitions as usize {
        return Err(options.cannot_open(wrong_count(options, found.partitions.len())));
    }
    // Another node may have made the topic a moment ago: not every broker knows its settings then.
    for _ in 1..SETTINGS_TRIES {
        if let Ok(replicated) = check_all(options, &admin, &found).await {
            return Ok(replicated);
        }
        tokio::time::sleep(SETTINGS_PAUSE).await;
        found = look(options, broker).await?;
    }
    check_all(options, &admin, &found).await
}

async fn check_all(
    options: &Options,
    admin: &AdminClient<Context>,
    found: &Found,
) -> Result<bool, Error> {
    let configs = describe(options, admin).await?;
    let replicated = check_replicas(options, found, &configs)?;
    for setting in settings(options) {
        check(options, &setting, configs.get(setting.name).map(String::as_str))?;
    }
    Ok(replicated)
}

fn settings(options: &Options) -> Vec<Setting> {
    let forever = |limit: Option<u64>| limit.map_or("-1".to_owned(), |limit| limit.to_string());
    let age = options.retention.seconds_max.map(|seconds| seconds.saturating_mul(1000));
    let exact = |name, wanted: String, why| Setting { name, wanted, why, at_least: false };
    let segment = options.segment.map(|segment| {
        let why = "the brokers take away whole segments only";
        exact("segment.ms", segment.as_millis().to_string(), why)
    });
    let common = [
        exact("cleanup.policy", "delete".to_owned(), "compaction drops events"),
        exact("retention.ms", forever(age), "the brokers must keep what the configuration says"),
        exact(
            "retention.bytes",
            forever(options.retention.bytes_max),
            "the brokers must keep what the configuration says",
        ),
        exact(
            "unclean.leader.election.enable",
            "false".to_owned(),
            "a replica that is behind would drop acknowledged events",
        ),
        exact("message.timestamp.type", "CreateTime".to_owned(), "a record's time is its event's"),
        Setting {
            name: "message.timestamp.after.max.ms",
            wanted: i64::MAX.to_string(),
            why: "an event whose time is ahead of the brokers' clock must be taken",
            at_least: true,
        },
        Setting {
            name: "message.timestamp.before.max.ms",
            wanted: i64::MAX.to_string(),
            why: "an event whose time is behind the brokers' clock must be taken",
            at_least: true,
        },
        Setting {
            name: "max.message.bytes",
            wanted: MESSAGE_BYTES_MAX.to_string(),
            why: "the largest event must fit",
            at_least: true,
        },
    ];
    common.into_iter().chain(segment).collect()
}

async fn create(
    options: &Options,
    admin: &AdminClient<Context>,
    brokers: usize,
) -> Result<(), Error> {
    let (copies, min_insync) = replicas(options, brokers);
    let min_insync = min_insync.to_string();
    let partitions = i32::try_from(options.partitions)
        .map_err(|_| options.cannot_open("it can't have that many partitions"))?;
    let settings = settings(options);
    let copies = TopicReplication::Fixed(i32::from(copies));
    let mut topic = NewTopic::new(&options.topic, partitions, copies);
    topic = topic.set("min.insync.replicas", &min_insync);
    for setting in &settings {
        topic = topic.set(setting.name, &setting.wanted);
    }
    let admin_options = AdminOptions::new()
        .request_timeout(Some(options.reach_wait))
        .operation_timeout(Some(options.reach_wait));
    let made = admin
        .create_topics([&topic], &admin_options)
        .await
        .map_err(|error| unreachable("a new topic", &error))?;
    match made.into_iter().next() {
        // Another node was faster.
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) | Some(Ok(_)) => {
            tracing::info!(topic = options.topic, "the topic is made");
            Ok(())
        }
        Some(Err((_, code))) => Err(options.cannot_open(format!("it can't be made: {code}"))),
        None => Err(options.cannot_open("it can't be made: no answer")),
    }
}

/// How many copies a new topic gets on so many brokers, and how many of them must have an event
/// before it is acknowledged. The brokers' own defaults are not used: they may be 1.
fn replicas(options: &Options, brokers: usize) -> (i16, u16) {
    let most = i16::try_from(brokers.clamp(1, 3)).unwrap_or(1);
    let copies = options.replication.unwrap_or(most);
    // Two also of two, where one broker less then stops writes: an acknowledged event must not hang
    // on one disk.
    (copies, options.min_insync.unwrap_or(if copies >= 2 { 2 } else { 1 }))
}

async fn look(options: &Arc<Options>, broker: &Arc<Broker>) -> Result<Found, Error> {
    let (options, broker) = (Arc::clone(options), Arc::clone(broker));
    let look = tokio::task::spawn_blocking(move || {
        let metadata = broker.metadata()?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == options.topic);
        let mut partitions: Vec<_> =
            topic.map(|topic| topic.partitions().iter().collect()).unwrap_or_default();
        partitions.sort_by_key(|partition: &&rdkafka::metadata::MetadataPartition| partition.id());
        Ok(Found {
            brokers: metadata.brokers().iter().map(|broker| broker.id()).collect(),
            partitions: partitions.iter().map(|partition| partition.replicas().to_vec()).collect(),
        })
    });
    look.await.map_err(|error| Error::Unreachable { reason: error.to_string() })?
}

/// A topic that was just made takes a moment until all brokers know of it.
async fn wait_until_known(options: &Arc<Options>, broker: &Arc<Broker>) -> Result<Found, Error> {
    let deadline = Instant::now() + options.reach_wait;
    loop {
        let found = look(options, broker).await?;
        if !found.partitions.is_empty() || Instant::now() > deadline {
            return Ok(found);
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn describe(
    options: &Options,
    admin: &AdminClient<Context>,
) -> Result<HashMap<String, String>, Error> {
    let what = "the topic's settings";
    let admin_options = AdminOptions::new().request_timeout(Some(options.reach_wait));
    let asked = ResourceSpecifier::Topic(&options.topic);
    let deadline = Instant::now() + options.reach_wait;
    loop {
        let described = admin
            .describe_configs([&asked], &admin_options)
            .await
            .map_err(|error| unreachable(what, &error))?;
        let code = match described.into_iter().next() {
            Some(Ok(resource)) => {
                let entries = resource.entries.into_iter();
                return Ok(entries.filter_map(|entry| Some((entry.name, entry.value?))).collect());
            }
            // Not every broker knows a new topic at once.
            Some(Err(RDKafkaErrorCode::UnknownTopicOrPartition)) if Instant::now() < deadline => {
                tokio::time::sleep(RETRY).await;
                continue;
            }
            Some(Err(code)) => code.to_string(),
            None => "no answer".to_owned(),
        };
        return Err(options.cannot_open(format!("asked for {what}: {code}")));
    }
}

fn check(options: &Options, setting: &Setting, found: Option<&str>) -> Result<(), Error> {
    let Setting { name, wanted, why, at_least } = setting;
    // Brokers of another version may not know a setting at all.
    let Some(found) = found else { return Ok(()) };
    let number = |text: &str| text.parse::<i64>().ok();
    let enough = *at_least && number(found).zip(number(wanted)).is_some_and(|(f, w)| f >= w);
    if found == wanted || enough {
        return Ok(());
    }
    let mend = alter(options, name, wanted);
    Err(options.cannot_open(format!("{name} is {found}, and must be {wanted}: {why}. {mend}")))
}

fn check_replicas(
    options: &Options,
    found: &Found,
    configs: &HashMap<String, String>,
) -> Result<bool, Error> {
    let copies = found.partitions.iter().map(Vec::len).min().unwrap_or(0);
    let min_insync: usize =
        configs.get("min.insync.replicas").and_then(|value| value.parse().ok()).unwrap_or(1);
    if copies >= 2 && min_insync < 2 {
        let mend = alter(options, "min.insync.replicas", "2");
        return Err(options.cannot_open(format!(
            "min.insync.replicas is {min_insync} with {copies} replicas, and must be 2 or more: an \
             acknowledged event could be lost with one broker. {mend}"
        )));
    }
    if min_insync > copies {
        let mend = alter(options, "min.insync.replicas", &copies.min(2).to_string());
        return Err(options.cannot_open(format!(
            "min.insync.replicas is {min_insync} with {copies} replicas: nothing could be written. \
             {mend}"
        )));
    }
    if copies < 2 && found.brokers.len() > 1 && !options.allow_single_replica {
        return Err(options.cannot_open(format!(
            "it has one replica although there are {} brokers: acknowledged events would be lost \
             with one disk. {}",
            found.brokers.len(),
            reassign(options, found)
        )));
    }
    if copies < 2 {
        tracing::warn!(
            topic = options.topic,
            "the topic has one replica: a broker's disk that is lost takes acknowledged events"
        );
    }
    Ok(copies >= 2)
}

fn alter(options: &Options, name: &str, value: &str) -> String {
    format!(
        "To mend it: kafka-configs.sh --bootstrap-server {} --entity-type topics --entity-name {} \
         --alter --add-config {name}={value}",
        options.brokers, options.topic
    )
}

/// Spreads three replicas, or as many as there are brokers, over the brokers in turn.
fn reassign(options: &Options, found: &Found) -> String {
    let copies = found.brokers.len().min(3);
    let partitions = found.partitions.iter().enumerate().map(|(id, replicas)| {
        let first = replicas.first().copied().unwrap_or_default();
        let at = found.brokers.iter().position(|broker| *broker == first).unwrap_or(0);
        let ids = found.brokers.iter().cycle().skip(at).take(copies);
        let ids = ids.map(i32::to_string).collect::<Vec<_>>().join(",");
        let topic = &options.topic;
        format!(r#"{{"topic":"{topic}","partition":{id},"replicas":[{ids}]}}"#)
    });
    let partitions = partitions.collect::<Vec<_>>().join(",");
    format!(
        "To mend it: echo '{{\"version\":1,\"partitions\":[{partitions}]}}' > replicas.json && \
         kafka-reassign-partitions.sh --bootstrap-server {} --reassignment-json-file replicas.json \
         --execute; then {}",
        options.brokers,
        alter(options, "min.insync.replicas", "2")
    )
}

fn wrong_count(options: &Options, found: usize) -> String {
    let Options { topic, partitions, brokers, .. } = options;
    format!(
        "topic {topic} has {found} partitions, and the configuration says {partitions}. The number \
         can't change, for it decides where a project's events are: set it to {found}, or name \
         another topic. kafka-topics.sh --bootstrap-server {brokers} --describe --topic {topic} \
         shows it"
    )
}

#[cfg(test)]
mod tests;
