//! The documents consumer under a real engine on memory backends: what it shows, and what is left
//! after a crash at any point between the log and the tables.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use domain::command::{Body, Command};
use domain::documents::Op;
use domain::projects::{ChannelPattern, KeyKind, People, ProjectCommand};
use domain::writers::TookOver;
use domain::{KeyId, PartitionId, Position, Timestamp};
use engine::access::Viewer;
use engine::queries::Wanted;
use engine::{AsOf, Engine};
use readmodel::{Batch, SpaceId, Store as _};

use crate::testing::{Disk, collection, commit, context, create_project, id, project, write};

fn json(n: u64) -> Bytes {
    Bytes::from(format!("{{\"n\":{n}}}"))
}

/// A document's version and data, if it is there.
type Seen = Option<(u64, String)>;

async fn read(engine: &Engine, name: &str, as_of: Option<AsOf>) -> Seen {
    let found = engine.document(&project(), &collection(), &id(name), as_of).await.unwrap();
    found.map(|document| (document.version, String::from_utf8(document.data.to_vec()).unwrap()))
}

async fn list(
    engine: &Engine,
    after: Option<&domain::DocumentId>,
    limit: usize,
    as_of: Option<AsOf>,
) -> engine::queries::Page {
    let (project, collection, viewer) = (project(), collection(), Viewer::default());
    let wanted =
        Wanted { project: &project, collection: &collection, viewer: &viewer, filter: None, as_of };
    engine.documents(wanted, after, limit).await.unwrap()
}

/// The live tables and a replay from offset 0 hold the same rows.
async fn assert_replay_is_equal(engine: &Engine) {
    for rebuilt in engine.rebuild("documents", true, &|_| ()).await.unwrap() {
        assert!(rebuilt.is_equal(), "partition {}", rebuilt.partition);
        assert!(rebuilt.digest.is_some());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_is_read_back_at_once() {
    let engine = Disk::new().start().await;
    create_project(&engine).await;
    let made = commit(&engine, vec![write("a", Op::Create(json(1)))], None).await.unwrap();
    assert_eq!(read(&engine, "a", None).await, Some((1, "{\"n\":1}".to_owned())));
    engine.wait_for(&project(), made.events[0].position).await.unwrap();
    let ahead = Position { offset: 99, ..made.events[0].position };
    assert!(matches!(
        engine.wait_for(&project(), ahead).await,
        Err(engine::Error::StaleRead { .. })
    ));
    engine.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_past_can_be_read_by_position_and_by_time() {
    let engine = Disk::new().start().await;
    create_project(&engine).await;
    let mut seen: Vec<(Position, Timestamp, Seen)> = Vec::new();
    let mut random = Random(7);
    for n in 0..60 {
        let op = match random.below(4) {
            0 => Op::Delete,
            1 => Op::Patch(json(n)),
            _ => Op::Replace(json(n)),
        };
        if let Ok(committed) = commit(&engine, vec![write("a", op)], None).await {
            let event = &committed.events[0];
            seen.push((event.position, event.event.time, read(&engine, "a", None).await));
        }
        tokio::time::sleep(std::time::Duration::from_micros(50)).await;
    }
    for (position, time, then) in &seen {
        assert_eq!(&read(&engine, "a", Some(AsOf::Position(*position))).await, then);
        // Several events may share a microsecond: the last of them is what was seen at that time.
        let last = seen.iter().rev().find(|(_, other, _)| other == time).unwrap();
        assert_eq!(&read(&engine, "a", Some(AsOf::Time(*time))).await, &last.2);
        let page = list(&engine, None, 10, Some(AsOf::Position(*position))).await;
        assert_eq!(
            page.documents.first().map(|document| document.version),
            then.as_ref().map(|t| t.0)
        );
    }
    let before = Position { offset: 0, ..seen[0].0 };
    assert_eq!(read(&engine, "a", Some(AsOf::Position(before))).await, None);
    assert_replay_is_equal(&engine).await;
    engine.stop().await.unwrap();
}

/// Where rows are stored before their checkpoint, a crash in between leaves them ahead of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_the_tables_have_already_change_nothing() {
    let disk = Disk::new();
    let engine = disk.start().await;
    create_project(&engine).await;
    let rename = |name: &str| ProjectCommand::Update { name: name.to_owned() };
    for name in ["a", "b", "c"] {
        commit(&engine, vec![write(name, Op::Create(json(1)))], None).await.unwrap();
        let body = Body::Project(rename(name));
        engine.submit(Command { context: context(None), body }).await.unwrap();
    }
    let page = engine.events(&project(), None, 100, &[]).await.unwrap();
    engine.stop().await.unwrap();

    let store = readmodel::memory::Store::default();
    let id = SpaceId { consumer: "documents", partition: PartitionId(0), generation: 1 };
    let space = store.open(&id).await.unwrap();
    let mut digests = Vec::new();
    for from in [0, 0, 2, 5] {
        let mut projection = super::make();
        projection.load(&*space).await.unwrap();
        let mut writes = Vec::new();
        projection.apply(&page.events[from..], &*space, &mut writes).await.unwrap();
        space.commit(Batch { writes, checkpoint: 0 }).await.unwrap();
        digests.push(space.digest().await.unwrap());
    }
    assert!(digests.iter().all(|digest| *digest == digests[0]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_is_in_order_and_pages_meet() {
    let engine = Disk::new().start().await;
    create_project(&engine).await;
    for n in 0..25 {
        let name = format!("d{:02}", (n * 7) % 25);
        commit(&engine, vec![write(&name, Op::Create(json(n)))], None).await.unwrap();
    }
    commit(&engine, vec![write("d03", Op::Delete)], None).await.unwrap();
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let page = list(&engine, after.as_ref(), 4, None).await;
        names.extend(page.documents.iter().map(|document| document.id.to_string()));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
        assert_eq!(page.documents.len(), 4);
    }
    let expected: Vec<String> = (0..25).filter(|n| *n != 3).map(|n| format!("d{n:02}")).collect();
    assert_eq!(names, expected);
    engine.stop().await.unwrap();
}

/// Whatever the code writes fits the schema that is published for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_written_fits_its_published_schema() {
    let engine = Disk::new().start().await;
    create_project(&engine).await;
    for command in every_project_command() {
        let body = Body::Project(command);
        engine.submit(Command { context: context(None), body }).await.unwrap();
    }
    let restore = Op::Restore { version: 1, data: json(1) };
    for op in [
        Op::Create(json(1)),
        Op::Patch(json(2)),
        Op::Replace(json(3)),
        restore.clone(),
        Op::Delete,
        restore,
    ] {
        commit(&engine, vec![write("a", op), write("b", Op::Replace(json(4)))], None)
            .await
            .unwrap();
    }
    super::people_tests::everything_happens_to(&engine).await;
    let delete = Body::Project(ProjectCommand::Delete);
    engine.submit(Command { context: context(None), body: delete }).await.unwrap();

    let page = engine.events(&project(), None, 1000, &[]).await.unwrap();
    let mut seen = BTreeSet::new();
    for recorded in &page.events {
        let (kind, version) = (recorded.event.kind.as_str(), recorded.event.schema_version);
        let file =
            format!("{}/../schemas/events/{kind}/v{version}.json", env!("CARGO_MANIFEST_DIR"));
        let schema = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let data = serde_json::from_slice(&recorded.event.data).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let errors: Vec<String> = validator.iter_errors(&data).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{file}: {errors:?}");
        seen.insert(recorded.event.kind.to_string());
    }
    let published = domain::schema::published();
    // The log itself writes that one, and hands it to nobody.
    let events = published.iter().filter(|one| one.kind != TookOver::event_type());
    let published: BTreeSet<String> = events.map(|one| one.kind.to_string()).collect();
    assert_eq!(seen, published, "a published type that nothing here writes");
    engine.stop().await.unwrap();
}

fn every_project_command() -> Vec<ProjectCommand> {
    let key_id = KeyId::new("k1").unwrap();
    let config = r#"{"rules":{"read":"true"},"indexes":[{"fields":[{"field":"a"}]}]}"#;
    vec![
        ProjectCommand::Update { name: "Q".to_owned() },
        ProjectCommand::CreateKey {
            key_id: key_id.clone(),
            kind: KeyKind::Secret,
            name: "ci".to_owned(),
            hash: "00".repeat(32),
            hint: "abcd".to_owned(),
            scopes: Vec::new(),
        },
        ProjectCommand::RotateKey {
            key_id: key_id.clone(),
            hash: "11".repeat(32),
            hint: "efgh".to_owned(),
            grace_seconds: 60,
        },
        ProjectCommand::NoteKeyUse { key_id: key_id.clone() },
        ProjectCommand::RevokeKey { key_id },
        ProjectCommand::ConfigureSignIn { config: Box::default() },
        ProjectCommand::ConfigurePeople { people: People::default() },
        signing_key("k1", true),
        signing_key("k2", false),
        ProjectCommand::RemoveSigningKey { id: "k1".to_owned() },
        ProjectCommand::ConfigureCollection {
            collection: collection(),
            config: serde_json::from_str(config).unwrap(),
        },
        ProjectCommand::DeleteCollection { collection: collection() },
        ProjectCommand::ConfigureChannel {
            channel: ChannelPattern::new("room.*").unwrap(),
            config: serde_json::from_str(r#"{"rules":{"join":"true"},"history":null}"#).unwrap(),
        },
        ProjectCommand::DeleteChannel { channel: ChannelPattern::new("room.*").unwrap() },
    ]
}

fn signing_key(id: &str, is_first: bool) -> ProjectCommand {
    let public = serde_json::Map::from_iter([("kty".to_owned(), "OKP".into())]);
    let private = "sealed".to_owned();
    ProjectCommand::AddSigningKey { id: id.to_owned(), public, private, is_first }
}

/// Kills the engine at every commit of the tables, restarts it on what is left, and compares with
/// what was acknowledged and with a replay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_commit_loses_nothing() {
    for fuse in 0..24 {
        let mut disk = Disk::hasty();
        let engine = disk.start().await;
        create_project(&engine).await;
        disk.fail_after(fuse);
        let mut random = Random(fuse as u64 + 1);
        let mut acknowledged: BTreeMap<String, (u64, String)> = BTreeMap::new();
        let mut unsure: Option<Vec<String>> = None;
        for n in 0..40 {
            let (first, second) = (random.below(4), random.below(4));
            let names: Vec<String> = match random.below(3) {
                0 if first != second => vec![format!("d{first}"), format!("d{second}")],
                _ => vec![format!("d{first}")],
            };
            let writes = names.iter().map(|name| write(name, Op::Replace(json(n)))).collect();
            let key = format!("k{n}");
            match commit(&engine, writes, Some((&key, n))).await {
                Ok(committed) => {
                    for event in committed.events {
                        let (_, name) = event.event.stream.as_document().unwrap();
                        let version = event.event.stream_version;
                        acknowledged.insert(name.to_owned(), (version, format!("{{\"n\":{n}}}")));
                    }
                }
                Err(_) => {
                    unsure = Some(names);
                    break;
                }
            }
        }
        crash(engine).await;

        disk.write_wait_max = Disk::new().write_wait_max;
        let engine = disk.start().await;
        let mut late = 0;
        for (name, expected) in &acknowledged {
            let actual = read(&engine, name, None).await.unwrap();
            if unsure.as_ref().is_some_and(|unsure| unsure.contains(name)) {
                assert!(actual.0 == expected.0 || actual.0 == expected.0 + 1, "{name}");
                late += actual.0 - expected.0;
            } else {
                assert_eq!(&actual, expected, "fuse {fuse}, {name}");
            }
        }
        let known = unsure.iter().flatten().filter(|name| acknowledged.contains_key(*name));
        let known = known.count() as u64;
        assert!(late == 0 || late == known, "fuse {fuse}: half a transaction is there");
        assert_replay_is_equal(&engine).await;
        engine.stop().await.unwrap();
    }
}

/// Ends an engine whose tables fail: its writers leave the last batch to the next start.
async fn crash(engine: Arc<Engine>) {
    let _ = engine.stop().await;
}

/// A small generator with a seed (xorshift64*, Vigna 2016), so that a failure can be run again.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }
}

/// Rows of a batch may be stored long before their checkpoint, if the node that does it is gone in
/// between. Whoever reads must not see them in one way and not in another.
#[tokio::test]
async fn rows_without_their_checkpoint_are_seen_by_nobody() {
    let disk = Disk::torn();
    let engine = disk.start().await;
    create_project(&engine).await;
    let data = |n: u32| Bytes::from(format!("{{\"n\":{n}}}"));
    commit(&engine, vec![write("old", Op::Create(data(1)))], None).await.unwrap();
    disk.fail_after(0);
    let half = vec![write("old", Op::Replace(data(2))), write("new", Op::Create(data(2)))];
    commit(&engine, half, None).await.unwrap_err();

    let page = list(&engine, None, 10, None).await;
    let listed: Vec<_> = page.documents.iter().map(|d| (d.id.as_str(), d.version)).collect();
    assert_eq!(listed, [("old", 1)]);
    let get = async |name| engine.document(&project(), &collection(), &id(name), None).await;
    assert_eq!(get("old").await.unwrap().unwrap().version, 1);
    assert!(get("new").await.unwrap().is_none());
    let history = async |name| {
        let events = engine.history(&project(), &collection(), &id(name), None, 10).await.unwrap();
        events.len()
    };
    assert_eq!((history("old").await, history("new").await), (1, 0));
}
