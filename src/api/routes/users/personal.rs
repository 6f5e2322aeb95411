//! What is a person's own: everything that is known of one, and its erasure. Erasing ends the
//! user first and destroys its key then, so that no event is ever sealed with a new key; whatever
//! was sealed before stays in the log and can be read by nobody.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use domain::users::{Ended, Step, UserCommand, UserState};
use domain::{Actor, Event, EventType, ProjectId, StreamId, UserId, command};
use engine::Document;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::written;
use crate::answer::{self, Answer};
use crate::call::{Call, position};
use crate::error::{Code, Problem};
use crate::people::{UserBody, field};

/// How often a key is tried to be destroyed before the client has to ask again, and how long
/// between.
const DESTROY_TRIES: u32 = 3;
const DESTROY_PAUSE: Duration = Duration::from_millis(100);
/// Events of users that one part of an export is looked for among.
const EVENTS_LOOKED_AT_MAX: usize = 20_000;

/// The events that a user's stream has, and those of documents.
const KINDS: [&str; 12] = [
    "user.created",
    "user.updated",
    "user.deleted",
    "session.started",
    "session.refreshed",
    "session.ended",
    "challenge.issued",
    "challenge.failed",
    "challenge.used",
    "document.created",
    "document.updated",
    "document.deleted",
];

/// Everything that is known of a person.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UserExport {
    /// Who it is.
    user: UserBody,
    /// Its ways in, with what other issuers told of it.
    #[schema(value_type = Vec<Object>)]
    identities: Vec<Value>,
    /// Its sessions, with device and address.
    #[schema(value_type = Vec<Object>)]
    sessions: Vec<Value>,
    /// What happened to it in this part of the log.
    events: Vec<UserHappening>,
    /// Documents with personal fields of it, as they were left in this part of the log: each
    /// version.
    documents: Vec<UserDocument>,
    /// The `from` of the next part.
    next: String,
    /// The end of what there is: equal to `next` when this is the last part.
    end: String,
}

/// Something that happened to a user.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UserHappening {
    /// What.
    #[serde(rename = "type")]
    kind: String,
    /// Where in the log.
    position: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    time: domain::Timestamp,
    /// Who did it.
    actor: String,
}

/// A version of a document with something personal in it.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UserDocument {
    /// Its collection.
    collection: String,
    /// Its id.
    id: String,
    /// Which version; of a deletion, with the document as it was last.
    version: u64,
    /// Where in the log.
    position: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    time: domain::Timestamp,
    /// What happened.
    #[serde(rename = "type")]
    kind: String,
    /// The document.
    data: Map<String, Value>,
}

/// Gets everything that is known of a person; what happened to it, and the documents with personal
/// fields of it, in parts, from the log's beginning on.
#[utoipa::path(
    get, path = "/v1/projects/{project}/users/{user}/export", operation_id = "exportUser",
    tag = "users",
    params(("from" = Option<String>, Query, description = "The `next` of the part before.",
        pattern = "^(0|[1-9][0-9]{0,8})-(0|[1-9][0-9]{0,17})$")),
    responses((status = 200, description = "Everything.", body = UserExport)),
)]
pub(crate) async fn export(call: Call) -> Answer {
    let scope = call.reading().await?;
    let id = call.user()?;
    let query = call.query(&["from"])?;
    let from = query.get("from").map(|text| position(text, "from")).transpose()?;
    let project = &scope.project;
    let state = call.user_state(project, &id).await?;
    let kinds: Result<Vec<EventType>, _> =
        KINDS.iter().map(|kind| EventType::parse(kind)).collect();
    let kinds = kinds.map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
    let engine = &call.app.engine;
    let page = engine.events(project, from, EVENTS_LOOKED_AT_MAX, &kinds).await?;
    let stream = StreamId::user(&id);
    let mut documents = Vec::new();
    for recorded in &page.events {
        if let Some(document) = engine.document_about(recorded, &id).await? {
            documents.push(UserDocument::of(&recorded.event, document)?);
        }
    }
    let own = page.events.iter().filter(|recorded| recorded.event.stream == stream);
    let events = own.map(|recorded| UserHappening {
        kind: recorded.event.kind.as_str().to_owned(),
        position: recorded.position.to_string(),
        time: recorded.event.time,
        actor: recorded.event.actor.to_string(),
    });
    let body = UserExport {
        events: events.collect(),
        documents,
        identities: call.identities_opened(project, &id, &state).await?,
        sessions: call.sessions_opened(project, &id, &state).await?,
        user: call.app.people.show(project, &id, &state).await?,
        next: page.next.to_string(),
        end: page.end.to_string(),
    };
    answer::json(StatusCode::OK, &body)
}

/// Erases a user for good: its sessions end, its addresses are free again, its id is not given
/// again, and everything personal of it that the log holds can be read by nobody any more. After
/// a 503 repeat it, to be sure of the last.
#[utoipa::path(
    delete, path = "/v1/projects/{project}/users/{user}", operation_id = "deleteUser",
    tag = "users",
    responses((status = 204, description = "The user is erased.")),
)]
pub(crate) async fn delete(call: Call) -> Answer {
    let scope = call.past_rules().await?;
    let user = call.user()?;
    call.query(&[])?;
    let steps = erasing();
    let command = command::Body::User(UserCommand { user: user.clone(), steps });
    let done = call.submit(scope.project.clone(), &scope.principal, command, &[]).await;
    let response = HttpResponse::new(StatusCode::NO_CONTENT);
    match done {
        Ok(committed) => {
            call.destroy_key(&scope.project, &user).await?;
            written(response, &committed)
        }
        Err(problem) if problem.code() == Code::UserNotFound => {
            call.app.engine.refresh(&scope.project).await?;
            // A name that was never given keeps its right to a key.
            if !call.app.engine.is_erased(&scope.project, &user).await? {
                return Err(problem);
            }
            call.destroy_key(&scope.project, &user).await?;
            Ok(response)
        }
        Err(problem) => Err(problem),
    }
}

/// Erases the user who asks, as [`delete`] does. It must have shown who it is within the last ten
/// minutes.
#[utoipa::path(
    delete, path = "/v1/projects/{project}/auth/me", operation_id = "deleteMe", tag = "auth",
    responses((status = 204, description = "The user is erased.")),
)]
pub(crate) async fn delete_me(call: Call) -> Answer {
    let own = call.own().await?;
    call.query(&[])?;
    let look = call.look(&own).await?;
    look.recent()?;
    look.second_factor()?;
    let actor = Actor::User { id: own.id.clone(), by: None };
    call.change_user(own.project(), actor, &own.id, erasing()).await?;
    call.destroy_key(own.project(), &own.id).await?;
    Ok(HttpResponse::new(StatusCode::NO_CONTENT))
}

impl UserDocument {
    fn of(event: &Event, document: Document) -> Result<Self, Problem> {
        let data = serde_json::from_slice(&document.data)
            .map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
        let (collection, id) = event.stream.as_document().unwrap_or_default();
        Ok(Self {
            collection: collection.to_owned(),
            id: id.to_owned(),
            version: document.version,
            position: document.position.to_string(),
            time: event.time,
            kind: event.kind.as_str().to_owned(),
            data,
        })
    }
}

fn erasing() -> Vec<Step> {
    let end = Step::EndSessions { only: None, except: None, reason: Ended::Revoked };
    vec![end, Step::Delete]
}

impl Call {
    /// Destroys the key of a user who is erased.
    ///
    /// Errors with `unavailable`: then it may be there yet.
    async fn destroy_key(&self, project: &ProjectId, user: &UserId) -> Result<(), Problem> {
        self.app.recorder.forget(project, user);
        let keys = self.app.people.sealer.keys();
        let mut tries = 0;
        loop {
            tries += 1;
            match keys.destroy(project, user.as_str()).await {
                Ok(_) => return Ok(()),
                Err(error) if tries == DESTROY_TRIES => {
                    tracing::error!(
                        project.id = %project, user.id = %user, %error,
                        "a user is erased, but its key is not destroyed"
                    );
                    let detail = "the user is deleted, but its key is not destroyed yet; repeat \
                                  DELETE …/users/{user}";
                    return Err(Problem::new(Code::Unavailable, detail).because(error));
                }
                Err(_) => tokio::time::sleep(DESTROY_PAUSE).await,
            }
        }
    }

    async fn identities_opened(
        &self,
        project: &ProjectId,
        id: &UserId,
        state: &UserState,
    ) -> Result<Vec<Value>, Problem> {
        let mut opened = Vec::with_capacity(state.user.identities.len());
        for (key, identity) in &state.user.identities {
            let detail: Option<Value> = match &identity.detail {
                Some(sealed) => self.app.people.open(project, id, field::IDENTITY, sealed).await?,
                None => None,
            };
            opened.push(json!({
                "kind": key.split_once(':').map_or(key.as_str(), |(kind, _)| kind),
                "provider": identity.provider,
                "verified": identity.verified,
                "addedAt": identity.added_at,
                "detail": detail,
            }));
        }
        Ok(opened)
    }

    async fn sessions_opened(
        &self,
        project: &ProjectId,
        id: &UserId,
        state: &UserState,
    ) -> Result<Vec<Value>, Problem> {
        let mut opened = Vec::with_capacity(state.sessions.len());
        for (session_id, session) in &state.sessions {
            let client: Option<Map<String, Value>> = match &session.client {
                Some(sealed) => self.app.people.open(project, id, field::CLIENT, sealed).await?,
                None => None,
            };
            opened.push(json!({
                "id": session_id,
                "createdAt": session.created_at,
                "refreshedAt": session.refreshed_at,
                "methods": session.methods,
                "impersonator": session.impersonator,
                "client": client,
            }));
        }
        Ok(opened)
    }
}
