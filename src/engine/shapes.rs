//! Schemas of collections on their way: compiled when a project's configuration is taken in, asked
//! by the writer for each document that it is about to write, and never compiled for a write.

use std::collections::HashMap;
use std::sync::Arc;

use domain::CollectionName;
use domain::documents::Shapes;
use domain::projects::ProjectState;
use domain::rejected::Reason;
use schema::Schema;

use crate::catalog::Project;

/// A collection's schema, compiled; nothing where it can't be used. It was checked when it was put,
/// but an imported log may bring any.
#[derive(Debug)]
pub(crate) struct Shape(Option<Schema>);

/// Of every collection that has one. What is as it was in `earlier` is not compiled again.
pub(crate) fn compile(
    state: &ProjectState,
    earlier: Option<&Project>,
) -> HashMap<CollectionName, Arc<Shape>> {
    let mut shapes = HashMap::new();
    for (name, collection) in &state.collections {
        let Some(text) = &collection.config.schema else { continue };
        let is_same = |earlier: &&Project| {
            let before = earlier.state.collections.get(name);
            before.is_some_and(|before| before.config.schema.as_ref() == Some(text))
        };
        let known = earlier.filter(is_same).and_then(|earlier| earlier.shapes.get(name)).cloned();
        let shape = known.unwrap_or_else(|| {
            let compiled = Schema::compile(text).inspect_err(|error| {
                let (at, collection) = (&error.at, name.as_str());
                tracing::error!(collection, at, %error, "a stored schema can't be used");
            });
            Arc::new(Shape(compiled.ok()))
        });
        shapes.insert(name.clone(), shape);
    }
    shapes
}

impl Shapes for Project {
    fn filled(&self, collection: &CollectionName, data: &str) -> Option<String> {
        self.shapes.get(collection)?.0.as_ref()?.filled(data)
    }

    fn check(&self, collection: &CollectionName, data: &[u8]) -> Result<(), Reason> {
        let Some(shape) = self.shapes.get(collection) else { return Ok(()) };
        let Some(schema) = &shape.0 else {
            let detail = "expected another schema: the one that the collection has can't be used";
            return Err(Reason::SchemaMismatch { field: String::new(), detail: detail.to_owned() });
        };
        schema.check(data).map_err(|mismatch| {
            let schema::Mismatch { field, detail } = mismatch;
            Reason::SchemaMismatch { field, detail }
        })
    }
}
