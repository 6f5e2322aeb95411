//! The API over an engine in memory: one scenario per file, one row per request.

mod access;
mod channels;
mod commits;
mod configuration;
mod cors;
mod documents;
mod expand;
mod expiry;
mod history;
mod indexes;
mod keys;
mod limits;
mod log;
mod mfa;
mod oauth;
mod passkeys;
mod personal;
mod projects;
mod queries;
mod recording;
mod rules;
mod schemas;
mod serving;
mod sign_in;
mod users;

use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use actix_web::dev::{Service, ServiceResponse, fn_service};
use actix_web::{App as ActixApp, test};
use engine::{Engine, Metrics, Parts};
use eventlog::EventLog as _;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use crate::app::{App, Shared};
use crate::dispatch::dispatch;
use crate::people::Options as PeopleOptions;
use crate::server::{Options, share};

pub(crate) const ADMIN: &str = "hw_admin_test";

/// The engines' own runtime, as in the server.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME
        .get_or_init(|| Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap())
}

/// An API and what is below it.
pub(crate) struct Rig {
    pub(crate) shared: Arc<Shared>,
    pub(crate) log: Arc<eventlog::memory::Log>,
    /// Sent with every request.
    pub(crate) token: String,
}

/// An answer.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {:?}", self.text))
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

pub(crate) fn options() -> Options {
    Options { admin_key: ADMIN.to_owned(), workers: 1, ..Options::default() }
}

pub(crate) fn engine() -> (Arc<Engine>, Arc<eventlog::memory::Log>, prometheus::Registry) {
    engine_over(Arc::default(), Arc::new(vault::memory::Keys::new()))
}

pub(crate) fn engine_over(
    store: Arc<readmodel::memory::Store>,
    keys: Arc<dyn vault::SubjectKeys>,
) -> (Arc<Engine>, Arc<eventlog::memory::Log>, prometheus::Registry) {
    engine_of(store, keys, engine::Options::default())
}

fn engine_of(
    store: Arc<readmodel::memory::Store>,
    keys: Arc<dyn vault::SubjectKeys>,
    options: engine::Options,
) -> (Arc<Engine>, Arc<eventlog::memory::Log>, prometheus::Registry) {
    let log = Arc::new(eventlog::memory::Log::new(1, eventlog::Retention::default()));
    let registry = prometheus::Registry::new();
    let parts = Parts {
        log: Arc::clone(&log) as _,
        store,
        documents: consumers::DOCUMENTS,
        idempotency: consumers::IDEMPOTENCY,
        sealer: vault::Sealer::new(keys),
        options: engine::Options { read_wait_max: std::time::Duration::from_millis(50), ..options },
        metrics: Arc::new(Metrics::register(&registry).unwrap()),
        cluster: None,
    };
    let starting = runtime().spawn(async move { Engine::start(parts, &|_, _, _| ()).await });
    // A test's own runtime has one thread, which may wait here.
    let started = std::thread::spawn(|| runtime().block_on(starting)).join();
    (started.unwrap().unwrap().unwrap(), log, registry)
}

/// Keys in memory, no mail server, and passwords that cost next to nothing.
pub(crate) fn people() -> PeopleOptions {
    let server_keys = vault::ServerKeys::new(vault::ServerKey::generate().unwrap());
    // Fails where another test was first, and then it is there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    PeopleOptions {
        server_keys,
        public_url: Some("http://127.0.0.1".to_owned()),
        allow_private: true,
        password: auth::password::Options { memory_kib: 64, passes: 1, ..Default::default() },
        limits: auth::limits::Options::default(),
        smtp: None,
        inbox: Some(Arc::new(messages::Inbox::new())),
    }
}

impl Rig {
    /// An API without projects.
    pub(crate) fn empty(options: Options) -> Self {
        let (engine, log, registry) = engine();
        let (_, stopping) = watch::channel(false);
        let shared = share(engine, registry, options, people(), stopping).unwrap();
        Self { shared, log, token: ADMIN.to_owned() }
    }

    /// An API with the project `p`.
    pub(crate) async fn new() -> Self {
        Self::with(engine::Options::default()).await
    }

    /// An API with the project `p`, over an engine with these options.
    pub(crate) async fn with(engine_options: engine::Options) -> Self {
        let keys = Arc::new(vault::memory::Keys::new());
        let (engine, log, registry) = engine_of(Arc::default(), keys, engine_options);
        let (_, stopping) = watch::channel(false);
        let shared = share(engine, registry, options(), people(), stopping).unwrap();
        let rig = Self { shared, log, token: ADMIN.to_owned() };
        let made = rig.ask("POST", "/v1/projects", &[], r#"{"id":"p","name":"P"}"#).await;
        assert_eq!(made.status, 201, "{}", made.text);
        rig
    }

    /// One request. A body is JSON unless `headers` say otherwise; paths that don't start with `/`
    /// are below `p`.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        let app = Rc::new(App::new(Arc::clone(&self.shared)));
        let service = ActixApp::new()
            .default_service(fn_service(move |request| dispatch(Rc::clone(&app), request)));
        let service = test::init_service(service).await;
        let path = match path.strip_prefix('/') {
            Some(_) => path.to_owned(),
            None => format!("/v1/projects/p/{path}"),
        };
        let mut request = test::TestRequest::with_uri(&path).method(method.parse().unwrap());
        let given = |name: &str| headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        if !self.token.is_empty() && !given("authorization") {
            request = request.insert_header(("Authorization", format!("Bearer {}", self.token)));
        }
        if !body.is_empty() {
            if !given("content-type") {
                request = request.insert_header(("Content-Type", "application/json"));
            }
            request = request.set_payload(body.to_owned());
        }
        for (name, value) in headers {
            request = request.append_header((*name, *value));
        }
        let response: ServiceResponse = service.call(request.to_request()).await.unwrap();
        let status = response.status().as_u16();
        let text = |value: &actix_web::http::header::HeaderValue| {
            String::from_utf8_lossy(value.as_bytes()).into_owned()
        };
        let headers =
            response.headers().iter().map(|(n, v)| (n.as_str().to_owned(), text(v))).collect();
        let body = test::read_body(response).await;
        let reply = Reply { status, headers, text: String::from_utf8(body.to_vec()).unwrap() };
        reply.check();
        reply
    }

    /// One request with another token; with none where it is empty.
    pub(crate) async fn ask_as(
        &self,
        token: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        let (shared, log) = (Arc::clone(&self.shared), Arc::clone(&self.log));
        Self { shared, log, token: token.to_owned() }.ask(method, path, headers, body).await
    }

    /// Every event of the log as JSON, one a line.
    pub(crate) async fn log_text(&self) -> String {
        let limit = eventlog::ReadLimit { events_max: usize::MAX, bytes_max: usize::MAX };
        let read = self.log.read(domain::PartitionId(0), 0, limit).await.unwrap();
        let json = |one: &Arc<domain::Recorded>| domain::event::cloudevents::to_json(one);
        read.events.iter().map(json).collect::<Vec<_>>().join("\n")
    }

    /// Asks row by row: method, path, body, and the status and code that must come.
    pub(crate) async fn table(&self, rows: &[(&str, &str, &str, u16, &str)]) {
        for (method, path, body, status, code) in rows {
            let reply = self.ask(method, path, &[], body).await;
            let found = if reply.status < 400 { String::new() } else { reply.code() };
            let row = format!("{method} {path} {body:.80}: {}", reply.text);
            assert_eq!((reply.status, found.as_str()), (*status, *code), "{row}");
        }
    }

    /// A new key's text.
    pub(crate) async fn key(&self, kind: &str) -> String {
        let body = format!(r#"{{"kind":"{kind}","name":"test"}}"#);
        let made = self.ask("POST", "keys", &[], &body).await;
        assert_eq!(made.status, 201, "{}", made.text);
        made.json()["key"].as_str().unwrap().to_owned()
    }
}

impl Reply {
    /// What holds for each answer.
    fn check(&self) {
        assert!(!self.header("x-correlation-id").is_empty());
        if self.status < 400 {
            return;
        }
        assert_ne!(self.status, 500, "{}", self.text);
        if self.text.contains("\"durability\"") {
            return;
        }
        // A page for a browser says what went wrong in its own way.
        if self.header("content-type").starts_with("text/html") {
            return;
        }
        assert_eq!(self.header("content-type"), "application/problem+json");
        let json = self.json();
        assert_eq!(json["status"], self.status);
        assert_eq!(json["type"], format!("/errors/{}", self.code()));
        assert_eq!(json["correlationId"], self.header("x-correlation-id"));
    }
}
