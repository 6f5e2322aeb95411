//! What rules may cost: hostile texts at the parser, and questions that would take too long.

use std::time::{Duration, Instant};

use super::tests::{Case, alice, compiled};
use super::*;

fn compile(text: &str) -> Result<Rules, Invalid> {
    Rules::compile(&Source { read: Some(text), ..Source::default() })
}

fn explain(rules: &Rules, data: &str) -> Result<Verdict, Fault> {
    let auth = alice();
    let operation = Operation::Read;
    let case =
        Case { auth: Some(&auth), before: Some(data), after: None, lookup: &Nothing, operation };
    case.ask(|request| rules.explain(request))
}

/// Longest a question or a refusal may take here: debug builds are some thirty times slower.
const LONG: Duration = Duration::from_secs(10);

#[test]
fn hostile_texts_are_refused_in_time() {
    let long = |part: &str| part.repeat(EXPRESSION_BYTES_MAX / part.len());
    let around = |open: &str, close: &str, n: usize| [&open.repeat(n), "1", &close.repeat(n)].concat();
    let mut texts: Vec<String> = [
        "(", ")", "[", "{", "!", "-", "a", ".", "a.", "a+", "a-", "1*", "1<", "a&&", "a||", "a?",
        "a?b:", "a?b:c?", "a in ", "[1,", "{1:", "f(", "a.f(", "a[", "'", "\"", "'''", "r'", "b'",
        "\\", "\0", "é", "\u{1F600}", "//", "/**/", "&&", "||", "? :", "0x", "1u", "1e", "1.", "..",
        "a.b.", "has(a.", "x.all(y,", "`a`", "$", "#", "\u{feff}", "\u{2028}", "in ", "null ",
        "true ", "a{", "a{b:", "==", "a==", "b\"\\xff\"", "'\\u0000'", "'\\ud800'", "\"\\", "::", ",",
    ]
    .iter()
    .flat_map(|part| [long(part), part.repeat(3_990), part.repeat(1_990), part.repeat(990)])
    .collect();
    let ended: Vec<String> = texts.iter().map(|text| format!("{text}1")).collect();
    texts.extend(ended);
    texts.retain(|text| text.len() <= EXPRESSION_BYTES_MAX);
    for n in [10, 20, 30, 31, 33, 39, 60, 1_000] {
        for (open, close) in [
            ("(", ")"), ("[", "]"), ("{1:", "}"), ("f(", ")"), ("a[", "]"), ("a.f(", ")"),
            ("!(", ")"), ("-(", ")"), ("true?", ":1"), ("true?1:(", ")"), ("(1+", ")"),
            ("[1].map(x,", ")"), ("((", "))"), ("a{b:", "}"), ("([{1:", "}])"), ("1+(", ""),
        ] {
            texts.push(around(open, close, n));
        }
    }
    let before = Instant::now();
    for text in &texts {
        let began = Instant::now();
        let result = compile(text);
        let took = began.elapsed();
        if took.as_millis()>20 {println!("{took:?} {} {} {:?}", &text.chars().take(12).collect::<String>(), text.len(), result.as_ref().err().map(|e|(&e.message[..e.message.len().min(40)], e.line)));}
        assert!(took < LONG, "{took:?} for {}", &text[..20]);
    }
    println!("{:?}", before.elapsed());
}
