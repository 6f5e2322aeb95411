//! Carries commands to other nodes by HTTP/1.1, on connections that stay open. Says exactly
//! whether a command may have arrived: only one that did not may be sent again.

use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use bytes::Bytes;
use engine::{PeerError, Peers};
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::redirect::Policy;
use tokio::runtime::Handle;

const CONNECT_WAIT_MAX: Duration = Duration::from_secs(1);
/// More than the other node waits itself, so that its answer is not missed.
const ANSWER_GRACE: Duration = Duration::from_millis(500);
/// Longer than the pause between a busy node's commands, shorter than its server's keep-alive.
const IDLE_MAX: Duration = Duration::from_secs(20);

/// The way to the other nodes.
pub(crate) struct HttpPeers {
    http: reqwest::Client,
    authorization: HeaderValue,
    /// Connections live here, whichever thread asks.
    runtime: Handle,
}

impl HttpPeers {
    /// For a node that was given this admin key.
    pub(crate) fn new(admin_key: &str, runtime: Handle) -> anyhow::Result<Self> {
        // Errors only when another one was installed, which will do as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_WAIT_MAX)
            .pool_idle_timeout(IDLE_MAX)
            .tcp_nodelay(true)
            .no_proxy()
            .redirect(Policy::none())
            .build()
            .context("the client for other nodes")?;
        let token = format!("Bearer {}", api::peer::token(admin_key));
        let mut authorization = HeaderValue::from_str(&token)?;
        authorization.set_sensitive(true);
        Ok(Self { http, authorization, runtime })
    }
}

#[async_trait]
impl Peers for HttpPeers {
    async fn forward(
        &self,
        address: &str,
        command: Bytes,
        wait_max: Duration,
    ) -> Result<Bytes, PeerError> {
        let request = self
            .http
            .post(format!("{address}{}", api::peer::PATH))
            .header(AUTHORIZATION, self.authorization.clone())
            .header(CONTENT_TYPE, api::peer::MEDIA_TYPE)
            .timeout(wait_max + ANSWER_GRACE)
            .body(command);
        let sent = self.runtime.spawn(async move {
            let response = request.send().await.map_err(told)?;
            let status = response.status();
            let not_taken = response.headers().contains_key(api::peer::NOT_TAKEN);
            let body = response.bytes().await.map_err(|error| lost(&error))?;
            match status {
                StatusCode::OK => Ok(body),
                _ if not_taken => {
                    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
                        tracing::warn!(%status, "another node does not know this one: all nodes \
                            need the same admin key");
                    }
                    Err(PeerError::Unreached(format!("the node answered {status}")))
                }
                // Whatever answered, the command may have passed it.
                _ => Err(PeerError::Lost(format!("{status} in place of the node's answer"))),
            }
        });
        sent.await.map_err(|error| PeerError::Lost(error.to_string()))?
    }
}

fn told(error: reqwest::Error) -> PeerError {
    match error.is_connect() {
        true => PeerError::Unreached(error.to_string()),
        false => lost(&error),
    }
}

fn lost(error: &reqwest::Error) -> PeerError {
    PeerError::Lost(error.to_string())
}
