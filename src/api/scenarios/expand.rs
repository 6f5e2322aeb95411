//! References that are followed: what is shown along with documents, by the rules of the collection
//! that each stands in; no way around them, and no answer without a bound.

use serde_json::{Value, json};

use super::{Reply, Rig};

async fn configure(rig: &Rig, collection: &str, settings: Value) {
    let path = format!("collections/{collection}");
    let put = rig.ask("PUT", &path, &[], &settings.to_string()).await;
    assert!(put.status < 300, "{}", put.text);
}

async fn put(rig: &Rig, collection: &str, id: &str, data: Value) -> Reply {
    let path = format!("collections/{collection}/documents/{id}");
    let put = rig.ask("PUT", &path, &[], &data.to_string()).await;
    assert!(put.status < 300, "{}", put.text);
    put
}

/// Posts in rooms, by users; what of them others see is said by `user_rules`.
async fn rig(user_rules: Value, user_fields: Value) -> Rig {
    let rig = Rig::new().await;
    let all = json!({"read": "true", "list": "true"});
    let posts = json!({
        "rules": all,
        "fields": {
            "author": {"references": "users"},
            "readers": {"references": "users"},
            "meta.room": {"references": "rooms"},
            "lines.by": {"references": "users"},
            "draft": {"references": "users", "read": "false"},
        },
    });
    configure(&rig, "posts", posts).await;
    let rooms = json!({"rules": all, "fields": {"owner": {"references": "users"}}});
    configure(&rig, "rooms", rooms).await;
    let mut fields = user_fields;
    fields["boss"] = json!({"references": "users"});
    configure(&rig, "users", json!({"rules": user_rules, "fields": fields})).await;
    put(&rig, "users", "ann", json!({"name": "Ann", "public": true, "boss": "bob"})).await;
    put(&rig, "users", "bob", json!({"name": "Bob", "public": false, "boss": "cy"})).await;
    put(&rig, "users", "cy", json!({"name": "Cy", "public": true})).await;
    put(&rig, "rooms", "r", json!({"owner": "ann"})).await;
    let post = json!({
        "author": "ann", "readers": ["bob", "ann", "none", 7, "ann"], "meta": {"room": "r"},
        "lines": [{"by": "ann"}, {}, {"by": "bob"}], "draft": "ann", "text": "hello",
    });
    put(&rig, "posts", "p", post).await;
    put(&rig, "posts", "q", json!({"author": "none", "readers": [], "text": "x"})).await;
    rig
}

/// What a field refers to: ids, `null` where it is absent.
fn ids(document: &Value, field: &str) -> Value {
    let id = |one: &Value| one["id"].clone();
    match &document["expanded"][field] {
        Value::Array(all) => all.iter().map(id).collect(),
        one => id(one),
    }
}

const P: &str = "collections/posts/documents/p";

#[actix_web::test]
async fn references_are_followed_by_every_way_to_read() {
    let rig = rig(json!({}), json!({})).await;
    let ways = "author,readers,meta.room.owner.boss,lines.by,author.boss";
    let one = rig.ask("GET", &format!("{P}?expand={ways}"), &[], "").await;
    assert_eq!(one.status, 200, "{}", one.text);
    assert_eq!(one.header("etag"), "", "no version tells of what it refers to");
    let one = one.json();
    assert_eq!(one["data"]["author"], "ann", "the data stays as it is");
    assert_eq!(ids(&one, "author"), "ann");
    assert_eq!(one["expanded"]["author"]["data"]["name"], "Ann");
    assert_eq!(ids(&one["expanded"]["author"], "boss"), "bob");
    assert!(one["expanded"]["author"]["expanded"]["boss"].get("expanded").is_none());
    assert_eq!(ids(&one, "readers"), json!(["bob", "ann", "ann"]));
    assert_eq!(ids(&one, "lines.by"), json!(["ann", "bob"]));
    let room = &one["expanded"]["meta.room"];
    assert_eq!(room["id"], "r");
    assert_eq!(ids(&room["expanded"]["owner"], "boss"), "bob");
    // Also where only some of the data is shown.
    let some = rig.ask("GET", &format!("{P}?expand=author&fields=text"), &[], "").await.json();
    assert_eq!(some["data"], json!({"text": "hello"}));
    assert_eq!(ids(&some, "author"), "ann");
    let listed = rig.ask("GET", "collections/posts/documents?expand=author", &[], "").await.json();
    assert_eq!(ids(&listed["documents"][0], "author"), "ann");
    assert_eq!(listed["documents"][1]["expanded"], json!({}));
    let body = json!({"orderBy": [{"field": "text"}], "expand": ["author", "readers"]});
    let asked = rig.ask("POST", "collections/posts/query", &[], &body.to_string()).await.json();
    assert_eq!(ids(&asked["documents"][0], "readers"), json!(["bob", "ann", "ann"]));
    assert_eq!(ids(&asked["documents"][1], "readers"), json!([]));
    assert!(rig.ask("GET", P, &[], "").await.json().get("expanded").is_none());
}

#[actix_web::test]
async fn no_way_leads_around_the_rules() {
    let rules = json!({"read": "resource.public == true"});
    let rig = rig(rules, json!({"name": {"read": "resource.id == 'cy'"}})).await;
    let key = rig.key("publishable").await;
    let ask = async |path: &str| {
        let reply = rig.ask_as(&key, "GET", path, &[], "").await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        assert!(!reply.text.contains("Bob") && !reply.text.contains("Ann"), "{}", reply.text);
        reply.json()
    };
    let ways = "author.boss,readers.boss,meta.room.owner.boss,lines.by,draft";
    for path in [P.to_owned() + "?expand=", "collections/posts/documents?limit=1&expand=".into()] {
        let mut one = ask(&format!("{path}{ways}")).await;
        if one.get("documents").is_some() {
            one = one["documents"][0].clone();
        }
        // A document that may not be read is as one that is not there, and ends its way.
        assert_eq!(ids(&one, "author"), "ann");
        assert_eq!(one["expanded"]["author"]["data"], json!({"public": true, "boss": "bob"}));
        assert!(one["expanded"]["author"].get("expanded").is_none());
        assert_eq!(ids(&one, "readers"), json!(["ann", "ann"]));
        assert_eq!(ids(&one, "lines.by"), json!(["ann"]));
        assert_eq!(ids(&one["expanded"]["meta.room"], "owner"), "ann");
        // What it may not see of a document leads nowhere.
        assert!(one["data"].get("draft").is_none());
        assert!(one["expanded"].get("draft").is_none());
    }
    let body = json!({"expand": ["readers", "draft"], "fields": ["text"], "limit": 1}).to_string();
    let asked = rig.ask_as(&key, "POST", "collections/posts/query", &[], &body).await;
    assert_eq!(ids(&asked.json()["documents"][0], "readers"), json!(["ann", "ann"]));
    assert!(!asked.text.contains("draft") && !asked.text.contains("bob\",\"version"));
    // To read by id is asked for, not to list.
    configure(&rig, "users", json!({"rules": {"list": "true"}})).await;
    let one = ask(&format!("{P}?expand=author,readers")).await;
    assert_eq!(one["expanded"], json!({"readers": []}));
    // And who may not read the document itself is shown nothing at all.
    configure(&rig, "posts", json!({"fields": {"author": {"references": "users"}}})).await;
    let refused = rig.ask_as(&key, "GET", &format!("{P}?expand=author"), &[], "").await;
    assert_eq!(refused.code(), "forbidden");
}

#[actix_web::test]
async fn the_past_is_shown_to_who_may_see_the_present() {
    let rig = rig(json!({"read": "resource.public == true"}), json!({})).await;
    let then = put(&rig, "posts", "p", json!({"author": "cy", "readers": ["ann"]})).await;
    let then = then.header("headwater-position").to_owned();
    put(&rig, "users", "cy", json!({"name": "Cyrus", "public": true})).await;
    put(&rig, "users", "ann", json!({"name": "Anna", "public": false})).await;
    let path = format!("{P}?asOf={then}&expand=author,readers");
    let one = rig.ask("GET", &path, &[], "").await.json();
    assert_eq!(one["expanded"]["author"]["data"]["name"], "Cy");
    assert_eq!(one["expanded"]["readers"][0]["data"]["name"], "Ann");
    let key = rig.key("publishable").await;
    for path in [path, format!("collections/posts/documents?asOf={then}&expand=author,readers")] {
        let reply = rig.ask_as(&key, "GET", &path, &[], "").await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        assert!(reply.text.contains("\"Cy\"") && !reply.text.contains("Ann"), "{}", reply.text);
    }
}

#[actix_web::test]
async fn what_makes_no_sense_or_too_much_is_refused() {
    let rig = rig(json!({}), json!({})).await;
    for ways in ["", "text", "author.name", "a..b", "author,", "author.boss.boss.boss"] {
        let refused = rig.ask("GET", &format!("{P}?expand={ways}"), &[], "").await;
        assert_eq!((refused.status, refused.code().as_str()), (400, "invalid-parameter"), "{ways}");
        assert_eq!(refused.json()["field"], "expand");
    }
    let many = ["author"; 11];
    let path = format!("{P}?expand={}", many.join(","));
    assert_eq!(rig.ask("GET", &path, &[], "").await.code(), "invalid-parameter");
    let asked = |body: Value| body.to_string();
    rig.table(&[
        ("POST", "collections/posts/query", r#"{"expand":["text"]}"#, 400, "invalid-body"),
        ("POST", "collections/posts/query", r#"{"expand":"author"}"#, 400, "invalid-body"),
        (
            "POST",
            "collections/posts/query",
            r#"{"aggregate":{"n":{"op":"count"}},"expand":["author"]}"#,
            400,
            "invalid-body",
        ),
        ("PUT", "collections/x", r#"{"fields":{"a":{"references":"_x"}}}"#, 400, "invalid-body"),
    ])
    .await;
    let refused = asked(json!({"expand": ["author", "nothing"]}));
    let refused = rig.ask("POST", "collections/posts/query", &[], &refused).await;
    assert_eq!(refused.json()["field"], "/expand/1");
    // Many references to one document count as often as it is shown; those to none, too.
    let same = json!({"readers": vec!["ann"; 1_001]});
    put(&rig, "posts", "many", same).await;
    let other: Vec<String> = (0..1_001).map(|n| format!("u{n}")).collect();
    put(&rig, "posts", "others", json!({"readers": other})).await;
    let long = json!({"name": "x".repeat(900_000)});
    put(&rig, "users", "long", long).await;
    put(&rig, "posts", "long", json!({"readers": vec!["long"; 10]})).await;
    for id in ["many", "others", "long"] {
        let path = format!("collections/posts/documents/{id}?expand=readers");
        assert_eq!(rig.ask("GET", &path, &[], "").await.code(), "query-too-large", "{id}");
    }
    put(&rig, "posts", "many", json!({"readers": vec!["ann"; 1_000]})).await;
    let path = "collections/posts/documents/many?expand=readers";
    assert_eq!(rig.ask("GET", path, &[], "").await.status, 200);
}
