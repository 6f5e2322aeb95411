//! The one way by which URLs of a project's configuration are called: https only, never into the
//! server's own network unless the operator allows it, without redirects, with every answer
//! limited in time and size.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use tokio::net::lookup_host;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::Error;
use crate::reach::is_allowed;

/// Longest URL, in bytes.
const URL_BYTES_MAX: usize = 2048;
/// Largest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Calls under way at the same time; more wait, within their own time.
const CALLS_MAX: usize = 256;
/// How long a connection may lie idle.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// A client for the URLs of projects. Cheap to clone.
#[derive(Clone)]
pub struct Outbound {
    client: Client,
    allow_private: bool,
    places: Arc<Semaphore>,
}

/// A call to make.
pub(crate) struct Call<'a> {
    pub(crate) url: &'a str,
    pub(crate) content_type: &'static str,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) wait: Duration,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Outbound {
    /// A new client. With `allow_private`, this machine and private networks may be called too,
    /// and this machine without TLS: for development, or where all projects are the operator's.
    /// The process must have installed a TLS provider. [`Error::Setting`] when TLS can't be set up.
    pub fn new(allow_private: bool) -> Result<Self, Error> {
        let client = Client::builder()
            .redirect(Policy::none())
            // A proxy would resolve names by itself, past the check of addresses.
            .no_proxy()
            .dns_resolver(Arc::new(Checked { allow_private }))
            .pool_max_idle_per_host(4)
            .pool_idle_timeout(IDLE_MAX)
            .user_agent("Headwater")
            .build()
            .map_err(|_| Error::Setting("TLS for outgoing calls"))?;
        Ok(Self { client, allow_private, places: Arc::new(Semaphore::new(CALLS_MAX)) })
    }

    /// Checks what can be told of `url` without resolving its name: at most 2,048 bytes, https, no
    /// name or password, no address that may not be called. [`Error::Setting`] or
    /// [`Error::Forbidden`].
    pub fn check(&self, url: &str) -> Result<(), Error> {
        self.parse(url).map(|_| ())
    }

    fn parse(&self, text: &str) -> Result<Url, Error> {
        if text.len() > URL_BYTES_MAX {
            return Err(Error::Setting("a URL longer than 2,048 bytes"));
        }
        let url = Url::parse(text).map_err(|_| Error::Setting("not a URL"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Error::Setting("a URL with a name or password in it"));
        }
        let host = url.host_str().ok_or(Error::Setting("a URL without a host"))?;
        let ip = ip_of(host);
        if ip.is_some_and(|ip| !is_allowed(ip, self.allow_private)) {
            return Err(Error::Forbidden("an address of a private network"));
        }
        let is_loopback = ip.map_or(host == "localhost", |ip| ip.is_loopback());
        match url.scheme() {
            "https" => Ok(url),
            "http" if is_loopback && self.allow_private => Ok(url),
            _ => Err(Error::Forbidden("without https")),
        }
    }

    /// Posts, and reads the whole answer, whatever its status, all within `call.wait`.
    pub(crate) async fn post(&self, call: Call<'_>) -> Result<Answer, Error> {
        let url = self.parse(call.url)?;
        let wait = call.wait;
        timeout(wait, self.exchange(url, call)).await.unwrap_or(Err(Error::TimedOut))
    }

    async fn exchange(&self, url: Url, call: Call<'_>) -> Result<Answer, Error> {
        let _place = self.places.acquire().await.map_err(|_| Error::Closed)?;
        let request = self
            .client
            .post(url)
            .headers(header_map(call.headers)?)
            .header(CONTENT_TYPE, HeaderValue::from_static(call.content_type))
            .body(call.body);
        let mut response = request.send().await.map_err(|error| fault(&error))?;
        let body = body_of(&mut response).await?;
        Ok(Answer { status: response.status().as_u16(), body })
    }
}

async fn body_of(response: &mut Response) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| fault(&error))? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(Error::Answer("more than 64 KiB"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Headers by name; secrets may be in them, so none is shown in a trace.
fn header_map(headers: Vec<(&'static str, String)>) -> Result<HeaderMap, Error> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name = HeaderName::from_str(name).map_err(|_| Error::Setting("a header's name"))?;
        let mut value =
            HeaderValue::from_str(&value).map_err(|_| Error::Setting("a header's value"))?;
        value.set_sensitive(true);
        map.insert(name, value);
    }
    Ok(map)
}

/// Of reqwest's error only what kind it is: its text has the URL in it, which may hold a secret.
fn fault(error: &reqwest::Error) -> Error {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if error.is::<Barred>() {
            return Error::Forbidden("a name of a private network");
        }
        source = error.source();
    }
    match error {
        _ if error.is_timeout() => Error::TimedOut,
        _ if error.is_connect() => Error::Unreachable("no connection"),
        _ => Error::Unreachable("the connection broke"),
    }
}

fn ip_of(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// All addresses that `host` stands for and that may be called, at most eight. [`Error::Forbidden`]
/// if there are none but private ones.
pub(crate) async fn resolve(host: &str, allow_private: bool) -> Result<Vec<IpAddr>, Error> {
    let found: Vec<IpAddr> = match ip_of(host) {
        Some(ip) => vec![ip],
        None => lookup_host((host, 0))
            .await
            .map_err(|_| Error::Unreachable("the name is not known"))?
            .map(|address| address.ip())
            .collect(),
    };
    if found.is_empty() {
        return Err(Error::Unreachable("the name is not known"));
    }
    let may: Vec<IpAddr> =
        found.into_iter().filter(|ip| is_allowed(*ip, allow_private)).take(8).collect();
    if may.is_empty() {
        return Err(Error::Forbidden("a name of a private network"));
    }
    Ok(may)
}

/// Resolves names to addresses that may be called. The connection is made to just these, so a name
/// can't answer one thing to the check and another to the call.
struct Checked {
    allow_private: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("a name of a private network")]
struct Barred;

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            match resolve(name.as_str(), allow_private).await {
                Ok(found) => {
                    let found = found.into_iter().map(|ip| SocketAddr::new(ip, 0));
                    Ok(Box::new(found) as Addrs)
                }
                Err(Error::Forbidden(_)) => Err(Box::new(Barred) as _),
                Err(error) => Err(Box::new(error) as _),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Reply, Server, install_tls};

    fn call(url: &str) -> Call<'_> {
        Call {
            url,
            content_type: "application/json",
            headers: Vec::new(),
            body: b"{}".to_vec(),
            wait: Duration::from_secs(2),
        }
    }

    #[test]
    fn refuses_urls_that_lead_inside() {
        install_tls();
        let far = Outbound::new(false).unwrap();
        far.check("https://app.example/hook?x=1").unwrap();
        for url in [
            "http://app.example/",
            "http://127.0.0.1:80/",
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://[::1]/",
            "https://[::ffff:169.254.169.254]/",
            "https://10.0.0.1/",
            "ftp://app.example/",
            "file:///etc/passwd",
            "https://me:word@app.example/",
            "nonsense",
        ] {
            assert!(far.check(url).is_err(), "{url}");
        }
        let near = Outbound::new(true).unwrap();
        for url in ["http://127.0.0.1:9/", "http://localhost/", "https://10.0.0.1/"] {
            near.check(url).unwrap();
        }
        for url in ["http://10.0.0.1/", "https://169.254.169.254/", "https://0.0.0.0/"] {
            assert!(near.check(url).is_err(), "{url}");
        }
    }

    #[tokio::test]
    async fn refuses_a_name_that_leads_inside() {
        install_tls();
        let far = Outbound::new(false).unwrap();
        let found = far.post(call("https://localhost:9/")).await.err().unwrap();
        assert_eq!(found, Error::Forbidden("a name of a private network"));
    }

    #[tokio::test]
    async fn follows_no_redirect_and_reads_no_endless_answer() {
        install_tls();
        let inner = Server::start(vec![Reply::json(200, "{}")]).await;
        let outer = Server::start(vec![
            Reply::json(302, "").with("location", inner.url("/")),
            Reply::json(200, &"x".repeat(ANSWER_BYTES_MAX)),
            Reply::json(200, &"x".repeat(ANSWER_BYTES_MAX + 1)),
            Reply::silence(),
        ])
        .await;
        let near = Outbound::new(true).unwrap();
        let url = outer.url("/");
        assert_eq!(near.post(call(&url)).await.ok().unwrap().status, 302);
        assert_eq!(inner.requests().len(), 0);
        assert_eq!(near.post(call(&url)).await.ok().unwrap().body.len(), ANSWER_BYTES_MAX);
        assert_eq!(near.post(call(&url)).await.err(), Some(Error::Answer("more than 64 KiB")));
        let brief = Call { wait: Duration::from_millis(200), ..call(&url) };
        assert_eq!(near.post(brief).await.err(), Some(Error::TimedOut));
    }
}
