//! What a user may do to its own account: by a session of this server's, not in another's name, and
//! what opens the account to others only shortly after it showed who it is.

use std::time::Duration;

use actix_web::rt;
use domain::users::{Session, UserState};
use domain::{Actor, ProjectId, SessionId, UserId};
use tokio::sync::Semaphore;

use crate::call::Call;
use crate::caller::Scope;
use crate::error::{Code, Problem};
use crate::people::now;

/// How long a user is taken for the one who has just shown who it is, in seconds.
const RECENT_SECONDS: i64 = 600;
/// Changes of a user made at the same time by others that are tried again.
const TRIES_MAX: u32 = 8;
/// The longest pause before the first of them; each further one may be twice as long.
const PAUSE_MAX_FIRST: Duration = Duration::from_millis(5);
/// What is done after the answer, at a time.
const LATER_MAX: usize = 256;

static LATER: Semaphore = Semaphore::const_new(LATER_MAX);

/// The user who asks, as it is now.
pub(crate) struct Own {
    /// Who asks.
    pub(crate) scope: Scope,
    /// Which user.
    pub(crate) id: UserId,
    /// Which of its sessions.
    pub(crate) session_id: SessionId,
}

/// A look at the user who asks.
pub(crate) struct Look {
    /// The user.
    pub(crate) state: UserState,
    /// The session that asks.
    pub(crate) session: Session,
}

impl Own {
    /// The project.
    pub(crate) fn project(&self) -> &ProjectId {
        &self.scope.project
    }

    /// As events name it.
    pub(crate) fn actor(&self) -> Actor {
        self.scope.principal.actor()
    }

    /// A name of this user's for limits.
    pub(crate) fn limit_name(&self, what: &str) -> String {
        format!("{what} {}", self.id)
    }
}

impl Look {
    /// Whether the user has shown who it is within the last ten minutes.
    pub(crate) fn is_recent(&self) -> bool {
        let since = now().as_micros().saturating_sub(self.session.authenticated_at.as_micros());
        since <= RECENT_SECONDS * 1_000_000
    }

    /// Errors with `reauthentication-needed` when that is longer ago.
    pub(crate) fn recent(&self) -> Result<(), Problem> {
        let detail = "show again who you are, at /auth/reauthenticate or by signing in";
        self.is_recent()
            .then_some(())
            .ok_or_else(|| Problem::new(Code::ReauthenticationNeeded, detail))
    }

    /// Whether the user has a second factor.
    pub(crate) fn has_factor(&self) -> bool {
        self.state.user.factors.values().any(|factor| factor.confirmed)
    }

    /// Errors with `second-factor-needed` for a session without, of a user who has one.
    pub(crate) fn second_factor(&self) -> Result<(), Problem> {
        match self.has_factor() && self.session.level < 2 {
            true => Err(Problem::new(Code::SecondFactorNeeded, "show your second factor first")),
            false => Ok(()),
        }
    }
}

impl Look {
    /// Whether the user may be given another way in now, by which it can come back for ever.
    /// Somebody who never said who it is has nothing else to show.
    ///
    /// Errors: `second-factor-needed`, `reauthentication-needed`.
    pub(crate) fn may_add_a_way(&self) -> Result<(), Problem> {
        self.second_factor()?;
        if self.state.user.anonymous { Ok(()) } else { self.recent() }
    }
}

/// Does something again when somebody else has changed the user meanwhile.
///
/// Errors as it does; with `user-changed` when that goes on.
pub(crate) async fn unless_changed<T>(
    work: impl AsyncFn() -> Result<T, Problem>,
) -> Result<T, Problem> {
    let mut last = None;
    for attempt in 0..TRIES_MAX {
        match work().await {
            Err(problem) if problem.code() == Code::UserChanged => last = Some(problem),
            outcome => return outcome,
        }
        // Whoever is farther from the writer would else always come second.
        let pause_max = (PAUSE_MAX_FIRST * 2u32.pow(attempt)).as_micros();
        let pause = fastrand::u64(..=u64::try_from(pause_max).unwrap_or(u64::MAX));
        tokio::time::sleep(Duration::from_micros(pause)).await;
    }
    let changed = || Problem::new(Code::UserChanged, "others change this user all the time");
    Err(last.unwrap_or_else(changed))
}

impl Call {
    /// The user who asks about its own account.
    ///
    /// Errors: `unauthorized` for anybody else, and `forbidden` for a token of another issuer's and
    /// for somebody who acts in the user's name.
    pub(crate) async fn own(&self) -> Result<Own, Problem> {
        let scope = self.scope().await?;
        let auth = scope.user()?;
        if auth.impersonator.is_some() {
            return Err(Problem::new(Code::Forbidden, "only the user itself may do this"));
        }
        let foreign = || Problem::new(Code::Forbidden, "this takes a session of this server");
        let session_id = auth.session.clone().ok_or_else(foreign)?;
        let id = auth.uid.clone();
        Ok(Own { scope, id, session_id })
    }

    /// The user who asks and its session, as they are now.
    ///
    /// Errors with `session-ended`.
    pub(crate) async fn look(&self, own: &Own) -> Result<Look, Problem> {
        let ended = || Problem::new(Code::SessionEnded, "sign in again");
        let state = self.app.engine.user(own.project(), &own.id).await?.ok_or_else(ended)?;
        let session = state.sessions.get(&own.session_id).cloned().ok_or_else(ended)?;
        if session.impersonator.is_some() {
            return Err(Problem::new(Code::Forbidden, "only the user itself may do this"));
        }
        Ok(Look { state, session })
    }

    /// Does the rest of a request after its answer, so that the time it takes tells nothing.
    ///
    /// Errors with `busy` when too much is waiting.
    pub(crate) fn later<F>(self, work: impl FnOnce(Self) -> F) -> Result<(), Problem>
    where
        F: Future<Output = Result<(), Problem>> + 'static,
    {
        let permit = LATER.try_acquire().map_err(|_| Problem::new(Code::Busy, "try again"))?;
        let route = self.route.pattern;
        let work = work(self);
        rt::spawn(async move {
            let _permit = permit;
            if let Err(problem) = work.await {
                let code = problem.code().entry().name;
                let error = problem.log_text();
                match problem.status() >= 500 {
                    true => {
                        tracing::warn!(http.route = route, error.code = code, error, "not sent")
                    }
                    false => tracing::debug!(http.route = route, error.code = code, "not sent"),
                }
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use domain::Timestamp;
    use domain::users::Factor;

    use super::*;

    fn look(seconds_ago: i64, level: u8, confirmed: bool) -> Look {
        let then = Timestamp::from_micros(now().as_micros() - seconds_ago * 1_000_000);
        let session = Session {
            created_at: then,
            refreshed_at: now(),
            authenticated_at: then,
            generation: 1,
            token_hash: String::new(),
            sibling_hashes: Vec::new(),
            previous_hash: None,
            previous_at: None,
            level,
            methods: Vec::new(),
            client: None,
            impersonator: None,
        };
        let mut state = UserState::default();
        let factor = Factor {
            name: String::new(),
            secret: String::new(),
            confirmed,
            last_step: 0,
            added_at: then,
        };
        state.user.factors.insert("f".to_owned(), factor);
        Look { state, session }
    }

    #[test]
    fn ten_minutes_are_recent() {
        assert!(look(595, 1, false).recent().is_ok());
        let late = look(601, 1, false).recent().map_err(|problem| problem.code());
        assert_eq!(late, Err(Code::ReauthenticationNeeded));
    }

    #[test]
    fn a_factor_counts_once_it_was_shown() {
        assert!(look(0, 1, false).second_factor().is_ok());
        assert!(look(0, 2, true).second_factor().is_ok());
        let low = look(0, 1, true).second_factor().map_err(|problem| problem.code());
        assert_eq!(low, Err(Code::SecondFactorNeeded));
    }
}
