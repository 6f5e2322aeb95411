//! `GET /realtime`: one WebSocket with many subscriptions. A token is given in the first message
//! or a header, never in the URL; whoever says nothing for two heartbeats is gone.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use actix_web::body::{BodyStream, MessageBody};
use domain::ProjectId;
use engine::access::Viewer;
use engine::hub::{Interest, Outgoing, Start, Subscription, Target};
use tokio::time::{Instant, MissedTickBehavior};

use super::channels::{self, Channels};
use super::frames::{self, WebSocketFrames};
use super::incoming::{Incoming, Messages};
use super::protocol::{self, Message};
use super::{Frames, Seat, concerns};
use crate::answer::Answer;
use crate::app::App;
use crate::call::Call;
use crate::caller::{self, Scope};
use crate::correlation::CorrelationId;
use crate::error::{Code, Problem};
use crate::key_uses;
use crate::people;
use crate::routes::Need;

/// How long a client may take to say hello.
const HELLO_WAIT_MAX: Duration = Duration::from_secs(10);

/// Opens a WebSocket.
#[utoipa::path(
    get,
    path = "/v1/projects/{project}/realtime",
    tag = "realtime",
    params(("project" = String, Path, description = "The project's id.")),
    responses(
        (status = 101, description = "The connection speaks the realtime protocol from now on."),
    ),
    security(("bearer" = []), ()),
)]
pub(crate) async fn connect(call: Call) -> Answer {
    let project = call.project()?;
    let header = caller::bearer(call.headers()).ok().map(str::to_owned);
    let mut handshake = actix_http::ws::handshake(call.request.head())
        .map_err(|error| Problem::new(Code::InvalidParameter, error.to_string()))?;
    let seat = Seat::take(&call.app)?;
    let outgoing = Outgoing::new(&call.app.engine.options().hub);
    let body = BodyStream::new(Frames(Rc::clone(&outgoing))).boxed();
    let response = handshake
        .message_body(body)
        .map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
    let messages = Messages::new(call.payload.into_stream());
    let channels = Channels::new(&call.app.engine, call.correlation_id.as_str());
    let connection = Connection {
        app: call.app,
        correlation_id: call.correlation_id,
        project,
        scope: None,
        outgoing,
        subscriptions: HashMap::new(),
        channels,
    };
    actix_web::rt::spawn(async move {
        connection.run(messages, header).await;
        drop(seat);
    });
    Ok(response.into())
}

/// Bounds of the wait until a token is looked at for its end.
const CHECK_MIN: Duration = Duration::from_millis(50);
const CHECK_MAX: Duration = Duration::from_secs(3_600);

struct Connection {
    app: Rc<App>,
    correlation_id: CorrelationId,
    project: ProjectId,
    /// Who is there; set by its hello.
    scope: Option<Scope>,
    outgoing: Rc<Outgoing>,
    subscriptions: HashMap<String, Live>,
    channels: Channels,
}

/// One of them, and what it was begun with.
struct Live {
    subscription: Subscription,
    target: Target,
    viewer: Viewer,
}

/// Why a connection ends: the code and reason of its close frame.
struct Close(u16, String);

impl Connection {
    async fn run(mut self, mut messages: Messages, header: Option<String>) {
        let ended = match self.greet(&mut messages, header).await {
            Ok(()) => self.serve(&mut messages).await,
            Err(close) => Some(close),
        };
        self.subscriptions.clear();
        if let Some(Close(code, reason)) = ended {
            self.outgoing.push(frames::close(code, &reason));
        }
        self.outgoing.end();
    }

    /// Waits for `hello` and checks who is there.
    async fn greet(
        &mut self,
        messages: &mut Messages,
        header: Option<String>,
    ) -> Result<(), Close> {
        let first = async {
            loop {
                match messages.next().await {
                    Incoming::Ping(payload) => self.pong(&payload),
                    Incoming::Pong => {}
                    other => return other,
                }
            }
        };
        let text = match tokio::time::timeout(HELLO_WAIT_MAX, first).await {
            Ok(Incoming::Text(text)) => text,
            Ok(Incoming::Broken(code, reason)) => return Err(Close(code, reason.to_owned())),
            Ok(_) => return Err(Close(1000, String::new())),
            Err(_) => return Err(Close(1008, "no hello in time".to_owned())),
        };
        let hello = |detail: &str| self.refuse(&Problem::new(Code::InvalidBody, detail.to_owned()));
        let (token, version) = match serde_json::from_slice(&text) {
            Ok(Message::Hello { token, protocol }) => (token.or(header), protocol),
            Ok(_) => return Err(hello("the first message must be a hello")),
            Err(error) => return Err(hello(&error.to_string())),
        };
        if version != protocol::VERSION {
            return Err(hello("this server speaks protocol 1"));
        }
        let token = token.unwrap_or_default();
        if self.enter(&token).await.is_err() {
            // Another node may have made the project or the key a moment ago.
            let _ = self.app.engine.refresh(&self.project).await;
            self.enter(&token).await.map_err(|problem| self.refuse(&problem))?;
        }
        let welcome = format!(
            "{{\"op\":\"welcome\",\"session\":\"{}\",\"heartbeat\":{}}}",
            uuid::Uuid::now_v7(),
            self.app.options.heartbeat.as_secs()
        );
        self.outgoing.push(frames::json_message(&welcome));
        Ok(())
    }

    /// Finds out who is there.
    async fn enter(&mut self, token: &str) -> Result<(), Problem> {
        let scope = caller::in_project(&self.app, token, self.project.as_str()).await?;
        scope.check("documents", Need::Read)?;
        key_uses::note(&self.app, &scope, &self.correlation_id);
        self.scope = Some(scope);
        Ok(())
    }

    /// How long the token is good yet, or longer than anybody waits.
    fn expiry(&self) -> Duration {
        let at = self.scope.as_ref().and_then(Scope::expires_at);
        let left = at.map(|at| at.as_micros().saturating_sub(people::now().as_micros()));
        let micros = left.map(|left| u64::try_from(left).unwrap_or(0));
        micros.map_or(CHECK_MAX, Duration::from_micros).clamp(CHECK_MIN, CHECK_MAX)
    }

    /// Whether whoever is there may be, now.
    fn check(&mut self) -> Result<(), Problem> {
        let scope = self.scope.as_ref().map(|scope| scope.again(&self.app));
        self.scope = scope.transpose()?;
        Ok(())
    }

    /// Answers a ping, unless frames wait already: those will tell as much (RFC 6455 §5.5.3 lets
    /// all pings but the last go unanswered).
    fn pong(&self, payload: &[u8]) {
        if self.outgoing.queued_bytes() == 0 {
            self.outgoing.push(frames::pong(payload));
        }
    }

    fn refuse(&self, problem: &Problem) -> Close {
        self.send_error(None, problem);
        Close(problem.code().entry().close, problem.code().entry().title.to_owned())
    }

    fn send_error(&self, sub: Option<&str>, problem: &Problem) {
        let message = frames::error_message(sub, problem, self.correlation_id.as_str());
        self.outgoing.push(message);
    }

    /// Serves messages until somebody ends it; `None` when the client did.
    async fn serve(&mut self, messages: &mut Messages) -> Option<Close> {
        let heartbeat = self.app.options.heartbeat;
        let mut beat = tokio::time::interval(heartbeat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stopping = self.app.stopping.clone();
        let mut notices = self.app.engine.catalog().watch();
        let mut heard = Instant::now();
        loop {
            let expiry = self.expiry();
            tokio::select! {
                incoming = messages.next() => {
                    heard = Instant::now();
                    match incoming {
                        Incoming::Text(text) => self.answer(&text).await,
                        Incoming::Ping(payload) => self.pong(&payload),
                        Incoming::Pong => {}
                        // RFC 6455 §5.5.1: a close is answered by a close.
                        Incoming::Closed => return Some(Close(1000, String::new())),
                        Incoming::Broken(code, why) => return Some(Close(code, why.to_owned())),
                    }
                }
                _ = beat.tick() => {
                    if heard.elapsed() > heartbeat * 2 {
                        return Some(Close(1001, "no heartbeat".to_owned()));
                    }
                    // A key may have been revoked since.
                    if let Err(problem) = self.check() {
                        return Some(self.refuse(&problem));
                    }
                    self.outgoing.push(frames::ping());
                }
                notice = notices.recv() => {
                    if concerns(&notice, &self.project) {
                        if let Err(problem) = self.check() {
                            return Some(self.refuse(&problem));
                        }
                        self.renew().await;
                    }
                }
                event = self.channels.next(&self.outgoing) => {
                    self.channels.write(event, &self.outgoing);
                }
                () = tokio::time::sleep(expiry) => {
                    if let Err(problem) = self.check() {
                        return Some(self.refuse(&problem));
                    }
                }
                _ = stopping.wait_for(|stopping| *stopping) => {
                    return Some(Close(1001, "the server is shutting down".to_owned()));
                }
            }
            if self.outgoing.has_ended() {
                return None;
            }
            if self.outgoing.is_overfull() {
                return Some(Close(1008, "answers are not being read".to_owned()));
            }
        }
    }

    /// Lets every subscription show what may be seen now: one whose view has changed begins anew,
    /// and one that may see nothing any more ends.
    async fn renew(&mut self) {
        // One that has ended by an error stays so.
        self.subscriptions.retain(|_, live| !live.subscription.has_failed());
        let Some(scope) = &self.scope else { return };
        let changed = self.subscriptions.iter().filter_map(|(sub, live)| {
            let viewer = scope.viewer_of(&live.target);
            let is_same = viewer.as_ref().is_ok_and(|viewer| viewer.sees_as(&live.viewer));
            (!is_same).then(|| (sub.clone(), live.target.clone(), viewer))
        });
        let changed: Vec<_> = changed.collect();
        for (sub, target, viewer) in changed {
            self.subscriptions.remove(&sub);
            match viewer {
                Ok(viewer) => self.follow(&sub, target, viewer, Start::Anew),
                Err(problem) => self.send_error(Some(&frames::quoted(&sub)), &problem),
            }
        }
        if let Some(scope) = &self.scope {
            self.channels.renew(scope, &self.outgoing).await;
        }
    }

    fn follow(&mut self, sub: &str, target: Target, viewer: Viewer, start: Start) {
        let encoder = WebSocketFrames::new(sub, self.correlation_id.as_str());
        let interest = Interest {
            project: self.project.clone(),
            target: target.clone(),
            viewer: viewer.clone(),
            start,
        };
        let outgoing = Rc::clone(&self.outgoing);
        let subscription = self.app.shard().subscribe(interest, outgoing, Rc::new(encoder));
        self.subscriptions.insert(sub.to_owned(), Live { subscription, target, viewer });
    }

    async fn answer(&mut self, text: &[u8]) {
        let checked = domain::json::check_names(text).map_err(|invalid| invalid.to_string());
        if checked.is_ok()
            && let Some(message) = channels::read(text)
        {
            return self.answer_channels(message).await;
        }
        let message = checked.and_then(|()| {
            serde_json::from_slice::<Message>(text).map_err(|error| error.to_string())
        });
        let outcome = match message {
            Ok(Message::Subscribe { sub, target, from }) => {
                let target = target.target();
                let subscribed = target.and_then(|target| self.subscribe(&sub, target, from));
                subscribed.map_err(|problem| (Some(sub), problem))
            }
            Ok(Message::Unsubscribe { sub }) => {
                self.subscriptions.remove(&sub);
                self.channels.end(&sub);
                Ok(())
            }
            Ok(Message::Token { token }) => {
                let entered = self.enter(&token).await;
                self.renew().await;
                entered.map_err(|problem| (None, problem))
            }
            Ok(Message::Hello { .. }) => {
                Err((None, Problem::new(Code::InvalidBody, "hello was said already")))
            }
            Err(error) => Err((None, Problem::new(Code::InvalidBody, error))),
        };
        if let Err((sub, problem)) = outcome {
            let sub = sub.map(|sub| frames::quoted(&sub));
            self.send_error(sub.as_deref(), &problem);
        }
    }

    fn subscribe(
        &mut self,
        sub: &str,
        target: Target,
        from: Option<domain::Position>,
    ) -> Result<(), Problem> {
        self.check_free(sub)?;
        let unauthorized = || Problem::new(Code::Unauthorized, "say hello first");
        let viewer = self.scope.as_ref().ok_or_else(unauthorized)?.viewer_of(&target)?;
        self.follow(sub, target, viewer, from.map_or(Start::Snapshot, Start::After));
        Ok(())
    }

    async fn answer_channels(&mut self, message: channels::Received<'_>) {
        let free = message.subscribes_as().map_or(Ok(()), |sub| self.check_free(sub));
        let free = free.and_then(|()| self.check());
        if let Some(scope) = &self.scope {
            self.channels.answer(message, scope, free, &self.outgoing).await;
        }
    }

    /// Whether whoever is there may begin one more subscription, of this name.
    fn check_free(&mut self, sub: &str) -> Result<(), Problem> {
        self.check()?;
        self.subscriptions.retain(|_, live| !live.subscription.has_failed());
        let limit = self.app.options.socket_subscriptions_max;
        if sub.is_empty() || sub.len() > protocol::SUB_BYTES_MAX {
            let detail = format!("sub must have 1 to {} bytes", protocol::SUB_BYTES_MAX);
            return Err(Problem::new(Code::InvalidBody, detail));
        }
        if self.subscriptions.contains_key(sub) || self.channels.has(sub) {
            return Err(Problem::new(Code::InvalidBody, "a subscription of this name is open"));
        }
        if self.subscriptions.len() + self.channels.len() >= limit {
            let detail = format!("a connection may have at most {limit} subscriptions");
            return Err(Problem::new(Code::TooMany, detail));
        }
        Ok(())
    }
}
