//! A document as clients see it, written straight into the answer's bytes.
//! The stored data is copied as it is: nothing is parsed and no tree is built.

use std::io::Write;

use bytes::Bytes;
use domain::Position;
use engine::Document;
use engine::expand::{Expanded, Referred};
use query::Selection;

/// What a document takes around its data, near enough to make room for.
const FRAME_BYTES: usize = 220;

/// Bytes to make room for.
pub(crate) fn document_bytes(document: &Document) -> usize {
    FRAME_BYTES + document.data.len()
}

/// Appends the document as one JSON object.
pub(crate) fn write_document(out: &mut Vec<u8>, document: &Document) {
    out.reserve(document_bytes(document));
    // Ids are of letters that JSON does not escape.
    out.extend_from_slice(b"{\"id\":\"");
    out.extend_from_slice(document.id.as_str().as_bytes());
    out.extend_from_slice(b"\",\"version\":");
    write_text(out, format_args!("{}", document.version));
    out.extend_from_slice(b",\"createdAt\":\"");
    let created_from = out.len();
    write_text(out, format_args!("{}", document.created_at));
    let created = created_from..out.len();
    out.extend_from_slice(b"\",\"updatedAt\":\"");
    if document.updated_at == document.created_at {
        out.extend_from_within(created);
    } else {
        write_text(out, format_args!("{}", document.updated_at));
    }
    out.extend_from_slice(b"\",\"position\":\"");
    write_position(out, document.position);
    out.extend_from_slice(b"\",\"data\":");
    out.extend_from_slice(&document.data);
    out.push(b'}');
}

/// Appends the document with those that it refers to.
pub(crate) fn write_expanded(out: &mut Vec<u8>, document: &Document, expanded: &Expanded) {
    write_document(out, document);
    out.pop();
    out.extend_from_slice(b",\"expanded\":{");
    for (index, (field, referred)) in expanded.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_string(out, field);
        out.push(b':');
        match referred {
            Referred::One(one) => write_expanded_inner(out, &one.0, &one.1),
            Referred::Many(all) => {
                out.push(b'[');
                for (index, (document, expanded)) in all.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    write_expanded_inner(out, document, expanded);
                }
                out.push(b']');
            }
        }
    }
    out.extend_from_slice(b"}}");
}

/// Of what is referred to, only what refers on says so.
fn write_expanded_inner(out: &mut Vec<u8>, document: &Document, expanded: &Expanded) {
    match expanded.is_empty() {
        true => write_document(out, document),
        false => write_expanded(out, document, expanded),
    }
}

/// The document with only the chosen fields.
pub(crate) fn picked(document: Document, selection: Option<&Selection>) -> Document {
    match selection {
        Some(selection) => {
            let data = Bytes::from(query::pick(&document.data, selection));
            Document { data, ..document }
        }
        None => document,
    }
}

/// Appends a position, without quotes.
pub(crate) fn write_position(out: &mut Vec<u8>, position: Position) {
    write_text(out, format_args!("{position}"));
}

/// Appends text as a JSON string.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    // A `str` is always serialisable, and a `Vec` takes every write.
    let _ = serde_json::to_writer(out, text);
}

/// Appends formatted text.
pub(crate) fn write_text(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // A `Vec` takes every write.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use domain::{DocumentId, PartitionId, Timestamp};

    use super::*;

    #[test]
    fn a_document_reads_as_the_api_says() {
        let mut document = Document {
            id: DocumentId::new("a-1").unwrap(),
            version: 3,
            created_at: Timestamp::from_micros(0),
            updated_at: Timestamp::from_micros(1),
            position: Position { partition: PartitionId(2), offset: 7 },
            data: Bytes::from_static(br#"{"n":1.00}"#),
        };
        let text = |document: &Document| {
            let mut out = Vec::new();
            write_document(&mut out, document);
            assert!(out.len() <= document_bytes(document));
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            text(&document),
            concat!(
                r#"{"id":"a-1","version":3,"createdAt":"1970-01-01T00:00:00.000000Z","#,
                r#""updatedAt":"1970-01-01T00:00:00.000001Z","position":"2-7","#,
                r#""data":{"n":1.00}}"#,
            ),
        );
        document.updated_at = document.created_at;
        let same = r#""updatedAt":"1970-01-01T00:00:00.000000Z""#;
        assert!(text(&document).contains(same));
    }
}
