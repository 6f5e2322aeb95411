//! Documents as the validator looks at them: every look is counted, and once there were too many,
//! nothing more is shown, so that a check ends soon whatever the schema asks.

use std::borrow::Cow;
use std::cell::Cell;

use jsonschema::JsonType;
use jsonschema::json::{Array, Json, NodeIdentity, Object, cmp, unique};
use serde_json::{Map, Value, map};

thread_local! {
    /// Steps left and what things cost, of the check that runs on this thread. The validator makes
    /// some nodes out of nothing, so they can't bring their meter along.
    static METER: Cell<(u64, Costs)> = const { Cell::new((0, Costs { weight: 0, names: 0 })) };
}

/// What a schema makes things cost.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Costs {
    /// Steps for 64 bytes of text.
    pub(crate) weight: u64,
    /// How often the name of a field may be looked at each time it is shown.
    pub(crate) names: u64,
}

/// Runs a check that may take so many steps. Also tells how many it took; `None` when they were
/// not enough, and then the outcome means nothing.
pub(crate) fn metered<T>(steps: u64, costs: Costs, run: impl FnOnce() -> T) -> (T, Option<u64>) {
    METER.set((steps, costs));
    let outcome = run();
    let (left, _) = METER.take();
    (outcome, (left > 0).then(|| steps - left))
}

/// Whether there were so many steps left.
fn take(steps: u64) -> bool {
    let (left, costs) = METER.get();
    let left = left.saturating_sub(steps);
    METER.set((left, costs));
    left > 0
}

/// What a text costs.
fn text_steps(text: &str) -> u64 {
    let (_, costs) = METER.get();
    1 + (text.len() as u64).saturating_mul(costs.weight) / 64
}

/// What a field's name costs: it is held against every pattern beside each other.
fn name_steps(name: &str) -> u64 {
    let (_, costs) = METER.get();
    text_steps(name).saturating_mul(costs.names.max(1))
}

/// What a comparison costs at most.
fn size(value: &Value) -> u64 {
    1 + match value {
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| name.len() as u64 / 64 + size(value)).sum()
        }
        Value::String(text) => text.len() as u64 / 64,
        _ => 0,
    }
}

/// Elements of a list up to which the validator compares each with each. It puts more of them into
/// a hash table.
const PAIRWISE_MAX: usize = 15;
/// Integers up to this have hashes of their own: the validator takes them for doubles.
const EXACT_MAX: u64 = 1 << 53;

/// Whether others that are not the same may have its hash.
fn collides(value: &Value) -> bool {
    match value {
        Value::Array(_) | Value::Object(_) => true,
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => number.unsigned_abs() > EXACT_MAX,
            (None, other) => other.is_some(),
        },
        _ => false,
    }
}

/// What finding two of the same costs at most.
fn unique_steps(items: &[Value]) -> u64 {
    let sizes: u64 = items.iter().map(size).sum();
    if items.len() > PAIRWISE_MAX && items.iter().any(collides) {
        sizes.saturating_mul(items.len() as u64)
    } else {
        sizes
    }
}

/// JSON whose looks are counted.
pub(crate) struct Metered;

/// A value of a document.
#[derive(Clone, Copy)]
pub(crate) struct Node<'a>(pub(crate) &'a Value);

/// The fields of an object.
pub(crate) struct Fields<'a>(&'a Map<String, Value>);

/// The elements of a list.
pub(crate) struct Items<'a>(&'a [Value]);

pub(crate) struct FieldsIter<'a>(map::Iter<'a>);

pub(crate) struct ItemsIter<'a>(std::slice::Iter<'a, Value>);

impl Json for Metered {
    type Node<'a> = Node<'a>;
    type PreparedKey = String;
    type StringBuffer = Value;

    fn prepare_key(key: &str) -> String {
        key.to_owned()
    }

    fn with_string_node<T>(
        buffer: &mut Value,
        string: &str,
        f: impl FnOnce(Self::Node<'_>) -> T,
    ) -> T {
        *buffer = Value::from(string);
        f(Node(buffer))
    }
}

impl<'a> jsonschema::json::Node<'a, Metered> for Node<'a> {
    type Object = Fields<'a>;
    type Array = Items<'a>;
    type Number = &'a serde_json::Number;

    fn as_object(&self) -> Option<Fields<'a>> {
        take(1);
        self.0.as_object().map(Fields)
    }

    fn as_array(&self) -> Option<Items<'a>> {
        take(1);
        self.0.as_array().map(|items| Items(items))
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        let text = self.0.as_str()?;
        Some(Cow::Borrowed(if take(text_steps(text)) { text } else { "" }))
    }

    fn as_number(&self) -> Option<&'a serde_json::Number> {
        take(1);
        match self.0 {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    fn as_boolean(&self) -> Option<bool> {
        take(1);
        self.0.as_bool()
    }

    fn is_null(&self) -> bool {
        take(1);
        self.0.is_null()
    }

    fn is_number(&self) -> bool {
        self.0.is_number()
    }

    fn json_type(&self) -> JsonType {
        take(1);
        match self.0 {
            Value::Null => JsonType::Null,
            Value::Bool(_) => JsonType::Boolean,
            Value::Number(_) => JsonType::Number,
            Value::String(_) => JsonType::String,
            Value::Array(_) => JsonType::Array,
            Value::Object(_) => JsonType::Object,
        }
    }

    fn string_length(&self) -> Option<u64> {
        let text = self.0.as_str()?;
        take(1 + text.len() as u64 / 64);
        Some(text.chars().count() as u64)
    }

    fn equals_value(&self, expected: &Value) -> bool {
        take(size(expected)) && cmp::equal(self.0, expected)
    }

    /// What errors are made of: they don't say what was found, and keep no copies of it.
    fn to_value(&self) -> Cow<'a, Value> {
        Cow::Owned(Value::Null)
    }

    fn identity(&self) -> Option<NodeIdentity> {
        Some(NodeIdentity::new(std::ptr::from_ref(self.0) as usize))
    }
}

impl<'a> Object<'a, Metered> for Fields<'a> {
    type Node = Node<'a>;
    type MemberName = &'a str;
    type MembersIter = FieldsIter<'a>;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, key: &String) -> Option<Node<'a>> {
        if take(1) { self.0.get(key).map(Node) } else { None }
    }

    fn members(&self) -> FieldsIter<'a> {
        FieldsIter(self.0.iter())
    }
}

impl<'a> Iterator for FieldsIter<'a> {
    type Item = (&'a str, Node<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, value) = self.0.next()?;
        take(name_steps(name)).then_some((name.as_str(), Node(value)))
    }
}

impl<'a> Array<'a, Metered> for Items<'a> {
    type Node = Node<'a>;
    type ElementsIter = ItemsIter<'a>;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn elements(&self) -> ItemsIter<'a> {
        ItemsIter(self.0.iter())
    }

    fn is_unique(&self) -> bool {
        !take(unique_steps(self.0)) || unique::is_unique(self.0)
    }
}

impl<'a> Iterator for ItemsIter<'a> {
    type Item = Node<'a>;

    fn next(&mut self) -> Option<Node<'a>> {
        let value = self.0.next()?;
        take(1).then_some(Node(value))
    }
}
