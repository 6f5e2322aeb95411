use std::time::Instant;

use super::*;

fn cheap() -> Options {
    Options { memory_kib: 64, passes: 1, ..Options::default() }
}

fn hasher(options: &Options) -> Hasher {
    Hasher::new(options).unwrap()
}

#[tokio::test]
async fn a_password_is_known_again_and_no_other_is() {
    let hasher = hasher(&cheap());
    let stored = hasher.hash("correct horse").await.unwrap();
    assert!(stored.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{stored}");
    assert_eq!(hasher.verify("correct horse", Some(&stored)).await, Ok(true));
    for other in ["correct hors", "Correct horse", "", &"x".repeat(PASSWORD_BYTES_MAX + 1)] {
        assert_eq!(hasher.verify(other, Some(&stored)).await, Ok(false), "{other}");
    }
    assert_ne!(hasher.hash("correct horse").await.unwrap(), stored, "every hash has its own salt");
}

#[tokio::test]
async fn the_default_is_what_it_says() {
    let hasher = hasher(&Options::default());
    let stored = hasher.hash("a").await.unwrap();
    assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
    assert!(!hasher.needs_rehash(&stored));
}

/// `argon2id` of the reference implementation (`echo -n password | argon2 somesalt -id -t 2 -k
/// 65536 -p 1`), from its test suite.
#[tokio::test]
async fn a_hash_of_the_reference_implementation_is_understood() {
    let stored = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ\
                  $CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
    let hasher = hasher(&cheap());
    assert_eq!(hasher.verify("password", Some(stored)).await, Ok(true));
    assert_eq!(hasher.verify("passwore", Some(stored)).await, Ok(false));
    assert!(hasher.needs_rehash(stored));
}

#[tokio::test]
async fn keyboards_do_not_matter() {
    let hasher = hasher(&cheap());
    // The same characters, composed and decomposed, and in full width.
    let stored = hasher.hash("M\u{fc}llerA1").await.unwrap();
    assert_eq!(hasher.verify("Mu\u{308}llerA1", Some(&stored)).await, Ok(true));
    assert_eq!(hasher.verify("M\u{fc}ller\u{ff21}\u{ff11}", Some(&stored)).await, Ok(true));
    assert_eq!(hasher.verify("MullerA1", Some(&stored)).await, Ok(false));
}

#[tokio::test]
async fn nobody_has_no_password_but_takes_as_long() {
    let options = Options { memory_kib: 8_192, passes: 4, ..Options::default() };
    let hasher = hasher(&options);
    let stored = hasher.hash("password").await.unwrap();
    let mut known = Duration::MAX;
    let mut unknown = Duration::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        assert_eq!(hasher.verify("wrong", Some(&stored)).await, Ok(false));
        known = known.min(start.elapsed());
        let start = Instant::now();
        assert_eq!(hasher.verify("wrong", None).await, Ok(false));
        unknown = unknown.min(start.elapsed());
    }
    // Without any work it would be thousands of times faster.
    assert!(unknown * 4 > known, "{unknown:?} against {known:?}");
}

#[tokio::test]
async fn what_is_no_hash_or_asks_too_much_is_of_no_password() {
    let hasher = hasher(&cheap());
    for stored in [
        "",
        "password",
        "$argon2id$v=19$m=64,t=1,p=1",
        "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ",
        "$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        "$argon2id$v=19$m=64,t=1000,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        "$2b$12$EXRkfkdmXn2gzds2SSitu.MW9.gAVqa9eLS1//RYtYCmB1eLHg.9q",
        "$scrypt$ln=1,r=8,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
    ] {
        assert_eq!(hasher.verify("password", Some(stored)).await, Ok(false), "{stored}");
        assert!(hasher.needs_rehash(stored), "{stored}");
    }
}

#[tokio::test]
async fn other_costs_call_for_a_new_hash() {
    let stored = hasher(&cheap()).hash("password").await.unwrap();
    assert!(!hasher(&cheap()).needs_rehash(&stored));
    assert!(hasher(&Options { memory_kib: 128, ..cheap() }).needs_rehash(&stored));
    assert!(hasher(&Options { passes: 2, ..cheap() }).needs_rehash(&stored));
    assert!(hasher(&cheap()).needs_rehash(&stored.replace("argon2id", "argon2i")));
}

#[tokio::test]
async fn too_long_is_not_hashed() {
    let hasher = hasher(&cheap());
    assert_eq!(hasher.hash(&"x".repeat(PASSWORD_BYTES_MAX + 1)).await, Err(Error::TooLong));
    assert!(hasher.hash(&"x".repeat(PASSWORD_BYTES_MAX)).await.is_ok());
}

#[test]
fn senseless_options_are_refused() {
    for options in [
        Options { memory_kib: 1, ..Options::default() },
        Options { memory_kib: u32::MAX, ..Options::default() },
        Options { passes: 0, ..Options::default() },
        Options { passes: 1_000, ..Options::default() },
        Options { lanes: 0, ..Options::default() },
    ] {
        assert!(Hasher::new(&options).is_err(), "{options:?}");
    }
}

#[tokio::test]
async fn who_waits_too_long_is_told_so() {
    let options = Options { concurrent_max: 1, wait_ms_max: 20, ..cheap() };
    let hasher = hasher(&options);
    let (release, held) = std::sync::mpsc::sync_channel::<()>(0);
    let other = hasher.clone();
    let first = tokio::spawn(async move { other.work(move || held.recv().is_ok()).await });
    while hasher.working.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(hasher.verify("a", None).await, Err(Busy));
    assert_eq!(hasher.hash("a").await, Err(Error::Busy(Busy)));
    release.send(()).unwrap();
    assert_eq!(first.await.unwrap(), Ok(true));
    assert_eq!(hasher.verify("a", None).await, Ok(false));
}

#[tokio::test]
async fn work_whose_caller_has_left_keeps_its_turn() {
    let hasher = hasher(&Options { concurrent_max: 1, wait_ms_max: 20, ..cheap() });
    let (release, held) = std::sync::mpsc::sync_channel::<()>(0);
    let other = hasher.clone();
    let first = tokio::spawn(async move { other.work(move || held.recv().is_ok()).await });
    while hasher.working.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    assert_eq!(hasher.verify("a", None).await, Err(Busy));
    release.send(()).unwrap();
}

#[tokio::test]
async fn the_queue_has_an_end() {
    let hasher = hasher(&Options { concurrent_max: 1, wait_ms_max: 60_000, ..cheap() });
    let all = hasher.admitted.clone().acquire_many_owned(1 + WAITING_PER_WORKER as u32);
    let all = all.await.unwrap();
    assert_eq!(hasher.verify("a", None).await, Err(Busy));
    drop(all);
    assert_eq!(hasher.verify("a", None).await, Ok(false));
}

/// `cargo test -p auth --release -- --ignored --nocapture figures_password`
#[tokio::test]
#[ignore = "prints figures"]
async fn figures_password() {
    let hasher = hasher(&Options::default());
    let count = 40;
    let start = Instant::now();
    let mut stored = String::new();
    for _ in 0..count {
        stored = hasher.hash("correct horse battery staple").await.unwrap();
    }
    println!("argon2 hash: {:.1} ms", start.elapsed().as_secs_f64() * 1e3 / f64::from(count));
    let start = Instant::now();
    for _ in 0..count {
        assert!(hasher.verify("correct horse battery staple", Some(&stored)).await.unwrap());
    }
    println!("argon2 verify: {:.1} ms", start.elapsed().as_secs_f64() * 1e3 / f64::from(count));
}
