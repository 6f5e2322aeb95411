//! Whole ceremonies with the authenticator for tests, and every lie that one may tell.

use domain::Timestamp;
use domain::sign_in::Passkeys;
use serde::Serialize;
use serde_json::{Value, json};

use crate::authenticator::{AT, Authenticator, BE, BS, ED, PrivateKey, UP, UV, bytes};
use crate::*;

pub(crate) const NOW: i64 = 1_800_000_000_000_000;
const SECOND: i64 = 1_000_000;

pub(crate) fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

pub(crate) fn passkeys() -> Passkeys {
    Passkeys {
        enabled: true,
        rp_id: "app.example".into(),
        rp_name: "App".into(),
        origins: vec!["https://www.app.example".into(), "https://app.example".into()],
    }
}

pub(crate) const USER: User<'static> =
    User { handle: b"user-1", name: "ada@app.example", display_name: "Ada" };

pub(crate) fn value(from: impl Serialize) -> Value {
    serde_json::to_value(from).unwrap()
}

/// Makes a passkey after `change`.
pub(crate) fn register(
    device: &mut Authenticator,
    verification: UserVerification,
    change: impl FnOnce(&mut Value),
) -> Result<Credential, Error> {
    let passkeys = passkeys();
    let rp = RelyingParty::new(&passkeys).unwrap();
    let (options, state) = begin_registration(&rp, &USER, &[], verification, at(NOW))?;
    let mut answer = device.create(&value(options));
    change(&mut answer);
    finish_registration(&rp, &state, answer.to_string().as_bytes(), at(NOW + SECOND))
}

/// Signs in after `change`.
pub(crate) fn sign_in(
    device: &mut Authenticator,
    credential: &Credential,
    allow: &[CredentialId],
    change: impl FnOnce(&mut Value),
) -> Result<SignedIn, Error> {
    let passkeys = passkeys();
    let rp = RelyingParty::new(&passkeys).unwrap();
    let verification = UserVerification::Preferred;
    let (options, state) = begin_sign_in(&rp, allow, verification, at(NOW))?;
    let mut answer = device.get(&value(options));
    change(&mut answer);
    let answer = answer.to_string();
    finish_sign_in(&rp, &state, credential, answer.as_bytes(), at(NOW + SECOND))
}

pub(crate) fn same(_: &mut Value) {}

fn registered() -> (Authenticator, Credential) {
    let mut device = Authenticator::new(PrivateKey::es256());
    let credential = register(&mut device, UserVerification::Required, same).unwrap();
    (device, credential)
}

#[test]
fn every_algorithm_registers_and_signs_in() {
    for key in PrivateKey::all() {
        let mut device = Authenticator::new(key);
        let credential = register(&mut device, UserVerification::Required, same).unwrap();
        assert_eq!(credential.id.as_bytes(), [7; 16]);
        assert_eq!(credential.user_handle, b"user-1");
        assert_eq!(credential.public_key.as_bytes(), device.cose);
        assert_eq!(credential.transports, ["hybrid", "internal"]);
        assert_eq!(credential.aaguid.as_bytes(), &[9; 16]);
        assert_eq!(credential.created_at, at(NOW + SECOND));
        assert!(credential.backup_eligible && credential.backup_state);
        assert!(credential.user_verified);
        let kept: Credential = serde_json::from_value(value(&credential)).unwrap();
        assert_eq!(kept, credential);
        device.count = 2;
        device.flags = UP | BE;
        let shown = SignedIn { sign_count: 2, user_verified: false, backed_up: false };
        assert_eq!(sign_in(&mut device, &kept, &[], same), Ok(shown));
        assert_eq!(sign_in(&mut device, &kept, std::slice::from_ref(&kept.id), same), Ok(shown));
    }
}

#[test]
fn a_key_verifies_nothing_but_its_own() {
    let [one, two, three] = PrivateKey::all().map(Authenticator::new);
    let credentials = [one, two, three].map(|mut device| {
        let credential = register(&mut device, UserVerification::Required, same).unwrap();
        (device, credential)
    });
    let [(mut one, _), (mut two, of_two), (mut three, of_three)] = credentials;
    for (device, credential) in [(&mut one, &of_two), (&mut two, &of_three), (&mut three, &of_two)]
    {
        device.count = 2;
        assert_eq!(sign_in(device, credential, &[], same), Err(Error::BadSignature));
    }
}

#[test]
fn options_are_what_browsers_parse() {
    let passkeys = passkeys();
    let rp = RelyingParty::new(&passkeys).unwrap();
    let id = CredentialId::try_from(vec![1, 2, 3]).unwrap();
    let named = std::slice::from_ref(&id);
    let required = UserVerification::Required;
    let (options, state) = begin_registration(&rp, &USER, named, required, at(NOW)).unwrap();
    let mut options = value(options);
    let challenge = options["challenge"].take();
    assert_eq!(base64url::decode(challenge.as_str().unwrap()).unwrap().len(), 32);
    assert_eq!(
        options,
        json!({
            "rp": {"id": "app.example", "name": "App"},
            "user": {"id": "dXNlci0x", "name": "ada@app.example", "displayName": "Ada"},
            "challenge": null,
            "pubKeyCredParams": [
                {"type": "public-key", "alg": -7},
                {"type": "public-key", "alg": -8},
                {"type": "public-key", "alg": -257},
            ],
            "timeout": 300_000,
            "excludeCredentials": [{"type": "public-key", "id": "AQID"}],
            "authenticatorSelection": {
                "residentKey": "required",
                "requireResidentKey": true,
                "userVerification": "required",
            },
            "attestation": "none",
        })
    );
    let kept: RegistrationState = serde_json::from_value(value(&state)).unwrap();
    assert_eq!(kept, state);
    assert_eq!((state.user_handle(), state.expires_at()), (USER.handle, at(NOW + 300 * SECOND)));

    let discouraged = UserVerification::Discouraged;
    let (options, state) = begin_sign_in(&rp, named, discouraged, at(NOW)).unwrap();
    let mut options = value(options);
    assert_ne!(options["challenge"].take(), challenge);
    assert_eq!(
        options,
        json!({
            "challenge": null,
            "timeout": 300_000,
            "rpId": "app.example",
            "allowCredentials": [{"type": "public-key", "id": "AQID"}],
            "userVerification": "discouraged",
        })
    );
    let kept: SignInState = serde_json::from_value(value(&state)).unwrap();
    assert_eq!(kept, state);
    assert_eq!(state.expires_at(), at(NOW + 300 * SECOND));
}

#[test]
fn what_is_asked_for_has_limits() {
    let passkeys = passkeys();
    let rp = RelyingParty::new(&passkeys).unwrap();
    let begin = |user: User<'_>, exclude: &[CredentialId]| {
        begin_registration(&rp, &user, exclude, UserVerification::Preferred, at(NOW)).map(|_| ())
    };
    let long = "x".repeat(321);
    let wrong = [
        User { handle: &[], ..USER },
        User { handle: &[1; 65], ..USER },
        User { name: "", ..USER },
        User { name: &long, ..USER },
        User { display_name: &long, ..USER },
    ];
    for user in wrong {
        assert_eq!(begin(user, &[]), Err(Error::InvalidUser), "{user:?}");
    }
    assert_eq!(begin(User { handle: &[1; 64], display_name: "", ..USER }, &[]), Ok(()));
    let ids = vec![CredentialId::try_from(vec![1]).unwrap(); 65];
    assert_eq!(begin(USER, &ids[1..]), Ok(()));
    assert_eq!(begin(USER, &ids), Err(Error::TooManyCredentials));
    let begun = begin_sign_in(&rp, &ids, UserVerification::Preferred, at(NOW));
    assert_eq!(begun.map(|_| ()), Err(Error::TooManyCredentials));
    assert!(CredentialId::try_from(vec![]).is_err());
    assert!(CredentialId::try_from(vec![0; 1024]).is_err());
    let id = CredentialId::try_from(vec![0xff; 1023]).unwrap();
    assert_eq!(id.to_string().parse(), Ok(id.clone()));
    assert_eq!(serde_json::from_value::<CredentialId>(value(&id)).unwrap(), id);
    for text in ["\"\"", "\"AQ==\"", "\"AR\"", "\"A\"", "\"+/8\"", "1"] {
        assert!(serde_json::from_str::<CredentialId>(text).is_err(), "{text}");
    }
}

#[test]
fn a_challenge_ends_after_five_minutes() {
    let (mut device, credential) = registered();
    let passkeys = passkeys();
    let rp = RelyingParty::new(&passkeys).unwrap();
    let verification = UserVerification::Preferred;
    let (options, state) = begin_registration(&rp, &USER, &[], verification, at(NOW)).unwrap();
    let answer = device.create(&value(options)).to_string();
    let finish = |now| finish_registration(&rp, &state, answer.as_bytes(), at(now)).map(|_| ());
    assert_eq!(finish(NOW + 300 * SECOND - 1), Ok(()));
    assert_eq!(finish(NOW + 300 * SECOND), Err(Error::Expired));

    let (options, state) = begin_sign_in(&rp, &[], verification, at(NOW)).unwrap();
    device.count = 5;
    let answer = device.get(&value(options)).to_string();
    let finish = |now| finish_sign_in(&rp, &state, &credential, answer.as_bytes(), at(now));
    assert_eq!(finish(NOW + 300 * SECOND - 1).map(|_| ()), Ok(()));
    assert_eq!(finish(NOW + 300 * SECOND), Err(Error::Expired));
}

/// A lie, and what it must be met with.
type Lie = (fn(&mut Authenticator), Error);

/// Lies that are told in both ceremonies.
const LIES: [Lie; 9] = [
    (|device| device.page.origin = "https://evil.example".into(), Error::WrongOrigin),
    (|device| device.page.origin = "https://app.example:8443".into(), Error::WrongOrigin),
    (|device| device.page.cross_origin = Some(true), Error::CrossOrigin),
    (|device| device.page.top_origin = Some("https://app.example".into()), Error::CrossOrigin),
    (|device| device.rp_id = "www.app.example".into(), Error::WrongRelyingParty),
    (|device| device.flags &= !UP, Error::UserNotPresent),
    (|device| device.flags = UP | UV | BS, Error::BackupFlags),
    (|device| device.behind = vec![0], Error::Malformed("authenticator data")),
    (|device| device.flags |= ED, Error::Malformed("authenticator data")),
];

#[test]
fn every_lie_at_registration_is_found() {
    let only_there: [Lie; 5] = [
        (|device| device.flags &= !UV, Error::UserNotVerified),
        (|device| device.id = vec![1; 1024], Error::Malformed("response")),
        (|device| device.id = vec![], Error::Malformed("response")),
        (|device| device.cose.truncate(10), Error::Malformed("authenticator data")),
        (|device| device.cose[4] = 0x38, Error::Malformed("authenticator data")),
    ];
    for (number, (lie, error)) in LIES.into_iter().chain(only_there).enumerate() {
        let mut device = Authenticator::new(PrivateKey::es256());
        lie(&mut device);
        let made = register(&mut device, UserVerification::Required, same);
        assert_eq!(made, Err(error), "{number}");
    }
    let mut device = Authenticator::new(PrivateKey::es256());
    device.flags = UP;
    let made = register(&mut device, UserVerification::Preferred, same).unwrap();
    assert!(!made.user_verified && !made.backup_eligible && !made.backup_state);
    device.id = vec![1; 1023];
    assert!(register(&mut device, UserVerification::Preferred, same).is_ok());
}

#[test]
fn every_lie_at_sign_in_is_found() {
    let only_there: [Lie; 7] = [
        (|device| device.flags = UP, Error::BackupFlags),
        (|device| device.id = vec![8; 16], Error::WrongCredential),
        (|device| device.user_handle = Some(b"user-2".to_vec()), Error::WrongUser),
        (|device| device.user_handle = None, Error::WrongUser),
        (|device| device.user_handle = Some(vec![1; 65]), Error::Malformed("user handle")),
        (|device| device.key = PrivateKey::es256(), Error::BadSignature),
        (|device| device.flags |= AT, Error::Malformed("authenticator data")),
    ];
    for (number, (lie, error)) in LIES.into_iter().chain(only_there).enumerate() {
        let (mut device, credential) = registered();
        device.count = 2;
        assert!(sign_in(&mut device, &credential, &[], same).is_ok());
        lie(&mut device);
        assert_eq!(sign_in(&mut device, &credential, &[], same), Err(error), "{number}");
    }
}

#[test]
fn answers_to_something_else_are_refused() {
    let (mut device, credential) = registered();
    device.count = 2;
    let passkeys = passkeys();
    let rp = RelyingParty::new(&passkeys).unwrap();
    let verification = UserVerification::Required;
    let (_, state) = begin_registration(&rp, &USER, &[], verification, at(NOW)).unwrap();
    let mut other = Authenticator::new(PrivateKey::es256());
    let challenge = base64url::encode(&[1; 32]);
    let right = value(&state)["challenge"].as_str().unwrap().to_owned();
    let mut made = |challenge: &str, kind: &str| {
        let answer = other.answer_create(challenge, kind).to_string();
        finish_registration(&rp, &state, answer.as_bytes(), at(NOW)).map(|_| ())
    };
    assert_eq!(made(&right, "webauthn.create"), Ok(()));
    assert_eq!(made(&challenge, "webauthn.create"), Err(Error::WrongChallenge));
    assert_eq!(made(&format!("{right}="), "webauthn.create"), Err(Error::WrongChallenge));
    assert_eq!(made("", "webauthn.create"), Err(Error::WrongChallenge));
    assert_eq!(made(&right, "webauthn.get"), Err(Error::WrongType));

    let (_, state) = begin_sign_in(&rp, &[], verification, at(NOW)).unwrap();
    let right = value(&state)["challenge"].as_str().unwrap().to_owned();
    let mut shown = |flags: u8, challenge: &str, kind: &str| {
        device.flags = flags;
        let answer = device.answer_get(challenge, kind).to_string();
        finish_sign_in(&rp, &state, &credential, answer.as_bytes(), at(NOW)).map(|_| ())
    };
    let flags = UP | UV | BE;
    assert_eq!(shown(flags, &right, "webauthn.get"), Ok(()));
    assert_eq!(shown(flags, &challenge, "webauthn.get"), Err(Error::WrongChallenge));
    assert_eq!(shown(flags, &right, "webauthn.create"), Err(Error::WrongType));
    assert_eq!(shown(UP | BE, &right, "webauthn.get"), Err(Error::UserNotVerified));
}

#[test]
fn only_credentials_that_were_named_are_taken() {
    let (mut device, credential) = registered();
    device.count = 2;
    let other = CredentialId::try_from(vec![1]).unwrap();
    let shown = sign_in(&mut device, &credential, std::slice::from_ref(&other), same);
    assert_eq!(shown, Err(Error::WrongCredential));
    // Whoever was named need not say so once more.
    device.user_handle = None;
    let both = [other, credential.id.clone()];
    assert!(sign_in(&mut device, &credential, &both, same).is_ok());
    device.user_handle = Some(b"user-2".to_vec());
    assert_eq!(sign_in(&mut device, &credential, &both, same), Err(Error::WrongUser));
}

#[test]
fn a_count_that_does_not_grow_is_a_copy() {
    let (mut device, mut credential) = registered();
    // Stored, seen, whether it is taken (Level 3 §7.2, "signCount").
    let cases = [
        (0, 0, true),
        (0, 1, true),
        (1, 2, true),
        (1, u32::MAX, true),
        (1, 1, false),
        (2, 1, false),
        (1, 0, false),
    ];
    for (stored, seen, taken) in cases {
        credential.sign_count = stored;
        device.count = seen;
        let shown = sign_in(&mut device, &credential, &[], same).map(|shown| shown.sign_count);
        let expected = if taken { Ok(seen) } else { Err(Error::Cloned { stored, seen }) };
        assert_eq!(shown, expected);
    }
}

#[test]
fn any_attestation_is_passed_over_but_must_be_whole() {
    let made = |statement: &[u8]| {
        let mut device = Authenticator::new(PrivateKey::es256());
        device.statement = [statement, b"\x68authData"].concat();
        register(&mut device, UserVerification::Required, same).map(|_| ())
    };
    let packed = [
        &b"\xa3\x63fmt\x66packed\x67attStmt\xa3\x63alg\x26\x63sig"[..],
        &bytes(&[1; 70]),
        b"\x63x5c\x81",
        &bytes(&[1; 600]),
    ];
    assert_eq!(made(&packed.concat()), Ok(()));
    assert_eq!(made(b"\xa4\x63fmt\x64none\x67attStmt\xa0\x65epAtt\xf5"), Ok(()));
    let bad: [(&[u8], &str); 9] = [
        (b"\xa3\x63fmt\x64none\x67attStmt\xa1\x61a\x01", "none has no statement"),
        (b"\xa2\x63fmt\x64none", "no statement"),
        (b"\xa2\x67attStmt\xa0", "no format"),
        (b"\xa3\x63fmt\x60\x67attStmt\xa0", "an empty format"),
        (b"\xa3\x63fmt\x63a b\x67attStmt\xa0", "no format's name"),
        (b"\xa3\x63fmt\x01\x67attStmt\xa0", "a number as format"),
        (b"\xa4\x63fmt\x64none\x63fmt\x64none\x67attStmt\xa0", "twice"),
        (b"\xbf\x63fmt\x64none\x67attStmt\xa0", "no definite length"),
        (b"\xa4\x63fmt\x64none\x67attStmt\xa0", "too few entries"),
    ];
    for (statement, why) in bad {
        assert_eq!(made(statement), Err(Error::Malformed("attestation object")), "{why}");
    }
}

#[test]
fn extensions_that_nobody_asked_for_are_passed_over() {
    let (mut device, credential) = registered();
    device.flags |= ED;
    device.behind = b"\xa1\x6bcredProtect\x02".to_vec();
    device.count = 2;
    assert!(sign_in(&mut device, &credential, &[], same).is_ok());
    assert!(register(&mut device, UserVerification::Required, same).is_ok());
    for behind in [&b"\x01"[..], b"\xa0\xa0", b"\xa2\x61a\x01\x61a\x01", b"\xa1\x61a"] {
        device.behind = behind.to_vec();
        let malformed = Error::Malformed("authenticator data");
        assert_eq!(sign_in(&mut device, &credential, &[], same), Err(malformed.clone()));
        let made = register(&mut device, UserVerification::Required, same);
        assert_eq!(made, Err(malformed));
    }
}

#[test]
fn keys_that_were_not_asked_for_are_refused() {
    let made = |cose: &[&[u8]]| {
        let mut device = Authenticator::new(PrivateKey::es256());
        device.cose = cose.concat();
        register(&mut device, UserVerification::Required, same).map(|_| ())
    };
    let number = |length: usize| bytes(&[vec![0x81; length]].concat());
    let half = number(32);
    let rsa = |modulus: &[u8], exponent: &[u8]| {
        made(&[&[0xa4, 1, 3, 3, 0x39, 1, 0, 0x20], modulus, &[0x21], exponent])
    };
    let p256 = [0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21];
    assert_eq!(made(&[&p256, &half, &[0x22], &half]), Ok(()));
    // In any order: y, x, curve, algorithm, kind.
    let turned = [&[0xa5, 0x22], &half[..], &[0x21], &half, &[0x20, 1, 3, 0x26, 1, 2]];
    assert_eq!(made(&turned), Ok(()));
    assert_eq!(rsa(&number(256), &[0x43, 1, 0, 1]), Ok(()));
    let unsupported = Err(Error::UnsupportedKey);
    let refused = [
        made(&[&[0xa5, 1, 2, 3, 0x38, 0x22, 0x20, 1, 0x21], &half, &[0x22], &half]),
        made(&[&[0xa5, 1, 2, 3, 0x26, 0x20, 2, 0x21], &half, &[0x22], &half]),
        made(&[&[0xa5, 1, 1, 3, 0x26, 0x20, 1, 0x21], &half, &[0x22], &half]),
        made(&[&p256, &number(31), &[0x22], &half]),
        made(&[&p256, &half, &[0x22], &number(33)]),
        made(&[&[0xa4, 1, 2, 3, 0x26, 0x20, 1, 0x21], &half]),
        made(&[&[0xa4, 1, 1, 3, 0x27, 0x20, 7, 0x21], &half]),
        made(&[&[0xa5, 1, 1, 3, 0x27, 0x20, 6, 0x21], &half, &[0x22], &half]),
        made(&[&[0xa0]]),
        rsa(&number(255), &[0x43, 1, 0, 1]),
        rsa(&number(513), &[0x43, 1, 0, 1]),
        rsa(&bytes(&[&[0], &[0x81; 256][..]].concat()), &[0x43, 1, 0, 1]),
        rsa(&number(256), &[0x45, 1, 0, 0, 0, 1]),
        rsa(&number(256), &[0x40]),
    ];
    for (index, made) in refused.into_iter().enumerate() {
        assert_eq!(made, unsupported, "{index}");
    }
    let malformed = Err(Error::Malformed("public key"));
    assert_eq!(made(&[&[0xa6, 4, 0], &p256[1..], &half, &[0x22], &half]), malformed);
    assert_eq!(made(&[&[0x01]]), malformed);
    assert_eq!(made(&[&[0xa1, 1, 0x60]]), malformed);
}

#[test]
fn the_frame_around_an_answer_is_checked() {
    let (mut device, credential) = registered();
    device.count = 2;
    let changes: [fn(&mut Value); 9] = [
        |answer| answer["type"] = json!("password"),
        |answer| answer["rawId"] = json!("AQ"),
        |answer| answer["id"] = json!("AQ"),
        |answer| answer["id"] = json!("AQ=="),
        |answer| answer["rawId"] = Value::Null,
        |answer| answer["response"] = Value::Null,
        |answer| answer["response"]["clientDataJSON"] = json!("%"),
        |answer| answer["response"] = json!({"clientDataJSON": "AQ"}),
        |answer| *answer = json!([]),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let malformed = Error::Malformed("response");
        let shown = sign_in(&mut device, &credential, &[], change);
        assert_eq!(shown, Err(malformed.clone()), "{index}");
        let made = register(&mut device, UserVerification::Required, change);
        assert_eq!(made, Err(malformed), "{index}");
    }
    let client_data: fn(&mut Value) = |answer| {
        answer["response"]["clientDataJSON"] = json!(base64url::encode(b"{}"));
    };
    let malformed = Error::Malformed("client data");
    assert_eq!(sign_in(&mut device, &credential, &[], client_data), Err(malformed));
    let padded = |answer: &mut Value| answer["more"] = json!("x".repeat(RESPONSE_BYTES_MAX));
    assert_eq!(sign_in(&mut device, &credential, &[], padded), Err(Error::TooLarge));
    let padded = |answer: &mut Value| answer["more"] = json!("x".repeat(RESPONSE_BYTES_MAX / 2));
    assert!(sign_in(&mut device, &credential, &[], padded).is_ok());
}

#[test]
fn the_authenticator_must_name_the_same_credential() {
    let mut device = Authenticator::new(PrivateKey::es256());
    let made = register(&mut device, UserVerification::Required, |answer| {
        answer["id"] = json!("AQID");
        answer["rawId"] = json!("AQID");
    });
    assert_eq!(made, Err(Error::WrongCredential));
}

#[test]
fn ways_to_reach_an_authenticator_are_only_hints() {
    let told = |transports: Value| {
        let mut device = Authenticator::new(PrivateKey::es256());
        let change = |answer: &mut Value| answer["response"]["transports"] = transports;
        register(&mut device, UserVerification::Required, change).unwrap().transports
    };
    assert_eq!(told(json!(["usb", "smart-card", "usb"])), ["smart-card", "usb"]);
    assert_eq!(told(json!(["", "No Name", "x".repeat(33)])), Vec::<String>::new());
    assert_eq!(told(Value::Null), Vec::<String>::new());
    let many: Vec<_> = (0..20).map(|number| format!("way-{number:02}")).collect();
    assert_eq!(told(json!(many)), many[..8]);
}

#[test]
fn an_answer_names_its_user() {
    let (mut device, credential) = registered();
    let answer = |device: &mut Authenticator| {
        user_handle(device.answer_get("AQ", "webauthn.get").to_string().as_bytes())
    };
    let credential_id = credential.id;
    let claimed = ClaimedUser { user_handle: Some(b"user-1".to_vec()), credential_id };
    assert_eq!(answer(&mut device), Ok(claimed.clone()));
    device.user_handle = None;
    assert_eq!(answer(&mut device), Ok(ClaimedUser { user_handle: None, ..claimed }));
    device.user_handle = Some(vec![]);
    assert_eq!(answer(&mut device), Err(Error::Malformed("user handle")));
    assert_eq!(user_handle(b"{}"), Err(Error::Malformed("response")));
    let long = vec![b' '; RESPONSE_BYTES_MAX + 1];
    assert_eq!(user_handle(&long), Err(Error::TooLarge));
}
