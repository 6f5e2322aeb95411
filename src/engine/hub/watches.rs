//! The live queries of one shard, by project and collection. One ends with its last subscriber.

use std::collections::HashMap;
use std::rc::Rc;

use domain::{CollectionName, Offset, PartitionId, ProjectId, Recorded};

use super::Target;
use super::change::Told;
use super::eye::Eye;
use super::group::Pushed;
use super::shard::Shard;
use super::sorted::Sorted;
use super::watch::Watch;
use crate::personal::ByCollection;

/// All live queries of one shard.
#[derive(Default)]
pub(super) struct Watches {
    by_project: HashMap<ProjectId, HashMap<String, Sorted<Rc<Watch>>>>,
}

impl Watches {
    /// The one that answers this for whoever sees so; begins it, when there is none. Each call has
    /// its [`Watches::leave`].
    pub(super) fn enter(
        &mut self,
        shard: &Rc<Shard>,
        project: &ProjectId,
        target: &Target,
        eye: &Eye,
    ) -> Rc<Watch> {
        let collections = self.by_project.entry(project.clone()).or_default();
        let watches = collections.entry(target.collection().as_str().to_owned()).or_default();
        let watches = watches.like(eye.filter.as_deref());
        let watch = match watches.iter().find(|watch| watch.is_of(target, eye)) {
            Some(watch) => Rc::clone(watch),
            None => {
                let watch = Rc::new(Watch::new(shard, project, target, eye));
                let task = tokio::task::spawn_local(Rc::clone(&watch).run());
                watch.task.set(Some(task.abort_handle()));
                watches.push(Rc::clone(&watch));
                watch
            }
        };
        watch.users.update(|users| users + 1);
        watch
    }

    /// One user less; ends it after the last.
    pub(super) fn leave(&mut self, watch: &Rc<Watch>) {
        watch.users.update(|users| users - 1);
        if watch.users.get() == 0 {
            self.forget(watch);
            if let Some(task) = watch.task.take() {
                task.abort();
            }
            watch.release();
        }
    }

    /// Lets nobody in any more.
    pub(super) fn forget(&mut self, watch: &Rc<Watch>) {
        let collection = watch.target.collection().as_str();
        let Some(collections) = self.by_project.get_mut(&watch.project) else { return };
        let Some(watches) = collections.get_mut(collection) else { return };
        watches.retain(watch.eye.filter.as_deref(), |one| !Rc::ptr_eq(one, watch));
        if watches.is_empty() {
            collections.remove(collection);
        }
        if collections.is_empty() {
            self.by_project.remove(&watch.project);
        }
    }

    /// Shows an event to all whom it may concern.
    pub(super) fn dispatch(&mut self, (recorded, is_certain): (&Recorded, bool)) -> Pushed {
        let mut pushed = Pushed::default();
        let event = &recorded.event;
        let Some(collections) = self.by_project.get_mut(&event.project) else { return pushed };
        let Some((name, _)) = event.stream.as_document() else { return pushed };
        let Some(watches) = collections.get_mut(name) else { return pushed };
        let told = match Told::of(recorded, is_certain) {
            Ok(told) => told,
            Err(error) => {
                tracing::error!(%error, "event not shown to live queries");
                return pushed;
            }
        };
        watches.show(&told, |watch| {
            let shown = watch.show(recorded, &told.change);
            pushed.frames += shown.frames;
            pushed.fallen += shown.fallen;
        });
        pushed
    }

    /// Those of a project ask the tables anew, if what was ever personal may be in their answers.
    pub(super) fn ask_again(&self, project: &ProjectId, personal: &ByCollection) {
        let Some(collections) = self.by_project.get(project) else { return };
        let concerned = collections.iter().filter(|(name, _)| {
            CollectionName::new(name).is_ok_and(|name| personal.contains_key(&name))
        });
        for watch in concerned.flat_map(|(_, watches)| watches.all()) {
            watch.ask_again();
        }
    }

    /// Whether there is any of this project.
    pub(super) fn has(&self, project: &ProjectId) -> bool {
        self.by_project.contains_key(project)
    }

    /// Puts all of a partition out of the fan-out: `at` is the first event not got.
    pub(super) fn put_out(&self, partition: PartitionId, at: Offset) {
        let all = self.by_project.values().flat_map(HashMap::values).flat_map(Sorted::all);
        for watch in all.filter(|watch| watch.partition.id == partition) {
            watch.put_out(at);
        }
    }
}
