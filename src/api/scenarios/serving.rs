//! The server on a real socket: it binds, answers, refuses without reading all, and stops.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{ADMIN, Rig, engine, options};
use crate::server::{Options, Server};

/// Runs a server until the test drops the sender.
fn serve(options: Options) -> (SocketAddr, oneshot::Sender<()>, std::thread::JoinHandle<()>) {
    let (engine, _, registry) = engine();
    // Mail would be sent from there.
    let _within = super::runtime().enter();
    let options = Options { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..options };
    let server = Server::bind(engine, registry, options, super::people()).unwrap();
    let addr = server.addr();
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let stop = async {
            let _ = stopped.await;
        };
        runtime.block_on(server.run(stop, async {})).unwrap();
    });
    (addr, stop, thread)
}

fn exchange(stream: &mut TcpStream, request: &[u8]) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let count = stream.read(&mut chunk).unwrap();
        answer.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            assert!(count > 0, "closed after {text:?}");
            continue;
        };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if count == 0 || body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            return text.into_owned();
        }
    }
}

#[test]
fn a_server_answers_until_it_is_stopped() {
    let (addr, stop, thread) = serve(options());
    let mut idle = TcpStream::connect(addr).unwrap();
    let health = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    for _ in 0..2 {
        let answer = exchange(&mut idle, health);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.ends_with("{\"status\":\"ok\"}"), "{answer}");
    }
    let since = Instant::now();
    drop(stop);
    thread.join().unwrap();
    assert!(since.elapsed() < Duration::from_secs(5), "an idle connection held it up");
    assert!(TcpStream::connect(addr).is_err());
}

#[test]
fn a_body_that_is_too_large_is_not_read() {
    let (addr, stop, thread) = serve(Options { body_bytes_max: 1000, ..options() });
    let mut stream = TcpStream::connect(addr).unwrap();
    let head = format!(
        "POST /v1/projects HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ADMIN}\r\n\
         content-type: application/json\r\ncontent-length: 1000000000\r\n\r\n{{"
    );
    let answer = exchange(&mut stream, head.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    let chunked = format!(
        "POST /v1/projects HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ADMIN}\r\n\
         content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n7d0\r\n{}\r\n",
        "x".repeat(2000)
    );
    let mut stream = TcpStream::connect(addr).unwrap();
    let answer = exchange(&mut stream, chunked.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    drop(stop);
    thread.join().unwrap();
}

#[test]
fn an_unread_body_does_not_spoil_the_next_request() {
    let (addr, stop, thread) = serve(options());
    let mut stream = TcpStream::connect(addr).unwrap();
    let body = "x".repeat(300_000);
    let head = format!(
        "POST /v1/projects HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = exchange(&mut stream, head.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    if !answer.contains("connection: close") {
        let answer = exchange(&mut stream, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    drop(stop);
    thread.join().unwrap();
}

#[test]
fn without_an_admin_key_it_does_not_start() {
    let (engine, _, registry) = engine();
    let _within = super::runtime().enter();
    assert!(Server::bind(engine, registry, Options::default(), super::people()).is_err());
}

#[actix_web::test]
async fn the_server_tells_how_it_is() {
    let rig = Rig::new().await;
    let ready = rig.ask("GET", "/readyz", &[], "").await;
    assert_eq!(
        (ready.status, ready.text.as_str()),
        (200, r#"{"status":"ready","durability":"fsync","reasons":[]}"#)
    );
    rig.ask("GET", "/nowhere", &[], "").await;
    let alone = rig.ask("POST", crate::peer::PATH, &[], "").await;
    assert_eq!(alone.status, 404, "there are no other nodes");
    let metrics = rig.ask("GET", "/metrics", &[], "").await;
    assert_eq!(metrics.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    for line in [
        r#"http_request_seconds_count{method="POST",route="/v1/projects",status="2xx"} 1"#,
        r#"headwater_http_request_seconds_count{method="none",route="none",status="4xx"} 2"#,
        "headwater_socket_connections 0",
    ] {
        assert!(metrics.text.contains(line), "{line} not in {}", metrics.text);
    }
    let openapi = rig.ask("GET", "/openapi.json", &[], "").await.json();
    assert!(openapi["openapi"].as_str().unwrap().starts_with("3.1"));
}

/// A refusal that did without the body must not cost the client its connection.
#[test]
fn a_refusal_keeps_the_connection() {
    let (addr, stop, thread) = serve(options());
    let mut client = TcpStream::connect(addr).unwrap();
    let lost = b"POST /v1/nothing HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}";
    for _ in 0..2 {
        let answer = exchange(&mut client, lost);
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        assert!(!answer.to_lowercase().contains("connection: close"), "{answer}");
    }
    drop((client, stop));
    thread.join().unwrap();
}
