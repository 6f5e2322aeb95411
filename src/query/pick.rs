//! The choice of fields: a part of a document's data.

use domain::path::{Path, through};
use domain::raw::{Kind, Malformed, Raw};

use crate::FIELDS_MAX;
use crate::parse::Invalid;

/// Fields that a client wants. Where a list is on the way, of each of its elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection(Vec<Path>);

impl Selection {
    /// Fields by their names.
    ///
    /// Errors with the place in the list and what is wrong there.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, Invalid> {
        let mut paths = Vec::new();
        for (i, name) in names.into_iter().enumerate() {
            if i == FIELDS_MAX {
                return Err(Invalid::new("", format!("at most {FIELDS_MAX} fields")));
            }
            let path = Path::parse(name);
            paths.push(path.map_err(|error| Invalid::field(&format!("/{i}"), error))?);
        }
        if paths.is_empty() {
            return Err(Invalid::new("", "expected at least one field"));
        }
        Ok(Self(paths))
    }
}

/// The JSON text `data` with no more than the chosen fields, digit for digit and in its own order.
/// An object on the way is there when it is in the data. Of text that is no compact object nothing
/// is left but `{}`.
pub fn pick(data: &[u8], selection: &Selection) -> Vec<u8> {
    let paths: Vec<&[Box<str>]> = selection.0.iter().map(Path::as_slice).collect();
    let mut out = Vec::new();
    match object(Raw::new(data), &paths, &mut out) {
        Ok(()) => out,
        Err(Malformed) => b"{}".to_vec(),
    }
}

/// Recursion is as deep as the paths go.
fn object(raw: Raw<'_>, paths: &[&[Box<str>]], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut entries = raw.entries();
    out.push(b'{');
    let start = out.len();
    while let Some((name, inner)) = entries.try_next()? {
        let (below, is_whole) = through(paths, name);
        let is_wanted = is_whole || (!below.is_empty() && has_fields(inner));
        if !is_wanted {
            continue;
        }
        if out.len() > start {
            out.push(b',');
        }
        out.push(b'"');
        out.extend_from_slice(name.bytes());
        out.extend_from_slice(b"\":");
        match is_whole {
            true => out.extend_from_slice(inner.bytes()),
            false => within(inner, &below, out, 0)?,
        }
    }
    out.push(b'}');
    Ok(())
}

fn has_fields(raw: Raw<'_>) -> bool {
    matches!(raw.kind(), Ok(Kind::Object | Kind::Array))
}

/// Lists in lists are looked into no deeper than documents nest.
const DEPTH_MAX: usize = 100;

fn within(
    raw: Raw<'_>,
    paths: &[&[Box<str>]],
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<(), Malformed> {
    match raw.kind()? {
        Kind::Object => object(raw, paths, out),
        Kind::Array if depth < DEPTH_MAX => {
            let mut elements = raw.elements();
            out.push(b'[');
            let start = out.len();
            while let Some(element) = elements.try_next()? {
                // What has no fields has none that were chosen.
                if !has_fields(element) {
                    continue;
                }
                if out.len() > start {
                    out.push(b',');
                }
                within(element, paths, out, depth + 1)?;
            }
            out.push(b']');
            Ok(())
        }
        _ => Err(Malformed),
    }
}
