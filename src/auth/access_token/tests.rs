use std::time::Instant;

use compact_str::CompactString;
use data_encoding::BASE64URL_NOPAD;
use domain::access::Auth;
use domain::{SessionId, Timestamp, UserId};
use proptest::prelude::*;
use ring::hmac;
use serde_json::{Map, Value, json};

use super::*;

const ISSUER: &str = "https://hw.example/v1/projects/p1";
const NOW: i64 = 1_800_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn key(algorithm: Algorithm) -> SigningKey {
    let (private, public) = SigningKey::generate(algorithm);
    let key = SigningKey::from_pkcs8(algorithm, &private).unwrap();
    assert_eq!(key.public(), &public);
    key
}

fn verifier(keys: &[&SigningKey]) -> Verifier {
    let keys = keys.iter().map(|key| key.public().clone());
    Verifier::new(keys, ISSUER, "p1", &Cache::new(1 << 20))
}

fn claims() -> Claims {
    Claims {
        iss: ISSUER.into(),
        sub: UserId::new("u1").unwrap(),
        aud: "p1".into(),
        iat: NOW,
        exp: NOW + 3_600,
        nbf: None,
        jti: "t1".into(),
        sid: Some(SessionId::new("s1").unwrap()),
        roles: vec!["member".into(), "editor".into()],
        groups: vec!["staff".into()],
        claims: json!({ "plan": "pro", "seats": [1, 2.5, null] }).as_object().unwrap().clone(),
        acr: Level::Two,
        amr: vec!["pwd".into(), "otp".into()],
        auth_time: NOW - 60,
        email: Some("ann@app.example".into()),
        email_verified: true,
        phone_number: None,
        is_anonymous: false,
        act: Some(Acting { sub: "admin".into() }),
    }
}

/// A token with any header, payload and signature.
fn forged(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = BASE64URL_NOPAD.encode(&sign(message.as_bytes()));
    format!("{message}.{signature}")
}

/// The same with a true signature.
fn signed(key: &SigningKey, header: &Value, claims: &Value) -> String {
    forged(header, claims, |message| key.sign(message).unwrap())
}

fn header(key: &SigningKey) -> Value {
    json!({ "alg": key.public().algorithm().name(), "typ": "at+jwt", "kid": key.public().id() })
}

fn as_json(claims: &Claims) -> Value {
    serde_json::to_value(claims).unwrap()
}

#[test]
fn what_was_signed_is_read_back_with_either_algorithm() {
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
        let key = key(algorithm);
        let token = Issuer::new(key.clone()).sign(&claims()).unwrap();
        let verifier = verifier(&[&key]);
        let anew = verifier.verify(&token, at(NOW)).unwrap();
        assert_eq!(*anew, claims());
        assert_eq!(verifier.cache_len(), 1);
        assert_eq!(verifier.verify(&token, at(NOW)).unwrap(), anew, "and again when remembered");
    }
}

#[test]
fn claims_have_their_registered_names() {
    assert_eq!(
        as_json(&claims()),
        json!({
            "iss": ISSUER, "sub": "u1", "aud": "p1", "iat": NOW, "exp": NOW + 3_600, "jti": "t1",
            "sid": "s1", "roles": ["member", "editor"], "groups": ["staff"],
            "claims": { "plan": "pro", "seats": [1, 2.5, null] }, "acr": "aal2",
            "amr": ["pwd", "otp"], "auth_time": NOW - 60, "email": "ann@app.example",
            "email_verified": true, "act": { "sub": "admin" },
        })
    );
    let anonymous = Claims { is_anonymous: true, phone_number: Some("+49301".into()), ..claims() };
    assert_eq!(as_json(&anonymous)["isAnonymous"], true);
    assert_eq!(as_json(&anonymous)["phone_number"], "+49301");
}

#[test]
fn rules_see_what_the_token_says() {
    let expected = Auth {
        uid: UserId::new("u1").unwrap(),
        session: Some(SessionId::new("s1").unwrap()),
        roles: vec!["editor".into(), "member".into()],
        groups: vec!["staff".into()],
        claims: claims().claims,
        level: 2,
        methods: vec!["pwd".into(), "otp".into()],
        email: Some("ann@app.example".into()),
        email_verified: true,
        phone: None,
        is_anonymous: false,
        authenticated_at: at(NOW - 60),
        impersonator: Some("admin".into()),
    };
    assert_eq!(Auth::from(&claims()), expected);
}

/// RFC 8037, appendix A; RFC 7515, appendix A.3.
#[test]
fn keys_agree_with_the_vectors_of_the_rfcs() {
    let ed = json!({ "kty": "OKP", "crv": "Ed25519",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
    let ed = PublicKey::from_jwk(ed).unwrap();
    assert_eq!(ed.id(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    let seed = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
    let prefix = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let private = [&prefix[..], &BASE64URL_NOPAD.decode(seed.as_bytes()).unwrap()].concat();
    let private = SigningKey::from_pkcs8(Algorithm::EdDsa, &private).unwrap();
    assert_eq!(private.public(), &ed);
    let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt\
                     9g7sVvpAr_MuM0KAg";
    assert_eq!(BASE64URL_NOPAD.encode(&private.sign(message).unwrap()), signature);
    assert!(ed.verifies(message, &BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap()));

    let es = json!({ "kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0" });
    let es = PublicKey::from_jwk(es).unwrap();
    let message = b"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA\
                    6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let signature = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJ\
                     qPP3-Kg6NU1Q";
    assert!(es.verifies(message, &BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap()));
}

#[test]
fn keys_print_and_read_as_jwk() {
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
        let public = key(algorithm).public().clone();
        let jwk = public.jwk();
        assert_eq!((&jwk["kid"], &jwk["use"]), (&json!(public.id()), &json!("sig")));
        assert!(jwk.get("d").is_none());
        assert_eq!(PublicKey::from_jwk(jwk.clone()).unwrap(), public);
        for (name, value) in [
            ("kid", json!("other")),
            ("use", json!("enc")),
            ("alg", json!("RS256")),
            ("kty", json!("RSA")),
            ("crv", json!("P-384")),
            ("x", json!("")),
            ("x", json!("=".repeat(43))),
            ("d", json!("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")),
        ] {
            let mut bad = jwk.clone();
            bad[name] = value;
            assert_eq!(PublicKey::from_jwk(bad), Err(InvalidKey), "{name}");
        }
    }
    assert!(SigningKey::from_pkcs8(Algorithm::EdDsa, b"").is_err());
    let (private, _) = SigningKey::generate(Algorithm::Es256);
    assert!(SigningKey::from_pkcs8(Algorithm::EdDsa, &private).is_err());
    let shown = format!("{:?}", key(Algorithm::EdDsa));
    assert!(shown.starts_with("SigningKey(EdDSA, ") && shown.len() < 80, "{shown}");
}

/// Ways to have a token taken that was never signed as it must be: RFC 8725 (JWT best practices),
/// sections 2.1 and 3.
#[test]
fn what_a_token_says_of_itself_decides_nothing() {
    let ed = key(Algorithm::EdDsa);
    let es = key(Algorithm::Es256);
    let verifier = verifier(&[&ed, &es]);
    let refused = |token: &str| verifier.verify(token, at(NOW)).unwrap_err();
    let good = as_json(&claims());
    let with = |key: &SigningKey, name: &str, value: Value| {
        let mut header = header(key);
        header[name] = value;
        header
    };

    for none in ["none", "None", "NONE", ""] {
        let token = forged(&with(&ed, "alg", json!(none)), &good, |_| Vec::new());
        assert_eq!(refused(&token), Refused::Algorithm, "{none}");
    }
    let public =
        BASE64URL_NOPAD.decode(ed.public().jwk()["x"].as_str().unwrap().as_bytes()).unwrap();
    let jwk_text = ed.public().jwk().to_string();
    for secret in [&public[..], jwk_text.as_bytes(), b""] {
        let by_hmac = |message: &[u8]| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec()
        };
        let token = forged(&with(&ed, "alg", json!("HS256")), &good, by_hmac);
        assert_eq!(refused(&token), Refused::Algorithm);
        let token = forged(&header(&ed), &good, by_hmac);
        assert_eq!(refused(&token), Refused::Signature);
    }
    // The other key's algorithm, or the other key's signature.
    assert_eq!(refused(&signed(&es, &with(&ed, "alg", json!("ES256")), &good)), Refused::Algorithm);
    assert_eq!(refused(&signed(&es, &header(&ed), &good)), Refused::Signature);
    assert_eq!(refused(&signed(&ed, &header(&es), &good)), Refused::Signature);
    // A key of the token's own.
    let own = key(Algorithm::EdDsa);
    assert_eq!(refused(&signed(&own, &header(&own), &good)), Refused::Key);
    for (name, value) in [
        ("jwk", own.public().jwk()),
        ("jku", json!("https://evil.example/jwks.json")),
        ("x5u", json!("https://evil.example/cert.pem")),
        ("x5c", json!([])),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("crit", json!(null)),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
    ] {
        assert_eq!(
            refused(&signed(&ed, &with(&ed, name, value), &good)),
            Refused::Header,
            "{name}"
        );
    }
    // Signatures that are none.
    for signature in [vec![], vec![0; 64], vec![0; 63], vec![0xff; 64], vec![0; 4096]] {
        for key in [&ed, &es] {
            let token = forged(&header(key), &good, |_| signature.clone());
            assert_eq!(refused(&token), Refused::Signature);
        }
    }
    assert_eq!(verifier.cache_len(), 0);
}

#[test]
fn a_token_of_another_type_is_refused() {
    let key = key(Algorithm::EdDsa);
    let verifier = verifier(&[&key]);
    let verify = |typ: Value| {
        let mut header = header(&key);
        header["typ"] = typ;
        verifier.verify(&signed(&key, &header, &as_json(&claims())), at(NOW)).map(|_| ())
    };
    for good in ["at+jwt", "AT+JWT", "application/at+jwt"] {
        assert_eq!(verify(json!(good)), Ok(()), "{good}");
    }
    for bad in [json!("JWT"), json!("id+jwt"), json!("at+jwt "), json!(""), json!(null)] {
        assert_eq!(verify(bad.clone()), Err(Refused::Type), "{bad}");
    }
    assert_eq!(verify(json!(1)), Err(Refused::Header));
}

#[test]
fn issuer_and_audience_are_exact() {
    let key = key(Algorithm::EdDsa);
    let verifier = verifier(&[&key]);
    let verify = |name: &str, value: Value| {
        let mut claims = as_json(&claims());
        claims[name] = value;
        verifier.verify(&signed(&key, &header(&key), &claims), at(NOW)).map(|_| ())
    };
    for bad in ["https://hw.example/v1/projects/p1/", "https://HW.example/v1/projects/p1", ""] {
        assert_eq!(verify("iss", json!(bad)), Err(Refused::Issuer), "{bad}");
    }
    for bad in ["p2", "P1", "p1 ", ""] {
        assert_eq!(verify("aud", json!(bad)), Err(Refused::Audience), "{bad}");
    }
    // RFC 7519 allows a list; ours never have one.
    assert_eq!(verify("aud", json!(["p1", "p2"])), Err(Refused::Malformed));
    assert_eq!(verify("sub", json!("a/b")), Err(Refused::Malformed));
    assert_eq!(verify("acr", json!("aal3")), Err(Refused::Malformed));
    assert_eq!(verify("exp", json!(1e9)), Err(Refused::Malformed));
    assert_eq!(verify("unknown", json!("is ignored")), Ok(()));
}

#[test]
fn times_have_a_leeway_and_an_end_also_when_remembered() {
    let key = key(Algorithm::EdDsa);
    let verifier = verifier(&[&key]);
    let issuer = Issuer::new(key.clone());
    let token = issuer.sign(&claims()).unwrap();
    let verify = |token: &str, now| verifier.verify(token, at(now)).map(|_| ());
    let exp = NOW + 3_600;
    for _ in 0..2 {
        assert_eq!(verify(&token, NOW - LEEWAY_SECONDS - 1), Err(Refused::NotYet));
        assert_eq!(verify(&token, NOW - LEEWAY_SECONDS), Ok(()));
        assert_eq!(verify(&token, exp + LEEWAY_SECONDS - 1), Ok(()));
        assert_eq!(verifier.cache_len(), 1);
        assert_eq!(verify(&token, exp + LEEWAY_SECONDS), Err(Refused::Expired));
        assert_eq!(verifier.cache_len(), 0);
    }
    let later = issuer.sign(&Claims { nbf: Some(NOW + 100), ..claims() }).unwrap();
    assert_eq!(verify(&later, NOW + 69), Err(Refused::NotYet));
    assert_eq!(verify(&later, NOW + 70), Ok(()));
    for odd in [(i64::MAX, i64::MAX), (i64::MIN, i64::MIN), (i64::MIN, 0)] {
        let odd = Claims { iat: odd.0, exp: odd.1, auth_time: odd.0, ..claims() };
        assert!(verify(&issuer.sign(&odd).unwrap(), NOW).is_err());
        let _ = odd.auth();
    }
}

#[test]
fn a_retired_key_is_good_until_it_is_dropped() {
    let old = key(Algorithm::EdDsa);
    let new = key(Algorithm::Es256);
    let token = Issuer::new(old.clone()).sign(&claims()).unwrap();
    let cache = Cache::new(1 << 20);
    let make = |keys: &[&SigningKey]| {
        Verifier::new(keys.iter().map(|key| key.public().clone()), ISSUER, "p1", &cache)
    };
    let rotated = make(&[&new, &old]);
    assert!(rotated.verify(&token, at(NOW)).is_ok());
    let dropped = make(&[&new]);
    assert_eq!(dropped.verify(&token, at(NOW)), Err(Refused::Key), "though it is in the cache");
    assert!(rotated.verify(&token, at(NOW)).is_ok());
}

#[test]
fn other_projects_do_not_share_what_is_remembered() {
    let key = key(Algorithm::EdDsa);
    let cache = Cache::new(1 << 20);
    let of = |audience| Verifier::new([key.public().clone()], ISSUER, audience, &cache);
    let (one, two) = (of("p1"), of("p2"));
    let token = Issuer::new(key.clone()).sign(&claims()).unwrap();
    assert!(one.verify(&token, at(NOW)).is_ok());
    assert_eq!(two.verify(&token, at(NOW)), Err(Refused::Audience));
    assert_eq!(cache.len(), 1);
}

#[test]
fn a_cache_without_room_and_one_that_is_full_still_verify() {
    let key = key(Algorithm::EdDsa);
    let issuer = Issuer::new(key.clone());
    for bytes_max in [0, 20_000] {
        let cache = Cache::new(bytes_max);
        let verifier = Verifier::new([key.public().clone()], ISSUER, "p1", &cache);
        for number in 0..200 {
            let claims = Claims { jti: number.to_string().into(), ..claims() };
            let token = issuer.sign(&claims).unwrap();
            assert_eq!(*verifier.verify(&token, at(NOW)).unwrap(), claims);
            assert!(cache.len() * 400 <= bytes_max, "{}", cache.len());
        }
    }
}

#[test]
fn sizes_are_bounded() {
    let key = key(Algorithm::EdDsa);
    let issuer = Issuer::new(key.clone());
    let verifier = verifier(&[&key]);
    let sized = |bytes: usize| Claims { jti: "x".repeat(bytes).into(), ..claims() };
    let fits = (0..6_000).rev().find(|bytes| issuer.sign(&sized(*bytes)).is_ok()).unwrap();
    let token = issuer.sign(&sized(fits)).unwrap();
    assert!((TOKEN_BYTES_MAX - 2..=TOKEN_BYTES_MAX).contains(&token.len()), "{}", token.len());
    assert!(verifier.verify(&token, at(NOW)).is_ok());
    let too_large = issuer.sign(&sized(fits + 3)).unwrap_err();
    assert!(matches!(too_large, Unsigned::TooLarge(bytes) if bytes > TOKEN_BYTES_MAX));
    let token = signed(&key, &header(&key), &as_json(&sized(fits + 3)));
    assert_eq!(verifier.verify(&token, at(NOW)), Err(Refused::TooLong));
}

#[test]
fn what_is_no_token_is_refused() {
    let key = key(Algorithm::EdDsa);
    let verifier = verifier(&[&key]);
    let token = Issuer::new(key.clone()).sign(&claims()).unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    for bad in [
        String::new(),
        ".".into(),
        "..".into(),
        "...".into(),
        "\u{e4}.\u{e4}.\u{e4}".into(),
        format!("{}.{}", parts[0], parts[1]),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}="),
        format!("{token} "),
        format!("{}.{}.{}.", parts[0], parts[1], parts[2]),
        format!("{}..{}", parts[0], parts[2]),
        format!("{}.{}.{}", parts[1], parts[0], parts[2]),
        format!("Bearer {token}"),
    ] {
        assert!(verifier.verify(&bad, at(NOW)).is_err(), "{bad}");
    }
    let list = json!(["EdDSA", "at+jwt", key.public().id()]);
    let list = verifier.verify(&signed(&key, &list, &as_json(&claims())), at(NOW));
    assert_eq!(list, Err(Refused::Header));
    let values: Vec<Value> = as_json(&claims()).as_object().unwrap().values().cloned().collect();
    let list = verifier.verify(&signed(&key, &header(&key), &json!(values)), at(NOW));
    assert_eq!(list, Err(Refused::Malformed));
    // One of two `alg`s might be the one that somebody else reads.
    let twice =
        format!(r#"{{"alg":"EdDSA","alg":"none","typ":"at+jwt","kid":"{}"}}"#, key.public().id());
    let message = format!("{}.{}", BASE64URL_NOPAD.encode(twice.as_bytes()), parts[1]);
    let signature = BASE64URL_NOPAD.encode(&key.sign(message.as_bytes()).unwrap());
    let twice = verifier.verify(&format!("{message}.{signature}"), at(NOW));
    assert_eq!(twice, Err(Refused::Header));
}

#[test]
fn documents_for_others() {
    let (ed, es) = (key(Algorithm::EdDsa), key(Algorithm::Es256));
    let set = jwks([ed.public(), es.public()]);
    assert_eq!(set, json!({ "keys": [ed.public().jwk(), es.public().jwk()] }));
    assert_eq!(set["keys"][1]["alg"], "ES256");
    let jwks = format!("{ISSUER}/jwks.json");
    let endpoints = Endpoints { jwks: &jwks, token: Some("https://t"), ..Endpoints::default() };
    let document = openid_configuration(ISSUER, &endpoints);
    assert_eq!(document["issuer"], ISSUER);
    assert_eq!(document["jwks_uri"], jwks);
    assert_eq!(document["token_endpoint"], "https://t");
    assert!(document.get("authorization_endpoint").is_none());
    assert_eq!(document["id_token_signing_alg_values_supported"], json!(["EdDSA", "ES256"]));
    // Every claim that a token can have is named.
    let full =
        Claims { nbf: Some(1), phone_number: Some("+1".into()), is_anonymous: true, ..claims() };
    for name in as_json(&full).as_object().unwrap().keys() {
        assert!(document["claims_supported"].as_array().unwrap().contains(&json!(name)), "{name}");
    }
}

fn any_names() -> impl Strategy<Value = Vec<CompactString>> {
    prop::collection::vec("[a-z:\u{e4}\"]{0,8}".prop_map(CompactString::from), 0..4)
}

fn any_custom() -> impl Strategy<Value = Map<String, Value>> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-z]{1,6}", inner), 0..4)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    });
    prop::collection::vec(("\\PC{0,6}", value), 0..4)
        .prop_map(|entries| entries.into_iter().collect())
}

prop_compose! {
    fn any_claims()(
        (sub, jti) in ("[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", "\\PC{0,20}"),
        sid in prop::option::of("[A-Za-z0-9][A-Za-z0-9_-]{0,20}"),
        (iat, nbf) in (NOW - 10_000..=NOW, prop::option::of(NOW - 10_000..=NOW)),
        exp in NOW + 1..NOW + 10_000,
        (roles, groups, amr) in (any_names(), any_names(), any_names()),
        custom in any_custom(),
        (is_two, email_verified, is_anonymous) in any::<(bool, bool, bool)>(),
        auth_time in any::<i64>(),
        (email, phone, act) in (
            prop::option::of("\\PC{0,20}"),
            prop::option::of("\\PC{0,20}"),
            prop::option::of("[a-z:]{1,20}"),
        ),
    ) -> Claims {
        Claims {
            iss: ISSUER.into(),
            sub: UserId::new(&sub).unwrap(),
            aud: "p1".into(),
            iat,
            exp,
            nbf,
            jti: jti.into(),
            sid: sid.map(|sid| SessionId::new(&sid).unwrap()),
            roles,
            groups,
            claims: custom,
            acr: if is_two { Level::Two } else { Level::One },
            amr,
            auth_time,
            email: email.map(Into::into),
            email_verified,
            phone_number: phone.map(Into::into),
            is_anonymous,
            act: act.map(|sub| Acting { sub: sub.into() }),
        }
    }
}

fn any_algorithm() -> impl Strategy<Value = Algorithm> {
    prop_oneof![Just(Algorithm::EdDsa), Just(Algorithm::Es256)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn verify_undoes_sign(claims in any_claims(), algorithm in any_algorithm()) {
        let key = key(algorithm);
        let token = Issuer::new(key.clone()).sign(&claims).unwrap();
        let verifier = verifier(&[&key]);
        for _ in 0..2 {
            let read = verifier.verify(&token, at(NOW));
            prop_assert_eq!(&*read.unwrap(), &claims);
        }
    }

    #[test]
    fn any_other_byte_anywhere_is_refused(
        algorithm in any_algorithm(),
        place: prop::sample::Index,
        byte in 0_u8..0x80,
        is_known: bool,
    ) {
        let key = key(algorithm);
        let token = Issuer::new(key.clone()).sign(&claims()).unwrap();
        let verifier = verifier(&[&key]);
        if is_known {
            prop_assert!(verifier.verify(&token, at(NOW)).is_ok());
        }
        let mut changed = token.into_bytes();
        let place = place.index(changed.len());
        prop_assume!(changed[place] != byte);
        changed[place] = byte;
        let changed = String::from_utf8(changed).unwrap();
        prop_assert!(verifier.verify(&changed, at(NOW)).is_err(), "byte {}", place);
    }

    #[test]
    fn a_token_is_good_for_its_issuer_and_audience_alone(
        (iss, aud) in ("[a-c]{0,2}", "[a-c]{0,2}"),
        (other_iss, other_aud) in ("[a-c]{0,2}", "[a-c]{0,2}"),
    ) {
        let key = key(Algorithm::EdDsa);
        let claims = Claims { iss: iss.as_str().into(), aud: aud.as_str().into(), ..claims() };
        let token = Issuer::new(key.clone()).sign(&claims).unwrap();
        let cache = Cache::new(1 << 16);
        let own = Verifier::new([key.public().clone()], &iss, &aud, &cache);
        let other = Verifier::new([key.public().clone()], &other_iss, &other_aud, &cache);
        prop_assert!(own.verify(&token, at(NOW)).is_ok());
        let is_same = (&iss, &aud) == (&other_iss, &other_aud);
        prop_assert_eq!(other.verify(&token, at(NOW)).is_ok(), is_same);
    }

    #[test]
    fn any_text_is_borne(text in "[A-Za-z0-9_=-]{0,40}(\\.[A-Za-z0-9_=-]{0,40}){0,4}|\\PC{0,40}") {
        let key = key(Algorithm::EdDsa);
        prop_assert!(verifier(&[&key]).verify(&text, at(NOW)).is_err());
    }
}

/// `cargo test -p auth --release -- --ignored --nocapture figures_tokens`
#[test]
#[ignore = "prints figures"]
fn figures_tokens() {
    fn micros(name: &str, mut work: impl FnMut(usize)) {
        let count = 5_000;
        (0..500).for_each(&mut work);
        let mut best = f64::MAX;
        for _ in 0..5 {
            let start = Instant::now();
            (0..count).for_each(&mut work);
            best = best.min(start.elapsed().as_secs_f64() * 1e6 / count as f64);
        }
        println!("{name}: {best:.2} µs");
    }
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
        let key = key(algorithm);
        let issuer = Issuer::new(key.clone());
        let token = issuer.sign(&claims()).unwrap();
        let name = algorithm.name();
        println!("{name}: a token of {} bytes", token.len());
        micros("  sign", |_| drop(issuer.sign(&claims()).unwrap()));
        let cold = Verifier::new([key.public().clone()], ISSUER, "p1", &Cache::new(0));
        micros("  verify anew", |_| drop(cold.verify(&token, at(NOW)).unwrap()));
        let warm = verifier(&[&key]);
        micros("  verify remembered", |_| drop(warm.verify(&token, at(NOW)).unwrap()));
        micros("  claims to auth", |_| drop(claims().auth()));
    }
}
