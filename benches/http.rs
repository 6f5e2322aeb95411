//! HTTP/1.1 over a bare connection that is kept open: as little work as there can be between a
//! load generator and the server.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A request with a JSON body, which may be empty.
pub fn request(method: &str, path: &str, key: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// One request on a connection of its own; status and body of the answer.
pub async fn ask(address: SocketAddr, request: &str) -> Result<(u16, String)> {
    let mut connection = Connection::open(address).await?;
    let status = connection.call(request).await?;
    Ok((status, String::from_utf8_lossy(connection.body()).into_owned()))
}

/// An open connection with the answer that came last.
pub struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
    body_at: usize,
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, answer: Vec::with_capacity(4 << 10), body_at: 0 })
    }

    /// Sends a request and waits for the whole answer; its status.
    pub async fn call(&mut self, request: &str) -> Result<u16> {
        self.stream.write_all(request.as_bytes()).await?;
        self.answer.clear();
        self.body_at = loop {
            self.read().await?;
            let end = self.answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            if let Some(end) = end {
                break end + 4;
            }
        };
        let (status, length) = head(&self.answer[..self.body_at])?;
        while self.answer.len() < self.body_at + length {
            self.read().await?;
        }
        Ok(status)
    }

    /// The body of the answer that came last.
    pub fn body(&self) -> &[u8] {
        &self.answer[self.body_at..]
    }

    async fn read(&mut self) -> Result<()> {
        let count = self.stream.read_buf(&mut self.answer).await?;
        ensure!(count > 0, "the server has closed the connection");
        Ok(())
    }
}

/// The status of an answer and the length of its body.
fn head(head: &[u8]) -> Result<(u16, usize)> {
    let text = std::str::from_utf8(head)?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status")?;
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("content-length") {
            return Ok((status.parse()?, value.trim().parse()?));
        }
        if name.eq_ignore_ascii_case("transfer-encoding") {
            bail!("an answer of unknown length: {text}");
        }
    }
    Ok((status.parse()?, 0))
}
