//! One connection to the cluster, shared by everything here: consistency, time limits, and
//! repeats. Every statement that goes through here may be sent twice without harm.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use openssl::ssl::{SslConnector, SslMethod};
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::{OpenSsl010Config, Session};
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::ExecutionError;
use scylla::policies::load_balancing::{
    DefaultPolicy, NodeIdentifier, SingleTargetLoadBalancingPolicy,
};
use scylla::response::query_result::QueryResult;
use scylla::serialize::row::SerializeRow;
use scylla::statement::prepared::PreparedStatement;
use scylla::statement::unprepared::Statement;
use scylla::statement::{Consistency, SerialConsistency};

use super::failure::{corrupt, failed, is_transient};
use super::{Options, Tls, names};
use crate::Error;

/// The pause before the first repeat; it doubles with each.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// How long the schema may take to change; it is synced to disk and spread to all nodes.
const DEFINE_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) struct Client {
    pub(super) session: Session,
    pub(super) keyspace: String,
    pub(super) data_center: Option<String>,
    retries_max: u32,
    retry_pause_max: Duration,
}

impl Client {
    /// Connects; the keyspace need not be there yet.
    pub(super) async fn connect(options: &Options) -> Result<Self, Error> {
        if !names::is_keyspace(&options.keyspace) {
            let reason = format!(
                "{:?} is no keyspace: 1 to 48 lower-case letters, digits and underscores, a \
                 letter first",
                options.keyspace
            );
            return Err(Error::Setup { reason });
        }
        let mut profile = profile(options, options.data_center.as_deref()).into_handle();
        let mut builder = SessionBuilder::new()
            .known_nodes(&options.nodes)
            .connection_timeout(options.connect_timeout)
            .keyspaces_to_fetch([&options.keyspace])
            .fetch_full_schema_metadata(false)
            .refresh_metadata_on_auto_schema_agreement(false)
            .default_execution_profile_handle(profile.clone());
        if let Some(login) = &options.login {
            builder = builder.user(&login.user, &login.password);
        }
        if let Some(tls) = &options.tls {
            builder = builder.tls_context(Some(tls_context(tls)?));
        }
        let session = builder.build().await.map_err(|e| Error::Unavailable {
            what: format!("connecting to {}: {e}", options.nodes.join(", ")),
        })?;
        let data_center = data_center(&session, options.data_center.as_ref())?;
        profile.map_to_another_profile(self::profile(options, data_center.as_deref()));
        Ok(Self {
            session,
            keyspace: options.keyspace.clone(),
            data_center,
            retries_max: options.retries_max,
            retry_pause_max: options.retry_pause_max,
        })
    }

    /// The name of one of our tables, qualified and quoted.
    pub(super) fn qualified(&self, table: &str) -> String {
        format!("\"{}\".\"{table}\"", self.keyspace)
    }

    /// Prepares a statement; `what` says what for.
    pub(super) async fn prepare(&self, what: &str, text: &str) -> Result<PreparedStatement, Error> {
        let prepared = self.repeat(what, move || async move {
            self.session.prepare(text).await.map_err(ExecutionError::from)
        });
        let mut prepared = prepared.await?;
        prepared.set_is_idempotent(true);
        // A table never changes under its name.
        prepared.set_use_cached_result_metadata(true);
        Ok(prepared)
    }

    /// Runs a prepared statement whose answer is one page.
    pub(super) async fn execute(
        &self,
        what: &str,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<QueryResult, Error> {
        let values = &values;
        self.repeat(what, move || self.session.execute_unpaged(statement, values)).await
    }

    /// Runs a statement that is rare enough not to be kept prepared.
    pub(super) async fn query(
        &self,
        what: &str,
        text: &str,
        values: impl SerializeRow,
    ) -> Result<QueryResult, Error> {
        let mut statement = Statement::new(text);
        statement.set_is_idempotent(true);
        let (statement, values) = (&statement, &values);
        self.repeat(what, move || self.session.query_unpaged(statement.clone(), values)).await
    }

    /// Whether a conditional statement was applied. Never repeated here, for a repeat would find
    /// what the first one did.
    pub(super) async fn applied(
        &self,
        what: &str,
        text: &str,
        values: impl SerializeRow,
    ) -> Result<bool, Error> {
        let answer = self.session.query_unpaged(text, values).await;
        let answer = answer.map_err(|e| failed(what, &e))?;
        let answer = answer.into_rows_result().map_err(|e| corrupt(what, e))?;
        // What follows `[applied]` differs between the databases.
        let row = answer.maybe_first_row::<scylla::value::Row>().map_err(|e| corrupt(what, e))?;
        let applied = row.and_then(|row| row.columns.into_iter().next().flatten());
        applied.and_then(|value| value.as_boolean()).ok_or_else(|| corrupt(what, "no [applied]"))
    }

    /// Changes the schema, and waits until all nodes agree on it. The statement must be one that
    /// may run twice.
    pub(super) async fn define(&self, text: &str) -> Result<(), Error> {
        let mut statement = Statement::new(text);
        statement.set_is_idempotent(true);
        statement.set_request_timeout(Some(DEFINE_TIMEOUT));
        // Always by the same node, for two that change the schema at once may disagree.
        let nodes = self.session.get_cluster_state();
        let nodes = nodes.get_nodes_info().iter().filter(|node| node.is_connected());
        if let Some(node) = nodes.map(|node| node.host_id).min() {
            let node = NodeIdentifier::HostId(node);
            let policy = SingleTargetLoadBalancingPolicy::new(node, None);
            statement.set_load_balancing_policy(Some(policy));
        }
        let statement = &statement;
        let defined = self.repeat("changing the schema", move || {
            self.session.query_unpaged(statement.clone(), &[])
        });
        defined.await.map(drop)
    }

    /// Runs `attempt` until it passes, fails for good, or has failed too often.
    pub(super) async fn repeat<T, F>(&self, what: &str, attempt: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, ExecutionError>>,
    {
        let mut pause = PAUSE_MIN;
        for _ in 0..self.retries_max {
            match attempt().await {
                Ok(done) => return Ok(done),
                Err(error) if is_transient(&error) => {
                    tracing::debug!(what, %error, "the read model's database fails; trying again");
                }
                Err(error) => return Err(failed(what, &error)),
            }
            // Jitter, so that those who failed together do not come back together.
            tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            pause = (pause * 2).min(self.retry_pause_max);
        }
        attempt().await.map_err(|error| failed(what, &error))
    }
}

/// Verifies who answers; the driver adds that the certificate must be of the node's address.
fn tls_context(tls: &Tls) -> Result<OpenSsl010Config, Error> {
    let trusting = || {
        let mut builder = SslConnector::builder(SslMethod::tls_client())?;
        // Instead of those that the system trusts.
        builder.set_cert_store(openssl::x509::store::X509StoreBuilder::new()?.build());
        builder.set_ca_file(&tls.ca_file)?;
        Ok(builder)
    };
    let builder = trusting().map_err(|e: openssl::error::ErrorStack| Error::Setup {
        reason: format!("certificates in {}: {e}", tls.ca_file.display()),
    })?;
    Ok(OpenSsl010Config::new(builder))
}

fn profile(options: &Options, data_center: Option<&str>) -> ExecutionProfile {
    let mut nodes = DefaultPolicy::builder().token_aware(true);
    if let Some(data_center) = data_center {
        nodes = nodes.prefer_datacenter(data_center.to_owned());
    }
    ExecutionProfile::builder()
        .consistency(Consistency::LocalQuorum)
        .serial_consistency(Some(SerialConsistency::LocalSerial))
        .request_timeout(Some(options.request_timeout))
        .load_balancing_policy(nodes.build())
        .build()
}

/// The data centre that was named, which must be there, or that of all nodes, where there is but
/// one: `LOCAL_QUORUM` must mean the same to everybody.
fn data_center(session: &Session, named: Option<&String>) -> Result<Option<String>, Error> {
    let state = session.get_cluster_state();
    let names = state.get_nodes_info().iter().filter_map(|node| node.datacenter.clone());
    let mut names: BTreeSet<String> = names.collect();
    let list = || names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    match named {
        Some(named) if names.contains(named) => Ok(Some(named.clone())),
        Some(named) => {
            let reason = format!("there is no data centre {named}, but {}", list());
            Err(Error::Setup { reason })
        }
        None if names.len() > 1 => {
            Err(Error::Setup { reason: format!("several data centres, name one: {}", list()) })
        }
        None => Ok(names.pop_first()),
    }
}
