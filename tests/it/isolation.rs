//! A project is a wall: a key opens its own project and nothing else, on every documented route.

use reqwest::Method;
use serde_json::{Value, json};

use harness::{Client, Person, Project, Server, Setup, Socket, sse};

/// Routes for the server's administrator only.
const ADMIN_ONLY: [&str; 5] = [
    "GET /v1/admin/cluster",
    "GET /v1/projects",
    "POST /v1/projects",
    "DELETE /v1/projects/{project}",
    "POST /v1/projects/{project}/import",
];

/// A documented route with its parameters filled in.
struct Route {
    method: Method,
    pattern: String,
    path: String,
    body: bool,
    /// Whether it asks for a token at all.
    guarded: bool,
    /// Whether no key of a project opens it, not even of its own.
    admin_only: bool,
}

async fn routes(server: &Server, project: &str) -> Vec<Route> {
    let openapi = server.admin().get("/openapi.json").expect(200).await;
    let mut routes = Vec::new();
    for (pattern, item) in openapi["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("a path item") {
            let Ok(method) = method.to_uppercase().parse::<Method>() else { continue };
            if !operation["responses"].is_object() {
                continue;
            }
            let filled = pattern.replace("{project}", project);
            let filled = filled.split('/').map(|part| match part.starts_with('{') {
                true => "d",
                false => part,
            });
            routes.push(Route {
                admin_only: ADMIN_ONLY.contains(&&*format!("{method} {pattern}")),
                method,
                pattern: pattern.clone(),
                path: filled.collect::<Vec<_>>().join("/"),
                body: operation["requestBody"].is_object(),
                guarded: operation["security"].as_array().is_some_and(|one| !one.is_empty()),
            });
        }
    }
    assert!(routes.len() > 15, "the API has more routes than {}", routes.len());
    routes
}

impl Route {
    /// Whether a plain request can't say it: a WebSocket tells who it is in its first message.
    fn is_socket(&self) -> bool {
        self.pattern.ends_with("/realtime")
    }

    async fn status(&self, client: &Client) -> (u16, Value) {
        let mut request = client.request(self.method.clone(), &self.path);
        if self.body {
            request = request.json(&json!({}));
        }
        let answer = request.send().await;
        (answer.status, answer.any_problem()["code"].clone())
    }
}

async fn two_projects() -> (Server, Project, Project) {
    let server = Setup::new().start().await;
    let (mine, other) = (server.project("mine").await, server.project("other").await);
    other.write("d", "d", &json!({"secret": true})).await;
    (server, mine, other)
}

#[tokio::test]
async fn a_key_of_one_project_is_unknown_to_another_on_every_route() {
    let (server, mine, other) = two_projects().await;
    let before = other.events("").await.0;
    for route in routes(&server, "other").await {
        if !route.guarded || route.is_socket() {
            continue;
        }
        let (status, code) = route.status(&mine.client).await;
        let wanted = if route.admin_only { 403 } else { 401 };
        assert_eq!(status, wanted, "{} {}: {code}", route.method, route.pattern);
    }
    assert_eq!(other.events("").await.0, before, "something was written");
}

#[tokio::test]
async fn without_a_valid_token_nothing_is_told_on_any_route() {
    let (server, mine, _other) = two_projects().await;
    let mut guarded = 0;
    for route in routes(&server, "other").await {
        if !route.guarded || route.is_socket() {
            continue;
        }
        guarded += 1;
        for token in ["", "hw_sk_nobody", "hw_admin_nobody", "x"] {
            let (status, code) = route.status(&mine.client.with_token(token)).await;
            let found = (status, code.as_str());
            // What looks like a project's key is told that it can't be enough.
            let wanted = match route.admin_only && token.starts_with("hw_sk_") {
                true => (403, Some("forbidden")),
                false => (401, Some("unauthorized")),
            };
            assert_eq!(found, wanted, "{} {} with {token:?}", route.method, route.pattern);
        }
        // Nor whether a project exists.
        let nowhere = Route { path: route.path.replace("/other", "/nowhere"), ..route };
        assert_eq!(nowhere.status(&mine.client).await.0 / 100, 4);
    }
    assert!(guarded > 12, "only {guarded} routes ask for a token");
}

#[tokio::test]
async fn a_publishable_key_names_the_app_and_has_no_rights() {
    let (server, mine, _other) = two_projects().await;
    let key = Project::key_of(&server.admin(), "mine", "publishable").await;
    assert!(key.starts_with("hw_pk_"), "{key}");
    let publishable = mine.client.with_token(&key);
    for route in routes(&server, "mine").await {
        let of_project = route.pattern.contains("{project}");
        if !route.guarded || route.is_socket() || !of_project {
            continue;
        }
        let (status, code) = route.status(&publishable).await;
        let found = (status, code.as_str());
        // A user's own things take a user.
        let wanted = match route.pattern.contains("{project}/auth/") {
            true if !route.pattern.ends_with("/inbox") => (401, Some("unauthorized")),
            // What is asked for must be known before a rule can say no.
            _ if route.pattern.ends_with("/commit") => (400, Some("invalid-body")),
            _ if route.pattern.ends_with("/realtime/events") => (400, Some("invalid-parameter")),
            _ => (403, Some("forbidden")),
        };
        assert_eq!(found, wanted, "{} {}", route.method, route.pattern);
    }
}

#[tokio::test]
async fn a_socket_or_stream_with_a_wrong_key_is_refused() {
    let (server, mine, other) = two_projects().await;
    let publishable = Project::key_of(&server.admin(), "other", "publishable").await;
    for (token, code, close) in
        [(mine.client.token(), "unauthorized", 4401), ("hw_sk_nobody", "unauthorized", 4401)]
    {
        let wrong = Project { client: mine.client.with_token(token), ..other.clone() };
        let mut socket = Socket::open(&wrong).await.expect("a socket opens before it is asked");
        socket.send(&json!({"op": "hello", "token": token, "protocol": 1})).await;
        let error = socket.expect("error").await;
        assert_eq!(error["code"], code, "{error}");
        let closed = socket.closed().await.map(|(code, _)| code);
        assert_eq!(closed, Some(close));
        sse::refused(&wrong, "collection=d", 401, code).await;
    }
    // An app's own key is let in, and sees nothing where no rule says so.
    let app = Project { client: mine.client.with_token(&publishable), ..other.clone() };
    let mut socket = Socket::connect(&app).await;
    socket.subscribe("s", &json!({"collection": "d"}), None).await;
    assert_eq!(socket.expect("error").await["code"], "forbidden");
    sse::refused(&app, "collection=d", 403, "forbidden").await;
}

#[tokio::test]
async fn a_user_of_one_project_is_nobody_in_another_on_every_route() {
    let (server, mine, other) = two_projects().await;
    let ann = Person::sign_up(&mine, "ann@example.com").await;
    let before = other.events("").await.0;
    for route in routes(&server, "other").await {
        if !route.guarded || route.is_socket() {
            continue;
        }
        let (status, code) = route.status(&ann.project.client).await;
        assert_eq!((status, code.as_str()), (401, Some("unauthorized")), "{}", route.pattern);
    }
    assert_eq!(other.events("").await.0, before, "something was written");
}

#[tokio::test]
async fn two_projects_with_the_same_names_share_nothing() {
    let (_server, mine, other) = two_projects().await;
    mine.get("d", "d").refused(404, "document-not-found").await;
    mine.write("d", "d", &json!({"secret": false})).await;
    mine.write("d", "e", &json!({})).await;
    assert_eq!(other.list("d", "").await.len(), 1);
    assert_eq!(other.get("d", "d").expect(200).await["data"], json!({"secret": true}));
    assert_eq!(mine.history("d", "d").await.len(), 1);
    let source = |event: &Value| event["source"].as_str().map(str::to_owned);
    for project in [&mine, &other] {
        let events = project.events("").await.0;
        assert!(events.len() >= 3, "{events:?}");
        let own = format!("/projects/{}", project.id);
        assert!(events.iter().all(|event| source(event).as_ref() == Some(&own)), "{events:?}");
    }
}

#[tokio::test]
async fn a_revoked_key_and_the_keys_of_a_deleted_project_open_nothing() {
    let (server, mine, other) = two_projects().await;
    let admin = server.admin();
    let body = json!({"kind": "secret", "name": "second"});
    let made = admin.post("/v1/projects/mine/keys", &body).expect(201).await;
    let second = mine.client.with_token(made["key"].as_str().expect("a key"));
    second.get(&mine.documents("c")).expect(200).await;
    let id = made["id"].as_str().expect("a key has an id");
    admin.delete(&format!("/v1/projects/mine/keys/{id}")).send().await.position();
    second.get(&mine.documents("c")).refused(401, "unauthorized").await;
    mine.client.get(&mine.documents("c")).expect(200).await;
    admin.delete("/v1/projects/other").send().await.position();
    other.get("d", "d").refused(401, "unauthorized").await;
    let admin_read = admin.get(&other.document("d", "d")).send().await;
    admin_read.problem(404, "project-not-found");
    admin
        .post("/v1/projects", &json!({"id": "other", "name": "x"}))
        .refused(409, "project-exists")
        .await;
}
