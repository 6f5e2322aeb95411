//! Collections: what a developer says of them. A collection needs no configuration to hold
//! documents.

use std::collections::BTreeMap;

use access::Path;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use domain::path::below;
use domain::projects::{self, CollectionConfig, CollectionState, ProjectCommand};
use domain::rejected::Reason;
use domain::{CollectionName, Timestamp, command};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::schemas;
use crate::answer::{self, Answer};
use crate::body::{self, JSON};
use crate::call::Call;
use crate::error::Problem;

/// The longest rule, in bytes.
const RULE_BYTES_MAX: usize = 10_000;
/// The most indexes of a collection.
const INDEXES_MAX: usize = 64;
/// The most of what is unique in a collection.
const UNIQUE_MAX: usize = 16;

/// Who may do what, as CEL expressions. No rule means no access, but for a secret key.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rules {
    /// Read one document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 10000)]
    read: Option<String>,
    /// Read documents by query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 10000)]
    list: Option<String>,
    /// Make a document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 10000)]
    create: Option<String>,
    /// Change a document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 10000)]
    update: Option<String>,
    /// Delete a document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 10000)]
    delete: Option<String>,
}

/// Ascending or descending.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Direction {
    /// Smallest first.
    #[default]
    Asc,
    /// Largest first.
    Desc,
}

/// One field of an index.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct IndexField {
    /// Its name; nested fields with dots.
    #[schema(min_length = 1, max_length = 512)]
    field: String,
    /// Its order.
    #[serde(default)]
    direction: Direction,
    /// Whether its value is a list, each element of which is to be found.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    elements: bool,
}

/// An index over one or more fields.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Index {
    /// In order.
    #[serde(deserialize_with = "body::objects")]
    #[schema(min_items = 1, max_items = 8)]
    fields: Vec<IndexField>,
}

/// What a developer says of a field.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Field {
    /// Who may see it, of those who may see the document; everybody when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 10000)]
    read: Option<String>,
    /// Who may set or change it, of those who may write the document; everybody when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 10000)]
    write: Option<String>,
    /// Whether it is about a person: then it is sealed with that person's key before it is stored,
    /// and erasing the person takes it out of all that was ever stored.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    personal: bool,
    /// The collection of which it holds ids of documents, one or a list of them: those that
    /// `expand` shows along with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9-][A-Za-z0-9_.-]{0,127}$")]
    references: Option<CollectionName>,
}

/// What a developer says of a collection.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CollectionSettings {
    /// Access rules.
    #[serde(default, deserialize_with = "body::object")]
    rules: Rules,
    /// Indexes.
    #[serde(default, deserialize_with = "body::objects")]
    #[schema(max_items = 64)]
    indexes: Vec<Index>,
    /// Fields with rules of their own, or personal ones, by name: nested ones with dots.
    #[serde(default)]
    fields: BTreeMap<String, Field>,
    /// Where a document says whose its personal fields are: the field with that user's id, or
    /// `$id` where the document's own id is the user's.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 512)]
    subject: Option<String>,
    /// Fields whose values no two documents have alike: one, or several taken together.
    #[serde(default)]
    #[schema(max_items = 16)]
    unique: Vec<Fields>,
    /// What each document must be like: a JSON Schema (2020-12) of its data.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    schema: Option<Map<String, Value>>,
    /// The field that says when a document is to be deleted: an RFC 3339 time.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 512)]
    expires: Option<String>,
}

/// One field or several.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Fields {
    /// Its name; nested fields with dots.
    One(String),
    /// Their names.
    Several(Vec<String>),
}

impl Fields {
    fn as_slice(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }
}

/// A collection.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Collection)]
pub(crate) struct CollectionBody {
    /// Its name.
    #[schema(value_type = String)]
    name: CollectionName,
    /// Whether it was configured, or merely has documents.
    configured: bool,
    /// Access rules.
    rules: Rules,
    /// Indexes.
    indexes: Vec<Index>,
    /// Fields with rules of their own, or personal ones.
    fields: BTreeMap<String, Field>,
    /// Where a document says whose its personal fields are.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// Fields whose values, taken together, no two documents have alike.
    unique: Vec<Vec<String>>,
    /// What each document must be like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    schema: Option<Map<String, Value>>,
    /// The field that says when a document is to be deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    /// When it was first configured.
    #[schema(value_type = Option<String>, format = DateTime)]
    created_at: Option<Timestamp>,
    /// When it was last configured.
    #[schema(value_type = Option<String>, format = DateTime)]
    updated_at: Option<Timestamp>,
}

/// A page of collections.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct CollectionPage {
    /// In the order of their names.
    collections: Vec<CollectionBody>,
    /// For the next page; `null` when there is none.
    cursor: Option<String>,
}

/// Configures a collection; replaces all of its configuration.
#[utoipa::path(
    put, path = "/v1/projects/{project}/collections/{collection}",
    operation_id = "putCollection", tag = "collections",
    request_body(content = CollectionSettings),
    responses(
        (status = 200, description = "The collection, configured anew.", body = CollectionBody),
        (status = 201, description = "The collection, configured.", body = CollectionBody),
    ),
)]
pub(crate) async fn put(mut call: Call) -> Answer {
    let scope = call.past_rules().await?;
    let collection = call.collection()?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let settings: CollectionSettings = body::parse(&body)?;
    settings.check()?;
    let config = CollectionConfig::from(settings);
    check_rules(&config)?;
    let command = ProjectCommand::ConfigureCollection {
        collection: collection.clone(),
        config: Box::new(config.clone()),
    };
    let command = command::Body::Project(command);
    let project = scope.project;
    let written = call.submit(project.clone(), &scope.principal, command, &body).await?;
    let time = written.events.first().map(|first| first.event.time).unwrap_or_default();
    let live = call.app.engine.catalog().project(&project);
    let stored = live.as_ref().and_then(|live| live.state.collections.get(&collection));
    let created_at = stored.map_or(time, |stored| stored.created_at);
    let status = if created_at == time { StatusCode::CREATED } else { StatusCode::OK };
    let state = CollectionState { config, created_at, updated_at: time };
    let shown = CollectionBody::configured(collection, &state);
    answer::committed(answer::json(status, &shown)?, &written)
}

/// Lists collections: those configured, and those that merely have or had documents.
#[utoipa::path(
    get, path = "/v1/projects/{project}/collections", operation_id = "listCollections",
    tag = "collections",
    params(
        ("limit" = Option<u32>, Query, description = "Collections in the page.",
            minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "The `cursor` of the page before.",
            pattern = "^[A-Za-z0-9-][A-Za-z0-9_.-]{0,127}$"),
    ),
    responses((status = 200, description = "A page of collections.", body = CollectionPage)),
)]
pub(crate) async fn list(call: Call) -> Answer {
    let scope = call.reading().await?;
    let query = call.query(&["limit", "cursor"])?;
    let limit = query.limit(call.app.options.page_max)?;
    let after = query.id("cursor", CollectionName::new)?;
    let configured = &scope.live.state.collections;
    let mut names = call.app.engine.collections(&scope.project).await?;
    names.extend(configured.keys().cloned());
    names.retain(|name| after.as_ref().is_none_or(|after| name > after));
    names.sort_unstable();
    names.dedup();
    let more = names.len() > limit;
    names.truncate(limit);
    let cursor = names.last().filter(|_| more).map(ToString::to_string);
    let collections = names.into_iter().map(|name| match configured.get(&name) {
        Some(state) => CollectionBody::configured(name, state),
        None => CollectionBody::unconfigured(name),
    });
    answer::json(StatusCode::OK, &CollectionPage { collections: collections.collect(), cursor })
}

/// Gets a collection.
#[utoipa::path(
    get, path = "/v1/projects/{project}/collections/{collection}",
    operation_id = "getCollection", tag = "collections",
    responses((status = 200, description = "The collection.", body = CollectionBody)),
)]
pub(crate) async fn get(call: Call) -> Answer {
    let scope = call.reading().await?;
    let name = call.collection()?;
    call.query(&[])?;
    if let Some(state) = scope.live.state.collections.get(&name) {
        return answer::json(StatusCode::OK, &CollectionBody::configured(name, state));
    }
    if call.app.engine.collections(&scope.project).await?.contains(&name) {
        return answer::json(StatusCode::OK, &CollectionBody::unconfigured(name));
    }
    Err(Reason::CollectionNotFound(name).into())
}

/// Takes a collection's configuration back. Its documents stay.
#[utoipa::path(
    delete, path = "/v1/projects/{project}/collections/{collection}",
    operation_id = "deleteCollection", tag = "collections",
    responses((status = 204, description = "The collection is no longer configured.")),
)]
pub(crate) async fn delete(call: Call) -> Answer {
    let scope = call.past_rules().await?;
    let collection = call.collection()?;
    call.query(&[])?;
    let command = command::Body::Project(ProjectCommand::DeleteCollection { collection });
    let written = call.submit(scope.project, &scope.principal, command, &[]).await?;
    answer::committed(HttpResponse::new(StatusCode::NO_CONTENT), &written)
}

/// Errors with `invalid-body` and the place in a rule that can't be used.
pub(super) fn check_rules(config: &CollectionConfig) -> Result<access::Rules, Problem> {
    let compiled = access::Rules::compile(&engine::access::source(config));
    compiled.map_err(|error| {
        let pointer =
            match error.rule.strip_prefix("fields/").and_then(|rest| rest.rsplit_once('/')) {
                Some((name, way)) => format!("{}/{way}", below("/fields", name)),
                None => format!("/rules/{}", error.rule),
            };
        let detail = format!("{}:{}: {}", error.line, error.column, error.message);
        Problem::body(pointer, detail)
    })
}

impl CollectionBody {
    fn configured(name: CollectionName, state: &CollectionState) -> Self {
        Self {
            name,
            configured: true,
            rules: Rules::from(&state.config.rules),
            indexes: state.config.indexes.iter().map(|one| Index::over(&one.fields)).collect(),
            fields: state.config.fields.iter().map(|(n, f)| (n.clone(), f.into())).collect(),
            subject: state.config.subject.clone(),
            unique: state.config.unique.clone(),
            schema: state.config.schema.clone(),
            expires: state.config.expires.clone(),
            created_at: Some(state.created_at),
            updated_at: Some(state.updated_at),
        }
    }

    fn unconfigured(name: CollectionName) -> Self {
        Self {
            name,
            configured: false,
            rules: Rules::default(),
            indexes: Vec::new(),
            fields: BTreeMap::new(),
            subject: None,
            unique: Vec::new(),
            schema: None,
            expires: None,
            created_at: None,
            updated_at: None,
        }
    }
}

impl CollectionSettings {
    /// Errors with `invalid-body` and a pointer to what is out of bounds.
    pub(super) fn check(&self) -> Result<(), Problem> {
        let Rules { read, list, create, update, delete } = &self.rules;
        let rules = [
            ("read", read),
            ("list", list),
            ("create", create),
            ("update", update),
            ("delete", delete),
        ];
        for (name, rule) in rules {
            if rule.as_ref().is_some_and(|rule| rule.len() > RULE_BYTES_MAX) {
                let detail = format!("a rule may have {RULE_BYTES_MAX} bytes");
                return Err(Problem::body(format!("/rules/{name}"), detail));
            }
        }
        if self.indexes.len() > INDEXES_MAX {
            let detail = format!("a collection may have {INDEXES_MAX} indexes");
            return Err(Problem::body("/indexes", detail));
        }
        for (i, index) in self.indexes.iter().enumerate() {
            let fields: Vec<_> = index.fields.iter().map(projects::IndexField::from).collect();
            query::Definition::new(&fields, false).map_err(|error| {
                Problem::body(format!("/indexes/{i}/fields{}", error.at), error.detail)
            })?;
        }
        if self.unique.len() > UNIQUE_MAX {
            let detail = format!("a collection may have {UNIQUE_MAX} of what is unique");
            return Err(Problem::body("/unique", detail));
        }
        for (i, fields) in self.unique.iter().enumerate() {
            let checked = query::Definition::unique(fields.as_slice());
            checked.map_err(|error| Problem::body(format!("/unique/{i}"), error.detail))?;
        }
        schemas::check(self.schema.as_ref())?;
        self.check_personal()
    }

    /// Errors as [`CollectionSettings::check`].
    fn check_personal(&self) -> Result<(), Problem> {
        let path = |pointer: String, name: &str| {
            Path::parse(name).map_err(|error| Problem::body(pointer, error.to_string()))
        };
        let mut personal = Vec::new();
        for (name, _) in self.fields.iter().filter(|(_, field)| field.personal) {
            personal.push((name, path(below("/fields", name), name)?));
        }
        let is_within =
            |one: &Path| personal.iter().find(|(_, personal)| one.starts_with(personal));
        match self.subject.as_deref() {
            Some(projects::SUBJECT_ID) => {}
            Some(subject) => {
                if let Some((name, _)) = is_within(&path("/subject".to_owned(), subject)?) {
                    let detail = format!("{subject} can't be read: {name} is personal itself");
                    return Err(Problem::body("/subject", detail));
                }
            }
            None if !personal.is_empty() => {
                let detail = "there are personal fields, and nothing says whose they are: name \
                              the field with the user's id, or $id";
                return Err(Problem::body("/subject", detail));
            }
            None => {}
        }
        if let Some(expires) = &self.expires
            && let Some((name, _)) = is_within(&path("/expires".to_owned(), expires)?)
        {
            let detail = format!("{expires} can't be read when it is due: {name} is personal");
            return Err(Problem::body("/expires", detail));
        }
        for (i, index) in self.indexes.iter().enumerate() {
            for (j, field) in index.fields.iter().enumerate() {
                let pointer = format!("/indexes/{i}/fields/{j}/field");
                let sealed = Path::parse(&field.field).ok();
                if let Some((name, _)) = sealed.as_ref().and_then(is_within) {
                    let detail = format!("{name} is personal, and so can't be in an index");
                    return Err(Problem::body(pointer, detail));
                }
            }
        }
        Ok(())
    }
}

impl From<CollectionSettings> for CollectionConfig {
    fn from(settings: CollectionSettings) -> Self {
        let Rules { read, list, create, update, delete } = settings.rules;
        let index = |one: &Index| projects::Index {
            fields: one.fields.iter().map(projects::IndexField::from).collect(),
        };
        Self {
            rules: projects::Rules { read, list, create, update, delete },
            indexes: settings.indexes.iter().map(index).collect(),
            fields: settings.fields.into_iter().map(|(name, one)| (name, one.into())).collect(),
            subject: settings.subject,
            unique: settings.unique.iter().map(|fields| fields.as_slice().to_vec()).collect(),
            schema: settings.schema,
            expires: settings.expires,
        }
    }
}

impl From<Field> for projects::FieldConfig {
    fn from(field: Field) -> Self {
        let Field { read, write, personal, references } = field;
        Self { read, write, personal, references }
    }
}

impl From<&projects::FieldConfig> for Field {
    fn from(field: &projects::FieldConfig) -> Self {
        let projects::FieldConfig { read, write, personal, references } = field.clone();
        Self { read, write, personal, references }
    }
}

impl From<&projects::Rules> for Rules {
    fn from(rules: &projects::Rules) -> Self {
        let projects::Rules { read, list, create, update, delete } = rules.clone();
        Self { read, list, create, update, delete }
    }
}

impl Index {
    /// The index over these fields.
    pub(super) fn over(fields: &[projects::IndexField]) -> Self {
        Self { fields: fields.iter().map(IndexField::from).collect() }
    }
}

impl From<&IndexField> for projects::IndexField {
    fn from(one: &IndexField) -> Self {
        Self {
            field: one.field.clone(),
            direction: match one.direction {
                Direction::Asc => projects::Direction::Asc,
                Direction::Desc => projects::Direction::Desc,
            },
            elements: one.elements,
        }
    }
}

impl From<&projects::IndexField> for IndexField {
    fn from(one: &projects::IndexField) -> Self {
        Self {
            field: one.field.clone(),
            direction: match one.direction {
                projects::Direction::Asc => Direction::Asc,
                projects::Direction::Desc => Direction::Desc,
            },
            elements: one.elements,
        }
    }
}
