//! What is refused when rules are compiled, and how it is said.

use super::*;

fn refused(expression: &str) -> Invalid {
    let source = Source { create: Some(expression), ..Source::default() };
    match Rules::compile(&source) {
        Ok(_) => panic!("{expression} was compiled"),
        Err(invalid) => invalid,
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (expression, line, column, part) in [
        ("auth != null &&", 1, 16, ""),
        ("auth !=\n null && (", 2, 11, ""),
        ("user.uid == 'x'", 1, 1, "no variable \"user\""),
        ("'ä' == 'ö' && foo", 1, 15, "no variable \"foo\""),
        ("true\n  && auth.id == 'x'", 2, 6, "auth has no field \"id\""),
        ("has(request.auth)", 1, 5, "request has no field"),
        ("has(meta.size)", 1, 5, "meta has no field"),
        ("true && hasroles('x')", 1, 17, "no function \"hasroles\""),
        ("hasRole()", 1, 8, "not called so"),
        ("'a'.hasRole()", 1, 12, "not called so"),
        ("size('a', 'b')", 1, 5, "not called so"),
        ("resource.l.all(x)", 1, 15, "not called so"),
        ("all(x, true)", 1, 4, "not called so"),
        ("has(auth)", 1, 4, "has()"),
        ("resource.l.all(auth, true)", 1, 16, "already has a meaning"),
        ("resource.l.all(x.y, true)", 1, 17, "variable's name"),
        ("resource.l.all(x, true) && x", 1, 28, "no variable"),
        ("[1].all(a, [1].all(b, [1].all(c, true)))", 1, 31, "loops"),
        ("'a'.matches('(')", 1, 13, "unclosed group"),
        ("'a'.matches('a{1000}{1000}')", 1, 13, "too large"),
        ("changed('a..b')", 1, 9, "empty name"),
        ("Foo{a: 1}", 1, 4, "messages"),
        ("auth.?uid", 1, 5, ""),
        (".auth == null", 1, 2, "no variable"),
        ("", 1, 1, ""),
    ] {
        let invalid = refused(expression);
        assert_eq!(invalid.rule, "create");
        assert!(invalid.message.contains(part), "{expression}: {invalid}");
        assert_eq!((invalid.line, invalid.column), (line, column), "{expression}: {invalid}");
    }
}

#[test]
fn fields_are_named_where_they_are_wrong() {
    let with = |fields: Vec<(&'static str, FieldSource<'static>)>| {
        Rules::compile(&Source { fields, ..Source::default() }).unwrap_err()
    };
    let read = FieldSource { read: Some("nope"), write: None };
    let write = FieldSource { read: None, write: Some("nope") };
    assert_eq!(with(vec![("a.b", read)]).rule, "fields/a.b/read");
    assert_eq!(with(vec![("a.b", write)]).rule, "fields/a.b/write");
    assert_eq!(with(vec![("a..b", write)]).rule, "fields/a..b");
    let none = FieldSource::default();
    assert_eq!(with(vec![("a.b", none), ("/a/b", none)]).rule, "fields//a/b");
    let names: Vec<String> = (0..=FIELDS_MAX).map(|n| format!("f{n}")).collect();
    let fields: Vec<_> = names.iter().map(|name| (name.as_str(), none)).collect();
    let most = Source { fields: fields[..FIELDS_MAX].to_vec(), ..Source::default() };
    assert!(Rules::compile(&most).is_ok());
    assert_eq!(Rules::compile(&Source { fields, ..most }).unwrap_err().rule, "fields");
}
