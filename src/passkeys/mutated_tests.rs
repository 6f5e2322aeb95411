//! Valid answers with something changed: none may stop the process, and none may pass as what it
//! was.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::authenticator::{Authenticator, PrivateKey};
use crate::tests::{NOW, USER, at, passkeys, same, value};
use crate::*;

const FIELDS: [&str; 4] = ["clientDataJSON", "attestationObject", "authenticatorData", "signature"];

/// What happens to some bytes.
#[derive(Debug, Clone)]
enum Mutation {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let place = any::<prop::sample::Index>;
    prop_oneof![
        (place(), 1_u8..).prop_map(|(place, bits)| Mutation::Flip(place, bits)),
        place().prop_map(Mutation::Cut),
        (place(), prop::collection::vec(any::<u8>(), 1..20))
            .prop_map(|(place, bytes)| Mutation::Insert(place, bytes)),
        (place(), 1_usize..20).prop_map(|(place, count)| Mutation::Remove(place, count)),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutation: &Mutation) {
    if bytes.is_empty() {
        return;
    }
    let length = bytes.len();
    match mutation {
        Mutation::Flip(place, bits) => bytes[place.index(length)] ^= bits,
        Mutation::Cut(place) => bytes.truncate(place.index(length)),
        Mutation::Insert(place, more) => {
            let place = place.index(length);
            bytes.splice(place..place, more.iter().copied());
        }
        Mutation::Remove(place, count) => {
            let place = place.index(length);
            bytes.drain(place..(place + count).min(length));
        }
    }
}

/// Changes the decoded bytes of one of the answer's fields.
fn mutate_field(answer: &mut Value, field: prop::sample::Index, mutations: &[Mutation]) {
    let response = answer["response"].as_object_mut().unwrap();
    let there: Vec<_> = FIELDS.into_iter().filter(|name| response.contains_key(*name)).collect();
    let field = there[field.index(there.len())];
    let mut bytes = base64url::decode(response[field].as_str().unwrap()).unwrap();
    for mutation in mutations {
        mutate(&mut bytes, mutation);
    }
    response.insert(field.into(), json!(base64url::encode(&bytes)));
}

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    prop::collection::vec(mutation(), 1..4)
}

fn key(which: usize) -> PrivateKey {
    let [one, two, three] = PrivateKey::all();
    [one, two, three].into_iter().nth(which).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// All that a sign-in is made of is signed, so no change goes unseen.
    #[test]
    fn a_changed_sign_in_is_refused(
        which in 0_usize..3,
        field in any::<prop::sample::Index>(),
        mutations in mutations(),
    ) {
        let mut device = Authenticator::new(key(which));
        let made = crate::tests::register(&mut device, UserVerification::Required, same);
        let credential = made.unwrap();
        device.count = 2;
        let mut changed = true;
        let shown = crate::tests::sign_in(&mut device, &credential, &[], |answer| {
            let before = answer.clone();
            mutate_field(answer, field, &mutations);
            changed = *answer != before;
        });
        prop_assert_eq!(shown.is_err(), changed);
    }

    /// Registration signs nothing; what is taken must still hold together.
    #[test]
    fn a_changed_registration_is_refused_or_holds_together(
        which in 0_usize..3,
        field in any::<prop::sample::Index>(),
        mutations in mutations(),
    ) {
        let mut device = Authenticator::new(key(which));
        let made = crate::tests::register(&mut device, UserVerification::Required, |answer| {
            mutate_field(answer, field, &mutations);
        });
        if let Ok(made) = made {
            prop_assert_eq!(made.id.as_bytes(), &device.id);
            prop_assert_eq!(&made.user_handle[..], USER.handle);
            prop_assert!(made.user_verified);
            prop_assert!(made.backup_eligible || !made.backup_state);
            prop_assert_eq!(serde_json::from_value::<Credential>(value(&made)).unwrap(), made);
        }
    }

    /// The text of an answer may be anything.
    #[test]
    fn a_changed_text_stops_nothing(mutations in mutations(), noise in any::<Vec<u8>>()) {
        let passkeys = passkeys();
        let rp = RelyingParty::new(&passkeys).unwrap();
        let verification = UserVerification::Preferred;
        let mut device = Authenticator::new(PrivateKey::es256());
        let (options, making) = begin_registration(&rp, &USER, &[], verification, at(NOW)).unwrap();
        let made = device.create(&value(options)).to_string().into_bytes();
        let credential = finish_registration(&rp, &making, &made, at(NOW)).unwrap();
        let (options, state) = begin_sign_in(&rp, &[], verification, at(NOW)).unwrap();
        let shown = device.get(&value(options)).to_string().into_bytes();
        for mut answer in [made, shown, noise] {
            mutations.iter().for_each(|mutation| mutate(&mut answer, mutation));
            let _ = user_handle(&answer);
            let _ = finish_registration(&rp, &making, &answer, at(NOW));
            let _ = finish_sign_in(&rp, &state, &credential, &answer, at(NOW));
        }
    }
}
