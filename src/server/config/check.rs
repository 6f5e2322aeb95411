//! What the values must fulfil, alone and together. Says which keys are at odds and why.

use anyhow::{bail, ensure};
use domain::json::Limits;

use super::{Config, Location};

/// Files of the log end here.
const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = (1 << 20)..=(1 << 30);
/// Name, braces and version around a document in a request.
const REQUEST_FRAME_BYTES: usize = 4096;
/// Proxies cut connections that are silent for a minute.
const HEARTBEAT_S: std::ops::RangeInclusive<u64> = 1..=60;
/// They come in one message of a WebSocket, which has 64 KiB.
const SAID_BYTES: std::ops::RangeInclusive<usize> = 1..=(60 << 10);
/// They are held in memory.
const RECORD_REQUESTS: std::ops::RangeInclusive<usize> = 0..=100_000;
/// A page is held in memory as a whole.
const PAGE_MAX: std::ops::RangeInclusive<usize> = 1..=10_000;
/// A node repeats keyed writes for as long as a client waits, and another node may be slow to read
/// what the first try has left in the log.
const SHARED_IDEMPOTENCY_S_MIN: u64 = 60;
/// They go to the writer in between of what clients send.
const EXPIRY_BATCH: std::ops::RangeInclusive<usize> = 1..=10_000;
/// What the store's journal takes at the least.
const JOURNAL_BYTES_MIN: u64 = 64 << 20;

/// Errors with the first thing that does not fit.
pub(super) fn check(config: &Config) -> anyhow::Result<()> {
    not_zero(config)?;
    server(config)?;
    log(config)?;
    cluster(config)?;
    engine(config)?;
    realtime(config)?;
    crate::logging::check_level(&config.logging.level)
}

/// Limits of nothing would refuse everything.
fn not_zero(config: &Config) -> anyhow::Result<()> {
    let Config { server, auth, log, engine, realtime, channels, readmodel, .. } = config;
    for (key, value) in [
        ("server.shutdown_wait_s", server.shutdown_wait_s),
        ("server.commit_writes_max", server.commit_writes_max as u64),
        ("server.sockets_max", server.sockets_max as u64),
        ("auth.record_one_in", u64::from(auth.record_one_in)),
        ("auth.record_hours", u64::from(auth.record_hours)),
        ("log.partitions", u64::from(log.partitions)),
        ("log.trim_interval_s", log.trim_interval_s),
        ("readmodel.memtable_bytes", readmodel.memtable_bytes),
        ("readmodel.compaction_threads", readmodel.compaction_threads as u64),
        ("engine.queue_commands_max", engine.queue_commands_max as u64),
        ("engine.batch_commands_max", engine.batch_commands_max as u64),
        ("engine.query_documents_max", engine.query_documents_max as u64),
        ("engine.write_wait_s", engine.write_wait_s),
        ("engine.expiry_interval_s", engine.expiry_interval_s),
        ("engine.document_bytes_max", engine.document_bytes_max as u64),
        ("engine.document_depth_max", engine.document_depth_max as u64),
        ("realtime.socket_subscriptions_max", realtime.socket_subscriptions_max as u64),
        ("realtime.queue_frames_max", realtime.queue_frames_max as u64),
        ("realtime.snapshot_documents", realtime.snapshot_documents as u64),
        ("realtime.live_bytes_max", realtime.live_bytes_max as u64),
        ("channels.message_bytes_max", channels.message_bytes_max as u64),
        ("channels.queue_messages_max", channels.queue_messages_max as u64),
        ("channels.present_max", channels.present_max as u64),
        ("channels.state_bytes_max", channels.state_bytes_max as u64),
        ("channels.node_silence_s", channels.node_silence_s),
    ] {
        ensure!(value > 0, "`{key}` must not be 0");
    }
    Ok(())
}

fn server(config: &Config) -> anyhow::Result<()> {
    let server = &config.server;
    let port = server.listen.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    ensure!(
        port.is_some_and(|(_, port)| port.parse::<u16>().is_ok()),
        "`server.listen` must be HOST:PORT, for example 127.0.0.1:8080; it is {:?}",
        server.listen
    );
    ensure!(
        server.body_bytes_max >= config.engine.document_bytes_max + REQUEST_FRAME_BYTES,
        "`server.body_bytes_max` must be at least `engine.document_bytes_max` and \
         {REQUEST_FRAME_BYTES} more: the largest document could not be sent"
    );
    let header = &server.client_address_header;
    ensure!(
        header.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'),
        "`server.client_address_header` must be the name of a header, or empty; it is {header:?}"
    );
    in_range("auth.record_requests", config.auth.record_requests, &RECORD_REQUESTS)?;
    in_range("server.page_max", server.page_max, &PAGE_MAX)
}

fn log(config: &Config) -> anyhow::Result<()> {
    let log = &config.log;
    let (events, tables) = (Location::parse(&log.url), Location::parse(&config.readmodel.url));
    ensure!(
        events.as_ref().is_some_and(|events| !matches!(events, Location::Cql { .. })),
        "`log.url` must be file:FOLDER, memory: or kafka://HOST:PORT,…/TOPIC"
    );
    ensure!(
        tables.as_ref().is_some_and(|tables| !matches!(tables, Location::Kafka { .. })),
        "`readmodel.url` must be file:FOLDER, memory: or scylla://HOST:PORT,…/KEYSPACE"
    );
    ensure!(
        matches!(events, Some(Location::Kafka { .. }))
            == matches!(tables, Some(Location::Cql { .. })),
        "`log.url` and `readmodel.url` must both be of this machine, or kafka:// and scylla://: \
         other nodes would not see the same"
    );
    if events == Some(Location::Memory) && tables != Some(Location::Memory) {
        bail!(
            "`log.url` is memory: and `readmodel.url` is not: at the next start the tables would \
             be ahead of the log"
        );
    }
    ensure!(events == Some(Location::Memory) || events != tables, "log and tables share a folder");
    in_range("log.segment_bytes", log.segment_bytes, &SEGMENT_BYTES)?;
    ensure!(
        log.retention_bytes == 0 || log.retention_bytes >= log.segment_bytes,
        "`log.retention_bytes` must be 0 or at least `log.segment_bytes`: whole segments go"
    );
    ensure!(
        log.retention_s == 0 || log.retention_s >= config.engine.idempotency_s,
        "`log.retention_s` must be 0 or at least `engine.idempotency_s`: idempotency keys are \
         rebuilt from the log"
    );
    let journal = config.readmodel.journal_bytes_max;
    ensure!(
        journal >= JOURNAL_BYTES_MIN,
        "`readmodel.journal_bytes_max` must be at least {JOURNAL_BYTES_MIN}"
    );
    ensure!(
        log.disk_reserve_bytes == 0 || log.disk_reserve_bytes >= journal,
        "`log.disk_reserve_bytes` must be 0 or at least `readmodel.journal_bytes_max`: what the \
         log has taken must still reach the tables"
    );
    Ok(())
}

fn cluster(config: &Config) -> anyhow::Result<()> {
    let Config { cluster, kafka, cql, .. } = config;
    if let Err(unknown) = cluster.roles() {
        bail!("`cluster.roles` has {unknown:?}: there are api, writer and realtime");
    }
    if !config.is_shared() {
        ensure!(
            cluster.roles().is_ok_and(|roles| roles.api && roles.writer && roles.realtime),
            "`cluster.roles` can leave out none on a log of this machine: no other node would \
             have them"
        );
        return Ok(());
    }
    for (key, value) in [
        ("kafka.session_timeout_ms", kafka.session_timeout_ms),
        ("kafka.heartbeat_ms", kafka.heartbeat_ms),
        ("kafka.append_wait_ms", kafka.append_wait_ms),
        ("kafka.reach_wait_ms", kafka.reach_wait_ms),
        ("kafka.release_wait_ms", kafka.release_wait_ms),
        ("cql.timeout_ms", cql.timeout_ms),
        ("cql.replication", u64::from(cql.replication)),
    ] {
        ensure!(value > 0, "`{key}` must not be 0");
    }
    ensure!(
        kafka.heartbeat_ms * 3 <= kafka.session_timeout_ms,
        "`kafka.heartbeat_ms` must be at most a third of `kafka.session_timeout_ms`"
    );
    ensure!(!kafka.group.is_empty(), "`kafka.group` must not be empty");
    let remembered = config.engine.idempotency_s;
    let needed = SHARED_IDEMPOTENCY_S_MIN.max(config.engine.write_wait_s);
    ensure!(
        remembered >= needed,
        "`engine.idempotency_s` must be at least {needed} beside other nodes, for they repeat \
         writes that have a key; it is {remembered}"
    );
    ensure!(
        cluster.advertise.is_empty() || is_address_of_node(&cluster.advertise),
        "`cluster.advertise` must be http://HOST:PORT; it is {:?}",
        cluster.advertise
    );
    let anywhere =
        config.server.listen.starts_with("0.0.0.0:") || config.server.listen.starts_with("[::]:");
    ensure!(
        !(anywhere && cluster.advertise.is_empty()),
        "`cluster.advertise` must say where other nodes reach this one: `server.listen` is {}",
        config.server.listen
    );
    Ok(())
}

/// Whether other nodes can make requests of it: `http://HOST:PORT` with both of them and no more.
fn is_address_of_node(address: &str) -> bool {
    let rest = address.strip_prefix("http://").unwrap_or_default();
    let Some((host, port)) = rest.trim_end_matches('/').rsplit_once(':') else { return false };
    let is_plain = |name: &str| !name.is_empty() && !name.contains([':', '/', '@', '[', ']', ' ']);
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => is_plain(host),
    };
    is_host && port.parse::<u16>().is_ok_and(|port| port > 0)
}

fn engine(config: &Config) -> anyhow::Result<()> {
    ensure!(
        config.engine.idempotency_s <= 86_400,
        "`engine.idempotency_s` must be at most 86400: keys are kept for a day"
    );
    let engine = &config.engine;
    in_range("engine.expiry_batch", engine.expiry_batch, &EXPIRY_BATCH)?;
    let most = Limits::DOCUMENT;
    ensure!(
        engine.document_bytes_max <= most.bytes_max,
        "`engine.document_bytes_max` must be at most {}",
        most.bytes_max
    );
    ensure!(
        engine.document_depth_max <= most.depth_max,
        "`engine.document_depth_max` must be at most {}",
        most.depth_max
    );
    ensure!(
        engine.queue_bytes_max >= 2 * config.server.body_bytes_max,
        "`engine.queue_bytes_max` must be at least twice `server.body_bytes_max`: the largest \
         commit could not wait"
    );
    ensure!(
        engine.batch_commands_max <= engine.queue_commands_max,
        "`engine.batch_commands_max` must be at most `engine.queue_commands_max`"
    );
    Ok(())
}

fn realtime(config: &Config) -> anyhow::Result<()> {
    let realtime = &config.realtime;
    in_range("realtime.heartbeat_s", realtime.heartbeat_s, &HEARTBEAT_S)?;
    ensure!(
        realtime.queue_bytes_max >= config.engine.document_bytes_max + REQUEST_FRAME_BYTES,
        "`realtime.queue_bytes_max` must be at least `engine.document_bytes_max` and \
         {REQUEST_FRAME_BYTES} more: a change of the largest document could not wait"
    );
    ensure!(
        realtime.pace_each_us <= realtime.pace_max_ms.saturating_mul(1000),
        "`realtime.pace_each_us` must be at most `realtime.pace_max_ms`"
    );
    let channels = &config.channels;
    for (key, value) in [
        ("channels.message_bytes_max", channels.message_bytes_max),
        ("channels.state_bytes_max", channels.state_bytes_max),
    ] {
        in_range(key, value, &SAID_BYTES)?;
    }
    Ok(())
}

fn in_range<T: PartialOrd + std::fmt::Display>(
    key: &str,
    value: T,
    range: &std::ops::RangeInclusive<T>,
) -> anyhow::Result<()> {
    let (least, most) = (range.start(), range.end());
    ensure!(range.contains(&value), "`{key}` must be {least} to {most}; it is {value}");
    Ok(())
}
