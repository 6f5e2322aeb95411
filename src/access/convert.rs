//! From what documents, claims and requests hold to values.

use std::borrow::Cow;

use domain::access::Auth;

use crate::evaluate::Fault;
use crate::value::{List, Map, Text, Value};
use crate::{Document, Request, names};
use domain::raw::{Kind, Name, Number, Raw};

/// The value that JSON text stands for.
pub(crate) fn raw(raw: Raw<'_>) -> Result<Value<'_>, Fault> {
    Ok(match raw.kind()? {
        Kind::Null => Value::Null,
        Kind::False => Value::Bool(false),
        Kind::True => Value::Bool(true),
        Kind::Number => match raw.number()? {
            Number::Int(int) => Value::Int(int),
            Number::UInt(uint) => Value::UInt(uint),
            Number::Double(double) => Value::Double(double),
        },
        Kind::String => name(Name::of(raw)?)?,
        Kind::Array => Value::List(List::Json(raw)),
        Kind::Object => Value::Map(Map::Json(raw)),
    })
}

/// The characters of a name or string.
pub(crate) fn name(name: Name<'_>) -> Result<Value<'_>, Fault> {
    Ok(Value::Text(match name.text()? {
        Cow::Borrowed(text) => Text::Borrowed(text),
        Cow::Owned(text) => Text::Made(text.into()),
    }))
}

/// The value that parsed JSON stands for.
pub(crate) fn tree(value: &serde_json::Value) -> Value<'_> {
    match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::Bool(*value),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => Value::Int(int),
            (None, Some(uint)) => Value::UInt(uint),
            (None, None) => number.as_f64().map_or(Value::Null, Value::Double),
        },
        serde_json::Value::String(text) => Value::text(text),
        serde_json::Value::Array(items) => Value::List(List::Tree(items)),
        serde_json::Value::Object(fields) => Value::Map(Map::Tree(fields)),
    }
}

pub(crate) fn timestamp<'v>(time: domain::Timestamp) -> Result<Value<'v>, Fault> {
    let stamp = jiff::Timestamp::from_microsecond(time.as_micros());
    Ok(Value::Timestamp(stamp.map_err(|_| Fault::Overflow)?))
}

/// A field of `auth`.
pub(crate) fn auth<'v>(auth: &'v Auth, field: &str) -> Result<Option<Value<'v>>, Fault> {
    let names = |names| Value::List(List::Names(names));
    Ok(Some(match field {
        "uid" => Value::text(auth.uid.as_str()),
        "session" => Value::text_or_null(auth.session.as_ref().map(|session| session.as_str())),
        "roles" => names(&auth.roles),
        "groups" => names(&auth.groups),
        "claims" => Value::Map(Map::Tree(&auth.claims)),
        "level" => Value::Int(i64::from(auth.level)),
        "methods" => names(&auth.methods),
        "email" => Value::text_or_null(auth.email.as_deref()),
        "emailVerified" => Value::Bool(auth.email_verified),
        "phone" => Value::text_or_null(auth.phone.as_deref()),
        "anonymous" => Value::Bool(auth.is_anonymous),
        "authenticatedAt" => timestamp(auth.authenticated_at)?,
        "impersonator" => Value::text_or_null(auth.impersonator.as_deref()),
        _ => return Ok(None),
    }))
}

/// A field of `request`.
pub(crate) fn request<'v>(request: &'v Request<'v>, field: &str) -> Option<Value<'v>> {
    Some(match field {
        "resource" => document(request.after),
        "op" => Value::text(request.operation.as_str()),
        _ => return None,
    })
}

/// A document, or null.
pub(crate) fn document<'v>(document: Option<&'v Document<'v>>) -> Value<'v> {
    document.map_or(Value::Null, |document| Value::Map(Map::Document(document)))
}

/// A field of `meta`.
pub(crate) fn meta<'v>(
    document: &'v Document<'v>,
    field: &str,
) -> Result<Option<Value<'v>>, Fault> {
    Ok(Some(match field {
        "id" => Value::text(document.id),
        "collection" => Value::text(document.collection),
        "version" => Value::Int(i64::try_from(document.version).unwrap_or(i64::MAX)),
        "createdAt" => timestamp(document.created_at)?,
        "updatedAt" => timestamp(document.updated_at)?,
        _ => return Ok(None),
    }))
}

/// The keys of a map, in order.
pub(crate) fn keys<'v>(map: &Map<'v>) -> Result<Vec<Value<'v>>, Fault> {
    let of = |names: &'static [&'static str]| names.iter().copied().map(Value::text).collect();
    Ok(match map {
        Map::Made(entries) => entries.iter().map(|(key, _)| key.clone()).collect(),
        Map::Json(raw) => {
            let (mut keys, mut entries) = (Vec::new(), raw.entries());
            while let Some((key, _)) = entries.try_next()? {
                keys.push(name(key)?);
            }
            keys
        }
        Map::Tree(fields) => fields.keys().map(|key| Value::text(key)).collect(),
        Map::Document(document) => {
            document.fields()?.into_iter().map(|(key, _)| name(key)).collect::<Result<_, _>>()?
        }
        Map::Auth(_) => of(&names::AUTH),
        Map::Request(_) => of(&names::REQUEST),
        Map::Meta(_) => of(&names::META),
    })
}
