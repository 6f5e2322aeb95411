//! What a rule requires of every document that it allows: values of fields, as far as they can be
//! read off the expression. Never more than it requires; for finding documents, not for deciding.

use domain::access::Auth;
use domain::path::{Path, push_name};
use serde_json::Value;

use crate::node::{Binary, Literal, Node, Root};

/// The fields of `resource` that must have these values for the expression to be true.
pub(crate) fn required(node: &Node, auth: Option<&Auth>) -> Vec<(Path, Value)> {
    match node {
        // Both must be true.
        Node::And(both) => both.iter().flat_map(|one| required(one, auth)).collect(),
        Node::Binary(Binary::Equal, sides) => {
            let [one, other] = &**sides;
            let found = field(one).zip(value(other, auth));
            found.or_else(|| field(other).zip(value(one, auth))).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// `resource.a.b`.
fn field(node: &Node) -> Option<Path> {
    let (mut names, mut node) = (Vec::new(), node);
    while let Node::Select(inner, name) = node {
        names.push(name);
        node = inner;
    }
    if names.is_empty() || !matches!(node, Node::Root(Root::Resource)) {
        return None;
    }
    let mut pointer = String::new();
    names.iter().rev().for_each(|name| push_name(&mut pointer, name));
    Path::parse(&pointer).ok()
}

/// What is the same for all documents: a literal, or the asker's id.
fn value(node: &Node, auth: Option<&Auth>) -> Option<Value> {
    match node {
        Node::Literal(literal) => match literal {
            Literal::Bool(value) => Some((*value).into()),
            Literal::Int(value) => Some((*value).into()),
            Literal::UInt(value) => Some((*value).into()),
            Literal::Text(text) => Some((**text).into()),
            Literal::Null | Literal::Double(_) | Literal::Bytes(_) => None,
        },
        Node::Select(inner, name) if &**name == "uid" => match **inner {
            Node::Root(Root::Auth) => auth.map(|auth| auth.uid.as_str().into()),
            _ => None,
        },
        _ => None,
    }
}
