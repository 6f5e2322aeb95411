//! Access rules: a rule's text and two documents, a line of dashes between them. Whatever they
//! are, nothing panics, the parser included; a question ends within its steps; and what is
//! stripped from a document is gone, while the rest stays JSON.
#![no_main]

use access::{
    Document, FieldSource, NoDocuments, Operation, Path, Request, Rules, Source, Unreadable,
    Unwritable, Verdict, strip,
};
use domain::Timestamp;
use domain::access::Auth;
use domain::json::{Limits, compact_object};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut parts = text.split("\n---\n");
    let rule = parts.next().unwrap_or_default();
    let mut object = || {
        let text = parts.next().unwrap_or("{}");
        compact_object(text.as_bytes(), Limits::DOCUMENT).unwrap_or_else(|_| b"{}".to_vec())
    };
    let (before, after) = (object(), object());
    strips(&before);

    let field = FieldSource { read: Some(rule), write: Some(rule) };
    let source = Source {
        update: Some(rule),
        fields: vec![("a", field), ("/b/c", field)],
        ..Source::default()
    };
    let rules = match Rules::compile(&source) {
        Ok(rules) => rules,
        Err(invalid) => {
            assert!(invalid.message != "cannot be parsed", "the parser panics");
            assert!(invalid.line > 0 && invalid.column > 0);
            return;
        }
    };
    let time = Timestamp::default();
    let before = Document::new("d", "c", 1, time, time, &before);
    let after = Document::new("d", "c", 1, time, time, &after);
    let auth = auth();
    for auth in [None, Some(&auth)] {
        let request = Request {
            operation: Operation::Update,
            auth,
            before: Some(&before),
            after: Some(&after),
            now: time,
            lookup: &NoDocuments,
        };
        let verdict = rules.check(&request);
        assert_eq!(verdict, rules.check(&request), "not the same twice");
        assert!(!matches!(verdict, Verdict::Needs(_)), "all documents are known");
        if rules.uses(Operation::Update).lookup {
            continue;
        }
        let Unreadable::Fields(fields) = rules.unreadable(&request) else { unreachable!() };
        assert!(fields.len() <= 2);
        let unwritable = rules.unwritable(&request, &[]);
        if fields.is_empty() && verdict == Verdict::Allow {
            // The same rule everywhere: who may do all may write all, steps permitting.
            assert!(!matches!(unwritable, Unwritable::Needs(_)));
        }
    }
});

fn strips(document: &[u8]) {
    let paths = ["a", "b.c", "/\"", "b.b"].map(|path| Path::parse(path).expect("a path"));
    let stripped = strip(document, &paths);
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&stripped).expect("JSON stays JSON");
    assert!(!object.contains_key("a") && !object.contains_key("\""));
    assert_eq!(strip(&stripped, &paths), stripped, "twice is once");
    assert_eq!(strip::<Path>(document, &[]), document, "nothing is as it was");
}

fn auth() -> Auth {
    serde_json::from_value(serde_json::json!({
        "uid": "alice", "session": null, "roles": ["admin"], "groups": [], "level": 1,
        "claims": {"a": [1, {"b": 2.5}], "c": u64::MAX}, "methods": ["pwd"], "email": "a@b.c",
        "email_verified": true, "phone": null, "is_anonymous": false,
        "authenticated_at": "2026-01-31T12:00:00Z", "impersonator": null,
    }))
    .expect("an Auth")
}
