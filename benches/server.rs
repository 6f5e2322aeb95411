//! The real binary on a full store: start to first answer after a clean stop and after a SIGKILL,
//! memory when idle, and the binary's size. Run with `cargo bench -p benches --bench server --
//! [documents]`, after `cargo build --release --bin headwater`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use benches::process::{ADMIN_KEY, Process, binary, command, free_address};
use benches::{collection, create_document, create_project, project, start};
use domain::DocumentId;

const RUNS: usize = 5;

fn main() -> Result<()> {
    let argument = std::env::args().skip(1).find_map(|text| text.parse().ok());
    let documents: usize = argument.unwrap_or(1_000_000);
    let binary = binary()?;
    let megabytes = std::fs::metadata(&binary)?.len() as f64 / 1e6;
    println!("binary: {megabytes:.1} MB");
    let dir = tempfile::tempdir()?;
    let id = fill(dir.path(), documents)?;

    let mut server = Server::start(&binary, dir.path(), &id)?;
    server.terminate()?;
    for _ in 0..RUNS {
        server = Server::start(&binary, dir.path(), &id)?;
        std::thread::sleep(Duration::from_secs(1));
        let (took, resident) = (server.ready_after, server.resident_megabytes()?);
        println!("start after a clean stop: {took:.0?}, idle: {resident:.1} MB resident");
        server.terminate()?;
    }
    for _ in 0..RUNS {
        server = Server::start(&binary, dir.path(), &id)?;
        server.write(2_000)?;
        server.kill()?;
        server = Server::start(&binary, dir.path(), &id)?;
        println!("start after a SIGKILL under writes: {:.0?}", server.ready_after);
        server.terminate()?;
    }
    Ok(())
}

/// Fills a store as the server would, without HTTP; returns one document's id.
fn fill(dir: &Path, documents: usize) -> Result<DocumentId> {
    const CLIENTS: usize = 256;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let engine = start(dir).await?;
        engine.submit(create_project()).await?;
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let engine = Arc::clone(&engine);
                tokio::spawn(async move {
                    let mut last = None;
                    for n in (client..documents).step_by(CLIENTS) {
                        let (id, command) = create_document(n);
                        engine.submit(command).await?;
                        last = Some(id);
                    }
                    anyhow::Ok(last)
                })
            })
            .collect();
        let mut id = None;
        for client in clients {
            id = client.await??.or(id);
        }
        engine.stop().await?;
        id.context("no document was written")
    })
}

struct Server {
    process: Process,
    address: SocketAddr,
    ready_after: Duration,
}

impl Server {
    /// Starts the binary and asks for a document until it answers.
    fn start(binary: &Path, dir: &Path, id: &DocumentId) -> Result<Self> {
        let address = free_address()?;
        let since = Instant::now();
        let listen = address.to_string();
        let args = ["serve", "--listen", &listen, "--data", &dir.display().to_string()];
        let env = [("HEADWATER_ADMIN_KEY", ADMIN_KEY), ("HEADWATER__LOG__PARTITIONS", "1")];
        let process = Process::start(command(binary, &args, &env), None)?;
        let mut server = Self { process, address, ready_after: Duration::ZERO };
        let path =
            format!("/v1/projects/{}/collections/{}/documents/{id}", project(), collection());
        loop {
            let answer = server.ask("GET", &path, "");
            if answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
                server.ready_after = since.elapsed();
                return Ok(server);
            }
            ensure!(since.elapsed() < Duration::from_secs(60), "the server does not answer");
            ensure!(!server.process.has_ended()?, "the server has ended");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// One request on a connection of its own; the answer's head and as much of its body as came
    /// with it.
    fn ask(&self, method: &str, path: &str, body: &str) -> Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {ADMIN_KEY}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes())?;
        let mut answer = vec![0; 64 << 10];
        let count = stream.read(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..count]).into_owned())
    }

    fn write(&self, count: usize) -> Result<()> {
        let path = format!("/v1/projects/{}/collections/{}/documents", project(), collection());
        for n in 0..count {
            let answer = self.ask("POST", &path, &format!("{{\"n\":{n}}}"))?;
            ensure!(answer.starts_with("HTTP/1.1 201"), "{answer}");
        }
        Ok(())
    }

    fn resident_megabytes(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.and_then(|line| line.split_whitespace().next()).context("no VmRSS")?;
        Ok(kibibytes.parse::<f64>()? * 1024.0 / 1e6)
    }

    fn terminate(self) -> Result<()> {
        self.process.stop()
    }

    fn kill(self) -> Result<()> {
        self.process.kill()
    }
}
