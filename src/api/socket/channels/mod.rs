//! Channels on a live connection: its subscriptions to them by the client's names, and what it
//! says there. Who may is asked at the start and again whenever it may have changed.

mod frames;
mod protocol;
mod rate;
pub(crate) mod sse;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use domain::UserId;
use domain::access::Access;
use domain::json::Limits;
use domain::rejected::Reason;
use engine::Engine;
use engine::channels::{Act, Channel, Draft, Inbox, Place, SubId, Terms, What};
use engine::hub::Outgoing;
use futures_util::future::{LocalBoxFuture, pending};
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt as _, StreamExt as _};
use uuid::Uuid;

pub(crate) use self::frames::entries;
pub(super) use self::protocol::{Received, read};

use self::protocol::{About, Message, Publish, State, Subscribe, Target};
use self::rate::Rate;
use super::frames::{error_about, json_message, quoted};
use crate::body;
use crate::caller::{Principal, Scope};
use crate::error::{Code, Problem};
use crate::routes::Need;

/// What one connection may have said that is not sure yet.
const PENDING_MAX: usize = 256;
/// Deliveries that are written before others of the connection get their turn.
const ROUND_MAX: usize = 64;
/// Entries of one connection among those present in one channel.
const ENTRIES_MAX: usize = 4;
/// The longest `ref`, in bytes.
const REFERENCE_BYTES_MAX: usize = 64;

/// A connection's channels.
pub(super) struct Channels {
    engine: Arc<Engine>,
    correlation_id: String,
    inbox: Inbox,
    subs: HashMap<String, Sub>,
    names: HashMap<SubId, String>,
    pending: FuturesOrdered<LocalBoxFuture<'static, Done>>,
    rate: Rate,
}

/// A subscription, and by what it was let in.
struct Sub {
    id: SubId,
    channel: Channel,
    /// To who is present, and not to the messages.
    is_watch: bool,
    right: Right,
    /// What it says of itself, where it is present.
    state: Option<Bytes>,
}

/// What decides whether somebody may be in a channel.
struct Right {
    access: Access,
    terms: Option<Arc<Terms>>,
}

/// What became of something that was said.
pub(super) enum Done {
    Published(Option<String>, Uuid, Result<Place, engine::Error>),
    Present(SubId, Result<(), engine::Error>),
}

/// What there is to do for a connection.
pub(super) enum Event {
    Delivery(engine::channels::Delivery),
    Done(Done),
}

impl Channels {
    pub(super) fn new(engine: &Arc<Engine>, correlation_id: &str) -> Self {
        let channels = engine.channels();
        Self {
            engine: Arc::clone(engine),
            correlation_id: correlation_id.to_owned(),
            inbox: Inbox::new(channels),
            subs: HashMap::new(),
            names: HashMap::new(),
            pending: FuturesOrdered::new(),
            rate: Rate::new(channels.options().publishes_per_second),
        }
    }

    /// How many subscriptions there are.
    pub(super) fn len(&self) -> usize {
        self.subs.len()
    }

    /// Whether a subscription has this name.
    pub(super) fn has(&self, sub: &str) -> bool {
        self.subs.contains_key(sub)
    }

    /// Ends a subscription, if there is one of this name.
    pub(super) fn end(&mut self, sub: &str) {
        if let Some(sub) = self.subs.remove(sub) {
            self.names.remove(&sub.id);
            self.inbox.leave(sub.id);
        }
    }

    /// Waits for something to write, and for room for it. Cancel-safe.
    pub(super) async fn next(&mut self, outgoing: &Outgoing) -> Event {
        let Self { inbox, pending: said, .. } = self;
        let done = async {
            match said.next().await {
                Some(done) => done,
                None => pending().await,
            }
        };
        let delivery = async {
            outgoing.room().await;
            inbox.next().await
        };
        tokio::select! {
            biased;
            done = done => Event::Done(done),
            delivery = delivery => Event::Delivery(delivery),
        }
    }

    /// Writes what came, and what else is there already.
    pub(super) fn write(&mut self, event: Event, outgoing: &Outgoing) {
        let delivery = match event {
            Event::Done(done) => return self.write_done(done, outgoing),
            Event::Delivery(delivery) => delivery,
        };
        self.write_what(delivery.sub, &delivery.what, outgoing);
        for _ in 1..ROUND_MAX {
            if outgoing.room().now_or_never().is_none() {
                break;
            }
            let Some(delivery) = self.inbox.try_next() else { break };
            self.write_what(delivery.sub, &delivery.what, outgoing);
        }
    }

    fn write_what(&self, sub: SubId, what: &What, outgoing: &Outgoing) {
        let Some(name) = self.names.get(&sub) else { return };
        let body = frames::body(what, self.engine.channels().epoch());
        outgoing.push(json_message(&frames::of_sub(&body, &quoted(name))));
    }

    fn write_done(&mut self, done: Done, outgoing: &Outgoing) {
        let (about, problem) = match done {
            Done::Published(Some(reference), id, Ok(place)) => {
                outgoing.push(json_message(&frames::published(&reference, id, place)));
                return;
            }
            Done::Published(None, _, Ok(_)) | Done::Present(_, Ok(())) => return,
            Done::Published(reference, _, Err(error)) => {
                (reference.map(|name| ("ref", name)), error)
            }
            Done::Present(sub, Err(error)) => {
                let Some(name) = self.names.get(&sub).cloned() else { return };
                self.end(&name);
                (Some(("sub", name)), error)
            }
        };
        self.refuse(about, &Problem::from(problem), outgoing);
    }

    fn refuse(&self, about: About, problem: &Problem, outgoing: &Outgoing) {
        let about = about.map(|(kind, name)| (kind, quoted(&name)));
        let about = about.as_ref().map(|(kind, name)| (*kind, name.as_str()));
        outgoing.push(error_about(about, problem, &self.correlation_id));
    }

    /// Does what a client's message asks for; `free` is what is in the way of it, if something is.
    pub(super) async fn answer(
        &mut self,
        Received { about, message }: Received<'_>,
        scope: &Scope,
        free: Result<(), Problem>,
        outgoing: &Outgoing,
    ) {
        let outcome = match (free, message) {
            (Err(problem), _) => Err(problem),
            (Ok(()), Err(error)) => Err(Problem::new(Code::InvalidBody, error)),
            (Ok(()), Ok(Message::Subscribe(subscribe))) => {
                self.subscribe(subscribe, scope, outgoing).await
            }
            (Ok(()), Ok(Message::Publish(publish))) => self.publish(publish, scope).await,
            (Ok(()), Ok(Message::State(state))) => self.say_state(&state, scope),
        };
        if let Err(problem) = outcome {
            self.refuse(about, &problem, outgoing);
        }
    }

    async fn subscribe(
        &mut self,
        Subscribe { sub: name, target, from, state, .. }: Subscribe<'_>,
        scope: &Scope,
        outgoing: &Outgoing,
    ) -> Result<(), Problem> {
        let from = place(from.as_deref())?;
        let (channel, is_watch) = match &target {
            Target::Channel(channel) => (channel, false),
            Target::Presence(channel) => (channel, true),
        };
        if is_watch && from.is_some() {
            return Err(Problem::body("/from", "who is present has no offsets"));
        }
        if !is_watch && state.is_some() {
            return Err(Problem::body("/state", "subscribe to presence to be present"));
        }
        let state = state.map(|state| self.state(state.get())).transpose()?;
        let channel = Channel::new(&scope.project, channel);
        let right = Right::of(scope, &channel);
        may(&self.engine, scope, &channel, Act::Join).await?;
        let (id, told) = match is_watch {
            true => {
                let (id, present) = self.inbox.watch(&channel);
                (id, vec![present])
            }
            false => self.inbox.join(&channel, from),
        };
        self.names.insert(id, name.clone());
        if !is_watch {
            let joined = format!("{{\"op\":\"joined\",\"sub\":{}}}", quoted(&name));
            outgoing.push(json_message(&joined));
        }
        told.iter().for_each(|what| self.write_what(id, what, outgoing));
        let sub = Sub { id, channel, is_watch, right, state: None };
        self.subs.insert(name.clone(), sub);
        if let Some(state) = state
            && let Err(problem) = self.be_present(&name, scope, state)
        {
            self.end(&name);
            return Err(problem);
        }
        Ok(())
    }

    fn say_state(&mut self, message: &State<'_>, scope: &Scope) -> Result<(), Problem> {
        let state = self.state(message.state.get())?;
        match self.subs.get(&message.sub) {
            Some(sub) if sub.is_watch => self.be_present(&message.sub, scope, state),
            _ => Err(Problem::body("/sub", "no subscription to presence has this name")),
        }
    }

    fn be_present(&mut self, name: &str, scope: &Scope, state: Bytes) -> Result<(), Problem> {
        self.take_turn()?;
        let Some(sub) = self.subs.get(name) else { return Ok(()) };
        let is_like = |one: &Sub| one.state.is_some() && one.channel.name() == sub.channel.name();
        let entries = self.subs.values().filter(|one| one.id != sub.id && is_like(one)).count();
        if entries >= ENTRIES_MAX {
            let detail =
                format!("a connection is present in a channel {ENTRIES_MAX} times at most");
            return Err(Problem::new(Code::TooMany, detail));
        }
        let Some(sub) = self.subs.get_mut(name) else { return Ok(()) };
        let id = sub.id;
        let sure = self.inbox.be_present(id, user(scope), state.clone())?;
        sub.state = Some(state);
        self.pending.push_back(Box::pin(async move { Done::Present(id, sure.await) }));
        Ok(())
    }

    async fn publish(&mut self, publish: Publish<'_>, scope: &Scope) -> Result<(), Problem> {
        let Publish { channel, data, reference, echo, .. } = publish;
        if reference.as_ref().is_some_and(|name| name.len() > REFERENCE_BYTES_MAX) {
            let detail = format!("ref may have {REFERENCE_BYTES_MAX} bytes");
            return Err(Problem::body("/ref", detail));
        }
        self.take_turn()?;
        let channel = Channel::new(&scope.project, &channel);
        let data = data_of(&self.engine, data.get())?;
        may(&self.engine, scope, &channel, Act::Publish(&data)).await?;
        let not_to = (echo == Some(false)).then(|| self.inbox.id());
        let draft = Draft { data, user: user(scope), not_to };
        let (id, sure) = self.engine.channels().publish(&channel, draft)?;
        let done = async move { Done::Published(reference, id, sure.await) };
        self.pending.push_back(Box::pin(done));
        Ok(())
    }

    /// Counts something that is said to others.
    fn take_turn(&mut self) -> Result<(), Problem> {
        self.rate.take(Instant::now()).map_err(|wait| {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            Problem::too_many_requests(seconds)
        })?;
        match self.pending.len() < PENDING_MAX {
            true => Ok(()),
            false => Err(Problem::new(Code::Busy, "too much of this connection is on its way")),
        }
    }

    fn state(&self, text: &str) -> Result<Bytes, Problem> {
        let bytes_max = self.engine.channels().options().state_bytes_max;
        body::message(text.as_bytes(), limits(&self.engine, bytes_max), "/state")
    }

    /// Asks again who may be where: those who may no longer leave.
    pub(super) async fn renew(&mut self, scope: &Scope, outgoing: &Outgoing) {
        let is_other = |(name, sub): (&String, &Sub)| {
            (!sub.right.is(&Right::of(scope, &sub.channel))).then(|| name.clone())
        };
        let others: Vec<_> = self.subs.iter().filter_map(is_other).collect();
        for name in others {
            let Some(sub) = self.subs.get_mut(&name) else { continue };
            let right = Right::of(scope, &sub.channel);
            if let Err(problem) = may(&self.engine, scope, &sub.channel, Act::Join).await {
                self.end(&name);
                self.refuse(Some(("sub", name)), &problem, outgoing);
                continue;
            }
            let before = std::mem::replace(&mut sub.right, right);
            // Somebody else is there now, by the same connection.
            if before.user() != sub.right.user()
                && let Some(state) = sub.state.clone()
                && let Err(problem) = self.be_present(&name, scope, state)
            {
                self.end(&name);
                self.refuse(Some(("sub", name)), &problem, outgoing);
            }
        }
    }
}

impl Right {
    fn of(scope: &Scope, channel: &Channel) -> Self {
        let access = scope.principal.access();
        Self { access, terms: scope.live.channel(channel.name()).cloned() }
    }

    /// Whether both decide alike.
    fn is(&self, other: &Self) -> bool {
        let is_same = match (&self.terms, &other.terms) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        is_same && self.access == other.access
    }

    fn user(&self) -> Option<&UserId> {
        match &self.access {
            Access::ByRules(Some(auth)) => Some(&auth.uid),
            _ => None,
        }
    }
}

/// Lets through whom a channel's rules do.
///
/// Errors with `forbidden`.
pub(crate) async fn may(
    engine: &Engine,
    scope: &Scope,
    channel: &Channel,
    act: Act<'_>,
) -> Result<(), Problem> {
    let need = match act {
        Act::Join => Need::Read,
        Act::Publish(_) => Need::Write,
    };
    scope.check("documents", need)?;
    let access = scope.principal.access();
    let project = (&scope.project, &*scope.live);
    match engine.may_in_channel(project, &access, channel.name(), act).await? {
        true => Ok(()),
        false => Err(Reason::Denied.into()),
    }
}

/// The user who asks, if it is one.
pub(crate) fn user(scope: &Scope) -> Option<UserId> {
    match &scope.principal {
        Principal::User(auth) => Some(auth.uid.clone()),
        _ => None,
    }
}

/// A message's data as compact text.
///
/// Errors: `message-too-large`, `too-deep`, `invalid-json`.
pub(crate) fn data_of(engine: &Engine, text: &str) -> Result<Bytes, Problem> {
    let bytes_max = engine.channels().options().message_bytes_max;
    body::message(text.as_bytes(), limits(engine, bytes_max), "/data")
}

fn limits(engine: &Engine, bytes_max: usize) -> Limits {
    Limits { bytes_max, ..engine.options().document }
}

/// Where to resume.
///
/// Errors with `invalid-position`.
fn place(from: Option<&str>) -> Result<Option<Place>, Problem> {
    let place = from.map(str::parse::<Place>).transpose();
    place.map_err(|error| Problem::new(Code::InvalidPosition, error.to_string()).field("from"))
}
