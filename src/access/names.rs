//! What rules may name: variables with their fields, functions, macros.

use crate::node::{Function, LoopKind, Part, Root};

/// The fields of `auth`.
pub(crate) const AUTH: [&str; 13] = [
    "uid",
    "session",
    "roles",
    "groups",
    "claims",
    "level",
    "methods",
    "email",
    "emailVerified",
    "phone",
    "anonymous",
    "authenticatedAt",
    "impersonator",
];
/// The fields of `request`.
pub(crate) const REQUEST: [&str; 2] = ["resource", "op"];
/// The fields of `meta`.
pub(crate) const META: [&str; 5] = ["id", "collection", "version", "createdAt", "updatedAt"];

pub(crate) fn root(name: &str) -> Option<Root> {
    Some(match name {
        "auth" => Root::Auth,
        "resource" => Root::Resource,
        "request" => Root::Request,
        "meta" => Root::Meta,
        "now" => Root::Now,
        _ => return None,
    })
}

/// The fields that a variable has, where they are the same for each request.
pub(crate) fn fields(root: Root) -> Option<&'static [&'static str]> {
    match root {
        Root::Auth => Some(&AUTH),
        Root::Request => Some(&REQUEST),
        Root::Meta => Some(&META),
        Root::Resource | Root::Now => None,
    }
}

/// How a function may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// `f(x)`.
    Global,
    /// `x.f()`.
    Receiver,
    /// Either.
    Both,
}

/// Why there is no such function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// The name is unknown.
    Name,
    /// It exists, but is not called so, or not with so many arguments.
    Call,
}

/// The function for a call with `arguments`, the receiver counted.
pub(crate) fn function(
    name: &str,
    is_receiver: bool,
    arguments: usize,
) -> Result<Function, Unknown> {
    let (function, style, count) = declared(name).ok_or(Unknown::Name)?;
    let fits = match style {
        Style::Global => !is_receiver,
        Style::Receiver => is_receiver,
        Style::Both => true,
    };
    if fits && arguments == count { Ok(function) } else { Err(Unknown::Call) }
}

fn declared(name: &str) -> Option<(Function, Style, usize)> {
    use Style::{Both, Global, Receiver};
    let part = |part| (Function::Date(part), Receiver, 1);
    Some(match name {
        "size" => (Function::Size, Both, 1),
        "contains" => (Function::Contains, Receiver, 2),
        "startsWith" => (Function::StartsWith, Receiver, 2),
        "endsWith" => (Function::EndsWith, Receiver, 2),
        "matches" => (Function::Matches, Both, 2),
        "get" => (Function::Get, Global, 2),
        "exists" => (Function::Exists, Global, 2),
        "hasRole" => (Function::HasRole, Global, 1),
        "changed" => (Function::Changed, Global, 1),
        "changedFields" => (Function::ChangedFields, Global, 0),
        "bool" => (Function::ToBool, Global, 1),
        "bytes" => (Function::ToBytes, Global, 1),
        "double" => (Function::ToDouble, Global, 1),
        "int" => (Function::ToInt, Global, 1),
        "string" => (Function::ToString, Global, 1),
        "uint" => (Function::ToUInt, Global, 1),
        "timestamp" => (Function::ToTimestamp, Global, 1),
        "duration" => (Function::ToDuration, Global, 1),
        "dyn" => (Function::ToDyn, Global, 1),
        "getFullYear" => part(Part::FullYear),
        "getMonth" => part(Part::Month),
        "getDate" => part(Part::Date),
        "getDayOfMonth" => part(Part::DayOfMonth),
        "getDayOfWeek" => part(Part::DayOfWeek),
        "getDayOfYear" => part(Part::DayOfYear),
        "getHours" => part(Part::Hours),
        "getMinutes" => part(Part::Minutes),
        "getSeconds" => part(Part::Seconds),
        "getMilliseconds" => part(Part::Milliseconds),
        _ => return None,
    })
}

/// The macro for a call on a range with so many arguments, the range left out.
pub(crate) fn comprehension(name: &str, arguments: usize) -> Option<LoopKind> {
    Some(match (name, arguments) {
        ("all", 2) => LoopKind::All,
        ("exists", 2) => LoopKind::Exists,
        ("exists_one" | "existsOne", 2) => LoopKind::ExistsOne,
        ("filter", 2) => LoopKind::Filter,
        ("map", 2 | 3) => LoopKind::Map,
        _ => return None,
    })
}

/// Whether a name is one of a macro, however it is called.
pub(crate) fn is_macro(name: &str) -> bool {
    matches!(name, "has" | "all" | "exists" | "exists_one" | "existsOne" | "filter" | "map")
}
