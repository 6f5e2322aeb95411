//! One request on its way through a handler: its parts, checked as they are taken out, and the way
//! to the writer.

use std::borrow::Cow;
use std::rc::Rc;

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderMap, HeaderName, IF_MATCH, IF_NONE_MATCH};
use bytes::Bytes;
use compact_str::CompactString;
use domain::access::Access;
use domain::command::{self, Command, Context, IDEMPOTENCY_KEY_BYTES_MAX, Idempotency};
use domain::ids::InvalidId;
use domain::projects::ChannelPattern;
use domain::{
    Actor, ChannelName, CollectionName, DocumentId, KeyId, Position, ProjectId, SessionId,
    Timestamp, UserId,
};
use engine::expand::Expand;
use engine::{AsOf, Committed, Project};
use query::Selection;
use sha2::{Digest, Sha256};

use crate::app::App;
use crate::body::{self, Body};
use crate::caller::{self, Principal, Scope};
use crate::correlation::{self, CorrelationId};
use crate::error::{Code, Problem};
use crate::key_uses;
use crate::router::Parameters;
use crate::routes::{self, Route};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const HEADWATER_AFTER: HeaderName = HeaderName::from_static("headwater-after");

/// Documents in a page, where the client does not say.
const PAGE_DEFAULT: usize = 100;

/// One request.
pub(crate) struct Call {
    /// What the worker has.
    pub(crate) app: Rc<App>,
    /// The request.
    pub(crate) request: HttpRequest,
    /// Its body, unread.
    pub(crate) payload: Body,
    /// Its conversation.
    pub(crate) correlation_id: CorrelationId,
    /// Its route.
    pub(crate) route: &'static Route,
    /// Where its path's parameters are.
    pub(crate) parameters: Parameters,
}

impl Call {
    /// The headers.
    pub(crate) fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    fn parameter(&self, index: usize) -> Cow<'_, str> {
        self.parameters.get(self.request.path(), index)
    }

    fn id<T>(
        &self,
        index: usize,
        name: &'static str,
        make: impl Fn(&str) -> Result<T, InvalidId>,
    ) -> Result<T, Problem> {
        make(&self.parameter(index))
            .map_err(|error| Problem::new(Code::InvalidId, error.to_string()).field(name))
    }

    /// The first parameter of a path, on routes that need no project to exist.
    pub(crate) fn project(&self) -> Result<ProjectId, Problem> {
        self.id(0, "project", ProjectId::new)
    }

    /// The second parameter of a path below `collections`.
    pub(crate) fn collection(&self) -> Result<CollectionName, Problem> {
        self.id(1, "collection", CollectionName::new)
    }

    /// The second parameter of a path below `channels`, where it is one channel.
    pub(crate) fn channel(&self) -> Result<ChannelName, Problem> {
        self.id(1, "channel", ChannelName::new)
    }

    /// The second parameter of a path below `channels`, where it may be many.
    pub(crate) fn channels(&self) -> Result<ChannelPattern, Problem> {
        self.id(1, "channel", ChannelPattern::new)
    }

    /// The third parameter of a path below `documents`.
    pub(crate) fn document(&self) -> Result<DocumentId, Problem> {
        self.id(2, "id", DocumentId::new)
    }

    /// The second parameter of a path below `keys`.
    pub(crate) fn key(&self) -> Result<KeyId, Problem> {
        self.id(1, "key", KeyId::new)
    }

    /// The second parameter of a path below `sessions`.
    pub(crate) fn session(&self) -> Result<SessionId, Problem> {
        self.id(1, "session", SessionId::new)
    }

    /// The second parameter of a path below `users`.
    pub(crate) fn user(&self) -> Result<UserId, Problem> {
        self.id(1, "user", UserId::new)
    }

    /// The second parameter of a path below `signing-keys`: base64url of some length.
    pub(crate) fn signing_key(&self) -> Result<String, Problem> {
        let text = self.parameter(1);
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        match (1..=64).contains(&text.len()) && text.bytes().all(is_plain) {
            true => Ok(text.into_owned()),
            false => {
                let detail = "expected 1 to 64 characters of A-Z a-z 0-9 _ -";
                Err(Problem::new(Code::InvalidId, detail).field("signingKey"))
            }
        }
    }

    /// The second parameter of a path below `identities` and `passkeys`: what a way in is found by.
    pub(crate) fn way_in(&self) -> Cow<'_, str> {
        self.parameter(1)
    }

    /// Lets only the administrator through.
    pub(crate) fn admin(&self) -> Result<(), Problem> {
        caller::admin(&self.app, caller::bearer(self.headers())?)
    }

    /// Who asks, within the path's project.
    pub(crate) async fn scope(&self) -> Result<Scope, Problem> {
        let token = caller::bearer(self.headers())?;
        let scope = caller::in_project(&self.app, token, &self.parameter(0)).await?;
        if let Some((area, need)) = self.route.scope() {
            scope.check(area, need)?;
        }
        if self.route.access == routes::Access::User {
            scope.user()?;
        }
        key_uses::note(&self.app, &scope, &self.correlation_id);
        Ok(scope)
    }

    /// As [`Call::scope`], for those past the rules.
    pub(crate) async fn past_rules(&self) -> Result<Scope, Problem> {
        self.scope().await?.past_rules()
    }

    /// As [`Call::past_rules`], for a read: waits until it shows what the client has seen, by
    /// `Headwater-After`.
    pub(crate) async fn reading(&self) -> Result<Scope, Problem> {
        self.reading_by_rules().await?.past_rules()
    }

    /// As [`Call::scope`], for a read: waits until it shows what the client has seen, by
    /// `Headwater-After`.
    pub(crate) async fn reading_by_rules(&self) -> Result<Scope, Problem> {
        let scope = self.scope().await?;
        let Some(value) = self.headers().get(HEADWATER_AFTER) else { return Ok(scope) };
        let position = position(value.to_str().unwrap_or_default(), "Headwater-After")?;
        // A position that the log has not reached is waited for as well: another node may have
        // given it to the client.
        self.app.engine.wait_for(&scope.project, position).await?;
        // The configuration may have changed by then, too.
        scope.again(&self.app)
    }

    /// Where the request comes from: what the nearest proxy says of it, where there is one.
    pub(crate) fn address(&self) -> Option<std::net::IpAddr> {
        let told = self.app.options.client_address_header.as_ref().and_then(|name| {
            // The last line and its last part are the nearest proxy's; anybody can send the others.
            let last = self.headers().get_all(name).last()?.to_str().ok()?;
            last.rsplit(',').next()?.trim().parse().ok()
        });
        told.or_else(|| self.request.peer_addr().map(|address| address.ip()))
    }

    /// Where other nodes work beside this one, what the caller relies on may have been made on one
    /// of them a moment ago: before a project or a token is refused, this node catches up.
    pub(crate) async fn level(&self) {
        let engine = &self.app.engine;
        if !engine.is_shared() {
            return;
        }
        let (Ok(token), Ok(project)) = (caller::bearer(self.headers()), self.project()) else {
            return;
        };
        if caller::in_project(&self.app, token, project.as_str()).await.is_err()
            && let Err(error) = engine.refresh(&project).await
        {
            // The handler refuses by what is known here.
            tracing::debug!(%error, "not level with the other nodes");
        }
    }

    /// The query, which may have only `known` parameters, each once.
    pub(crate) fn query(&self, known: &[&'static str]) -> Result<Query, Problem> {
        Query::parse(self.request.query_string(), known)
    }

    /// Whether the query has a parameter of this name.
    pub(crate) fn has_parameter(&self, name: &str) -> bool {
        let query = self.request.query_string().as_bytes();
        form_urlencoded::parse(query).any(|(found, _)| found == name)
    }

    /// The whole body, of one of these media types.
    pub(crate) async fn body(&mut self, media_types: &[&str]) -> Result<Bytes, Problem> {
        self.body_of(media_types, self.app.options.body_bytes_max).await
    }

    /// As [`Call::body`], of at most so many bytes.
    pub(crate) async fn body_of(
        &mut self,
        media_types: &[&str],
        bytes_max: usize,
    ) -> Result<Bytes, Problem> {
        body::check_headers(self.headers(), media_types, bytes_max)?;
        body::read(&mut self.payload, bytes_max).await
    }

    /// Hands a command to the writer. `body` is the request's, to tell a repeat from a misuse of
    /// its idempotency key.
    pub(crate) async fn submit(
        &self,
        project: ProjectId,
        principal: &Principal,
        command: command::Body,
        body: &[u8],
    ) -> Result<Committed, Problem> {
        let context = Context {
            project,
            actor: principal.actor(),
            access: principal.access(),
            correlation_id: CompactString::new(self.correlation_id.as_str()),
            causation_id: None,
            depth: 0,
            traceparent: correlation::traceparent(self.headers()),
            idempotency: self.idempotency(principal, body)?,
        };
        Ok(self.app.engine.submit(Command { context, body: command }).await?)
    }

    /// Hands a command to the writer in somebody's name, past the rules. Never repeated by an
    /// idempotency key: what it made for the client is kept nowhere.
    pub(crate) async fn submit_as(
        &self,
        project: ProjectId,
        actor: Actor,
        command: command::Body,
    ) -> Result<Committed, Problem> {
        let context = Context {
            project,
            actor,
            access: Access::PastRules,
            correlation_id: CompactString::new(self.correlation_id.as_str()),
            causation_id: None,
            depth: 0,
            traceparent: correlation::traceparent(self.headers()),
            idempotency: None,
        };
        Ok(self.app.engine.submit(Command { context, body: command }).await?)
    }

    fn idempotency(
        &self,
        principal: &Principal,
        body: &[u8],
    ) -> Result<Option<Idempotency>, Problem> {
        let Some(value) = self.headers().get(IDEMPOTENCY_KEY) else { return Ok(None) };
        let key = value.as_bytes();
        let printable = key.iter().all(|b| (b' '..=b'~').contains(b));
        if !printable || !(1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()) {
            let detail = "expected 1 to 255 printable ASCII characters";
            return Err(Problem::parameter("Idempotency-Key", detail));
        }
        let header = |name| self.headers().get(name).map_or(&[][..], |value| value.as_bytes());
        let uri = self.request.uri().path_and_query().map_or("", |part| part.as_str());
        // Nobody gets another one's answer.
        let actor = principal.actor().to_string();
        let parts = [
            actor.as_bytes(),
            self.request.method().as_str().as_bytes(),
            uri.as_bytes(),
            header(IF_MATCH),
            header(IF_NONE_MATCH),
            body,
        ];
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let digest: [u8; 32] = hash.finalize().into();
        let fingerprint = digest.first_chunk().copied().map_or(0, u64::from_be_bytes);
        // Printable ASCII, as checked above.
        let key = CompactString::new(value.to_str().unwrap_or_default());
        Ok(Some(Idempotency { key, fingerprint }))
    }
}

/// Reads a position; `name` is where it came from.
pub(crate) fn position(text: &str, name: &'static str) -> Result<Position, Problem> {
    let position: Result<Position, _> = text.parse();
    position.map_err(|error| Problem::new(Code::InvalidPosition, error.to_string()).field(name))
}

/// A request's query, decoded.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(&'static str, String)>);

impl Query {
    fn parse(text: &str, known: &[&'static str]) -> Result<Self, Problem> {
        let mut query = Self::default();
        if text.is_empty() {
            return Ok(query);
        }
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            let Some(name) = known.iter().find(|known| **known == name) else {
                return Err(unknown(&name));
            };
            if query.get(name).is_some() {
                return Err(Problem::parameter(name, "given twice"));
            }
            query.0.push((name, value.into_owned()));
        }
        Ok(query)
    }

    /// The value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// `limit`: 1 to the largest page.
    pub(crate) fn limit(&self, page_max: usize) -> Result<usize, Problem> {
        // What is no number is as little a limit as 0 is.
        let limit = self.get("limit").map(|text| text.parse().unwrap_or(0));
        page_limit(limit, page_max).map_err(|detail| Problem::parameter("limit", detail))
    }

    /// A parameter that is true or false; false when it is not there.
    pub(crate) fn is(&self, name: &'static str) -> Result<bool, Problem> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Problem::parameter(name, "expected true or false")),
        }
    }

    /// A parameter that is an id.
    pub(crate) fn id<T>(
        &self,
        name: &'static str,
        make: impl Fn(&str) -> Result<T, InvalidId>,
    ) -> Result<Option<T>, Problem> {
        let id = self.get(name).map(make).transpose();
        id.map_err(|error| Problem::parameter(name, error.to_string()))
    }

    /// `asOf`: a position or a time.
    pub(crate) fn as_of(&self) -> Result<Option<AsOf>, Problem> {
        let as_of = self.get("asOf").map(as_of_text).transpose();
        as_of.map_err(|detail| Problem::parameter("asOf", detail))
    }

    /// `expand`: ways with commas between them.
    pub(crate) fn expand(
        &self,
        project: &Project,
        collection: &CollectionName,
    ) -> Result<Option<Expand>, Problem> {
        let ways = self.get("expand").map(|text| text.split(','));
        let expand = ways.map(|ways| Expand::of(project, collection, ways)).transpose();
        expand.map_err(|error| Problem::parameter("expand", error.to_string()))
    }

    /// `fields`: names with commas between them.
    pub(crate) fn selection(&self) -> Result<Option<Selection>, Problem> {
        let selection = self.get("fields").map(|text| Selection::of(text.split(',')));
        let selection = selection.transpose();
        selection.map_err(|error| Problem::parameter("fields", error.to_string()))
    }
}

/// What a client may take in one page; errors with what to say.
pub(crate) fn page_limit(limit: Option<usize>, page_max: usize) -> Result<usize, String> {
    match limit {
        None => Ok(PAGE_DEFAULT.min(page_max)),
        Some(limit) if (1..=page_max).contains(&limit) => Ok(limit),
        Some(_) => Err(format!("expected 1 to {page_max}")),
    }
}

/// A position or a time; errors with what to say.
pub(crate) fn as_of_text(text: &str) -> Result<AsOf, &'static str> {
    if let Ok(position) = text.parse::<Position>() {
        return Ok(AsOf::Position(position));
    }
    let time = text.parse::<Timestamp>();
    time.map(AsOf::Time)
        .map_err(|_| "expected a position (3-18421) or a time (2026-01-31T12:00:00Z)")
}

fn unknown(name: &str) -> Problem {
    let shown: String = name.chars().take(64).collect();
    Problem::new(Code::InvalidParameter, format!("there is no parameter {shown:?} here"))
        .field(shown)
}
