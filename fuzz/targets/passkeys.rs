//! Answers of browsers and authenticators: no bytes make the relying party panic, a passkey that is
//! taken reads back, and nobody signs in without the key. Each input is tried as a whole answer,
//! and as each of its parts inside an answer whose rest is right.
#![no_main]

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::Timestamp;
use domain::sign_in::Passkeys;
use libfuzzer_sys::fuzz_target;
use passkeys::{
    Credential, Error, RegistrationState, RelyingParty, SignInState, finish_registration,
    finish_sign_in, user_handle,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The id of the credential, and zeros as the challenge.
const ID: [u8; 16] = [7; 16];
const CHALLENGE: [u8; 32] = [0; 32];

/// The head of an Ed25519 key in COSE, up to its bytes.
const ED25519: [u8; 10] = [0xa4, 1, 1, 3, 0x27, 0x20, 6, 0x21, 0x58, 32];

struct World {
    passkeys: Passkeys,
    making: RegistrationState,
    showing: SignInState,
    credential: Credential,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let expires_at = "2030-01-01T00:00:00.000000Z";
    let state = json!({
        "challenge": text(&CHALLENGE),
        "userHandle": text(b"user"),
        "allow": [],
        "userVerification": "preferred",
        "expiresAt": expires_at,
    });
    let credential = json!({
        "id": text(&ID),
        "userHandle": text(b"user"),
        "publicKey": text(&[&ED25519[..], &[9; 32]].concat()),
        "signCount": 1,
        "transports": [],
        "aaguid": "00000000-0000-0000-0000-000000000000",
        "backupEligible": false,
        "backupState": false,
        "userVerified": true,
        "createdAt": expires_at,
    });
    World {
        passkeys: Passkeys {
            enabled: true,
            rp_id: "app.example".into(),
            rp_name: String::new(),
            origins: vec!["https://app.example".into()],
        },
        making: kept(&state),
        showing: kept(&state),
        credential: kept(&credential),
    }
});

fn kept<T: DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).expect("it is what was written")
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn page(kind: &str) -> Vec<u8> {
    let origin = "https://app.example";
    json!({"type": kind, "challenge": text(&CHALLENGE), "origin": origin}).to_string().into()
}

fn answer(response: Value) -> Vec<u8> {
    let id = text(&ID);
    json!({"id": id, "rawId": id, "type": "public-key", "response": response}).to_string().into()
}

fuzz_target!(|bytes: &[u8]| {
    let _ = user_handle(bytes);
    make(bytes);
    show(bytes);
    make(&answer(json!({
        "clientDataJSON": text(&page("webauthn.create")),
        "attestationObject": text(bytes),
    })));
    make(&answer(json!({"clientDataJSON": text(bytes), "attestationObject": text(&[0xa0])})));
    let signed = |page: &[u8], data: &[u8], signature: &[u8]| {
        answer(json!({
            "clientDataJSON": text(page),
            "authenticatorData": text(data),
            "signature": text(signature),
            "userHandle": text(b"user"),
        }))
    };
    show(&signed(&page("webauthn.get"), bytes, &[1; 64]));
    show(&signed(bytes, &[0; 37], &[1; 64]));
});

fn make(answer: &[u8]) {
    let rp = RelyingParty::new(&WORLD.passkeys).expect("it is set up well");
    let now = Timestamp::from_micros(0);
    let Ok(made) = finish_registration(&rp, &WORLD.making, answer, now) else { return };
    let again: Credential = kept(&serde_json::to_value(&made).expect("it can be written"));
    assert_eq!(again, made);
    assert!(made.backup_eligible || !made.backup_state);
    // Any key that was taken must be one to verify with.
    let data = [&RP_ID_HASH[..], &[1 | u8::from(made.backup_eligible) << 3], &[255; 4]].concat();
    let answer = self::answer(json!({
        "clientDataJSON": text(&page("webauthn.get")),
        "authenticatorData": text(&data),
        "signature": text(&[1; 64]),
        "userHandle": text(b"user"),
    }));
    let shown = finish_sign_in(&rp, &WORLD.showing, &made, &answer, now);
    assert!(matches!(shown, Ok(_) | Err(Error::BadSignature | Error::Cloned { .. })), "{shown:?}");
}

fn show(answer: &[u8]) {
    let rp = RelyingParty::new(&WORLD.passkeys).expect("it is set up well");
    let now = Timestamp::from_micros(0);
    assert!(finish_sign_in(&rp, &WORLD.showing, &WORLD.credential, answer, now).is_err());
}

/// The SHA-256 of `app.example`.
const RP_ID_HASH: [u8; 32] = [
    0x56, 0xd9, 0x82, 0x01, 0x2d, 0xe1, 0x8e, 0xdf, 0x08, 0xcf, 0x57, 0xd8, 0xd9, 0x4b, 0x5e, 0x81,
    0xa9, 0x71, 0x99, 0xd3, 0xeb, 0x14, 0xf2, 0x3b, 0x7c, 0x2b, 0x75, 0xc5, 0xc7, 0x5f, 0x54, 0x6d,
];
