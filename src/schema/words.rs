//! What a failed check is in words: where, and what was expected there. What was found is not told,
//! for who writes a document need not be somebody who may read all of it.

use domain::path::below;
use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};

use crate::Mismatch;

/// Bytes of a detail at most: a schema's own words may be long.
const DETAIL_BYTES_MAX: usize = 300;

/// The error in words.
pub(crate) fn of(error: &ValidationError<'_>) -> Mismatch {
    let at = error.instance_path().as_str();
    let field = match error.kind() {
        Kind::Required { property } => below(at, property.as_str().unwrap_or_default()),
        Kind::AdditionalProperties { unexpected } => match unexpected.first() {
            Some(name) => below(at, name),
            None => at.to_owned(),
        },
        _ => at.to_owned(),
    };
    Mismatch { field, detail: cut(format!("expected {}", expected(error))) }
}

fn expected(error: &ValidationError<'_>) -> String {
    match error.kind() {
        Kind::Type { kind: TypeKind::Single(kind) } => format!("the type {kind}"),
        Kind::Type { kind: TypeKind::Multiple(kinds) } => {
            let kinds: Vec<String> = kinds.into_iter().map(|kind| kind.to_string()).collect();
            format!("one of the types {}", kinds.join(", "))
        }
        Kind::Required { .. } => "this field: it is required".to_owned(),
        Kind::AdditionalProperties { .. } | Kind::FalseSchema => {
            "nothing here: the schema knows no such field".to_owned()
        }
        Kind::AdditionalItems { .. } => "fewer elements: the schema knows no such ones".to_owned(),
        Kind::Constant { expected_value } => expected_value.to_string(),
        Kind::Enum { options } => format!("one of {options}"),
        Kind::Minimum { limit } => format!("at least {limit}"),
        Kind::Maximum { limit } => format!("at most {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("more than {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("less than {limit}"),
        Kind::MultipleOf { multiple_of } => format!("a multiple of {multiple_of}"),
        Kind::MinLength { limit } => format!("at least {limit} characters"),
        Kind::MaxLength { limit } => format!("at most {limit} characters"),
        Kind::MinItems { limit } => format!("at least {limit} elements"),
        Kind::MaxItems { limit } => format!("at most {limit} elements"),
        Kind::MinProperties { limit } => format!("at least {limit} fields"),
        Kind::MaxProperties { limit } => format!("at most {limit} fields"),
        Kind::UniqueItems => "elements of which no two are alike".to_owned(),
        Kind::Contains => "a list with enough, and not too many, elements of the kind that \
                           contains tells"
            .to_owned(),
        Kind::Pattern { pattern } => format!("a text with a match of {pattern}"),
        Kind::Format { format } if format == "regex" => {
            "a regular expression that is not too large and has neither look-around nor \
             back-references"
                .to_owned()
        }
        Kind::Format { format } => format!("a text of the format {format}"),
        Kind::Not { .. } => "something that the schema under not does not allow".to_owned(),
        Kind::AnyOf { .. } | Kind::OneOfNotValid { .. } => {
            "something that one of the alternatives allows".to_owned()
        }
        Kind::OneOfMultipleValid { .. } => {
            "something that only one of the alternatives allows".to_owned()
        }
        Kind::PropertyNames { error } => format!("other names of fields: {}", expected(error)),
        // Of a schema, which is no secret.
        _ => format!("something else: {}", error.masked()),
    }
}

fn cut(mut text: String) -> String {
    if text.len() > DETAIL_BYTES_MAX {
        let end = (0..=DETAIL_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
        text.push('…');
    }
    text
}
