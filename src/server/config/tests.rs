//! Holds precedence, refusals by name and relations between settings, and the published schema
//! to the code.

use std::path::Path;

use toml::Value;

use super::{Flag, Inputs, Location, load};

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn with_env(pairs: &[(&str, &str)]) -> Result<super::Loaded, String> {
    load(Inputs { env: env(pairs), ..Inputs::default() }).map_err(|e| format!("{e:#}"))
}

fn with_file(text: &str) -> Result<super::Loaded, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("headwater.toml");
    std::fs::write(&path, text).unwrap();
    load(Inputs { file: Some(path), ..Inputs::default() }).map_err(|e| format!("{e:#}"))
}

#[test]
fn defaults_are_complete_and_agree_with_the_crates_below() {
    let config = load(Inputs::default()).unwrap().config;
    let engine = crate::start::options(&config);
    let known = engine::Options::default();
    assert_eq!(format!("{engine:?}"), format!("{known:?}"));

    let listen = config.server.listen.parse().unwrap();
    let api = crate::start::web::options(&config, listen, String::new());
    assert_eq!(format!("{api:?}"), format!("{:?}", api::Options::default()));

    let tables = readmodel::embedded::Options::new("x");
    assert_eq!(config.readmodel.cache_bytes, tables.cache_bytes);
    assert_eq!(config.readmodel.memtable_bytes, tables.memtable_bytes);
    assert_eq!(config.readmodel.journal_bytes_max, tables.journal_bytes_max);
    let log = eventlog::embedded::Options::new("x", "t", 1);
    assert_eq!(config.log.segment_bytes, log.segment_bytes);
    assert_eq!(config.log.disk_reserve_bytes, log.disk_reserve_bytes);
    assert_eq!(config.log.ring_bytes, log.ring_bytes);
}

#[test]
fn a_later_source_wins() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("headwater.toml");
    std::fs::write(&path, "[server]\npage_max = 10\nworkers = 3\nlisten = \"a:1\"\n").unwrap();
    let flag = |value: &str| Flag {
        name: "--listen",
        section: "server",
        key: "listen",
        value: Value::String(value.to_owned()),
    };
    let loaded = load(Inputs {
        file: Some(path.clone()),
        env: env(&[("HEADWATER__SERVER__WORKERS", "5"), ("HEADWATER__SERVER__LISTEN", "b:2")]),
        flags: vec![flag("c:3")],
    })
    .unwrap();
    let server = &loaded.config.server;
    assert_eq!((server.page_max, server.workers, server.listen.as_str()), (10, 5, "c:3"));

    let shown = loaded.to_toml();
    for line in [
        format!("page_max = 10  # {}", path.display()),
        "workers = 5  # HEADWATER__SERVER__WORKERS".to_owned(),
        "listen = \"c:3\"  # --listen".to_owned(),
        "partitions = 4  # default".to_owned(),
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line:?} is not in\n{shown}");
    }
    // What is shown is a configuration file again.
    let again = with_file(&shown).unwrap();
    assert_eq!(again.config, loaded.config);
}

#[test]
fn unknown_keys_are_named() {
    let refused = |text: &str| with_file(text).unwrap_err();
    assert!(refused("[log]\nfsink = true\n").starts_with("unknown key `log.fsink` in "));
    assert!(refused("[lok]\nfsync = true\n").starts_with("unknown key `lok.fsync` in "));
    assert!(refused("fsync = true\n").starts_with("unknown key `fsync` in "));
    let refused = |name: &str| with_env(&[(name, "1")]).unwrap_err();
    let key = "unknown key `log.fsink` in HEADWATER__LOG__FSINK";
    assert_eq!(refused("HEADWATER__LOG__FSINK"), key);
    assert_eq!(refused("HEADWATER__LOG"), "unknown key `log` in HEADWATER__LOG");
    assert!(with_env(&[("HEADWATER_ADMIN_KEY", "x"), ("PATH", "/bin")]).is_ok());
}

#[test]
fn values_of_another_type_are_refused() {
    let refused = with_env(&[("HEADWATER__LOG__PARTITIONS", "four")]).unwrap_err();
    assert!(refused.contains("`log.partitions`"), "{refused}");
    let refused = with_env(&[("HEADWATER__LOG__FSYNC", "yes")]).unwrap_err();
    assert!(refused.contains("must be of type boolean"), "{refused}");
    let refused = with_env(&[("HEADWATER__LOG__PARTITIONS", "-1")]).unwrap_err();
    assert!(refused.contains("negative"), "{refused}");
    let refused = with_env(&[("HEADWATER__LOGGING__FORMAT", "xml")]).unwrap_err();
    assert!(refused.contains("xml"), "{refused}");
    assert!(with_env(&[("HEADWATER__LOG__PARTITIONS", "16")]).is_ok());
    assert!(with_env(&[("HEADWATER__LOG__SEGMENT_BYTES", "1_048_576")]).is_ok());
}

#[test]
fn values_at_odds_are_refused() {
    let all: &[(&[(&str, &str)], &str)] = &[
        (&[("HEADWATER__SERVER__BODY_BYTES_MAX", "1048576")], "server.body_bytes_max"),
        (&[("HEADWATER__SERVER__PAGE_MAX", "0")], "server.page_max"),
        (&[("HEADWATER__SERVER__LISTEN", "8080")], "server.listen"),
        (&[("HEADWATER__LOG__PARTITIONS", "0")], "log.partitions"),
        (&[("HEADWATER__LOG__RETENTION_BYTES", "1")], "log.retention_bytes"),
        (&[("HEADWATER__LOG__RETENTION_S", "3600")], "log.retention_s"),
        (&[("HEADWATER__LOG__DISK_RESERVE_BYTES", "1")], "log.disk_reserve_bytes"),
        (&[("HEADWATER__LOG__URL", "memory:")], "log.url"),
        (&[("HEADWATER__LOG__URL", "kafka://x")], "log.url"),
        (&[("HEADWATER__READMODEL__URL", "data")], "readmodel.url"),
        (&[("HEADWATER__ENGINE__DOCUMENT_BYTES_MAX", "2097152")], "engine.document_bytes_max"),
        (&[("HEADWATER__ENGINE__BATCH_COMMANDS_MAX", "5000")], "engine.batch_commands_max"),
        (&[("HEADWATER__REALTIME__HEARTBEAT_S", "61")], "realtime.heartbeat_s"),
        (&[("HEADWATER__REALTIME__PACE_MAX_MS", "0")], "realtime.pace_each_us"),
        (&[("HEADWATER__LOGGING__LEVEL", "loud,=")], "logging.level"),
    ];
    for (pairs, key) in all {
        let refused = with_env(pairs).unwrap_err();
        assert!(refused.contains(key), "{refused}");
    }
    let memory = [("HEADWATER__LOG__URL", "memory:"), ("HEADWATER__READMODEL__URL", "memory:")];
    assert!(with_env(&memory).is_ok());
}

#[test]
fn what_nodes_share_must_fit_them_all() {
    let shared = |more: &[(&str, &str)]| {
        let urls = [
            ("HEADWATER__LOG__URL", "kafka://a:9092/events"),
            ("HEADWATER__READMODEL__URL", "scylla://b:9042/tables"),
        ];
        with_env(&[&urls, more].concat())
    };
    assert!(shared(&[]).is_ok());
    assert!(shared(&[("HEADWATER__ENGINE__IDEMPOTENCY_S", "60")]).is_ok());
    for idempotency in [
        &[("HEADWATER__ENGINE__IDEMPOTENCY_S", "59")][..],
        &[("HEADWATER__ENGINE__IDEMPOTENCY_S", "60"), ("HEADWATER__ENGINE__WRITE_WAIT_S", "61")],
    ] {
        let refused = shared(idempotency).unwrap_err();
        assert!(refused.contains("engine.idempotency_s"), "{refused}");
        assert!(with_env(idempotency).is_ok(), "one node alone repeats nothing");
    }
    let advertised = |address| shared(&[("HEADWATER__CLUSTER__ADVERTISE", address)]);
    for good in ["http://node-1:8080", "http://10.0.0.1:80/", "http://[::1]:8080"] {
        assert!(advertised(good).is_ok(), "{good}");
    }
    for bad in [
        "node-1:8080",
        "https://node-1:8080",
        "http://",
        "http://node-1",
        "http://:8080",
        "http://node-1:0",
        "http://node-1:x",
        "http://::1:8080",
        "http://node-1:8080/path",
        "http://a@node-1:8080",
    ] {
        let refused = advertised(bad).unwrap_err();
        assert!(refused.contains("cluster.advertise"), "{refused}");
    }
    let refused = shared(&[("HEADWATER__SERVER__LISTEN", "0.0.0.0:8080")]).unwrap_err();
    assert!(refused.contains("cluster.advertise"), "{refused}");
}

#[test]
fn storage_urls() {
    let folder = |path: &str| Some(Location::Folder(path.into()));
    assert_eq!(Location::parse("memory:"), Some(Location::Memory));
    assert_eq!(Location::parse("file:data/log"), folder("data/log"));
    assert_eq!(Location::parse("file:/var/lib/h"), folder("/var/lib/h"));
    assert_eq!(Location::parse("file:///var/lib/h"), folder("/var/lib/h"));
    for bad in ["", "file:", "memory:x", "data/log", "s3://x"] {
        assert_eq!(Location::parse(bad), None, "{bad}");
    }
}

/// The schema of a file: every key may be left out, and then has its default.
fn schema() -> serde_json::Value {
    let mut schema = serde_json::to_value(schemars::schema_for!(super::Config)).unwrap();
    let defaults: toml::Table = super::source::DEFAULTS.parse().unwrap();
    schema.as_object_mut().unwrap().remove("required");
    for (section, values) in defaults {
        let reference = schema["properties"][&section]["$ref"].as_str().unwrap().to_owned();
        let definition = schema.pointer_mut(reference.strip_prefix('#').unwrap()).unwrap();
        definition.as_object_mut().unwrap().remove("required");
        for (key, value) in values.as_table().unwrap() {
            definition["properties"][key]["default"] = serde_json::to_value(value).unwrap();
        }
    }
    schema
}

#[test]
fn published_schema_does_not_drift() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/config.json");
    let text = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
    match std::fs::read_to_string(&path) {
        Ok(stored) => {
            assert_eq!(stored, text, "{} has drifted: delete it and test again", path.display());
        }
        Err(_) => {
            std::fs::write(&path, text).unwrap();
            panic!("{} was new and has been written: review and commit it", path.display());
        }
    }
}
