//! Holds what a new topic gets to what every start asks of it; without a broker.

use super::*;

fn found(brokers: usize, copies: i16) -> Found {
    let brokers: Vec<i32> = (1..).take(brokers).collect();
    let replicas = brokers.iter().copied().take(copies as usize).collect();
    Found { brokers, partitions: vec![replicas] }
}

fn checked(options: &Options, brokers: usize, copies: i16, min_insync: u16) -> Result<bool, Error> {
    let configs = [("min.insync.replicas".to_owned(), min_insync.to_string())].into();
    check_replicas(options, &found(brokers, copies), &configs)
}

#[test]
fn a_topic_made_by_default_is_not_refused() {
    let options = Options::new("127.0.0.1:1", "t", 1);
    for (brokers, wanted) in [(1, (1, 1)), (2, (2, 2)), (3, (3, 2)), (5, (3, 2))] {
        let (copies, min_insync) = replicas(&options, brokers);
        assert_eq!((copies, min_insync), wanted, "{brokers} brokers");
        let replicated = checked(&options, brokers, copies, min_insync).unwrap();
        assert_eq!(replicated, brokers > 1, "{brokers} brokers");
    }
}

#[test]
fn what_is_configured_comes_before() {
    let options = |copies, min_insync| Options {
        replication: Some(copies),
        min_insync,
        ..Options::new("127.0.0.1:1", "t", 1)
    };
    assert_eq!(replicas(&options(5, None), 7), (5, 2));
    assert_eq!(replicas(&options(5, Some(3)), 7), (5, 3));
    assert_eq!(replicas(&options(1, None), 3), (1, 1));
}

#[test]
fn too_few_copies_are_refused() {
    let mut options = Options::new("127.0.0.1:1", "t", 1);
    for (brokers, copies, min_insync) in [(3, 3, 1), (2, 2, 1), (3, 2, 3), (2, 1, 1)] {
        let refused = checked(&options, brokers, copies, min_insync).unwrap_err().to_string();
        assert!(refused.contains("To mend it: "), "{refused}");
    }
    options.allow_single_replica = true;
    assert!(!checked(&options, 2, 1, 1).unwrap(), "one copy is not replicated");
}

#[test]
fn no_value_of_a_property_is_shown() {
    let mut options = Options::new("127.0.0.1:1", "t", 1);
    options.properties.insert("sasl.password".to_owned(), "open sesame".to_owned());
    let shown = format!("{options:?}");
    assert!(shown.contains("sasl.password") && !shown.contains("sesame"), "{shown}");
}
