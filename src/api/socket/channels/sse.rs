//! `GET /realtime/events?channel=`: a channel's messages as Server-Sent Events. Ids are offsets, so
//! that a client that sends `Last-Event-ID` goes on where it was, as far as there is history.

use std::rc::Rc;

use actix_web::HttpResponse;
use actix_web::body::BodyStream;
use actix_web::http::header;
use bytes::Bytes;
use domain::ChannelName;
use engine::channels::{Act, Channel, Inbox, What};
use engine::hub::Outgoing;
use tokio::time::{Instant, interval_at};

use super::{Right, frames, may, place};
use crate::answer::Answer;
use crate::call::Call;
use crate::caller::Scope;
use crate::error::{Code, Problem};
use crate::socket::frames::sse_problem;
use crate::socket::sse::RETRY_MS;
use crate::socket::{Frames, Seat, concerns};

/// Follows the messages of a channel.
pub(crate) async fn follow(call: Call, scope: Scope) -> Answer {
    let query = call.query(&["channel", "from"])?;
    let name = query.id("channel", ChannelName::new)?;
    let name = name.ok_or_else(|| Problem::parameter("channel", "name a channel"))?;
    let last = call.headers().get("Last-Event-ID").map(|id| id.to_str().unwrap_or("?"));
    // A browser sends an empty id after a stream that gave none.
    let from = place(last.filter(|id| !id.is_empty()).or(query.get("from")))?;
    let channel = Channel::new(&scope.project, &name);
    may(&call.app.engine, &scope, &channel, Act::Join).await?;
    let right = Right::of(&scope, &channel);
    let seat = Seat::take(&call.app)?;
    let outgoing = Outgoing::new(&call.app.engine.options().hub);
    outgoing.push(Bytes::from(format!("retry: {RETRY_MS}\n\n")));
    let mut inbox = Inbox::new(call.app.engine.channels());
    let (_, told) = inbox.join(&channel, from);
    let stream = Stream { call, scope, channel, right, outgoing: Rc::clone(&outgoing), inbox };
    told.iter().for_each(|what| stream.write(what));
    let body = BodyStream::new(Frames(outgoing));
    actix_web::rt::spawn(async move {
        stream.keep().await;
        drop(seat);
    });
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // Proxies must not hold frames back.
        .insert_header(("X-Accel-Buffering", "no"))
        .body(body))
}

struct Stream {
    call: Call,
    scope: Scope,
    channel: Channel,
    right: Right,
    outgoing: Rc<Outgoing>,
    inbox: Inbox,
}

impl Stream {
    fn write(&self, what: &What) {
        let body = frames::body(what, self.call.app.engine.channels().epoch());
        self.outgoing.push(Bytes::from(frames::of_stream(&body)));
    }

    /// Errors when whoever follows would not be let in any more.
    async fn check(&mut self) -> Result<(), Problem> {
        self.scope = self.scope.again(&self.call.app)?;
        let right = Right::of(&self.scope, &self.channel);
        if !right.is(&self.right) {
            may(&self.call.app.engine, &self.scope, &self.channel, Act::Join).await?;
            self.right = right;
        }
        Ok(())
    }

    /// Keeps the stream open, with a comment at each heartbeat, until the client or the server is
    /// gone.
    async fn keep(mut self) {
        let heartbeat = self.call.app.options.heartbeat;
        let mut beat = interval_at(Instant::now() + heartbeat, heartbeat);
        let mut stopping = self.call.app.stopping.clone();
        let mut notices = self.call.app.engine.catalog().watch();
        let outgoing = Rc::clone(&self.outgoing);
        loop {
            let mut checked = Ok(());
            let delivery = async {
                outgoing.room().await;
                self.inbox.next().await
            };
            tokio::select! {
                delivery = delivery => self.write(&delivery.what),
                _ = beat.tick() => {
                    // A token may have expired since.
                    checked = self.check().await;
                    outgoing.push(Bytes::from_static(b": heartbeat\n\n"));
                }
                notice = notices.recv() => {
                    if concerns(&notice, &self.scope.project) {
                        checked = self.check().await;
                    }
                }
                () = outgoing.closed() => break,
                _ = stopping.wait_for(|stopping| *stopping) => {
                    checked = Err(Problem::new(Code::Unavailable, "the server is shutting down"));
                }
            }
            if let Err(problem) = checked {
                outgoing.push(sse_problem(&problem, self.call.correlation_id.as_str()));
                break;
            }
        }
        outgoing.end();
    }
}
