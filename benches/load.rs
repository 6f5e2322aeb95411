//! A closed loop: callers that each wait for the answer before they go on.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// The longest that one call may take. One that never ends must not stop the bench.
const CALL_MAX: Duration = Duration::from_secs(30);

/// Calls one thing again and again.
pub trait Caller: Send + 'static {
    /// Calls once and waits for the answer; how much was done by it.
    fn call(&mut self) -> impl Future<Output = Result<usize>> + Send;
}

/// How long to call.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// What is done in it does not count.
    pub warm_up: Duration,
    /// What counts.
    pub run: Duration,
}

/// What was measured.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// Things done a second.
    pub rate: f64,
    /// Half of the calls took less.
    pub p50: Duration,
    /// One of a hundred calls took more.
    pub p99: Duration,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p50, p99) = (millis(self.p50), millis(self.p99));
        write!(f, "{:.0}/s, p50 {p50:.2} ms, p99 {p99:.2} ms", self.rate)
    }
}

/// Milliseconds with what is behind the point.
pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Lets all callers call side by side.
///
/// Errors: the first one of a call; then the others are given up.
pub async fn closed_loop<C: Caller>(callers: Vec<C>, span: Span) -> Result<Figures> {
    let counts_from = Instant::now() + span.warm_up;
    let until = counts_from + span.run;
    let mut running: JoinSet<Result<_>> = JoinSet::new();
    for mut caller in callers {
        running.spawn(async move {
            let (mut done, mut took) = (0, Vec::new());
            loop {
                let began = Instant::now();
                let count = timeout(CALL_MAX, caller.call()).await.context("no answer")??;
                let ended = Instant::now();
                if ended > until {
                    return Ok((done, took));
                }
                if ended > counts_from {
                    done += count;
                    took.push(ended - began);
                }
            }
        });
    }
    let (mut done, mut took) = (0, Vec::new());
    while let Some(ended) = running.join_next().await {
        let (count, more) = ended??;
        done += count;
        took.extend(more);
    }
    took.sort_unstable();
    let part = |part: usize| took.get(took.len() * part / 100).copied().context("nothing was done");
    let rate = done as f64 / span.run.as_secs_f64();
    Ok(Figures { rate, p50: part(50)?, p99: part(99)? })
}
