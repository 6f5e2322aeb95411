//! Turns steps for a user into events, or refuses them.

use std::collections::HashMap;

use super::command::{Issue, Refresh, Step, UserCommand};
use super::events::{Ended, UserEvent};
use super::state::{Challenge, IdentityKey, Session, User, UserState};
use super::{
    CHALLENGES_MAX, FACTORS_MAX, IDENTITIES_MAX, ROLES_MAX, SESSIONS_MAX, SIBLINGS_MAX,
    USER_BYTES_MAX,
};
use crate::event::NewEvent;
use crate::ids::{SessionId, StreamId, UserId};
use crate::rejected::{Reason, Rejected};
use crate::time::Timestamp;

/// Whose each way in is, of those that a command could take.
pub type Claimed = HashMap<IdentityKey, UserId>;

/// Decides a command against the user's state and the ways in that others have.
///
/// Errors with what is in the way.
pub fn decide(
    state: &UserState,
    command: &UserCommand,
    claimed: &Claimed,
    now: Timestamp,
) -> Result<Vec<NewEvent>, Rejected> {
    let mut deciding = Deciding {
        id: &command.user,
        state: state.clone(),
        claimed,
        now,
        decided: Vec::with_capacity(command.steps.len()),
        is_over: false,
    };
    for step in &command.steps {
        deciding.step(step)?;
        if deciding.is_over {
            break;
        }
    }
    Ok(deciding.decided)
}

impl UserCommand {
    /// Every way in that the command would give its user.
    pub fn identities(&self) -> impl Iterator<Item = &IdentityKey> {
        let users = self.steps.iter().filter_map(|step| match step {
            Step::Create(user) | Step::Update { user, .. } => Some(user),
            _ => None,
        });
        users.flat_map(|user| user.identities.keys().chain(user.passkeys.keys()))
    }
}

struct Deciding<'a> {
    id: &'a UserId,
    state: UserState,
    claimed: &'a Claimed,
    now: Timestamp,
    decided: Vec<NewEvent>,
    /// Set by an event that ends the command.
    is_over: bool,
}

impl Deciding<'_> {
    fn step(&mut self, step: &Step) -> Result<(), Rejected> {
        if !self.state.is_live() && !matches!(step, Step::Create(_)) {
            return Err(Reason::UserNotFound(self.id.clone()).into());
        }
        match step {
            Step::Create(user) => self.create(user),
            Step::Update { expected, user } => self.update(*expected, user),
            Step::Delete => {
                self.push(UserEvent::Deleted {});
                Ok(())
            }
            Step::StartSession { id, session, is_single } => self.start(id, session, *is_single),
            Step::Refresh(refresh) => self.refresh(refresh),
            Step::Confirm { id, level, method } => self.confirm(id, *level, method),
            Step::EndSessions { only, except, reason } => {
                self.end(only.as_ref(), except.as_ref(), *reason);
                Ok(())
            }
            Step::Issue(issue) => self.issue(issue),
            Step::Answer { purpose, hash } => self.answer(purpose, hash),
        }
    }

    fn push(&mut self, event: UserEvent) {
        let (stream, version) = (StreamId::user(self.id), self.state.version + 1);
        let state = std::mem::take(&mut self.state);
        self.state = state.after(event.clone(), version, self.now);
        self.decided.push(event.into_new(stream, version));
    }

    fn create(&mut self, user: &User) -> Result<(), Rejected> {
        if self.state.version > 0 {
            return Err(Reason::UserExists.into());
        }
        self.check(user)?;
        self.push(UserEvent::Created { user: Box::new(user.clone()) });
        Ok(())
    }

    fn update(&mut self, expected: Option<u64>, user: &User) -> Result<(), Rejected> {
        // Steps before this one have their own part in the version.
        let actual = self.state.version - self.decided.len() as u64;
        if expected.is_some_and(|expected| expected != actual) {
            return Err(Reason::UserChanged { actual }.into());
        }
        self.check(user)?;
        let changed = changed(&self.state.user, user);
        if changed.is_empty() {
            return Ok(());
        }
        let is_disabled = user.disabled && !self.state.user.disabled;
        self.push(UserEvent::Updated { changed, user: Box::new(user.clone()) });
        if is_disabled {
            self.end(None, None, Ended::Disabled);
        }
        Ok(())
    }

    fn check(&self, user: &User) -> Result<(), Rejected> {
        let mut keys = user.identities.keys().chain(user.passkeys.keys());
        if keys.any(|key| self.claimed.get(key).is_some_and(|owner| owner != self.id)) {
            return Err(Reason::IdentityTaken.into());
        }
        within("ways in", user.identities.len(), IDENTITIES_MAX)?;
        within("second factors", user.factors.len(), FACTORS_MAX)?;
        within("passkeys", user.passkeys.len(), FACTORS_MAX)?;
        within("roles", user.roles.len(), ROLES_MAX)?;
        within("groups", user.groups.len(), ROLES_MAX)?;
        let bytes = serde_json::to_vec(user).map_or(0, |json| json.len());
        within("bytes of data", bytes, USER_BYTES_MAX)
    }

    fn start(&mut self, id: &SessionId, new: &Session, is_single: bool) -> Result<(), Rejected> {
        if self.state.user.disabled {
            return Err(Reason::UserDisabled.into());
        }
        if is_single {
            self.end(None, None, Ended::Replaced);
        }
        if self.state.sessions.len() >= SESSIONS_MAX {
            let oldest = self.state.sessions.iter().min_by_key(|(_, one)| one.refreshed_at);
            let oldest = oldest.map(|(id, _)| id.clone());
            self.end(oldest.as_ref(), None, Ended::Replaced);
        }
        let now = self.now;
        let session = Session {
            created_at: now,
            refreshed_at: now,
            authenticated_at: now,
            generation: 1,
            sibling_hashes: Vec::new(),
            previous_hash: None,
            previous_at: None,
            ..new.clone()
        };
        self.push(UserEvent::SessionStarted { session_id: id.clone(), session });
        Ok(())
    }

    fn refresh(&mut self, refresh: &Refresh) -> Result<(), Rejected> {
        let id = &refresh.id;
        let Some(session) = self.state.sessions.get(id) else {
            return Err(Reason::SessionNotFound.into());
        };
        if self.state.user.disabled {
            return Err(Reason::UserDisabled.into());
        }
        let since = |then: Timestamp| (self.now.as_micros() - then.as_micros()) / 1_000_000;
        let is_idle = since(session.refreshed_at) > i64::from(refresh.idle_seconds_max);
        let age_max = i64::from(refresh.age_seconds_max);
        if is_idle || age_max > 0 && since(session.created_at) > age_max {
            self.end(Some(id), None, Ended::Expired);
            self.is_over = true;
            return Ok(());
        }
        let is_good = session.token_hash == refresh.token_hash
            || session.sibling_hashes.contains(&refresh.token_hash);
        let was_good = session.previous_hash.as_ref() == Some(&refresh.token_hash);
        let in_grace =
            session.previous_at.is_some_and(|at| since(at) <= i64::from(refresh.grace_seconds));
        let is_taken = is_good || was_good && in_grace;
        if !is_taken {
            // RFC 9700 §4.14.2: who comes second may be the thief or the owner; nobody keeps it.
            self.end(Some(id), None, Ended::Reused);
            self.is_over = true;
            return Ok(());
        }
        let session = rotated(session, refresh, self.now);
        self.push(UserEvent::SessionRefreshed { session_id: id.clone(), session });
        Ok(())
    }

    fn confirm(&mut self, id: &SessionId, level: u8, method: &str) -> Result<(), Rejected> {
        let Some(session) = self.state.sessions.get(id) else {
            return Err(Reason::SessionNotFound.into());
        };
        let mut session = session.clone();
        session.level = session.level.max(level);
        session.authenticated_at = self.now;
        if !session.methods.iter().any(|known| known == method) {
            session.methods.push(method.to_owned());
        }
        self.push(UserEvent::SessionRefreshed { session_id: id.clone(), session });
        Ok(())
    }

    fn end(&mut self, only: Option<&SessionId>, except: Option<&SessionId>, reason: Ended) {
        let is_meant = |id: &&SessionId| only.is_none_or(|only| only == *id) && except != Some(*id);
        let session_ids: Vec<SessionId> =
            self.state.sessions.keys().filter(is_meant).cloned().collect();
        if !session_ids.is_empty() {
            self.push(UserEvent::SessionsEnded { session_ids, reason });
        }
    }

    fn issue(&mut self, issue: &Issue) -> Result<(), Rejected> {
        let purpose = &issue.purpose;
        if !self.state.challenges.contains_key(purpose) {
            within("open challenges", self.state.challenges.len(), CHALLENGES_MAX)?;
        }
        let expires_at = self.now.as_micros() + i64::from(issue.seconds) * 1_000_000;
        let challenge = Challenge {
            issued_at: self.now,
            expires_at: Timestamp::from_micros(expires_at),
            ..issue.challenge.clone()
        };
        self.push(UserEvent::ChallengeIssued { purpose: purpose.to_string(), challenge });
        Ok(())
    }

    fn answer(&mut self, purpose: &str, hash: &str) -> Result<(), Rejected> {
        let Some(challenge) = self.state.challenges.get(purpose) else {
            return Err(Reason::ChallengeNotFound.into());
        };
        if challenge.expires_at < self.now {
            return Err(Reason::ChallengeNotFound.into());
        }
        let purpose = purpose.to_owned();
        if challenge.hash == hash {
            self.push(UserEvent::ChallengeUsed { purpose });
        } else {
            let tries_left = challenge.tries_left.saturating_sub(1);
            self.push(UserEvent::ChallengeFailed { purpose, tries_left });
            self.is_over = true;
        }
        Ok(())
    }
}

/// The session with its next token. The token that was shown is used up; of two tabs that raced,
/// each keeps the one it got.
fn rotated(session: &Session, refresh: &Refresh, now: Timestamp) -> Session {
    let mut next = session.clone();
    next.sibling_hashes.push(std::mem::replace(&mut next.token_hash, refresh.next_hash.clone()));
    next.sibling_hashes.retain(|hash| *hash != refresh.token_hash);
    if next.sibling_hashes.len() > SIBLINGS_MAX {
        next.sibling_hashes.remove(0);
    }
    if next.previous_hash.as_ref() != Some(&refresh.token_hash) {
        next.previous_hash = Some(refresh.token_hash.clone());
        next.previous_at = Some(now);
    }
    next.refreshed_at = now;
    next.generation += 1;
    next
}

fn within(what: &'static str, count: usize, limit: usize) -> Result<(), Rejected> {
    if count <= limit { Ok(()) } else { Err(Reason::TooMany { what: what.into(), limit }.into()) }
}

/// Names of the parts that differ.
fn changed(before: &User, after: &User) -> Vec<String> {
    let parts = [
        ("profile", before.profile != after.profile),
        ("identities", before.identities != after.identities),
        ("password", before.password != after.password),
        ("factors", before.factors != after.factors),
        ("recoveryCodes", before.recovery_codes != after.recovery_codes),
        ("passkeys", before.passkeys != after.passkeys),
        ("roles", before.roles != after.roles),
        ("groups", before.groups != after.groups),
        ("claims", before.claims != after.claims),
        ("anonymous", before.anonymous != after.anonymous),
        ("disabled", before.disabled != after.disabled),
    ];
    parts.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name.to_owned()).collect()
}
