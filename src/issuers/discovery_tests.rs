use std::time::Duration;

use serde_json::json;

use super::*;
use crate::testing::{self, Issuer, Reply, Server, client};

const PATH: &str = "GET /.well-known/openid-configuration";

#[tokio::test]
async fn a_document_is_fetched_once() {
    let issuer = Issuer::start().await;
    let client = client();
    for _ in 0..3 {
        assert_eq!(client.discover(&issuer.name()).await.unwrap().issuer, issuer.name());
    }
    assert_eq!(issuer.server.seen(PATH).len(), 1);
}

#[tokio::test]
async fn a_document_must_name_the_issuer_that_was_asked() {
    let issuer = Issuer::start().await;
    let slash = format!("{}/", issuer.name());
    let found = client().discover(&slash).await;
    assert!(matches!(found, Err(Error::Configuration(text)) if text.contains("calls itself")));
    for other in [json!("https://evil.example"), json!(null), json!("")] {
        let mut document = issuer.document();
        document["issuer"] = other;
        issuer.server.on(PATH, Reply::json(&document));
        assert!(client().discover(&issuer.name()).await.is_err());
    }
}

#[tokio::test]
async fn redirects_lead_to_no_other_host() {
    let (issuer, other) = (Issuer::start().await, Issuer::start().await);
    let to = |address: String| Reply::json(&json!({})).status(302).header("location", &address);
    let document = Reply::json(&issuer.document());
    other.server.on("GET /moved", document.clone());
    issuer.server.on("GET /moved", document);
    issuer.server.on(PATH, to(format!("{}/moved", other.name())));
    let found = client().discover(&issuer.name()).await;
    assert!(matches!(found, Err(Error::Unreachable(text)) if text.contains("redirects")));
    assert!(other.server.seen("GET /moved").is_empty());

    issuer.server.on(PATH, to("/moved".to_owned()));
    client().discover(&issuer.name()).await.unwrap();
    issuer.server.on(PATH, to("/.well-known/openid-configuration".to_owned()));
    assert!(client().discover(&issuer.name()).await.is_err());
}

#[tokio::test]
async fn a_large_body_is_not_read_to_its_end() {
    let server = Server::start().await;
    let mut reply = Reply::json(&json!({}));
    reply.body = vec![b' '; crate::http::BODY_BYTES_MAX + 1];
    server.on(PATH, reply.clone());
    let found = client().discover(&server.base).await;
    assert!(matches!(found, Err(Error::Unreachable(text)) if text.contains("too large")));

    // The same without its length being said beforehand.
    let mut chunked = format!("{:x}\r\n", reply.body.len()).into_bytes();
    chunked.append(&mut reply.body);
    reply.body = chunked;
    server.on(PATH, reply.header("transfer-encoding", "chunked"));
    let found = client().discover(&server.base).await;
    assert!(matches!(found, Err(Error::Unreachable(text)) if text.contains("too large")));
}

#[tokio::test]
async fn a_slow_issuer_is_waited_for_in_bounds() {
    let issuer = Issuer::start().await;
    let slow = Reply::json(&issuer.document()).delay(Duration::from_secs(30));
    issuer.server.on(PATH, slow);
    let client = testing::client_with(Duration::from_millis(200), Duration::ZERO);
    let begun = std::time::Instant::now();
    let found = client.discover(&issuer.name()).await;
    assert!(matches!(found, Err(Error::Unreachable(text)) if text.contains("in time")));
    // Failures are remembered for a moment: the next one does not wait.
    assert!(client.discover(&issuer.name()).await.is_err());
    assert_eq!(issuer.server.seen(PATH).len(), 1);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn what_is_no_document_is_refused() {
    let server = Server::start().await;
    let missing = client().discover(&server.base).await;
    assert!(matches!(missing, Err(Error::Unreachable(text)) if text.contains("404")));
    server.on(PATH, Reply::json(&json!(["not", "a", "document"])));
    assert!(matches!(client().discover(&server.base).await, Err(Error::Unreachable(_))));
    for issuer in ["https://a.example?b", "https://a.example#b", "http://a.example", "nowhere"] {
        let found = client().discover(issuer).await;
        assert!(matches!(found, Err(Error::Configuration(_))), "{issuer}");
    }
}

#[tokio::test]
async fn without_leave_nothing_private_is_asked() {
    testing::install_tls();
    let issuer = Issuer::start().await;
    let client = Client::new(crate::Options::default()).unwrap();
    let https = issuer.name().replace("http://", "https://");
    for address in [issuer.name(), https.clone(), https.replace("127.0.0.1", "localhost")] {
        let found = client.discover(&address).await;
        assert!(matches!(found, Err(Error::Configuration(_))), "{address}: {found:?}");
    }
    assert!(issuer.server.seen(PATH).is_empty());
}
