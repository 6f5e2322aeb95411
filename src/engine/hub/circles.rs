//! Members of a live query: each circle of them shares each frame. A member gets all of the news of
//! a position at once, or falls out.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use domain::{Offset, Position};
use uuid::Uuid;

use super::Encoder;
use super::change::Change;
use super::group::{Member, Pushed};
use super::live::News;

/// All members.
#[derive(Default)]
pub(super) struct Circles(Vec<Circle>);

struct Circle {
    encoder: Rc<dyn Encoder>,
    members: Vec<Member>,
}

impl Circles {
    pub(super) fn enter(&mut self, encoder: &Rc<dyn Encoder>, member: Member) {
        match self.0.iter_mut().find(|circle| circle.encoder.name() == encoder.name()) {
            Some(circle) => circle.members.push(member),
            None => {
                self.0.push(Circle { encoder: Rc::clone(encoder), members: vec![member] });
            }
        }
    }

    pub(super) fn leave(&mut self, member: u64) {
        for circle in &mut self.0 {
            circle.members.retain(|one| one.id != member);
        }
        self.0.retain(|circle| !circle.members.is_empty());
    }

    /// Tells all that they have fallen out.
    pub(super) fn fall(self, at: Offset) {
        for member in self.0.into_iter().flat_map(|circle| circle.members) {
            member.fall(at);
        }
    }

    /// Queues the news to all; they hold what was before `before`. Nobody gets more at once than
    /// `bytes_max`.
    pub(super) fn push(
        &mut self,
        news: &News,
        at: (Position, Option<Uuid>),
        before: Offset,
        bytes_max: usize,
    ) -> Pushed {
        let mut pushed = Pushed::default();
        for circle in &mut self.0 {
            let frame = frame(&*circle.encoder, news, at);
            circle.members.retain(|member| {
                let kept = frame.len() <= bytes_max && member.outgoing.offer(&frame).is_ok();
                if kept {
                    pushed.frames += 1;
                } else {
                    pushed.fallen += 1;
                    member.fall(before);
                }
                kept
            });
        }
        self.0.retain(|circle| !circle.members.is_empty());
        pushed
    }
}

/// The news in one piece: a queue takes all of it or nothing.
pub(super) fn frame(
    encoder: &dyn Encoder,
    news: &News,
    (position, event): (Position, Option<Uuid>),
) -> Bytes {
    let changes = match news {
        News::Count(count) => return encoder.count(*count, position),
        News::Changes(changes) => changes,
    };
    let mut joined = BytesMut::new();
    for (index, (kind, document)) in changes.iter().enumerate() {
        let (kind, document) = (*kind, document.clone());
        let more = index + 1 < changes.len();
        let frame = encoder.change(&Change { kind, document, position, event, more });
        if changes.len() == 1 {
            return frame;
        }
        joined.extend_from_slice(&frame);
    }
    joined.freeze()
}
