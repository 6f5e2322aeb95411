//! Live subscriptions over WebSocket and Server-Sent Events: the wire side of the engine's hub.
//! A connection owns its queue and its subscriptions; what to send and when is the hub's business.

pub(crate) mod channels;
mod frames;
mod incoming;
mod protocol;
pub(crate) mod sse;
pub(crate) mod websocket;

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use domain::ProjectId;
use engine::Notice;
use engine::hub::Outgoing;
use futures_util::Stream;
use tokio::sync::broadcast::error::RecvError;

use crate::app::App;
use crate::error::{Code, Problem};

/// A connection's queue as the body of its response.
struct Frames(Rc<Outgoing>);

impl Stream for Frames {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_take(context).map(|chunk| chunk.map(Ok))
    }
}

impl Drop for Frames {
    /// The connection is gone: nobody will take frames any more.
    fn drop(&mut self) {
        self.0.end();
    }
}

/// One of the limited number of live connections; given back when dropped.
struct Seat(Rc<App>);

impl Seat {
    fn take(app: &Rc<App>) -> Result<Self, Problem> {
        let seat = Self(Rc::clone(app));
        app.metrics.socket_connections.inc();
        let limit = app.options.sockets_max;
        if app.metrics.socket_connections.get() > limit as i64 {
            let detail = format!("the server has {limit} live connections, which is its limit");
            return Err(Problem::new(Code::Busy, detail));
        }
        Ok(seat)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.metrics.socket_connections.dec();
    }
}

/// Whether a change may be about somebody in this project. One that was missed may be.
fn concerns(notice: &Result<Notice, RecvError>, project: &ProjectId) -> bool {
    match notice {
        Ok(Notice::Project(of) | Notice::People(of, _)) => of == project,
        Err(_) => true,
    }
}
