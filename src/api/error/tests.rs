//! Holds the table to itself and to docs/API.md.

use std::collections::HashSet;
use std::path::Path;

use domain::documents::ExpectedVersion;
use domain::rejected::{Part, Reason, Rejected};

use super::*;

#[test]
fn the_table_is_in_order_and_unique() {
    let mut names = HashSet::new();
    for (index, (code, entry)) in TABLE.iter().enumerate() {
        assert_eq!(*code as usize, index);
        assert!(names.insert(entry.name), "{} twice", entry.name);
        assert!((400..=599).contains(&entry.status), "{}", entry.name);
        let close = entry.close;
        assert!([1009, 1011, 1013].contains(&close) || (4400..4500).contains(&close));
        assert!(entry.retry_after.is_none() || matches!(entry.status, 429 | 503), "{}", entry.name);
        let kebab = |c: char| c.is_ascii_lowercase() || c == '-';
        assert!(entry.name.chars().all(kebab), "{}", entry.name);
    }
}

/// `docs/API.md` has one line `| code | status | close | retry | meaning |` for each, in order.
#[test]
fn the_documentation_lists_every_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/API.md");
    let text = std::fs::read_to_string(path).unwrap();
    let documented: Vec<&str> = text.lines().filter(|line| line.starts_with("| `")).collect();
    let expected: Vec<String> = TABLE
        .iter()
        .map(|(_, entry)| {
            let Entry { name, status, close, retry_after, title } = entry;
            let retry = if retry_after.is_some() { "yes" } else { "no" };
            format!("| `{name}` | {status} | {close} | {retry} | {title} |")
        })
        .collect();
    assert_eq!(documented, expected, "docs/API.md; expected:\n{}", expected.join("\n"));
}

#[test]
fn a_problem_reads_as_the_api_says() {
    let reason = Reason::VersionMismatch { expected: ExpectedVersion::Exact(2), actual: Some(3) };
    let rejected = Rejected { reason, part: Some(Part::Write(1)) };
    let problem = Problem::from(engine::Error::Rejected(rejected));
    assert_eq!(problem.status(), 409);
    let problem = problem.of_precondition();
    let json: serde_json::Value = serde_json::from_slice(&problem.to_json("c-1")).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "type": "/errors/version-mismatch",
            "title": "The document has another version",
            "status": 412,
            "code": "version-mismatch",
            "detail": "expected version 2, but the document is at version 3",
            "field": "/writes/1",
            "correlationId": "c-1",
            "actualVersion": 3,
        })
    );
}

#[test]
fn a_client_is_told_when_to_come_again() {
    let busy = Problem::from(engine::Error::Busy).to_response("c");
    assert_eq!(busy.headers().get(header::RETRY_AFTER).unwrap(), "1");
    let missing = Problem::new(Code::NotFound, "x").to_response("c");
    assert!(missing.headers().get(header::RETRY_AFTER).is_none());
}

#[test]
fn what_is_for_the_operator_is_not_told() {
    let problem = Problem::from(engine::Error::Corrupt("/var/lib/secret at 3-7".to_owned()));
    assert_eq!(problem.status(), 503);
    assert_eq!(problem.log_text(), "/var/lib/secret at 3-7");
    let json = String::from_utf8(problem.to_json("c")).unwrap();
    assert!(!json.contains("secret"), "{json}");
}
