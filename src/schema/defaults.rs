//! Defaults of a schema: what fields hold that a new document does not have. Of properties, and of
//! properties within them; a default is itself filled in, so that filling twice is filling once.

use std::collections::HashMap;

use domain::path::below;
use indexmap::IndexMap;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::graph::{Graph, named};
use crate::{Invalid, SCHEMA_BYTES_MAX, depth};

/// How deep defaults may lead to defaults: documents nest no deeper.
const DEPTH_MAX: usize = 64;
/// Bytes of all defaults, each as often as it is found by another way, and of the names of the
/// fields of the objects that they may be in.
const BYTES_MAX: usize = 256 << 10;

/// The defaults of all objects that a schema tells of; the first is the document.
#[derive(Debug, Default)]
pub(crate) struct Defaults {
    objects: Vec<Vec<Field>>,
}

/// What is known of one field of an object.
#[derive(Debug)]
struct Field {
    name: String,
    /// Compact JSON text.
    default: Option<Box<RawValue>>,
    /// Its own fields, if it is an object.
    object: usize,
}

impl Defaults {
    /// Errors where a default leads to itself.
    pub(crate) fn of(graph: &Graph<'_>) -> Result<Self, Invalid> {
        let has_default = |value: &Value| value.get("default").is_some();
        if !graph.all.iter().any(|one| has_default(one.value)) {
            return Ok(Self::default());
        }
        let (objects, by_subschema, open) = (Vec::new(), HashMap::new(), Vec::new());
        let mut building = Building { graph, objects, by_subschema, open, bytes: 0 };
        building.object(0);
        while let Some((object, subschema)) = building.open.pop() {
            building.objects[object] = building.fields(subschema)?;
        }
        let (mut defaults, bytes) = (Self { objects: building.objects }, building.bytes);
        defaults.prune();
        defaults.complete(bytes)?;
        Ok(defaults)
    }

    /// As [`crate::Schema::filled`].
    pub(crate) fn fill(&self, data: &str) -> Option<String> {
        self.fill_object(data, 0)
    }

    /// Recursion is as deep as the document.
    fn fill_object(&self, text: &str, object: usize) -> Option<String> {
        let known = self.objects.get(object)?;
        if known.is_empty() || !text.starts_with('{') {
            return None;
        }
        let mut fields: IndexMap<String, Box<RawValue>> = serde_json::from_str(text).ok()?;
        let mut is_changed = false;
        for Field { name, default, object } in known {
            match (fields.get_mut(name), default) {
                (Some(held), _) => {
                    let filled = self.fill_object(held.get(), *object);
                    if let Some(filled) = filled.and_then(|text| RawValue::from_string(text).ok()) {
                        *held = filled;
                        is_changed = true;
                    }
                }
                (None, Some(default)) => {
                    fields.insert(name.clone(), default.clone());
                    is_changed = true;
                }
                (None, None) => {}
            }
        }
        if is_changed { serde_json::to_string(&fields).ok() } else { None }
    }

    /// Forgets fields that no default is at or below, so that nobody looks into them.
    fn prune(&mut self) {
        let mut matters = vec![false; self.objects.len()];
        loop {
            let before = matters.clone();
            for (index, fields) in self.objects.iter().enumerate() {
                matters[index] =
                    fields.iter().any(|field| field.default.is_some() || matters[field.object]);
            }
            if matters == before {
                break;
            }
        }
        for fields in &mut self.objects {
            fields.retain(|field| field.default.is_some() || matters[field.object]);
        }
    }

    /// Fills defaults with what is below them. So many bytes are there before.
    fn complete(&mut self, mut bytes: usize) -> Result<(), Invalid> {
        let filled = |all: &Self, field: &Field| {
            let default = field.default.as_ref()?;
            let filled = all.fill_object(default.get(), field.object)?;
            let added = filled.len().saturating_sub(default.get().len());
            Some((RawValue::from_string(filled).ok()?, added))
        };
        for _ in 0..=DEPTH_MAX {
            let mut changes = Vec::new();
            for (object, fields) in self.objects.iter().enumerate() {
                for (index, field) in fields.iter().enumerate() {
                    if let Some((default, added)) = filled(self, field) {
                        bytes += added;
                        if bytes > BYTES_MAX {
                            return Err(too_many());
                        }
                        changes.push((object, index, default));
                    }
                }
            }
            if changes.is_empty() {
                return Ok(());
            }
            for (object, index, default) in changes {
                let value = serde_json::from_str(default.get());
                let is_deep = value.map_or(true, |value| depth(&value) > DEPTH_MAX);
                if is_deep || default.get().len() > SCHEMA_BYTES_MAX {
                    return Err(endless());
                }
                self.objects[object][index].default = Some(default);
            }
        }
        Err(endless())
    }
}

fn endless() -> Invalid {
    Invalid::new("", "a default leads to itself, or to more of them than there is room for")
}

fn too_many() -> Invalid {
    let kib = BYTES_MAX >> 10;
    let detail = format!(
        "the defaults, and the names beside them, come to more than {kib} KiB once references are \
         followed and defaults are filled in themselves"
    );
    Invalid::new("", detail)
}

struct Building<'a> {
    graph: &'a Graph<'a>,
    objects: Vec<Vec<Field>>,
    by_subschema: HashMap<usize, usize>,
    /// Objects of which nothing is known yet, with their subschemas.
    open: Vec<(usize, usize)>,
    /// Of defaults and names so far.
    bytes: usize,
}

impl Building<'_> {
    /// The place of what is known of an object that is held against this subschema.
    fn object(&mut self, subschema: usize) -> usize {
        if let Some(known) = self.by_subschema.get(&subschema) {
            return *known;
        }
        let object = self.objects.len();
        self.by_subschema.insert(subschema, object);
        self.objects.push(Vec::new());
        self.open.push((object, subschema));
        object
    }

    fn fields(&mut self, subschema: usize) -> Result<Vec<Field>, Invalid> {
        let mut fields: Vec<Field> = Vec::new();
        for at in self.alike(subschema) {
            let graph = self.graph;
            let one = &graph.all[at];
            let properties = below(&one.at, "properties");
            for name in named(one.value, "properties").into_iter().flat_map(|all| all.keys()) {
                let Some(inner) = graph.at(&below(&properties, name)) else { continue };
                if fields.iter().any(|field| field.name == *name) {
                    continue;
                }
                let default = self.alike(inner).into_iter().find_map(|at| {
                    graph.all[at].value.as_object()?.get("default").map(Value::to_string)
                });
                let default = default.and_then(|text| RawValue::from_string(text).ok());
                self.bytes += name.len() + default.as_ref().map_or(0, |text| text.get().len());
                if self.bytes > BYTES_MAX {
                    return Err(too_many());
                }
                let object = self.object(inner);
                fields.push(Field { name: name.clone(), default, object });
            }
        }
        Ok(fields)
    }

    /// A subschema and all that hold wherever it does, it first. They do not lead back.
    fn alike(&self, subschema: usize) -> Vec<usize> {
        let mut all = vec![subschema];
        let always =
            |(keyword, to): &(&str, usize)| matches!(*keyword, "$ref" | "allOf").then_some(*to);
        for (keyword, to) in &self.graph.all[subschema].in_place {
            if let Some(to) = always(&(keyword, *to)) {
                all.extend(self.alike(to));
            }
        }
        all
    }
}
