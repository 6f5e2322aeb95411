//! Channels as a project configures them: by name, or by the beginning of their names. A channel's
//! messages and who is present in it are no events, and never in the log.

use std::collections::BTreeMap;
use std::fmt;

use compact_str::CompactString;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::{ChannelName, InvalidId, check_id};
use crate::time::Timestamp;

/// Whose configuration this is: one channel's (`room.1`), that of all whose names begin so
/// (`room.*`), or everybody's else (`*`).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelPattern(CompactString);

impl ChannelPattern {
    /// Checks `text` and wraps it: an id, an id that ends with a dot and `*` behind it, or `*`.
    pub fn new(text: &str) -> Result<Self, InvalidId> {
        match text.strip_suffix('*') {
            Some("") => {}
            Some(start) if start.ends_with('.') => check_id(start)?,
            _ => check_id(text)?,
        }
        Ok(Self(CompactString::new(text)))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is said of a channel: under its own name, else under the longest beginning of it that
    /// ends with a dot, else under `*`.
    pub fn find<'a, T>(all: &'a BTreeMap<Self, T>, name: &ChannelName) -> Option<&'a T> {
        if all.is_empty() {
            return None;
        }
        let name = name.as_str();
        let of = |text: CompactString| all.get(&Self(text));
        let dots = name.rmatch_indices('.').filter(|(at, _)| at + 1 < name.len());
        let starts = dots.map(|(at, _)| compact_str::format_compact!("{}.*", &name[..at]));
        of(CompactString::new(name))
            .or_else(|| starts.into_iter().find_map(of))
            .or_else(|| of(CompactString::const_new("*")))
    }
}

impl fmt::Display for ChannelPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ChannelPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0.as_str(), f)
    }
}

impl Serialize for ChannelPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ChannelPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for ChannelPattern {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ChannelPattern".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": concat!(
                "^(\\*|[A-Za-z0-9-][A-Za-z0-9_.-]{0,127}",
                "|[A-Za-z0-9-][A-Za-z0-9_.-]{0,126}\\.\\*)$",
            ),
        })
    }
}

/// Who may do what in a channel, as CEL expressions. No rule means no access, but for a secret key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChannelRules {
    /// Hear its messages, see who is present, be present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join: Option<String>,
    /// Send a message to all who are in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish: Option<String>,
}

/// What is kept of a channel's messages, in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChannelHistory {
    /// The newest ones, at most so many.
    pub messages: u32,
    /// For so long.
    pub seconds: u32,
}

/// What a developer says of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChannelConfig {
    /// Access rules.
    #[serde(default)]
    pub rules: ChannelRules,
    /// What is kept for those who come back; nothing when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<ChannelHistory>,
}

/// A configured channel, or all whose names begin so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelState {
    /// What the developer said.
    pub config: ChannelConfig,
    /// When it was first configured.
    pub created_at: Timestamp,
    /// When it was last configured.
    pub updated_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(patterns: &[&str], name: &str) -> Option<String> {
        let all = patterns.iter().map(|text| (ChannelPattern::new(text).unwrap(), *text));
        let all: BTreeMap<_, _> = all.collect();
        ChannelPattern::find(&all, &ChannelName::new(name).unwrap()).map(|text| (*text).to_owned())
    }

    #[test]
    fn a_name_goes_before_a_beginning_and_the_longest_beginning_before_others() {
        let all = ["room.1", "room.*", "room.1.*", "*"];
        for (name, wanted) in [
            ("room.1", "room.1"),
            ("room.2", "room.*"),
            ("room.1.side", "room.1.*"),
            ("room.1.side.a", "room.1.*"),
            ("rooms", "*"),
            ("room", "*"),
            ("room.", "*"),
        ] {
            assert_eq!(found(&all, name).as_deref(), Some(wanted), "{name}");
        }
        assert_eq!(found(&["room.*"], "rooms.1"), None);
        assert_eq!(found(&[], "room"), None);
    }

    #[test]
    fn a_star_stands_only_at_the_end_and_behind_a_dot() {
        for good in ["*", "a", "a.b", "a.*", "a.b.*", "A-1.*"] {
            assert_eq!(ChannelPattern::new(good).unwrap().as_str(), good);
        }
        let long = format!("{}.*", "a".repeat(128));
        for bad in ["", ".*", "a*", "*.a", "a.*.b", "**", "a.**", "_a.*", "a b", &long] {
            assert!(ChannelPattern::new(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        /// The rule as the documentation says it, without any cleverness.
        #[test]
        fn the_longest_that_fits_is_found(
            names in proptest::collection::vec("[ab]{1,2}(\\.[ab]{1,2}){0,3}(\\.\\*)?", 0..12),
            name in "[ab]{1,2}(\\.[ab]{1,2}){0,4}",
        ) {
            let patterns: Vec<&str> = names.iter().map(String::as_str).collect();
            let fits = |pattern: &&&str| match pattern.strip_suffix('*') {
                Some(start) => name.starts_with(start) && name.len() > start.len(),
                None => **pattern == name,
            };
            let exact = patterns.iter().find(|pattern| **pattern == name);
            let wanted = exact.or_else(|| {
                patterns.iter().filter(fits).max_by_key(|pattern| pattern.len())
            });
            prop_assert_eq!(found(&patterns, &name), wanted.map(|text| (*text).to_owned()));
        }
    }
}
