//! Who may open a topic, and what a clean end saves.

use super::*;

#[tokio::test]
async fn a_second_opener_is_refused() {
    let folder = folder();
    let options = options(folder.path());
    let log = open(&options).unwrap();
    assert!(matches!(open(&options), Err(Error::Open { .. })));
    let topic = folder.path().join("t");
    assert!(matches!(
        crate::embedded::verify::verify(&topic, &mut |_| ()),
        Err(Error::Open { .. })
    ));
    append(&log, 1).await.unwrap();
    drop(log);
    assert_eq!(open(&options).unwrap().end(P0), 1);
}

#[test]
fn what_does_not_fit_is_refused() {
    let folder = folder();
    let good = options(folder.path());
    drop(open(&good).unwrap());
    let refused = |options: &Options| matches!(open(options), Err(Error::Open { .. }));
    assert!(refused(&Options { partitions: 2, ..good.clone() }));
    assert!(refused(&Options { partitions: 0, ..good.clone() }));
    assert!(refused(&Options { topic: "../t".to_owned(), ..good.clone() }));
    let description = folder.path().join("t/topic.json");
    let text = std::fs::read_to_string(&description).unwrap();
    std::fs::write(&description, text.replace("\"format\":1", "\"format\":2")).unwrap();
    assert!(refused(&good));
    std::fs::remove_file(&description).unwrap();
    // Nothing was written yet: it is made anew.
    drop(open(&good).unwrap());
}

#[tokio::test]
async fn events_without_a_topic_file_are_not_overwritten() {
    let folder = folder();
    let options = options(folder.path());
    append(&open(&options).unwrap(), 1).await.unwrap();
    std::fs::remove_file(folder.path().join("t/topic.json")).unwrap();
    assert!(matches!(open(&options), Err(Error::Open { .. })));
}

#[tokio::test]
async fn after_a_clean_end_nothing_is_scanned() {
    let folder = folder();
    let mut options = options(folder.path());
    options.segment_bytes = 1 << 20;
    let log = open(&options).unwrap();
    for _ in 0..20 {
        append(&log, 3).await.unwrap();
    }
    log.close().await.unwrap();
    drop(log);
    let snapshot = Snapshot::take(folder.path());
    let spot = &spots(&snapshot)[30];
    let mut bytes = snapshot.0[&spot.file].clone();
    bytes[spot.bytes.start + 45] ^= 1;
    std::fs::write(&spot.file, bytes).unwrap();
    // Only the last batch is looked at, so the damage shows when it is read.
    let log = open(&options).unwrap();
    assert_eq!(log.end(P0), 60);
    append(&log, 1).await.unwrap();
    assert_eq!(log.read(P0, 59, ALL).await.unwrap().events.len(), 2);
    let (events, error) = read_all(&log, 0).await;
    assert_eq!(events.len(), 30);
    assert!(matches!(error, Some(Error::Corrupt { offset: 30, .. })), "{error:?}");
}

#[tokio::test]
async fn metrics_follow_the_log() {
    let folder = folder();
    let options = options(folder.path());
    let registry = Registry::new();
    let metrics = Metrics::new(&registry).unwrap();
    assert!(Metrics::new(&registry).is_err(), "twice in one registry");
    let log = Log::open(options.clone(), &metrics).unwrap();
    for _ in 0..5 {
        append(&log, 5).await.unwrap();
    }
    let value = |name: &str| {
        let families = registry.gather();
        let family = families.iter().find(|f| f.name() == name).unwrap_or_else(|| panic!("{name}"));
        let metric = &family.get_metric()[0];
        let whole = metric.get_histogram().get_sample_count() as f64;
        metric.get_gauge().get_value() + metric.get_counter().get_value() + whole
    };
    let on_disk = || -> usize {
        Snapshot::take(folder.path()).ending(".log").iter().map(|(_, bytes)| bytes.len()).sum()
    };
    assert_eq!(value("headwater_log_append_events_total"), 25.0);
    assert_eq!(value("headwater_log_append_seconds"), 5.0);
    assert_eq!(value("headwater_log_append_bytes_total"), on_disk() as f64);
    assert_eq!(value("headwater_log_bytes"), on_disk() as f64);
    assert_eq!(value("headwater_log_segments"), 5.0);
    drop(log);
    assert_eq!(value("headwater_log_bytes"), 0.0);
    let retention = crate::Retention { bytes_max: Some(0), seconds_max: None };
    let log = Log::open(Options { retention, ..options }, &metrics).unwrap();
    assert_eq!(value("headwater_log_bytes"), on_disk() as f64);
    log.trim(P0, conformance::second(0)).await.unwrap();
    assert_eq!(value("headwater_log_bytes"), on_disk() as f64);
    assert_eq!(value("headwater_log_segments"), 1.0);
}
