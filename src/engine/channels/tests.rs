//! Channels of one node, and of several on one bus: order, history, slow readers, presence.

use std::time::Instant;

use domain::projects::{ChannelPattern, ChannelState, ProjectState};
use eventlog::ephemeral::Memory;

use super::*;

fn settings() -> Options {
    Options {
        queue_messages_max: 8,
        present_max: 3,
        node_silence_max: Duration::from_secs(10),
        ..Options::default()
    }
}

/// Nodes on one bus: `kept.*` has a history of 5 messages.
struct Rig {
    bus: Arc<dyn Bus>,
    nodes: Vec<Arc<Channels>>,
}

fn state() -> ProjectState {
    let config = r#"{"history": {"messages": 5, "seconds": 60}}"#;
    let config = serde_json::from_str(config).unwrap();
    let time = Timestamp::from_micros(1);
    let kept = ChannelState { config, created_at: time, updated_at: time };
    let channels = [(ChannelPattern::new("kept.*").unwrap(), kept)].into();
    ProjectState { version: 1, channels, ..ProjectState::default() }
}

impl Rig {
    fn new(nodes: usize) -> Self {
        let bus: Arc<dyn Bus> = match nodes {
            1 => Arc::new(Memory::new(4)),
            _ => Arc::new(Memory::new(4).shared()),
        };
        let mut rig = Self { bus, nodes: Vec::new() };
        (0..nodes).for_each(|_| drop(rig.add(settings())));
        rig
    }

    fn add(&mut self, options: Options) -> Arc<Channels> {
        let catalog = Arc::new(Catalog::default());
        catalog.put(ProjectId::new("p").unwrap(), state());
        let metrics = Arc::new(Metrics::register(&prometheus::Registry::new()).unwrap());
        let channels = Channels::new(options, Arc::clone(&self.bus), catalog, metrics);
        channels.listen().unwrap();
        self.nodes.push(Arc::clone(&channels));
        channels
    }

    /// All say what they want to say until nobody does.
    async fn settle(&self) {
        for _ in 0..4 {
            for node in &self.nodes {
                node.say_what_is_wanted().await;
            }
        }
    }
}

fn channel(name: &str) -> Channel {
    Channel::new(&ProjectId::new("p").unwrap(), &ChannelName::new(name).unwrap())
}

async fn publish(node: &Channels, name: &str, text: &str) -> Place {
    publish_but(node, name, text, None).await
}

async fn publish_but(node: &Channels, name: &str, text: &str, not_to: Option<Uuid>) -> Place {
    let data = Bytes::from(format!("\"{text}\""));
    node.publish(&channel(name), Draft { data, user: None, not_to }).unwrap().1.await.unwrap()
}

/// What waits, as text: messages as they are, `?n` for missed ones, `.` for live.
fn waiting(inbox: &mut Inbox) -> Vec<String> {
    std::iter::from_fn(|| inbox.try_next()).map(|delivery| text(&delivery.what)).collect()
}

fn text(what: &What) -> String {
    let keys = |entries: &[Entry]| {
        let states: Vec<_> = entries.iter().map(|e| String::from_utf8_lossy(&e.state)).collect();
        states.join(",")
    };
    match what {
        What::Message(message) => String::from_utf8_lossy(&message.data).replace('"', ""),
        What::Missed(None) => "?".to_owned(),
        What::Missed(Some(count)) => format!("?{count}"),
        What::Live(_) => ".".to_owned(),
        What::Present(all) => format!("={}", keys(all)),
        What::Change(change) => {
            format!("+{}-{}~{}", keys(&change.joined), keys(&change.left), keys(&change.updated))
        }
    }
}

fn texts(told: &[What]) -> Vec<String> {
    told.iter().map(text).collect()
}

async fn present(inbox: &mut Inbox, name: &str, state: &'static str) -> SubId {
    let (sub, _) = inbox.watch(&channel(name));
    inbox.be_present(sub, None, Bytes::from(state)).unwrap().await.unwrap();
    sub
}

#[tokio::test]
async fn all_who_are_in_a_channel_hear_the_same_in_one_order() {
    let rig = Rig::new(2);
    let mut inboxes: Vec<_> = rig.nodes.iter().chain(&rig.nodes).map(Inbox::new).collect();
    for inbox in &mut inboxes {
        assert_eq!(texts(&inbox.join(&channel("a"), None).1), ["."]);
    }
    let mut wanted = Vec::new();
    for n in 0..8 {
        let place = publish(&rig.nodes[n % 2], "a", &n.to_string()).await;
        assert_eq!(place.offset, n as u64 + 1);
        publish(&rig.nodes[n % 2], "other", "x").await;
        wanted.push(n.to_string());
    }
    for inbox in &mut inboxes {
        assert_eq!(waiting(inbox), wanted);
    }
}

#[tokio::test]
async fn a_publisher_hears_itself_unless_it_does_not_want_to() {
    let rig = Rig::new(1);
    let mut one = Inbox::new(&rig.nodes[0]);
    let mut other = Inbox::new(&rig.nodes[0]);
    for inbox in [&mut one, &mut other] {
        inbox.join(&channel("a"), None);
    }
    publish_but(&rig.nodes[0], "a", "1", Some(one.id())).await;
    publish(&rig.nodes[0], "a", "2").await;
    assert_eq!(
        (waiting(&mut one), waiting(&mut other)),
        (vec!["2".into()], vec!["1".into(), "2".into()])
    );
}

#[tokio::test]
async fn who_comes_back_gets_what_it_missed_or_hears_that_something_is_missing() {
    let rig = Rig::new(2);
    let node = &rig.nodes[0];
    let mut places = Vec::new();
    for n in 0..3 {
        places.push(publish(node, "kept.1", &n.to_string()).await);
        publish(node, "kept.2", "x").await;
    }
    for node in &rig.nodes {
        let mut inbox = Inbox::new(node);
        assert_eq!(inbox.join(&channel("kept.1"), Some(places[0])).1.len(), 0);
        assert_eq!(waiting(&mut inbox), ["1", "2", "."]);
    }
    let boot = Place { epoch: 0, offset: 0 };
    let (start, ahead) = (places[0].epoch, Place { offset: 1 << 40, ..places[0] });
    for n in 3..7 {
        publish(node, "kept.1", &n.to_string()).await;
    }
    let all = ["2", "3", "4", "5", "6", "."];
    for (from, is_missed) in [
        (places[0], true),
        (places[1], false),
        (boot, true),
        (Place { epoch: start, offset: 0 }, true),
        (ahead, true),
    ] {
        let mut inbox = Inbox::new(node);
        let told = inbox.join(&channel("kept.1"), Some(from)).1;
        assert_eq!(texts(&told), if is_missed { vec!["?"] } else { vec![] }, "{from}");
        assert_eq!(waiting(&mut inbox), all, "{from}");
    }
    // Nobody keeps anything of this one.
    let place = publish(node, "a", "1").await;
    assert_eq!(texts(&Inbox::new(node).join(&channel("a"), Some(place)).1), ["?", "."]);
}

#[tokio::test]
async fn a_resume_goes_over_into_what_comes_without_a_gap() {
    let rig = Rig::new(1);
    let node = &rig.nodes[0];
    let place = publish(node, "kept.1", "0").await;
    publish(node, "kept.1", "1").await;
    let mut inbox = Inbox::new(node);
    inbox.join(&channel("kept.1"), Some(place));
    publish(node, "kept.1", "2").await;
    assert_eq!(waiting(&mut inbox), ["1", "2", "."]);
    publish(node, "kept.1", "3").await;
    assert_eq!(waiting(&mut inbox), ["3"]);
}

#[tokio::test]
async fn a_slow_reader_is_told_what_it_missed_and_holds_nobody_up() {
    let rig = Rig::new(1);
    let node = &rig.nodes[0];
    let (mut slow, mut quick) = (Inbox::new(node), Inbox::new(node));
    slow.join(&channel("a"), None);
    quick.join(&channel("a"), None);
    let mut all = Vec::new();
    for n in 0..20 {
        publish(node, "a", &n.to_string()).await;
        all.extend(waiting(&mut quick));
    }
    assert_eq!(all, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(waiting(&mut slow), ["0", "1", "2", "3", "4", "5", "6", "7", "?12", "."]);
    publish(node, "a", "20").await;
    assert_eq!(waiting(&mut slow), ["20"]);
    assert_eq!(node.metrics.channel_missed.get(), 12);
}

#[tokio::test]
async fn a_slow_reader_gets_from_the_history_what_it_has() {
    let rig = Rig::new(1);
    let node = &rig.nodes[0];
    let mut slow = Inbox::new(node);
    slow.join(&channel("kept.1"), None);
    for n in 0..12 {
        publish(node, "kept.1", &n.to_string()).await;
    }
    let first = ["0", "1", "2", "3", "4", "5", "6", "7"];
    assert_eq!(waiting(&mut slow), [&first[..], &["8", "9", "10", "11", "."]].concat());
    for n in 0..20 {
        publish(node, "kept.1", &n.to_string()).await;
    }
    assert_eq!(
        waiting(&mut slow),
        [&first[..], &["?", "15", "16", "17", "18", "19", "."]].concat()
    );
}

#[tokio::test]
async fn a_channel_is_there_only_while_somebody_is_in_it_or_has_history() {
    let rig = Rig::new(1);
    let node = &rig.nodes[0];
    publish(node, "a", "nobody hears it").await;
    let count = || node.metrics.channels.get();
    assert_eq!(count(), 0);
    let mut inbox = Inbox::new(node);
    let (sub, _) = inbox.join(&channel("a"), None);
    present(&mut inbox, "b", "{}").await;
    assert_eq!(count(), 2);
    inbox.leave(sub);
    assert_eq!(count(), 1);
    drop(inbox);
    assert_eq!(count(), 0);
    publish(node, "kept.1", "0").await;
    assert_eq!(count(), 1);
    let later = Timestamp::from_micros(clock::now().as_micros() + 61_000_000);
    node.lanes.iter().for_each(|lane| lane.lock().forget_old(later));
    assert_eq!((count(), node.metrics.channel_history_bytes.get()), (0, 0));
    assert_eq!(node.metrics.subscriptions.get(), 0);
}

#[tokio::test]
async fn a_channel_that_was_forgotten_still_knows_what_is_missing() {
    let rig = Rig::new(1);
    let node = &rig.nodes[0];
    let places = [publish(node, "kept.1", "0").await, publish(node, "kept.1", "1").await];
    let later = Timestamp::from_micros(clock::now().as_micros() + 61_000_000);
    node.lanes.iter().for_each(|lane| lane.lock().forget_old(later));
    for (place, wanted) in places.into_iter().zip([vec!["?"], vec![]]) {
        assert_eq!(texts(&Inbox::new(node).join(&channel("kept.1"), Some(place)).1), wanted);
    }
}

#[tokio::test]
async fn messages_of_before_the_history_was_configured_count_as_missed() {
    let rig = Rig::new(1);
    let node = &rig.nodes[0];
    let place = publish(node, "late", "0").await;
    publish(node, "late", "1").await;
    let mut project = state();
    let mut late = project.channels[&ChannelPattern::new("kept.*").unwrap()].clone();
    late.updated_at = clock::now();
    project.channels.insert(ChannelPattern::new("late").unwrap(), late);
    node.catalog.put(ProjectId::new("p").unwrap(), project);
    let seen = publish(node, "late", "2").await;
    for (place, wanted) in [(place, vec!["?"]), (seen, vec![])] {
        assert_eq!(texts(&Inbox::new(node).join(&channel("late"), Some(place)).1), wanted);
    }
}

#[tokio::test]
async fn memory_for_history_is_bounded() {
    let mut rig = Rig::new(0);
    let most = 4 * 5_000;
    let node = rig.add(Options { history_bytes_max: most, ..settings() });
    for n in 0..200 {
        publish(&node, &format!("kept.{}", n % 50), &"x".repeat(300)).await;
    }
    let bytes = node.metrics.channel_history_bytes.get();
    assert!(bytes <= most as i64 && bytes > most as i64 / 2, "{bytes}");
}

#[tokio::test]
async fn presence_is_the_same_on_every_node() {
    let rig = Rig::new(2);
    let (mut here, mut there) = (Inbox::new(&rig.nodes[0]), Inbox::new(&rig.nodes[1]));
    let (sub, told) = there.watch(&channel("a"));
    assert_eq!(text(&told), "=");
    let mine = present(&mut here, "a", "1").await;
    assert_eq!(waiting(&mut there), ["+1-~"]);
    there.be_present(sub, None, Bytes::from("2")).unwrap().await.unwrap();
    here.be_present(mine, None, Bytes::from("3")).unwrap().await.unwrap();
    assert_eq!(waiting(&mut there), ["+2-~", "+-~3"]);
    for node in &rig.nodes {
        let states: Vec<_> = node.present(&channel("a")).into_iter().map(|e| e.state).collect();
        assert_eq!(states, ["3", "2"]);
    }
    drop(here);
    assert_eq!(waiting(&mut there), ["+-3~"]);
    drop(there);
    assert_eq!(rig.nodes[0].metrics.channels.get() + rig.nodes[1].metrics.channels.get(), 0);
}

#[tokio::test]
async fn so_many_may_be_present_and_no_more() {
    let rig = Rig::new(1);
    let mut inbox = Inbox::new(&rig.nodes[0]);
    let mut last = 0;
    for _ in 0..3 {
        last = present(&mut inbox, "a", "1").await;
    }
    let (sub, _) = inbox.watch(&channel("a"));
    let refused = inbox.be_present(sub, None, Bytes::from("1")).err();
    assert!(matches!(refused, Some(Error::Rejected(_))), "{refused:?}");
    inbox.be_present(last, None, Bytes::from("2")).unwrap().await.unwrap();
    inbox.leave(last);
    inbox.be_present(sub, None, Bytes::from("1")).unwrap().await.unwrap();
}

#[tokio::test]
async fn who_watches_slowly_gets_all_of_it_anew() {
    let rig = Rig::new(1);
    let (mut slow, mut other) = (Inbox::new(&rig.nodes[0]), Inbox::new(&rig.nodes[0]));
    slow.watch(&channel("a"));
    for _ in 0..6 {
        let sub = present(&mut other, "a", "1").await;
        other.leave(sub);
    }
    present(&mut other, "a", "2").await;
    let told = waiting(&mut slow);
    assert_eq!((told.len(), told.last().map(String::as_str)), (9, Some("=2")));
}

#[tokio::test]
async fn a_node_that_comes_late_learns_who_is_present_and_a_dead_one_is_forgotten() {
    let mut rig = Rig::new(2);
    let mut inbox = Inbox::new(&rig.nodes[0]);
    present(&mut inbox, "a", "1").await;
    let late = rig.add(settings());
    assert_eq!(late.present(&channel("a")).len(), 0);
    rig.settle().await;
    assert_eq!(late.present(&channel("a")).len(), 1);
    let mut watcher = Inbox::new(&late);
    watcher.watch(&channel("a"));
    late.bury(Instant::now() + Duration::from_secs(9));
    assert_eq!(waiting(&mut watcher), Vec::<String>::new());
    // It was silent for too long, and is not dead after all.
    late.bury(Instant::now() + Duration::from_secs(11));
    assert_eq!(waiting(&mut watcher), ["+-1~"]);
    rig.nodes[0].say_of_node(&Said::Beat { node: rig.nodes[0].node }).unwrap().await.unwrap();
    rig.settle().await;
    assert_eq!(waiting(&mut watcher), ["+1-~"]);
    rig.nodes[0].say_of_node(&Said::Bye { node: rig.nodes[0].node }).unwrap().await.unwrap();
    assert_eq!(waiting(&mut watcher), ["+-1~"]);
}

#[tokio::test]
async fn what_is_lost_on_its_way_is_told() {
    let rig = Rig::new(2);
    let node = &rig.nodes[0];
    let (mut inbox, mut other) = (Inbox::new(node), Inbox::new(&rig.nodes[1]));
    inbox.join(&channel("a"), None);
    inbox.join(&channel("kept.1"), None);
    present(&mut other, "a", "1").await;
    inbox.watch(&channel("a"));
    publish(node, "a", "0").await;
    for partition in 0..4 {
        let seen = node.lanes[partition].lock().seen;
        node.go_on_at(partition, seen + 1);
    }
    assert_eq!(waiting(&mut inbox), ["0"], "nothing was lost");
    for partition in 0..4 {
        node.go_on_at(partition, 1000);
    }
    let mut told = waiting(&mut inbox);
    told.sort_unstable();
    assert_eq!(told, [".", ".", "=", "?", "?"]);
    rig.settle().await;
    let place = Place { epoch: rig.bus.epoch(), offset: 999 };
    assert_eq!(Inbox::new(node).join(&channel("kept.1"), Some(place)).1.len(), 0);
}

#[tokio::test]
async fn after_a_gap_exactly_those_of_the_node_are_present_who_are() {
    let rig = Rig::new(2);
    let node = &rig.nodes[0];
    let mut inbox = Inbox::new(node);
    present(&mut inbox, "a", "1").await;
    let here = node.present(&channel("a"));
    let key = channel("a").key;
    let partition = node.partition(&key);
    let ghost = Entry { key: Uuid::from_u128(1), state: Bytes::from("2"), ..here[0].clone() };
    {
        let mut lane = node.lanes[partition].lock();
        let room = lane.known(&key).unwrap();
        room.gone(node.node, here[0].key);
        room.here(ghost);
    }
    node.go_on_at(partition, 1000);
    rig.settle().await;
    assert_eq!(node.present(&channel("a")), here);
}

#[tokio::test]
async fn who_has_left_unheard_is_forgotten_by_all_once_they_can_be_told() {
    for is_too_much in [false, true] {
        let rig = Rig::new(2);
        let (here, there) = (&rig.nodes[0], &rig.nodes[1]);
        let mut inbox = Inbox::new(here);
        let mut watcher = Inbox::new(there);
        watcher.watch(&channel("a"));
        present(&mut inbox, "a", "1").await;
        let sub = present(&mut inbox, "a", "2").await;
        let key = there.present(&channel("a"))[1].key;
        // It leaves, and nobody hears it.
        here.mine.lock().remove(&key);
        inbox.leave(sub);
        match is_too_much {
            true => here.unsaid.lock().overflow(),
            false => here.unsaid.lock().add(channel("a").key, key),
        }
        here.beat().await;
        rig.settle().await;
        for node in [here, there] {
            let states: Vec<_> =
                node.present(&channel("a")).into_iter().map(|one| one.state).collect();
            assert_eq!(states, ["1"], "{is_too_much}");
        }
    }
}

#[tokio::test]
async fn what_nobody_kept_counts_as_missed_whatever_is_configured_later() {
    let rig = Rig::new(1);
    let node = &rig.nodes[0];
    let pattern = |text: &str| ChannelPattern::new(text).unwrap();
    let kept = state().channels[&pattern("kept.*")].clone();
    // Somebody watches a channel of which nothing is kept.
    let place = publish(node, "late", "0").await;
    publish(node, "late", "1").await;
    let mut watcher = Inbox::new(node);
    watcher.watch(&channel("late"));
    let mut project = state();
    project.channels.insert(pattern("late"), kept.clone());
    node.catalog.put(ProjectId::new("p").unwrap(), project.clone());
    assert_eq!(texts(&Inbox::new(node).join(&channel("late"), Some(place)).1), ["?"]);
    // A narrower pattern keeps nothing for a while.
    let mut nothing = kept;
    nothing.config.history = None;
    project.channels.insert(pattern("kept.1"), nothing);
    node.catalog.put(ProjectId::new("p").unwrap(), project.clone());
    let place = publish(node, "kept.1", "0").await;
    publish(node, "kept.1", "1").await;
    project.channels.remove(&pattern("kept.1"));
    node.catalog.put(ProjectId::new("p").unwrap(), project);
    let seen = publish(node, "kept.1", "2").await;
    for (place, wanted) in [(place, vec!["?"]), (seen, vec![])] {
        assert_eq!(texts(&Inbox::new(node).join(&channel("kept.1"), Some(place)).1), wanted);
    }
}
