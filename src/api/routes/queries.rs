//! Queries: pages of a collection by id or in any order, filtered, and aggregates.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use domain::CollectionName;
use engine::AsOf;
use engine::access::Viewer;
use engine::expand::{Expand, Expanded};
use engine::queries::{By, From, OrderedPage, Paging, Wanted};
use query::{Aggregate, Cursor, Filter, Group, Invalid, Order, Selection};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::collections::Index;
use super::documents::DocumentBody;
use super::page::{write_items, write_position_field};
use crate::answer::{self, Answer};
use crate::body::{self, JSON};
use crate::call::{Call, Query, as_of_text, page_limit};
use crate::caller::Scope;
use crate::document::{picked, write_document, write_expanded, write_string, write_text};
use crate::error::{Code, Problem};
use crate::recording;

/// The largest body of a query, in bytes.
const QUERY_BYTES_MAX: usize = 128 << 10;
/// The longest `orderBy` as a parameter, in bytes.
const ORDER_BYTES_MAX: usize = 16 << 10;

/// A page of documents.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct DocumentPage {
    /// In the order asked for, or of their ids.
    documents: Vec<DocumentBody>,
    /// For the next page; `null` when there is none.
    cursor: Option<String>,
    /// For the page before, as `before`; `null` when there is none.
    previous: Option<String>,
    /// How many documents there are in all pages, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    /// How the documents were found, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    explanation: Option<Explanation>,
    /// Every event up to this one is in the page.
    position: String,
}

/// A query: the parameters of a list, as JSON, or an aggregate.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct QueryBody {
    /// The filter: `{"field", "op", "value"}`, or `and`, `or` and `not` of such.
    #[serde(default, rename = "where")]
    #[schema(value_type = Option<Object>)]
    filter: Option<Value>,
    /// What comes first: `[{"field", "direction"}]`; by id, when there is none.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Object>>, max_items = 8)]
    order_by: Option<Value>,
    /// Documents in the page.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// The `cursor` of the page before.
    #[serde(default)]
    cursor: Option<String>,
    /// The `previous` of the page after.
    #[serde(default)]
    before: Option<String>,
    /// Only these fields of the data: nested ones with dots.
    #[serde(default)]
    fields: Option<Vec<String>>,
    /// Fields with references to follow: `["author", "room.owner"]`.
    #[serde(default)]
    #[schema(max_items = 10)]
    expand: Option<Vec<String>>,
    /// Whether to tell how many there are in all pages.
    #[serde(default)]
    count: bool,
    /// Whether to tell how the documents were found; for secret keys.
    #[serde(default)]
    explain: bool,
    /// A position or an RFC 3339 time.
    #[serde(default)]
    as_of: Option<String>,
    /// Aggregates by name, in place of documents: `{"op": "count" | "sum" | "avg" | "min" | "max",
    /// "field"}`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    aggregate: Option<Value>,
    /// Fields to group the aggregates by.
    #[serde(default)]
    #[schema(max_items = 4)]
    group_by: Vec<String>,
}

/// What a query comes to: a page, or aggregates.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum QueryAnswer {
    /// Documents.
    Page(DocumentPage),
    /// Aggregates of all, or by groups.
    Aggregates(AggregatePage),
}

/// Aggregates.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct AggregatePage {
    /// In the order of their values; one group of all, without `groupBy`.
    groups: Vec<AggregateGroup>,
    /// Every event up to this one is counted.
    position: String,
}

/// The aggregates of one group.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct AggregateGroup {
    /// The fields' values; what the documents do not have is left out.
    #[schema(value_type = Object)]
    key: Map<String, Value>,
    /// By the names that were asked for.
    #[schema(value_type = Object)]
    values: Map<String, Value>,
}

/// What a page is asked with.
struct Asked {
    filter: Option<Filter>,
    order: Order,
    limit: usize,
    cursor: Option<Cursor>,
    before: Option<Cursor>,
    selection: Option<Selection>,
    expand: Option<Expand>,
    count: bool,
    as_of: Option<AsOf>,
    explain: bool,
}

/// How a query found its documents.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Explanation {
    /// Where it looked.
    by: Way,
    /// The index.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<Index>,
    /// In how many ranges of the index.
    #[serde(skip_serializing_if = "Option::is_none")]
    ranges: Option<usize>,
    /// Whether the index has its documents in the query's order, so that the first ones will do.
    #[serde(skip_serializing_if = "Option::is_none")]
    ordered: Option<bool>,
    /// How many documents it looked at.
    looked_at: usize,
    /// The index that would serve the query better.
    #[serde(skip_serializing_if = "Option::is_none")]
    suggestion: Option<Index>,
}

/// Where a query looks.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Way {
    /// At the documents in the order of their ids, from the place where the page begins.
    Ids,
    /// At all documents.
    Collection,
    /// At an index.
    Index,
}

impl Explanation {
    fn of(explanation: engine::queries::Explanation) -> Self {
        let (by, index, ranges, ordered) = match &explanation.by {
            By::Ids => (Way::Ids, None, None, None),
            By::Collection => (Way::Collection, None, None, None),
            By::Index { fields, ranges, is_ordered } => {
                (Way::Index, Some(Index::over(fields)), Some(*ranges), Some(*is_ordered))
            }
        };
        let looked_at = explanation.looked_at;
        let suggestion = explanation.suggestion.as_deref().map(Index::over);
        Self { by, index, ranges, ordered, looked_at, suggestion }
    }
}

/// Lists a collection, now or as it was: filtered, in the order of ids or any other.
#[utoipa::path(
    get, path = "/v1/projects/{project}/collections/{collection}/documents",
    operation_id = "listDocuments", tag = "documents",
    params(
        ("where" = Option<String>, Query, description = "A filter as JSON: see the guide to \
            queries."),
        ("orderBy" = Option<String>, Query, description = "Orderings as JSON: \
            `[{\"field\":\"ts\",\"direction\":\"desc\"}]`."),
        ("limit" = Option<u32>, Query, description = "Documents in the page.",
            minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "The `cursor` of the page before.",
            pattern = "^[A-Za-z0-9~-][A-Za-z0-9_.-]*$"),
        ("before" = Option<String>, Query, description = "The `previous` of the page after.",
            pattern = "^[A-Za-z0-9~-][A-Za-z0-9_.-]*$"),
        ("fields" = Option<String>, Query, description = "Only these fields of the data, with \
            commas between them: nested ones with dots."),
        ("expand" = Option<String>, Query, description = "Fields with references to follow, with \
            commas between them: `author,room.owner`."),
        ("count" = Option<bool>, Query, description = "Whether to tell how many there are in all \
            pages."),
        ("explain" = Option<bool>, Query, description = "Whether to tell how the documents were \
            found; for secret keys."),
        ("asOf" = Option<String>, Query, description = "A position or an RFC 3339 time."),
    ),
    responses((status = 200, description = "A page of documents.", body = DocumentPage)),
)]
pub(crate) async fn list(call: Call) -> Answer {
    let scope = call.reading_by_rules().await?;
    let collection = call.collection()?;
    let viewer = scope.list_viewer(&collection)?;
    let known = [
        "where", "orderBy", "limit", "cursor", "before", "fields", "expand", "count", "explain",
        "asOf",
    ];
    let query = call.query(&known)?;
    let filter = query.get("where").map(Filter::parse).transpose();
    let order = order_parameter(&query)?.unwrap_or_default();
    let cursor = |name: &'static str| {
        let cursor = query.get(name).map(|text| Cursor::parse(text, &order)).transpose();
        cursor.map_err(|error| Problem::parameter(name, error.to_string()))
    };
    let asked = Asked {
        filter: filter.map_err(|error| in_parameter("where", &error))?,
        limit: query.limit(call.app.options.page_max)?,
        cursor: cursor("cursor")?,
        before: cursor("before")?,
        selection: query.selection()?,
        expand: query.expand(&scope.live, &collection)?,
        count: query.is("count")?,
        explain: query.is("explain")?,
        as_of: query.as_of()?,
        order,
    };
    if asked.cursor.is_some() && asked.before.is_some() {
        return Err(Problem::parameter("before", "a page begins at one place: cursor or before"));
    }
    page(&call, &scope, (&collection, &viewer), asked).await
}

/// Queries a collection: as a list of it, with the parameters as JSON, or for aggregates.
#[utoipa::path(
    post, path = "/v1/projects/{project}/collections/{collection}/query",
    operation_id = "queryDocuments", tag = "documents",
    request_body(content = QueryBody),
    responses((status = 200, description = "A page of documents, or aggregates.",
        body = QueryAnswer)),
)]
pub(crate) async fn query(mut call: Call) -> Answer {
    let scope = call.reading_by_rules().await?;
    let collection = call.collection()?;
    let viewer = scope.list_viewer(&collection)?;
    call.query(&[])?;
    let body = call.body_of(JSON, QUERY_BYTES_MAX).await?;
    let body: QueryBody = body::parse(&body)?;
    let at = |place: &'static str| {
        move |error: Invalid| Problem::body(format!("{place}{}", error.at), error.detail)
    };
    let filter = body.filter.as_ref().map(Filter::of).transpose().map_err(at("/where"))?;
    let as_of = body.as_of.as_deref().map(as_of_text).transpose();
    let as_of = as_of.map_err(|detail| Problem::body("/asOf", detail))?;
    if let Some(aggregate) = &body.aggregate {
        let of_pages = [
            ("orderBy", body.order_by.is_some()),
            ("limit", body.limit.is_some()),
            ("cursor", body.cursor.is_some()),
            ("before", body.before.is_some()),
            ("fields", body.fields.is_some()),
            ("expand", body.expand.is_some()),
            ("count", body.count),
            ("explain", body.explain),
        ];
        if let Some((name, _)) = of_pages.iter().find(|(_, is_there)| *is_there) {
            return Err(Problem::body(format!("/{name}"), "aggregates have no pages"));
        }
        let aggregate = Aggregate::of(aggregate, &body.group_by).map_err(at(""))?;
        let (project, filter) = (&scope.project, filter.as_ref());
        let (collection, viewer) = (&collection, &viewer);
        let wanted = Wanted { project, collection, viewer, filter, as_of };
        return aggregated(&call, wanted, &aggregate).await;
    }
    if !body.group_by.is_empty() {
        return Err(Problem::body("/groupBy", "only aggregates have groups"));
    }
    let order = body.order_by.as_ref().map(Order::of).transpose().map_err(at("/orderBy"))?;
    let order = order.unwrap_or_default();
    let cursor = |text: &Option<String>, place: &'static str| {
        let cursor = text.as_ref().map(|text| Cursor::parse(text, &order)).transpose();
        cursor.map_err(|error| Problem::body(place, error.to_string()))
    };
    let names = |names: &Vec<String>| Selection::of(names.iter().map(String::as_str));
    let expand = body.expand.as_ref().map(|ways| {
        let ways = ways.iter().map(String::as_str);
        let expand = Expand::of(&scope.live, &collection, ways);
        expand.map_err(|error| Problem::body(format!("/expand/{}", error.index), error.detail))
    });
    let limit = page_limit(body.limit, call.app.options.page_max);
    let asked = Asked {
        filter,
        limit: limit.map_err(|detail| Problem::body("/limit", detail))?,
        cursor: cursor(&body.cursor, "/cursor")?,
        before: cursor(&body.before, "/before")?,
        selection: body.fields.as_ref().map(names).transpose().map_err(at("/fields"))?,
        expand: expand.transpose()?,
        count: body.count,
        explain: body.explain,
        as_of,
        order,
    };
    if asked.cursor.is_some() && asked.before.is_some() {
        return Err(Problem::body("/before", "a page begins at one place: cursor or before"));
    }
    page(&call, &scope, (&collection, &viewer), asked).await
}

/// `orderBy`, if it was given.
pub(crate) fn order_parameter(query: &Query) -> Result<Option<Order>, Problem> {
    let Some(text) = query.get("orderBy") else { return Ok(None) };
    if text.len() > ORDER_BYTES_MAX {
        return Err(Problem::parameter("orderBy", format!("at most {ORDER_BYTES_MAX} bytes")));
    }
    let value = serde_json::from_str(text);
    let value = value.map_err(|error| Problem::parameter("orderBy", error.to_string()))?;
    Order::of(&value).map(Some).map_err(|error| in_parameter("orderBy", &error))
}

/// Says which part of a parameter's JSON is wrong.
pub(crate) fn in_parameter(name: &'static str, error: &Invalid) -> Problem {
    let detail = match error.at.as_str() {
        "" => error.detail.clone(),
        at => format!("at {at}: {}", error.detail),
    };
    Problem::parameter(name, detail)
}

async fn page(
    call: &Call,
    scope: &Scope,
    (collection, viewer): (&CollectionName, &Viewer),
    asked: Asked,
) -> Answer {
    let engine = &call.app.engine;
    let Asked { filter, order, limit, cursor, before, selection, .. } = asked;
    let Asked { expand, count, as_of, explain, .. } = asked;
    if explain && !viewer.is_past_rules() {
        // It counts what is hidden, too.
        return Err(Problem::new(Code::Forbidden, "only a secret key may ask for an explanation"));
    }
    let (project, filter) = (&scope.project, filter.as_ref());
    let wanted = Wanted { project, collection, viewer, filter, as_of };
    let from = match (&cursor, &before) {
        (Some(cursor), _) => From::After(cursor),
        (None, Some(before)) => From::Before(before),
        (None, None) => From::Start,
    };
    let page = engine.page(wanted, Paging { order: &order, from, limit, count }).await?;
    if as_of.is_none() {
        recording::list(call, scope, collection, &page);
    }
    let expanded = match &expand {
        Some(expand) => Some(scope.expand(call, &page.documents, expand, as_of).await?),
        None => None,
    };
    Ok(answered(page, &order, selection.as_ref(), (expanded, explain)))
}

fn answered(
    page: OrderedPage,
    order: &Order,
    selection: Option<&Selection>,
    (expanded, explain): (Option<Vec<Expanded>>, bool),
) -> HttpResponse {
    let mut body = vec![b'{'];
    let mut expanded = expanded.map(Vec::into_iter);
    let documents = page.documents.into_iter().map(|document| {
        let expanded = expanded.as_mut().map(|all| all.next().unwrap_or_default());
        (picked(document, selection), expanded)
    });
    write_items(&mut body, "documents", documents, |out, (one, expanded)| match expanded {
        Some(expanded) => write_expanded(out, &one, &expanded),
        None => write_document(out, &one),
    });
    for (name, cursor) in [("cursor", page.next), ("previous", page.previous)] {
        body.push(b',');
        write_string(&mut body, name);
        body.push(b':');
        match cursor {
            Some(cursor) => write_string(&mut body, &cursor.text(order)),
            None => body.extend_from_slice(b"null"),
        }
    }
    if let Some(total) = page.total {
        write_text(&mut body, format_args!(",\"total\":{total}"));
    }
    if explain {
        // Texts and numbers: there is nothing that could fail.
        let explanation = serde_json::to_string(&Explanation::of(page.explanation));
        let explanation = explanation.unwrap_or_default();
        write_text(&mut body, format_args!(",\"explanation\":{explanation}"));
    }
    write_position_field(&mut body, "position", page.position);
    body.push(b'}');
    answer::json_bytes(StatusCode::OK, body)
}

async fn aggregated(call: &Call, wanted: Wanted<'_>, aggregate: &Aggregate) -> Answer {
    let (groups, position) = call.app.engine.aggregate(wanted, aggregate).await?;
    let groups = groups.into_iter().map(|Group { key, values }| AggregateGroup { key, values });
    let body = AggregatePage { groups: groups.collect(), position: position.to_string() };
    answer::json(StatusCode::OK, &body)
}
