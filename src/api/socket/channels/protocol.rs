//! What a client may say about channels over a WebSocket.

use std::borrow::Cow;

use domain::ChannelName;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// A message about channels.
#[derive(Debug)]
pub(super) enum Message<'a> {
    /// Hear what is said in a channel, or who is present there.
    Subscribe(Subscribe<'a>),
    /// Say something in a channel.
    Publish(Publish<'a>),
    /// Be present in another state.
    State(State<'a>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Subscribe<'a> {
    #[serde(rename = "op")]
    _op: IgnoredAny,
    /// The client's name for it.
    pub(super) sub: String,
    /// Of which channel.
    pub(super) target: Target,
    /// The last offset seen, to resume after.
    pub(super) from: Option<String>,
    /// To be present oneself, in this state.
    #[serde(borrow)]
    pub(super) state: Option<&'a RawValue>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Target {
    /// Its messages.
    Channel(ChannelName),
    /// Who is present.
    Presence(ChannelName),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Publish<'a> {
    #[serde(rename = "op")]
    _op: IgnoredAny,
    pub(super) channel: ChannelName,
    /// What to say.
    #[serde(borrow)]
    pub(super) data: &'a RawValue,
    /// Names it in the answer; without, there is none but an error.
    #[serde(rename = "ref")]
    pub(super) reference: Option<String>,
    /// Whether the connection wants to hear it, too.
    pub(super) echo: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State<'a> {
    #[serde(rename = "op")]
    _op: IgnoredAny,
    /// The subscription.
    pub(super) sub: String,
    #[serde(borrow)]
    pub(super) state: &'a RawValue,
}

/// What tells messages about channels from others, and what they are about.
#[derive(Deserialize)]
struct Outline<'a> {
    #[serde(borrow)]
    op: Cow<'a, str>,
    target: Option<serde_json::Value>,
    sub: Option<serde_json::Value>,
    #[serde(rename = "ref")]
    reference: Option<serde_json::Value>,
}

/// What an error is about: `sub` or `ref`, and its name.
pub(super) type About = Option<(&'static str, String)>;

/// A message about channels as it came.
#[derive(Debug)]
pub(in super::super) struct Received<'a> {
    pub(super) about: About,
    /// Errors with what is wrong with it.
    pub(super) message: Result<Message<'a>, String>,
}

impl Received<'_> {
    /// The name of the subscription that it asks for, if it does.
    pub(in super::super) fn subscribes_as(&self) -> Option<&str> {
        match &self.message {
            Ok(Message::Subscribe(subscribe)) => Some(&subscribe.sub),
            _ => None,
        }
    }
}

/// Reads a message, if it is one about channels.
pub(in super::super) fn read(text: &[u8]) -> Option<Received<'_>> {
    let outline: Outline<'_> = serde_json::from_slice(text).ok()?;
    let has = |name: &str| outline.target.as_ref().is_some_and(|one| one.get(name).is_some());
    fn of<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, String> {
        serde_json::from_slice(text).map_err(|error| error.to_string())
    }
    let message = match &*outline.op {
        "subscribe" if has("channel") || has("presence") => of(text).map(Message::Subscribe),
        "publish" => of(text).map(Message::Publish),
        "state" => of(text).map(Message::State),
        _ => return None,
    };
    let name = |value: Option<serde_json::Value>| Some(value?.as_str()?.to_owned());
    let about = match &*outline.op {
        "publish" => name(outline.reference).map(|name| ("ref", name)),
        _ => name(outline.sub).map(|name| ("sub", name)),
    };
    Some(Received { about, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_about_channels_are_told_from_others() {
        let mine = [
            r#"{"op":"subscribe","sub":"s","target":{"channel":"a"},"from":"1-2"}"#,
            r#"{"op":"subscribe","sub":"s","target":{"presence":"a"},"state":{"x":1}}"#,
            r#"{"op":"publish","channel":"a","data":null,"ref":"r","echo":false}"#,
            r#"{"op":"state","sub":"s","state":[1]}"#,
        ];
        for text in mine {
            let received = read(text.as_bytes()).unwrap();
            assert!(received.about.is_some() && received.message.is_ok(), "{text}");
        }
        for bad in [
            r#"{"op":"subscribe","sub":"s","target":{"channel":"a","presence":"a"}}"#,
            r#"{"op":"subscribe","sub":"s","target":{"channel":"a","id":"a"}}"#,
            r#"{"op":"subscribe","sub":"s","target":{"channel":"_a"}}"#,
            r#"{"op":"publish","channel":"a","ref":"r"}"#,
            r#"{"op":"publish","channel":"a","data":1,"ref":"r","more":1}"#,
            r#"{"op":"state","sub":"s"}"#,
        ] {
            let received = read(bad.as_bytes()).unwrap();
            assert!(received.about.is_some() && received.message.is_err(), "{bad}");
        }
        for other in [
            r#"{"op":"subscribe","sub":"s","target":{"collection":"a"}}"#,
            r#"{"op":"unsubscribe","sub":"s"}"#,
            r#"{"op":1}"#,
            "[]",
            "{",
        ] {
            assert!(read(other.as_bytes()).is_none(), "{other}");
        }
    }
}
