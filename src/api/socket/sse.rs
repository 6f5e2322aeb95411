//! `GET /realtime/events`: one subscription as Server-Sent Events. Ids are positions, so that a
//! client that sends `Last-Event-ID` goes on exactly where it was.

use std::rc::Rc;

use actix_web::HttpResponse;
use actix_web::body::BodyStream;
use actix_web::http::header;
use bytes::Bytes;
use domain::{CollectionName, DocumentId, Position};
use engine::access::Viewer;
use engine::hub::{Interest, Outgoing, Start, Subscription, Target};
use query::Filter;
use tokio::time::{Instant, interval_at};

use super::frames::{SseFrames, sse_problem};
use super::protocol::Asked;
use super::{Frames, Seat, channels, concerns};
use crate::answer::Answer;
use crate::call::{Call, Query};
use crate::caller::Scope;
use crate::error::{Code, Problem};
use crate::routes::queries::{in_parameter, order_parameter};

/// How long a browser waits before it connects again, in milliseconds.
pub(super) const RETRY_MS: u32 = 1_000;

/// Follows a collection, a document or a channel as an event stream.
#[utoipa::path(
    get,
    path = "/v1/projects/{project}/realtime/events",
    tag = "realtime",
    params(
        ("project" = String, Path, description = "The project's id."),
        ("collection" = Option<String>, Query, description = "The collection to follow."),
        ("channel" = Option<String>, Query, description = "The channel to follow instead; then \
            `from` and `Last-Event-ID` are its offsets."),
        ("id" = Option<String>, Query, description = "One document of it, instead of all."),
        ("where" = Option<String>, Query, description = "A filter as JSON: those that it holds \
            of, instead of all."),
        ("orderBy" = Option<String>, Query, description = "Orderings as JSON: \
            `[{\"field\":\"ts\",\"direction\":\"desc\"}]`."),
        ("limit" = Option<u32>, Query, description = "Only the first ones of the order, at most \
            so many.", minimum = 1, maximum = 1000),
        ("count" = Option<bool>, Query, description = "How many there are, in place of \
            documents."),
        (
            "from" = Option<String>,
            Query,
            description = "The last position seen, to resume after; `Last-Event-ID` goes before it."
        ),
        ("Last-Event-ID" = Option<String>, Header, description = "The last position seen."),
    ),
    responses(
        (
            status = 200,
            description = "`snapshot`, `change`, `count`, `live` and `problem` events; of a \
                channel `message`, `missed`, `live` and `problem`. Without an end.",
            content_type = "text/event-stream",
            body = String,
        ),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn follow(call: Call) -> Answer {
    let scope = call.scope().await?;
    if call.has_parameter("channel") {
        return channels::sse::follow(call, scope).await;
    }
    let known = ["collection", "id", "where", "orderBy", "limit", "count", "from"];
    let query = call.query(&known)?;
    let target = asked_target(&query)?;
    let viewer = scope.viewer_of(&target)?;
    let from = resume_after(&call, query.get("from"))?;
    let seat = Seat::take(&call.app)?;
    let outgoing = Outgoing::new(&call.app.engine.options().hub);
    outgoing.push(Bytes::from(format!("retry: {RETRY_MS}\n\n")));
    let correlation_id = call.correlation_id.as_str().to_owned();
    let encoder = Rc::new(SseFrames { correlation_id });
    let queue = Rc::clone(&outgoing);
    let interest = Interest {
        project: scope.project.clone(),
        viewer: viewer.clone(),
        target: target.clone(),
        start: from.map_or(Start::Snapshot, Start::After),
    };
    let subscription = call.app.shard().subscribe(interest, queue, encoder);
    let body = BodyStream::new(Frames(Rc::clone(&outgoing)));
    let watched = Watched { scope, target, viewer };
    actix_web::rt::spawn(keep(call, watched, outgoing, subscription, seat));
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // Proxies must not hold frames back.
        .insert_header(("X-Accel-Buffering", "no"))
        .body(body))
}

fn asked_target(query: &Query) -> Result<Target, Problem> {
    let collection = CollectionName::new(query.get("collection").unwrap_or_default())
        .map_err(|error| Problem::parameter("collection", error.to_string()))?;
    let filter = query.get("where").map(Filter::parse).transpose();
    let asked = Asked {
        id: query.id("id", DocumentId::new)?,
        filter: filter.map_err(|error| in_parameter("where", &error))?,
        order: order_parameter(query)?,
        // What is no number is as little a limit as 0 is.
        limit: query.get("limit").map(|text| text.parse().unwrap_or(0)),
        count: query.is("count")?,
    };
    asked.target(collection).map_err(|(name, detail)| Problem::parameter(name, detail))
}

/// Who follows what, as it was let in.
struct Watched {
    scope: Scope,
    target: Target,
    viewer: Viewer,
}

impl Watched {
    /// Errors when whoever follows would not be let in any more, or would see something else: then
    /// it must connect anew.
    fn check(&self, call: &Call) -> Result<(), Problem> {
        let scope = self.scope.again(&call.app)?;
        match scope.viewer_of(&self.target)?.sees_as(&self.viewer) {
            true => Ok(()),
            false => Err(Problem::new(Code::Unavailable, "access has changed: connect again")),
        }
    }
}

/// Keeps the stream open, with a comment at each heartbeat, until the client or the server is
/// gone.
async fn keep(
    call: Call,
    watched: Watched,
    outgoing: Rc<Outgoing>,
    subscription: Subscription,
    seat: Seat,
) {
    let heartbeat = call.app.options.heartbeat;
    let mut beat = interval_at(Instant::now() + heartbeat, heartbeat);
    let mut stopping = call.app.stopping.clone();
    let mut notices = call.app.engine.catalog().watch();
    loop {
        let mut checked = Ok(());
        tokio::select! {
            _ = beat.tick() => {
                // A token may have expired since.
                checked = watched.check(&call);
                outgoing.push(Bytes::from_static(b": heartbeat\n\n"));
            }
            notice = notices.recv() => {
                if concerns(&notice, &watched.scope.project) {
                    checked = watched.check(&call);
                }
            }
            () = outgoing.closed() => break,
            _ = stopping.wait_for(|stopping| *stopping) => {
                let problem = Problem::new(Code::Unavailable, "the server is shutting down");
                outgoing.push(sse_problem(&problem, call.correlation_id.as_str()));
                break;
            }
        }
        if let Err(problem) = checked {
            outgoing.push(sse_problem(&problem, call.correlation_id.as_str()));
            break;
        }
    }
    drop(subscription);
    outgoing.end();
    drop(seat);
}

fn resume_after(call: &Call, from: Option<&str>) -> Result<Option<Position>, Problem> {
    let last = call.headers().get("Last-Event-ID").map(|id| id.to_str().unwrap_or("?"));
    // A browser sends an empty id after a stream that gave none.
    let last = last.filter(|id| !id.is_empty()).or(from);
    let position = last.map(str::parse).transpose();
    position.map_err(|error: domain::InvalidPosition| {
        Problem::new(Code::InvalidPosition, error.to_string()).field("from")
    })
}
