//! What a project says of a channel, compiled: who may join it and publish in it, and what is kept
//! of its messages. Rules of channels are rules of collections under other names: to join is to
//! read, to publish is to create.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use access::{Document, Operation, Request, Rules, Source, Verdict};
use domain::access::Access;
use domain::projects::{ChannelConfig, ChannelHistory, ChannelPattern, ChannelState};
use domain::{ChannelName, ProjectId, Timestamp};
use parking_lot::Mutex;
use serde_json::json;

use crate::access::{Loaded, ROUNDS_MAX};
use crate::catalog::Project;
use crate::error::Error;
use crate::{Engine, clock};

/// The most messages that a channel's history may have.
pub const HISTORY_MESSAGES_MAX: u32 = 1_000;
/// The longest that a message may be kept, in seconds.
pub const HISTORY_SECONDS_MAX: u32 = 3_600;

/// What holds for a channel.
#[derive(Debug, Default)]
pub struct Terms {
    rules: Rules,
    history: Option<ChannelHistory>,
    /// Since when this holds.
    since: Timestamp,
    /// How far each partition was when these terms were first looked at, where that was after the
    /// start: what came before was not kept by them.
    floors: Mutex<HashMap<usize, u64>>,
}

/// What somebody wants of a channel.
#[derive(Debug, Clone, Copy)]
pub enum Act<'a> {
    /// Hear its messages and see who is present.
    Join,
    /// Send a message with this data, compact JSON.
    Publish(&'a [u8]),
}

/// A channel's rules as text.
pub fn source(config: &ChannelConfig) -> Source<'_> {
    let rules = &config.rules;
    Source { read: rules.join.as_deref(), create: rules.publish.as_deref(), ..Source::default() }
}

/// The name of a rule of a channel, by what it is called where documents have rules.
pub fn rule_name(operation: &str) -> &str {
    match operation {
        "read" => "join",
        "create" => "publish",
        other => other,
    }
}

impl Terms {
    /// Rules that no longer compile let nobody do anything.
    fn new(state: &ChannelState, since: Timestamp) -> Self {
        let config = &state.config;
        let rules = Rules::compile(&source(config)).unwrap_or_else(|error| {
            tracing::error!(%error, "stored rules of a channel can't be used: they allow nothing");
            Rules::default()
        });
        // What was imported may be larger.
        let history = config.history.map(|history| ChannelHistory {
            messages: history.messages.clamp(1, HISTORY_MESSAGES_MAX),
            seconds: history.seconds.clamp(1, HISTORY_SECONDS_MAX),
        });
        Self { rules, history, since, floors: Mutex::default() }
    }

    /// Whether there is anything that somebody may say who is not past the rules.
    pub fn may_publish(&self) -> bool {
        self.rules.has_rule(Operation::Create)
    }

    /// What is kept of its messages.
    pub fn history(&self) -> Option<ChannelHistory> {
        self.history
    }

    /// Up to where a channel's messages may not have been kept, for one that nothing else is known
    /// of. `seen` is how far the partition is, `started_at` since when this node keeps anything.
    pub(super) fn floor(&self, partition: usize, seen: u64, started_at: Timestamp) -> u64 {
        match self.since < started_at {
            true => 0,
            false => *self.floors.lock().entry(partition).or_insert(seen),
        }
    }

    /// Those of all channels; what has not changed since `earlier` is taken from there. With
    /// another pattern, a channel may be under others than before: then all begin to hold now.
    pub(crate) fn of_all(
        channels: &BTreeMap<ChannelPattern, ChannelState>,
        earlier: Option<(&BTreeMap<ChannelPattern, ChannelState>, &AllTerms)>,
    ) -> AllTerms {
        let now = earlier.map(|_| clock::now());
        let earlier = earlier.filter(|(before, _)| before.keys().eq(channels.keys()));
        let terms = channels.iter().map(|(name, state)| {
            let since = now.unwrap_or(state.updated_at);
            let known = earlier.and_then(|(before, terms)| {
                let is_same = before.get(name).is_some_and(|one| one.config == state.config);
                terms.get(name).filter(|_| is_same)
            });
            (name.clone(), known.map_or_else(|| Arc::new(Self::new(state, since)), Arc::clone))
        });
        terms.collect()
    }
}

/// By whose they are.
pub(crate) type AllTerms = BTreeMap<ChannelPattern, Arc<Terms>>;

impl Engine {
    /// Whether a channel's rules let somebody do something. Other documents are looked up as they
    /// are now.
    ///
    /// Errors when these can't be read.
    pub async fn may_in_channel(
        &self,
        (project, live): (&ProjectId, &Project),
        access: &Access,
        channel: &ChannelName,
        act: Act<'_>,
    ) -> Result<bool, Error> {
        let Access::ByRules(auth) = access else { return Ok(true) };
        let Some(terms) = live.channel(channel) else { return Ok(false) };
        let operation = match act {
            Act::Join => Operation::Read,
            Act::Publish(_) => Operation::Create,
        };
        if !terms.rules.has_rule(operation) {
            return Ok(false);
        }
        let now = clock::now();
        let itself = json!({"id": channel}).to_string().into_bytes();
        let before = Document::new(channel.as_str(), "", 0, now, now, &itself);
        let with_data = match act {
            Act::Join => Vec::new(),
            Act::Publish(data) => {
                let start = itself.get(..itself.len() - 1).unwrap_or_default();
                [start, b",\"data\":", data, b"}"].concat()
            }
        };
        let after = Document::new(channel.as_str(), "", 0, now, now, &with_data);
        let space = self.partition(project).documents();
        let others = self.others(&*space, project);
        let mut loaded = Loaded::default();
        for _ in 0..ROUNDS_MAX {
            let request = Request {
                operation,
                auth: auth.as_deref(),
                before: Some(&before),
                after: matches!(act, Act::Publish(_)).then_some(&after),
                now,
                lookup: &loaded,
            };
            let needs = match terms.rules.check(&request) {
                Verdict::Allow => return Ok(true),
                Verdict::Deny => return Ok(false),
                Verdict::Needs(needs) => needs,
            };
            others.load(needs, &mut loaded).await?;
        }
        Ok(false)
    }
}
