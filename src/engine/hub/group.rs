//! Who wants what: subscribers by project and subject, so that an event finds its subscribers by
//! two look-ups and its frame is made once for all who share a protocol.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use bytes::Bytes;
use domain::{Offset, ProjectId, Recorded};
use query::Filter;
use tokio::sync::Notify;

use super::change::{Change, Seen, Told};
use super::eye::Eye;
use super::sorted::Sorted;
use super::{Encoder, Outgoing};
use crate::access::Loaded;

/// A subscriber that takes part in the fan-out.
pub(super) struct Member {
    pub(super) id: u64,
    /// Earlier events it has already.
    pub(super) from: Offset,
    pub(super) outgoing: Rc<Outgoing>,
    pub(super) fallen: Rc<Fallen>,
}

/// How a subscriber learns that it was put out of the fan-out.
#[derive(Default)]
pub(super) struct Fallen {
    /// The first event that it did not get.
    pub(super) at: Cell<Option<Offset>>,
    pub(super) notify: Notify,
}

impl Member {
    /// Tells it that it was put out of the fan-out: `at` is the first event that it did not get.
    pub(super) fn fall(&self, at: Offset) {
        self.fallen.at.set(Some(at));
        self.fallen.notify.notify_one();
    }
}

struct Audience {
    encoder: Rc<dyn Encoder>,
    eye: Eye,
    members: Vec<Member>,
}

/// All subscribers of one shard.
#[derive(Default)]
pub(super) struct Groups {
    by_project: HashMap<ProjectId, HashMap<String, Sorted<Audience>>>,
}

/// What one event came to.
#[derive(Default)]
pub(super) struct Pushed {
    pub(super) frames: usize,
    pub(super) fallen: usize,
}

impl Groups {
    pub(super) fn join(
        &mut self,
        project: &ProjectId,
        subject: String,
        (encoder, eye): (&Rc<dyn Encoder>, &Eye),
        member: Member,
    ) {
        let subjects = self.by_project.entry(project.clone()).or_default();
        let audiences = subjects.entry(subject).or_default().like(eye.filter.as_deref());
        let is_same =
            |one: &&mut Audience| one.encoder.name() == encoder.name() && one.eye.sees_as(eye);
        match audiences.iter_mut().find(is_same) {
            Some(audience) => audience.members.push(member),
            None => audiences.push(Audience {
                encoder: Rc::clone(encoder),
                eye: eye.clone(),
                members: vec![member],
            }),
        }
    }

    pub(super) fn leave(
        &mut self,
        project: &ProjectId,
        subject: &str,
        filter: Option<&Filter>,
        member: u64,
    ) {
        let Some(subjects) = self.by_project.get_mut(project) else { return };
        let Some(audiences) = subjects.get_mut(subject) else { return };
        audiences.retain(filter, |audience| {
            audience.members.retain(|one| one.id != member);
            !audience.members.is_empty()
        });
        if audiences.is_empty() {
            subjects.remove(subject);
        }
        if subjects.is_empty() {
            self.by_project.remove(project);
        }
    }

    /// Puts everybody of these projects out of the fan-out: `at` is the first event not got.
    pub(super) fn put_out(&mut self, which: impl Fn(&ProjectId) -> bool, at: Offset) {
        let of = self.by_project.iter_mut().filter(|(project, _)| which(project));
        let of = of.flat_map(|(_, subjects)| subjects.values_mut());
        for audience in of.flat_map(Sorted::all_mut) {
            for member in audience.members.drain(..) {
                member.fall(at.max(member.from));
            }
        }
    }

    /// Queues the event to everybody who wants it.
    pub(super) fn dispatch(&mut self, (recorded, is_certain): (&Recorded, bool)) -> Pushed {
        let mut pushed = Pushed::default();
        let event = &recorded.event;
        let Some(subjects) = self.by_project.get_mut(&event.project) else { return pushed };
        let stream = event.stream.as_str();
        let Some((collection, _)) = stream.rsplit_once('/') else { return pushed };
        let mut told = None;
        for subject in [collection, stream] {
            let Some(audiences) = subjects.get_mut(subject) else { continue };
            let told = told.get_or_insert_with(|| Told::of(recorded, is_certain));
            let told = match told {
                Ok(told) => told,
                Err(error) => {
                    tracing::error!(%error, "event not shown to subscribers");
                    return pushed;
                }
            };
            audiences.show(told, |audience| audience.show(told, &mut pushed));
        }
        pushed
    }
}

impl Audience {
    /// Shows it the change, as far as it may see it.
    fn show(&mut self, told: &Told, pushed: &mut Pushed) {
        let offset = told.change.position.offset;
        if self.eye.sees_all() {
            return self.push(&self.encoder.change(&told.change), offset, pushed);
        }
        match Change::seen_by(&self.eye, told, &Loaded::default()) {
            Seen::Change(change) => self.push(&self.encoder.change(&change), offset, pushed),
            Seen::Nothing => {}
            // There is no waiting in here: each looks for itself, from this event on.
            Seen::Needs(_) => self.put_out(offset),
        }
    }

    fn put_out(&mut self, offset: Offset) {
        self.members.retain(|member| {
            let is_ahead = offset < member.from;
            if !is_ahead {
                member.fall(offset);
            }
            is_ahead
        });
    }

    fn push(&mut self, frame: &Bytes, offset: Offset, pushed: &mut Pushed) {
        self.members.retain(|member| {
            if offset < member.from {
                return true;
            }
            let kept = member.outgoing.offer(frame).is_ok();
            if kept {
                pushed.frames += 1;
            } else {
                pushed.fallen += 1;
                member.fall(offset);
            }
            kept
        });
    }
}
