//! What rules may cost: hostile texts at the parser, and questions that would take too long.

use std::time::{Duration, Instant};

use super::tests::{Case, alice, compiled};
use super::*;

/// Longest that one question or one compilation may take here: debug builds are slow.
const LONG: Duration = Duration::from_secs(10);

fn compile(text: &str) -> Result<Rules, Invalid> {
    Rules::compile(&Source { read: Some(text), ..Source::default() })
}

fn message(text: &str) -> String {
    compile(text).map(|_| String::new()).unwrap_or_else(|invalid| invalid.message)
}

fn with<T>(data: &str, question: impl FnOnce(&Request<'_>) -> T) -> T {
    let auth = alice();
    let operation = Operation::Read;
    let (before, after) = (Some(data), Some("{}"));
    Case { auth: Some(&auth), before, after, lookup: &NoDocuments, operation }.ask(question)
}

#[test]
fn hostile_texts_are_refused_in_time() {
    let parts = [
        "(",
        ")",
        "[",
        "{",
        "!",
        "-",
        "a",
        ".",
        "a.",
        "a+",
        "a-",
        "1*",
        "1<",
        "a&&",
        "a||",
        "a?",
        "a?b:",
        "a?b:c?",
        "a in ",
        "[1,",
        "{1:",
        "f(",
        "a.f(",
        "a[",
        "'",
        "\"",
        "'''",
        "r'",
        "b'",
        "\\",
        "\0",
        "é",
        "\u{1F600}",
        "//",
        "/**/",
        "&&",
        "||",
        "? :",
        "0x",
        "1u",
        "1e",
        "1.",
        "..",
        "has(a.",
        "x.all(y,",
        "`a`",
        "$",
        "#",
        "\u{feff}",
        "\u{2028}",
        "in ",
        "null ",
        "a{",
        "a{b:",
        "==",
        "a==",
        "b\"\\xff\"",
        "'\\u0000'",
        "'\\ud800'",
        "\"\\",
        "::",
        ",",
        "a ",
        "\n",
        "99999999999999999999",
        "1e999",
        "'\\x'",
        "'\\9'",
        "b'\\u0041'",
        "\"\"\"",
        "true?1:",
    ];
    let counts = [3_990, 1_990, 300, 30, 3, 1];
    let mut texts: Vec<String> =
        parts.iter().flat_map(|part| counts.map(|count| part.repeat(count))).collect();
    texts.extend(parts.iter().map(|part| part.repeat(EXPRESSION_BYTES_MAX / part.len())));
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("{1:", "}"),
        ("f(", ")"),
        ("a[", "]"),
        ("!(", ")"),
        ("-(", ")"),
        ("a.f(", ")"),
        ("true?", ":1"),
        ("true?1:(", ")"),
        ("[1].map(x,", ")"),
        ("a{b:", "}"),
    ] {
        let around = |count: usize| [&open.repeat(count), "1", &close.repeat(count)].concat();
        texts.extend([10, 30, 40, 41, 1_000].map(around));
    }
    texts.extend(texts.clone().iter().map(|text| format!("{text}1")));
    let mut compiled = 0;
    for text in texts {
        let began = Instant::now();
        compiled += usize::from(compile(&text).is_ok());
        let took = began.elapsed();
        assert!(took < LONG, "{took:?} for {:?}", text.chars().take(20).collect::<String>());
    }
    assert!(compiled > 10, "some are harmless: {compiled}");
}

#[test]
fn expressions_have_limits() {
    let chain = |count: usize, sign: &str| vec!["true"; count].join(sign);
    assert!(compile(&chain(500, " && ")).is_ok(), "a long chain is not deep");
    assert!(message(&chain(501, " && ")).contains("more than 1000 parts"));
    assert!(compile(&vec!["1"; 31].join(" + ")).is_ok());
    assert!(message(&vec!["1"; 33].join(" + ")).contains("deeper than 32"));
    assert!(message(&format!("resource{}", ".a".repeat(32))).contains("deeper than 32"));
    assert!(message(&format!("{}1{}", "[".repeat(33), "]".repeat(33))).contains("deeper"));
    let comment = "// comment\n";
    let long = format!("{}true", comment.repeat(EXPRESSION_BYTES_MAX / comment.len() - 1));
    assert!(compile(&long).is_ok());
    assert!(message(&format!("{long}{comment}{comment}")).contains("the limit is 10000"));
    assert!(message(&"a".repeat(9_999)).len() <= 200);
}

#[test]
fn sets_of_rules_have_limits() {
    let comment = format!("true // {}", "-".repeat(9_000));
    let large = format!("'a'.matches('{}')", r"\\w{2}".repeat(5));
    let names: Vec<String> = (0..20).map(|n| format!("f{n}")).collect();
    let of = |count: usize, text| {
        let field = FieldSource { read: Some(text), write: None };
        let fields = names.iter().take(count).map(|name| (name.as_str(), field)).collect();
        Rules::compile(&Source { fields, ..Source::default() })
    };
    assert!(of(11, &comment).is_ok());
    assert_eq!(of(12, &comment).unwrap_err().rule, "fields/f11/read");
    assert!(of(8, &large).is_ok());
    let invalid = of(9, &large).unwrap_err();
    assert!(invalid.rule == "fields/f8/read" && invalid.message.contains("patterns"), "{invalid}");
    let many = vec![large; 9].join(" || ");
    assert!(message(&many).contains("too much memory"));
}

#[test]
fn a_question_has_steps_and_no_more() {
    let numbers: Vec<String> = (0..2_000).map(|n| n.to_string()).collect();
    let (numbers, long) = (numbers.join(","), "a".repeat(500_000));
    let data = format!(r#"{{"l":[{numbers}],"s":"{long}","o":{{"a":{{"b":1}},"s":"{long}"}}}}"#);
    for expression in [
        "resource.l.all(a, resource.l.all(b, a + b >= 0))",
        "resource.l.map(a, resource.s + resource.s).size() > 0",
        "resource.l.all(a, resource.l.map(b, b) == resource.l)",
        "resource.l.all(a, resource.l[a] == a)",
        "resource.l.map(a, resource.l + resource.l).size() > 0",
        "resource.l.all(a, size(string(a) + resource.s) > 0)",
        "resource.l.all(a, {'a': resource.l} == {'a': resource.l.map(x, x)})",
        "resource.l.all(a, resource.s.contains('b') || resource.s != 'b' + resource.s)",
        "resource.l.all(a, resource.o.a.b == 1)",
        "resource.l.all(a, size(resource.s) > 0 && size(resource.o) > 0)",
        "resource.l.all(a, !resource.s.matches('[ab]{40}c'))",
        "!resource.s.matches('a{10}b{300}')",
        "resource.l.all(a, !'x'.matches('^' + string(a) + '$'))",
        "resource.l.all(a, changedFields().size() > 0)",
        "resource.l.all(a, changed('o.a'))",
        "resource.l.all(a, !exists('a', resource.s))",
        "resource.l.all(a, !hasRole(resource.s) && resource.s.endsWith('a'))",
        "resource.l.all(a, !('x' in resource.l))",
    ] {
        let rules = compiled(expression);
        let (explained, took) = with(&data, |request| {
            let began = Instant::now();
            (rules.explain(request), began.elapsed())
        });
        assert_eq!(explained, Err(Fault::Steps), "{expression}");
        assert!(took < LONG, "{took:?} for {expression}");
        let absorbing = compiled(&format!("{expression} || true"));
        assert_eq!(with(&data, |request| absorbing.explain(request)), Err(Fault::Steps));
    }
}

#[test]
fn field_rules_share_the_steps() {
    let data = format!(r#"{{"l":[{}]}}"#, vec!["1"; 2_000].join(","));
    let slow = "resource.l.all(a, a == 1 && a + 1 == 2)";
    let names: Vec<String> = (0..20).map(|n| format!("f{n}")).collect();
    let field = FieldSource { read: Some(slow), write: None };
    let fields = names.iter().map(|name| (name.as_str(), field)).collect();
    let rules = Rules::compile(&Source { fields, ..Source::default() }).unwrap();
    with(&data, |request| match rules.unreadable(request) {
        Unreadable::Fields(fields) => assert!((10..20).contains(&fields.len()), "{fields:?}"),
        Unreadable::Needs(needs) => panic!("{needs:?}"),
    });
}

#[test]
fn usual_rules_take_few_steps() {
    let members: Vec<String> = (0..20).map(|n| format!("\"0198c7a2-7b1e-7c55-{n}\"")).collect();
    let data = format!(r#"{{"owner":"bob","members":[{},"alice"]}}"#, members.join(","));
    for (expression, most) in [
        ("true", 1),
        ("auth != null", 4),
        (
            "auth != null && (resource.owner == auth.uid || auth.uid in resource.members \
             || hasRole('admin'))",
            60,
        ),
        ("resource.owner.matches('^[a-z]+$')", 10),
        ("resource.members.all(m, m.startsWith('0') || m == auth.uid)", 250),
    ] {
        let steps = with(&data, |request| compiled(expression).steps(request)).unwrap();
        assert!(steps <= most, "{expression} takes {steps}");
    }
}

#[test]
fn deep_documents_do_not_take_the_stack() {
    for depth in [150, 1_000, 2_000, 100_000] {
        let nested =
            |inner: &str| format!("{}{inner}{}", "[{\"a\":".repeat(depth), "}]".repeat(depth));
        let data = format!(r#"{{"x":{},"y":{}}}"#, nested("1"), nested("2"));
        let rules = compiled("resource.x == resource.y");
        let explained = with(&data, |request| rules.explain(request));
        assert!(matches!(explained, Err(Fault::Document | Fault::Steps)), "{depth} {explained:?}");
        let same = compiled("size(resource.x) == 1 && resource.x[0] != null && !changed('z')");
        let explained = with(&data, |request| same.explain(request));
        assert!(matches!(explained, Ok(Verdict::Allow) | Err(Fault::Steps)), "{explained:?}");
    }
}
