//! A collection's settings from a file, as `PUT …/collections/{collection}` takes them, with their
//! rules compiled.

use std::collections::BTreeMap;
use std::path::Path;

use access::{Invalid, Rules};
use domain::projects::CollectionConfig;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::text::{Problem, Text, byte_of};

/// Settings that can be used.
pub(super) struct Settings {
    pub(super) text: Text,
    pub(super) rules: Rules,
}

/// Where the rules stand in the file.
#[derive(Deserialize)]
struct Places<'a> {
    #[serde(borrow, default)]
    rules: BTreeMap<String, &'a RawValue>,
    #[serde(borrow, default)]
    fields: BTreeMap<String, BTreeMap<String, &'a RawValue>>,
}

impl Settings {
    pub(super) fn read(path: &Path) -> Result<Self, Problem> {
        Self::of(Text::read(path)?)
    }

    pub(super) fn of(text: Text) -> Result<Self, Problem> {
        let config: CollectionConfig = text.parse(&text.text)?;
        let rules = Rules::compile(&engine::access::source(&config)).map_err(|invalid| {
            let message = format!("{}: {}", invalid.rule, invalid.message);
            text.problem(place(&text, &invalid), message)
        })?;
        Ok(Self { text, rules })
    }
}

/// The byte of the file where a rule goes wrong; its start where that can't be said.
fn place(text: &Text, invalid: &Invalid) -> usize {
    let Ok(places) = text.parse::<Places<'_>>(&text.text) else { return 0 };
    let rule = match invalid.rule.strip_prefix("fields/") {
        Some(field) => match field.rsplit_once('/') {
            Some((name, way)) => places.fields.get(name).and_then(|ways| ways.get(way)),
            None => None,
        },
        None => places.rules.get(&invalid.rule),
    };
    let at =
        |raw: &&RawValue| text.start(raw.get()) + byte_of(raw.get(), invalid.line, invalid.column);
    rule.map_or(0, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        let settings = Settings::of(Text::new("n.rules.json", text.to_owned()));
        settings.err().map(|problem| problem.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_rule_that_cannot_be_used_is_shown_in_the_file() {
        let text = "{\"rules\": {\n  \"read\": \"true &&\\n  nobody.uid == \\\"x\\\"\"\n}}";
        assert_eq!(problem(text), "n.rules.json:2:23: read: there is no variable \"nobody\"");
        let text = "{\"fields\": {\"a.b\": {\"write\": \"now.x +\"}}}";
        let told = problem(text);
        assert!(told.starts_with("n.rules.json:1:3"), "{told}");
        assert!(told.contains(": fields/a.b/write: "), "{told}");
        assert!(problem("{\"rules\": {\"raed\": \"\"}}").starts_with("n.rules.json:1:"));
        assert_eq!(problem("{\"rules\": {\"read\": \"true\"}}"), "");
    }
}
