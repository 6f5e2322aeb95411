//! How clients reach Headwater: REST, WebSocket and server-sent events, who asks, and what an
//! error looks like. Parses, checks and answers; decides nothing and stores nothing. Runs on actix
//! workers, which must never block.

mod answer;
mod app;
mod body;
mod call;
mod caller;
mod condition;
mod correlation;
mod cors;
mod dispatch;
mod document;
mod error;
mod key_uses;
mod metrics;
mod openapi;
pub mod peer;
mod people;
mod recording;
mod router;
mod routes;
#[cfg(test)]
mod scenarios;
mod server;
mod socket;
mod waiting;

pub use openapi::openapi;
pub use people::Options as PeopleOptions;
pub use server::{Options, Roles, Server};
pub use waiting::Waiting;
