//! The one service behind every path: finds the route, runs its handler, and gives each answer its
//! correlation id, its metric and its line in the log. Nothing leaves without passing here, so
//! every failure is a problem.

use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use actix_web::HttpResponse;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::ALLOW;

use crate::app::App;
use crate::body::Body;
use crate::call::Call;
use crate::correlation::{CorrelationId, X_CORRELATION_ID};
use crate::cors::{self, is_preflight};
use crate::error::{Code, Problem};
use crate::peer;
use crate::router::Found;
use crate::routes::{Access, ROUTES};

/// Counts a request as long as it has no answer.
struct InFlight<'a>(&'a AtomicUsize);

impl<'a> InFlight<'a> {
    fn enter(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Answers one request. Never fails.
pub(crate) async fn dispatch(
    app: Rc<App>,
    request: ServiceRequest,
) -> Result<ServiceResponse, actix_web::Error> {
    let since = Instant::now();
    let in_flight = InFlight::enter(&app.in_flight);
    let (request, payload) = request.into_parts();
    let correlation_id = CorrelationId::of(request.headers());
    let payload = Body::open(request.headers(), payload).await;
    let (route, outcome) = match app.router.find(request.method(), request.path()) {
        Found::Route(index, _) if !ROUTES[index].is_served(app.options.roles) => {
            let detail = "this node has other roles; ask another";
            (Some(index), Err(Problem::new(Code::Misdirected, detail)))
        }
        Found::Route(index, parameters) => {
            let call = Call {
                app: Rc::clone(&app),
                request: request.clone(),
                payload,
                correlation_id: correlation_id.clone(),
                route: &ROUTES[index],
                parameters,
            };
            if matches!(ROUTES[index].access, Access::Project | Access::User) {
                call.level().await;
            }
            (Some(index), (ROUTES[index].handler)(call).await)
        }
        // Without other nodes there is no such path.
        Found::Nothing if request.path() == peer::PATH && app.engine.is_shared() => {
            let (method, headers) = (request.method(), request.headers());
            (None, Ok(peer::answer(&app, method, headers, &correlation_id, payload).await))
        }
        Found::OtherMethods(methods) if is_preflight(request.method(), request.headers()) => {
            (None, Ok(cors::preflight(methods)))
        }
        Found::OtherMethods(allow) => {
            let problem = Problem::new(Code::MethodNotAllowed, "see the Allow header");
            let mut response = problem.to_response(correlation_id.as_str());
            response.headers_mut().insert(ALLOW, allow);
            (None, Ok(response))
        }
        Found::Nothing => (None, Err(Problem::new(Code::NotFound, "there is no such route"))),
    };
    let mut response = match outcome {
        Ok(response) => response,
        Err(problem) => failed(&problem, &correlation_id),
    };
    response.headers_mut().insert(X_CORRELATION_ID, correlation_id.to_header());
    // Where browsers are sent to, no script has anything to read (RFC 9700 §2.6).
    if !route.is_some_and(|route| ROUTES[route].is_navigated()) {
        cors::allow(request.headers(), &mut response);
    }
    if *app.stopping.borrow() {
        response.head_mut().set_connection_type(actix_http::ConnectionType::Close);
    }
    let took = since.elapsed();
    let status = response.status().as_u16();
    app.metrics.observe(route, status, took);
    tracing::debug!(
        http.route = route.map_or("none", |route| ROUTES[route].pattern),
        http.status = status,
        duration_ms = took.as_secs_f64() * 1e3,
        correlation.id = correlation_id.as_str(),
        "request"
    );
    drop(in_flight);
    Ok(ServiceResponse::new(request, response))
}

fn failed(problem: &Problem, correlation_id: &CorrelationId) -> HttpResponse {
    let code = problem.code().entry().name;
    let correlation_id = correlation_id.as_str();
    if problem.status() >= 500 {
        tracing::warn!(
            error.code = code,
            error = problem.log_text(),
            correlation.id = correlation_id,
            "request failed"
        );
    }
    problem.to_response(correlation_id)
}
