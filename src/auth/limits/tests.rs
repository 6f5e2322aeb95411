use std::net::IpAddr;

use governor::clock::FakeRelativeClock;
use proptest::prelude::*;

use super::*;

fn limits(options: &Options) -> (Limits<FakeRelativeClock>, FakeRelativeClock) {
    let clock = FakeRelativeClock::default();
    (Limits::with_clock(options, &clock), clock)
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// How many tries of `tries` pass at once.
fn passing<'a>(
    limits: &Limits<FakeRelativeClock>,
    class: Class,
    key: impl Into<Key<'a>> + Copy,
    tries: usize,
) -> usize {
    (0..tries).filter(|_| limits.check(class, key).is_ok()).count()
}

#[test]
fn the_defaults_are_as_they_say() {
    let (limits, clock) = limits(&Options::default());
    for (class, burst, interval_seconds) in [
        (Class::SignInPerAddress, 30, 2),
        (Class::SignInPerIdentity, 10, 6),
        (Class::SignUpPerAddress, 30, 120),
        (Class::MessagePerRecipient, 3, 720),
        (Class::MessagePerAddress, 30, 120),
        (Class::RefreshPerSession, 60, 1),
    ] {
        assert_eq!(passing(&limits, class, "somebody", 100), burst, "{class:?}");
        let wait = limits.check(class, "somebody").unwrap_err();
        assert_eq!(wait.seconds(), interval_seconds, "{class:?}");
        clock.advance(wait.0);
        assert_eq!(passing(&limits, class, "somebody", 100), 1, "{class:?}");
        clock.advance(Duration::from_secs(interval_seconds * 5));
        assert_eq!(passing(&limits, class, "somebody", 100), burst.min(5), "{class:?}");
        assert_eq!(passing(&limits, class, "somebody else", 100), burst, "{class:?}");
    }
}

#[test]
fn an_ipv6_customer_counts_as_one() {
    let (limits, _) = limits(&Options::default());
    let class = Class::SignInPerAddress;
    assert_eq!(passing(&limits, class, address("2001:db8:1:2::1"), 30), 30);
    assert!(limits.check(class, address("2001:db8:1:2:ffff:ffff:ffff:ffff")).is_err());
    assert!(limits.check(class, address("2001:db8:1:3::1")).is_ok());
    assert_eq!(passing(&limits, class, address("192.0.2.1"), 30), 30);
    assert!(limits.check(class, address("::ffff:192.0.2.1")).is_err());
    assert!(limits.check(class, address("192.0.2.2")).is_ok());
}

#[test]
fn no_count_is_no_limit() {
    let options = Options { sign_in_per_address: Rate::new(0, 60, 1), ..Options::default() };
    let (limits, _) = limits(&options);
    assert_eq!(passing(&limits, Class::SignInPerAddress, "a", 1_000), 1_000);
}

#[test]
fn odd_rates_are_borne() {
    for rate in [Rate::new(u32::MAX, 0, 0), Rate::new(1, u32::MAX, u32::MAX)] {
        let options = Options { sign_in_per_address: rate, ..Options::default() };
        assert!(limits(&options).0.check(Class::SignInPerAddress, "a").is_ok());
    }
}

#[test]
fn those_who_find_no_room_share_one_rate_until_there_is_some() {
    let (limits, clock) = limits(&Options { keys_max: 3, ..Options::default() });
    let class = Class::SignInPerIdentity;
    clock.advance(Duration::from_secs(10));
    for key in ["a", "b", "c"] {
        assert_eq!(passing(&limits, class, key, 5), 5);
    }
    let rest: usize =
        (0..100).map(|number| passing(&limits, class, number.to_string().as_str(), 1)).sum();
    assert_eq!((rest, limits.keys()), (10, 3));
    // Those who have room are not touched by the crowd.
    assert_eq!(passing(&limits, class, "a", 10), 5);
    // Once they are as good as new, there is room again.
    clock.advance(Duration::from_secs(67));
    assert_eq!(passing(&limits, class, "late", 20), 10);
    assert_eq!(limits.keys(), 1);
}

#[test]
fn a_sweep_forgets_who_rests_and_nobody_else() {
    let (limits, clock) = limits(&Options::default());
    let class = Class::SignInPerIdentity;
    clock.advance(Duration::from_secs(10));
    passing(&limits, class, "a", 10);
    clock.advance(Duration::from_secs(59));
    passing(&limits, class, "b", 10);
    limits.sweep();
    assert_eq!(limits.keys(), 2);
    clock.advance(Duration::from_secs(8));
    limits.sweep();
    assert_eq!(limits.keys(), 1);
    assert_eq!(passing(&limits, class, "b", 10), 1, "what eight seconds give");
}

proptest! {
    /// Over any time, no key gets more than its burst and what its rate gave meanwhile; and
    /// whoever waits as told gets through.
    #[test]
    fn the_rate_is_kept(waits_ms in prop::collection::vec(0_u64..20_000, 1..200)) {
        let (limits, clock) = limits(&Options::default());
        let (mut passed, mut elapsed) = (0, 0);
        for wait in waits_ms {
            clock.advance(Duration::from_millis(wait));
            elapsed += wait;
            if let Err(RetryAfter(more)) = limits.check(Class::SignInPerIdentity, "a") {
                prop_assert!(more > Duration::ZERO && more <= Duration::from_secs(6));
                clock.advance(more);
                elapsed += u64::try_from(more.as_millis()).unwrap() + 1;
                prop_assert!(limits.check(Class::SignInPerIdentity, "a").is_ok());
            }
            passed += 1;
            prop_assert!(passed <= 10 + elapsed / 6_000, "{passed} in {elapsed} ms");
        }
    }

    #[test]
    fn memory_is_bounded(keys in prop::collection::vec("[a-z]{1,3}", 1..300)) {
        let (limits, clock) = limits(&Options { keys_max: 20, ..Options::default() });
        for key in &keys {
            clock.advance(Duration::from_millis(100));
            let _ = limits.check(Class::MessagePerAddress, key.as_str());
            prop_assert!(limits.keys() <= 20);
        }
    }
}
