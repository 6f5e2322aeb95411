//! Topics that don't keep what the log promises are refused, with the command that mends them.

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;

use super::*;
use crate::Retention;

fn admin() -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", brokers()).create().unwrap()
}

/// Every setting as the log wants it.
const GOOD: [(&str, &str); 8] = [
    ("cleanup.policy", "delete"),
    ("retention.ms", "-1"),
    ("retention.bytes", "-1"),
    ("min.insync.replicas", "1"),
    ("unclean.leader.election.enable", "false"),
    ("max.message.bytes", "8388608"),
    ("message.timestamp.type", "CreateTime"),
    ("message.timestamp.after.max.ms", "9223372036854775807"),
];

/// Opens a topic that somebody has made with one setting changed; returns the refusal.
async fn refusal(changed: (&str, &str), options: impl FnOnce(&mut Options)) -> String {
    let name = unique("settings");
    let mut topic = NewTopic::new(&name, 2, TopicReplication::Fixed(1));
    for (name, value) in GOOD {
        topic = topic.set(name, if name == changed.0 { changed.1 } else { value });
    }
    let made = admin().create_topics([&topic], &AdminOptions::new()).await.unwrap();
    made.into_iter().for_each(|made| drop(made.unwrap()));
    let mut opened = super::options(&name, 2);
    options(&mut opened);
    match try_open(opened).await {
        Ok(_) => String::new(),
        Err(Error::Open { reason, .. }) => reason.replace(&name, "TOPIC"),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_settings_are_refused_with_the_command() {
    assert_eq!(refusal(("", ""), |_| {}).await, "");
    assert_eq!(refusal(("max.message.bytes", "9000000"), |_| {}).await, "", "more will do");
    for (name, wrong, right) in [
        ("cleanup.policy", "compact", "delete"),
        ("retention.ms", "604800000", "-1"),
        ("retention.bytes", "1000000", "-1"),
        ("min.insync.replicas", "2", "1"),
        ("unclean.leader.election.enable", "true", "false"),
        ("max.message.bytes", "1048588", "8388608"),
        ("message.timestamp.type", "LogAppendTime", "CreateTime"),
        ("message.timestamp.after.max.ms", "3600000", "9223372036854775807"),
    ] {
        let reason = refusal((name, wrong), |_| {}).await;
        let command = format!(
            "kafka-configs.sh --bootstrap-server {} --entity-type topics --entity-name TOPIC \
             --alter --add-config {name}={right}",
            brokers()
        );
        assert!(reason.starts_with(&format!("{name} is {wrong}")), "{reason}");
        assert!(reason.contains(&command), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_partition_count_must_be_what_is_configured() {
    let reason = refusal(("", ""), |options| options.partitions = 3).await;
    assert!(reason.contains("has 2 partitions") && reason.contains("says 3"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_may_be_finite_only_where_configured() {
    let week = Retention { seconds_max: Some(604_800), bytes_max: None };
    let reason = refusal(("retention.ms", "604800000"), |o| o.retention = week).await;
    assert_eq!(reason, "");
    let reason = refusal(("", ""), |o| o.retention = week).await;
    assert!(reason.contains("--add-config retention.ms=604800000"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_topic_has_the_settings() {
    let options = options(&unique("made"), 3);
    assert_eq!(open(options.clone()).await.partition_count(), 3);
    let asked = ResourceSpecifier::Topic(&options.topic);
    let found = admin().describe_configs([&asked], &AdminOptions::new()).await.unwrap();
    let found = found.into_iter().next().unwrap().unwrap();
    for (name, value) in GOOD {
        assert_eq!(found.get(name).unwrap().value.as_deref(), Some(value), "{name}");
    }
    // Several nodes at once: one makes it, none fails.
    let options = super::options(&unique("made"), 2);
    let opened: Vec<_> = (0..3).map(|_| tokio::spawn(try_open(options.clone()))).collect();
    for opened in opened {
        opened.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn properties_that_are_ours_are_refused_by_name() {
    for name in ["acks", "enable.idempotence", "message.timeout.ms", "group.id"] {
        let mut options = Options::new("127.0.0.1:1", "t", 1);
        options.properties.insert(name.to_owned(), "1".to_owned());
        let refused = try_open(options).await.err().unwrap().to_string();
        assert!(refused.contains(&format!("the property {name} can't be set")), "{refused}");
    }
    let mut options = Options::new("127.0.0.1:1", "t", 1);
    options.properties.insert("sasl.mechanic".to_owned(), "1".to_owned());
    let refused = try_open(options).await.err().unwrap().to_string();
    assert!(refused.contains("sasl.mechanic"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_broker_is_unreachable() {
    let mut options = Options::new("127.0.0.1:1", "t", 1);
    options.reach_wait = Duration::from_millis(300);
    let opened = try_open(options).await;
    assert!(matches!(opened, Err(Error::Unreachable { .. })), "{:?}", opened.err());
}
