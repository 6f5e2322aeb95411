//! What a client may say over a WebSocket.

use std::sync::Arc;

use domain::{CollectionName, DocumentId, Position};
use engine::hub::{Shape, Target, WINDOW_DOCUMENTS_MAX};
use query::{Filter, Invalid, Order};
use serde::Deserialize;
use serde_json::Value;

use crate::error::Problem;

/// The version of the protocol that this server speaks.
pub(super) const VERSION: u32 = 1;
/// The longest name of a subscription, in bytes.
pub(super) const SUB_BYTES_MAX: usize = 64;

/// A message of a client.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum Message {
    /// The first message: who is there.
    Hello {
        /// A key or token; may stand in the `Authorization` header in its place.
        token: Option<String>,
        /// The protocol's version.
        protocol: u32,
    },
    /// Start a subscription.
    Subscribe {
        /// The client's name for it.
        sub: String,
        /// What it is about.
        target: Box<TargetMessage>,
        /// The last position seen, to resume after.
        from: Option<Position>,
    },
    /// End a subscription.
    Unsubscribe {
        /// The client's name for it.
        sub: String,
    },
    /// A new token for the connection.
    Token {
        /// The token.
        token: String,
    },
}

/// What a subscription is about, on the wire.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct TargetMessage {
    collection: CollectionName,
    id: Option<DocumentId>,
    #[serde(rename = "where")]
    filter: Option<Value>,
    order_by: Option<Value>,
    limit: Option<usize>,
    #[serde(default)]
    count: bool,
}

impl TargetMessage {
    /// Errors with what is wrong with it, and where.
    pub(super) fn target(self) -> Result<Target, Problem> {
        let at = |place: &'static str| {
            move |error: Invalid| Problem::body(format!("{place}{}", error.at), error.detail)
        };
        let filter = self.filter.as_ref().map(Filter::of).transpose();
        let order = self.order_by.as_ref().map(Order::of).transpose();
        let asked = Asked {
            id: self.id,
            filter: filter.map_err(at("/target/where"))?,
            order: order.map_err(at("/target/orderBy"))?,
            limit: self.limit,
            count: self.count,
        };
        let target = asked.target(self.collection);
        target.map_err(|(name, detail)| Problem::body(format!("/target/{name}"), detail))
    }
}

/// What somebody asks to follow of a collection, by either protocol.
pub(super) struct Asked {
    pub(super) id: Option<DocumentId>,
    pub(super) filter: Option<Filter>,
    pub(super) order: Option<Order>,
    pub(super) limit: Option<usize>,
    pub(super) count: bool,
}

impl Asked {
    /// Errors with the name of what can't be asked for, and why.
    pub(super) fn target(
        self,
        collection: CollectionName,
    ) -> Result<Target, (&'static str, &'static str)> {
        let Self { id, filter, order, limit, count } = self;
        let of_queries = [
            ("where", filter.is_some()),
            ("orderBy", order.is_some()),
            ("limit", limit.is_some()),
            ("count", count),
        ];
        if let Some(id) = id {
            return match of_queries.iter().find(|(_, is_given)| *is_given) {
                Some((name, _)) => Err((name, "one document is followed whatever it holds")),
                None => Ok(Target::Document(collection, id)),
            };
        }
        if filter.as_ref().is_some_and(Filter::asks_when_changed) {
            let detail = "a subscription can't ask for $updatedAt: it is another at each change";
            return Err(("where", detail));
        }
        let shape = match (order, limit, count) {
            (None, None, true) => Shape::Count,
            (Some(_), _, true) => return Err(("orderBy", "a count has no order")),
            (None, Some(_), true) => return Err(("limit", "a count has no limit")),
            (_, Some(limit), false) if !(1..=WINDOW_DOCUMENTS_MAX).contains(&limit) => {
                return Err(("limit", "expected 1 to 1000"));
            }
            (order, Some(limit), false) => Shape::First(order.unwrap_or_default().into(), limit),
            (Some(order), None, false) => Shape::Ordered(order.into()),
            (None, None, false) => Shape::All,
        };
        Ok(Target::Collection(collection, filter.map(Arc::new), shape))
    }
}
