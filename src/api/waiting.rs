//! Answers while log and tables can't be reached yet, so that an operator sees what is missing and
//! a client knows to come back. Knows nothing but why.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use actix_web::dev::{Server, ServerHandle, ServiceRequest, fn_service};
use actix_web::http::StatusCode;
use actix_web::{App, HttpResponse, HttpServer};
use parking_lot::Mutex;

use crate::answer;
use crate::correlation::{CorrelationId, X_CORRELATION_ID};
use crate::error::{Code, Problem};
use crate::peer;
use crate::routes::status::{Health, Readiness};

/// A server that is bound and tells everybody to wait.
pub struct Waiting {
    server: Server,
    addr: SocketAddr,
}

impl Waiting {
    /// Binds the address. `reason` is what `/readyz` tells, to anybody: no key is known here.
    ///
    /// Errors when the address is taken.
    pub fn bind(
        listen: SocketAddr,
        durability: &str,
        reason: Arc<Mutex<String>>,
    ) -> io::Result<Self> {
        let durability = durability.to_owned();
        let server = HttpServer::new(move || {
            let (reason, durability) = (Arc::clone(&reason), durability.clone());
            App::new().default_service(fn_service(move |request: ServiceRequest| {
                let response = respond(&request, &reason.lock(), &durability);
                async move { Ok::<_, actix_web::Error>(request.into_response(response)) }
            }))
        })
        .workers(1)
        .disable_signals()
        .bind(listen)?;
        let addr = server.addrs().first().copied();
        let addr = addr.ok_or_else(|| io::Error::other("no address was bound"))?;
        Ok(Self { server: server.run(), addr })
    }

    /// The address that it answers on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Answers until `done` is ready; then gives the address back.
    pub async fn run<T>(self, done: impl Future<Output = T>) -> T {
        let Self { server, addr: _ } = self;
        let handle: ServerHandle = server.handle();
        let serving = actix_web::rt::spawn(server);
        let outcome = done.await;
        handle.stop(false).await;
        let _ = serving.await;
        outcome
    }
}

fn respond(request: &ServiceRequest, reason: &str, durability: &str) -> HttpResponse {
    let id = CorrelationId::of(request.headers());
    let answered = match request.path() {
        "/healthz" => answer::json(StatusCode::OK, &Health::ok()),
        "/readyz" => {
            let readiness = Readiness::new(durability, vec![reason.to_owned()]);
            answer::json(StatusCode::SERVICE_UNAVAILABLE, &readiness)
        }
        _ => Err(Problem::new(Code::Unavailable, "the server is starting; try again soon")),
    };
    let mut response = answered.unwrap_or_else(|problem| problem.to_response(id.as_str()));
    response.headers_mut().insert(X_CORRELATION_ID, id.to_header());
    if request.path() == peer::PATH {
        peer::not_taken(&mut response);
    }
    // The next request must find the server that comes after this one.
    response.head_mut().set_connection_type(actix_http::ConnectionType::Close);
    response
}
