//! A schema's subschemas and how they lead to each other: what is looked at for the same value, and
//! what for a value within it. Before anything is compiled, it tells whether checks can go on for
//! ever, many times over the same value, or too deep for the stack.

use std::collections::HashMap;

use domain::path::below;
use serde_json::{Map, Value};

use crate::{Invalid, PATTERNS_MAX};

/// Subschemas that one may have looked at for the same value.
const IN_PLACE_MAX: u64 = 1_000;
/// Subschemas within each other that one value of a document may be held against.
const IN_PLACE_DEPTH_MAX: usize = 32;
/// The same along the way from the document to its innermost value.
const STACK_MAX: u32 = 400;
/// How deep documents nest.
const DOCUMENT_DEPTH: usize = 64;
/// Subschemas once every reference is replaced by what it refers to.
const EXPANDED_MAX: u64 = 20_000;
/// Bytes of the pointers to all subschemas.
const POINTER_BYTES_MAX: usize = 2 << 20;

/// Formats that are checked. All others are refused, lest somebody relies on them.
const FORMATS: [&str; 12] = [
    "date",
    "date-time",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "json-pointer",
    "time",
    "uri",
    "uri-reference",
    "uuid",
];
/// The only dialect.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Keywords with schemas by name.
const MAPS: [&str; 5] =
    ["$defs", "definitions", "properties", "patternProperties", "dependentSchemas"];
/// Keywords with a list of schemas.
const LISTS: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];
/// Keywords with a schema.
const ONES: [&str; 9] = [
    "additionalProperties",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
];
/// Keywords without.
const PLAIN: [&str; 39] = [
    "$anchor",
    "$comment",
    "$dynamicAnchor",
    "$dynamicRef",
    "$id",
    "$ref",
    "$schema",
    "const",
    "contentEncoding",
    "contentMediaType",
    "default",
    "dependentRequired",
    "deprecated",
    "description",
    "enum",
    "example",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "pattern",
    "readOnly",
    "required",
    "title",
    "type",
    "uniqueItems",
    "writeOnly",
    "nullable",
];

/// One subschema.
pub(crate) struct Subschema<'a> {
    /// JSON Pointer to it.
    pub(crate) at: String,
    pub(crate) value: &'a Value,
    /// By keyword, those held against the same value.
    pub(crate) in_place: Vec<(&'static str, usize)>,
    /// Those held against a value within it.
    within: Vec<usize>,
}

/// All subschemas; the first is the whole.
pub(crate) struct Graph<'a> {
    pub(crate) all: Vec<Subschema<'a>>,
    by_pointer: HashMap<String, usize>,
    by_anchor: HashMap<&'a str, usize>,
    patterns: usize,
    /// The most patterns that the name of one field is held against beside each other.
    name_patterns: usize,
    pointer_bytes: usize,
}

impl<'a> Graph<'a> {
    /// Errors with what can't be taken.
    pub(crate) fn of(schema: &'a Value) -> Result<Self, Invalid> {
        let mut graph = Self {
            all: Vec::new(),
            by_pointer: HashMap::new(),
            by_anchor: HashMap::new(),
            patterns: 0,
            name_patterns: 0,
            pointer_bytes: 0,
        };
        graph.add(schema, String::new())?;
        if graph.patterns > PATTERNS_MAX {
            let detail = format!("has more than {PATTERNS_MAX} regular expressions");
            return Err(Invalid::new("", detail));
        }
        graph.refer()?;
        graph.check_steps()?;
        Ok(graph)
    }

    /// Whether there are regular expressions.
    pub(crate) fn has_patterns(&self) -> bool {
        self.patterns > 0
    }

    /// The most patterns that the name of one field is held against beside each other.
    pub(crate) fn name_patterns(&self) -> u64 {
        self.name_patterns as u64
    }

    /// Recursion is as deep as the schema nests, which was checked.
    fn add(&mut self, value: &'a Value, at: String) -> Result<usize, Invalid> {
        self.pointer_bytes += at.len();
        if self.pointer_bytes > POINTER_BYTES_MAX {
            let detail = "has too many subschemas that are deep within it, below long names: the \
                          pointers to all of them take too many bytes";
            return Err(Invalid::new("", detail));
        }
        let index = self.all.len();
        self.by_pointer.insert(at.clone(), index);
        let (in_place, within) = (Vec::new(), Vec::new());
        self.all.push(Subschema { at: at.clone(), value, in_place, within });
        let Value::Object(keywords) = value else { return Ok(index) };
        for (name, value) in keywords {
            let at = below(&at, name);
            if let Some(name) = MAPS.iter().find(|known| *known == name) {
                if let Value::Object(schemas) = value {
                    if *name == "patternProperties" {
                        self.patterns += schemas.len();
                        self.name_patterns = self.name_patterns.max(schemas.len());
                    }
                    for (key, value) in schemas {
                        let inner = self.add(value, below(&at, key))?;
                        self.lead(index, name, inner);
                    }
                }
            } else if let Some(name) = LISTS.iter().find(|known| *known == name) {
                for (n, value) in value.as_array().into_iter().flatten().enumerate() {
                    let inner = self.add(value, below(&at, &n.to_string()))?;
                    self.lead(index, name, inner);
                }
            } else if let Some(name) = ONES.iter().find(|known| *known == name) {
                let inner = self.add(value, at)?;
                self.lead(index, name, inner);
            } else {
                self.check_plain(index, name, value, at)?;
            }
        }
        Ok(index)
    }

    fn lead(&mut self, from: usize, keyword: &'static str, to: usize) {
        match keyword {
            "$defs" | "definitions" | "contentSchema" => {}
            "allOf" | "anyOf" | "oneOf" | "not" | "if" | "then" | "else" | "dependentSchemas"
            | "$ref" => self.all[from].in_place.push((keyword, to)),
            _ => self.all[from].within.push(to),
        }
    }

    fn check_plain(
        &mut self,
        index: usize,
        name: &str,
        value: &'a Value,
        at: String,
    ) -> Result<(), Invalid> {
        let text = value.as_str().unwrap_or_default();
        match name {
            "$anchor" | "$dynamicAnchor" if self.is_other_name(text, index) => {
                return Err(Invalid::new(at, "two places have this name"));
            }
            "$id" if index > 0 => {
                return Err(Invalid::new(at, "only the whole schema may have a name"));
            }
            "$schema" if index > 0 || text.trim_end_matches('#') != DIALECT => {
                return Err(Invalid::new(at, format!("expected {DIALECT}, on the whole schema")));
            }
            "format" if value.is_string() && !FORMATS.contains(&text) => {
                let detail = format!("expected one of the formats {}", FORMATS.join(", "));
                return Err(Invalid::new(at, detail));
            }
            "pattern" => self.patterns += 1,
            "nullable" => {
                return Err(Invalid::new(at, "expected \"type\": [\"…\", \"null\"] in its place"));
            }
            "unevaluatedItems" => {
                return Err(Invalid::new(at, "not taken here: say \"items\" in its place"));
            }
            "unevaluatedProperties" => {
                let detail = "not taken here: say \"additionalProperties\" in its place";
                return Err(Invalid::new(at, detail));
            }
            name if !PLAIN.contains(&name) && !name.starts_with("x-") => {
                let detail = "not a keyword of JSON Schema 2020-12 that is known here; names of \
                              your own begin with x-";
                return Err(Invalid::new(at, detail));
            }
            _ => {}
        }
        Ok(())
    }

    /// Names a place, unless another one has that name.
    fn is_other_name(&mut self, name: &'a str, index: usize) -> bool {
        *self.by_anchor.entry(name).or_insert(index) != index
    }

    /// Follows references. They stay within the schema: nothing is ever fetched.
    fn refer(&mut self) -> Result<(), Invalid> {
        for index in 0..self.all.len() {
            let Value::Object(keywords) = self.all[index].value else { continue };
            for keyword in ["$ref", "$dynamicRef"] {
                let Some(target) = keywords.get(keyword).and_then(Value::as_str) else { continue };
                let at = || below(&self.all[index].at, keyword);
                let target = target.strip_prefix('#').ok_or_else(|| {
                    Invalid::new(at(), "expected a place within this schema: #/…")
                })?;
                let target = percent_encoding::percent_decode_str(target).decode_utf8_lossy();
                let found = match target.is_empty() || target.starts_with('/') {
                    true => self.by_pointer.get(&*target),
                    false => self.by_anchor.get(&*target),
                };
                let found = *found.ok_or_else(|| Invalid::new(at(), "there is no schema there"))?;
                self.lead(index, "$ref", found);
            }
        }
        Ok(())
    }

    /// What a check may cost at most must be bounded: see the constants.
    fn check_steps(&self) -> Result<(), Invalid> {
        let mut order = Order { graph: self, done: vec![None; self.all.len()], sorted: Vec::new() };
        for index in 0..self.all.len() {
            order.visit(index, 0)?;
        }
        let sorted = order.sorted;
        // The longest way down from each, by how many more levels the document has.
        let mut deepest = vec![0_u32; self.all.len()];
        for _ in 0..=DOCUMENT_DEPTH {
            let below = std::mem::take(&mut deepest);
            deepest = vec![0; self.all.len()];
            for &index in &sorted {
                let one = &self.all[index];
                let same = one.in_place.iter().map(|(_, to)| deepest[*to]);
                let inner = one.within.iter().map(|to| below[*to]);
                deepest[index] = 1 + same.chain(inner).max().unwrap_or(0);
            }
        }
        if deepest[0] > STACK_MAX {
            let detail = "a deep document would be held against too many subschemas that lead to \
                          each other";
            return Err(Invalid::new("", detail));
        }
        match self.expanded() {
            size if size > EXPANDED_MAX => {
                Err(Invalid::new("", "is too large once its references are followed"))
            }
            _ => Ok(()),
        }
    }

    /// How many subschemas there are once all references are followed, a way back to where it came
    /// from counted once. Without recursion: a chain of references may be long.
    fn expanded(&self) -> u64 {
        let mut sizes: Vec<Option<u64>> = vec![None; self.all.len()];
        let mut open = vec![(0, false)];
        while let Some((index, is_done)) = open.pop() {
            let one = &self.all[index];
            let below = one.in_place.iter().map(|(_, to)| *to).chain(one.within.iter().copied());
            if is_done {
                let sum = |sum: u64, to: usize| sum.saturating_add(sizes[to].unwrap_or(1));
                sizes[index] = Some(below.fold(1, sum));
            } else if sizes[index].is_none() {
                sizes[index] = Some(1);
                open.push((index, true));
                open.extend(below.map(|to| (to, false)));
            }
        }
        sizes[0].unwrap_or(1)
    }
}

/// Sorts subschemas so that those held against the same value come before the one that leads to
/// them.
struct Order<'a> {
    graph: &'a Graph<'a>,
    /// How many are looked at in place; 0 while that is found out.
    done: Vec<Option<u64>>,
    sorted: Vec<usize>,
}

impl Order<'_> {
    fn visit(&mut self, index: usize, depth: usize) -> Result<u64, Invalid> {
        let one = &self.graph.all[index];
        match self.done[index] {
            Some(0) => {
                let detail = "leads back to itself without going into the value";
                return Err(Invalid::new(one.at.clone(), detail));
            }
            Some(count) => return Ok(count),
            None if depth > IN_PLACE_DEPTH_MAX => {
                let detail = format!(
                    "more than {IN_PLACE_DEPTH_MAX} subschemas lead to each other for one value"
                );
                return Err(Invalid::new(one.at.clone(), detail));
            }
            None => self.done[index] = Some(0),
        }
        let mut count = 1_u64;
        for (_, to) in &one.in_place {
            count = count.saturating_add(self.visit(*to, depth + 1)?);
        }
        if count > IN_PLACE_MAX {
            let detail = format!("holds one value against more than {IN_PLACE_MAX} subschemas");
            return Err(Invalid::new(one.at.clone(), detail));
        }
        self.done[index] = Some(count);
        self.sorted.push(index);
        Ok(count)
    }
}

/// The keyword's object.
pub(crate) fn named<'a>(schema: &'a Value, keyword: &str) -> Option<&'a Map<String, Value>> {
    schema.as_object()?.get(keyword)?.as_object()
}

impl Graph<'_> {
    /// The subschema at a pointer.
    pub(crate) fn at(&self, pointer: &str) -> Option<usize> {
        self.by_pointer.get(pointer).copied()
    }
}
