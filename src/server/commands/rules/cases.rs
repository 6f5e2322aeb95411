//! The tests of a `*.test.json` file: who does what with which document, and what is expected.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use access::{Document, Found, Lookup, Operation, Request, Rules, Unreadable, Unwritable, strip};
use compact_str::CompactString;
use domain::access::Auth;
use domain::json::{Limits, compact_object};
use domain::projects::People;
use domain::{CollectionName, DocumentId, SessionId, Timestamp, UserId};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::text::{Problem, Text};

/// The id of a document where a test does not say one.
const ID: &str = "test";

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'a> {
    collection: CollectionName,
    /// What `get` and `exists` find, by `collection/id`.
    #[serde(borrow, default)]
    documents: BTreeMap<String, &'a RawValue>,
    /// Who there is, by a name for the tests.
    #[serde(default)]
    users: BTreeMap<String, User>,
    /// What roles and groups include.
    #[serde(default)]
    people: People,
    #[serde(borrow)]
    tests: Vec<&'a RawValue>,
}

/// Somebody, as rules see it under `auth`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct User {
    /// The name in the tests when absent.
    uid: Option<UserId>,
    session: Option<SessionId>,
    roles: Vec<CompactString>,
    groups: Vec<CompactString>,
    claims: Map<String, Value>,
    /// 1 when absent.
    level: Option<u8>,
    methods: Vec<CompactString>,
    email: Option<CompactString>,
    email_verified: bool,
    phone: Option<CompactString>,
    anonymous: bool,
    /// The test's time when absent.
    authenticated_at: Option<Timestamp>,
    impersonator: Option<CompactString>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Op {
    Read,
    List,
    Create,
    Update,
    Delete,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Expect {
    Allow,
    Deny,
}

/// One test.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Test<'a> {
    name: String,
    /// One of the users; `null` or absent for somebody who is not signed in.
    #[serde(default)]
    r#as: Option<String>,
    op: Op,
    #[serde(borrow, default)]
    before: Option<&'a RawValue>,
    #[serde(borrow, default)]
    after: Option<&'a RawValue>,
    #[serde(default)]
    meta: Meta,
    /// Now when absent.
    #[serde(default)]
    now: Option<Timestamp>,
    expect: Expect,
    /// The fields that are taken out of what is read; not looked at when absent.
    #[serde(default)]
    hidden: Option<Vec<String>>,
    /// The field that may not be written; not looked at when absent.
    #[serde(default)]
    denied_field: Option<String>,
}

/// What rules see of the document under `meta`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Meta {
    id: Option<DocumentId>,
    version: Option<u64>,
    created_at: Option<Timestamp>,
    updated_at: Option<Timestamp>,
}

/// What came of a test.
pub(super) struct Verdict {
    pub(super) name: String,
    /// What was expected and what came, where they differ.
    pub(super) failure: Option<String>,
}

/// What rules say.
#[derive(Debug, PartialEq, Eq)]
enum Actual {
    /// Yes, without these fields.
    Allowed(Vec<String>),
    /// No; because of a field, or for a reason.
    Denied(Option<String>, Option<String>),
}

/// The documents of the file.
struct Documents(BTreeMap<(String, String), Vec<u8>>);

impl Lookup for Documents {
    fn get(&self, collection: &str, id: &str) -> Found<'_> {
        let found = self.0.get(&(collection.to_owned(), id.to_owned()));
        found.map_or(Found::Nothing, |data| Found::Document(data))
    }
}

/// Runs the tests of a file. Errors with the first thing in it that can't be used.
pub(super) fn run(text: &Text, rules: &Rules) -> Result<Vec<Verdict>, Problem> {
    let file: File<'_> = text.parse(&text.text)?;
    let mut documents = BTreeMap::new();
    for (name, raw) in &file.documents {
        let ids = name.split_once('/').filter(|(collection, id)| {
            CollectionName::new(collection).is_ok() && DocumentId::new(id).is_ok()
        });
        let at = text.start(raw.get());
        let (collection, id) = ids.ok_or_else(|| {
            text.problem(at, format!("{name:?} is not the name of a document: collection/id"))
        })?;
        documents.insert((collection.to_owned(), id.to_owned()), data(text, raw)?);
    }
    let documents = Documents(documents);
    let verdict = |raw: &&RawValue| {
        let test: Test<'_> = text.parse(raw.get())?;
        let case = Case { text, at: text.start(raw.get()), file: &file, test: &test };
        let actual = case.ask(rules, &documents)?;
        let failure = test.failure(&actual);
        Ok(Verdict { name: test.name, failure })
    };
    file.tests.iter().map(verdict).collect()
}

fn data(text: &Text, raw: &RawValue) -> Result<Vec<u8>, Problem> {
    compact_object(raw.get().as_bytes(), Limits::DOCUMENT)
        .map_err(|invalid| text.problem(text.start(raw.get()), format!("a document {invalid}")))
}

/// One test and what is around it.
struct Case<'a> {
    text: &'a Text,
    at: usize,
    file: &'a File<'a>,
    test: &'a Test<'a>,
}

impl Case<'_> {
    fn ask(&self, rules: &Rules, documents: &Documents) -> Result<Actual, Problem> {
        self.check()?;
        let (test, collection) = (self.test, self.file.collection.as_str());
        let now = test.now.unwrap_or_else(clock);
        let auth = match &test.r#as {
            Some(name) => Some(self.user(name, now)?),
            None => None,
        };
        let of = |raw: Option<&RawValue>| raw.map(|raw| data(self.text, raw)).transpose();
        let (before, after) = (of(test.before)?, of(test.after)?);
        let id = test.meta.id.as_ref().map_or(ID, DocumentId::as_str);
        let created = test.meta.created_at.unwrap_or(now);
        let version = test.meta.version.unwrap_or(1);
        let seen =
            |data, version, updated| Document::new(id, collection, version, created, updated, data);
        let updated = test.meta.updated_at.unwrap_or(created);
        let next = version + u64::from(before.is_some());
        let (before, after) = (
            before.as_ref().map(|data| seen(data, version, updated)),
            after.as_ref().map(|data| seen(data, next, now)),
        );
        let request = Request {
            operation: test.op.into(),
            auth: auth.as_ref(),
            before: before.as_ref(),
            after: after.as_ref(),
            now,
            lookup: documents,
        };
        let is_there = |path: &str| {
            let path = access::Path::parse(path).ok();
            let data = test.before.map(|raw| data(self.text, raw)).transpose().ok().flatten();
            path.zip(data).is_some_and(|(path, data)| strip(&data, &[path]) != data)
        };
        Ok(decide(rules, &request, is_there))
    }

    /// Refuses tests of what can't happen.
    fn check(&self) -> Result<(), Problem> {
        let test = self.test;
        let (before, after) = (test.before.is_some(), test.after.is_some());
        let wrong = match test.op {
            Op::Read if after => "read has no \"after\"",
            Op::List if !before || after => "list needs \"before\" and has no \"after\"",
            Op::Create if before || !after => "create needs \"after\" and has no \"before\"",
            Op::Update if !(before && after) => "update needs \"before\" and \"after\"",
            Op::Delete if !before || after => "delete needs \"before\" and has no \"after\"",
            _ => "",
        };
        let is_read = matches!(test.op, Op::Read | Op::List);
        let wrong = match (wrong, test.expect) {
            ("", Expect::Deny) if test.hidden.is_some() => "what is denied hides no fields",
            ("", _) if test.hidden.is_some() && !is_read => "only read and list hide fields",
            ("", Expect::Allow) if test.denied_field.is_some() => "what is allowed denies no field",
            ("", _) if test.denied_field.is_some() && is_read => {
                "only writes are denied by a field"
            }
            (wrong, _) => wrong,
        };
        match wrong {
            "" => Ok(()),
            wrong => Err(self.text.problem(self.at, format!("{:?}: {wrong}", test.name))),
        }
    }

    fn user(&self, name: &str, now: Timestamp) -> Result<Auth, Problem> {
        let wrong =
            |what: String| self.text.problem(self.at, format!("{:?}: {what}", self.test.name));
        let user = self.file.users.get(name);
        let user = user.ok_or_else(|| wrong(format!("there is no user {name:?}")))?;
        let uid = match &user.uid {
            Some(uid) => uid.clone(),
            None => UserId::new(name).map_err(|error| wrong(format!("{name:?}: {error}")))?,
        };
        let mut groups = user.groups.clone();
        groups.sort_unstable();
        Ok(Auth {
            uid,
            session: user.session.clone(),
            roles: self.file.people.effective(&user.roles, &user.groups),
            groups,
            claims: user.claims.clone(),
            level: user.level.unwrap_or(1),
            methods: user.methods.clone(),
            email: user.email.clone(),
            email_verified: user.email_verified,
            phone: user.phone.clone(),
            is_anonymous: user.anonymous,
            authenticated_at: user.authenticated_at.unwrap_or(now),
            impersonator: user.impersonator.clone(),
        })
    }
}

/// As a server decides it: the operation's rule, and then those of fields.
fn decide(rules: &Rules, request: &Request<'_>, is_there: impl Fn(&str) -> bool) -> Actual {
    let denied = |why: &str| Actual::Denied(None, Some(why.to_owned()));
    if !rules.has_rule(request.operation) {
        return denied(&format!("there is no rule for {}", request.operation));
    }
    match rules.explain(request) {
        Ok(access::Verdict::Allow) => {}
        Ok(_) => return Actual::Denied(None, None),
        Err(fault) => return denied(&fault.to_string()),
    }
    if matches!(request.operation, Operation::Read | Operation::List) {
        let Unreadable::Fields(fields) = rules.unreadable(request) else {
            return denied("a field's rule can't be decided");
        };
        let hidden = fields.iter().map(|path| path.as_str()).filter(|path| is_there(path));
        return Actual::Allowed(hidden.map(str::to_owned).collect());
    }
    match rules.unwritable(request, &[]) {
        Unwritable::Nothing => Actual::Allowed(Vec::new()),
        Unwritable::Field(path) => Actual::Denied(Some(path.as_str().to_owned()), None),
        Unwritable::Needs(_) => denied("a field's rule can't be decided"),
    }
}

impl Test<'_> {
    /// What was expected and what came, where they differ.
    fn failure(&self, actual: &Actual) -> Option<String> {
        let (is_expected, expected) = match (self.expect, actual) {
            (Expect::Allow, Actual::Allowed(hidden)) => match &self.hidden {
                None => (true, String::new()),
                Some(wanted) => (same(wanted, hidden), format!("allow {}", hiding(wanted))),
            },
            (Expect::Deny, Actual::Denied(field, _)) => match &self.denied_field {
                None => (true, String::new()),
                Some(wanted) => (field.as_ref() == Some(wanted), format!("deny of {wanted:?}")),
            },
            (Expect::Allow, Actual::Denied(..)) => (false, "allow".to_owned()),
            (Expect::Deny, Actual::Allowed(_)) => (false, "deny".to_owned()),
        };
        (!is_expected).then(|| format!("expected {expected}, got {}", shown(actual)))
    }
}

fn shown(actual: &Actual) -> String {
    match actual {
        Actual::Allowed(hidden) if hidden.is_empty() => "allow".to_owned(),
        Actual::Allowed(hidden) => format!("allow {}", hiding(hidden)),
        Actual::Denied(Some(field), _) => format!("deny of {field:?}"),
        Actual::Denied(None, Some(why)) => format!("deny: {why}"),
        Actual::Denied(None, None) => "deny: the rule is false".to_owned(),
    }
}

fn hiding(fields: &[String]) -> String {
    match fields {
        [] => "hiding nothing".to_owned(),
        fields => format!("hiding {}", fields.join(", ")),
    }
}

/// Whether both have the same fields, in whatever order.
fn same(one: &[String], other: &[String]) -> bool {
    let sorted = |names: &[String]| {
        let mut names = names.to_vec();
        names.sort_unstable();
        names.dedup();
        names
    };
    sorted(one) == sorted(other)
}

impl From<Op> for Operation {
    fn from(op: Op) -> Self {
        match op {
            Op::Read => Self::Read,
            Op::List => Self::List,
            Op::Create => Self::Create,
            Op::Update => Self::Update,
            Op::Delete => Self::Delete,
        }
    }
}

fn clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::commands::rules::settings::Settings;

    fn rules() -> Rules {
        let settings = json!({
            "rules": {
                "read": "auth != null && (resource.owner == auth.uid || hasRole('viewer'))",
                "list": "get('rooms', resource.room).open",
                "create": "request.resource.owner == auth.uid && auth.level >= 2",
                "update": "now < meta.createdAt + duration('1h') && meta.version == 3",
            },
            "fields": {"secret": {"read": "hasRole('auditor')"}, "state": {"write": "false"}},
        });
        Settings::of(Text::new("n.rules.json", settings.to_string())).unwrap().rules
    }

    /// The failures of tests, one line each; empty for one that is fine.
    fn failures(tests: Value) -> Result<Vec<String>, String> {
        let file = json!({
            "collection": "notes",
            "documents": {"rooms/r1": {"open": true}, "rooms/r2": {}},
            "users": {
                "ann": {}, "bob": {"uid": "b", "groups": ["staff"]},
                "eve": {"roles": ["auditor", "viewer"], "level": 2},
            },
            "people": {
                "roles": {"editor": {"includes": ["viewer"]}},
                "groups": {"staff": {"roles": ["editor"]}},
            },
            "tests": tests,
        });
        let text = Text::new("n.test.json", serde_json::to_string_pretty(&file).unwrap());
        let verdicts = run(&text, &rules()).map_err(|problem| problem.to_string())?;
        Ok(verdicts.into_iter().map(|one| one.failure.unwrap_or_default()).collect())
    }

    #[test]
    fn tests_that_hold_pass() {
        let note = json!({"owner": "ann", "room": "r1", "secret": 1});
        let hour = json!({"version": 3, "createdAt": "2026-01-01T00:00:00Z"});
        let tests = json!([
            {"name": "", "as": "ann", "op": "read", "before": note, "expect": "allow",
             "hidden": ["secret"]},
            {"name": "", "as": "eve", "op": "read", "before": note, "expect": "allow",
             "hidden": []},
            {"name": "", "as": "bob", "op": "read", "before": note, "expect": "allow"},
            {"name": "", "as": null, "op": "read", "before": note, "expect": "deny"},
            {"name": "", "op": "list", "before": note, "expect": "allow"},
            {"name": "", "op": "list", "before": {"room": "r3"}, "expect": "deny"},
            {"name": "", "as": "eve", "op": "create", "after": {"owner": "eve"}, "expect": "allow"},
            {"name": "", "op": "update", "before": {}, "after": {"a": 1}, "meta": hour,
             "now": "2026-01-01T00:59:00Z", "expect": "allow"},
            {"name": "", "op": "update", "before": {}, "after": {"a": 1}, "meta": hour,
             "now": "2026-01-01T01:01:00Z", "expect": "deny"},
            {"name": "", "op": "update", "before": {"state": 1}, "after": {"state": 2},
             "meta": {"version": 3}, "expect": "deny", "deniedField": "state"},
            {"name": "", "as": "ann", "op": "delete", "before": note, "expect": "deny"},
        ]);
        assert_eq!(failures(tests), Ok(vec![String::new(); 11]));
    }

    #[test]
    fn tests_that_fail_say_why() {
        let note = json!({"owner": "ann", "room": "r2", "secret": 1});
        let tests = json!([
            {"name": "", "as": "ann", "op": "read", "before": note, "expect": "deny"},
            {"name": "", "as": "ann", "op": "read", "before": note, "expect": "allow",
             "hidden": []},
            {"name": "", "op": "read", "before": note, "expect": "allow"},
            {"name": "", "op": "list", "before": note, "expect": "allow"},
            {"name": "", "op": "delete", "before": note, "expect": "allow"},
            {"name": "", "op": "update", "before": {}, "after": {"state": 2},
             "meta": {"version": 3}, "expect": "deny", "deniedField": "other"},
        ]);
        let expected = [
            "expected deny, got allow hiding secret",
            "expected allow hiding nothing, got allow hiding secret",
            "expected allow, got deny: the rule is false",
            "expected allow, got deny: a field or key is not there",
            "expected allow, got deny: there is no rule for delete",
            "expected deny of \"other\", got deny of \"state\"",
        ];
        assert_eq!(failures(tests).unwrap(), expected);
    }

    #[test]
    fn what_cannot_be_a_test_is_refused_with_its_place() {
        for (test, told) in [
            (json!({"name": "x", "op": "raed", "expect": "deny"}), "unknown variant `raed`"),
            (json!({"name": "x", "op": "read", "expects": "deny"}), "unknown field `expects`"),
            (json!({"name": "x", "op": "read"}), "missing field `expect`"),
            (json!({"name": "x", "op": "update", "before": {}, "expect": "deny"}), "update needs"),
            (json!({"name": "x", "op": "list", "expect": "deny"}), "list needs"),
            (json!({"name": "x", "op": "read", "as": "zoe", "expect": "deny"}), "no user \"zoe\""),
            (json!({"name": "x", "op": "read", "before": [], "expect": "deny"}), "a document must"),
            (json!({"name": "x", "op": "read", "now": "noon", "expect": "deny"}), "not a time"),
            (
                json!({"name": "x", "op": "read", "expect": "deny", "hidden": []}),
                "what is denied hides no fields",
            ),
        ] {
            let problem = failures(json!([test])).unwrap_err();
            let mut parts = problem.splitn(4, ':');
            assert_eq!(parts.next(), Some("n.test.json"));
            let line: usize = parts.next().unwrap().parse().unwrap();
            assert!(line > 10, "{problem}");
            assert!(problem.contains(told), "{told}: {problem}");
        }
    }
}
