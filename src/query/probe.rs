//! What a filter wants of one field, so that a document finds the filters that may hold of it
//! without a look at all of them.

use crate::field::{Document, Field};
use crate::filter::{Filter, Node, Test};
use crate::index::key_of;
use crate::key::Encoder;
use crate::order::{Direction, Key};

/// A field that some filters give a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe(Field);

impl Probe {
    /// The field's value of a document, as texts that are equal for equal values. Different values
    /// may have the same text: long texts, lists and objects.
    pub fn of(&self, document: &Document<'_>) -> String {
        text(&Key::of(&self.0, document))
    }
}

impl Filter {
    /// A field, and the value that it has in all documents that the filter holds of, as
    /// [`Probe::of`] tells it; `None` where there is no such field. A boolean tells least.
    pub fn probe(&self) -> Option<(Probe, String)> {
        let found = equal(&self.node);
        let is_rough = |(_, key): &&(&Field, Key)| matches!(key, Key::Bool(_) | Key::Null);
        let best = found.iter().find(|one| !is_rough(one)).or(found.first());
        best.map(|(field, key)| (Probe((*field).clone()), text(key)))
    }
}

/// The fields that have one value, of what must hold of every document.
fn equal(node: &Node) -> Vec<(&Field, Key)> {
    match node {
        Node::And(parts) => parts.iter().flat_map(equal).collect(),
        Node::Field(field, Test::Is(value)) if *field != Field::UpdatedAt => {
            vec![(field, key_of(value))]
        }
        Node::Field(..) | Node::Or(_) | Node::Not(_) => Vec::new(),
    }
}

fn text(key: &Key) -> String {
    let mut encoder = Encoder::default();
    encoder.push(key, Direction::Asc);
    encoder.text()
}
