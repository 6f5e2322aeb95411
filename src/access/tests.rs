//! What rules see and answer. The language itself is tested in `language_tests.rs` and
//! `agreement_tests.rs`.

use std::collections::BTreeMap;

use domain::access::Auth;
use domain::{SessionId, Timestamp, UserId};

use super::*;

pub(crate) fn alice() -> Auth {
    let claims = serde_json::json!({ "team": { "id": 7, "tags": ["x"] }, "big": u64::MAX });
    Auth {
        uid: UserId::new("alice").unwrap(),
        session: Some(SessionId::new("s1").unwrap()),
        roles: vec!["admin".into(), "editor".into()],
        groups: vec!["staff".into()],
        claims: claims.as_object().unwrap().clone(),
        level: 2,
        methods: vec!["pwd".into(), "otp".into()],
        email: Some("alice@example.com".into()),
        email_verified: true,
        phone: None,
        is_anonymous: false,
        authenticated_at: "2026-01-31T12:00:00Z".parse().unwrap(),
        impersonator: None,
    }
}

pub(crate) fn now() -> Timestamp {
    "2026-02-01T12:00:00Z".parse().unwrap()
}

pub(crate) fn document(data: &str) -> Document<'_> {
    let created_at = "2026-01-01T00:00:00Z".parse().unwrap();
    Document::new("d1", "posts", 3, created_at, now(), data.as_bytes())
}

/// Documents by `collection/id`; those without text are not loaded.
#[derive(Default)]
pub(crate) struct Loaded(BTreeMap<String, Option<&'static str>>);

impl Loaded {
    pub(crate) fn with(mut self, path: &str, data: Option<&'static str>) -> Self {
        self.0.insert(path.to_owned(), data);
        self
    }
}

impl Lookup for Loaded {
    fn get(&self, collection: &str, id: &str) -> Found<'_> {
        match self.0.get(&format!("{collection}/{id}")) {
            Some(Some(data)) => Found::Document(data.as_bytes()),
            Some(None) => Found::Unknown,
            None => Found::Nothing,
        }
    }
}

pub(crate) fn compiled(expression: &str) -> Rules {
    let all = Some(expression);
    let source =
        Source { read: all, list: all, create: all, update: all, delete: all, fields: Vec::new() };
    Rules::compile(&source).unwrap_or_else(|why| panic!("{expression}: {why}"))
}

/// A question about an update by alice.
pub(crate) struct Case<'a> {
    pub(crate) auth: Option<&'a Auth>,
    pub(crate) before: Option<&'a str>,
    pub(crate) after: Option<&'a str>,
    pub(crate) lookup: &'a dyn Lookup,
    pub(crate) operation: Operation,
}

impl Case<'_> {
    pub(crate) fn ask<T>(&self, question: impl FnOnce(&Request<'_>) -> T) -> T {
        let (before, after) = (self.before.map(document), self.after.map(document));
        let request = Request {
            operation: self.operation,
            auth: self.auth,
            before: before.as_ref(),
            after: after.as_ref(),
            now: now(),
            lookup: self.lookup,
        };
        question(&request)
    }
}

pub(crate) const BEFORE: &str = concat!(
    r#"{"owner":"alice","members":["bob","al\u0069ce","eve"],"n":5,"big":18446744073709551615,"#,
    r#""price":1.50,"address":{"city":"Bern","zip":3000},"esc\"aped":"a\nb","nothing":null,"#,
    r#""due":"2026-03-01T00:00:00Z","items":[{"p":1,"q":2},{"p":3}],"yes":true}"#
);
const AFTER: &str = concat!(
    r#"{"owner":"bob","members":["bob","alice","eve"],"n":5.0,"big":18446744073709551614,"#,
    r#""price":1.5,"address":{"zip":3000,"city":"Basel"},"esc\"aped":"a\nb","#,
    r#""due":"2026-03-01T00:00:00Z","items":[{"p":1,"q":2},{"p":3}],"yes":true,"new":1}"#
);

fn explained(expression: &str, auth: Option<&Auth>) -> Result<Verdict, Fault> {
    let case = Case {
        auth,
        before: Some(BEFORE),
        after: Some(AFTER),
        lookup: &NoDocuments,
        operation: Operation::Update,
    };
    case.ask(|request| compiled(expression).explain(request))
}

fn allows(expression: &str) -> bool {
    match explained(expression, Some(&alice())) {
        Ok(verdict) => verdict == Verdict::Allow,
        Err(fault) => panic!("{expression}: {fault}"),
    }
}

#[test]
fn rules_see_who_asks() {
    for expression in [
        "auth != null && auth.uid == 'alice' && auth.session == 's1'",
        "auth.roles == ['admin', 'editor'] && 'staff' in auth.groups && size(auth.methods) == 2",
        "auth.claims.team.id == 7 && 'x' in auth.claims.team.tags && has(auth.claims.team)",
        "auth.claims.big == 18446744073709551615u && !has(auth.claims.none)",
        "auth.level >= 2 && auth.emailVerified && !auth.anonymous",
        "auth.email.endsWith('@example.com') && auth.phone == null && auth.impersonator == null",
        "now - auth.authenticatedAt <= duration('24h')",
        "auth.authenticatedAt == timestamp('2026-01-31T12:00:00Z')",
        "hasRole('admin') && !hasRole('owner') && auth['uid'] == 'alice' && 'uid' in auth",
        "auth.methods.exists(m, m == 'otp') && auth.groups.all(g, g.startsWith('st'))",
        "auth == auth && size(auth) == 13",
    ] {
        assert!(allows(expression), "{expression}");
    }
    for expression in ["auth == null", "!hasRole('admin')", "auth == null || auth.uid == 'x'"] {
        assert_eq!(explained(expression, None), Ok(Verdict::Allow), "{expression}");
    }
    assert_eq!(explained("auth.uid == 'alice'", None), Err(Fault::Type));
    assert_eq!(explained("auth != null && auth.uid == 'alice'", None), Ok(Verdict::Deny));
}

#[test]
fn rules_see_the_documents() {
    for expression in [
        "resource.owner == auth.uid && request.resource.owner == 'bob'",
        "auth.uid in resource.members && !('mallory' in resource.members)",
        "resource.members[1] == 'alice' && resource['esc\"aped'] == 'a\\nb'",
        "resource.n == 5 && request.resource.n == 5 && resource.n == request.resource.n",
        "resource.big == 18446744073709551615u && resource.price > 1 && resource.price < 1.6",
        "resource.address.city == 'Bern' && has(resource.address.zip) && !has(resource.address.x)",
        "resource.nothing == null && has(resource.nothing) && !has(resource.other)",
        "timestamp(resource.due) > now && request.op == 'update' && resource.yes",
        "resource.items.all(i, i.p > 0) && resource.items.exists_one(i, has(i.q))",
        "resource.items.map(i, i.p) == [1, 3] && resource.items.filter(i, i.p > 1).size() == 1",
        "meta.id == 'd1' && meta.collection == 'posts' && meta.version == 3",
        "meta.createdAt < meta.updatedAt && meta.updatedAt == now",
        "resource == resource && resource != request.resource && size(resource) == 11",
        "resource.exists(name, name == 'owner') && 'owner' in resource",
        "request.resource.address == {'city': 'Basel', 'zip': 3000}",
    ] {
        assert!(allows(expression), "{expression}");
    }
    assert_eq!(explained("resource.other == 1", None), Err(Fault::Missing));
    assert_eq!(explained("resource.owner", None), Err(Fault::Type));
    assert_eq!(explained("resource.other == 1 || true", None), Ok(Verdict::Allow));
}

#[test]
fn rules_see_what_changes() {
    for expression in [
        "changed('owner') && changed('address.city') && changed('address') && changed('new')",
        "!changed('address.zip') && !changed('members') && !changed('n') && !changed('price')",
        "changed('big') && changed('nothing') && !changed('none') && !changed('items.q')",
        "changed('/address/city') && !changed('esc\"aped')",
        "changedFields() == ['owner', 'big', 'address', 'nothing', 'new']",
        "changedFields().all(f, f in ['owner', 'big', 'address', 'nothing', 'new'])",
        "['owner', 'address.city'].all(f, changed(f))",
    ] {
        assert!(allows(expression), "{expression}");
    }
    assert_eq!(explained("changed('a' + '..')", None), Err(Fault::Conversion));
    let create = Case {
        auth: None,
        before: None,
        after: Some(r#"{"a":1}"#),
        lookup: &NoDocuments,
        operation: Operation::Create,
    };
    let rule = "resource == null && changed('a') && !changed('b') && changedFields() == ['a'] \
                && request.op == 'create' && meta.id == 'd1'";
    assert_eq!(create.ask(|request| compiled(rule).check(request)), Verdict::Allow);
}

#[test]
fn no_rule_or_no_bool_denies() {
    let rules = Rules::compile(&Source { read: Some("true"), ..Source::default() }).unwrap();
    let mut case = Case {
        auth: None,
        before: Some("{}"),
        after: None,
        lookup: &NoDocuments,
        operation: Operation::Read,
    };
    assert_eq!(case.ask(|request| rules.check(request)), Verdict::Allow);
    for operation in [Operation::List, Operation::Create, Operation::Update, Operation::Delete] {
        case.operation = operation;
        assert_eq!(case.ask(|request| rules.check(request)), Verdict::Deny);
        assert!(!rules.has_rule(operation) && rules.ast(operation).is_none());
    }
    for expression in ["1", "'true'", "null", "1/0 == 1", "resource.x", "[true]"] {
        assert_eq!(case.ask(|request| compiled(expression).check(request)), Verdict::Deny);
    }
    assert!(!rules.is_empty() && Rules::compile(&Source::default()).unwrap().is_empty());
}

#[test]
fn broken_documents_deny() {
    for data in ["", "null", "{\"a\":1", "{\"a\":nope}", "{\"a\":1e999}", "[1]"] {
        let case = Case {
            auth: None,
            before: Some(data),
            after: Some(data),
            lookup: &NoDocuments,
            operation: Operation::Update,
        };
        for expression in
            ["resource.a == 1", "resource.a != 1", "!changed('b')", "size(resource) >= 0"]
        {
            let verdict = case.ask(|request| compiled(expression).check(request));
            let is_whole = data.ends_with('}');
            assert!(verdict == Verdict::Deny || is_whole, "{data} {expression}");
        }
    }
}

#[test]
fn other_documents_are_asked_for_until_they_are_there() {
    let auth = alice();
    let rule = "get('teams', resource.team).owner == auth.uid && exists('users', auth.uid) \
                && !exists('bans', auth.uid) && get('users', 'nobody') == null";
    let ask = |lookup: &Loaded| {
        let case = Case {
            auth: Some(&auth),
            before: Some(r#"{"team":"t1"}"#),
            after: None,
            lookup,
            operation: Operation::Read,
        };
        case.ask(|request| compiled(rule).check(request))
    };
    let pair = |collection: &str, id: &str| (collection.to_owned(), id.to_owned());
    let lookup = Loaded::default().with("teams/t1", None).with("users/alice", None);
    let both = vec![pair("teams", "t1"), pair("users", "alice")];
    assert_eq!(ask(&lookup), Verdict::Needs(both), "asked for together");
    let lookup = lookup.with("teams/t1", Some(r#"{"owner":"alice"}"#));
    assert_eq!(ask(&lookup), Verdict::Needs(vec![pair("users", "alice")]));
    let lookup = lookup.with("users/alice", Some("{}"));
    assert_eq!(ask(&lookup), Verdict::Allow);
    let lookup = lookup.with("teams/t1", Some(r#"{"owner":"bob"}"#)).with("users/alice", None);
    assert_eq!(ask(&lookup), Verdict::Deny, "decided without what is missing");
}

#[test]
fn lookups_are_counted_by_document() {
    let ask = |rule: &str, lookup: &Loaded| {
        let case = Case {
            auth: None,
            before: Some(r#"{"ids":["0","1","2","3","4","5","6","7","8","9","10"]}"#),
            after: None,
            lookup,
            operation: Operation::Read,
        };
        case.ask(|request| compiled(rule).explain(request))
    };
    let mut lookup = Loaded::default();
    for n in 0..11 {
        lookup = lookup.with(&format!("a/{n}"), None);
    }
    let ten = "resource.ids.filter(i, i != '10')";
    let Ok(Verdict::Needs(needs)) = ask(&format!("{ten}.exists(i, exists('a', i))"), &lookup)
    else {
        panic!("ten are not too many")
    };
    assert_eq!(needs.len(), 10);
    let eleven = "resource.ids.exists(i, exists('a', i))";
    assert_eq!(ask(eleven, &lookup), Err(Fault::Lookups));
    assert_eq!(ask(&format!("{eleven} || true"), &lookup), Err(Fault::Lookups));
    assert_eq!(ask(eleven, &Loaded::default()), Err(Fault::Lookups), "known ones count too");
    assert_eq!(
        ask("resource.ids.all(i, !exists('a', 'x' + string(size(i))))", &lookup),
        Ok(Verdict::Allow)
    );
    assert_eq!(ask("exists('a', 1)", &lookup), Err(Fault::Type));
}

fn with_fields<'a>(fields: &[(&'a str, Option<&'a str>, Option<&'a str>)]) -> Rules {
    let fields = fields.iter().map(|&(path, read, write)| (path, FieldSource { read, write }));
    let fields = fields.collect();
    Rules::compile(&Source { fields, ..Source::default() }).unwrap()
}

#[test]
fn fields_that_may_not_be_seen() {
    let auth = alice();
    let rules = with_fields(&[
        ("salary", Some("hasRole('hr')"), None),
        ("address.zip", Some("auth != null"), None),
        ("/a.b", Some("resource.none"), None),
        ("written", None, Some("false")),
        ("notes", Some("exists('friends', auth.uid)"), None),
    ]);
    assert!(rules.has_field_read_rules() && rules.has_field_write_rules());
    assert!(rules.uses_of_field_reads().lookup && !rules.uses_of_field_writes().lookup);
    let ask = |auth, lookup: &Loaded| {
        let case =
            Case { auth, before: Some("{}"), after: None, lookup, operation: Operation::Read };
        case.ask(|request| match rules.unreadable(request) {
            Unreadable::Fields(fields) => {
                Ok(fields.iter().map(|path| path.to_string()).collect::<Vec<_>>())
            }
            Unreadable::Needs(needs) => Err(needs),
        })
    };
    let known = Loaded::default().with("friends/alice", Some("{}"));
    assert_eq!(ask(Some(&auth), &known).unwrap(), ["salary", "/a.b"]);
    assert_eq!(ask(None, &known).unwrap(), ["salary", "address.zip", "/a.b", "notes"]);
    let unknown = Loaded::default().with("friends/alice", None);
    assert_eq!(ask(Some(&auth), &unknown).unwrap_err().len(), 1);
}

#[test]
fn fields_that_may_not_be_written() {
    let rules = with_fields(&[
        ("owner", None, Some("false")),
        ("address.city", None, Some("request.resource.address.city == 'Bern'")),
        ("seen", Some("false"), None),
        ("items.price", None, Some("exists('a', 'b')")),
    ]);
    let lookup = Loaded::default().with("a/b", None);
    let ask = |before: Option<&str>, after: Option<&str>| {
        let operation = if before.is_none() { Operation::Create } else { Operation::Update };
        let case = Case { auth: None, before, after, lookup: &lookup, operation };
        case.ask(|request| match rules.unwritable(request, &[]) {
            Unwritable::Nothing => "-".to_owned(),
            Unwritable::Field(path) => path.to_string(),
            Unwritable::Needs(_) => "needs".to_owned(),
        })
    };
    let old = r#"{"owner":"a","address":{"city":"Bern","zip":1},"items":[{"price":1}]}"#;
    for (before, after, expected) in [
        (None, Some(r#"{"seen":1}"#), "-"),
        (None, Some(r#"{"owner":null}"#), "owner"),
        (None, Some(r#"{"address":{"city":"Bern"}}"#), "-"),
        (None, Some(r#"{"address":{"city":"Basel"}}"#), "address.city"),
        (None, Some(r#"{"address":{}}"#), "-"),
        (Some(old), Some(old), "-"),
        (Some(old), Some(r#"{"address":{"zip":2,"city":"Bern"},"items":[{"price":1}]}"#), "owner"),
        (Some(old), Some(r#"{"owner":"a","items":[{"price":1}]}"#), "address.city"),
        (Some(old), Some(r#"{"owner":"a","address":5,"items":[{"price":1}]}"#), "address.city"),
        (
            Some(old),
            Some(r#"{"items":[{"price":1.0}],"owner":"\u0061","address":{"city":"Bern"}}"#),
            "-",
        ),
        (
            Some(old),
            Some(r#"{"owner":"a","address":{"city":"Bern"},"items":[{"price":2}]}"#),
            "needs",
        ),
        (Some(old), None, "-"),
    ] {
        assert_eq!(ask(before, after), expected, "{after:?}");
    }
}

#[test]
fn rules_say_what_they_use() {
    let uses = |expression: &str| compiled(expression).uses(Operation::Read);
    let none = Uses::default();
    assert_eq!(uses("true && request.op == 'read'"), none);
    assert_eq!(uses("hasRole('x')"), Uses { auth: true, ..none });
    assert_eq!(uses("resource.a == 1"), Uses { before: true, ..none });
    assert_eq!(uses("request.resource.a == 1"), Uses { after: true, ..none });
    assert_eq!(uses("request['resource'] == null"), Uses { after: true, ..none });
    assert_eq!(uses("changed('a')"), Uses { before: true, after: true, ..none });
    assert_eq!(uses("meta.version > 1"), Uses { before: true, after: true, ..none });
    assert_eq!(uses("now > timestamp(0)"), Uses { now: true, ..none });
    assert_eq!(uses("exists('a', 'b')"), Uses { lookup: true, ..none });
    let rules = compiled("get('a', auth.uid) == resource");
    assert!(rules.needs_lookup(Operation::List) && rules.uses_auth(Operation::List));
    assert!(rules.uses_resource(Operation::List));
    assert!(!compiled("true").uses_resource(Operation::List));
}

#[test]
fn rules_go_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Rules>();
    shared::<Document<'_>>();
}
