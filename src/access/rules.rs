//! The rules of a collection, compiled, and the three questions to them: may this be done, which
//! fields may not be seen, and which field may not be written.

use crate::compile::{self, Expression};
use crate::document::Request;
use crate::evaluate::{Evaluation, Fault};
use crate::pattern::Kept;
use crate::required::required;
use crate::source::{Invalid, Operation, Source};
use crate::value::Value;
use crate::{Ast, FIELDS_MAX, PATTERNS_BYTES_MAX, SOURCE_BYTES_MAX, Uses};
use domain::access::Auth;
use domain::path::Path;
use serde_json::Value as Json;

/// The rules of a collection. Made once, shared by reference.
#[derive(Debug, Default)]
pub struct Rules {
    operations: [Option<Expression>; 5],
    fields: Vec<Field>,
    /// Regular expressions that rules computed.
    patterns: Kept,
}

#[derive(Debug)]
struct Field {
    path: Path,
    read: Option<Expression>,
    write: Option<Expression>,
}

/// Whether something may be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Allow,
    /// It may not, or it cannot be decided.
    Deny,
    /// Other documents decide: collection and id of each. Load them and ask again; at most
    /// [`LOOKUPS_MAX`](crate::LOOKUPS_MAX) in all.
    Needs(Vec<(String, String)>),
}

/// Which fields must be taken out of a document before somebody sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable<'r> {
    /// These; see [`strip`](crate::strip).
    Fields(Vec<&'r Path>),
    /// Other documents decide, as in [`Verdict::Needs`].
    Needs(Vec<(String, String)>),
}

/// Whether a write changes a field that it may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unwritable<'r> {
    /// It changes none.
    Nothing,
    /// It changes this one, and perhaps others.
    Field(&'r Path),
    /// Other documents decide, as in [`Verdict::Needs`].
    Needs(Vec<(String, String)>),
}

impl Rules {
    /// Compiles rules; fails with the first that cannot be used: a syntax error, an unknown name,
    /// a size beyond the limits of this crate, a field twice. Parsing takes a thread of its own
    /// for its stack, and some 0.1 ms a rule.
    pub fn compile(source: &Source<'_>) -> Result<Self, Invalid> {
        if source.fields.len() > FIELDS_MAX {
            let message = format!("has {}, the limit is {FIELDS_MAX}", source.fields.len());
            return Err(invalid("fields", message));
        }
        let compiled = compile::with_stack(|| compile_all(source));
        compiled.unwrap_or_else(|| Err(invalid("rules", "cannot be parsed".to_owned())))
    }

    /// Whether there are no rules at all, so that everything is denied.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.operations.iter().all(Option::is_none)
    }

    /// Whether there is a rule for an operation.
    pub fn has_rule(&self, operation: Operation) -> bool {
        self.rule(operation).is_some()
    }

    /// The expression of an operation's rule as it was parsed, its macros not expanded.
    pub fn ast(&self, operation: Operation) -> Option<&Ast> {
        self.rule(operation).map(|rule| &rule.ast)
    }

    /// What the rule of an operation looks at; nothing where there is none.
    pub fn uses(&self, operation: Operation) -> Uses {
        self.rule(operation).map(|rule| rule.uses).unwrap_or_default()
    }

    /// What the `read` rules of fields look at, all together.
    pub fn uses_of_field_reads(&self) -> Uses {
        let rules = self.fields.iter().filter_map(|field| field.read.as_ref());
        rules.fold(Uses::default(), |uses, rule| uses.and(rule.uses))
    }

    /// What the `write` rules of fields look at, all together.
    pub fn uses_of_field_writes(&self) -> Uses {
        let rules = self.fields.iter().filter_map(|field| field.write.as_ref());
        rules.fold(Uses::default(), |uses, rule| uses.and(rule.uses))
    }

    /// Whether the rule of an operation looks other documents up.
    pub fn needs_lookup(&self, operation: Operation) -> bool {
        self.uses(operation).lookup
    }

    /// Whether the rule of an operation depends on who asks.
    pub fn uses_auth(&self, operation: Operation) -> bool {
        self.uses(operation).auth
    }

    /// Whether the rule of an operation depends on the document.
    pub fn uses_resource(&self, operation: Operation) -> bool {
        let uses = self.uses(operation);
        uses.before || uses.after
    }

    /// Whether some field has a rule for reading.
    pub fn has_field_read_rules(&self) -> bool {
        self.fields.iter().any(|field| field.read.is_some())
    }

    /// Fields, and the values that they have in all documents that the operation's rule allows.
    /// There may be more that it requires.
    pub fn required(&self, operation: Operation, auth: Option<&Auth>) -> Vec<(Path, Json)> {
        self.rule(operation).map(|rule| required(&rule.node, auth)).unwrap_or_default()
    }

    /// Whether a rule for reading says who may see this field, or something in it or around it.
    pub fn restricts(&self, path: &Path) -> bool {
        let restricted = self.fields.iter().filter(|field| field.read.is_some());
        restricted
            .map(|field| &field.path)
            .any(|one| one.starts_with(path) || path.starts_with(one))
    }

    /// Whether some field has a rule for writing.
    pub fn has_field_write_rules(&self) -> bool {
        self.fields.iter().any(|field| field.write.is_some())
    }

    /// Whether the operation may be done. Without a rule, with a rule that fails, and with one
    /// whose value is no `bool`, it may not.
    pub fn check(&self, request: &Request<'_>) -> Verdict {
        self.explain(request).unwrap_or(Verdict::Deny)
    }

    /// As [`check`](Self::check), with the reason where the rule has no value: for whoever writes
    /// rules, not for clients.
    pub fn explain(&self, request: &Request<'_>) -> Result<Verdict, Fault> {
        let Some(rule) = self.rule(request.operation) else { return Ok(Verdict::Deny) };
        let mut evaluation = Evaluation::new(request, &self.patterns);
        match evaluation.evaluate(&rule.node) {
            Ok(Value::Bool(true)) => Ok(Verdict::Allow),
            Ok(Value::Bool(false)) => Ok(Verdict::Deny),
            Ok(_) => Err(Fault::Type),
            Err(Fault::Unknown) => Ok(Verdict::Needs(needs(evaluation))),
            Err(fault) => Err(fault),
        }
    }

    /// The fields whose `read` rule does not allow them to be seen in [`Request::before`]. All of
    /// them share the steps and the lookups of one question.
    pub fn unreadable(&self, request: &Request<'_>) -> Unreadable<'_> {
        let mut evaluation = Evaluation::new(request, &self.patterns);
        let (mut fields, mut is_unknown) = (Vec::new(), false);
        for field in &self.fields {
            let Some(rule) = &field.read else { continue };
            match evaluation.evaluate(&rule.node) {
                Ok(Value::Bool(true)) => {}
                Err(Fault::Unknown) => is_unknown = true,
                _ => fields.push(&field.path),
            }
        }
        if is_unknown { Unreadable::Needs(needs(evaluation)) } else { Unreadable::Fields(fields) }
    }

    /// The first field that the write changes and whose `write` rule does not allow it. A create
    /// changes the fields it sets, a delete changes none. Fields are compared by value: the order
    /// of names and the spelling of numbers and strings are no change. Fields that are `touched`
    /// count as changed, whatever they hold: or who may not see one could find out what it holds.
    pub fn unwritable(&self, request: &Request<'_>, touched: &[&Path]) -> Unwritable<'_> {
        if request.after.is_none() {
            return Unwritable::Nothing;
        }
        let mut evaluation = Evaluation::new(request, &self.patterns);
        let mut is_unknown = false;
        for field in &self.fields {
            let Some(rule) = &field.write else { continue };
            let is_touched =
                |one: &&Path| one.starts_with(&field.path) || field.path.starts_with(one);
            let allowed = match evaluation.changed(&field.path) {
                Ok(false) if !touched.iter().any(is_touched) => continue,
                Ok(_) => evaluation.evaluate(&rule.node),
                Err(fault) => Err(fault),
            };
            match allowed {
                Ok(Value::Bool(true)) => {}
                Err(Fault::Unknown) => is_unknown = true,
                _ => return Unwritable::Field(&field.path),
            }
        }
        if is_unknown { Unwritable::Needs(needs(evaluation)) } else { Unwritable::Nothing }
    }

    fn rule(&self, operation: Operation) -> Option<&Expression> {
        self.operations.get(operation as usize).and_then(Option::as_ref)
    }

    /// The steps that a question takes, for tests of what things cost.
    #[cfg(test)]
    pub(crate) fn steps(&self, request: &Request<'_>) -> Option<u32> {
        let mut evaluation = Evaluation::new(request, &self.patterns);
        let _ = evaluation.evaluate(&self.rule(request.operation)?.node);
        Some(evaluation.steps_taken())
    }
}

fn needs(evaluation: Evaluation<'_>) -> Vec<(String, String)> {
    let unknown = evaluation.asked.into_iter().filter(|asked| asked.is_unknown);
    unknown.map(|asked| (asked.collection.into(), asked.id.into())).collect()
}

fn invalid(rule: &str, message: String) -> Invalid {
    Invalid { rule: rule.to_owned(), message, line: 1, column: 1 }
}

fn compile_all(source: &Source<'_>) -> Result<Rules, Invalid> {
    let (mut rules, mut left) = (Rules::default(), Left::default());
    for operation in Operation::ALL {
        let compiled = left.compile(source.of(operation), || operation.to_string())?;
        if let Some(place) = rules.operations.get_mut(operation as usize) {
            *place = compiled;
        }
    }
    for (path, field) in &source.fields {
        let path =
            Path::parse(path).map_err(|why| invalid(&format!("fields/{path}"), why.to_string()))?;
        if rules.fields.iter().any(|field| field.path == path) {
            return Err(invalid(&format!("fields/{path}"), "is there twice".to_owned()));
        }
        let read = left.compile(field.read, || format!("fields/{path}/read"))?;
        let write = left.compile(field.write, || format!("fields/{path}/write"))?;
        rules.fields.push(Field { path, read, write });
    }
    Ok(rules)
}

/// What is left for the rest of a set of rules, in bytes.
struct Left {
    source: usize,
    patterns: usize,
}

impl Default for Left {
    fn default() -> Self {
        Self { source: SOURCE_BYTES_MAX, patterns: PATTERNS_BYTES_MAX }
    }
}

impl Left {
    fn compile(
        &mut self,
        text: Option<&str>,
        rule: impl Fn() -> String,
    ) -> Result<Option<Expression>, Invalid> {
        let Some(text) = text else { return Ok(None) };
        let too_much = |what: &str| invalid(&rule(), format!("the rules together are {what}"));
        self.source = self
            .source
            .checked_sub(text.len())
            .ok_or_else(|| too_much(&format!("longer than {SOURCE_BYTES_MAX} bytes")))?;
        let compiled = compile::expression(text).map_err(|problem| Invalid {
            rule: rule(),
            message: problem.message,
            line: problem.line,
            column: problem.column,
        })?;
        self.patterns = self
            .patterns
            .checked_sub(compiled.patterns_bytes)
            .ok_or_else(|| too_much("too large in their patterns"))?;
        Ok(Some(compiled))
    }
}
