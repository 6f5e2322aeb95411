//! Channels by HTTP: how they are configured, who may publish, and what is refused.

use super::Rig;

/// A configured channel for whoever is signed in, and one for everybody.
async fn configured() -> Rig {
    let rig = Rig::new().await;
    rig.table(&[
        ("PUT", "channels/room.*", r#"{"rules":{"join":"auth != null"}}"#, 201, ""),
        (
            "PUT",
            "channels/open",
            r#"{"rules":{"join":"resource.id == 'open' && meta.id == 'open'",
                "publish":"request.resource.data.kind == 'wave'"},
                "history":{"messages":10,"seconds":60}}"#,
            201,
            "",
        ),
    ])
    .await;
    rig
}

#[actix_web::test]
async fn a_channel_is_configured_by_name_or_by_the_beginning_of_it() {
    let rig = configured().await;
    let got = rig.ask("GET", "channels/room.*", &[], "").await.json();
    assert_eq!(got["rules"]["join"], "auth != null");
    assert!(got["history"].is_null() && got["rules"].get("publish").is_none(), "{got}");
    rig.table(&[
        ("GET", "channels/room.1", "", 404, "channel-not-found"),
        ("PUT", "channels/room.*", "{}", 200, ""),
        ("PUT", "channels/*", "{}", 201, ""),
        ("DELETE", "channels/room.*", "", 204, ""),
        ("DELETE", "channels/room.*", "", 404, "channel-not-found"),
    ])
    .await;
    let first = rig.ask("GET", "channels?limit=1", &[], "").await.json();
    assert_eq!((&first["channels"][0]["name"], &first["cursor"]), (&"*".into(), &"*".into()));
    let rest = rig.ask("GET", "channels?cursor=*", &[], "").await.json();
    assert_eq!(
        (&rest["channels"][0]["name"], &rest["cursor"]),
        (&"open".into(), &None::<()>.into())
    );
    assert_eq!(rest["channels"][0]["history"]["messages"], 10);
    let log = rig.log_text().await;
    assert!(log.contains("channel.configured") && log.contains("channel.deleted"));
}

#[actix_web::test]
async fn what_makes_no_sense_is_refused_with_its_place() {
    let rig = Rig::new().await;
    for (body, code, field) in [
        (r#"{"rules":{"join":"nobody.knows"}}"#, "invalid-body", "/rules/join"),
        (r#"{"rules":{"publish":"1 +"}}"#, "invalid-body", "/rules/publish"),
        (r#"{"rules":{"read":"true"}}"#, "invalid-body", ""),
        (r#"{"history":{"messages":0,"seconds":1}}"#, "invalid-body", "/history/messages"),
        (r#"{"history":{"messages":1,"seconds":3601}}"#, "invalid-body", "/history/seconds"),
        (r#"{"history":[1,1]}"#, "invalid-body", "/history"),
    ] {
        let reply = rig.ask("PUT", "channels/a", &[], body).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, code), "{body}");
        let at = reply.json()["field"].as_str().unwrap_or_default().to_owned();
        assert!(at.starts_with(field), "{body}: {at}");
    }
    rig.table(&[
        ("PUT", "channels/a*", "{}", 400, "invalid-id"),
        ("PUT", "channels/.*", "{}", 400, "invalid-id"),
        ("POST", "channels/a.*/messages", r#"{"data":1}"#, 400, "invalid-id"),
        ("GET", "channels/a.*/presence", "", 400, "invalid-id"),
        ("POST", "channels/a/messages", "{}", 400, "invalid-body"),
        ("POST", "channels/a/messages", r#"{"data":{"a":1,"a":2}}"#, 400, "invalid-json"),
    ])
    .await;
    let large = format!(r#"{{"data":"{}"}}"#, "x".repeat(32 << 10));
    let deep = format!(r#"{{"data":{}{}}}"#, "[".repeat(65), "]".repeat(65));
    rig.table(&[
        ("POST", "channels/a/messages", &large, 413, "message-too-large"),
        ("POST", "channels/a/messages", &deep, 400, "too-deep"),
    ])
    .await;
}

#[actix_web::test]
async fn rules_say_who_may_and_a_secret_key_may_always() {
    let mut rig = configured().await;
    let publishable = rig.key("publishable").await;
    let wave = r#"{"data":{"kind":"wave"}}"#;
    rig.table(&[
        ("POST", "channels/never-said/messages", r#"{"data": [1, 2] }"#, 200, ""),
        ("GET", "channels/never-said/presence", "", 200, ""),
    ])
    .await;
    let said = rig.ask("POST", "channels/open/messages", &[], wave).await;
    assert!(said.json()["id"].is_string() && said.json()["offset"].is_string(), "{}", said.text);
    rig.token = publishable;
    rig.table(&[
        ("POST", "channels/open/messages", wave, 200, ""),
        ("POST", "channels/open/messages", r#"{"data":{"kind":"shout"}}"#, 403, "forbidden"),
        ("POST", "channels/open/messages", r#"{"data":1}"#, 403, "forbidden"),
        ("GET", "channels/open/presence", "", 200, ""),
        ("POST", "channels/room.1/messages", wave, 403, "forbidden"),
        ("GET", "channels/room.1/presence", "", 403, "forbidden"),
        ("GET", "channels/never-said/presence", "", 403, "forbidden"),
        ("GET", "channels", "", 403, "forbidden"),
        ("PUT", "channels/open", "{}", 403, "forbidden"),
    ])
    .await;
    assert_eq!(rig.ask("GET", "channels/open/presence", &[], "").await.text, r#"{"present":[]}"#);
}

#[actix_web::test]
async fn a_key_bound_to_reading_publishes_nothing() {
    let mut rig = configured().await;
    let body = r#"{"kind":"secret","name":"r","scopes":["documents:read"]}"#;
    let made = rig.ask("POST", "keys", &[], body).await;
    rig.token = made.json()["key"].as_str().unwrap().to_owned();
    rig.table(&[
        ("GET", "channels/open/presence", "", 200, ""),
        ("POST", "channels/open/messages", r#"{"data":1}"#, 403, "forbidden"),
        ("GET", "channels", "", 403, "forbidden"),
    ])
    .await;
}

#[actix_web::test]
async fn a_rule_may_look_at_other_documents() {
    let mut rig = Rig::new().await;
    let rules = r#"{"rules":{"join":"exists('members', meta.id)"}}"#;
    assert_eq!(rig.ask("PUT", "channels/*", &[], rules).await.status, 201);
    let put = rig.ask("PUT", "collections/members/documents/room.1", &[], "{}").await;
    assert_eq!(put.status, 201, "{}", put.text);
    rig.token = rig.key("publishable").await;
    rig.table(&[
        ("GET", "channels/room.1/presence", "", 200, ""),
        ("GET", "channels/room.2/presence", "", 403, "forbidden"),
    ])
    .await;
}
