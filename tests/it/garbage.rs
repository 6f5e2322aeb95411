//! Bytes that are no request, or hardly one: answered or hung up on, never with a 500, and the
//! server goes on.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use harness::{Server, Setup, within};

/// Sends bytes as they are, ends the stream, and returns what came back.
async fn send(server: &Server, bytes: &[u8]) -> String {
    let address = server.url.strip_prefix("http://").expect("an address");
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.expect("the server listens");
        // It may hang up before it has read everything.
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    within("an answer to garbage", exchange).await
}

fn status(answer: &str) -> Option<u16> {
    answer.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

async fn still_serves(server: &Server) {
    server.admin().get("/v1/projects/demo").expect(200).await;
}

#[tokio::test]
async fn paths_of_any_bytes_are_refused_as_problems() {
    let server = Setup::new().start().await;
    server.project("demo").await;
    let long = format!("/v1/projects/{}", "x".repeat(20_000));
    let many = format!("/v1/projects{}", "/x".repeat(5_000));
    let query = format!("/v1/projects/demo/events?types={}", "x,".repeat(5_000));
    for path in [
        "/v1/projects/%00",
        "/v1/projects/%ff%fe",
        "/v1/projects/%zz",
        "/v1/projects/%",
        "/v1/projects/..%2f..%2fetc%2fpasswd",
        "/v1/projects/../../etc/passwd",
        "/v1/projects//collections",
        "//v1//projects//",
        "/v1/projects/demo/collections/c/documents/d?asOf=%ff",
        "/v1/projects/demo/collections/c/documents?limit=%ff&%ff=1",
        "/v1/projects/demo/collections/c/documents?&&=&=",
        "/v1/projects/demo/events?from=99999999999999999999-1",
        "/v1/projects/demo/realtime/events?collection=%00",
        &long,
        &many,
        &query,
    ] {
        let key = harness::ADMIN_KEY;
        let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n");
        let answer = send(&server, format!("{head}Connection: close\r\n\r\n").as_bytes()).await;
        let shown = &path[..path.len().min(80)];
        let found = status(&answer).unwrap_or_else(|| panic!("{shown}: {answer}"));
        assert!((400..500).contains(&found), "{shown}: {answer}");
        if found != 431 {
            assert!(answer.contains("\"correlationId\""), "{shown}: {answer}");
        }
    }
    still_serves(&server).await;
}

#[tokio::test]
async fn headers_of_any_bytes_are_refused_or_passed_over() {
    let server = Setup::new().start().await;
    server.project("demo").await;
    let large = "x".repeat(200_000);
    let headers: [&[u8]; 12] = [
        b"Authorization: Bearer \xff\xfe",
        b"Authorization: Bearer",
        b"Authorization: Basic eDp5",
        b"Authorization: Bearer a\r\nAuthorization: Bearer b",
        b"If-Match: \xff",
        b"Idempotency-Key: \xff",
        b"Headwater-After: \xff",
        b"X-Correlation-Id: \xff",
        b"traceparent: \xff",
        b"Content-Length: 99999999999999999999",
        b"Content-Length: -1",
        b"Last-Event-ID: \xff",
    ];
    for header in headers.into_iter().chain([format!("X-Large: {large}").as_bytes()]) {
        for method in ["GET", "PUT"] {
            let path = "/v1/projects/demo/collections/c/documents/d";
            let mut request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n").into_bytes();
            request.extend_from_slice(b"Connection: close\r\nContent-Type: application/json\r\n");
            request.extend_from_slice(header);
            request.extend_from_slice(b"\r\n\r\n");
            let answer = send(&server, &request).await;
            let shown = String::from_utf8_lossy(&header[..header.len().min(60)]).into_owned();
            let fits = status(&answer).is_none_or(|status| (400..500).contains(&status));
            assert!(fits, "{shown}: {answer}");
        }
    }
    still_serves(&server).await;
}

#[tokio::test]
async fn what_is_no_http_ends_the_connection_and_nothing_else() {
    let server = Setup::new().start().await;
    server.project("demo").await;
    let mut rng = fastrand::Rng::with_seed(1);
    let noise: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(100_000).collect();
    let inputs: [&[u8]; 8] = [
        b"",
        b"\0\0\0\0",
        b"GET",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST /v1/projects HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"PUT /v1/projects/demo/collections/c/documents/d HTTP/1.1\r\nContent-Length: 9\r\n\r\n{",
        &noise,
    ];
    for input in inputs {
        let answer = send(&server, input).await;
        let fits = status(&answer).is_none_or(|status| (400..500).contains(&status));
        assert!(fits, "{answer}");
    }
    still_serves(&server).await;
    server.stop().await;
}
